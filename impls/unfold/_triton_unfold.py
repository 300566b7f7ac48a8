"""Kernels of unfold: every window as a column, and the sums of all columns' elements at their places in the image."""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, moved_parts, parts, power_of_two
from opjury.impls._triton_arithmetic import index_type

TILE = 512 if INTERPRETED else 2048  # elements
WIDEST = 128 if INTERPRETED else 512  # columns of a tile


@triton.jit
def tile_of(number, column_blocks, height, LINES: tl.constexpr, COLUMNS: tl.constexpr, INDEX: tl.constexpr):
    """LINES lines, which go on from plane to plane, and COLUMNS columns: their planes, places in these, and columns."""
    line = (number // column_blocks).to(INDEX) * LINES + tl.arange(0, LINES)[:, None]
    column = (number % column_blocks).to(INDEX) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return line // height, line % height, column


@triton.jit(
    do_not_specialize=(
        *("image", "planes", "channels", "height", "width", "down", "across", "kernel_height", "kernel_width"),
        *("step_down", "step_across", "rim_above", "rim_left", "move_down", "move_across"),
        *("image_stride", "channel_stride", "row_stride", "column_blocks", "blocks"),
    )
)
def copy_windows(
    image, out, planes, channels, height, width, down, across,
    kernel_height, kernel_width, step_down, step_across, rim_above, rim_left, move_down, move_across,
    image_stride, channel_stride, row_stride, pixel_stride, out_stride, column_blocks, blocks,
    LINES: tl.constexpr, COLUMNS: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """A tile of windows, at the elements of one row of the kernel."""
    number = tl.program_id(0)
    a = number // blocks
    plane, line, column = tile_of(number % blocks, column_blocks, down, LINES, COLUMNS, INDEX)
    y, x = line * move_down - rim_above + a * step_down, column * move_across - rim_left
    inside = (plane < planes) & (column < across)
    seen = inside & (y >= 0) & (y < height)
    wide = plane.to(tl.int64)
    at = wide // channels * image_stride + wide % channels * channel_stride + y.to(tl.int64) * row_stride
    to = out + ((wide * kernel_height + a) * kernel_width * down + line) * across * out_stride
    for b in range(kernel_width):
        reached = b * step_across
        met = seen & (x >= -reached) & (x < width - reached)
        values = tl.load(image + at + (x + reached) * pixel_stride, mask=met, other=0)
        tl.store(to + column * out_stride, values, mask=inside)
        to += down.to(tl.int64) * across * out_stride


@triton.jit(
    do_not_specialize=(
        *("weight", "planes", "height", "width", "down", "across", "kernel_height", "kernel_width"),
        *("step_down", "step_across", "rim_above", "rim_left", "move_down", "move_across", "column_blocks"),
    )
)
def sum_windows(
    weight, out, planes, height, width, down, across,
    kernel_height, kernel_width, step_down, step_across, rim_above, rim_left, move_down, move_across, stride, column_blocks,
    LINES: tl.constexpr, COLUMNS: tl.constexpr, INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """A tile of the image, each pixel the sum over the kernel's elements that meet it."""
    plane, line, column = tile_of(tl.program_id(0), column_blocks, height, LINES, COLUMNS, INDEX)
    inside = (plane < planes) & (column < width)
    wide = plane.to(tl.int64)
    total = tl.zeros((LINES, COLUMNS), ACCUMULATOR)
    for a in range(kernel_height):
        top = line + rim_above - a * step_down
        meets_line = inside & (top >= 0) & (top % move_down == 0) & (top // move_down < down)
        row = weight + ((wide * kernel_height + a) * kernel_width * down + top // move_down) * across * stride
        for b in range(kernel_width):
            left = column + rim_left - b * step_across
            met = meets_line & (left >= 0) & (left % move_across == 0) & (left // move_across < across)
            total += tl.load(row + left // move_across * stride, mask=met, other=0).to(ACCUMULATOR)
            row += down.to(tl.int64) * across * stride
    to = out + (wide * height + line) * width * stride + column * stride
    tl.store(to, total.to(out.dtype.element_ty), mask=inside)


def tiled(lines, columns):
    """How many tiles lie side by side, and how many there are, and the lines and columns of one."""
    wide = power_of_two(columns, WIDEST)
    high = power_of_two(lines, TILE // wide)
    side_by_side = triton.cdiv(columns, wide)
    return side_by_side, triton.cdiv(lines, high) * side_by_side, {"LINES": high, "COLUMNS": wide}


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
        lines = n * channels * down
        side_by_side, blocks, tile = tiled(lines, across)
        reach = across * stride[1] + dilation[1] * kernel[1] + padding[1] + WIDEST * stride[1]
        with torch.cuda.device_of(x):
            for image, whole in zip(moved_parts(x), moved_parts(out), strict=True):
                copy_windows[(kernel[0] * blocks,)](
                    image, whole, n * channels, channels, height, width, down, across, *kernel, *dilation, *padding, *stride,
                    *image.stride(), whole.stride(-1), side_by_side, blocks,
                    **tile, INDEX=index_type(lines, height + 2 * padding[0], reach * max(image.stride(3), 1)),
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
        lines = n * channels * height
        side_by_side, blocks, tile = tiled(lines, width)
        reach = 2 * (width + padding[1] + dilation[1] * kernel[1] + WIDEST)
        kind = tl.float64 if accumulator(weight.dtype) == torch.float64 else tl.float32
        with torch.cuda.device_of(weight):
            for part, whole in zip(parts(weight), parts(out), strict=True):
                sum_windows[(blocks,)](
                    part, whole, n * channels, height, width, down, across, *kernel, *dilation, *padding, *stride,
                    whole.stride(-1), side_by_side,
                    **tile, INDEX=index_type(lines, height + padding[0] + dilation[0] * kernel[0], reach), ACCUMULATOR=kind,
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
