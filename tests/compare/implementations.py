"""Thin wrappers that give library functions the signature of an operation.

What a wrapper declares as `refuted` is in the library's documentation, or beyond what it promises; or it is a finding: see docs/findings.md.
`dtypes` are those that the library documents; `domain` leaves out calls that it cannot express. Libraries are imported when they are called.
"""

import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch

from opjury.model.dtypes import COMPLEX, FLOATING, REAL
from opjury.model.implementation import Error, Gradient, Implementation

JAX = ("float16", "bfloat16", "float32", "complex64")  # what it computes in unless 64 bits are enabled
NUMPY = REAL + COMPLEX

TRANSFORM = "it multiplies transforms, which spread NaN and inf everywhere"
FLUSHED = "compiled code takes subnormal numbers for zero, as the page of sharp bits says"
NUMERATOR = "its difference equations multiply x by the coefficients that the numerator lacks, zeros: 0·inf is NaN"
INFINITE = "it keeps a running sum, which an infinity never leaves, as its docstring says"
RUNNING = "it keeps a running sum, which NaN and inf never leave: see docs/findings.md"
PADDED = "the second matrix is multiplied by the zeros that the wrapper puts around the first, as the documented formula says"


def wraps(
    operation: str,
    library: str,
    page: str,
    *,
    dtypes: tuple[str, ...],
    refuted: dict[str, str] | None = None,
    error: Error | None = None,
    domain: Callable[..., bool] | None = None,
    gradient: Gradient | None = None,
) -> Callable[[Callable], Implementation]:
    """Declare a wrapper: the library's module, the page of its documentation, and where it is known to differ, with the reason."""

    def declare(function: Callable) -> Implementation:
        return Implementation(
            operation=operation,
            name=function.__name__,
            function=function,
            source=page,
            error=error,
            refuted=refuted or {},
            gradient=gradient,
            devices=("cpu",),
            dtypes=dtypes,
            domain=domain,
            requires=library,
        )

    return declare


def catalogue() -> Iterator[Implementation]:
    """Every wrapper, in the order of this file."""
    yield from (value for value in list(globals().values()) if isinstance(value, Implementation))


def array(x):
    """A contiguous NumPy array of its own memory."""
    return np.array(x.detach().resolve_conj().resolve_neg().numpy(), order="C")


def to_jax(x):
    import jax.numpy

    return jax.numpy.from_dlpack(x.detach().resolve_conj().resolve_neg().contiguous(), copy=True)


def from_jax(result):
    return torch.from_dlpack(result).clone()


def lanes(x, dim=-1):
    """x as a C-contiguous matrix with that dimension in its rows, and the way back."""
    moved = array(x.reshape(x.shape or (1,)).movedim(dim, -1))
    rows = moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])

    def back(result):
        out = torch.from_numpy(np.ascontiguousarray(result)).reshape(*moved.shape[:-1], result.shape[-1])
        return out.movedim(-1, dim) if x.ndim else out.reshape(())

    return rows, back


def cut(x, dim, index):
    """x and index with at least one dimension, x no longer than index outside dim."""
    wide, picks = x.reshape(x.shape or (1,)), index.reshape(index.shape or (1,))
    keep = [slice(None) if k == dim % wide.ndim else slice(n) for k, n in enumerate(picks.shape)]
    return wide[tuple(keep)], picks


def stretched(x, kernel_size, dilation, padding, stride):
    """Windows of padded images: (N, C, h, w, rows, columns)."""
    size, gap, pad, step = (pair(value) for value in (kernel_size, dilation, padding, stride))
    x = torch.nn.functional.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    for k in (0, 1):
        x = x.unfold(2 + k, (size[k] - 1) * gap[k] + 1, step[k])
    return x[..., :: gap[0], :: gap[1]]


def pair(value):
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value), int(value))


def running_magnitude(x, window):
    """A running sum keeps the rounding errors of everything it has ever held."""
    return 2 * np.cumsum(np.abs(x), axis=-1)[..., window - 1 :] / window


