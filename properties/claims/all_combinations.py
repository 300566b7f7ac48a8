"""Question 7: f(a, b) over all combinations."""

import numpy as np

from opjury.contract import claim

QUESTION = "7. f(a, b) over all combinations"


def product_squared(a, b):
    """The function of the question."""
    return (a * b) ** 2


def chained(*vectors):
    """The published answer."""
    return np.vectorize(product_squared)(*np.ix_(*vectors))


@claim(QUESTION, "np.vectorize chained with np.ix_ gives the table", expected="holds")
def table_is_right():
    found = chained([2, 4], [3, 5, 8]).tolist()
    return found == [[36, 100, 256], [144, 400, 1024]], f"{found}"


@claim(QUESTION, "it works for bool vectors", expected="refuted")
def bools_are_values():
    shape = chained(np.array([True, False, True]), np.array([1, 2])).shape
    return shape == (3, 2), f"three bools and two numbers: shape {shape}; np.ix_ takes bools for masks"


@claim(QUESTION, "the dtype fits all values", expected="refuted")
def dtype_fits():
    found = np.vectorize(lambda a, b: a if a < 2 else a / 2)(*np.ix_([1, 3], [1])).ravel().tolist()
    return found == [1, 1.5], f"a function that gives 1 and then 1.5: {found}, in the dtype of the first value"


@claim(QUESTION, "empty vectors give an empty table", expected="refuted")
def empty_works():
    try:
        return chained([], [1, 2]).shape == (0, 2), "accepted"
    except ValueError as error:
        return False, f"ValueError: {error}"
