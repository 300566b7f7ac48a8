"""Every wrong function of the catalogue is refuted, and no right one is."""

import contextlib
import copy
import dataclasses

import numpy as np
import pytest
import torch

import opjury
from opjury.judge.judge import run_here
from opjury.judge.task import PROFILES, Request
from opjury.judge.trial import Refuted, Trial
from opjury.model import declared, registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.implementation import Gradient, Implementation
from opjury.run.ship import Here
from tests import broken, right
from tests.mutation.mutants import order

# Wrong functions that the quick profile does not refute, or only with luck, and why.
SURVIVORS = {
    "compose_conv2d-cast_in_loop": "gradients of half types may be added in the half type: autograd does so itself",
    "cumsum-half_backward": "gradients of half types may be added in the half type: autograd does so itself",
    "vector_norm-bfloat16_square_rounded": "within the bound of the few cases of bfloat16 that are drawn",
}


def refuting(function, operation, checks):
    """The first check that refutes the function, or None."""
    found = opjury.audit(function, operation=operation, checks=checks, isolate=False, seed=0, database="", first=True)
    return found.refuted[0].check if found.refuted else None


@pytest.mark.sampled(15)
@pytest.mark.parametrize(
    ("operation", "function"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[1].__name__}") for entry in broken.catalogue()],
)
def test_wrong_functions_are_refuted(operation, function):
    _, why, declared = function.wrong
    first = [check for check in declared if check in registry.checks()]
    check = refuting(function, operation, [*first, *(c for c in order() if c not in first)])
    if not check and f"{operation}-{function.__name__}" in SURVIVORS:
        pytest.xfail(SURVIVORS[f"{operation}-{function.__name__}"])
    assert check, f"not refuted, although: {why}"


# Of each check a wrong function that no other check refutes for a reason of its own; of the others in the tests below.
ALONE = {
    "agreement": ("compose_conv2d-half_accumulator", "float16"),
    "specials": ("cumsum-nancumsum", "float32"),
    "form": ("difference_matrix-stored_zeros", "float64"),
    "calls": ("cumsum-numpy_dim_refused", None),
    "layouts": ("slice_mean-viewed_slices", None),
    "purity": ("cumsum-changes_default_dtype", None),
    "determinism": ("sliding_window-reused_buffer", "float32"),
    "locality": ("cumsum-mean_removed_from_large", "float64"),
    "gradient": ("cumsum-gradient_off_by_a_thousandth", "float32"),
    "rejects": ("difference_matrix-bool_accepted", "float64"),
}


@pytest.mark.slow(reason="audits of whole functions, in all dtypes")
@pytest.mark.parametrize("check", ALONE)
def test_without_this_check_something_wrong_would_pass(check):
    name, dtype = ALONE[check]
    catalogue = {
        f"{operation}-{function.__name__}": (operation, function) for operation, function in broken.catalogue()
    }
    operation, function = catalogue[name]
    found = opjury.audit(
        function, operation=operation, dtypes=[dtype] if dtype else None, isolate=False, seed=0, database=""
    )
    assert {verdict.check for verdict in found.refuted if not verdict.cause} == {check}, found.summary()


def refuted_by_itself(function, contract):
    """The checks that refute a function, in float32, for a reason of their own."""
    tasks = Request(dtypes="float32").tasks(contract.name, "on_trial", Here(function))
    return {verdict.check for _, verdict in run_here(tasks) if verdict.status == "refuted" and not verdict.cause}


