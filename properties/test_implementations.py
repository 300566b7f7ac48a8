"""Every implementation against every check that applies to it: one test each, through the same `judge` as the command line.

Ids read `test_check[agreement-toeplitz-unfold_flip-float32-cpu]`. What an implementation waives, and what a negative control is refuted
in, is tried with all its dtypes in one test. A control must be refuted as declared; a waiver that was not needed is reported as skipped.
"""

import pytest

from opjury.judge.task import Request, applies
from opjury.model import registry
from opjury.testing import grouped, require


def pytest_generate_tests(metafunc):
    option = metafunc.config.getoption
    wanted = option("--opjury-operation") or [operation.name for operation in registry.operations()]
    options = dict(profile=option("--opjury-profile"), seed=option("--opjury-seed"))
    parameters = []
    for operation in map(registry.operation, wanted):
        entries = [entry for entry in registry.implementations(operation.name) if "cpu" in entry.devices]
        for check in registry.checks():
            for entry in entries:
                together = bool(entry.refuted) or check in entry.waives
                scale = 1.0 if together else option("--opjury-scale")
                tasks = Request(checks=check, scale=scale, **options).tasks(operation.name, entry.name)
                for group in grouped(filter(applies, tasks)):
                    name = f"{operation.name}-{entry.name}-all-cpu" if together else group[0].label
                    parameters.append(pytest.param(group, id=f"{check}-{name}"))
    metafunc.parametrize("tasks", parameters)


def test_check(tasks):
    require(tasks)
