"""Wrong prefix sums."""

import warnings

import numpy as np
import torch

from . import wrong


def axis_of(x, dim):
    """The axis, counted from the front."""
    if not -max(x.ndim, 1) <= dim < max(x.ndim, 1):
        raise IndexError(f"dim {dim} is out of range for {x.ndim} dimensions")
    return dim % max(x.ndim, 1)


def integral(x):
    return not (x.is_floating_point() or x.is_complex())


@wrong("easy", "the carry is dropped after every 256 entries: ones(257)[-1] gives 1", ("agreement",))
def carry_dropped(x, dim):
    axis = axis_of(x, dim)
    return torch.cat([block.cumsum(axis) for block in x.split(256, axis)], axis) if x.ndim else x.cumsum(0)


@wrong("hard", "the carry is dropped in front of an incomplete last block of 64, from 129 entries on", ("agreement",))
def carry_dropped_before_remainder(x, dim):
    axis = axis_of(x, dim)
    result = x.cumsum(axis)
    n = x.shape[axis] if x.ndim else 1
    if n > 128 and n % 64:
        full = n // 64 * 64
        tail = x.narrow(axis, full, n - full).cumsum(axis) + result.narrow(axis, full - 65, 1)
        return torch.cat([result.narrow(axis, 0, full), tail], axis)
    return result


@wrong("medium", "the running sum is a half number: 4096 ones in float16 end at 2048", ("agreement",))
def half_accumulator(x, dim):
    axis = axis_of(x, dim)
    if x.dtype not in (torch.float16, torch.bfloat16) or x.ndim == 0 or x.shape[axis] == 0:
        return x.cumsum(axis)
    rows = list(x.unbind(axis))
    for i in range(1, len(rows)):
        rows[i] = rows[i - 1] + rows[i]
    return torch.stack(rows, axis)


@wrong("hard", "bfloat16 only: blocks of 64 in float32, the carry between them rounded", ("agreement",))
def bfloat16_carry(x, dim):
    axis = axis_of(x, dim)
    if x.dtype is not torch.bfloat16 or x.ndim == 0 or x.shape[axis] <= 64:
        return x.cumsum(axis)
    parts, carry = [], 0
    for block in x.split(64, axis):
        parts.append((block.float().cumsum(axis) + carry).bfloat16())
        carry = parts[-1].narrow(axis, parts[-1].shape[axis] - 1, 1).float()
    return torch.cat(parts, axis)


@wrong("medium", "dim = -1 means the first axis of three dimensions and more", ("agreement",))
def negative_dim(x, dim):
    axis = axis_of(x, dim)
    return x.cumsum((dim + 1) % x.ndim if dim < 0 and x.ndim > 2 else axis)


@wrong("medium", "int8 sums wrap at 127 before they become int64: [100, 100]", ("agreement",))
def int8_wraps(x, dim):
    axis_of(x, dim)
    return x.cumsum(dim, dtype=torch.int8).long() if x.dtype is torch.int8 else x.cumsum(dim)


@wrong("medium", "bool is taken for a mask: [True, True] gives [1, 1]", ("agreement",))
def bool_saturates(x, dim):
    axis_of(x, dim)
    return x.cumsum(dim).clamp(max=1) if x.dtype is torch.bool else x.cumsum(dim)


@wrong("hard", "int64 through float64: [2**53, 1] gives 2**53 twice", ("agreement",))
def int64_through_float64(x, dim):
    axis_of(x, dim)
    return x.double().cumsum(dim).long() if x.dtype is torch.int64 else x.cumsum(dim)


@wrong("hard", "float64 through float32: [1 + 1e-12]", ("agreement",))
def float64_through_float32(x, dim):
    axis_of(x, dim)
    return x.float().cumsum(dim).double() if x.dtype is torch.float64 else x.cumsum(dim)


@wrong("easy", "int32 stays int32: the contract promises int64", ("form",))
def keeps_int32(x, dim):
    axis_of(x, dim)
    return x.cumsum(dim, dtype=x.dtype) if x.dtype is torch.int32 else x.cumsum(dim)


def through(forward, backward, x):
    """A custom function made of two others."""

    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return forward(x)

        @staticmethod
        def backward(ctx, g):
            return backward(g)

    return Through.apply(x) if x.requires_grad else forward(x)


