"""Declared weaknesses: whoever has one is not recommended, unless that is accepted, but told, with what may come of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import opjury
from opjury.choose import setting_of
from opjury.cli.main import main
from opjury.eligible import is_looser, waived
from opjury.measure.apart import Footprint
from opjury.measure.contest import FLOOR, Competitor, ContestResult
from opjury.measure.race import measure
from opjury.measure.recommend import ChoiceRequest, measurements, recommend
from opjury.model import records, registry
from opjury.model.implementation import Implementation
from opjury.run.ship import Here
from opjury.sweep import dispatcher, sweep
from tests.test_choose import SMALL, right

WEAK = {"error": "after 1e8: 0 for 1", "specials": "one NaN reaches the whole column"}


def contested(seconds, waived, accept=()):
    """The measurements of a contest of 60 rounds, without noise."""
    columns = {name: np.full(60, each) for name, each in {**seconds, FLOOR: 1e-7}.items()}
    outcome = ContestResult(seconds=columns, least={name: column[0] for name, column in columns.items()})
    request = ChoiceRequest(setting_of("circulant", {"n": 8}), accept=accept)
    return request, measurements(request, outcome, dict.fromkeys(columns, Footprint(1e-5, 1e-5, 0)), waived)


def test_what_has_a_weakness_is_not_recommended_but_told():
    seconds = {"fast": 1e-6, "slow": 1e-4, "usual": 2e-5, "slow_too": 3e-4}
    request, found = contested(seconds, {"fast": WEAK, "slow_too": {"specials": "a NaN spreads"}})
    assert [m.implementation for m in found] == ["usual", "slow", "fast", "slow_too"]
    assert [round(m.ratio, 3) for m in found] == [1, 5, 0.05, 15]
    assert [m.tied for m in found] == [True, False, False, False]
    chosen = recommend(request, found, {})
    assert (chosen.implementation, chosen.tied, chosen.accepted) == ("usual", ("usual",), ())
    assert chosen.reason.startswith("the next, slow, takes 5 times as long")
    assert chosen.alternative == "fast"
    assert (
        chosen.alternative_reason
        == "20 times as fast [20, 20], but after 1e8: 0 for 1; one NaN reaches the whole column"
    )


@pytest.mark.parametrize(
    ("accept", "taken", "alternative"),
    [
        ((), "usual", "fast"),
        (("specials",), "nearly", "fast"),
        (("error",), "usual", "fast"),
        (("error", "specials"), "fast", ""),
    ],
)
def test_what_is_accepted_is_ranked_together(accept, taken, alternative):
    waived = {"fast": WEAK, "nearly": {"specials": "a NaN spreads"}}
    request, found = contested({"usual": 1e-4, "nearly": 1e-5, "fast": 1e-6}, waived, accept)
    chosen = recommend(request, found, {})
    assert (chosen.implementation, chosen.alternative, chosen.accepted) == (taken, alternative, accept)
    assert found[0].implementation == found[0].reference == taken


def test_what_has_a_weakness_and_is_no_faster_is_not_told():
    request, found = contested({"usual": 1e-5, "weak": 1e-5 / 1.01, "slow": 2e-5}, {"weak": WEAK, "slow": WEAK})
    chosen = recommend(request, found, {})
    assert (chosen.implementation, chosen.alternative, chosen.alternative_reason) == ("usual", "", "")
    assert "the only one that holds up without a declared weakness" in chosen.reason


def test_a_declared_waiver_that_was_not_needed_is_told():
    request, found = contested({"fast": 1e-6, "slow": 1e-4}, {})
    chosen = recommend(request, found, {}, {"fast": {"specials": "in bfloat16 a NaN spreads"}, "slow": {"laws": "why"}})
    assert chosen.implementation == "fast"
    assert chosen.reason.endswith(
        "100 times as long [100, 100]; specials holds here, though it is waived: in bfloat16 a NaN spreads"
    )


def test_where_all_have_a_weakness_none_is_recommended():
    request, found = contested({"slow": 1e-4, "fast": 1e-6}, {"slow": WEAK, "fast": WEAK})
    chosen = recommend(request, found, {})
    assert (chosen.implementation, chosen.tied, chosen.alternative) == ("", (), "fast")
    assert chosen.reason == "no implementation holds up without a declared weakness and fulfils the request"
    assert chosen.alternative_reason.startswith("the fastest that holds up, but after 1e8")


def test_the_best_without_a_weakness_stays_in_a_contest_though_another_is_far_faster():
    def slow(c):
        return torch.stack([right(c) for _ in range(60)])[0]

    def slower(c):
        return torch.stack([right(c) for _ in range(600)])[0]

    rivals = tuple(Competitor(f.__name__, Here(f)) for f in (slow, slower))
    fast = replace(SMALL.competitors[0], ranked=False)
    outcome = measure(replace(SMALL, competitors=(*rivals, fast)))
    assert outcome.left == {"slower"}


@pytest.fixture
def two(tmp_path):
    """Verdicts of two implementations: one that is slow, and one that is far faster and waives a check."""
    common = dict(operation="moving_mean", check="agreement", status="holds", dtypes=("float32",), examples=1)
    weak = dict(check="specials", status="waived", waiver="a NaN before a window reaches it", examples=1)
    found = [records.Verdict(implementation=name, **common) for name in ("unfold_mean", "prefix_sum_difference")]
    found += [records.Verdict(implementation="prefix_sum_difference", **{**common, **weak})]
    records.write(tmp_path / "two.jsonl", found)
    return tmp_path / "two.jsonl"


LARGE = ("choose", "moving_mean", "rows=1", "n=60000", "window=6000", "--seconds", "0.2", "--seed", "1")


@pytest.mark.slow(reason="contests")
def test_the_command_tells_what_is_faster_below_a_line(two, tmp_path):
    target = tmp_path / "choice.jsonl"
    done = CliRunner().invoke(main, [*LARGE, "--trust", str(two), "--json", str(target)])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    starts = ("unfold_mean", "── with a declared weakness", "prefix_sum_difference ")
    above, line, below = (next(n for n, text in enumerate(lines) if text.startswith(start)) for start in starts)
    assert above < line < below
    assert lines[below + 1].rstrip() == "  after 1e8: 0 for 1; a NaN before a window reaches it"
    told = " ".join(done.output.split())
    assert "Use unfold_mean: it is the only one that holds up without a declared weakness" in told
    assert "prefix_sum_difference is " in told
    assert "times as fast" in told
    assert "but after 1e8: 0 for 1; a NaN before a window reaches it. To rank it, too: --accept error,specials" in told
    *_, chosen = records.read(target)
    assert (chosen.implementation, chosen.alternative) == ("unfold_mean", "prefix_sum_difference")
    done = CliRunner().invoke(main, [*LARGE, "--trust", str(two), "--accept", "specials, error"])
    told = " ".join(done.output.split())
    assert "Use prefix_sum_difference: the next, unfold_mean, takes" in told
    assert "It waives error: after 1e8: 0 for 1. It waives specials: a NaN before a window reaches it." in told
    assert "weakness" not in told


@pytest.mark.slow(reason="several contests")
def test_a_dispatcher_has_no_weakness_that_is_not_accepted(two):
    options = dict(workload={"rows": 1, "window": 3000}, trust=two, points=2, refinements=0, seconds=0.1, seed=1)
    found = sweep("moving_mean", "n", 30_000, 60_000, **options)
    assert {choice.recommendation.alternative for choice in found.choices} == {"prefix_sum_difference"}
    assert "prefix_sum_difference" not in dispatcher(found)
    code = dispatcher(sweep("moving_mean", "n", 30_000, 60_000, accept=("error", "specials"), **options))
    assert "unfold_mean" not in code
    assert "prefix_sum_difference waives error: after 1e8: 0 for 1.\n" in code
    assert "prefix_sum_difference waives specials: a NaN before a window reaches it.\n" in code


OWN_BOUNDS = [entry for entry in registry.implementations() if entry.error is not None]


@pytest.mark.parametrize("entry", OWN_BOUNDS, ids=lambda entry: f"{entry.operation}-{entry.name}")
def test_a_looser_error_bound_has_a_worst_case(entry):
    dtypes = [dtype for dtype in ("float16", "float32", "complex64") if dtype in (entry.dtypes or (dtype,))]
    looser = [dtype for dtype in dtypes if is_looser(entry.operation, entry.error, dtype)]
    assert bool(looser) == bool(entry.error.worst)
    assert entry.error.accumulates == "float32" or looser == ["float16"]


def test_a_tighter_bound_is_no_weakness():
    def compensated(x, dim):
        return np.minimum(cumsum_positions(x, dim), 1)

    def once_more(x, dim):
        return cumsum_positions(x, dim) + 1

    def from_the_end(x, dim):
        return np.flip(np.cumsum(np.flip(x.reshape(x.shape or (1,)), dim), axis=dim), dim).reshape(x.shape)

    def cumsum_positions(x, dim):
        return registry.operation("cumsum").terms(x, dim)

    assert not is_looser("cumsum", opjury.Error(terms=compensated), "float32")
    assert is_looser("cumsum", opjury.Error(terms=once_more), "float32")
    assert is_looser("cumsum", opjury.Error(magnitude=from_the_end, terms=compensated), "float32")
    assert not is_looser("cumsum", opjury.Error(terms=once_more), "int64")  # whose sums are exact


def test_a_bound_without_words_is_told_all_the_same():
    entry = Implementation("cumsum", "mine", torch.cumsum, error=opjury.Error(accumulates="input"))
    assert waived(entry, [], "float16") == {"error": "its own error bound"}
    assert waived(entry, [], "float32") == {}


X, PAIR = torch.tensor([1e8, 1, 1]), torch.tensor([[1, 3]])
HALF = torch.tensor([[[[2048.0, 1, 1]]]], dtype=torch.float16)
THREE = torch.ones(1, 1, 1, 3, dtype=torch.float16)
FAR = torch.tensor([[[[1e8, 0, 0, 0, 0, 0, 0, 1]]]])
UNIT, ONE = torch.tensor([1.0, 0, 0, 0]), torch.ones(1, 1, 1, 1)
WORST = {  # arguments, place in the flat result, and what is right there
    "moving_mean:prefix_sum_difference": ((X, 2), 1, 1),
    "moving_mean:fft_convolution": ((X, 2), 1, 1),
    "slice_mean:prefix_sum_difference": ((X, PAIR), 0, 1),
    "slice_mean:trimmed_prefix_sum": ((X, torch.tensor([[0, 1], [1, 3]])), 1, 1),
    "slice_mean:centred_prefix_sum": ((X, PAIR), 0, 1),
    "slice_mean:blocked_prefix_sum": ((X, PAIR), 0, 1),
    "slice_mean:float64_prefix_sum": ((torch.tensor([1e17, 1, 1]), PAIR), 0, 1),
    "toeplitz_matmul:fft_circulant_embedding": ((UNIT, UNIT, torch.tensor([1, 1e8, 0, 0])), 0, 1),
    "toeplitz_matmul:scipy_matmul_toeplitz": ((UNIT, UNIT, torch.tensor([1, 1e20, 0, 0])), 0, 1),
    "conv2d:shift_and_accumulate": ((HALF, THREE), 0, 2050),
    "conv2d:fft": ((FAR, ONE), 7, 1),
    "compose_conv2d:torch_conv_transpose2d": ((HALF, THREE), 2, 2050),
    "compose_conv2d:shifted_einsum": ((HALF.flip(-1), THREE), 2, 2050),
    "compose_conv2d:fft": ((FAR, ONE), 7, 1),
    "convolve2d:outer_product_scatter": ((HALF[0, 0].flip(-1), THREE[0, 0]), 2, 2050),
    "convolve2d:shift_and_accumulate": ((HALF[0, 0].flip(-1), THREE[0, 0]), 2, 2050),
    "convolve2d:fft": ((FAR[0, 0], ONE[0, 0]), 7, 1),
}


def test_every_worst_case_happens():
    told = {f"{entry.operation}:{entry.name}" for entry in OWN_BOUNDS if entry.error.worst}
    assert told == {*WORST, "toeplitz_matmul:convolution"}
    for name, (arguments, place, right_there) in WORST.items():
        seen = opjury.get(*name.split(":"))(*arguments).flatten()[place].item()
        assert abs(seen - right_there) > 0.3, (name, seen)


def test_the_worst_case_of_complex_products_happens():
    c, x = torch.tensor([0.54 + 1.41j]), torch.tensor([-0.43 - 0.73j])
    right_there = (c.to(torch.complex128) * x.to(torch.complex128)).item()
    seen = opjury.get("toeplitz_matmul", "convolution")(c, c, x).item()
    assert abs(seen - right_there) > 2 * 5**0.5 * 2**-24 * abs(right_there)  # which the contract allows


def test_older_recommendations_are_read():
    chosen = records.Recommendation(
        operation="circulant", sizes={"n": 8}, dtype="float32", implementation="a", reason="it is the fastest"
    )
    line = json.loads(records.encode(chosen))
    for name in ("accepted", "alternative", "alternative_reason"):
        del line[name]
    assert records.decode(json.dumps(line)) == chosen
