"""Arithmetic of kernels that is rounded correctly, since `/` and `sqrt` of float32 are approximations on a GPU. Indices are integers."""

import triton
import triton.language as tl


@triton.jit
def divide(x, y):
    """x / y."""
    if x.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def divide_all(x, y):
    """x / y, for one y that the dtype of x holds: cheaper than `divide` for many x."""
    inverse = divide(tl.full((), 1, x.dtype), tl.full((), y, x.dtype))
    quotient = x * inverse
    rest = tl.fma(-quotient, tl.full(x.shape, y, x.dtype), x)
    better = tl.fma(rest, tl.zeros_like(x) + inverse, quotient)
    return tl.where(tl.abs(quotient) < float("inf"), better, quotient)


@triton.jit
def root(x):
    """The square root."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


def index_type(*extents):
    """The integers that count so many elements: 64 bits cost more than most copies."""
    return tl.int32 if max(extents) < 2**30 else tl.int64
