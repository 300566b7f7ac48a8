"""Memory for large results on a CPU.

NumPy asks Linux for pages of 2 MiB where an array is large, torch does not: the first write into each of its pages of 4 KiB costs
a fault, which takes longer than the write.
"""

import torch


def array_of(x):
    """The elements of a tensor as an array that shares its memory where it can. NumPy lacks bfloat16, so that its bits are taken."""
    plain = x.detach().resolve_conj().resolve_neg()
    return (plain.view(torch.int16) if x.dtype == torch.bfloat16 else plain).numpy()


def copied(array, dtype):
    """A contiguous copy of what `array_of` a tensor of this dtype gave, or of a view of that, as a tensor in NumPy's memory."""
    return torch.from_numpy(array.copy()).view(dtype)
