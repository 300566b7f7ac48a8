"""Choosing: what may compete, who is disqualified, what is recommended, and the files it writes."""

import inspect
import math
import time
from dataclasses import replace

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import opjury
from opjury.choose import setting_of
from opjury.cli.main import main
from opjury.cli.options import size_in_bytes
from opjury.judge.draw import workload_case
from opjury.judge.oracle import evaluate
from opjury.measure.apart import Footprint, footprint
from opjury.measure.block import Inputs
from opjury.measure.contest import FLOOR, Competitor, Contest, ContestResult
from opjury.measure.race import measure
from opjury.measure.recommend import ChoiceRequest, measurements, recommend
from opjury.measure.statistics import Ratio, fastest, ratio
from opjury.model import records, registry
from opjury.model.registry import Impossible
from opjury.run.ship import Here
from opjury.sweep import dispatcher, sweep

SMALL = Contest(setting_of("circulant", {"n": 24}), (Competitor("broadcasted_index"),), rounds=20)


def right(c):
    if c.ndim != 1:
        raise ValueError(f"c has {c.ndim} dimensions; it should have 1")
    rows = torch.arange(len(c))
    return c[(rows[:, None] - rows) % max(len(c), 1)]


def contest(*functions, **changes):
    """A contest of functions with the baseline, in this process."""
    rivals = tuple(Competitor(f.__name__, Here(f)) for f in functions)
    return measure(replace(SMALL, competitors=(*SMALL.competitors, *rivals), **changes))


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """Verdicts of all circulant implementations, of a few examples each."""
    path = tmp_path_factory.mktemp("records") / "circulant.jsonl"
    found = opjury.audit("circulant", dtypes=["float32"], seed=1, scale=0.1, database="")
    records.write(path, found.verdicts)
    return path


def test_what_speed_is_compared_with_is_there_and_right():
    for contract in registry.operations():
        entries = {entry.name: entry for entry in registry.implementations(contract.name)}
        named = {contract.baseline, *contract.usual}
        assert contract.usual
        assert {name for name in named if name not in entries or entries[name].refuted} == set()


def test_ratios_of_paired_times():
    rng = np.random.default_rng(0)
    noise = np.exp(rng.standard_normal(100))  # common to both: pairs cancel it
    same = ratio(noise * np.exp(rng.normal(0, 0.01, 100)), noise)
    assert not same.slower
    assert not same.faster
    slower = ratio(noise * 1.05 * np.exp(rng.normal(0, 0.01, 100)), noise)
    assert slower.slower
    assert slower.low < 1.05 < slower.high
    assert slower.inverse.faster


def test_a_ratio_of_few_rounds_has_no_interval():
    assert ratio(np.full(5, 2.0), np.ones(5)) == Ratio(2.0, 0.0, math.inf)
    assert not ratio(np.full(5, 2.0), np.ones(5)).slower


def test_more_comparisons_widen_the_interval():
    rng = np.random.default_rng(1)
    first, second = np.exp(rng.standard_normal((2, 60)))
    assert ratio(first, second, 20).low < ratio(first, second).low


def test_rounds_that_one_sat_out_do_not_count():
    assert fastest({"a": np.array([1.0, 9.0, 9.0]), "b": np.array([2.0, np.nan, np.nan])}) == "a"


def test_no_timed_call_sees_arguments_twice():
    case = workload_case(registry.workload("circulant"), setting_of("circulant", {"n": 6}), 0)
    other = workload_case(registry.workload("circulant"), setting_of("circulant", {"n": 6}), 1)
    inputs = Inputs([case, other], "cpu", False, 2)
    before = [args[0].clone() for args, _ in inputs.refresh(2)]
    after = [args[0] for args, _ in inputs.refresh(2)]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for (args, _), held in zip(inputs.live, inputs.held, strict=True):
        assert torch.equal(args[0], (case, other)[held].build()[0][0])


def test_right_functions_stay():
    outcome = contest(right)
    assert not outcome.faults
    assert set(outcome.seconds) == {"broadcasted_index", "right", FLOOR}
    assert all(np.all(column[~np.isnan(column)] > 0) for column in outcome.seconds.values())
    assert outcome.ulps["right"] == 0


def test_who_remembers_results_is_disqualified():
    memory = {}

    def remembering(c):
        return memory.setdefault(c.data_ptr(), right(c))

    assert "different result" in contest(remembering).faults["remembering"]


def test_who_stops_computing_when_it_is_timed_is_disqualified():
    calls = []

    def lazy(c):
        calls.append(1)
        return right(c) if len(calls) < 5 else torch.zeros(len(c), len(c))

    assert "different result" in contest(lazy).faults["lazy"]


def test_who_is_wrong_at_these_sizes_is_disqualified():
    def short(c):
        return right(c) if len(c) < 20 else right(c)[:-1]

    assert "different result" in contest(short).faults["short"]