def running_terms(x, window):
    """An addition and a subtraction for each element."""
    return 2 * x.shape[-1] + 2


def whole_magnitude(a, b):
    """Transforms err by the size of whole matrices."""
    return np.broadcast_to(np.abs(a).sum() * np.abs(b).sum(), np.add(a.shape, b.shape) - 1)


def transform_terms(a, b):
    """Three transforms of logarithmic depth."""
    return 10 * np.log2((a.shape[0] + b.shape[0]) * (a.shape[1] + b.shape[1])) + 10


RUNNING_SUM = Error(magnitude=running_magnitude, terms=running_terms)


@wraps("cumsum", "jax", "jax.numpy.cumsum", dtypes=JAX, error=Error(accumulates="input"), refuted={"specials": FLUSHED})
def jax_cumsum(x, dim):
    import jax.numpy

    return from_jax(jax.numpy.cumsum(to_jax(x.reshape(x.shape or (1,))), axis=int(dim))).reshape(x.shape)


@wraps("gather", "jax", "jax.numpy.take_along_axis", dtypes=(*JAX, "uint8", "int8", "int16", "int32", "bool"))
def jax_take_along_axis(x, dim, index):
    import jax.numpy

    wide, picks = cut(x, dim, index)
    return from_jax(jax.numpy.take_along_axis(to_jax(wide), to_jax(picks.int()), int(dim))).reshape(index.shape)


@wraps(
    "moving_mean",
    "jax",
    "jax.numpy.convolve",
    dtypes=("float32", "complex64"),  # halves would be rounded twice, by the convolution and by the wrapper's division
    refuted={"specials": FLUSHED},
)
def jax_convolve(x, window):
    import jax.numpy

    valid = jax.numpy.vectorize(functools.partial(jax.numpy.convolve, mode="valid"), signature="(n),(m)->(k)")
    values = to_jax(x)
    return from_jax(valid(values, jax.numpy.ones(int(window), values.dtype)) / int(window))


@wraps(
    "convolve2d",
    "jax",
    "jax.scipy.signal.convolve2d",
    dtypes=JAX,
    error=Error(accumulates="input"),
    domain=lambda a, b: (
        all(np.less_equal(a.shape, b.shape)) or all(np.less_equal(b.shape, a.shape))
    ),  # see docs/findings.md
    refuted={"specials": "implicit zero-padding, which NaN and inf are multiplied with; " + FLUSHED},
)
def jax_convolve2d(a, b):
    import jax.scipy.signal

    return from_jax(jax.scipy.signal.convolve2d(to_jax(a), to_jax(b)))


@wraps(
    "toeplitz",
    "jax",
    "jax.scipy.linalg.toeplitz",
    dtypes=("float32", "complex64", "int32"),
    refuted={
        "agreement": "complex elements are rounded: see docs/findings.md",
        "specials": "NaN and inf spread to other diagonals: see docs/findings.md",
    },
)
def jax_toeplitz(c, r=None):
    import jax.scipy.linalg

    return from_jax(jax.scipy.linalg.toeplitz(to_jax(c), None if r is None else to_jax(r)))


@wraps(
    "vector_norm",
    "jax",
    "jax.numpy.linalg.norm",
    dtypes=JAX,
    refuted={"agreement": "it squares without scaling, and promises nothing else", "specials": FLUSHED},
)
def jax_norm(x):
    import jax.numpy

    return from_jax(jax.numpy.linalg.norm(to_jax(x).reshape(-1)))


@functools.cache
def compiled(function):
    """The function of rows compiled by numba."""
    import numba

    return numba.njit(function)


def running_sums(rows, out):
    for i in range(len(rows)):
        out[i] = np.cumsum(rows[i])


def picked(rows, places, out):
    for i in range(len(rows)):
        out[i] = np.take_along_axis(rows[i], places[i], 0)


def window_means(rows, window, out):
    for i in range(len(rows)):
        for j in range(out.shape[1]):
            total = rows[i, j]
            for k in range(1, window):
                total += rows[i, j + k]
            out[i, j] = total / window


