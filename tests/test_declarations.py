"""What a declaration is refused for, when, and in which words."""

import dataclasses
import os
import subprocess
import sys
from types import ModuleType

import pytest

import opjury
from opjury import contract
from opjury.cli.later import import_later
from opjury.contract import Case, Error, Gradient, Growth, Law, Operation, Workload, implementation, st
from opjury.model import registry
from tests.test_thirdparty import plugin


def scan(x, dim=0):
    return x


def cases(space):
    return st.just(Case.of(1))


def side(f, rng, x, dim=0):
    return None


def arguments(rng, n):
    return Case.of(n)


OPERATION = dict(kind="arithmetic", reference=scan, cases=cases, rejects=cases)
SIZES = dict(small={"n": 1}, medium={"n": 2}, large={"n": 3})
WORKLOAD = dict(
    sizes=SIZES, arguments=arguments, least_bytes=lambda itemsize, n: n * itemsize, least_operations=lambda n: n
)


pytestmark = pytest.mark.usefixtures("declarations_end_with_the_test")


def declare_operation(**more):
    return Operation("scan", "one line", **{**OPERATION, **more})


def declare_implementation(operation="cumsum", function=scan, **more):
    return implementation(operation, **more)(function)


def declare_workload(operation="cumsum", **more):
    return Workload(operation, **{**WORKLOAD, **more})


def declare_growth(**more):
    return Growth(**{**dict(small=lambda rng: None, arguments={0: 1}, result=(0,)), **more})


