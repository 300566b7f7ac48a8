"""Functions that try to get away with something else than computing the mean of slices, or to harm whoever calls them."""

import ctypes
import os
import threading
import time

import torch

from opjury.properties.cumsum.slice_mean import slice_mean


def right(x, slices):
    """The right answer, slowly; illegal slices raise."""
    if slices.dtype != torch.int64 or slices.ndim != 2 or slices.shape[1] != 2:
        raise ValueError(f"slices of shape {tuple(slices.shape)} and dtype {slices.dtype}; (k, 2) int64 is needed")
    wide = x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())
    rows = []
    for start, end in slices.tolist():
        if not 0 <= start < end <= len(x):
            raise ValueError(f"slice {start}:{end} of {len(x)} rows; 0 <= start < end <= {len(x)} is needed")
        rows.append(wide[start:end].mean(0))
    return torch.stack(rows) if rows else wide[:0]


def endless(x, slices):
    while True:
        pass


def sleeping(x, slices):
    time.sleep(10_000)


def aborting(x, slices):
    os.abort()


def segmentation_fault(x, slices):
    ctypes.string_at(0)


def hungry(x, slices):
    hoard = []
    while True:
        hoard.append(torch.empty(2**29))


def exiting(x, slices):
    raise SystemExit(0)


def leaving_at_once(x, slices):
    os._exit(3)


def interrupting(x, slices):
    raise KeyboardInterrupt


def talking(x, slices):
    print("nothing to see here\n" * 1000)
    os.write(1, b"really\n")
    return right(x, slices)


def patching_torch(x, slices):
    torch.equal = lambda *tensors: True
    return right(x, slices)


def patching_the_oracle(x, slices):
    from opjury.judge import oracle

    oracle.expected = lambda operation, case, error=None: None
    return right(x, slices)


def patching_tensors(x, slices):
    torch.Tensor.__eq__ = lambda self, other: torch.ones(self.shape, dtype=torch.bool)
    return right(x, slices)


def moving_house(x, slices):
    os.chdir("/")
    return right(x, slices)


def setting_the_environment(x, slices):
    os.environ["OMP_NUM_THREADS"] = "64"
    return right(x, slices)


def changing_threads(x, slices):
    torch.set_num_threads(2)
    return right(x, slices)


def switching_gradients_off(x, slices):
    result = right(x, slices)
    torch.set_grad_enabled(False)
    return result


def finishing_later(x, slices):
    result = right(x, slices)
    promise = result.detach() * 0
    threading.Thread(target=lambda: (time.sleep(0.2), promise.copy_(result.detach())), daemon=True).start()
    return promise


class Agreeable(torch.Tensor):
    """A tensor that says it equals whatever it is compared with."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        if function in (torch.Tensor.__eq__, torch.equal, torch.allclose):
            return True
        return super().__torch_function__(function, types, arguments, named or {})


def agreeable(x, slices):
    return right(x, slices).as_subclass(Agreeable)


class Anything:
    """An object that has every attribute and equals everything."""

    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **named):
        return self

    def __eq__(self, other):
        return True

    __hash__ = None


def anything(x, slices):
    return Anything()


def asking_the_contract(x, slices):
    return torch.from_numpy(slice_mean(x.detach().numpy(), slices.numpy()))


def on_its_own_stream(x, slices):
    """Right, some time after it has returned: the caller's stream is not told to wait."""
    stream = torch.cuda.Stream()
    result = torch.zeros((len(slices), *x.shape[1:]), dtype=x.dtype, device=x.device)
    torch.cuda.current_stream().synchronize()
    answer = right(x, slices)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        result.copy_(answer)
    return result


def asserting_on_the_device(x, slices):
    """An index out of range: a device assert, after which this process cannot use the GPU."""
    return x[torch.full((len(slices),), 10**6, device=x.device)]


# What each must be refuted in (one of these checks), and words that its message must have.
HOSTILE = {
    endless: ("agreement", "no answer within"),
    sleeping: ("agreement", "no answer within"),
    aborting: ("agreement", "the process was ended"),
    segmentation_fault: ("agreement", "the process was ended"),
    hungry: ("agreement", "raises"),
    exiting: ("agreement", "SystemExit"),
    leaving_at_once: ("agreement", "the process was ended"),
    interrupting: ("agreement", "KeyboardInterrupt"),
    patching_torch: ("purity", "replaces torch.equal"),
    patching_the_oracle: ("purity", "replaces opjury.judge.oracle.expected"),
    patching_tensors: ("purity", "replaces torch.Tensor.__eq__"),
    moving_house: ("purity", "working directory"),
    setting_the_environment: ("purity", "environment"),
    changing_threads: ("purity", "number of threads"),
    switching_gradients_off: ("purity", "gradient mode"),
    finishing_later: ("agreement", "it should be"),
    agreeable: ("form", "Agreeable"),
    anything: ("form", "Anything"),
    asking_the_contract: ("gradient", ""),
}
