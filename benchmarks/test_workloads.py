"""The workloads under pytest-benchmark, for pull requests: `pytest --benchmark-only --pyargs opjury.benchmarks`.

`--benchmark-save` and `--benchmark-compare` set a run beside an earlier one.

A group is an operation with one workload; the names within are stable. `--opjury-operation NAME` takes one operation.
"""

import pytest

from opjury.choose import setting_of, usual_dtype
from opjury.judge.draw import workload_case
from opjury.measure.contest import step_of, threads
from opjury.model import registry
from opjury.model.check import only

WORKLOADS = ("small", "medium")


def pytest_generate_tests(metafunc):
    wanted = metafunc.config.getoption("--opjury-operation")
    metafunc.parametrize(("operation", "entry", "workload", "gradient"), list(competitors(wanted)))


def competitors(wanted):
    for operation in [registry.operation(name) for name in wanted] or registry.operations():
        for entry in registry.implementations(operation.name):
            if not entry.refuted and registry.check("agreement").why_not(operation, entry, "cpu") is None:
                directions = [False, True] if operation.differentiable and entry.gradient is not None else [False]
                for workload in WORKLOADS:
                    for gradient in directions:
                        name = f"{operation.name}-{workload}-{'backward' if gradient else 'forward'}-{entry.name}"
                        yield pytest.param(operation, entry, workload, gradient, id=name)


@pytest.fixture
def one_thread():
    with threads(1):
        yield


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_time(benchmark, one_thread, operation, entry, workload, gradient):
    dtype = usual_dtype(operation)
    if entry.dtypes is not None and dtype not in entry.dtypes:
        pytest.skip(f"takes {only(entry.dtypes)} only")
    setting = setting_of(operation.name, workload)
    case = workload_case(registry.workload(operation.name), setting, 0)
    if not entry.claims(case.wide):
        pytest.skip("is declared for other arguments (domain)")
    step = step_of(entry.function, case, gradient)
    args, kwargs = case.build(requires_grad=gradient)
    try:
        step(args, kwargs)
    except (MemoryError, RuntimeError) as error:
        if "allocate memory" not in str(error) and not isinstance(error, MemoryError):
            raise
        pytest.skip("needs more memory than there is")
    benchmark.group = f"{operation.name} {workload} {'forward and backward' if gradient else 'forward'}"
    benchmark.extra_info.update(setting.sizes, dtype=dtype)
    assert benchmark(step, args, kwargs)
