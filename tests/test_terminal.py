"""What an audit prints: the table, and what refutes, at 80 columns."""

import re

import pytest
from rich.console import Console

from opjury.audit import Audit
from opjury.cli import terminal
from opjury.model import registry
from tests.made_up import verdict

LONG = "as_long_as_the_longest_names_that_exist"
CLEAN = [verdict(check=check) for check in ("agreement", "form", "laws")]
WAIVING = [
    verdict(implementation="waiving"),
    verdict(implementation="waiving", check="specials", status="waived", waiver="why"),
    verdict(implementation="waiving", check="vmap", status="not declared", examples=0),
    verdict(implementation="waiving", check="devices", status="skipped", examples=0),
]
REFUTED = [
    verdict(implementation=LONG, check=check, dtypes=(dtype,), status=status, message=f"{check} {dtype} " * 20)
    for check in registry.checks()
    for dtype, status in (("float32", "holds"), ("float64", "refuted"), ("int64", "waived"))
]
CONTROL = verdict(implementation="blocks_without_carry", status="refuted", control=True, message="known " * 40)


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """The lines that a terminal of 80 columns shows of some verdicts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "console", Console(width=80, highlight=False))

    def lines(*verdicts):
        terminal.show_audit(Audit(verdicts), all_verdicts=False)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return lines


def test_the_table_counts_what_holds_and_names_what_does_not(shown):
    lines = shown(*CLEAN, *WAIVING)
    assert lines[:6] == [
        "implementation cases holds other checks",
        "torch_cumsum      21     3",
        "waiving           14     1 w specials",
        "                           · devices",
        "                           - vmap",
        "w waived   · skipped   - not declared",
    ]


def test_the_worst_status_of_a_check_counts_and_names_wrap_in_their_column(shown):
    lines = shown(*CLEAN, *REFUTED, CONTROL, verdict("gather", "torch_gather"))
    assert all(len(line) <= 80 for line in lines)
    start = next(number for number, line in enumerate(lines) if line.startswith("implementation"))
    clean, refuted, *rest = lines[start + 1 : lines.index("✗ refuted   † known to be wrong, must be refuted")]
    assert clean.split() == ["cumsum:torch_cumsum", "21", "3"]
    column = refuted.index("✗") + 2
    names = [refuted, *rest[:-2]]
    assert all(line[:column].isspace() for line in names[1:])
    assert " ".join(line[column:] for line in names) == ", ".join(registry.checks())
    assert re.fullmatch(r"cumsum:blocks_without_carry† +7 +0 ✗ agreement", rest[-2])


def test_nothing_needs_a_legend_where_everything_holds(shown):
    assert not shown(*CLEAN)[2]


def test_rows_tell_devices_apart(shown):
    lines = shown(verdict(), verdict(device="cuda"))
    assert [line.split()[:2] for line in lines[1:3]] == [["torch_cumsum", "cpu"], ["torch_cumsum", "cuda"]]


def test_each_check_of_an_implementation_is_refuted_once_and_before_the_table(shown):
    lines = shown(CONTROL, *REFUTED)
    start = next(number for number, line in enumerate(lines) if line.startswith("implementation"))
    heads = [line.split() for line in lines[:start] if line.startswith("✗")]
    assert heads == [["✗", f"cumsum:{LONG}", check, "(float64)"] for check in registry.checks()]
    assert [line for line in lines[start:] if line.startswith("✗ cumsum")] == ["✗ cumsum:blocks_without_carry†"]
