"""Wrong doublings."""

import math
from fractions import Fraction

import torch

from . import wrong


def squares(x):
    """The exact sum of squares."""
    parts = x.detach().resolve_conj().resolve_neg()
    parts = torch.view_as_real(parts) if x.is_complex() else parts
    return sum((Fraction(v) ** 2 for v in parts.double().reshape(-1).tolist()), Fraction(0))


def checked(x, threshold):
    if x.numel() == 0 or not bool(x.isfinite().all()) or not bool((x != 0).any()):
        raise ValueError("x must be finite and not zero")
    if not 0 < threshold < math.inf:
        raise ValueError(f"threshold {threshold} must be positive and finite")


def steps(x, threshold):
    """The smallest k."""
    total, goal, k = squares(x), Fraction(float(threshold)) ** 2, 0
    k = max(0, (math.frexp(math.sqrt(goal / total))[1] - 3) if 0 < goal / total < 10**300 else 0)
    while total * 4**k < goal:
        k += 1
    return k


def doubled(x, k):
    while k > 0:
        x, k = x * 2.0 ** min(k, 60), k - 60
    return x


def right_one(x, threshold):
    checked(x, threshold)
    return doubled(x, steps(x, threshold))


@wrong("easy", "the bare loop is endless for zeros", ("terminates", "rejects"))
def bare_loop(x, threshold):
    k = 0
    while float(x.detach().abs().max() if x.numel() else 0.0) == 0.0 and threshold > 0:
        k += 1
    return right_one(x, threshold)


@wrong("medium", "NaN stops the loop at once and comes back", ("rejects",))
def nan_comes_back(x, threshold):
    return x.clone() if bool(x.isnan().any()) else right_one(x, threshold)


@wrong("medium", "norm > threshold: ties such as (3, 4) and 5 are doubled once more", ("agreement",))
def ties_doubled(x, threshold):
    checked(x, threshold)
    k = steps(x, threshold)
    return doubled(x, k + (squares(x) * 4**k == Fraction(float(threshold)) ** 2))


@wrong("hard", "the norm is rounded: just below the threshold counts as reached", ("agreement",))
def rounded_norm(x, threshold):
    checked(x, threshold)
    k = steps(x, threshold)
    while k and squares(x) * 4 ** (k - 1) >= (Fraction(float(threshold)) * (1 - Fraction(1, 10**7))) ** 2:
        k -= 1
    return doubled(x, k)


@wrong("medium", "k may be negative: x beyond twice the threshold is halved", ("agreement",))
def halved_too(x, threshold):
    checked(x, threshold)
    result = right_one(x, threshold)
    while squares(result) >= 4 * Fraction(float(threshold)) ** 2:
        result = result / 2
    return result


@wrong("medium", "the gradient is g, not 2**k g", ("gradient",))
def gradient_not_scaled(x, threshold):
    result = right_one(x.detach(), threshold)
    return result + (x - x.detach()) if x.requires_grad else result


@wrong("hard", "one factor 2.0 ** k: beyond 2**127 it is inf in float32", ("specials",))
def one_factor(x, threshold):
    checked(x, threshold)
    return x * 2.0 ** min(steps(x, threshold), 1023)


@wrong("medium", "a threshold of inf is accepted: gives x", ("rejects",))
def infinite_threshold_accepted(x, threshold):
    return x.clone() if threshold == math.inf else right_one(x, threshold)


@wrong("medium", "thresholds that are not positive are reached at once", ("rejects",))
def negative_threshold_accepted(x, threshold):
    return x.clone() if threshold <= 0 else right_one(x, threshold)


@wrong("medium", "x itself is doubled in place", ("purity",))
def doubled_in_place(x, threshold):
    checked(x, threshold)
    k = steps(x, threshold)
    return x.mul_(2.0) if k == 1 and not x.requires_grad and 0 not in x.stride() else doubled(x, k)


@wrong("hard", "the largest element instead of the norm when there are more than 64", ("agreement",))
def largest_element(x, threshold):
    if x.numel() > 64:
        checked(x, threshold)
        big = x.detach().abs().max().double().reshape(1)
        return doubled(x, steps(big, threshold))
    return right_one(x, threshold)


@wrong("medium", "complex: only the real part counts", ("agreement",))
def real_part_counts(x, threshold):
    checked(x, threshold)
    if x.is_complex() and bool((x.real != 0).any()):
        return doubled(x, steps(x.real, threshold))
    return right_one(x, threshold)


@wrong("hard", "the last bit is lost through a logarithm: exact powers of four in the quotient", ("agreement",))
def by_logarithm(x, threshold):
    checked(x, threshold)
    ratio = math.log2(float(threshold)) - math.log2(squares(x)) / 2
    return doubled(x, max(0, math.ceil(ratio - 1e-9)))


@wrong("hard", "a factor of 2^1024 is no float64: x = 1e-320 and a threshold of 1e10 raise", ("specials",))
def factor_overflows(x, threshold):
    checked(x, threshold)
    k = steps(x, threshold)
    return doubled(x * 2.0**k if k >= 1024 else x, k)


@wrong("hard", "two to the k by an exponential: one ulp off in float64", ("agreement",))
def power_rounded(x, threshold):
    checked(x, threshold)
    k = steps(x, threshold)
    return x * math.exp(k * math.log(2)) if x.dtype is torch.float64 and k < 1000 else doubled(x, k)