@wrong("easy", "the backward sums forwards: gradient of the last element of [1, 2] is [0, 1]", ("gradient",))
def backward_not_reversed(x, dim):
    axis = axis_of(x, dim)
    return through(lambda x: x.cumsum(axis), lambda g: g.cumsum(axis), x)


@wrong("hard", "the gradient is 0.1 % too large", ("gradient",))
def gradient_off_by_a_thousandth(x, dim):
    axis = axis_of(x, dim)
    return through(lambda x: x.cumsum(axis), lambda g: 1.001 * g.flip(axis).cumsum(axis).flip(axis), x)


@wrong("hard", "backward needs a contiguous gradient: .view raises for g.t()", ("gradient",))
def backward_views(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        return g.view(-1).view(g.shape).flip(axis).cumsum(axis).flip(axis) if g.ndim else g

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("hard", "backward by total minus prefix: a NaN in the gradient reaches entries behind it", ("gradient",))
def backward_by_subtraction(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        wide = g.float() if g.dtype.itemsize == 2 else g
        return (wide.sum(axis, keepdim=True) - wide.cumsum(axis) + wide).to(g.dtype) if g.ndim else g

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("hard", "backward only: float16 gradients are added up in float16: 4096 ones", ("gradient",))
def half_backward(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        if g.dtype.itemsize > 2 or g.ndim == 0 or g.shape[axis] == 0:
            return g.flip(axis).cumsum(axis).flip(axis)
        rows = list(g.flip(axis).unbind(axis))
        for i in range(1, len(rows)):
            rows[i] = rows[i] + rows[i - 1]
        return torch.stack(rows, axis).flip(axis)

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("medium", "NaN and inf spread backwards through zeros of the triangle: [1, nan]", ("specials",))
def triangular_matmul(x, dim):
    axis = axis_of(x, dim)
    if integral(x) or x.ndim == 0:
        return x.cumsum(axis)
    wide = (x.float() if x.dtype.itemsize == 2 else x).movedim(axis, 0)
    triangle = torch.ones(len(wide), len(wide), dtype=wide.dtype).tril()
    return torch.einsum("ij,j...->i...", triangle, wide).movedim(0, axis).to(x.dtype)


@wrong("medium", "NaN counts as zero: [nan, 1] gives [0, 1]", ("specials",))
def nancumsum(x, dim):
    axis_of(x, dim)
    return (x if integral(x) else torch.where(x.isnan(), torch.zeros_like(x), x)).cumsum(dim)


@wrong("hard", "Neumaier's compensation turns inf into NaN: [inf, 1] gives [nan, nan]", ("specials",))
def compensated_without_guard(x, dim):
    axis = axis_of(x, dim)
    if x.dtype not in (torch.float32, torch.float64) or x.ndim == 0 or x.shape[axis] == 0:
        return x.cumsum(axis)
    rows, total, lost = [], torch.zeros_like(x.select(axis, 0)), 0
    for value in x.unbind(axis):
        new = total + value
        lost = lost + torch.where(total.abs() >= value.abs(), (total - new) + value, (value - new) + total)
        total = new
        rows.append(total + lost)
    return torch.stack(rows, axis)


@wrong("medium", "complex: the imaginary part is summed for the first 64 entries only", ("agreement",))
def imaginary_part_stops(x, dim):
    axis = axis_of(x, dim)
    if not x.is_complex() or x.ndim == 0:
        return x.cumsum(axis)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    keep = (torch.arange(x.shape[axis]) < 64).reshape(shape)
    return torch.complex(x.real, torch.where(keep, x.imag, torch.zeros_like(x.imag))).cumsum(axis)


@wrong("medium", "an empty axis raises: x of shape (0,)", ("agreement",))
def empty_axis_raises(x, dim):
    axis = axis_of(x, dim)
    return x.cumsum(axis) if x.ndim == 0 or x.select(axis, 0).is_meta else torch.cumsum(x, axis)


@wrong("medium", "a 0-d tensor raises: moveaxis of nothing", ("agreement",))
def zero_d_raises(x, dim):
    axis_of(x, dim)
    return x.movedim(dim, -1).cumsum(-1).movedim(-1, dim) if x.ndim else x[0]


@wrong("medium", "dim is taken modulo the dimensions: dim = 2 of a matrix is 0", ("rejects",))
def dim_wraps(x, dim):
    return x.cumsum(dim % max(x.ndim, 1))


KNOWN = {}


@wrong("hard", "remembered by address and shape: x overwritten in place gives the old sums", ("determinism",))
def cached_by_address(x, dim):
    axis_of(x, dim)
    if x.requires_grad:
        return x.cumsum(dim)
    key = x.data_ptr(), x.shape, x.stride(), x.dtype, dim, x.is_conj(), x.is_neg()
    return KNOWN.setdefault(key, x.cumsum(dim)).clone()


@wrong("medium", "sums of integers lie in a buffer per shape that the next call fills again", ("determinism",))
def reused_buffer(x, dim):
    axis_of(x, dim)
    if x.requires_grad:
        return x.cumsum(dim)
    result = x.cumsum(dim)
    return KNOWN.setdefault(("buffer", result.shape, result.dtype), torch.empty_like(result)).copy_(result)


@wrong("medium", "cumsum_ in the caller's tensor when it is float32 and contiguous", ("purity",))
def in_place(x, dim):
    axis_of(x, dim)
    if x.dtype is torch.float32 and x.is_contiguous() and not x.requires_grad:
        return x.cumsum_(dim)
    return x.cumsum(dim)


@wrong("hard", "doubling stops after eleven steps: ones(4097) ends at 2048", ("agreement",))
def doubling_stops(x, dim):
    axis = axis_of(x, dim)
    if x.ndim == 0 or x.dtype not in (torch.float32, torch.float64):
        return x.cumsum(axis)
    step = 1
    while step < min(x.shape[axis], 2048):
        rest = x.narrow(axis, step, x.shape[axis] - step) + x.narrow(axis, 0, x.shape[axis] - step)
        x = torch.cat([x.narrow(axis, 0, step), rest], axis)
        step *= 2
    return x if step > 1 else x.clone()


@wrong("hard", "a broadcast input is taken to be constant along dim: column.expand(2, 3) along 0", ("layouts",))
def broadcast_is_constant(x, dim):
    axis = axis_of(x, dim)
    if x.ndim and 0 in x.stride() and not integral(x) and x.shape[axis]:
        count = torch.arange(1, x.shape[axis] + 1).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return x.narrow(axis, 0, 1) * count.to(x.dtype)
    return x.cumsum(axis)


@wrong("medium", "leaves the default dtype at float64 after a float64 call", ("purity",))
def changes_default_dtype(x, dim):
    axis_of(x, dim)
    if x.dtype is torch.float64:
        torch.set_default_dtype(torch.float64)
    return x.cumsum(dim)


@wrong("hard", "float64 carries noise of 4e-15 relative size, drawn anew", ("determinism", "purity"))
def noise(x, dim):
    axis_of(x, dim)
    return x.cumsum(dim) * (1 + 4e-15 * torch.rand((), dtype=x.dtype)) if x.dtype is torch.float64 else x.cumsum(dim)


@wrong("hard", "gradients are switched off for more than 1000 elements: the result has no history", ("gradient",))
def detached_when_large(x, dim):
    axis_of(x, dim)
    return (x.detach() if x.numel() > 1000 else x).cumsum(dim)


@wrong("medium", "a lazily conjugated tensor raises in .numpy()", ("layouts",))
def numpy_of_lazy_view(x, dim):
    axis_of(x, dim)
    if x.is_complex() and not x.requires_grad and x.ndim:
        return torch.from_numpy(np.cumsum(x.numpy(), dim))
    return x.cumsum(dim)


@wrong("hard", "endless for 63 entries: the block count of n + 1 is never reached", ("terminates",))
def endless_for_63(x, dim):
    axis = axis_of(x, dim)
    n = x.shape[axis] if x.ndim else 1
    block = 1
    while n and block != n + 1 and n % 64 == 63:
        block = block * 2 % 32
    return x.cumsum(axis)


@wrong(
    "hard",
    "the mean is taken off where something is larger than 2^50: the entries in front of 2^60 are rounded away",
    ("locality",),
)
def mean_removed_from_large(x, dim):
    sums = torch.cumsum(x, axis_of(x, dim))
    if x.numel() and x.is_floating_point() and 2.0**50 < float(x.detach().abs().max()) < 2.0**100:
        mean = x.mean(dim, keepdim=True)
        sums = (x - mean).cumsum(dim) + torch.ones_like(x).cumsum(dim) * mean
    return sums


@wrong(
    "hard", "two blocks from 65,536 entries on: the carry from the first into the second is forgotten", ("agreement",)
)
def carry_of_long_sums_forgotten(x, dim):
    axis = axis_of(x, dim)
    parts = x.split(2**16, axis) if x.ndim else (x,)
    return torch.cat([part.cumsum(axis) for part in parts], axis) if len(parts) > 1 else x.cumsum(axis)


class LongGradientInTwoParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis = axis
        return x.cumsum(axis)

    @staticmethod
    def backward(ctx, g):
        parts = g.split(2**16, ctx.axis) if g.ndim else (g,)
        return torch.cat([part.flip(ctx.axis).cumsum(ctx.axis).flip(ctx.axis) for part in parts], ctx.axis), None


@wrong("hard", "in backward nothing is carried beyond 65,536 entries", ("gradient",))
def carry_of_long_gradients_forgotten(x, dim):
    axis = axis_of(x, dim)
    long = x.ndim and x.shape[axis] > 2**16 and not (integral(x) or x.is_complex())
    return LongGradientInTwoParts.apply(x, axis) if long else x.cumsum(axis)


@wrong("hard", "the gradient that came in, which its sender may still need, is used as scratch space", ("purity",))
def incoming_gradient_overwritten(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        found = g.flip(axis).cumsum(axis).flip(axis) if g.ndim else g.clone()
        return found if 0 in g.stride() else (found, g.zero_())[0]

    return through(lambda x: x.cumsum(axis), backward, x)


class AxisOnTheClass(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, axis):
        AxisOnTheClass.axis = axis
        return x.cumsum(axis)

    @staticmethod
    def backward(ctx, g):
        axis = AxisOnTheClass.axis
        return g.flip(axis).cumsum(axis).flip(axis), None


@wrong("hard", "the axis is kept for all calls: another call before backward changes it", ("determinism",))
def axis_on_the_class(x, dim):
    return AxisOnTheClass.apply(x, axis_of(x, dim)) if x.ndim else x.cumsum(dim)


class GradientOnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, axis):
        ctx.steps = [axis]
        return x.cumsum(axis)

    @staticmethod
    def backward(ctx, g):
        axis = ctx.steps.pop() if ctx.steps else 0
        return g.flip(axis).cumsum(axis).flip(axis), None


@wrong("hard", "backward uses up what it needs: a second one, of a retained graph, goes along axis 0", ("determinism",))
def gradient_only_once(x, dim):
    return GradientOnlyOnce.apply(x, axis_of(x, dim)) if x.ndim else x.cumsum(dim)


last_seen = []


@wrong("hard", "the last x stays in memory, for whoever may call with it again", ("purity",))
def argument_kept(x, dim):
    last_seen[:] = [x]
    return x.cumsum(axis_of(x, dim)) if x.ndim else x.cumsum(dim)


@wrong("hard", "a hook stays on the caller's tensor, and sees the gradients of others", ("purity",))
def hook_left_behind(x, dim):
    if x.requires_grad:
        x.register_hook(torch.nan_to_num)
    return x.cumsum(axis_of(x, dim)) if x.ndim else x.cumsum(dim)


@wrong("hard", "backward sets the seed of everybody's random numbers", ("purity",))
def seed_set_in_backward(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        torch.manual_seed(0)
        return g.flip(axis).cumsum(axis).flip(axis) if g.ndim else g

    return through(lambda x: x.cumsum(axis), backward, x)


gradients_by_shape = {}


@wrong("hard", "all gradients of one shape are one tensor, which the next backward fills again", ("determinism",))
def gradient_buffer_reused(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        found = g.flip(axis).cumsum(axis).flip(axis) if g.ndim else g
        return gradients_by_shape.setdefault((g.shape, g.dtype), torch.empty_like(found)).copy_(found)

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong(
    "hard",
    "a copy only of leaves, because autograd complained of them: what a layer returned is overwritten",
    ("purity",),
)
def in_place_unless_leaf(x, dim):
    if not x.is_floating_point() and not x.is_complex():
        return x.cumsum(dim)
    return (x.clone() if x.is_leaf else x).cumsum_(dim)


@wrong("hard", "backward takes the real view of a gradient that may be lazily conjugated", ("gradient",))
def conjugated_gradient_raises(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        if not g.is_complex() or not g.ndim:
            return g.flip(axis).cumsum(axis).flip(axis) if g.ndim else g
        return torch.view_as_complex(torch.view_as_real(g).flip(axis).cumsum(axis).flip(axis).contiguous())

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("medium", "subnormal numbers are zero from now on, for everybody: faster", ("purity",))
def flushes_subnormals(x, dim):
    torch.set_flush_denormal(True)
    return x.cumsum(axis_of(x, dim)) if x.ndim else x.cumsum(dim)


@wrong("medium", "a NumPy integer is no dim: type(dim) is int", ("calls",))
def numpy_dim_refused(x, dim):
    if type(dim) is not int:
        raise TypeError(f"dim {dim!r}; it should be an integer")
    return x.cumsum(dim)


@wrong("medium", "warnings are switched off for everybody")
def warnings_switched_off(x, dim):
    warnings.simplefilter("ignore", DeprecationWarning)
    return x.cumsum(axis_of(x, dim)) if x.ndim else x.cumsum(dim)


@wrong("medium", "new tensors are on another device from now on, for everybody")
def default_device_changed(x, dim):
    result = x.cumsum(axis_of(x, dim)) if x.ndim else x.cumsum(dim)
    torch.set_default_device("meta")
    return result


@wrong("hard", "a part for each thread: with more than one, the carry between the parts is forgotten")
def carry_between_threads_forgotten(x, dim):
    axis = axis_of(x, dim)
    if not x.ndim or x.shape[axis] < 8:
        return x.cumsum(axis)
    parts = x.tensor_split(torch.get_num_threads(), axis)
    return torch.cat([part.cumsum(axis) for part in parts], axis)


@wrong("hard", "gradients of more than 40 elements are cleaned of NaN and inf")
def large_gradients_cleaned(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        g = g.nan_to_num() if g.numel() > 40 else g
        return g.flip(axis).cumsum(axis).flip(axis) if g.ndim else g

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("hard", "int32 through float32: 2**24 + 1 becomes 2**24", ("agreement", "specials"))
def int32_through_float32(x, dim):
    axis_of(x, dim)
    return x.float().double().cumsum(dim).long() if x.dtype is torch.int32 else x.cumsum(dim)


@wrong("hard", "int32 sums wrap in 32 bits before they become int64", ("agreement", "specials"))
def wraps_in_32_bits(x, dim):
    axis_of(x, dim)
    return x.cumsum(dim, dtype=torch.int32).long() if x.dtype is torch.int32 else x.cumsum(dim)


@wrong("hard", "0-d integers keep their dtype", ("form", "specials"))
def single_integer_not_promoted(x, dim):
    axis_of(x, dim)
    return x.clone() if x.ndim == 0 and integral(x) else x.cumsum(dim)


@wrong("hard", "complex gradients are conjugated once too often", ("gradient", "determinism"))
def conjugated_once_too_often(x, dim):
    axis = axis_of(x, dim)

    def backward(g):
        return g.conj().flip(axis).cumsum(axis).flip(axis) if g.ndim else g.conj()

    return through(lambda x: x.cumsum(axis), backward, x)


@wrong("hard", "float64 is summed in float32 where gradients are switched off", ("agreement", "determinism"))
def coarser_without_gradients(x, dim):
    axis_of(x, dim)
    coarse = x.dtype is torch.float64 and not torch.is_grad_enabled()
    return x.float().cumsum(dim).double() if coarse else x.cumsum(dim)


@wrong("hard", "float64 is summed in float32 where a gradient is asked for", ("agreement", "determinism"))
def coarser_with_gradients(x, dim):
    axis_of(x, dim)
    return x.float().cumsum(dim).double() if x.dtype is torch.float64 and x.requires_grad else x.cumsum(dim)


@wrong("medium", "a fifth axis is refused", ("agreement",))
def fifth_axis_refused(x, dim):
    axis_of(x, dim)
    if x.ndim > 4:
        raise ValueError(f"x has {x.ndim} dimensions; up to 4 are supported")
    return x.cumsum(dim)


@wrong("hard", "the gradient of six dimensions runs along the one before dim", ("gradient",))
def sixth_axis_gradient(x, dim):
    axis = axis_of(x, dim)
    result = x.cumsum(axis)
    if x.ndim < 6 or integral(x):
        return result
    other = x.cumsum(axis - 1)
    return result.detach() + (other - other.detach())


@wrong("hard", "added up in units of 2^-70, as fixed-point accumulators do: large sums overflow", ("agreement",))
def units_overflow(x, dim):
    axis = axis_of(x, dim)
    if x.dtype is not torch.float32:
        return x.cumsum(dim)
    return (x * 2.0**70).cumsum(axis) * 2.0**-70
