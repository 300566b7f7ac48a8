"""Every implementation against every check: one test each, through the same `judge` as the command line.

Ids read `test_agreement[toeplitz-unfold_flip-float32-cpu]`. What an implementation waives, and what a negative control is refuted in, is
tried with all its dtypes in one test. A control must be refuted as declared; a waiver that was not needed is reported as skipped.
"""

import pytest

from opjury import registry
from opjury.uses.audit import plan
from opjury.verify.judge import judge


def pytest_generate_tests(metafunc):
    check = metafunc.definition.originalname.removeprefix("test_")
    option = metafunc.config.getoption
    wanted = option("--opjury-operation") or [operation.name for operation in registry.operations()]
    parameters = []
    for operation in map(registry.operation, wanted):
        for entry in registry.implementations(operation.name):
            together = bool(entry.refuted) or check in entry.waives
            scale = 1.0 if together else option("--opjury-scale")
            options = dict(profile=option("--opjury-profile"), seed=option("--opjury-seed"), scale=scale)
            tasks = plan(operation, entry.name, checks=[check], **options)
            groups = [tasks] if together and tasks else [[task] for task in tasks]
            for group in groups:
                name = f"{operation.name}-{entry.name}-all-cpu" if together else group[0].label
                parameters.append(pytest.param(entry, group, id=name))
    metafunc.parametrize(("entry", "tasks"), parameters)


def require(entry, tasks):
    """The verdicts are what the implementation declares."""
    __tracebackhide__ = True
    verdicts = [judge(task) for task in tasks]
    check = tasks[0].check
    if all(v.status in ("skipped", "not declared") for v in verdicts):
        pytest.skip(f"{verdicts[0].status}: {verdicts[0].message}")
    refuted = [v for v in verdicts if v.status == "refuted"]
    if check in entry.refuted:
        assert refuted, f"{entry.operation}:{entry.name} is a negative control for {check}, which holds"
        return
    unexplained = [v for v in refuted if v.cause not in entry.refuted]
    assert not unexplained, f"{unexplained[0].message}\n\n{unexplained[0].script}"
    if check in entry.waives and not any(v.status == "waived" for v in verdicts):
        pytest.skip(f"{check} is waived ({entry.waives[check]}), but held with these cases")


def test_agreement(entry, tasks):
    require(entry, tasks)


def test_specials(entry, tasks):
    require(entry, tasks)


def test_form(entry, tasks):
    require(entry, tasks)


def test_layouts(entry, tasks):
    require(entry, tasks)


def test_purity(entry, tasks):
    require(entry, tasks)


def test_determinism(entry, tasks):
    require(entry, tasks)


def test_gradient(entry, tasks):
    require(entry, tasks)


def test_second_order(entry, tasks):
    require(entry, tasks)


def test_forward_mode(entry, tasks):
    require(entry, tasks)


def test_vmap(entry, tasks):
    require(entry, tasks)


def test_locality(entry, tasks):
    require(entry, tasks)


def test_laws(entry, tasks):
    require(entry, tasks)


def test_rejects(entry, tasks):
    require(entry, tasks)


def test_terminates(entry, tasks):
    require(entry, tasks)
