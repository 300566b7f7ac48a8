"""vector_norm(x): the 2-norm of all elements, a 0-d real tensor."""

import functools
import math

import numpy as np
import scipy
import torch

from opjury.contract import COMPLEX, FLOATING, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded

QUESTION = "question 3: norms in the doubling loop"
EVERYTHING = Gradient(second=True, forward=True, vmap=True)


def squares_fit_single(x):
    """Whether the sum of squares is far from over- and underflow in float32 (a non-finite x has no such sum)."""
    return squares_fit(x, -45, 54)


def squares_fit_double(x):
    """Whether the sum of squares is far from over- and underflow in float64."""
    return squares_fit(x, -480, 500)


def squares_fit(x, lowest, highest):
    """Whether the largest element is zero, not finite, or between these powers of two."""
    largest = np.max(np.abs(x), initial=0.0)
    return not 0 < largest < np.inf or 2.0**lowest <= largest <= 2.0**highest


@implementation(
    "vector_norm",
    source="torch: linalg.vector_norm",
    domain=squares_fit_single,
    gradient=Gradient(second=True, vmap=True),
)
def library(x):
    """torch.linalg.vector_norm. O(n) work, O(1) memory. Squares in float32 overflow beyond 1e19 and vanish below 1e-19."""
    return torch.linalg.vector_norm(check_floating(x))


@implementation("vector_norm", source=QUESTION, domain=squares_fit_single, gradient=EVERYTHING)
def root_of_squares(x):
    """√Σx², the root guarded at zero. O(n) work and memory. It overflows beyond 1e19 in float32."""
    return guarded_root(real_parts(x).square().sum()).to(x.dtype.to_real())


@implementation("vector_norm", source="torch: dot", domain=squares_fit_single, gradient=EVERYTHING)
def root_of_dot(x):
    """√(x·x) by the BLAS product. O(n) work, O(1) memory. It overflows beyond 1e19 in float32."""
    parts = real_parts(x)
    return guarded_root(torch.dot(parts, parts)).to(x.dtype.to_real())


@implementation("vector_norm", source="common", domain=squares_fit_double, gradient=EVERYTHING)
def float64_accumulation(x):
    """√Σx² in float64. O(n) work, 2n doubles of memory, safe for all narrower types, not for float64 beyond 1e150."""
    return guarded_root(real_parts(x).double().square().sum()).to(x.dtype.to_real())


@implementation("vector_norm", source="LAPACK: dlassq before 3.10", gradient=EVERYTHING)
def scaled_by_maximum(x):
    """m·√Σ(x/m)², m = max |x|, detached. Two passes, O(n) memory, safe at every scale."""
    parts = real_parts(x.detach())
    largest = parts.abs().amax() if parts.numel() else parts.new_zeros(())
    scale = torch.where((largest > 0) & torch.isfinite(largest), largest, 1)
    return with_gradient(x, scale * (parts / scale).square().sum().sqrt())


@implementation("vector_norm", source="Anderson, Algorithm 978 (2017): safe scaling in the BLAS", gradient=EVERYTHING)
def blue_three_accumulators(x):
    """Large, medium and small squares added apart, each at its own scale (Blue, 1978). O(n), one pass, always safe."""
    parts = real_parts(x.detach())
    small, large, up, down = blue_constants(parts.dtype)
    size = parts.abs()
    is_large, is_small = size > large, size < small
    high = torch.where(is_large, parts * down, 0).square().sum()
    low = torch.where(is_small, parts * up, 0).square().sum()
    middle = torch.where(is_large | is_small, 0, parts).square().sum()
    with_high = (high + middle * down * down).sqrt() / down
    root, rest = middle.sqrt(), low.sqrt() / up
    longer, shorter = torch.maximum(root, rest), torch.minimum(root, rest)
    ratio = shorter / torch.where((longer > 0) & torch.isfinite(longer), longer, 1)
    return with_gradient(x, torch.where(high > 0, with_high, longer * (1 + ratio * ratio).sqrt()))


@implementation(
    "vector_norm",
    source="Anderson, Algorithm 978 (2017), in Triton",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX),
    requires="triton",
    asynchronous=True,
)
def three_scales_kernel(x):
    """Blue's three accumulators in one Triton kernel, and one that joins them. O(n), read once, always safe. Gradient by torch."""
    from opjury.impls.reduce._triton_vector_norm import norm_of

    double = check_floating(x).dtype in (torch.float64, torch.complex128)
    return norm_of(plain(x), *blue_constants(torch.float64 if double else torch.float32))