@pytest.mark.parametrize(
    ("declare", "given", "kind", "words"),
    [
        (declare_operation, dict(kind="movment"), ValueError, "kind is 'movment'; it must be 'movement', 'arith"),
        (declare_operation, dict(result="sparce"), ValueError, "result is 'sparce'; it must be 'tensor' or 'sparse'"),
        (declare_operation, dict(dtypes=("float23",)), ValueError, "dtypes[0] is 'float23'"),
        (declare_operation, dict(dtypes=("float32", "float32")), ValueError, "none of them twice"),
        (declare_operation, dict(dtypes=()), ValueError, "at least one name"),
        (declare_operation, dict(dtypes="float32"), TypeError, "one alone is followed by a comma"),
        (declare_operation, dict(dtypes=["float32"]), TypeError, "a tuple of str"),
        (declare_operation, dict(tiers=("exakt",)), ValueError, "tiers[0] is 'exakt'; it must be 'exact' or"),
        (declare_operation, dict(ulps=1), ValueError, "0 where kind is 'arithmetic'"),
        (declare_operation, dict(roundings=-1), ValueError, "at least 0"),
        (declare_operation, dict(roundings=True), TypeError, "an int"),
        (declare_operation, dict(effort=0), ValueError, "at least 0.01"),
        (declare_operation, dict(fresh=1), TypeError, "a bool"),
        (declare_operation, dict(trems=scan), TypeError, "unexpected keyword argument 'trems'"),
        (declare_operation, dict(reference=None), TypeError, "write a def"),
        (declare_operation, dict(cases=lambda: None), TypeError, "cases is <lambda>(); it must be callable as (space)"),
        (declare_operation, dict(rejects=scan.__name__), TypeError, "callable as (space)"),
        (
            declare_operation,
            dict(terms=lambda x: 1),
            TypeError,
            "terms is <lambda>(x); it must be callable as (x, dim=0)",
        ),
        (declare_operation, dict(terms=lambda x, axis=0: 1), TypeError, "callable as (x, dim=0)"),
        (declare_operation, dict(magnitude=lambda: 1), TypeError, "callable as (x, dim=0)"),
        (declare_operation, dict(magnitude=scan, kind="movement"), ValueError, "left out where kind is 'movement'"),
        (declare_operation, dict(gradient=scan), TypeError, "callable as (w, x, dim=0)"),
        (declare_operation, dict(gradient=lambda w, x, dim=0: [], differentiable=False), ValueError, "left out"),
        (declare_operation, dict(invariants=lambda: None), TypeError, "callable as (result, x, dim=0)"),
        (declare_operation, dict(result_dtype=lambda: "float32"), TypeError, "callable as (case)"),
        (declare_operation, dict(laws=Law("all", side)), TypeError, "one alone is followed by a comma"),
        (declare_operation, dict(laws=(Law("all", side), Law("all", side))), ValueError, "laws of different names"),
        (declare_operation, dict(laws=(Law("all", scan),)), TypeError, "sides of the law 'all' is scan(x, dim=0)"),
        (declare_operation, dict(examples=(3,)), TypeError, "examples[0] is 3; it must be a Case"),
        (declare_operation, dict(usual="scan"), TypeError, "a tuple of str"),
        (declare_operation, dict(baseline=scan), TypeError, "a str"),
        (Law, dict(name="", sides=side), ValueError, "not empty"),
        (Law, dict(name="all", sides="side"), TypeError, "callable as (f, rng, *args, **kwargs)"),
        (Gradient, dict(second="yes"), TypeError, "second is 'yes'; it must be a bool"),
        (Error, dict(accumulates="double"), ValueError, "it must be 'float32' or 'input'"),
        (Error, dict(terms=3), TypeError, "callable as the operation is"),
        (declare_implementation, dict(operation="cumsun"), ValueError, "one of 20 known names; did you mean 'cumsum'?"),
        (declare_implementation, dict(devices=("gpu",)), ValueError, "devices[0] is 'gpu'; it must be 'cpu' or 'cuda'"),
        (declare_implementation, dict(dtypes=("float23",)), ValueError, "did you mean 'float32'?"),
        (declare_implementation, dict(waives={"specails": "why"}), ValueError, "did you mean 'specials'?"),
        (declare_implementation, dict(waives={"specials": ""}), ValueError, "a str that is not empty"),
        (declare_implementation, dict(waives={"specials": {"gpu": "why"}}), ValueError, "'cpu' or 'cuda'"),
        (declare_implementation, dict(waives="specials"), TypeError, "a mapping of str to reasons"),
        (declare_implementation, dict(refuted={"specails": "why"}), ValueError, "did you mean 'specials'?"),
        (declare_implementation, dict(refuted={"laws": "a"}, waives={"laws": "b"}), ValueError, "must fail"),
        (declare_implementation, dict(gradient=True), TypeError, "a Gradient or None"),
        (declare_implementation, dict(error="scan"), TypeError, "an Error, a callable that gives its magnitude"),
        (declare_implementation, dict(domain=True), TypeError, "callable as the operation is"),
        (declare_implementation, dict(view="yes"), TypeError, "a bool"),
        (declare_implementation, dict(name="my scan"), ValueError, "a name without spaces and colons"),
        (declare_implementation, dict(function=3, name="three"), TypeError, "callable"),
        (declare_implementation, dict(waives={"vmap": "why"}), ValueError, "a check of what gradient promises"),
        (declare_implementation, dict(refuted={"gradient": "a"}, gradient=None), ValueError, "what gradient promises"),
        (declare_implementation, dict(asynchronous=True, devices=("cpu",)), ValueError, "without 'cuda'"),
        (implementation, dict(operation=scan), TypeError, 'write @implementation("operation"), not @implementation'),
        (declare_implementation, dict(waved={}), TypeError, "unexpected keyword argument 'waved'"),
        (declare_workload, dict(operation="cumsun"), ValueError, "did you mean 'cumsum'?"),
        (declare_workload, dict(sizes=dict(small={"n": 1})), ValueError, "has 'medium' too"),
        (declare_workload, dict(sizes={**SIZES, "odd": {"m": 1}}), ValueError, "the same names as 'medium': n"),
        (declare_workload, dict(sizes={**SIZES, "odd": {"n": -1}}), ValueError, "sizes['odd']['n'] is -1"),
        (declare_workload, dict(sizes={**SIZES, "odd": {"n": 1.5}}), TypeError, "an int"),
        (declare_workload, dict(arguments=lambda rng, m: m), TypeError, "callable as (rng, n)"),
        (declare_workload, dict(least_bytes=lambda n: n), TypeError, "callable as (itemsize, n)"),
        (declare_workload, dict(least_operations=lambda m: m), TypeError, "callable as (n)"),
        (declare_workload, dict(long=({"m": 1},)), ValueError, "long[0]"),
        (declare_workload, dict(read_from={"m": "len(x)"}), ValueError, "read_from names a size that is 'm'"),
        (declare_workload, dict(read_from={"n": "len(x"}), ValueError, "a Python expression"),
        (declare_workload, dict(growths=(3,)), TypeError, "a Growth"),
        (declare_growth, dict(small=lambda: None), TypeError, "callable as (rng)"),
        (declare_growth, dict(arguments={}), ValueError, "nothing would grow"),
        (declare_growth, dict(arguments={-1: 0}), ValueError, "at least 0"),
        (declare_growth, dict(result=0), TypeError, "a tuple of int"),
    ],
)
def test_a_wrong_field_is_refused_when_it_is_declared(declare, given, kind, words):
    with pytest.raises(kind) as caught:
        declare(**given)
    told = str(caught.value)
    assert words in told
    if "unexpected keyword" not in told:
        assert told.startswith(("tests/test_declarations.py:", __file__))


