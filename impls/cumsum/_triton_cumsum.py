"""Kernels of cumsum: one pass over lanes of any stride.

Each program scans a tile of a few lanes, and publishes its total. What stands before it, it finds by itself: the totals of the tiles of its
group, and those of the groups before. It waits for totals alone, never for another's carry (Merrill and Garland, Single-pass parallel
prefix scan with decoupled look-back, 2016), but adds them in an order that does not depend on who was first, so that the same call gives
the same bits.
"""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, power_of_two
from opjury.impls._triton_arithmetic import index_type

TILE = 512 if INTERPRETED else 8192  # elements; few where tests must cross tiles and groups at small sizes
GROUP = 4 if INTERPRETED else 64  # tiles
SIDE_BY_SIDE = 8 if INTERPRETED else 32  # lanes of a tile, where they are next to each other in memory
STRANDS = 8  # one for each of as many warps
# Of axes that it does not know to be contiguous, Triton gives the last one to the threads of a warp, before 3.7 the first one.
LAST_FIRST = tl.constexpr(tuple(map(int, triton.__version__.split(".")[:2])) >= (3, 7))
SCANNED = tl.constexpr(not INTERPRETED)  # the interpreter would scan pairs of sums one by one
HIGH, LOW = tl.constexpr(-(2**32)), tl.constexpr(2**32 - 1)


@triton.jit
def publish(words, value):
    """Store 64 bits in two words, each with a mark of its own: whoever sees the mark sees the half beside it."""
    if value.dtype == tl.int64:
        bits = value
    else:
        bits = value.to(tl.float64).to(tl.int64, bitcast=True)
    tl.store(words, (bits & HIGH) | 1)
    tl.store(words + 1, (bits << 32) | 1)


@triton.jit
def published(words, wanted, ACCUMULATOR: tl.constexpr):
    """The sum, over the first axis, of what was published, waiting for those that are wanted."""
    high = tl.load(words, mask=wanted, other=1, volatile=True)
    low = tl.load(words + 1, mask=wanted, other=1, volatile=True)
    while tl.min(high & low & 1) == 0:
        high = tl.load(words, mask=wanted, other=1, volatile=True)
        low = tl.load(words + 1, mask=wanted, other=1, volatile=True)
    bits = (high & HIGH) | ((low >> 32) & LOW)
    if tl.int64 == ACCUMULATOR:
        values = bits
    else:
        values = bits.to(tl.float64, bitcast=True).to(ACCUMULATOR)
    return tl.sum(values, 0)


@triton.jit
def chain(sum_a, but_last_a, sum_b, but_last_b):
    """Of two runs one after the other, the sum, and that of all but the last."""
    return sum_a + sum_b, sum_a + but_last_b


@triton.jit
def sum_before(x, AXIS: tl.constexpr, REVERSE: tl.constexpr, SCANNED: tl.constexpr = SCANNED):
    """The sums over one of two axes of what comes before each element, or behind it, without a subtraction."""
    if SCANNED:
        _, before = tl.associative_scan((x, tl.zeros_like(x)), AXIS, chain, reverse=REVERSE)
    else:
        each = tl.arange(0, x.shape[AXIS])
        earlier = each[:, None] < each[None, :] if REVERSE else each[:, None] > each[None, :]
        if AXIS == 0:
            before = tl.sum(tl.where(earlier[:, :, None], x[None, :, :], 0), 1)
        else:
            before = tl.sum(tl.where(earlier[None, :, :], x[:, None, :], 0), 2)
    return before


@triton.jit
def lifted(x, AXIS: tl.constexpr):
    """x as the other one of the first and the last of three axes."""
    return x[None, None, :] if AXIS == 0 else x[:, None, None]


@triton.jit
def look_back(scratch, total, lane_block, tile, tiles, lane_blocks, LANES: tl.constexpr, GROUP: tl.constexpr):
    """The sums of all tiles before one, whose own totals are published by now."""
    size = 2 * LANES
    words = scratch + lane_block * tiles * size + 2 * tl.arange(0, LANES)
    group, groups = tile // GROUP, tl.cdiv(tiles, GROUP)
    mates = group * GROUP + tl.arange(0, GROUP)
    carry = published(words[None, :] + mates[:, None] * size, (mates < tile)[:, None], total.dtype)
    of_groups = scratch + (lane_blocks * tiles + lane_block * groups) * size + 2 * tl.arange(0, LANES)
    if tile % GROUP == GROUP - 1:
        publish(of_groups + group * size, carry + total)
    for start in range(0, group, GROUP):
        earlier = start + tl.arange(0, GROUP)
        carry += published(of_groups[None, :] + earlier[:, None] * size, (earlier < group)[:, None], total.dtype)
    return carry


