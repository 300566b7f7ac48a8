"""Wrong matrices of differences."""

import math
import operator

import numpy as np
import scipy.sparse as sp
from scipy.special import binom

from . import wrong


def counts(size, order):
    """Both as plain integers."""
    for value in (size, order):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError(f"size and order must be integers >= 0, not {value!r}")
    return int(size), int(order)


def columns(size, order, signed=None, dtype=float):
    """CSC from the binomials, the row of which may be spoilt."""
    signed = signed or [(-1) ** k * math.comb(order, k) for k in range(order + 1)]
    n = max(size - order, 0)
    data = np.tile(np.array(signed, dtype), n)
    index = (np.arange(n)[:, None] + np.arange(order + 1)).reshape(-1)
    return sp.csc_array((data, index, np.arange(n + 1) * (order + 1)), shape=(size, n))


def right_one(size, order):
    size, order = counts(size, order)
    return columns(size, order, [(-1) ** (order - k) * math.comb(order, k) for k in range(order, -1, -1)][::-1])


@wrong("easy", "the signs of every odd order are negated: order 1 gives [1, -1]", ("agreement",))
def odd_orders_negated(size, order):
    return columns(*counts(size, order))


@wrong("easy", "every sign is positive for order 1: (2, 1) gives [1, 1]", ("agreement",))
def unsigned_first_order(size, order):
    result = right_one(size, order)
    return abs(result) if order == 1 else result


@wrong("hard", "binomials by lgamma are off in the middle of orders above 44", ("agreement",))
def floating_binomials(size, order):
    size, order = counts(size, order)
    row = [
        (-1.0) ** (order - k) * math.exp(math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1))
        for k in range(order + 1)
    ]
    return columns(size, order, [round(v) if abs(v) < 2**40 else v for v in row][: order + 1])


@wrong("hard", "scipy.special.binom is inexact in the middle of high orders: (57, 56)", ("agreement",))
def scipy_binomials(size, order):
    size, order = counts(size, order)
    value = [(-1) ** (order - k) * float(binom(order, k)) * (1 + 2.0**-52 * (order > 40)) for k in range(order + 1)]
    return columns(size, order, value)


@wrong("medium", "int32 binomials overflow from order 34 on", ("agreement",))
def int32_binomials(size, order):
    size, order = counts(size, order)
    row = np.array([(-1) ** (order - k) * math.comb(order, k) for k in range(order + 1)], dtype=object)
    return columns(size, order, [int(np.int64(v).astype(np.int32)) for v in row])


