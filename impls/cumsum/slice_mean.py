"""slice_mean(x, slices): the mean of x[start:end] for each row (start, end) of slices.

Two schools. Prefix sums read every row once and then each slice costs one subtraction, but whatever stands before a
slice enters its mean as rounding (or as NaN). The others add the rows of each slice: they cost the total length, and
err by the slice alone.
"""

from math import isqrt

import numpy as np
import torch

from opjury.contract import Error, Gradient, implementation

QUESTION = "question 2: mean of slices along an axis"
BLOCK = 32
ALL_MODES = Gradient(second=True, forward=True, vmap=True)
SPREADS = "a NaN or inf before a slice reaches its mean through the prefix sum"
LEAKS = "outside the slices NaN spreads, and the gradient is the rounding residue of a difference"


def prefix_magnitude(x, slices):
    """Differences of prefix sums err by the size of the whole prefixes, not by that of the slice."""
    padded = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])
    return (padded[slices[:, 1]] + padded[slices[:, 0]]) / rows_of(x, slices[:, 1] - slices[:, 0])


def prefix_terms(x, slices):
    """Every row before the end is an addition, and then come the subtraction, the edges of a block, the division."""
    return rows_of(x, slices[:, 1] + 4)


def centred_magnitude(x, slices):
    """As the prefixes, of rows that the centre was subtracted from."""
    centre = x.mean(axis=0, keepdims=True) if len(x) else x
    return prefix_magnitude(x + centre, slices) + centre[:1]


def float64_magnitude(x, slices):
    """The prefixes again, each rounding 2^29 times smaller than in float32."""
    return prefix_magnitude(x, slices) * prefix_terms(x, slices) * 2.0**-29