@triton.jit(do_not_specialize=("inner", "lanes", "tiles", "lane_blocks"))
def scan_tiles(
    x, out, scratch, n, inner, lanes, tiles, lane_blocks,
    LANES: tl.constexpr, BLOCK: tl.constexpr, STRANDS: tl.constexpr, GROUP: tl.constexpr,
    REVERSE: tl.constexpr, SINGLE: tl.constexpr, INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """One tile: LANES lanes, BLOCK elements of each. Of lanes side by side every thread adds one strand by itself."""
    if SINGLE:
        ticket = tl.program_id(0).to(tl.int64)
    else:  # whoever has a later ticket waits for earlier ones, which are under way
        ticket = tl.atomic_add(scratch, 1)
    lane_block, tile = ticket % lane_blocks, ticket // lane_blocks
    lane = lane_block * LANES + tl.arange(0, LANES)
    if STRANDS:  # lanes for the threads of a warp, strands for the warps, and the steps of a strand for one thread
        STEPS: tl.constexpr = BLOCK // STRANDS
        AXIS: tl.constexpr = 0 if LAST_FIRST else 2  # of the steps; the strands are between them and the lanes
        step, strand = tl.arange(0, STEPS), tl.arange(0, STRANDS)[None, :, None]
        at = (tile * BLOCK).to(INDEX) + strand * STEPS + lifted(step, 2 - AXIS)
        offset = (lane // inner * n * inner + lane % inner).to(INDEX)
        inside = lifted(lane < lanes, AXIS) & (at < n)
        offsets = lifted(offset, AXIS) + (n - 1 - at if REVERSE else at) * inner
        values = tl.load(x + offsets, mask=inside, other=0).to(ACCUMULATOR)
        of_strands = tl.sum(values, AXIS)
        total = tl.sum(of_strands, AXIS // 2)
    else:
        at = ((tiles - 1 - tile if REVERSE else tile) * BLOCK).to(INDEX) + tl.arange(0, BLOCK)[None, :]
        inside = (lane < lanes)[:, None] & (at < n)
        offsets = (lane * n).to(INDEX)[:, None] + at
        values = tl.load(x + offsets, mask=inside, other=0).to(ACCUMULATOR)
        total = tl.sum(values, 1)
    if not SINGLE:  # before it is needed here, since others wait for it
        publish(scratch + 1 + (lane_block * tiles + tile) * 2 * LANES + 2 * tl.arange(0, LANES), total)
    if STRANDS:
        running = tl.cumsum(values, AXIS) + tl.expand_dims(sum_before(of_strands, AXIS // 2, False), AXIS)
    else:
        running = tl.cumsum(values, 1, reverse=REVERSE)
    if not SINGLE:
        carry = look_back(scratch + 1, total, lane_block, tile, tiles, lane_blocks, LANES, GROUP)
        running += lifted(carry, AXIS) if STRANDS else carry[:, None]
    tl.store(out + offsets, running.to(out.dtype.element_ty), mask=inside)


@torch.library.custom_op("opjury::cumsum", mutates_args=())
def scan(x: torch.Tensor, dim: int, reverse: bool) -> torch.Tensor:
    """Running sums along dim, from the end where `reverse`, and integers in int64."""
    out = empty_like(x, dim, reverse)
    if x.numel():
        with torch.cuda.device_of(x):
            _launch(x.contiguous(), out, dim, reverse)
    return out


@scan.register_fake
def empty_like(x, dim, reverse):
    """Memory for the result."""
    floating = x.is_floating_point() or x.is_complex()
    return x.new_empty(x.shape, dtype=x.dtype if floating else torch.int64)


def _launch(x, out, dim, reverse):
    n, inner = x.shape[dim], x.shape[dim + 1 :].numel() * (2 if x.is_complex() else 1)
    lanes = x.shape[:dim].numel() * inner
    block = power_of_two(n, TILE)
    if inner == 1:
        across = power_of_two(lanes, TILE // block)
    else:
        block = power_of_two(n, TILE // power_of_two(lanes, SIDE_BY_SIDE))
        across = power_of_two(lanes, TILE // block)
    tiles, lane_blocks = triton.cdiv(n, block), triton.cdiv(lanes, across)
    single, group = tiles == 1, power_of_two(tiles, GROUP)
    words = 0 if single else 1 + 2 * across * lane_blocks * (tiles + triton.cdiv(tiles, group))
    scratch = torch.zeros(words, dtype=torch.int64, device=x.device)
    total = accumulator(x.dtype)
    scan_tiles[(tiles * lane_blocks,)](
        torch.view_as_real(x) if x.is_complex() else x.view(torch.uint8) if x.dtype == torch.bool else x,
        torch.view_as_real(out) if out.is_complex() else out,
        scratch, n, inner, lanes, tiles, lane_blocks,
        LANES=across, BLOCK=block, STRANDS=0 if inner == 1 else min(block, STRANDS), GROUP=group,
        REVERSE=reverse, SINGLE=single, INDEX=index_type((lanes + across) * (n + block)),
        ACCUMULATOR={torch.float32: tl.float32, torch.float64: tl.float64, torch.int64: tl.int64}[total],
        num_warps=STRANDS,
    )  # fmt: skip


def _remember(ctx, inputs, output):
    _, ctx.dim, ctx.reverse = inputs


def _backward(ctx, weight):
    return scan(weight, ctx.dim, not ctx.reverse), None, None


scan.register_autograd(_backward, setup_context=_remember)
