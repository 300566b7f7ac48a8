"""Memory for large results on a CPU.

NumPy asks Linux for pages of 2 MiB where an array is large, torch does not: the first write into each of its pages of 4 KiB costs
a fault, which takes longer than the write.
"""

import torch


def copied(view, flipped=None):
    """A contiguous copy of a view in NumPy's memory, this dimension of it read backwards."""
    plain = view.detach().resolve_conj().resolve_neg()
    array = (plain.view(torch.int16) if view.dtype == torch.bfloat16 else plain).numpy()  # NumPy has no bfloat16
    if flipped is not None:
        array = array.swapaxes(0, flipped)[::-1].swapaxes(0, flipped)
    return torch.from_numpy(array.copy()).view(view.dtype)