def window_views(rows, size, out):
    for i in range(len(rows)):
        out[i] = np.lib.stride_tricks.sliding_window_view(rows[i], size)


def norm_of(row):
    return np.linalg.norm(row)


@wraps("cumsum", "numba", "Supported NumPy features: numpy.cumsum", dtypes=NUMPY)
def numba_cumsum(x, dim):
    rows, back = lanes(x, dim)
    out = np.empty_like(rows)
    compiled(running_sums)(rows, out)
    return back(out)


@wraps("gather", "numba", "Supported NumPy features: numpy.take_along_axis", dtypes=(*NUMPY, "int32", "int64", "bool"))
def numba_take_along_axis(x, dim, index):
    (rows, _), (places, back) = (lanes(part, dim) for part in cut(x, dim, index))
    out = np.empty(places.shape, rows.dtype)
    compiled(picked)(rows, places, out)
    return back(out).reshape(index.shape)


@wraps("moving_mean", "numba", "A ~5 minute guide: loops in nopython mode", dtypes=NUMPY)
def numba_loop(x, window):
    rows, back = lanes(x)
    out = np.empty((len(rows), rows.shape[1] - int(window) + 1), rows.dtype)
    compiled(window_means)(rows, int(window), out)
    return back(out)


@wraps("sliding_window", "numba", "Supported NumPy features: sliding_window_view", dtypes=(*NUMPY, "int64", "bool"))
def numba_sliding_window_view(x, size, step=1):
    rows, _ = lanes(x)
    out = np.empty((len(rows), x.shape[-1] - int(size) + 1, int(size)), rows.dtype)
    compiled(window_views)(rows, int(size), out)
    return torch.from_numpy(out).reshape(*x.shape[:-1], *out.shape[1:])[..., :: int(step), :].clone()


@wraps("vector_norm", "numba", "Supported NumPy features: numpy.linalg.norm", dtypes=NUMPY)
def numba_norm(x):
    return torch.tensor(compiled(norm_of)(array(x).reshape(-1)), dtype=x.real.dtype)


@wraps(
    "convolve2d",
    "scipy",
    "scipy.signal.oaconvolve",
    dtypes=NUMPY,
    error=Error(magnitude=whole_magnitude, terms=transform_terms),
    refuted={"specials": TRANSFORM},
)
def scipy_oaconvolve(a, b):
    import scipy.signal

    return torch.from_numpy(scipy.signal.oaconvolve(array(a), array(b)))


@wraps("cumsum", "scipy", "scipy.signal.lfilter", dtypes=NUMPY, refuted={"specials": NUMERATOR})
def scipy_lfilter(x, dim):
    import scipy.signal

    rows, back = lanes(x, dim)
    return back(scipy.signal.lfilter(rows.dtype.type([1]), rows.dtype.type([1, -1]), rows))


