"""double_until(x, threshold): x·2^k for the smallest k ≥ 0 with ‖x·2^k‖ ≥ threshold."""

import math
from fractions import Fraction

import torch

from opjury.contract import Gradient, implementation

QUESTION = "question 3: data.norm() in the doubling loop"
PIECE = 2**16  # elements: in float64 they fit into the second cache


@implementation("double_until", source=QUESTION, gradient=Gradient(forward=True))
def doubling_loop(x, threshold):
    """Doubles x, and quadruples its exact squared norm, until that is enough. O(n·k) work, O(n) memory."""
    goal = check_arguments(x, threshold)
    square = exact_square(x)
    x = x.clone()
    while square < goal:
        x, square = x * 2, square * 4
    return x


@implementation("double_until", source="closed form of the loop", gradient=Gradient(forward=True))
def exponent_closed_form(x, threshold):
    """k from the lengths of two integers, corrected by a few exact comparisons. O(n) work and memory for any k."""
    goal = check_arguments(x, threshold)
    ratio = goal / exact_square(x)
    k = max(0, (ratio.numerator.bit_length() - ratio.denominator.bit_length()) // 2 - 1)
    while 4**k < ratio:
        k += 1
    return doubled(x, k)


@implementation("double_until", source="bisection of the loop", gradient=Gradient(forward=True))
def bisection(x, threshold):
    """k by galloping and bisection, each comparison exact. O(n + log² k) work, O(n) memory."""
    goal = check_arguments(x, threshold)
    square = exact_square(x)
    below, enough = -1, 0
    while square * 4**enough < goal:
        below, enough = enough, 2 * enough + 1
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (middle, enough) if square * 4**middle < goal else (below, middle)
    return doubled(x, enough)


@implementation(
    "double_until",
    source="Shewchuk, Adaptive precision floating-point arithmetic (1997)",
    gradient=Gradient(forward=True),
)
def filtered_closed_form(x, threshold):
    """A sum of squares in float64, and integers only where its error might matter. O(n) vector work, O(n) memory for the result."""
    goal = check_arguments(x, threshold)
    parts = real_row(x)
    exponent = math.frexp(largest_part(x))[1]  # x = y·2^exponent, threshold = mantissa·2^wanted
    factors = 2.0 ** -(exponent // 2), 2.0 ** -(exponent - exponent // 2)
    pieces = (piece.double().mul(factors[0]).mul_(factors[1]) for piece in parts.split(PIECE))
    square = math.fsum(float(torch.dot(piece, piece)) for piece in pieces)
    mantissa, wanted = math.frexp(threshold)
    k = math.ceil(math.log2(mantissa * mantissa / square) / 2)
    ratios = [square * 4.0 ** (k + step) / (mantissa * mantissa) for step in (-1, 0)]
    if min(abs(ratio - 1) for ratio in ratios) < (parts.numel() + 8) * 2.0**-52:
        k, exact = k - 1, exact_square(x)
        while exact * Fraction(4) ** (k - exponent + wanted) < goal:
            k += 1
    return doubled(x, max(0, k - exponent + wanted))


def few_and_moderate(x, threshold):
    """Whether the outcome is the same for any order of the elements, and the squares do not overflow."""
    return x.size <= 2 and threshold <= 2.0**60


@implementation(
    "double_until",
    source=QUESTION + ", as published",
    domain=few_and_moderate,
    refuted={
        "agreement": "a rounded norm is compared with a rounded threshold",
        "specials": "the squares of small elements vanish",
        "gradient": "2^k for a wrong k",
        "rejects": "stops at once on NaN, never on zeros and empty tensors",
        "terminates": "endless on zeros and empty tensors",
    },
)
def bare_loop(x, threshold):
    """Doubles x while data.norm() is below the threshold. O(n·k) work. It never ends where no doubling helps."""
    x = x.clone()
    while x.data.norm() < threshold:
        x = x * 2
    return x


def doubled(x, k):
    """x·2^k in steps whose factors are representable, so that an in-between result is no larger than the last."""
    largest = 15 if x.dtype == torch.float16 else int(math.log2(torch.finfo(x.dtype).max)) - 1
    for start in range(0, k, largest):
        x = x * 2.0 ** min(largest, k - start)
    return x if k else x.clone()


def real_row(x):
    """All real and imaginary parts in one row, outside of autograd."""
    x = x.detach()
    return (torch.view_as_real(x.resolve_conj()) if x.is_complex() else x).reshape(-1)


def largest_part(x):
    """The largest absolute value of a real or imaginary part, or 0 for an empty x."""
    return max(abs(float(bound)) for bound in torch.aminmax(real_row(x))) if x.numel() else 0.0


def exact_square(x):
    """Σ|x|², as a Fraction: integers of 53 bits, squared and added at the scale of the smallest."""
    parts = real_row(x).double()
    mantissa, exponent = torch.frexp(parts[parts != 0])
    least = int(exponent.min())
    shifts = ((exponent - least) * 2).tolist()
    integers = (mantissa * 2.0**53).long().tolist()
    total = sum(m * m << shift for m, shift in zip(integers, shifts, strict=True))
    return total * Fraction(4) ** (least - 53)


def check_arguments(x, threshold):
    """The square of the threshold, as a Fraction.

    Raises
    ------
    ValueError
        Unless it is positive and finite, and x is finite with a non-zero element.
    """
    if not (math.isfinite(threshold) and threshold > 0):
        raise ValueError(f"threshold is {threshold}; expected a positive finite number")
    largest = largest_part(x)
    if not (math.isfinite(largest) and largest > 0):
        what = f"x of shape {tuple(x.shape)} has a largest element of {largest}"
        raise ValueError(f"{what}; expected all of x finite, and some of it not zero")
    return Fraction(threshold) ** 2
