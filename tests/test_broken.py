"""Every wrong function of the catalogue is refuted, and no right one is."""

import pytest
import torch

import opjury
from opjury import registry
from opjury.execute import run_here
from opjury.operation import CHECKS, Gradient, Implementation
from opjury.shipping import Here
from opjury.uses.audit import plan
from tests import broken, right
from tests.mutation.mutants import ORDER

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


@pytest.mark.parametrize(
    ("operation", "function"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[1].__name__}") for entry in broken.catalogue()],
)
def test_wrong_functions_are_refuted(operation, function):
    _, why, declared = function.wrong
    first = [check for check in declared if check in CHECKS]
    check = refuting(function, operation, [*first, *(c for c in ORDER if c not in first)])
    if not check and f"{operation}-{function.__name__}" in SURVIVORS:
        pytest.xfail(SURVIVORS[f"{operation}-{function.__name__}"])
    assert check, f"not refuted, although: {why}"


# Of each check a wrong function that no other check refutes for a reason of its own. There is none for `terminates`
# (who hangs is named as such by every check that draws the case) and `laws` (what breaks a relation between calls also returns a wrong
# value somewhere; it says in words what is wrong).
ALONE = {
    "agreement": ("compose_conv2d-half_accumulator", "float16"),
    "specials": ("cumsum-nancumsum", "float32"),
    "form": ("difference_matrix-stored_zeros", "float64"),
    "layouts": ("slice_mean-viewed_slices", None),
    "purity": ("cumsum-changes_default_dtype", None),
    "determinism": ("sliding_window-reused_buffer", "float32"),
    "locality": ("cumsum-mean_removed_from_large", "float64"),
    "gradient": ("cumsum-gradient_off_by_a_thousandth", "float32"),
    "rejects": ("difference_matrix-bool_accepted", "float64"),
}


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
    def cumsum(x, dim):
        if not isinstance(dim, int):
            raise TypeError(f"dim {dim!r}; it should be an integer")
        return rule.apply(x, dim) if x.is_floating_point() or x.is_complex() else x.cumsum(dim)

    promised = Implementation("cumsum", "promising", cumsum, gradient=Gradient(second=True, forward=True, vmap=True))
    tasks = plan(registry.operation("cumsum"), "promising", dtypes=["float32"], function=Here(promised))
    refuted = {verdict.check for _, verdict in run_here(tasks) if verdict.status == "refuted" and not verdict.cause}
    assert refuted == {check}


@pytest.mark.parametrize(
    ("operation", "function"),
    [pytest.param(*entry, id=f"{entry[0]}-{entry[1].__name__}") for entry in right.catalogue()],
)
def test_right_functions_hold_up(operation, function):
    found = opjury.audit(function, operation=operation, isolate=False, seed=0, scale=0.4, database="")
    assert found.ok, found.summary()
