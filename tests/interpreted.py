"""What `test_triton.py` runs in a process of its own, in which Triton interprets its kernels: `python -m tests.interpreted OPERATION`.

Prints what is wrong, and the number of examples in which nothing was.
"""

import sys

import torch
import triton
import triton.language as tl

import opjury
from opjury.impls.cumsum._triton_cumsum import sum_before
from opjury.model import registry

SAMPLES = {
    "cumsum": ("decoupled_look_back", (torch.randn(3, 1500), 1)),
    "moving_mean": ("block_kernel", (torch.randn(2, 700), 300)),
    "normalize_sum": ("fused_kernel", (torch.rand(1300, 2) + 0.1, 0)),
    "slice_mean": ("ragged_kernel", (torch.randn(90, 3), torch.tensor([[0, 90], [3, 4], [3, 70]]))),
    "toeplitz": ("diagonal_kernel", (torch.randn(60), torch.randn(600))),
    "unfold": ("window_kernel", (torch.randn(2, 3, 9, 20), (3, 2), 2, 1, 2)),
    "vector_norm": ("three_scales_kernel", (torch.randn(900),)),
}


def audit(operation):
    """Everything that is not as declared, and the number of examples."""
    name = f"{operation}:{SAMPLES[operation][0]}"
    others = [dtype for dtype in ("float16", "complex64", "int64") if dtype in registry.operation(operation).dtypes]
    options = dict(isolate=False, database="", seed=0, scale=0.05)
    found = (
        opjury.audit(name, dtypes="float32", **options),
        opjury.audit(name, dtypes=others, checks=("agreement", "specials", "gradient"), **options),  # numbers alone
    )
    surprises = [surprise for each in found for surprise in each.surprises()]
    return surprises, sum(verdict.examples for each in found for verdict in each.verdicts)


def compare(operation):
    """Larger than a tile: the result and the gradients must be close to the baseline's, compiled or not."""
    name, arguments = SAMPLES[operation]
    function = opjury.get(operation, name)
    ours, theirs = gradients(function, arguments), gradients(baseline(operation), arguments)
    through_compiler = gradients(
        torch.compile(function, backend="aot_eager", fullgraph=operation != "slice_mean"), arguments
    )
    for mine, other in ((ours, theirs), (through_compiler, ours)):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)


def baseline(operation):
    """The implementation that speed-ups are relative to."""
    return opjury.get(operation, registry.operation(operation).baseline)


def gradients(function, arguments):
    """The result, and the gradients of its sum weighted by its own elements' numbers."""
    live = [a.clone().requires_grad_(a.is_floating_point()) if isinstance(a, torch.Tensor) else a for a in arguments]
    result = function(*live)
    weights = torch.linspace(-1, 1, result.numel()).reshape(result.shape)
    inputs = [a for a in live if isinstance(a, torch.Tensor) and a.requires_grad]
    return (result.detach(), *torch.autograd.grad(result, inputs, weights))


def check_operators(operation):
    """torch.library.opcheck of every custom operator that a kernel's module registers."""
    x = torch.randn(2, 3, 8, 9, requires_grad=True)
    row, matrix = torch.randn(40, requires_grad=True), torch.rand(5, 7, requires_grad=True)
    slices = torch.tensor([[0, 2], [1, 5]])
    geometry = ([3, 2], [1, 2], [1, 0], [2, 1])
    shapes = [2, 3, 8, 9]
    samples = {
        "cumsum": [("cumsum", (matrix, 1, True))],
        "moving_mean": [("moving_mean", (matrix, 3, 0))],
        "normalize_sum": [("normalize_sum", (matrix, 0))],
        "slice_mean": [
            ("slice_mean", (matrix, slices, torch.float32)),
            ("slice_mean_adjoint", (torch.rand(2, 7, requires_grad=True), slices, 5)),
        ],
        "toeplitz": [("toeplitz", (row, row)), ("toeplitz_adjoint", (matrix,))],
        "unfold": [
            ("unfold", (x, *geometry)),
            ("unfold_adjoint", (torch.rand(2, 18, 28, requires_grad=True), shapes, *geometry)),
        ],
        "vector_norm": [("vector_norm", (row, 2.0**-63, 2.0**52, 2.0**75, 2.0**-76))],
    }
    for operator, arguments in samples[operation]:
        torch.library.opcheck(getattr(torch.ops.opjury, operator).default, arguments)


@triton.jit
def sums_before(x, out, AXIS: tl.constexpr, REVERSE: tl.constexpr, SCANNED: tl.constexpr):
    """Of a matrix (8, 4)."""
    at = tl.arange(0, 8)[:, None] * 4 + tl.arange(0, 4)[None, :]
    tl.store(out + at, sum_before(tl.load(x + at), AXIS, REVERSE, SCANNED))


def check_sums_before():
    """What is scanned on a GPU is what is summed where Triton interprets."""
    x = torch.arange(1.0, 33).reshape(8, 4)
    for axis in (0, 1):
        for reverse in (False, True):
            ordered = x.flip(axis) if reverse else x
            expected = (ordered.cumsum(axis) - ordered).flip(axis) if reverse else ordered.cumsum(axis) - ordered
            for scanned in (False, True):
                out = torch.empty_like(x)
                sums_before[(1,)](x, out, axis, reverse, scanned)
                torch.testing.assert_close(out, expected)


def main():
    """All of it for one operation."""
    (operation,) = sys.argv[1:]
    check_sums_before()
    surprises, examples = audit(operation)
    compare(operation)
    check_operators(operation)
    print(*surprises, sep="\n")
    print(examples)


if __name__ == "__main__":
    main()