@implementation(
    "vector_norm",
    source="torch: hypot",
    waives={"specials": "for hypot, infinity wins over NaN"},
    gradient=EVERYTHING,
)
def hypot_tree(x):
    """hypot of pairs, of pairs of pairs, … O(n) work and memory in log n steps, safe at every scale."""
    values = real_parts(x.detach()).abs()
    while values.numel() > 1:
        values = torch.nn.functional.pad(values, (0, values.numel() % 2))
        values = torch.hypot(values[0::2], values[1::2])
    return with_gradient(x, values.sum())


@implementation("vector_norm", source="BLAS: snrm2 and dnrm2", devices=("cpu",), gradient=Gradient(second=True))
def blas_nrm2(x):
    """The BLAS norm through SciPy. O(n) work, O(1) memory. Its range and accuracy depend on the BLAS."""
    parts = real_parts(x.detach())
    if not parts.numel():
        return with_gradient(x, parts.sum())
    nrm2 = scipy.linalg.blas.dnrm2 if parts.dtype == torch.float64 else scipy.linalg.blas.snrm2
    return with_gradient(x, torch.tensor(nrm2(parts.resolve_neg().numpy()), dtype=parts.dtype))


@implementation(
    "vector_norm",
    source="Python: math.hypot",
    waives={"specials": "for hypot, infinity wins over NaN"},
    gradient=Gradient(second=True, forward=True),
)
def math_hypot(x):
    """math.hypot of all elements as Python numbers: within one ulp of double. O(n) work and memory, in objects."""
    parts = real_parts(x.detach())
    return with_gradient(x, torch.tensor(math.hypot(*parts.tolist()), dtype=torch.float64, device=x.device))


@implementation(
    "vector_norm",
    source=QUESTION + ", as published: sqrt(sum(pow(y, 2)))",
    dtypes=("float32", "float64"),
    domain=squares_fit_single,
    refuted={"gradient": "NaN at x = 0"},
)
def unguarded_root_of_powers(x):
    """√Σx² in the dtype of x. O(n) work and memory. It gives 0/0 in its gradient at zero, infinity for float16 [600, 800]."""
    return torch.sqrt(torch.sum(torch.pow(check_floating(x), 2)))


def guarded_root(square):
    """The square root, whose gradient at zero is left to what is under it."""
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1).sqrt(), square)


def with_gradient(x, norm):
    """The norm, computed outside of autograd, in the result's dtype and with the gradient x/‖x‖."""
    return norm_function().apply(x, norm.to(x.dtype.to_real()))


@functools.cache
def norm_function():
    """The autograd function of a norm that is known, defined when it is first needed because it derives from torch's."""

    class Norm(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, norm):
            return norm.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0], output)
            ctx.save_for_forward(inputs[0], output)

        @staticmethod
        def backward(ctx, weight):
            return unit(*ctx.saved_tensors) * weight, None

        @staticmethod
        def jvp(ctx, tangent, _):
            return (unit(*ctx.saved_tensors).conj() * tangent).real.sum()

    def unit(x, norm):
        return torch.where(norm > 0, x / torch.where(norm > 0, norm, 1), norm.to(x.dtype))

    return Norm


@functools.cache
def blue_constants(dtype):
    """Below which numbers are small, beyond which large, and the factors for both (Anderson, table 1)."""
    info = torch.finfo(dtype)
    digits, least, most = 1 - round(math.log2(info.eps)), round(math.log2(info.tiny)) + 1, round(math.log2(info.max))
    small, large = math.ceil((least - 1) / 2), math.floor((most - digits + 1) / 2)
    up, down = -math.floor((least - digits) / 2), -math.ceil((most + digits - 1) / 2)
    return 2.0**small, 2.0**large, 2.0**up, 2.0**down


def real_parts(x):
    """All elements, or their real and imaginary parts, in one row, with half types in float32."""
    x = check_floating(x)
    row = torch.view_as_real(x.resolve_conj()).reshape(-1) if x.is_complex() else x.reshape(-1)
    return row.float() if row.dtype in (torch.float16, torch.bfloat16) else row


def check_floating(x):
    """x itself.

    Raises
    ------
    TypeError
        For integers and bool.
    """
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x has dtype {x.dtype}; expected a floating or complex dtype")
    return x