class Cumsum(torch.autograd.Function):
    """Right, but for what a derived class changes."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x, dim):
        return x.cumsum(dim)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.dim = inputs[1]

    @staticmethod
    def backward(ctx, grad):
        return grad.flip(ctx.dim).cumsum(ctx.dim).flip(ctx.dim), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return tangent.cumsum(ctx.dim)

    @staticmethod
    def vmap(info, in_dims, x, dim):
        moved = x.movedim(in_dims[0], 0)
        return moved.cumsum(dim if dim < 0 else dim + 1) if moved.ndim > 1 else moved.clone(), 0


class OnceDifferentiable(Cumsum):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return Cumsum.backward(ctx, grad)


class TangentForgotten(Cumsum):
    @staticmethod
    def jvp(ctx, tangent, _):
        return torch.zeros_like(tangent)


class BatchSummed(Cumsum):
    @staticmethod
    def vmap(info, in_dims, x, dim):
        return Cumsum.vmap(info, (0,), x.movedim(in_dims[0], 0).flip(0), dim)


@pytest.mark.parametrize(
    ("check", "rule"),
    [("second_order", OnceDifferentiable), ("forward_mode", TangentForgotten), ("vmap", BatchSummed)],
    ids=["second_order", "forward_mode", "vmap"],
)
def test_what_is_promised_is_judged_by_one_check_alone(check, rule):
    assert refuted_by_itself(promising(rule), registry.operation("cumsum")) == {check}


def promising(rule):
    """A cumsum that promises all derivatives, with these rules."""

    def cumsum(x, dim):
        if not isinstance(dim, (int, np.integer)):
            raise TypeError(f"dim {dim!r}; it should be an integer")
        return rule.apply(x, dim) if x.is_floating_point() or x.is_complex() else x.cumsum(dim)

    return Implementation("cumsum", "promising", cumsum, gradient=Gradient(second=True, forward=True, vmap=True))


class Recomputed(torch.autograd.Function):
    """A call whose backward calls again with copies: whoever differentiates the gradient misses the other argument."""

    @staticmethod
    def forward(ctx, x, weight, options):
        ctx.save_for_backward(x, weight)
        ctx.options = options
        return convolved(x, weight, **options)

    @staticmethod
    def backward(ctx, incoming):
        x, weight = (saved.detach().requires_grad_() for saved in ctx.saved_tensors)
        with torch.enable_grad():
            out = convolved(x, weight, **ctx.options)
        return *torch.autograd.grad(out, (x, weight), incoming, create_graph=incoming.requires_grad), None


def convolved(*args, **options):
    return registry.entry("conv2d", "unfold_then_matmul").function(*args, **options)


def test_a_second_derivative_by_another_argument_is_looked_at():
    def conv2d(x, weight, stride=1, padding=0, dilation=1):
        return Recomputed.apply(x, weight, dict(stride=stride, padding=padding, dilation=dilation))

    checkpointed = Implementation("conv2d", "checkpointed", conv2d, gradient=Gradient(second=True))
    assert refuted_by_itself(checkpointed, registry.operation("conv2d")) == {"second_order"}


@pytest.mark.parametrize(
    ("name", "number", "view", "wrong"),
    [
        ("sliding_window:tensor_unfold", 3, False, "shares memory"),
        ("sliding_window:tensor_unfold", 3, True, None),
        ("cumsum:torch_cumsum", 0, True, None),
    ],
    ids=["undeclared view", "declared view", "declared copy"],
)
def test_memory_is_shared_as_declared(name, number, view, wrong):
    operation, _, implementation = name.partition(":")
    entry = dataclasses.replace(registry.entry(operation, implementation), view=view)
    trial = Trial(registry.operation(operation), entry)
    case = Case((Tensor(np.arange(6.0), "float32"), number))
    with pytest.raises(Refuted, match=wrong) if wrong else contextlib.nullcontext():
        registry.check("purity").run(trial, case)


def test_laws_alone_see_a_mistake_that_the_reference_makes_too(monkeypatch):
    """Whoever writes a contract beside an implementation makes the same mistake twice."""

    def restarting(x, dim):
        if not x.ndim:
            return x
        return np.concatenate([np.cumsum(part, dim) for part in np.split(x, range(4, x.shape[dim], 4), dim)], dim)

    def cumsum(x, dim):
        if not isinstance(dim, (int, np.integer)):
            raise TypeError(f"dim {dim!r}; it should be an integer")
        return torch.cat([part.cumsum(dim) for part in x.split(4, dim)], dim) if x.ndim else x.cumsum(dim)

    contract = copy.copy(registry.operation("cumsum"))
    vars(contract).update(name="restarting_cumsum", reference=restarting, baseline=None, usual=())
    monkeypatch.setitem(declared.OPERATIONS, contract.name, contract)
    assert refuted_by_itself(cumsum, contract) == {"laws"}


def test_who_does_not_return_is_refuted_for_that_alone(monkeypatch):
    def cumsum(x, dim):
        while x.numel() > 2:
            pass
        return x.cumsum(dim)

    monkeypatch.setitem(PROFILES, "quick", dataclasses.replace(PROFILES["quick"], limit=0.2))
    assert refuted_by_itself(cumsum, registry.operation("cumsum")) == {"terminates"}


@pytest.mark.sampled(15)
@pytest.mark.parametrize(
    ("operation", "function"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[1].__name__}") for entry in right.catalogue()],
)
def test_right_functions_hold_up(operation, function):
    found = opjury.audit(function, operation=operation, isolate=False, seed=0, scale=0.2, database="")
    assert found.ok, found.summary()