def test_who_waits_is_disqualified():
    def waiting(c):
        result = right(c)
        time.sleep(0.001)
        return result

    slow = Competitor("broadcasted_index", slowed=20.0)
    outcome = measure(replace(SMALL, competitors=(slow, Competitor("waiting", Here(waiting)))))
    assert "it waits" in outcome.faults["waiting"]


def test_who_raises_is_disqualified_and_the_others_go_on():
    def raising(c):
        raise RuntimeError("not today")

    outcome = contest(raising, right)
    assert "not today" in outcome.faults["raising"]
    assert "right" in outcome.seconds


def test_a_contest_ends_where_all_are_disqualified():
    calls = []

    def failing_later(c):
        calls.append(1)
        if len(calls) > 6:
            raise RuntimeError("not today")
        return right(c)

    outcome = measure(replace(SMALL, competitors=(Competitor("failing_later", Here(failing_later)),)))
    assert "not today" in outcome.faults["failing_later"]
    assert set(outcome.seconds) == {FLOOR}


def test_gradients_are_measured_and_verified():
    def detached(c):
        return right(c.detach()) + 0 * c.sum()

    outcome = contest(right, detached, setting=setting_of("circulant", {"n": 24}, gradient=True))
    assert "right" in outcome.seconds
    assert "different result" in outcome.faults["detached"]


def test_the_first_call_and_its_memory():
    def hungry(c):
        return right(c) + torch.ones(2**23).sum() * 0

    found = footprint((SMALL, Competitor("hungry", Here(hungry))))
    assert found.seconds > 0
    assert not found.fault
    assert found.again_seconds > 0
    assert found.peak_bytes is None or found.peak_bytes > 2**24


def test_choose_recommends_one_that_holds_up(trusted):
    choice = opjury.choose("circulant", {"n": 32}, trust=trusted, seconds=0.2, seed=1)
    assert choice.implementation in {entry.name for entry in registry.implementations("circulant") if not entry.refuted}
    assert choice.recommendation.reason
    assert choice.implementation in choice.recommendation.tied
    assert choice.measurements[0].ratio == 1
    for entry in registry.implementations("circulant"):
        assert (entry.name in choice.excluded) != (entry.name in {m.implementation for m in choice.measurements})
    assert callable(opjury.get("circulant", choice.implementation))


@pytest.mark.parametrize(
    ("operation", "workload"),
    [("circulant", "small"), *((o.name, "large") for o in registry.operations() if o.result == "sparse")],
)
def test_without_a_verdict_nobody_competes(tmp_path, operation, workload):
    (tmp_path / "none.jsonl").write_text("")
    choice = opjury.choose(operation, workload, trust=tmp_path / "none.jsonl", seed=1)
    assert choice.implementation == ""
    assert not choice.measurements
    assert any("no verdict" in reason for reason in choice.excluded.values())


@pytest.mark.slow(reason="an audit of a whole operation, and a contest")
def test_a_function_of_ones_own_competes_and_a_wrong_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def written(transposed):
        def mine(c):
            return right(c).T if transposed else right(c)

        return mine

    choice = opjury.choose("circulant", {"n": 16}, functions=[right, written(True)], seconds=0.2, seed=1)
    assert "right" in {m.implementation for m in choice.measurements}, choice.excluded
    assert choice.excluded["mine"].startswith("refuted in agreement")
    again = opjury.choose("circulant", {"n": 16}, functions=[right, written(False)], seconds=0.2, seed=2)
    assert "mine" in {m.implementation for m in again.measurements}, again.excluded


@pytest.mark.slow(reason="an audit of a whole operation, and a contest")
def test_verdicts_that_cannot_be_kept_are_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"cannot be written.*judged again"):
        choice = opjury.choose("circulant", {"n": 16}, seconds=0.2, seed=1)
    assert choice.implementation


def test_a_function_must_not_be_taken_for_another_one():
    def gather(c):
        return right(c)

    for functions in ([gather], [right, right]):
        with pytest.raises(Impossible, match="named"):
            opjury.choose("circulant", {"n": 16}, functions=functions)


def made(name, ratio_, tied, **changes):
    request = dict(operation="circulant", sizes={"n": 8}, dtype="float32", seconds=1e-6 * ratio_, reference="a")
    return records.Measurement(
        **request, implementation=name, ratio=ratio_, low=ratio_, high=ratio_, tied=tied, floor_seconds=1e-6, **changes
    )


def test_among_ties_the_one_that_waives_less_is_taken():
    ranked = [made("a", 1.0, True, waived={"specials": "why"}), made("b", 1.01, True), made("c", 2.0, False)]
    found = recommend(ChoiceRequest(setting_of("circulant", {"n": 8}), accept=("specials",)), ranked, {})
    assert found.implementation == "b"
    assert found.tied == ("a", "b")
    assert "waives less" in found.reason