def test_the_error_names_the_line_of_the_declaration():
    with pytest.raises(ValueError, match="kind") as caught:
        Operation("scan", "one line", **{**OPERATION, "kind": "exakt"})
    line = caught.traceback[0].lineno + 1
    assert str(caught.value).partition(": ")[0].endswith(f"test_declarations.py:{line}")


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (
            lambda: declare_operation(baseline="nobody"),
            "baseline is 'nobody'; it must be one that is declared, and none",
        ),
        (
            lambda: (declare_operation(usual=("skan",)), declare_implementation("scan")),
            "usual is 'skan'; it must be 'scan'",
        ),
        (
            lambda: (declare_operation(baseline="scan"), declare_implementation("scan", refuted={"laws": "why"})),
            "baseline is 'scan'",
        ),
        (lambda: (declare_operation(), declare_implementation("scan", dtypes=("int8",))), "dtypes[0] is 'int8'"),
        (
            lambda: (declare_operation(fresh=True), declare_implementation("scan", view=True)),
            "view is True; it must be left",
        ),
        (
            lambda: (declare_operation(), declare_implementation("scan", lambda x: x, name="one")),
            "function is <lambda>(x); it must be callable as (x, dim=0)",
        ),
        (
            lambda: (declare_operation(), declare_implementation("scan", error=lambda x: x)),
            "error.magnitude is <lambda>(x); it must be callable as (x, dim=0)",
        ),
        (
            lambda: (declare_operation(), declare_implementation("scan", domain=lambda x: x)),
            "domain is <lambda>(x); it must be callable as (x, dim=0)",
        ),
        (
            lambda: (declare_operation(), declare_workload("scan", read_from={"n": "len(y)"})),
            "read_from['n'] is 'len(y)'; it must be in terms of x, dim; y is not one of them",
        ),
        (
            lambda: (declare_operation(), declare_workload("scan", growths=(declare_growth(arguments={2: 0}),))),
            "growths is 2; it must be places of arguments of scan(x, dim=0)",
        ),
    ],
)
def test_declarations_that_do_not_go_together_are_refused_when_they_are_used(declare, words):
    declare()
    for use in (lambda: opjury.audit("scan"), registry.operations):
        with pytest.raises((TypeError, ValueError)) as caught:
            use()
        assert words in str(caught.value)
    assert registry.operation("cumsum").name == "cumsum"


def test_what_is_right_is_kept():
    made = declare_operation(usual=("scan",), baseline="scan", laws=(Law("all", side),))
    assert declare_implementation("scan", error=lambda x, dim=0: x) is scan
    declare_workload("scan", read_from={"n": "len(x)"}, growths=(declare_growth(),))
    assert registry.operation("scan") is made
    assert registry.entry("scan", "scan").error.magnitude is not None
    assert dataclasses.replace(registry.entry("scan", "scan"), view=True).view
    assert registry.workload("scan").name_of({"n": 2}) == "medium"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("@opjury.implementation('cumsun')\ndef f(x, dim): return x", "operation is 'cumsun'"),
        ("@opjury.implementation('cumsum')\ndef f(x): return x", "f(x); it must be callable as (x, dim)"),
        (
            "def f(x): return x\n"
            "opjury.Operation('scan', 'one line', kind='exact', reference=f, cases=f, rejects=f, baseline='nobody')",
            "baseline is 'nobody'",
        ),
    ],
)
def test_a_declaration_of_a_plugin_that_does_not_go_with_others_is_left_out(tmp_path, code, words):
    plugin(tmp_path, "misfit", "import opjury\n" + code)
    program = "import opjury.model.registry as r; r.operations(); print(len(r.operations()), len(r.implementations()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(registry.operations())), str(len(registry.implementations()))]
    assert words in done.stderr
    assert "plug-in 'misfit' of misfit was left out: misfit.py:" in done.stderr


def test_authors_need_one_import_and_no_torch_for_it(tmp_path):
    assert set(contract.__all__) <= set(dir(contract))
    for name in contract.__all__:
        assert getattr(contract, name) is not None
    light = "import sys; from opjury.contract import Gradient, implementation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", light], check=True, cwd=tmp_path)


def test_the_old_places_still_work_and_say_so():
    from opjury import operation

    with pytest.warns(DeprecationWarning, match=r"import COMPLEX from opjury\.contract"):
        assert operation.COMPLEX == contract.COMPLEX
    with pytest.raises(AttributeError):
        operation.nothing  # noqa: B018
    with pytest.warns(DeprecationWarning, match=r"import Space from opjury\.contract"):
        from opjury.verify.strategies import Space
    assert Space is contract.Space


def test_a_module_that_is_imported_later_runs_when_it_is_used(tmp_path, monkeypatch):
    (tmp_path / "lazy").mkdir()
    (tmp_path / "lazy" / "__init__.py").write_text("import lazy.part\nready = lazy.part.ready\n")
    (tmp_path / "lazy" / "part.py").write_text("ready = True\n")
    (tmp_path / "broken_to_import.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    import_later("lazy", "broken_to_import", "not_there_to_import")
    import broken_to_import
    import lazy

    assert "lazy.part" not in sys.modules
    assert lazy.ready
    assert type(lazy) is ModuleType
    assert sys.modules["lazy"] is lazy
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            _ = broken_to_import.anything
    assert "broken_to_import" not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        import not_there_to_import  # noqa: F401
