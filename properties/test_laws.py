"""Laws between operations: what one operation's implementations must say about another's.

Values are small integers in float64, so both sides are exact; implementations with an error model of their own may differ by a little.
"""

import numpy as np
import pytest
import scipy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import opjury
from opjury.judge.draw import hypothesis_elsewhere
from opjury.model import registry

LAW = settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
SIZES = st.integers(1, 7)


@pytest.fixture(autouse=True)
def elsewhere():
    with hypothesis_elsewhere():
        yield


def right(operation):
    """The implementations of an operation that are not known to be wrong, and run here."""
    entries = [entry for entry in registry.implementations(operation) if not entry.refuted and "cpu" in entry.devices]
    return [pytest.param(entry, id=entry.name) for entry in entries]


def integers(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).integers(-3, 4, shape).astype(float))


def same(entry, one, other):
    __tracebackhide__ = True
    one, other = (np.asarray(side.toarray() if scipy.sparse.issparse(side) else side) for side in (one, other))
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-11 if entry.error else 0)


def get(operation):
    """The implementation that speed-ups are relative to."""
    return opjury.get(operation, registry.operation(operation).baseline)


@pytest.mark.parametrize("entry", right("cumsum"))
def test_differences_of_running_sums_give_x_back(entry):
    @LAW
    @given(st.integers(0, 9), SIZES, SIZES, st.integers(-2, 1))
    def law(seed, m, n, dim):
        x = integers(seed, m, n)
        first = torch.zeros_like(x.narrow(dim, 0, 1))
        same(entry, torch.diff(entry.function(x, dim), dim=dim, prepend=first), x)

    law()


@pytest.mark.parametrize("entry", right("unfold"))
def test_fold_of_unfold_counts_the_windows(entry):
    @LAW
    @given(st.integers(0, 9), st.integers(2, 6), st.integers(1, 2), st.integers(1, 2), st.integers(0, 1))
    def law(seed, side, kernel, stride, padding):
        x = integers(seed, 2, 3, side, side + 1)
        options = dict(kernel_size=kernel, stride=stride, padding=padding)
        fold = torch.nn.Fold(x.shape[-2:], **options)
        same(
            entry,
            fold(entry.function(x, (kernel, kernel), padding=(padding, padding), stride=(stride, stride))),
            x * fold(torch.nn.Unfold(**options)(torch.ones_like(x))),
        )

    law()


@pytest.mark.parametrize("entry", right("toeplitz_matmul"))
def test_toeplitz_matmul_is_the_product_with_toeplitz(entry):
    @LAW
    @given(st.integers(0, 9), SIZES, SIZES)
    def law(seed, m, n):
        c, r, x = integers(seed, m), integers(seed + 1, n), integers(seed + 2, n, 3)
        same(entry, entry.function(c, r, x), get("toeplitz")(c, r) @ x)

    law()


@pytest.mark.parametrize("entry", right("circulant"))
def test_circulant_is_the_toeplitz_matrix_of_c_and_its_reversal(entry):
    @LAW
    @given(st.integers(0, 9), SIZES)
    def law(seed, n):
        c = integers(seed, n)
        same(entry, entry.function(c), get("toeplitz")(c, torch.roll(c.flip(0), 1)))

    law()


@pytest.mark.parametrize("entry", right("compose_conv2d"))
def test_two_convolutions_are_one_with_the_composed_kernel(entry):
    @LAW
    @given(st.integers(0, 9), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
    def law(seed, h, w, channels):
        first, second = integers(seed, 2, channels, h, w), integers(seed + 1, 3, 2, w, h)
        x, conv = integers(seed + 2, 2, channels, h + w + 1, h + w), get("conv2d")
        same(entry, conv(x, entry.function(first, second)), conv(conv(x, first), second))

    law()


@pytest.mark.parametrize("entry", right("convolve2d"))
def test_full_convolution_commutes_associates_and_is_a_toeplitz_lifting(entry):
    @LAW
    @given(st.integers(0, 9), SIZES, SIZES)
    def law(seed, m, n):
        f, a, b, c = entry.function, integers(seed, m, n), integers(seed + 1, 2, m), integers(seed + 2, n, 2)
        same(entry, f(a, b), f(b, a))
        same(entry, f(f(a, b), c), f(a, f(b, c)))
        same(entry, f(a, b), opjury.get("convolve2d", "doubly_block_toeplitz")(a, b))

    law()


@pytest.mark.parametrize("entry", right("moving_mean"))
def test_means_of_adjacent_slices_are_a_moving_mean(entry):
    @LAW
    @given(st.integers(0, 9), st.integers(1, 20), st.integers(0, 3))
    def law(seed, n, log_window):
        window = min(2**log_window, n)
        window = 2 ** (window.bit_length() - 1)
        x, starts = integers(seed, n), torch.arange(n - window + 1)
        same(entry, entry.function(x, window), get("slice_mean")(x, torch.stack([starts, starts + window], 1)))

    law()


@pytest.mark.parametrize("entry", right("difference_matrix"))
def test_differences_of_differences_are_differences_of_higher_order(entry):
    @LAW
    @given(st.integers(0, 12), st.integers(0, 4), st.integers(0, 4))
    def law(size, a, b):
        same(entry, entry.function(size, a) @ entry.function(max(size - a, 0), b), entry.function(size, a + b))

    law()


@pytest.mark.parametrize("entry", right("sparse_grow"))
def test_growing_columns_then_differences(entry):
    @LAW
    @given(st.integers(0, 9), SIZES, SIZES, st.integers(0, 3))
    def law(seed, m, n, columns):
        matrix = scipy.sparse.csc_array(integers(seed, m, n).numpy())
        grown = entry.function(matrix, 0, columns)
        same(entry, get("sparse_diff")(grown, 1), np.diff(np.pad(matrix.toarray(), ((0, 0), (0, columns))), axis=1))

    law()


@pytest.mark.parametrize("entry", right("outer_map"))
def test_exchanging_vectors_transposes_the_table(entry):
    @LAW
    @given(st.integers(0, 9), SIZES, SIZES)
    def law(seed, m, n):
        a, b = integers(seed, m), integers(seed + 1, n)
        same(entry, entry.function(torch.sub, a, b), entry.function(lambda v, u: u - v, b, a).T)

    law()
