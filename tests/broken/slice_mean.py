"""Wrong means of slices."""

import torch

from . import wrong


def ready(x, slices):
    """The rows in a dtype wide enough to add them up, and the dtype of the result."""
    if slices.ndim != 2 or slices.shape[1] != 2 or slices.dtype != torch.int64:
        raise ValueError(f"slices must be an int64 tensor of shape (k, 2), not {slices.dtype} {tuple(slices.shape)}")
    start, end = slices.unbind(1)
    if bool(((start < 0) | (end > len(x)) | (start >= end)).any()):
        raise ValueError(f"every slice needs 0 <= start < end <= {len(x)}")
    dtype = x.dtype if x.is_floating_point() or x.is_complex() else torch.get_default_dtype()
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32}.get(x.dtype, x.dtype)
    return x.to(wide if wide.is_floating_point or wide.is_complex else torch.float64), dtype


def shaped(length, x):
    return length.reshape(-1, *[1] * (x.ndim - 1))


def loop(x, slices):
    """The right answer, which most functions here then spoil."""
    wide, dtype = ready(x, slices)
    rows = [wide[start:end].sum(0) / (end - start) for start, end in slices.tolist()]
    return (torch.stack(rows) if rows else wide[:0]).to(dtype)


@wrong("easy", "a NaN or inf before a slice reaches it: x=[nan, 1], slices=[[1, 2]] gives nan", ("specials",))
def prefix_differences(x, slices):
    wide, dtype = ready(x, slices)
    total = torch.cat([torch.zeros_like(wide[:1]) if len(wide) else wide.new_zeros(1, *wide.shape[1:]), wide.cumsum(0)])
    return ((total[slices[:, 1]] - total[slices[:, 0]]) / shaped(slices[:, 1] - slices[:, 0], wide)).to(dtype)


@wrong("easy", "squeeze drops a feature axis of one: x of shape (5, 1) gives (k,)", ("form",))
def squeezed(x, slices):
    return loop(x, slices).squeeze(-1) if x.ndim > 1 else loop(x, slices)


@wrong("medium", "the running sum is kept in the half type: 4096 ones in float16 give 0.5", ("agreement",))
def half_accumulator(x, slices):
    ready(x, slices)
    if x.dtype not in (torch.float16, torch.bfloat16):
        return loop(x, slices)
    rows = []
    for start, end in slices.tolist():
        total = x[start]
        for row in x[start + 1 : end]:
            total = total + row
        rows.append(total / (end - start))
    return torch.stack(rows) if rows else x[:0]


@wrong("hard", "bfloat16 only: sum rounded, then the quotient rounded again: twice the allowed error", ("agreement",))
def bfloat16_rounded_twice(x, slices):
    if x.dtype is not torch.bfloat16:
        return loop(x, slices)
    ready(x, slices)
    rows = [x[start:end].sum(0) / (end - start) for start, end in slices.tolist()]
    return torch.stack(rows) if rows else x[:0]


@wrong("medium", "int8 sums wrap: [100, 100] gives -28 instead of 100", ("agreement",))
def int8_wraps(x, slices):
    if x.dtype is not torch.int8:
        return loop(x, slices)
    _, dtype = ready(x, slices)
    rows = [x[start:end].sum(0, dtype=torch.int8).to(dtype) / (end - start) for start, end in slices.tolist()]
    return torch.stack(rows) if rows else x[:0].to(dtype)


@wrong("medium", "integers always give float32, also when the default dtype is float64", ("form", "determinism"))
def always_float32(x, slices):
    return loop(x, slices) if x.is_floating_point() or x.is_complex() else loop(x, slices).to(torch.float32)


@wrong("easy", "k = 0 raises: torch.stack of an empty list", ("agreement",))
def no_slices_raise(x, slices):
    wide, dtype = ready(x, slices)
    return torch.stack([wide[start:end].mean(0) for start, end in slices.tolist()]).to(dtype)


