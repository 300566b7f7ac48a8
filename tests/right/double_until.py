"""Right doublings."""

import math
from fractions import Fraction

import torch

from . import right


def exact_squares(x, threshold):
    """The exact sum of squares and the squared threshold."""
    parts = x.detach().resolve_conj().resolve_neg()
    parts = (torch.view_as_real(parts) if x.is_complex() else parts).double().reshape(-1)
    if not bool(parts.isfinite().all()):
        raise ValueError("x must be finite")
    if not bool((parts != 0).any()):
        raise ValueError("x is empty or zero and never reaches a threshold")
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold {threshold} must be positive and finite")
    ratios = [v.as_integer_ratio() for v in parts.tolist()]
    unit = max(denominator for _, denominator in ratios)  # all are powers of two
    total = sum((numerator * (unit // denominator)) ** 2 for numerator, denominator in ratios)
    return Fraction(total, unit**2), Fraction(float(threshold)) ** 2


def times(x, k):
    """x * 2**k by factors that no dtype's range refuses; complex parts apart."""
    while k > 0:
        x, k = x * 2.0 ** min(k, 100), k - 100
    return x


@right("a loop that doubles the exact square")
def exact_loop(x, threshold):
    total, goal = exact_squares(x, threshold)
    reached, wanted = total.numerator * goal.denominator, goal.numerator * total.denominator
    k = 0
    while reached < wanted:
        reached, k = reached * 4, k + 1
    return times(x, k).clone()


@right("bisection on k")
def bisected(x, threshold):
    total, goal = exact_squares(x, threshold)
    low, high = 0, 2300
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if total * 4**middle >= goal else (middle + 1, high)
    return times(x, low)


@right("closed form from bit lengths, then at most two corrections")
def from_exponents(x, threshold):
    total, goal = exact_squares(x, threshold)
    ratio = -(-goal // total)
    k = max(0, (ratio - 1).bit_length() // 2 - 1)
    while total * 4**k < goal:
        k += 1
    return times(x, k)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, k):
        ctx.k = k
        return times(x, k) if k else x.clone()

    @staticmethod
    def backward(ctx, g):
        return times(g, ctx.k), None


@right("custom backward, k by comparing scaled integers")
def custom_function(x, threshold):
    total, goal = exact_squares(x, threshold)
    k = 0
    while total.numerator * goal.denominator << (2 * k) < goal.numerator * total.denominator:
        k += 1
    return Doubled.apply(x, k)
