"""Every implementation against every check that applies to it: one test each, through the same `judge` as the command line.

Ids read `test_check[agreement-toeplitz-unfold_flip-float32-cpu]`. What an implementation waives, and a negative control, is tried with all
its dtypes in one test. A control must be refuted as declared; a waiver that was not needed is reported as skipped. What is declared to fail
gets all cases of the profile, and its counterexample is not made smaller: `tests/test_replay_scripts.py` does that.

`-m "not slow"` takes a sample: of each implementation agreement and every twelfth other check, in one group of dtypes each. The implementations
begin with different checks, so that each check is tried on some of them. What is waived is left to the rest.
"""

import pytest

from opjury.judge.judge import judge
from opjury.judge.task import Request, applies
from opjury.model import registry
from opjury.testing import grouped, require

NOTHING_TO_TRY = {
    "calls": ("outer_map",),  # any number of vectors stand in their positions
    "layouts": ("difference_matrix", "sparse_diff", "sparse_grow"),  # no argument is a tensor
    "locality": ("double_until", "vector_norm"),  # each element of the result depends on all of the arguments
}
"""Checks for which no case of an operation is suitable."""
ONE_IN = 12  # checks of an implementation that are in the sample
NOT_SAMPLED = pytest.mark.slow(reason="a sample of the audits is enough for a quick run")


def pytest_generate_tests(metafunc):
    if "tasks" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    wanted = option("--opjury-operation") or [operation.name for operation in registry.operations()]
    options = dict(profile=option("--opjury-profile"), seed=option("--opjury-seed"))
    entries = [entry for name in wanted for entry in registry.implementations(name) if "cpu" in entry.devices]
    parameters = []
    for place, check in enumerate(registry.checks()):
        for number, entry in enumerate(entries):
            operation = entry.operation
            if operation in NOTHING_TO_TRY.get(check, ()):
                continue
            together, fails = bool(entry.refuted) or check in entry.waives, check in {**entry.refuted, **entry.waives}
            scale = 1.0 if fails else option("--opjury-scale")
            tasks = Request(checks=check, scale=scale, first=fails, **options).tasks(operation, entry.name)
            groups = grouped(filter(applies, tasks))
            sampled = check == "agreement" or ((place + number) % ONE_IN == 0 and check not in entry.waives)
            for which, group in enumerate(groups):
                name = f"{operation}-{entry.name}-all-cpu" if together else group[0].label
                marks = () if sampled and which == number % len(groups) else NOT_SAMPLED
                parameters.append(pytest.param(group, id=f"{check}-{name}", marks=marks))
    metafunc.parametrize("tasks", parameters)


def test_check(tasks):
    require(tasks)


@pytest.mark.parametrize(
    ("check", "entry"),
    [
        pytest.param(check, registry.entry(name, registry.operation(name).baseline), id=f"{check}-{name}")
        for check, names in NOTHING_TO_TRY.items()
        for name in names
    ],
)
def test_nothing_is_suitable(check, entry):
    tasks = Request(checks=check).tasks(entry.operation, entry.name)
    assert {judge(task).status for task in tasks} == {"skipped"}
