"""The matrix of its diagonals, and the sums of a matrix's diagonals, on a CPU: each is the other's gradient.

A matrix (m, n) has m + n − 1 diagonals, numbered from the lower left corner: element (i, j) is on diagonal m − 1 − i + j.
"""

import torch

from opjury.impls._memory import array_of, copied

ROOM = 2**17  # elements of a band: they fit into the second cache


class Matrix(torch.autograd.Function):
    """(…, m + n − 1) → (…, m, n): each row is a window of the diagonals, copied as it stands, the last one first."""

    @staticmethod
    def forward(diagonals, rows):
        windows = array_of(diagonals.unfold(-1, diagonals.shape[-1] - rows + 1, 1))
        return copied(windows[..., ::-1, :], diagonals.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rows = inputs[1]

    @staticmethod
    def backward(ctx, weight):
        return Sums.apply(weight), None

    @staticmethod
    def jvp(ctx, tangent, _):
        return Matrix.apply(tangent, ctx.rows)

    @staticmethod
    def vmap(info, in_dims, diagonals, rows):
        return Matrix.apply(diagonals.movedim(in_dims[0], 0), rows), 0


class Sums(torch.autograd.Function):
    """(…, m, n) → (…, m + n − 1): band by band, written into zeros whose rows are one shorter than those that are added up."""

    @staticmethod
    def forward(weight):
        *batch, m, n = weight.shape
        if m > n:
            return Sums.forward(weight.mT).flip(-1)
        rows = max(ROOM // n, 1)
        dtype = torch.float32 if weight.dtype.itemsize == 2 else weight.dtype
        sums = torch.zeros((*batch, m + n - 1), dtype=dtype)
        for top in range(0, m, rows):
            band = weight[..., top : top + rows, :]
            height = band.shape[-2]
            if top == 0 or height < rows:
                zeros = torch.zeros((*batch, height * (n + height)), dtype=dtype)
                room = zeros[..., : height * (n + height - 1)].unflatten(-1, (height, n + height - 1))
            room[..., height - 1 :] = band
            skewed = zeros.unflatten(-1, (height, n + height)).sum(-2)[..., :-1]
            sums[..., m - top - height : m - top + n - 1] += skewed
        return sums.to(weight.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.rows = inputs[0].shape[-2]

    @staticmethod
    def backward(ctx, weight):
        return Matrix.apply(weight, ctx.rows)

    @staticmethod
    def jvp(ctx, tangent):
        return Sums.apply(tangent)

    @staticmethod
    def vmap(info, in_dims, weight):
        return Sums.apply(weight.movedim(in_dims[0], 0)), 0