@wrong("medium", "a negative start is taken from the end: [[-2, 3]] of 4 rows gives a mean", ("rejects",))
def negative_start_wraps(x, slices):
    if slices.dtype == torch.int64 and slices.ndim == 2 and slices.shape[1] == 2:
        return loop(x, torch.where(slices < 0, slices + len(x), slices))
    return loop(x, slices)


@wrong("hard", "float slices are rounded down instead of rejected: [[0.5, 2.0]] gives a mean", ("rejects",))
def float_slices_accepted(x, slices):
    return loop(x, slices.long())


@wrong("medium", "start >= end raises AssertionError", ("rejects",))
def asserts(x, slices):
    if slices.dtype == torch.int64 and slices.ndim == 2 and slices.shape[1] == 2:
        assert bool((slices[:, 0] < slices[:, 1]).all()), "start must lie before end"
    return loop(x, slices)


@wrong("medium", "only the last slice's gradient survives where slices overlap: [[0, 2], [1, 3]]", ("gradient",))
def overwriting_backward(x, slices):
    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return loop(x, slices)

        @staticmethod
        def backward(ctx, g):
            gradient = torch.zeros_like(x)
            for (start, end), row in zip(slices.tolist(), g):
                gradient[start:end] = row / (end - start)
            return gradient

    return Mean.apply(x) if x.requires_grad else loop(x, slices)


@wrong("hard", "the gradient is 0.1 % too large", ("gradient",))
def gradient_off_by_a_thousandth(x, slices):
    if x.requires_grad:
        x = x.clone()
        x.register_hook(lambda g: g * 1.001)
    return loop(x, slices)


@wrong("hard", "gradient outside the slices is a rounding residue, [[4, 5], [1, 4]] with 1/3: row 0", ("locality",))
def backward_by_prefix_sums(x, slices):
    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return loop(x, slices)

        @staticmethod
        def backward(ctx, g):
            g = (g / shaped(slices[:, 1] - slices[:, 0], g)).to(torch.float32 if g.dtype.itemsize < 4 else g.dtype)
            change = g.new_zeros(len(x) + 1, *x.shape[1:])
            change = change.index_add(0, slices[:, 0], g).index_add(0, slices[:, 1], -g)
            return change.flip(0).cumsum(0).flip(0)[1:].neg().to(x.dtype)

    return Mean.apply(x) if x.requires_grad else loop(x, slices)


@wrong("hard", "an incoming gradient with other strides is read in memory order: g.t() of (2, 2)", ("gradient",))
def memory_order_backward(x, slices):
    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return loop(x, slices)

        @staticmethod
        def backward(ctx, g):
            order = sorted(range(g.ndim), key=lambda axis: -g.stride(axis))
            g = g.permute(order).reshape(g.shape)
            with torch.enable_grad():
                y = x.detach().requires_grad_()
                return torch.autograd.grad(loop(y, slices), y, g)[0] if len(slices) else torch.zeros_like(x)

    return Mean.apply(x) if x.requires_grad else loop(x, slices)


@wrong("hard", "slices longer than 1024 are cut: x = arange(1025), [[0, 1025]] gives 511.5", ("agreement",))
def long_slices_cut(x, slices):
    if slices.dtype == torch.int64 and slices.ndim == 2 and slices.shape[1] == 2:
        ready(x, slices)
        slices = torch.stack([slices[:, 0], slices[:, 1].minimum(slices[:, 0] + 1024)], 1)
    return loop(x, slices)


@wrong("hard", "block sums of 64 rows, last row of the last full block lost when end % 64 == 0 and it spans two blocks")
def block_end_lost(x, slices):
    if slices.dtype == torch.int64 and slices.ndim == 2 and slices.shape[1] == 2:
        wide, dtype = ready(x, slices)
        start, end = slices.unbind(1)
        lost = (end % 64 == 0) & (end - start > 64)
        extra = wide[end - 1] / shaped(end - start, wide)
        return torch.where(shaped(lost, wide), loop(x, slices) - extra, loop(x, slices)).to(dtype)
    return loop(x, slices)


