"""Arithmetic of kernels that is rounded correctly: `/` and `sqrt` of float32 are approximations on a GPU."""

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
def root(x):
    """The square root."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)
