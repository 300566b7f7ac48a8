"""Question 4: np.diff(np.eye(L), n) in a sparse format, without the dense matrix."""

import numpy as np
import scipy

import opjury
from opjury.contract import claim

QUESTION = "4. Differences of the identity in a sparse format"


@claim(QUESTION, "columns of signed binomials from the last Pascal row are right", expected="refuted")
def pascal_rows_are_right():
    made = opjury.get("difference_matrix", "published_pascal_row")
    right = [order for order in range(1, 7) if np.array_equal(made(8, order).toarray(), np.diff(np.eye(8), n=order))]
    return right == list(
        range(1, 7)
    ), f"right for orders {right} of 1 to 6; order 1 of size 2: {made(2, 1).toarray().ravel().tolist()}"


@claim(QUESTION, "SciPy has no tools for this", expected="refuted")
def scipy_has_no_tools():
    made = opjury.get("difference_matrix", "constant_diagonals")(6, 3)
    return not np.array_equal(made.toarray(), np.diff(np.eye(6), n=3)), "diags_array gives np.diff(np.eye(6), n=3)"


@claim(QUESTION, "scipy.sparse.identity(4) is CSC", expected="refuted")
def identity_is_csc():
    found = scipy.sparse.identity(4).format
    return found == "csc", found


@claim(QUESTION, "the difference of any sparse matrix by shifting its stored entries is right", expected="refuted")
def shifting_entries_is_right():
    matrix = scipy.sparse.csc_array(np.array([[0.0, 1.0], [2.0, 0.0]]))
    found = opjury.get("sparse_diff", "row_major_places")(matrix, 1).toarray().ravel().tolist()
    return found == [1, -2], f"[[0,1],[2,0]]: {found}; true [1, -2]"
