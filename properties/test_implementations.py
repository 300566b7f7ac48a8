"""Every implementation against every check: one test each, through the same `judge` as the command line.

Ids read `test_agreement[toeplitz-unfold_flip-float32-cpu]`. What an implementation waives, and what a negative control is refuted in, is
tried with all its dtypes in one test. A control must be refuted as declared; a waiver that was not needed is reported as skipped.
"""

import pytest

from opjury import registry
from opjury.faces.parametrize import grouped, require
from opjury.uses.audit import plan


def pytest_generate_tests(metafunc):
    check = metafunc.definition.originalname.removeprefix("test_")
    option = metafunc.config.getoption
    wanted = option("--opjury-operation") or [operation.name for operation in registry.operations()]
    parameters = []
    for operation in map(registry.operation, wanted):
        for entry in (e for e in registry.implementations(operation.name) if "cpu" in e.devices):
            together = bool(entry.refuted) or check in entry.waives
            scale = 1.0 if together else option("--opjury-scale")
            options = dict(profile=option("--opjury-profile"), seed=option("--opjury-seed"), scale=scale)
            for tasks in grouped(plan(operation, entry.name, checks=[check], **options)):
                name = f"{operation.name}-{entry.name}-all-cpu" if together else tasks[0].label
                parameters.append(pytest.param(tasks, id=name))
    metafunc.parametrize("tasks", parameters)


def test_agreement(tasks):
    require(tasks)


def test_specials(tasks):
    require(tasks)


def test_form(tasks):
    require(tasks)


def test_layouts(tasks):
    require(tasks)


def test_purity(tasks):
    require(tasks)


def test_determinism(tasks):
    require(tasks)


def test_gradient(tasks):
    require(tasks)


def test_second_order(tasks):
    require(tasks)


def test_forward_mode(tasks):
    require(tasks)


def test_vmap(tasks):
    require(tasks)


def test_locality(tasks):
    require(tasks)


def test_laws(tasks):
    require(tasks)


def test_rejects(tasks):
    require(tasks)


def test_terminates(tasks):
    require(tasks)
