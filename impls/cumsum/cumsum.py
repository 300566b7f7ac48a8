"""cumsum(x, dim): running sums along one dimension.

All but torch's own move the dimension to the end, add up lanes there, and move it back. Half types are added in
float32, integers in int64.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Error, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded

FLOATS = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
ALL_MODES = Gradient(second=True, forward=True, vmap=True)
ZERO_TIMES = {
    "specials": "zero times NaN or inf: one in a lane reaches the sums before it",
    "locality": "zero times NaN is NaN: it reaches what does not depend on it, forwards and backwards",
}
TRIANGLE = 64
FILTER = 256
BLOCK = 1024


def positions(x, dim):
    """The number of each element along dim, broadcastable to x."""
    if x.ndim == 0:
        return np.zeros(())
    return np.moveaxis(np.arange(x.shape[dim]).reshape(-1, *[1] * (x.ndim - 1)), 0, dim)


def one_addition(x, dim):
    """An error that does not grow with the number of terms, and none of the first."""
    return np.minimum(positions(x, dim), 1)


def float64_magnitude(x, dim):
    """The sums of the absolute values, each of their roundings 2^29 times smaller than in float32."""
    return np.cumsum(x.reshape(x.shape or (1,)), axis=dim).reshape(x.shape) * positions(x, dim) * 2.0**-29


def doubling_terms(x, dim):
    """The depth of a balanced tree over the elements so far."""
    return np.ceil(np.log2(positions(x, dim) + 1))


def two_tree_terms(x, dim):
    """Up one tree and down another, and never more additions than there are terms to add."""
    return np.minimum(2 * np.ceil(np.log2(positions(x, dim) + 1)) + 1, positions(x, dim))


@implementation("cumsum", source="torch.cumsum", gradient=ALL_MODES)
def torch_cumsum(x, dim):
    """The library's own.

    O(n) work and memory. On a CPU one element after another; slow where the dimension is not the last.
    """
    return torch.cumsum(x, dim)


@implementation("cumsum", source="torch.Tensor.contiguous before torch.cumsum", gradient=ALL_MODES)
def transposed_copy(x, dim):
    """Copy with the dimension last, then scan contiguous memory.

    O(n) work, one copy of memory. Gains nothing where the dimension is last already.
    """
    lanes, restore = check_dim(x, dim)
    return restore(lanes.contiguous().cumsum(-1))


@implementation("cumsum", source="matrix form of the running sum", dtypes=FLOATS, waives=ZERO_TIMES, gradient=ALL_MODES)
def triangular_matmul(x, dim):
    """Multiply by a triangle of ones.

    O(n²) work and O(n²) memory for the triangle.
    """
    lanes, restore = check_dim(x, dim)
    size = lanes.shape[-1]
    return restore(lanes @ torch.ones((size, size), dtype=lanes.dtype, device=lanes.device).triu())


@implementation(
    "cumsum",
    source="Dakkak et al., Accelerating reduction and scan using tensor core units, 2019",
    dtypes=FLOATS,
    waives=ZERO_TIMES,
    gradient=ALL_MODES,
)
def blocked_triangular_matmul(x, dim):
    """Multiply blocks by a small triangle of ones, and add to each the total of those before it.

    O(n·TRIANGLE) work at the speed of matrix products, O(n) memory.
    """
    lanes, restore = check_dim(x, dim)
    blocks = in_blocks(lanes, TRIANGLE)
    size = blocks.shape[-1]
    triangle = torch.ones((size, size), dtype=lanes.dtype, device=lanes.device).triu()
    if lanes.ndim > 1 and lanes.stride(-1) != 1:  # lanes lie side by side: multiply from the left, copy nothing
        within = (triangle.mT @ blocks.movedim(-3, -1)).movedim(-1, -3)
    else:
        within = blocks @ triangle
    return restore(carried(within, lanes.shape[-1]))


@implementation(
    "cumsum",
    source="Hillis and Steele, Data parallel algorithms, 1986",
    error=Error(terms=doubling_terms),
    gradient=ALL_MODES,
)
def hillis_steele(x, dim):
    """Add to every element the one 1, 2, 4, 8, … places before it.

    O(n·log n) work, O(n) memory. Errs by log n roundings.
    """
    lanes, restore = check_dim(x, dim)
    lanes, shift = lanes.clone(), 1
    while shift < lanes.shape[-1]:
        lanes = torch.cat([lanes[..., :shift], lanes[..., shift:] + lanes[..., :-shift]], -1)
        shift *= 2
    return restore(lanes)


@implementation(
    "cumsum",
    source="Blelloch, Prefix sums and their applications, 1990",
    error=Error(terms=two_tree_terms),
    gradient=ALL_MODES,
)
def blelloch(x, dim):
    """Up a tree of pairwise sums, and down again with the sum of everything before each node.

    O(n) work and memory, up to four times n where it is padded to a power of two. Errs by 2·log n roundings.
    """
    lanes, restore = check_dim(x, dim)
    size = lanes.shape[-1]
    padded = torch.nn.functional.pad(lanes, (0, 2 ** max(size - 1, 0).bit_length() - size))
    levels = [padded]
    while levels[-1].shape[-1] > 1:
        levels.append(levels[-1][..., ::2] + levels[-1][..., 1::2])
    before = torch.zeros_like(levels.pop())
    for level in reversed(levels):
        before = torch.stack([before, before + level[..., ::2]], -1).flatten(-2)
    return restore((before + padded)[..., :size])


@implementation("cumsum", source="two-level scan: Sengupta, Harris, Garland, 2008", gradient=ALL_MODES)
def blocked_two_level_scan(x, dim):
    """Scan blocks independently, and add to each the total of those before it.

    O(n) work and memory, two passes.
    """
    lanes, restore = check_dim(x, dim)
    return restore(carried(in_blocks(lanes, BLOCK).cumsum(-1), lanes.shape[-1]))


@implementation(
    "cumsum",
    source="Chatterjee, Blelloch and Zagha, Scan primitives for vector computers, 1990",
    gradient=ALL_MODES,
    devices=("cpu",),
)
def reduce_then_scan(x, dim):
    """Sum √n blocks, and from what stands before each add up all of them at once, one element of every block a step.

    O(n) work and memory in √n steps; x is read twice, the result written once. Made for lanes that lie side by side.
    """
    from opjury.impls.cumsum._strided_scan import RunningSums

    lanes, restore = check_dim(x, dim)
    return restore(RunningSums.apply(lanes.movedim(-1, 0), False).movedim(0, -1))


@implementation(
    "cumsum",
    source="Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, 1974",
    error=Error(terms=one_addition),
    dtypes=FLOATS,
    gradient=ALL_MODES,
)
def neumaier_compensated(x, dim):
    """One element after another, what each addition rounds away being recovered from the sums and added up apart.

    O(n) work and memory in n steps of Python. Errs by a rounding of the result, for any number of terms.
    """
    lanes, restore = check_dim(x, dim)
    if lanes.shape[-1] == 0:
        return restore(lanes)
    real = torch.view_as_real(lanes.resolve_conj()) if lanes.is_complex() else lanes.unsqueeze(-1)
    first, *rest = real.unbind(-2)
    totals = [first]
    for value in rest:
        totals.append(totals[-1] + value)
    sums = torch.stack(totals, -2)
    after, added = sums.detach(), real.detach()  # the compensation is a constant: its derivative is zero
    before = torch.cat([torch.zeros_like(after[..., :1, :]), after[..., :-1, :]], -2)
    lost = torch.where(before.abs() >= added.abs(), (before - after) + added, (added - after) + before).cumsum(-2)
    sums = sums + torch.where(after.isfinite(), lost, 0)
    return restore(torch.view_as_complex(sums) if lanes.is_complex() else sums.squeeze(-1))


@implementation(
    "cumsum",
    source="accumulating in twice the precision",
    error=Error(magnitude=float64_magnitude, terms=one_addition),
    dtypes=("float16", "bfloat16", "float32", "complex64"),
    gradient=ALL_MODES,
)
def float64_accumulator(x, dim):
    """Scan in float64, rounded at the end.

    O(n) work, twice the memory and more.
    """
    lanes, restore = check_dim(x, dim)
    return restore(lanes.to(torch.complex128 if x.is_complex() else torch.float64).cumsum(-1))


@implementation("cumsum", source="a causal filter of ones", dtypes=FLOATS, gradient=ALL_MODES)
def blocked_causal_convolution(x, dim):
    """Convolve blocks with as many ones, padded in front only, and add to each the total of those before it.

    O(n·FILTER) work and, where the convolution writes its windows out, memory. Nothing is multiplied by zero.
    """
    lanes, restore = check_dim(x, dim)
    if lanes.numel() == 0:
        return restore(lanes)
    real = torch.view_as_real(lanes.resolve_conj()).movedim(-1, 0) if lanes.is_complex() else lanes.unsqueeze(0)
    blocks = in_blocks(real, FILTER)
    size = blocks.shape[-1]
    padded = torch.nn.functional.pad(blocks.reshape(-1, 1, size), (size - 1, 0))
    ones = torch.ones((1, 1, size), dtype=padded.dtype, device=x.device)
    within = torch.nn.functional.conv1d(padded, ones).reshape(blocks.shape)
    sums = carried(within, lanes.shape[-1])
    return restore(torch.complex(*sums) if lanes.is_complex() else sums[0])


@implementation(
    "cumsum",
    source="torch's higher-order associative_scan (prototype)",
    error=Error(terms=two_tree_terms),
    requires="torch._higher_order_ops",
    gradient=ALL_MODES,
)
def associative_scan(x, dim):
    """torch's scan of any associative function, here addition: odd elements by recursion, even ones from them.

    O(n) work and memory in 2·log n steps.
    """
    import torch._higher_order_ops as higher_order

    lanes, restore = check_dim(x, dim)
    if lanes.shape[-1] < 2 or lanes.numel() == 0:  # it cannot take empty tensors, and returns a single element itself
        return restore(lanes.clone())
    return restore(higher_order.associative_scan(torch.add, lanes, lanes.ndim - 1, combine_mode="generic"))


@implementation(
    "cumsum",
    source="Merrill and Garland, Single-pass parallel prefix scan with decoupled look-back, 2016",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX, *INTEGER),
    requires="triton",
    asynchronous=True,
)
def decoupled_look_back(x, dim):
    """A Triton kernel that reads and writes every element once. Tiles find by themselves what stands before them.

    O(n) work and memory, any dimension without a transposed copy. Other layouts than contiguous ones are copied.
    """
    from opjury.impls.cumsum._triton_cumsum import scan

    return scan(plain(x).reshape(x.shape or (1,)), known_dim(x, dim), False).reshape(x.shape)


@implementation("cumsum", source="numpy.cumsum", gradient=None, devices=("cpu",))
def numpy_cumsum(x, dim):
    """np.cumsum.

    O(n) work and memory. Leaves autograd.
    """
    lanes, restore = check_dim(x, dim)
    return restore(torch.from_numpy(np.cumsum(lanes.detach().resolve_conj().resolve_neg().numpy(), axis=-1)))


@implementation(
    "cumsum",
    source="a blocked scan without its second level",
    refuted={
        "agreement": "sums start again at zero in every block: wrong from element 256 on",
        "gradient": "nothing flows from one block to another",
    },
    gradient=ALL_MODES,
)
def blocks_without_carry(x, dim):
    """Scan blocks of 256 independently, and forget the total of those before.

    O(n) work and memory. Right up to 256 elements.
    """
    lanes, restore = check_dim(x, dim)
    return restore(in_blocks(lanes, 256).cumsum(-1).flatten(-2)[..., : lanes.shape[-1]])


@implementation(
    "cumsum",
    source="a loop in the input's dtype",
    refuted={"agreement": "2048 + 1 = 2048 in float16: a running sum stops growing"},
    dtypes=("float16", "bfloat16"),
    gradient=ALL_MODES,
)
def half_precision_accumulator(x, dim):
    """One element after another, the running sum kept in the half type itself.

    O(n) work and memory. Errs by n roundings of 2^-11 or 2^-8.
    """
    lanes, restore = check_dim(x, dim)
    sums = []
    for value in lanes.to(x.dtype).unbind(-1):
        sums.append(sums[-1] + value if sums else value)
    return restore(torch.stack(sums, -1) if sums else lanes)


def in_blocks(lanes, block):
    """Lanes cut into blocks, (…, blocks, block), the last one padded with zeros."""
    size = lanes.shape[-1]
    block = min(block, max(size, 1))
    padded = torch.nn.functional.pad(lanes, (0, -size % block)) if size % block else lanes
    return padded.reshape(*lanes.shape[:-1], padded.shape[-1] // block, block)


def carried(within, size):
    """Running sums of the first `size` elements from the running sums within each block."""
    before = torch.nn.functional.pad(within[..., :-1, -1].cumsum(-1), (1, 0))
    return (within + before.unsqueeze(-1)).flatten(-2)[..., :size]


def known_dim(x, dim):
    """dim, counted from the front.

    Raises
    ------
    IndexError
        If x has no such dimension.
    """
    dims = max(x.ndim, 1)
    if not -dims <= dim < dims:
        raise IndexError(f"dim is {dim} for x of {x.ndim} dimensions; expected {-dims} <= dim < {dims}")
    return dim % dims


def check_dim(x, dim):
    """x with the dimension last, in the dtype to add in, and a function that gives running sums their final form.

    Raises what `known_dim` raises.
    """
    dim = known_dim(x, dim)
    floating = x.is_floating_point() or x.is_complex()
    dtype = x.dtype if floating else torch.int64
    lanes = x.to(torch.float32 if dtype.itemsize == 2 else dtype).reshape(x.shape or (1,)).movedim(dim, -1)
    return lanes, lambda sums: sums.movedim(-1, dim).reshape(x.shape).to(dtype)
