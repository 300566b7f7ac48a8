"""The windows of an image, and an image of its windows added up, on a CPU: each is the other's gradient."""

import torch

from opjury.impls._memory import array_of, copied
from opjury.impls.unfold._geometry import shifted, strided_windows


class Windows(torch.autograd.Function):
    """(N, C, H, W) → (N, C, h, w, rows, columns), written into large pages."""

    @staticmethod
    def forward(image, kernel, *geometry):
        plain = image.resolve_conj().resolve_neg()
        return copied(array_of(strided_windows(plain, kernel, *geometry)), image.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.sides, ctx.geometry = inputs[0].shape[-2:], inputs[1:]

    @staticmethod
    def backward(ctx, weight):
        return Image.apply(weight, ctx.sides, *ctx.geometry), *[None] * len(ctx.geometry)

    @staticmethod
    def jvp(ctx, tangent, *_):
        return Windows.apply(tangent, *ctx.geometry)

    @staticmethod
    def vmap(info, in_dims, image, *geometry):
        batch = image.movedim(in_dims[0], 0)
        return Windows.apply(batch.flatten(0, 1), *geometry).unflatten(0, batch.shape[:2]), 0


class Image(torch.autograd.Function):
    """(N, C, h, w, rows, columns) → (N, C, H, W): one addition for each element of the kernel."""

    @staticmethod
    def forward(windows, sides, kernel, *geometry):
        dtype = torch.float32 if windows.dtype.itemsize == 2 else windows.dtype
        image = torch.zeros((*windows.shape[:2], *sides), dtype=dtype)
        for a in range(kernel[0]):
            for b in range(kernel[1]):
                shifted(image, (a, b), *geometry).add_(windows[:, :, a, b])
        return image.to(windows.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.sides, *ctx.geometry = inputs[1:]

    @staticmethod
    def backward(ctx, weight):
        return Windows.apply(weight, *ctx.geometry), None, *[None] * len(ctx.geometry)

    @staticmethod
    def jvp(ctx, tangent, *_):
        return Image.apply(tangent, ctx.sides, *ctx.geometry)

    @staticmethod
    def vmap(info, in_dims, windows, *geometry):
        batch = windows.movedim(in_dims[0], 0)
        return Image.apply(batch.flatten(0, 1), *geometry).unflatten(0, batch.shape[:2]), 0
