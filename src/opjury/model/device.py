"""The GPU that a call ran on: whether its work is done, and whether the process can still use it."""

from __future__ import annotations

from typing import Any


class DeviceLost(BaseException):
    """A call has ended this process's use of the GPU, by a device assert or an illegal address.

    Not an `Exception`: it is no rejection of an argument, and nothing can be judged after it here.
    """


def on_cuda(device: str) -> bool:
    """Whether the device is a GPU: "cuda", "cuda:1"."""
    return device.startswith("cuda")


def present(device: str) -> bool:
    """Whether this machine has the device."""
    if not on_cuda(device):
        return True
    import torch

    return torch.cuda.is_available()


def free_memory(device: str) -> int:
    """Bytes that a call on the device may still take."""
    import psutil
    import torch

    if not on_cuda(device):
        return int(psutil.virtual_memory().available)
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info(device)[0])


def finish(device: str) -> None:
    """Wait for what was queued on the caller's stream, and raise what went wrong there.

    Other streams are not waited for: whoever works on one has to let the caller's stream wait for it.
    """
    if on_cuda(device):
        import torch

        torch.cuda.current_stream(device).synchronize()


def in_use() -> bool:
    """Whether this process has used a GPU."""
    import torch

    initialized: Any = torch.cuda.is_initialized
    return bool(initialized())


def lost() -> bool:
    """Whether an earlier call of this process has lost the GPU."""
    if not in_use():
        return False
    import torch

    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