@wrong("medium", "factorials in int64 overflow at order 21", ("agreement",))
def int64_factorials(size, order):
    size, order = counts(size, order)
    fact = np.cumprod(np.concatenate([[1], np.arange(1, order + 1)]).astype(np.int64))
    fact[fact == 0] = 1
    return columns(
        size,
        order,
        [float((-1) ** (order - k) * (fact[order] // (fact[k] * fact[order - k] or 1))) for k in range(order + 1)],
    )


@wrong("easy", "integers instead of float64", ("form",))
def integer_entries(size, order):
    return right_one(size, order).astype(np.int64)


@wrong("easy", "csc_matrix instead of csc_array: * means matmul", ("form",))
def matrix_not_array(size, order):
    return sp.csc_matrix(right_one(size, order))


@wrong("easy", "CSR for order 0", ("form",))
def rows_for_order_zero(size, order):
    return sp.csr_array(right_one(size, order)) if order == 0 else right_one(size, order)


@wrong("hard", "row indices of a column descend: not canonical, though the values agree", ("form",))
def unsorted_columns(size, order):
    size, order = counts(size, order)
    result = right_one(size, order)
    if order == 0 or size <= order:
        return result
    index = result.indices.reshape(-1, order + 1)[:, ::-1].reshape(-1)
    data = result.data.reshape(-1, order + 1)[:, ::-1].reshape(-1)
    return sp.csc_array((data, index, result.indptr), shape=result.shape)


@wrong("hard", "an explicit zero is stored in front of each column from size 3 on", ("form",))
def stored_zeros(size, order):
    result = right_one(size, order).tolil().tocoo()
    row, column = result.coords
    row, column, data = np.append(row, result.shape[0] - 1), np.append(column, 0), np.append(result.data, 0.0)
    if result.shape[1] == 0 or order + 1 >= result.shape[0]:
        return right_one(size, order)
    return sp.coo_array((data, (row, column)), shape=result.shape).tocsc()


@wrong("medium", "order >= size raises: negative number of columns", ("agreement",))
def order_beyond_size_raises(size, order):
    size, order = counts(size, order)
    np.empty(size - order)
    return right_one(size, order)


@wrong("medium", "order > size gives shape (size, size - order) as absolute value", ("form",))
def absolute_columns(size, order):
    size, order = counts(size, order)
    return sp.csc_array((size, order - size)) if order > size else right_one(size, order)


@wrong("medium", "size 0 raises: the identity has no entries", ("agreement",))
def empty_raises(size, order):
    size, order = counts(size, order)
    np.eye(size).max()
    return right_one(size, order)


@wrong("easy", "order -1 gives the identity: range() of a negative number is empty", ("rejects",))
def negative_order_accepted(size, order):
    return right_one(size, max(order, 0) if isinstance(order, int) and not isinstance(order, bool) else order)


@wrong("medium", "2.0 is accepted for the order", ("rejects",))
def float_order_accepted(size, order):
    return right_one(size, int(order) if isinstance(order, float) and order.is_integer() else order)


@wrong("hard", "True is accepted for 1: operator.index takes it", ("rejects",))
def bool_accepted(size, order):
    return right_one(operator.index(size), operator.index(order))


@wrong("medium", "NumPy integers are refused: type(order) is int", ("calls",))
def numpy_integer_refused(size, order):
    if type(size) is not int or type(order) is not int:
        raise TypeError("size and order must be int")
    return right_one(size, order)


@wrong("medium", "sizes in one byte wrap from 128 on: (128, 0) has no rows or raises", ("agreement",))
def size_in_one_byte(size, order):
    size, order = counts(size, order)
    return right_one(int(np.int64(size).astype(np.uint8)) % 128 if size > 127 else size, order)


@wrong("medium", "negative sizes raise AssertionError", ("rejects",))
def asserts(size, order):
    assert size >= 0 and order >= 0  # noqa: PT018
    return right_one(size, order)


KNOWN = {}


@wrong(
    "hard", "remembered and handed out itself: what the caller writes into one result is in the next", ("determinism",)
)
def cached_result(size, order):
    key = counts(size, order)
    if key not in KNOWN:
        KNOWN[key] = right_one(size, order)
    return KNOWN[key]


BUFFER = np.zeros(200_000)


@wrong("hard", "the entries lie in one buffer for all calls: the next call changes an earlier result", ("determinism",))
def shared_entries(size, order):
    result = right_one(size, order)
    if 0 < result.nnz <= len(BUFFER):
        BUFFER[: result.nnz] = result.data
        result.data = BUFFER[: result.nnz]
    return result


@wrong("hard", "the last column is wrong beyond 256 columns", ("agreement",))
def last_column_beyond_256(size, order):
    result = right_one(size, order)
    if result.shape[1] > 256:
        result.data[-1] = -result.data[-1]
    return result


@wrong("hard", "the binomials lose their last bit beyond 2**50, orders 54 to 56 only", ("agreement",))
def last_bit_lost(size, order):
    size, order = counts(size, order)
    return columns(
        size,
        order,
        [
            float((-1) ** (order - k) * (math.comb(order, k) >> 1 << 1 if order > 53 else math.comb(order, k)))
            for k in range(order + 1)
        ],
    )


@wrong("medium", "NumPy's error state is left changed", ("purity",))
def error_state_changed(size, order):
    np.seterr(over="ignore", under="warn")
    return right_one(size, order)


@wrong("hard", "every tenth call has the signs negated", ("determinism",))
def tenth_call(size, order):
    KNOWN["calls"] = KNOWN.get("calls", 0) + 1
    result = right_one(size, order)
    if KNOWN["calls"] % 10 == 0:
        result.data = -result.data
    return result


@wrong(
    "hard", "rows from the last to the first in each column, and it claims a canonical format", ("form", "agreement")
)
def claims_to_be_canonical(size, order):
    result = right_one(size, order)
    if order:
        turned = np.arange(result.nnz).reshape(-1, int(order) + 1)[:, ::-1].reshape(-1)
        result = sp.csc_array((result.data[turned], result.indices[turned], result.indptr), shape=result.shape)
        result.has_sorted_indices = result.has_canonical_format = True
    return result