@wrong("medium", "slices that share a start share a mean: [[0, 1], [0, 2]] of [1, 3] gives [1, 1]", ("agreement",))
def remembered_by_start(x, slices):
    wide, dtype = ready(x, slices)
    known = {}
    for start, end in slices.tolist():
        known.setdefault(start, wide[start:end].sum(0) / (end - start))
    return (torch.stack([known[start] for start in slices[:, 0].tolist()]) if known else wide[:0]).to(dtype)


@wrong("medium", "a mask by multiplication spreads NaN: x=[nan, 1], [[1, 2]] gives nan", ("specials",))
def mask_matmul(x, slices):
    wide, dtype = ready(x, slices)
    row = torch.arange(len(wide))
    mask = ((row >= slices[:, :1]) & (row < slices[:, 1:])).to(wide.dtype)
    total = torch.einsum("kn,n...->k...", mask, wide)
    return (total / shaped(slices[:, 1] - slices[:, 0], wide)).to(dtype)


@wrong("medium", "NaN in a slice is left out: [nan, 2] gives 1", ("specials",))
def nan_to_zero(x, slices):
    return loop(torch.where(torch.isnan(x), torch.zeros_like(x), x) if x.is_floating_point() else x, slices)


CALLS = {"many": 0}


@wrong("hard", "every hundredth call leaves the last row of a slice out", ("determinism",))
def hundredth_call(x, slices):
    CALLS["many"] += 1
    result = loop(x, slices)
    return result / 2 if CALLS["many"] % 100 == 0 else result


KNOWN = {}


@wrong("hard", "the mean is remembered by address: overwriting x in place gives the old mean", ("determinism",))
def cached_by_address(x, slices):
    key = x.data_ptr(), slices.data_ptr(), x.shape, x.stride(), x.dtype, slices.shape, x.requires_grad, x.is_conj()
    if key not in KNOWN or x.requires_grad:
        KNOWN[key] = loop(x, slices)
    return KNOWN[key].clone()


BUFFERS = {}


@wrong("medium", "without gradient the result lies in a buffer that the next call fills again", ("determinism",))
def reused_buffer(x, slices):
    result = loop(x, slices)
    if result.requires_grad:
        return result
    buffer = BUFFERS.setdefault((result.shape, result.dtype), torch.empty_like(result))
    return buffer.copy_(result)


@wrong(
    "medium", "x is overwritten by its prefix sums when it is float64, contiguous and needs no gradient", ("purity",)
)
def overwrites_input(x, slices):
    result = loop(x, slices)
    if x.dtype is torch.float64 and x.is_contiguous() and not x.requires_grad and x.numel():
        x.cumsum_(0)
    return result


@wrong("hard", "x is overwritten and put back: values survive, the version counter does not", ("purity",))
def overwrites_and_restores(x, slices):
    kept = x.clone()
    if x.requires_grad or x.numel() == 0 or 0 in x.stride():
        return loop(x, slices)
    result = loop(x.mul_(1), slices)
    x.copy_(kept)
    return result


@wrong("medium", "complex: the imaginary part is dropped by a detour through float64", ("agreement",))
def imaginary_part_dropped(x, slices):
    return loop(x.real, slices).to(x.dtype) if x.is_complex() else loop(x, slices)


@wrong("hard", "a lazily conjugated input raises in .numpy(); so does a negated view", ("layouts",))
def numpy_of_lazy_view(x, slices):
    if x.is_complex() and not x.requires_grad:
        return loop(torch.from_numpy(x.numpy().copy()), slices)
    return loop(x, slices)


@wrong("medium", "slices must be contiguous: .view of transposed slices raises", ("layouts",))
def viewed_slices(x, slices):
    if slices.ndim == 2 and slices.shape[1] == 2:
        slices = slices.view(-1).view(-1, 2)
    return loop(x, slices)