def rows_of(x, values):
    """One value for each slice, to be broadcast over the features of x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


PREFIX = Error(magnitude=prefix_magnitude, terms=prefix_terms, worst="after 1e8: 0 for 1")


@implementation("slice_mean", source="torch: slicing and Tensor.mean", gradient=ALL_MODES)
def python_loop(x, slices):
    """One mean for each slice.

    O(Σ lengths) work, O(1) memory beside the result; in backward O(k·n), a full gradient for each slice.
    """
    x, _, dtype = check_slices(x, slices)
    if len(slices) == 0:
        return x[:0].to(dtype)
    return torch.stack([x[start:end].mean(0) for start, end in slices.tolist()]).to(dtype)


@implementation(
    "slice_mean",
    source=f"{QUESTION}, put right",
    error=PREFIX,
    waives={"specials": SPREADS, "locality": LEAKS},
    gradient=ALL_MODES,
)
def prefix_sum_difference(x, slices):
    """The prefix sum at the end less the one at the start.

    O(n + k) work and memory, whatever the lengths. Errs by the whole prefix: a large row before a slice ruins its mean.
    """
    x, lengths, dtype = check_slices(x, slices)
    prefix = prefix_sums(x)
    return ((prefix[slices[:, 1]] - prefix[slices[:, 0]]) / lengths).to(dtype)


@implementation(
    "slice_mean",
    source=f"{QUESTION}, put right",
    error=Error(magnitude=prefix_magnitude, terms=prefix_terms, worst="after 1e8 in another slice: 0 for 1"),
    waives={"specials": SPREADS, "locality": LEAKS},
    gradient=ALL_MODES,
)
def trimmed_prefix_sum(x, slices):
    """Prefix sums of the rows from the first start to the last end alone.

    O(span + k) work and memory. Rows between two slices still reach the later one.
    """
    x, lengths, dtype = check_slices(x, slices)
    low, high = (int(slices.min()), int(slices.max())) if len(slices) else (0, 0)
    prefix = prefix_sums(x[low:high])
    return ((prefix[slices[:, 1] - low] - prefix[slices[:, 0] - low]) / lengths).to(dtype)


@implementation(
    "slice_mean",
    source="summed-area tables with the mean subtracted first: Hensley et al., Fast summed-area table generation, 2005",
    error=Error(magnitude=centred_magnitude, terms=prefix_terms, worst="1e8 anywhere: 2 for 1"),
    waives={
        "specials": "the centre is the mean of all rows: NaN or inf anywhere reaches every slice",
        "locality": LEAKS,
    },
    gradient=ALL_MODES,
)
def centred_prefix_sum(x, slices):
    """Prefix sums of the rows less their common mean, which is added again at the end.

    O(n + k) work and memory. Prefixes of data with an offset stay small; a single large row ruins the means as ever.
    """
    x, lengths, dtype = check_slices(x, slices)
    centre = x.detach().mean(0)  # any constant will do: the result does not depend on it
    prefix = prefix_sums(x - centre)
    return ((prefix[slices[:, 1]] - prefix[slices[:, 0]]) / lengths + centre).to(dtype)


@implementation(
    "slice_mean",
    source="two-level prefix sums",
    error=PREFIX,
    waives={"specials": f"{SPREADS}, and zero times NaN through its block", "locality": LEAKS},
    gradient=ALL_MODES,
)
def blocked_prefix_sum(x, slices):
    """Prefix sums of whole blocks, and prefix sums within each block by a triangle of ones.

    O(n·block + k) work at the speed of matrix products, O(n + k) memory; the block is √n, up to BLOCK.
    Errs less than plain prefix sums, but by the prefix still.
    """
    x, lengths, dtype = check_slices(x, slices)
    block = max(1, min(BLOCK, isqrt(len(x))))
    rows, columns = (len(x) // block + 1) * block, x.shape[1:].numel()
    padded = torch.cat([x.reshape(len(x), columns), x.new_zeros((rows - len(x), columns))])
    blocks = padded.reshape(rows // block, block, columns)
    triangle = torch.ones((block, block), dtype=x.dtype, device=x.device).tril(-1)
    within = (triangle @ blocks).reshape(rows, *x.shape[1:])
    before = prefix_sums(blocks.sum(1)).reshape(rows // block + 1, *x.shape[1:])
    starts, ends = slices.unbind(1)
    sums = (before[ends // block] - before[starts // block]) + (within[ends] - within[starts])
    return (sums / lengths).to(dtype)


@implementation(
    "slice_mean",
    source="prefix sums in twice the precision",
    error=Error(magnitude=float64_magnitude, terms=lambda x, slices: 1, worst="after 1e17: 0 for 1"),
    waives={"specials": SPREADS, "locality": LEAKS},
    dtypes=("float16", "bfloat16", "float32", "complex64"),
    gradient=ALL_MODES,
)
def float64_prefix_sum(x, slices):
    """Prefix sums in float64, rounded at the very end.

    O(n + k) work, twice the memory. A row 2^29 times larger than a slice still ruins its mean.
    """
    _, lengths, dtype = check_slices(x, slices)
    prefix = prefix_sums(x.to(torch.complex128 if x.is_complex() else torch.float64))
    return ((prefix[slices[:, 1]] - prefix[slices[:, 0]]) / lengths).to(dtype)


@implementation("slice_mean", source="padding and masking", gradient=ALL_MODES)
def padded_gather(x, slices):
    """As many rows for every slice as the longest has, those beyond its end replaced by zeros.

    O(k·longest) work and memory: out of memory where one long slice stands among many short ones.
    """
    x, lengths, dtype = check_slices(x, slices)
    longest = int((slices[:, 1] - slices[:, 0]).max()) if len(slices) else 0
    index = slices[:, :1] + torch.arange(longest, device=x.device)
    inside = (index < slices[:, 1:]).reshape(*index.shape, *[1] * (x.ndim - 1))
    rows = x[index.clamp(max=len(x) - 1)]
    return (torch.where(inside, rows, 0).sum(1) / lengths).to(dtype)


@implementation(
    "slice_mean", source="torch.nn.functional.embedding_bag over ragged row numbers", gradient=Gradient(vmap=True)
)
def embedding_bag(x, slices):
    """Every slice is a bag of rows.

    O(Σ lengths) work, O(Σ lengths) memory for the row numbers alone: no row is copied.
    """
    x, lengths, dtype = check_slices(x, slices)
    rows, _ = ragged_rows(slices)
    columns = real_columns(x)
    if rows.numel() == 0 or columns.numel() == 0:
        return (x[:1].sum(0) * lengths).to(dtype)
    counts = slices[:, 1] - slices[:, 0]
    sums = torch.nn.functional.embedding_bag(rows, columns, counts.cumsum(0) - counts, mode="sum")
    return (like_features(sums, x) / lengths).to(dtype)


@implementation("slice_mean", source="torch.segment_reduce over ragged row numbers", gradient=Gradient(vmap=True))
def segment_reduce(x, slices):
    """The rows of all slices one after the other, reduced in segments.

    O(Σ lengths) work and memory: every row is copied as often as it is used.
    """
    x, lengths, dtype = check_slices(x, slices)
    rows, _ = ragged_rows(slices)
    columns = real_columns(x)
    if rows.numel() == 0 or columns.numel() == 0:
        return (x[:1].sum(0) * lengths).to(dtype)
    sums = torch.segment_reduce(columns[rows], "sum", lengths=slices[:, 1] - slices[:, 0], unsafe=True)
    return (like_features(sums, x) / lengths).to(dtype)


@implementation("slice_mean", source="torch.Tensor.index_add", gradient=ALL_MODES)
def index_add(x, slices):
    """Every row of every slice is added to its slice's sum.

    O(Σ lengths) work and memory: every row is copied as often as it is used.
    """
    x, lengths, dtype = check_slices(x, slices)
    rows, owners = ragged_rows(slices)
    sums = x.new_zeros((len(slices), *x.shape[1:])).index_add(0, owners, x[rows])
    return (sums / lengths).to(dtype)


@implementation("slice_mean", source="torch.sparse_csr_tensor", gradient=Gradient(second=True))
def sparse_csr_matmul(x, slices):
    """A sparse matrix with a one for each row of each slice, times x.

    O(Σ lengths) work, O(Σ lengths) memory for the entries of the matrix. torch warns once that the format is in beta.
    """
    x, lengths, dtype = check_slices(x, slices)
    rows, _ = ragged_rows(slices)
    columns = x.reshape(len(x), x.shape[1:].numel())
    ends = torch.nn.functional.pad((slices[:, 1] - slices[:, 0]).cumsum(0), (1, 0))
    ones = torch.ones(len(rows), dtype=x.dtype, device=x.device)
    matrix = torch.sparse_csr_tensor(ends, rows, ones, (len(slices), len(x)), check_invariants=False)
    return ((matrix @ columns).reshape(len(slices), *x.shape[1:]) / lengths).to(dtype)


@implementation(
    "slice_mean",
    source="a mask as a matrix",
    waives={
        "specials": "zero times NaN or inf: one in any row reaches every mean",
        "locality": "zero times NaN is NaN, backwards too",
    },
    gradient=ALL_MODES,
)
def mask_matmul(x, slices):
    """A matrix with a one where a row is in a slice, times x.

    O(k·n) work and memory.
    """
    x, lengths, dtype = check_slices(x, slices)
    row = torch.arange(len(x), device=x.device)
    mask = (slices[:, :1] <= row) & (row < slices[:, 1:])
    sums = mask.to(x.dtype) @ x.reshape(len(x), x.shape[1:].numel())
    return (sums.reshape(len(slices), *x.shape[1:]) / lengths).to(dtype)


@implementation("slice_mean", source="numpy.ufunc.reduceat", gradient=None, devices=("cpu",))
def numpy_reduceat(x, slices):
    """np.add.reduceat from each start to its end, slices in order. Every other sum, between two slices, is dropped.

    O(Σ lengths + n + k·log k) work, O(n + k) memory. Leaves autograd.
    """
    x, lengths, dtype = check_slices(x, slices)
    values = x.detach().resolve_conj().resolve_neg().numpy()
    padded = np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])  # an end may be n
    order = slices[:, 0].argsort()
    sums = np.add.reduceat(padded, slices[order].flatten().numpy(), axis=0)[::2]
    return (torch.from_numpy(sums)[order.argsort()] / lengths).to(dtype)


@implementation(
    "slice_mean",
    source=f"{QUESTION}, first answer as published",
    refuted={
        "agreement": "squeeze() drops a feature axis of one; one dimension raises; a large row before a slice ruins it",
        "form": "squeeze() drops a feature axis of one, and division makes a square of it",
        "specials": SPREADS,
        "gradient": "a difference of sums over rows outside the slice, in the input's dtype",
        "locality": LEAKS,
        "rejects": "reversed slices give a plausible mean, negative ones a wrong one, empty ones NaN",
    },
)
def published_prefix_sum(x, slices):
    """The answer as published: padded prefix sums, their differences squeezed.

    O(n + k) work and memory. The squeeze takes a feature axis of one with it; two dimensions only; no validation.
    """
    padded = torch.nn.functional.pad(x.cumsum(0), (0, 0, 1, 0))
    return padded[slices].diff(dim=1).squeeze() / slices.diff(dim=1)


@implementation(
    "slice_mean",
    source=f"{QUESTION}, second answer as published",
    refuted={
        "agreement": "no slices have no minimum; squeeze() and a large row between two slices as in the first answer",
        "form": "squeeze() drops a feature axis of one, and division makes a square of it",
        "specials": SPREADS,
        "gradient": "a difference of sums over rows outside the slice, in the input's dtype",
        "locality": LEAKS,
        "rejects": "reversed slices give a plausible mean, empty ones NaN",
    },
)
def published_trimmed_prefix_sum(x, slices):
    """The second answer as published: the first, on the rows from the first start to the last end.

    O(span + k) work and memory. Wrong where the first is, and raises for no slices.
    """
    low, high = slices.min(), slices.max()
    return published_prefix_sum(x[low:high], slices - low)


def prefix_sums(x):
    """0, x[0], x[0] + x[1], …: one row more than x."""
    return torch.cat([x.new_zeros((1, *x.shape[1:])), x.cumsum(0)])


def ragged_rows(slices):
    """The row numbers of all slices, one slice after the other, and for each the number of its slice."""
    counts = slices[:, 1] - slices[:, 0]
    owners = torch.repeat_interleave(torch.arange(len(slices), device=slices.device), counts)
    shift = slices[:, 0] - (counts.cumsum(0) - counts)
    return torch.arange(len(owners), device=slices.device) + shift[owners], owners


def real_columns(x):
    """x as a real matrix: one row for each of its rows, two columns for a complex feature."""
    x = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
    return x.reshape(len(x), x.shape[1:].numel())


def like_features(sums, x):
    """The inverse of real_columns, for a matrix of another number of rows."""
    if x.is_complex():
        return torch.view_as_complex(sums.reshape(len(sums), *x.shape[1:], 2))
    return sums.reshape(len(sums), *x.shape[1:])


def check_slices(x, slices):
    """What `known_slices` checks, and x in the dtype to add in (float32 for half types), the lengths, the dtype of the result."""
    dtype = known_slices(x, slices)
    x = x.to(torch.float32 if dtype.itemsize == 2 else dtype)
    lengths = (slices[:, 1] - slices[:, 0]).to(x.dtype.to_real())
    return x, lengths.reshape(-1, *[1] * (x.ndim - 1)), dtype


def known_slices(x, slices):
    """Check the slices, and return the dtype of the result.

    Raises
    ------
    ValueError, TypeError
        Naming the first offending slice.
    """
    if x.ndim == 0:
        raise ValueError("x has no dimensions; expected (n, *features)")
    if slices.ndim != 2 or slices.shape[1] != 2:
        raise ValueError(f"slices has shape {tuple(slices.shape)}; expected (k, 2): one row (start, end) a slice")
    if slices.dtype != torch.int64:
        raise TypeError(f"slices has dtype {slices.dtype}; expected torch.int64")
    bad = (slices[:, 0] < 0) | (slices[:, 0] >= slices[:, 1]) | (slices[:, 1] > len(x))
    if bad.any():
        row = int(bad.int().argmax())
        start, end = slices[row].tolist()
        rule = "every slice needs 0 <= start < end <= rows"
        raise ValueError(f"slice {row} of {len(slices)}: [{start}, {end}) in {len(x)} rows; {rule}")
    return x.dtype if x.is_floating_point() or x.is_complex() else torch.get_default_dtype()
