"""Devices: their memory, and whether this process can still use its GPU."""

from __future__ import annotations


class DeviceLost(BaseException):
    """A call has made the GPU unusable for this process, by a device assert or an illegal address.

    It is no `Exception`, because it does not reject an argument and nothing can be judged in this process after it.
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
    """Wait for the work on the caller's stream, and raise its errors.

    Other streams are not waited for: a function that uses one has to make the caller's stream wait for it.
    """
    if on_cuda(device):
        import torch

        torch.cuda.current_stream(device).synchronize()


def in_use() -> bool:
    """Whether this process has used a GPU."""
    import torch

    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def lost() -> bool:
    """Whether an earlier call of this process has lost the GPU."""
    import torch

    try:
        if in_use():
            torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