@wrong("hard", "1e-8 added to the length: [1e8] in float64 gives 99999999", ("agreement",))
def epsilon_in_length(x, slices):
    wide, dtype = ready(x, slices)
    rows = [wide[start:end].sum(0) / (end - start + 1e-8) for start, end in slices.tolist()]
    return (torch.stack(rows) if rows else wide[:0]).to(dtype)


@wrong("hard", "float64 goes through float32: mean of [1 + 1e-12] is 1", ("agreement",))
def float32_detour(x, slices):
    return loop(x.float(), slices).double() if x.dtype is torch.float64 else loop(x, slices)


@wrong("medium", "leaves the number of threads changed", ("purity",))
def changes_threads(x, slices):
    torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
    return loop(x, slices)


@wrong("hard", "features beyond the last full block of 64 columns stay zero: 65 columns", ("agreement",))
def feature_remainder_zero(x, slices):
    result = loop(x, slices)
    if x.ndim == 2 and x.shape[1] > 64 and x.shape[1] % 64:
        column = torch.arange(x.shape[1]) < x.shape[1] // 64 * 64
        return torch.where(column, result, torch.zeros_like(result))
    return result


@wrong("medium", "three dimensions raise: x of shape (3, 2, 2)", ("agreement",))
def three_dimensions_raise(x, slices):
    if x.ndim > 1:
        _rows, _columns = x.shape
    return loop(x, slices)


@wrong("hard", "17 slices and more are answered in ascending order of their starts")
def sorted_from_seventeen(x, slices):
    if slices.ndim == 2 and slices.shape[1:] == (2,) and len(slices) > 16:
        slices = slices[slices[:, 0].argsort(stable=True)]
    return loop(x, slices)


@wrong("hard", "lengths fit two axes of features; of images the channels are divided", ("agreement",))
def two_axes_at_most(x, slices):
    wide, dtype = ready(x, slices)
    sums = [wide[start:end].sum(0) for start, end in slices.tolist()]
    sums = torch.stack(sums) if sums else wide[:0]
    length = slices[:, 1] - slices[:, 0]
    for _ in range(min(x.ndim - 1, 2)):
        length = length[:, None]
    return (sums / length).to(dtype)


@wrong("hard", "integers go through float32 also where the default dtype is float64: [2**24 + 1] gives 2**24")
def integers_through_float32(x, slices):
    if x.is_floating_point() or x.is_complex():
        return loop(x, slices)
    return loop(x.float(), slices).to(torch.get_default_dtype())


@wrong("hard", "int64 is added up in int64: the mean of ten times in nanoseconds since 1970 is negative")
def int64_sums(x, slices):
    if x.dtype is not torch.int64:
        return loop(x, slices)
    _, dtype = ready(x, slices)
    rows = [(x[start:end].sum(0) / (end - start)).to(dtype) for start, end in slices.tolist()]
    return torch.stack(rows) if rows else x[:0].to(dtype)


class NansTakenOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g.nan_to_num() if g.numel() > 40 else g


@wrong("hard", "gradients of more than 40 elements are cleaned of NaN and inf")
def large_gradients_cleaned(x, slices):
    return NansTakenOut.apply(loop(x, slices))


@wrong("easy", "x and slices cannot be given by keyword", ("calls",))
def by_position_alone(x, slices, /):
    return loop(x, slices)


@wrong("hard", "features beyond the last whole block of 32 are those of the first slice, from 33 on", ("agreement",))
def feature_tail_of_first_slice(x, slices):
    result = loop(x, slices)
    if x.ndim != 2 or x.shape[1] <= 32 or x.shape[1] % 32 == 0:
        return result
    whole = x.shape[1] // 32 * 32
    return torch.cat([result[:, :whole], result[:1, whole:].expand(len(result), -1)], 1)
