"""Records: read back as written, whole or not at all, with clear errors."""

import json
from itertools import islice
from typing import get_args

import jsonschema
import msgspec
import numpy as np
import pytest
import torch

from opjury.judge.draw import Kind, stream
from opjury.model import records, registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case, Repetition
from opjury.model.environment import environment
from opjury.model.layouts import LAYOUTS
from opjury.model.records import Alarm, Part, Standing, Verdict
from opjury.track import history
from tests.made_up import measurement, night, recommendation, verdict

ONE = Verdict(
    operation="cumsum",
    implementation="torch_cumsum",
    check="agreement",
    status="holds",
    dtypes=("float32",),
    examples=7,
    error_ulps=float("inf"),
    environment=environment(),
)


def test_round_trip_with_non_finite_floats_as_strings(tmp_path):
    assert json.loads(records.encode(ONE))["error_ulps"] == "inf"
    records.write(tmp_path / "found.jsonl", [ONE, ONE])
    assert list(records.read(tmp_path / "found.jsonl")) == [ONE, ONE]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a record"),
        ('{"record": "verdict"}', "missing required field `operation`"),
        ('{"record": "verdict", "operation": 3, "implementation": "b", "check": "c", "status": "holds"}', "operation"),
        ('{"record": "verdict", "operation": "a", "implementation": "b", "check": "c", "status": "fine"}', "status"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    (tmp_path / "found.jsonl").write_text(f"{records.encode(ONE).decode()}\n{line}\n")
    with pytest.raises(ValueError, match=r"line 2:.*" + message):
        list(records.read(tmp_path / "found.jsonl"))


def in_format(version, **fields):
    """The line of a verdict as older versions wrote it."""
    since = {"file": 2, "line": 2, "waiver": 3}
    line = json.loads(records.encode(msgspec.structs.replace(ONE, **fields)))
    return json.dumps({k: v for k, v in line.items() if since.get(k, 1) <= version} | {"format": version})


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_records_of_the_formats_before_are_read(version):
    assert records.decode(in_format(version)) == ONE


def test_records_of_later_formats_are_refused():
    with pytest.raises(records.NoRecord, match=r"a record of format 5; .* reads formats 1, 2, 3 and 4"):
        records.decode(in_format(5))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("status", "message", "now"),
    [
        ("skipped", "runs on CUDA only", ("skipped", "runs on CUDA only", "")),
        ("skipped", "not judged, the contract or the harness failed: KeyError: 1", ("error", "KeyError: 1", "")),
        ("waived", "waived: half types (result[0] is 1)", ("waived", "", "half types (result[0] is 1)")),
        ("holds", "waived (half types), but the check holds", ("holds", "", "half types")),
        ("holds", "", ("holds", "", "")),
        ("refuted", "waived: a message like another", ("refuted", "waived: a message like another", "")),
    ],
)
def test_what_older_formats_said_in_the_message_is_a_field(version, status, message, now, tmp_path):
    line = in_format(version, status=status, message=message)
    found = records.decode(line)
    assert (found.status, found.message, found.waiver) == now
    assert found.told == (message if found.status != "error" else "KeyError: 1")
    assert records.decode(records.encode(found)) == found
    (tmp_path / "night.jsonl").write_text(f"{records.encode(night()).decode()}\n{line}\n")
    assert history.chronicle(tmp_path / "night.jsonl").records == (found,)


def test_an_environment_is_the_same_at_any_time_and_may_lack_what_older_records_do_not_tell():
    here = environment()
    environment.cache_clear()
    assert environment() == here
    assert f"OpenMP {torch.__config__.show().partition('OpenMP ')[2].split()[0]}" in here.build
    older = {name: value for name, value in msgspec.to_builtins(here).items() if name not in ("clock", "build")}
    line = json.dumps({**json.loads(records.encode(ONE)), "environment": older})
    assert records.decode(line).environment == msgspec.structs.replace(here, clock="", build="")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "found.jsonl"
    records.write(path, [ONE])

    def breaking():
        yield ONE
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        records.write(path, breaking())
    assert list(records.read(path)) == [ONE]
    assert [p.name for p in tmp_path.iterdir()] == ["found.jsonl"]


def test_the_schema_describes_every_field():
    fields = records.schema()["$defs"]["Verdict"]["properties"]
    assert set(fields) == {"record", *(f.encode_name for f in msgspec.structs.fields(Verdict))}


VALIDATOR = jsonschema.Draft202012Validator(records.schema())
NUMBERS = (1.5, float("inf"), float("-inf"), float("nan"))


def require_valid(record):
    VALIDATOR.validate(json.loads(records.encode(record)))


@pytest.mark.parametrize("value", NUMBERS)
def test_every_kind_of_record_is_what_the_schema_says(value):
    standing = Standing(
        operation="cumsum", implementation="torch_cumsum", verdicts={"agreement": "holds"}, causes={"laws": ("agreement", "")},
        tried={"agreement float32": (3, value, 1)}, error_of_bound=value, error_ulps=value,
    )  # fmt: skip
    alarm = Alarm(
        operation="cumsum", implementation="torch_cumsum", kind="error", sizes={"n": 3}, machine="here", before=value, after=value,
        low=value, high=value, since="2026-01-01", commits=("a", "b"), versions={"torch": ("1", "2")}, command="opjury audit",
    )  # fmt: skip
    numbers = dict.fromkeys(
        ("ratio", "low", "high", "floor_seconds", "least_seconds", "first_seconds", "error_ulps"), value
    )
    found = [
        verdict(error_of_bound=value, error_ulps=value, seconds=value),
        Part(number=1, of=2, tasks=3, whole="digest"),
        msgspec.structs.replace(measurement(), **numbers),
        recommendation(),
        standing,
        night(seconds=value),
        alarm,
    ]
    assert {type(each) for each in found} == set(get_args(records.Record))
    for record in found:
        require_valid(record)


@pytest.mark.parametrize(
    "counterexample",
    [
        {},
        {"args": [{"what": 1}], "kwargs": {}, "tier": "exact", "seed": 0},
        {"args": [], "kwargs": {}, "tier": "unknown", "seed": 0},
        {"args": [{"tuple": [{"float": "1.5"}]}], "kwargs": {}, "tier": "exact", "seed": 0},
        {
            "args": [Tensor(np.ones(2), "float32").to_json() | {"values": ["one"]}],
            "kwargs": {},
            "tier": "exact",
            "seed": 0,
        },
    ],
)
def test_another_counterexample_is_not_what_the_schema_says(counterexample):
    with pytest.raises(jsonschema.ValidationError):
        require_valid(verdict(status="refuted", counterexample=counterexample))


@pytest.mark.parametrize("operation", registry.operations(), ids=lambda operation: operation.name)
def test_counterexamples_of_every_contract_are_what_the_schema_says(operation):
    tiers = (*operation.tiers, "special", "illegal")
    drawn = islice(stream(Kind(operation.name, operation.dtypes, tiers, tuple(LAYOUTS), False, 0)), 96)
    numbers = Case.of((1, float("inf")), np.float64("nan"), np.bool_(True), None, "same", number=2.5)
    repeated = Case(
        repeated=Repetition(3, ((0, 1),), (1,)),
        rule="never",
        beside={"incoming": Tensor(np.array([1.5, np.inf]), "float32")},
    )
    for case in (*operation.examples, *drawn, numbers, repeated):
        require_valid(verdict(status="refuted", counterexample=case.to_json()))
        read = Case.from_json(json.loads(records.encode(verdict(counterexample=case.to_json())))["counterexample"])
        assert repr(read.to_json()) == repr(case.to_json())
