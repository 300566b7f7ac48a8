"""What implementations in Triton have in common.

Their kernels stand in private modules beside them (`_triton_<operation>.py`), which are imported by the first call: nothing but
that call needs Triton. Each kernel is wrapped as a custom operator of torch, opaque to `torch.compile`. On CPU tensors Triton runs
through its interpreter alone, for tests: `TRITON_INTERPRET=1 opjury audit cumsum:decoupled_look_back`.
"""

import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = ("cpu", "cuda") if INTERPRETED else ("cuda",)


def plain(x):
    """x with its conjugation and negation carried out.

    Raises
    ------
    RuntimeError
        For a tensor that is neither on a GPU nor interpreted.
    """
    if not x.is_cuda and not INTERPRETED:
        raise RuntimeError(f"x is on {x.device}; Triton needs a CUDA device, or TRITON_INTERPRET=1 in the environment")
    return x.resolve_conj().resolve_neg()


def bits(x):
    """x as integers of the same width, to be moved as they are, and complex128 as pairs in a further dimension."""
    if x.dtype == torch.complex128:
        return torch.view_as_real(x).view(torch.int64)
    return x.view({1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.dtype.itemsize])


def parts(x):
    """x itself where it is real, else the real and the imaginary parts, as views with every other element."""
    return torch.view_as_real(x).unbind(-1) if x.is_complex() else (x,)


def moved_parts(x):
    """As `bits`, complex128 in two parts."""
    return bits(x).unbind(-1) if x.dtype == torch.complex128 else (bits(x),)


def accumulator(dtype):
    """The real dtype to add in: float32 for half types, int64 for integers."""
    if dtype.is_complex or dtype.is_floating_point:
        return torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    return torch.int64


def power_of_two(size, most):
    """The smallest power of two that is at least `size`, but no more than `most`, which is one."""
    return min(1 << max(size - 1, 0).bit_length(), most)


def rounded(*dtypes):
    """The dtypes that results are rounded to correctly: the interpreter cuts bfloat16 off."""
    return tuple(dtype for dtype in dtypes if not (INTERPRETED and dtype == "bfloat16"))