@wraps(
    "moving_mean",
    "scipy",
    "scipy.ndimage.uniform_filter1d",
    dtypes=NUMPY,
    error=RUNNING_SUM,
    refuted={"specials": RUNNING},
)
def scipy_uniform_filter1d(x, window):
    import scipy.ndimage

    rows, back = lanes(x)
    means = scipy.ndimage.uniform_filter1d(rows, int(window), axis=-1)[:, int(window) // 2 :]
    return back(means[:, : x.shape[-1] - int(window) + 1])


@wraps(
    "sliding_window",
    "numpy",
    "numpy.lib.stride_tricks.sliding_window_view",
    dtypes=(*NUMPY, "float16", "uint8", "int8", "int16", "int32", "int64", "bool"),
)
def numpy_sliding_window_view(x, size, step=1):
    views = np.lib.stride_tricks.sliding_window_view(array(x), int(size), axis=-1)
    return torch.from_numpy(views[..., :: int(step), :].copy())


@wraps(
    "sliding_window",
    "skimage",
    "skimage.util.view_as_windows",
    dtypes=(*NUMPY, "float16", "uint8", "int8", "int16", "int32", "int64", "bool"),
    domain=lambda x, size, step=1: x.size > 0,
)
def skimage_view_as_windows(x, size, step=1):
    from skimage.util import view_as_windows

    ones = (1,) * (x.ndim - 1)
    views = view_as_windows(array(x), (*ones, int(size)), (*ones, int(step)))
    return torch.from_numpy(views.reshape(*x.shape[:-1], -1, int(size)).copy())


@wraps(
    "moving_mean", "bottleneck", "bottleneck.move_mean", dtypes=REAL, error=RUNNING_SUM, refuted={"specials": INFINITE}
)
def bottleneck_move_mean(x, window):
    import bottleneck

    return torch.from_numpy(bottleneck.move_mean(array(x), int(window))[..., int(window) - 1 :].copy())


@wraps(
    "moving_mean",
    "pandas",
    "pandas.DataFrame.rolling, Rolling.mean",
    dtypes=REAL,
    refuted={"specials": "an infinity counts as missing: see docs/findings.md"},
)
def pandas_rolling_mean(x, window):
    import pandas

    rows, back = lanes(x)
    means = pandas.DataFrame(rows.T).rolling(int(window)).mean().to_numpy().T[:, int(window) - 1 :]
    return back(means).to(x.dtype)


@wraps(
    "cumsum",
    "pandas",
    "pandas.DataFrame.cumsum",
    dtypes=(*NUMPY, "int64"),
    domain=lambda x, dim: x.size > 0,  # a frame without columns has no dtype
)
def pandas_cumsum(x, dim):
    import pandas

    rows, back = lanes(x, dim)
    return back(pandas.DataFrame(rows.T).cumsum(skipna=False).to_numpy().T)


@wraps("moving_mean", "einops", "einops.reduce", dtypes=FLOATING, gradient=Gradient())
def einops_reduce(x, window):
    import einops

    return einops.reduce(x.unfold(-1, int(window), 1), "... window -> ...", "mean")


@wraps("unfold", "einops", "einops.rearrange", dtypes=FLOATING + COMPLEX, gradient=Gradient())
def einops_rearrange(x, kernel_size, dilation=1, padding=0, stride=1):
    import einops

    windows = stretched(x, kernel_size, dilation, padding, stride)
    return einops.rearrange(windows, "n c h w i j -> n (c i j) (h w)").clone()


@wraps(
    "unfold",
    "kornia",
    "kornia.contrib.extract_tensor_patches",
    dtypes=REAL,
    domain=lambda x, kernel_size, dilation=1, padding=0, stride=1: pair(dilation) == (1, 1),
    gradient=Gradient(),
)
def kornia_extract_tensor_patches(x, kernel_size, dilation=1, padding=0, stride=1):
    from kornia.contrib import extract_tensor_patches

    return extract_tensor_patches(x, pair(kernel_size), pair(stride), pair(padding)).flatten(2).mT.clone()


@wraps(
    "convolve2d",
    "kornia",
    "kornia.filters.filter2d",
    dtypes=REAL,
    refuted={"specials": PADDED},
    gradient=Gradient(),
)
def kornia_filter2d(a, b):
    from kornia.filters import filter2d

    high, wide = b.shape[0] - 1, b.shape[1] - 1
    room = torch.nn.functional.pad(a, (wide, wide, high, high))
    return filter2d(room[None, None], b[None], padding="valid", behaviour="conv")[0, 0]


def rows_of(slices):
    """The rows of all slices, one after another, and where each slice begins, in the form of compressed rows."""
    rows = [torch.arange(start, end) for start, end in slices.tolist()]
    pointer = torch.tensor([0, *(len(part) for part in rows)]).cumsum(0)
    return torch.cat([torch.zeros(0, dtype=torch.int64), *rows]), pointer


@wraps("slice_mean", "torch_geometric", "torch_geometric.utils.segment", dtypes=REAL, gradient=Gradient())
def torch_geometric_segment(x, slices):
    import torch_geometric.utils

    rows, pointer = rows_of(slices)
    return torch_geometric.utils.segment(x[rows], pointer, reduce="mean")