def test_who_left_the_rounds_is_never_the_best_though_the_machine_was_busy_afterwards():
    """Calls before a busy time look shorter than calls in it."""
    columns = {"left": np.array([1e-5, 1e-5, 1e-5, np.nan]), "stayed": np.full(4, 3e-5), FLOOR: np.full(4, 1e-6)}
    outcome = ContestResult(seconds=columns, least=dict.fromkeys(columns, 1e-06), left={"left"})
    request = ChoiceRequest(setting_of("circulant", {"n": 8}))
    first = {name: Footprint(1e-5, 1e-5, 0) for name in columns}
    found = measurements(request, outcome, first, {})
    assert {m.implementation: (m.reference, m.tied) for m in found} == {
        "stayed": ("stayed", True),
        "left": ("stayed", False),
    }
    assert recommend(request, found, {}).implementation == "stayed"


def test_the_fastest_is_taken_where_nothing_ties():
    found = recommend(
        ChoiceRequest(setting_of("circulant", {"n": 8})), [made("a", 1.0, True), made("b", 3.0, False)], {}
    )
    assert found.implementation == "a"
    assert "b, takes 3 times as long" in found.reason


@pytest.mark.slow(reason="several contests")
def test_a_sweep_and_the_dispatcher_that_it_writes(trusted, tmp_path):
    found = sweep("circulant", "n", 8, 512, points=3, refinements=1, trust=trusted, seconds=0.2, seed=1)
    assert found.choices[0].recommendation.sizes == {"n": 8}
    assert found.uses[-1][1] is None
    target = tmp_path / "dispatch.py"
    target.write_text(dispatcher(found))
    done = CliRunner().invoke(
        main, ["audit", f"{target}:circulant", "--as", "circulant", "--check", "agreement", "--check", "rejects"]
    )
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("operation", [operation.name for operation in registry.operations()])
def test_workloads_read_their_sizes_from_a_call(operation):
    contract, workload = registry.operation(operation), registry.workload(operation)
    sizes = workload.sizes["small"]
    case = workload_case(workload, setting_of(contract.name, sizes), 0)
    args, kwargs = case.build()
    bound = inspect.signature(contract.reference).bind(*args, **kwargs)
    bound.apply_defaults()
    for name, expression in workload.read_from.items():
        assert eval(expression, {}, dict(bound.arguments)) == sizes[name], (name, expression)
    assert evaluate(contract, case).shape is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circulant", "n=-1"], "at least 0"),
        (["circulant", "n=1.5"], "not a whole number"),
        (["circulant", "m=3"], "unknown size of circulant 'm'"),
        (["circulant", "huge"], "unknown workload of circulant 'huge'"),
        (["circulant", "n=1e9"], "GiB are free"),
        (["circulant", "small", "large"], "two workloads"),
        (["circulant", "--needs", "vamp"], "did you mean 'vmap'"),
        (["circulant", "--accept", "specails"], "unknown weakness 'specails'; did you mean 'specials'"),
        (["circulant", "--accept", "specials,errors"], "did you mean 'error'"),
        (["circulant", "--emit", "x.py"], "it needs --sweep"),
        (["circulant", "--sweep", "n=5"], "SIZE=LOW..HIGH"),
        (["circulant", "--sweep", "n=9..5"], "no range"),
        (["slice_mean", "length=1e5"], "between 1 and 10000"),
        (["difference_matrix", "--gradient"], "has no gradient"),
        (["circulant", "--with", "nowhere.py:f"], "there is no file nowhere.py"),
        (["circulant", "--mixed"], "it needs --cluster"),
        (["circulant", "--trust", __file__, "--jobs", "2"], "with --trust there is none"),
    ],
)
def test_impossible_requests_say_what_is_wrong(arguments, message):
    done = CliRunner().invoke(main, ["choose", *arguments])
    assert done.exit_code != 0
    told = done.output + str(done.exception)
    assert message in " ".join(told.split())


def test_a_self_test_takes_seed_and_seconds(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "opjury.measure.self_test.self_test", lambda trials, **options: asked.append((trials, options)) or []
    )
    done = CliRunner().invoke(main, ["choose", "--self-test", "2", "--seed", "5", "--seconds", "0.5"])
    assert done.exit_code == 0, done.output
    ((trials, options),) = asked
    assert (trials, options["seed"], options["seconds"]) == (2, 5, 0.5)


def test_the_command_writes_records(trusted, tmp_path):
    target = tmp_path / "choice.jsonl"
    arguments = ["choose", "circulant", "n=16", "--trust", str(trusted), "--seconds", "0.2", "--json", str(target)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "Use " in done.output
    *ranked, last = records.read(target)
    assert all(isinstance(record, records.Measurement) for record in ranked)
    assert isinstance(last, records.Recommendation)
    assert last.implementation in {m.implementation for m in ranked}


@pytest.mark.parametrize(
    ("text", "size"), [("4096", 4096), ("64MiB", 2**26), ("1.5GB", 1_500_000_000), ("1e6", 1_000_000), ("2 kib", 2048)]
)
def test_memory_is_allowed_with_units(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "1.2.3MB", "-4", "5XB"])
def test_memory_that_is_no_size_is_named(text):
    with pytest.raises(click.BadParameter, match="is not a size"):
        size_in_bytes(text)
