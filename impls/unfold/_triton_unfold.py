"""Kernels of unfold: every window as a column, and the sums of all columns' elements at their places in the image."""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, moved_parts, parts, power_of_two

TILE = 512 if INTERPRETED else 2048  # elements
WIDEST = 128 if INTERPRETED else 1024  # windows, or pixels, of a tile


@triton.jit
def copy_windows(
    image, out, rows, channels, height, width, down, across,
    kernel_height, kernel_width, step_down, step_across, rim_above, rim_left, move_down, move_across,
    image_stride, channel_stride, row_stride, pixel_stride, out_stride, blocks,
    ROWS: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """A tile of the result: ROWS elements of the kernels, each at BLOCK windows."""
    number = tl.program_id(0).to(tl.int64)
    row = number // blocks * ROWS + tl.arange(0, ROWS)[:, None]
    first = number % blocks * BLOCK
    b, a = (row % kernel_width).to(INDEX), (row // kernel_width % kernel_height).to(INDEX)
    channel = row // (kernel_width * kernel_height)
    # Windows are counted from the first of the block, and places from the channel's first pixel, in 32 bits: 64 would cost more than the copy.
    window = (first % across).to(tl.int32) + tl.arange(0, BLOCK)[None, :]
    line = (first // across).to(INDEX) + window // across
    y, x = line * move_down - rim_above, window % across * move_across - rim_left
    down_by, across_by = a * step_down, b * step_across
    inside = (row < rows) & (line < down)
    seen = inside & (y >= -down_by) & (y < height - down_by) & (x >= -across_by) & (x < width - across_by)
    plane = image + channel // channels * image_stride + channel % channels * channel_stride
    at = (y * row_stride + x * pixel_stride) + (down_by * row_stride + across_by * pixel_stride)
    values = tl.load(plane + at, mask=seen, other=0)
    to = out + (row * down * across + first) * out_stride
    tl.store(to + tl.arange(0, BLOCK)[None, :] * out_stride, values, mask=inside)


@triton.jit
def sum_windows(
    weight, out, planes, height, width, down, across,
    kernel_height, kernel_width, step_down, step_across, rim_above, rim_left, move_down, move_across, stride, blocks,
    PLANES: tl.constexpr, BLOCK: tl.constexpr, INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """A tile of the image: BLOCK pixels of PLANES channels, each the sum over the kernel's elements that meet it."""
    number = tl.program_id(0).to(tl.int64)
    plane = number // blocks * PLANES + tl.arange(0, PLANES)[:, None]
    first = number % blocks * BLOCK
    pixel = (first % width).to(tl.int32) + tl.arange(0, BLOCK)[None, :]
    line = (first // width).to(INDEX) + pixel // width
    y, x = line + rim_above, pixel % width + rim_left
    inside = (plane < planes) & (line < height)
    columns = weight + plane * (kernel_height * kernel_width) * down * across * stride
    total = tl.zeros((PLANES, BLOCK), ACCUMULATOR)
    for element in range(kernel_height * kernel_width):
        a, b = element // kernel_width, element % kernel_width
        top, left = y - a * step_down, x - b * step_across
        met = (top >= 0) & (left >= 0) & (top % move_down == 0) & (left % move_across == 0)
        met = met & (top // move_down < down) & (left // move_across < across)
        at = (element * down + top // move_down) * across + left // move_across
        total += tl.load(columns + at * stride, mask=inside & met, other=0).to(ACCUMULATOR)
    to = out + (plane * height * width + first) * stride
    tl.store(to + tl.arange(0, BLOCK)[None, :] * stride, total.to(out.dtype.element_ty), mask=inside)


def index_type(extent):
    """The integers that count so many elements."""
    return tl.int32 if extent < 2**30 else tl.int64


def windows_along(length, side, step, rim, move):
    """How many windows there are along a side of the image."""
    return (length + 2 * rim - (side - 1) * step - 1) // move + 1


@torch.library.custom_op("opjury::unfold", mutates_args=())
def columns(
    x: torch.Tensor, kernel: list[int], dilation: list[int], padding: list[int], stride: list[int]
) -> torch.Tensor:
    """Every window of x (N, C, H, W) as a column."""
    out = columns_like(x, kernel, dilation, padding, stride)
    if out.numel():
        n, channels, height, width = x.shape
        down, across = map(windows_along, (height, width), kernel, dilation, padding, stride)
        rows = n * channels * kernel[0] * kernel[1]
        block = power_of_two(down * across, WIDEST)
        together = power_of_two(rows, TILE // block)
        blocks = triton.cdiv(down * across, block)
        with torch.cuda.device_of(x):
            for image, whole in zip(moved_parts(x), moved_parts(out), strict=True):
                copy_windows[(triton.cdiv(rows, together) * blocks,)](
                    image, whole, rows, channels, height, width, down, across, *kernel, *dilation, *padding, *stride,
                    *image.stride(), whole.stride(-1), blocks, ROWS=together, BLOCK=block,
                    INDEX=index_type(height * abs(image.stride(2)) + width * abs(image.stride(3))),
                )  # fmt: skip
    return out


@columns.register_fake
def columns_like(x, kernel, dilation, padding, stride):
    """Memory for the columns."""
    down, across = map(windows_along, x.shape[2:], kernel, dilation, padding, stride)
    return x.new_empty((x.shape[0], x.shape[1] * kernel[0] * kernel[1], down * across))


@torch.library.custom_op("opjury::unfold_adjoint", mutates_args=())
def image(
    weight: torch.Tensor,
    shape: list[int],
    kernel: list[int],
    dilation: list[int],
    padding: list[int],
    stride: list[int],
) -> torch.Tensor:
    """The image of a shape whose pixels are the sums of the columns' elements that show them."""
    weight, out = weight.contiguous(), weight.new_empty(shape)
    if out.numel():
        n, channels, height, width = shape
        down, across = map(windows_along, (height, width), kernel, dilation, padding, stride)
        block = power_of_two(height * width, WIDEST)
        together = power_of_two(n * channels, TILE // block)
        blocks = triton.cdiv(height * width, block)
        kind = tl.float64 if accumulator(weight.dtype) == torch.float64 else tl.float32
        with torch.cuda.device_of(weight):
            for part, whole in zip(parts(weight), parts(out), strict=True):
                sum_windows[(triton.cdiv(n * channels, together) * blocks,)](
                    part, whole, n * channels, height, width, down, across, *kernel, *dilation, *padding, *stride,
                    whole.stride(-1), blocks, PLANES=together, BLOCK=block, ACCUMULATOR=kind,
                    INDEX=index_type(2 * max(height * width, kernel[0] * kernel[1] * down * across)),
                )  # fmt: skip
    return out


@image.register_fake
def _(weight, shape, kernel, dilation, padding, stride):
    return weight.new_empty(shape)


def _remember_shape(ctx, inputs, output):
    x, *ctx.geometry = inputs
    ctx.shape = list(x.shape)


def _remember(ctx, inputs, output):
    _, _, *ctx.geometry = inputs


def _to_image(ctx, weight):
    return image(weight, ctx.shape, *ctx.geometry), None, None, None, None


def _to_columns(ctx, weight):
    return columns(weight, *ctx.geometry), None, None, None, None, None


columns.register_autograd(_to_image, setup_context=_remember_shape)
image.register_autograd(_to_columns, setup_context=_remember)
