"""slice_mean(x, slices): the mean of x[start:end] for each row (start, end) of slices.

x (n, *features), slices (k, 2) int64 with 0 ≤ start < end ≤ n → (k, *features). Integer and bool x give torch's
default dtype. The gradient is zero, exactly, outside the slices; a NaN reaches only the means of slices that contain it.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, Tensor, composite, illegal, st

MOST_FEATURES = 300  # of one dimension: larger sizes are the number of rows instead


def slice_mean(x, slices):
    """Σ x[start:end] / (end − start), row by row."""
    x = x.astype(float) if x.dtype.kind in "biu" else x  # times in nanoseconds fill 64 bits: their sums do not fit
    out = np.zeros((len(slices), *x.shape[1:]), dtype=x.dtype)
    for row, (start, end) in enumerate(slices):
        out[row] = x[start:end].sum(axis=0) / int(end - start)
    return out


def terms(x, slices):
    """Additions of one slice, a division, and one rounding of the weights (products with 1/length are as good)."""
    return (slices[:, 1] - slices[:, 0] + 2).reshape(-1, *[1] * (x.ndim - 1))


@composite
def slices_of(draw, space: Space, n: int) -> Tensor:
    """Slices of n rows: overlapping, repeated, adjacent, single rows, everything."""
    count = draw(space.sizes(0, 520)) if n else 0
    if space.large and count <= 3:  # slices cost little
        count = draw(st.integers(1, 8))
    if count <= 6:
        lengths = [draw(space.lengths(n)) for _ in range(count)]
        starts = [draw(st.integers(0, n - length) | st.just(n - length)) for length in lengths]
    else:
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        longest = draw(space.lengths(n))
        lengths = (
            2 ** rng.integers(0, longest.bit_length(), count)
            if space.tier == "exact"
            else rng.integers(1, longest + 1, count)
        )
        starts = rng.integers(0, n - lengths + 1)
    pairs = np.stack([np.array(starts), np.array(starts) + np.array(lengths)], axis=1) if count else np.zeros((0, 2))
    return Tensor(pairs.astype(np.int64), "int64", data=False)


@composite
def cases(draw, space: Space) -> Case:
    n = draw(space.sizes())
    features = list(draw(space.shapes(0, 5)))
    if max(features, default=0) > MOST_FEATURES:
        widest = features.index(max(features))
        n, features[widest] = features[widest], n
    slices = draw(slices_of(space, n))
    terms = 1 if space.dtype == "int64" else max(n, len(slices.values))  # a mean of any integers fits
    return Case.of(draw(space.tensor((n, *features), terms=terms)), slices)


@composite
def rejects(draw, space: Space) -> Case:
    n = draw(st.integers(1, 6))
    x = draw(space.tensor((n, 2)))
    good = [draw(st.integers(0, n - 1)), n]
    start = draw(st.integers(0, n))
    rule, pairs, dtype = draw(
        st.sampled_from(
            [
                ("start ≥ end", [good, [start, start]], "int64"),
                ("start ≥ end", [[n, 0], good], "int64"),
                ("end > len(x)", [good, [good[0], n + 1]], "int64"),
                ("end > len(x)", [[n + 1, n + 3]], "int64"),
                ("start is negative", [[-1, n]], "int64"),
                ("start is negative", [good, [-2, -1]], "int64"),
                ("slices is not of shape (k, 2)", [[0, 1, 1]], "int64"),
                ("slices is not of shape (k, 2)", [[0], [1]], "int64"),
                ("slices is not of shape (k, 2)", good, "int64"),
                ("slices is not of shape (k, 2)", [[good]], "int64"),
                ("slices is not int64", [good], "float32"),
                ("slices is not int64", [good], "float64"),
            ]
        )
    )
    values = np.array(pairs, dtype=float if dtype != "int64" else np.int64)
    return illegal(rule, x, Tensor(values, dtype, data=False))


def permuted(f, rng, x, slices):
    order = rng.permutation(len(slices))
    return f(x, slices[order]), f(x, slices)[order]


def alone(f, rng, x, slices):
    if len(slices) == 0:
        return None
    row = int(rng.integers(len(slices)))
    return f(x, slices[row : row + 1])[0], f(x, slices)[row]


def shifted(f, rng, x, slices):
    rows = int(rng.integers(1, 4))
    front = torch.ones((rows, *x.shape[1:]), dtype=x.dtype, device=x.device)
    return f(torch.cat([front, x]), slices + rows), f(x, slices)


Operation(
    "slice_mean",
    "mean of x[start:end] for each row (start, end) of slices",
    kind="arithmetic",
    reference=slice_mean,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    result_dtype=lambda case: "default" if case.dtype in INTEGER else case.dtype,
    laws=(
        Law("permuting the slices permutes the means", permuted),
        Law("a slice has the same mean alone as among others", alone),
        Law("rows prepended outside every slice change nothing", shifted),
    ),
    baseline="python_loop",
    usual=("python_loop",),
)
