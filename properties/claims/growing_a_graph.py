"""Question 8: a sparse adjacency matrix grows by one vertex."""

import numpy as np
import scipy

from opjury.contract import claim

QUESTION = "8. Growing a sparse matrix by one vertex"
SQUARE = scipy.sparse.coo_array(np.arange(9.0).reshape(3, 3))


@claim(QUESTION, "vstack needs equal numbers of columns", expected="holds")
def vstack_needs_equal_columns():
    try:
        scipy.sparse.vstack([SQUARE, scipy.sparse.coo_array((1, 4))])
    except ValueError as error:
        return True, f"ValueError: {error}"
    return False, "accepted"


@claim(QUESTION, "bmat with None blocks keeps it square, and gives COO", expected="holds")
def bmat_grows():
    grown = scipy.sparse.bmat([[SQUARE, None], [None, scipy.sparse.coo_array((1, 1))]])
    return grown.shape == (4, 4) and grown.format == "coo", f"{grown.shape}, {grown.format}"


@claim(QUESTION, "the matrix must be made dense first to append a row", expected="refuted")
def dense_is_needed():
    row = scipy.sparse.coo_matrix((1, 3))
    stacked = scipy.sparse.vstack([SQUARE, row])
    return stacked.shape != (
        4,
        3,
    ), f"vstack with coo_matrix((1, 3)) is {stacked.shape}; coo_matrix(1, 3) was the mistake"


@claim(QUESTION, "growing needs a rebuilt matrix", expected="refuted")
def growing_rebuilds():
    formats = []
    for name in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil"):
        matrix = SQUARE.tobsr(blocksize=(1, 1)) if name == "bsr" else SQUARE.asformat(name).copy()
        matrix.resize(4, 4)
        if matrix.shape == (4, 4) and np.array_equal(matrix.toarray()[:3, :3], SQUARE.toarray()):
            formats.append(name)
    return len(formats) < 7, f"resize works in place in {', '.join(formats)}"


@claim(QUESTION, "resize appends empty rows and columns in all seven formats", expected="refuted")
def resize_appends_nothing_but_zeros():
    longer = scipy.sparse.dia_array((np.array([[1.0, 2.0, 3.0]]), [0]), shape=(2, 1))
    longer.resize(2, 2)
    shown = longer.toarray().tolist()
    return shown == [[1, 0], [0, 0]], f"a DIA matrix that stores 1, 2, 3 and has shape (2, 1) becomes {shown}"
