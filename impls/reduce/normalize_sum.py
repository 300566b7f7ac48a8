"""normalize_sum(x, dim): x / x.sum(dim, keepdim=True)."""

import functools

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded

QUESTION = "question 5: a custom autograd function for x / sum(x)"


def squares_fit(x, dim):
    """Whether the squares of the sums are far from over- and underflow in float32."""
    total = np.abs(x.sum(axis=dim))
    return bool(np.all(~np.isfinite(total) | ((total > 2.0**-40) & (total < 2.0**40))))


def matrices_fit(x, dim):
    """As `squares_fit`, and matrices of no more than 513 rows or columns, whichever way they are made."""
    return squares_fit(x, dim) and max(x.shape[dim], x.size // x.shape[dim]) <= 513


@implementation("normalize_sum", source=QUESTION, gradient=Gradient(second=True, forward=True, vmap=True))
def plain_division(x, dim):
    """One division an element, gradient by autograd. O(n) work and memory, several temporaries in the backward pass."""
    dim = check_dim(x, dim)
    return x / x.sum(dim, keepdim=True)


@implementation(
    "normalize_sum", source="common", domain=squares_fit, gradient=Gradient(second=True, forward=True, vmap=True)
)
def reciprocal_product(x, dim):
    """One division a sum, one product an element. O(n) work and memory. 1/s² in its gradient over- and underflows."""
    dim = check_dim(x, dim)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return (wide * wide.sum(dim, keepdim=True).reciprocal()).to(x.dtype)


@implementation("normalize_sum", source=QUESTION, gradient=Gradient(second=True, forward=True, vmap=True))
def closed_form_backward(x, dim):
    """Division with the gradient (g − Σ g·y)/s written out. O(n) work and memory, fewer temporaries."""
    dim = check_dim(x, dim)
    return quotient_function(closed_form).apply(x, dim)


@implementation(
    "normalize_sum",
    source="Triton: sum, division and closed-form gradient, each in one kernel",
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX),
    requires="triton",
    asynchronous=True,
)
def fused_kernel(x, dim):
    """Lanes are read once and divided where they are, in backward too. O(n) work, no temporaries. Lanes beyond a tile take torch's steps."""
    from opjury.impls.reduce._triton_normalize_sum import quotients

    return quotients(plain(x), check_dim(x, dim))


@implementation(
    "normalize_sum",
    source=QUESTION,
    domain=matrices_fit,
    dtypes=tuple(dtype for dtype in (*FLOATING, *COMPLEX) if dtype != "float16"),
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def explicit_jacobian(x, dim):
    """Division with the Jacobian (δ·s − x)/s² as a matrix. O(n·rows) memory for the gradient. In float16 s² overflows from s = 256 on."""
    dim = check_dim(x, dim)
    return quotient_function(full_jacobian).apply(x, dim)


@implementation(
    "normalize_sum",
    source="common",
    domain=matrices_fit,
    waives={
        "specials": "zero times NaN: a matrix product spreads it over a row",
        "locality": "zero times NaN: a matrix product spreads it over a row",
    },
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def diagonal_product(x, dim):
    """x times a diagonal matrix of reciprocals. O(n·columns) work, O(columns²) memory."""
    dim = check_dim(x, dim)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    rows = wide.movedim(dim, 0).reshape(x.shape[dim], -1)
    product = rows @ torch.diag(rows.sum(0).reciprocal())
    return product.reshape(wide.movedim(dim, 0).shape).movedim(0, dim).to(x.dtype)


@implementation(
    "normalize_sum",
    source=QUESTION + ", as first asked",
    domain=matrices_fit,
    refuted={"gradient": "what an element does to the other quotients is left out"},
)
def diagonal_jacobian(x, dim):
    """Division with a gradient from the Jacobian's diagonal, g·(s − x)/s². Right for one row alone."""
    dim = check_dim(x, dim)
    return quotient_function(jacobian_diagonal).apply(x, dim)


@implementation(
    "normalize_sum",
    source=QUESTION + ", a matrix shown in an answer",
    domain=matrices_fit,
    refuted={"gradient": "the Jacobian is multiplied from the other side"},
)
def transposed_jacobian(x, dim):
    """Division with the Jacobian used transposed. Right where all elements of a sum are equal."""
    dim = check_dim(x, dim)
    return quotient_function(jacobian_transposed).apply(x, dim)


@implementation(
    "normalize_sum",
    source=QUESTION + ", the asker's second version",
    refuted={
        "purity": "x is divided in place",
        "gradient": "computed from the overwritten x",
        "form": "an expanded x cannot be written to",
        "layouts": "an expanded x cannot be written to",
    },
)
def division_in_place(x, dim):
    """The closed form, with a forward pass that divides its input in place."""
    dim = check_dim(x, dim)
    return quotient_function(closed_form, in_place=True).apply(x, dim)


def closed_form(x, weight, dim):
    """(g − Σ g·ȳ)/s̄."""
    total = x.sum(dim, keepdim=True).conj()
    return (weight - (weight * (x.conj() / total)).sum(dim, keepdim=True)) / total


def jacobian(x, dim):
    """J[…, i, j] = ∂y_j/∂x_i = (δ_ij·s − x_j)/s², with dim moved to the end."""
    x = x.movedim(dim, -1)
    total = x.sum(-1, keepdim=True)[..., None]
    return (torch.eye(x.shape[-1], dtype=x.dtype, device=x.device) * total - x[..., None, :]) / (total * total)


def full_jacobian(x, weight, dim):
    """Σ_j J̄_ij·g_j."""
    return torch.einsum("...ij,...j->...i", jacobian(x, dim).conj(), weight.movedim(dim, -1)).movedim(-1, dim)


def jacobian_transposed(x, weight, dim):
    """Σ_j J̄_ji·g_j, which is wrong."""
    return torch.einsum("...ji,...j->...i", jacobian(x, dim).conj(), weight.movedim(dim, -1)).movedim(-1, dim)


def jacobian_diagonal(x, weight, dim):
    """J̄_ii·g_i, which is not enough."""
    total = x.sum(dim, keepdim=True)
    return weight * ((total - x) / (total * total)).conj()


@functools.cache
def quotient_function(gradient, in_place=False):
    """The autograd function with this gradient, defined when it is first needed because it derives from torch's."""

    class Quotient(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, dim):
            total = x.sum(dim, keepdim=True)
            return x.detach().div_(total).clone() if in_place else x / total

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, ctx.dim = inputs
            ctx.save_for_backward(x)
            ctx.save_for_forward(x, output)

        @staticmethod
        def backward(ctx, weight):
            return gradient(*ctx.saved_tensors, weight, ctx.dim), None

        @staticmethod
        def jvp(ctx, tangent, _):
            x, y = ctx.saved_tensors
            return (tangent - y * tangent.sum(ctx.dim, keepdim=True)) / x.sum(ctx.dim, keepdim=True)

    return Quotient


def check_dim(x, dim):
    """dim, counted from the front.

    Raises
    ------
    IndexError
        For a dimension that x does not have.
    """
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"dim is {dim} for a tensor of shape {tuple(x.shape)}; expected {-x.ndim} <= dim < {x.ndim}")
    return dim % x.ndim
