"""slice_mean by tables of sums, made by doubling: of 1, 2, 4, 8, … rows. Nothing is subtracted, so nothing leaks."""

import numpy as np
import torch

from opjury.contract import Error, implementation
from opjury.impls.cumsum.slice_mean import ALL_MODES, BLOCK, check_slices, ragged_rows, rows_of


def doubling_terms(x, slices):
    """The table is as deep as the length has binary digits, and a slice has as many pieces, and then comes the division.

    A sum of so many rows never takes more additions than rows.
    """
    lengths = slices[:, 1] - slices[:, 0]
    return rows_of(x, np.minimum(2 * np.ceil(np.log2(lengths + 1)), lengths) + 2)


@implementation(
    "slice_mean",
    source="sparse tables: Bender and Farach-Colton, The LCA problem revisited, 2000; the pieces of a sum are disjoint",
    error=Error(terms=doubling_terms),
    gradient=ALL_MODES,
)
def doubling_table(x, slices):
    """Sums of 1, 2, 4, 8, … rows by doubling. A slice is made of the pieces that the binary digits of its length name.

    O((n + k)·log longest) work, O(n + k) memory. Nothing is subtracted, so nothing leaks. One slice costs all rows.
    """
    x, lengths, dtype = check_slices(x, slices)
    return (sums_by_doubling(x, slices[:, 0], slices[:, 1] - slices[:, 0]) / lengths).to(dtype)


@implementation(
    "slice_mean",
    source="two levels of a sparse table: Fischer and Heun, Theoretical and practical improvements on the RMQ-problem, 2006",
    gradient=ALL_MODES,
)
def blocks_and_edges(x, slices):
    """Sums of whole blocks of rows, doubled as in a table, and what a slice has before its first block and after its last.

    O(n + k·block + (n / block + k)·log longest) work, O(n / block + k·block) memory. Nothing is subtracted, so nothing leaks.
    """
    x, lengths, dtype = check_slices(x, slices)
    starts, ends = slices.unbind(1)
    blocks = x[: len(x) // BLOCK * BLOCK].unflatten(0, (-1, BLOCK)).sum(1)
    first = (starts + BLOCK - 1) // BLOCK
    after = (ends // BLOCK).maximum(first)
    whole = sums_by_doubling(blocks, first, after - first)
    edges = torch.cat([starts, (after * BLOCK).clamp(max=ends)]), torch.cat([(first * BLOCK).minimum(ends), ends])
    rows, owners = ragged_rows(torch.stack(edges, 1))
    return (whole.index_add(0, owners % max(len(slices), 1), x.index_select(0, rows)) / lengths).to(dtype)


def sums_by_doubling(table, starts, counts):
    """The sums of `counts` rows from `starts` on, of pieces that the binary digits of the counts name."""
    sums = table.new_zeros((len(counts), *table.shape[1:])) + table[:0].sum(0)
    size = 1
    while (counts >= size).any():
        owners = (counts & size != 0).nonzero()[:, 0]
        sums = sums.index_add(0, owners, table[starts[owners]])
        starts = starts + (counts & size)
        table = table[:-size] + table[size:]
        size *= 2
    return sums
