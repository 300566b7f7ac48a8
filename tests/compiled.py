"""Compiles every Triton kernel for a GPU that need not be there: `python -m tests.compiled`, in a process that does not interpret.

The kernels' launchers are called on the CPU with what `plain` would refuse; in place of each launch the kernel is compiled down to the
instructions of a GPU for just these arguments. Prints the name of each kernel and the number of its variants; with `--bars` what the
launches at the sizes of `benchmarks/figures/gpu.py` need, as ptxas and nvdisasm tell it: reports/figures/kernels.txt.
"""

import inspect
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from opjury.impls.as_strided import _triton_toeplitz as toeplitz
from opjury.impls.cumsum import _triton_cumsum as cumsum
from opjury.impls.cumsum import _triton_moving_mean as moving_mean
from opjury.impls.cumsum import _triton_slice_mean as slice_mean
from opjury.impls.reduce import _triton_normalize_sum as normalize_sum
from opjury.impls.reduce import _triton_vector_norm as vector_norm
from opjury.impls.reduce.vector_norm import blue_constants
from opjury.impls.unfold import _triton_unfold as unfold

TARGET = GPUTarget("cuda", 90, 32)
TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.uint8: "u8",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
}
FLOATS = (torch.bfloat16, torch.float64, torch.complex64)
compiled = Counter()
seen = set()


def compile_instead(kernel, *arguments, grid, warmup, num_warps=4, maxnreg=None, **named):
    """What a launch would compile: the types of its arguments, and those that are 1 or divisible by 16."""
    bound = inspect.signature(kernel.fn).bind(*arguments, **named).arguments
    signature, constants, attributes = {}, {}, {}
    for number, parameter in enumerate(kernel.params):
        value, tensor = bound[parameter.name], isinstance(bound[parameter.name], torch.Tensor)
        special = not parameter.do_not_specialize
        if parameter.is_constexpr or (type(value) is int and value == 1 and special):
            signature[parameter.name], constants[(number,)] = "constexpr", value
            continue
        signature[parameter.name] = "*" + TYPES[value.dtype] if tensor else "i32" if value < 2**31 else "i64"
        if special and (value.data_ptr() if tensor else value) % 16 == 0:
            attributes[(number,)] = [["tt.divisibility", 16]]
    key = (kernel.fn.__name__, str(signature), str(constants), str(attributes), num_warps)
    if key not in seen:
        seen.add(key)
        source = ASTSource(kernel, signature, constants, attributes)
        done = triton.compile(source, target=TARGET, options={"num_warps": num_warps, "maxnreg": maxnreg})
        assert done.asm["cubin"]
        compiled[kernel.fn.__name__] += 1
        return done
    return None


def show_needs(kernel, *arguments, grid, warmup, num_warps=4, **named):
    """A line of the table, for one launch."""
    done = compile_instead(kernel, *arguments, grid=grid, warmup=warmup, num_warps=num_warps, **named)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(done.asm["cubin"])
        file.flush()
        used = tool("cuobjdump", "-res-usage", file.name)
        lines = re.findall(
            r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]+)", tool("nvdisasm", "-c", file.name), re.M
        )
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", used).groups()
    kinds = Counter(line.partition(".")[0] for line in lines)
    wide = Counter(line for line in lines if line.startswith(("LDG", "STG")) and line.endswith("128"))
    moved = f"{kinds['LDG']} {kinds['STG']} ({sum(wide.values())} of 16 bytes)"
    row = (
        f"{kernel.fn.__name__:<13}",
        math.prod(grid),
        num_warps,
        registers,
        stack,
        len(lines) - kinds["NOP"],
        kinds["SHFL"],
        moved,
    )
    print("{} {:>7} {:>5} {:>9} {:>5} {:>12} {:>8}  {}".format(*row))


def tool(name, *arguments):
    """The output of one of the programs that come with Triton."""
    path = getattr(triton.knobs.nvidia, name).path
    return subprocess.run([path, *arguments], capture_output=True, text=True, check=True).stdout


def launch_bars():
    """The launches of the contests that have a bar, in float32, forward and backward."""
    square, row, image, lanes = map(torch.empty, ((8192, 8192), (1, 2**25), (8, 16, 256, 256), (2048, 2**14)))
    toeplitz.matrix(square[0], square[0])
    toeplitz.diagonal_sums(square)
    geometry = ([3, 3], [1, 1], [0, 0], [1, 1])
    unfold.image(unfold.columns(image, *geometry), list(image.shape), *geometry)
    moving_mean.means(row, 32, 0)
    normalize_sum.gradient(normalize_sum.quotients(lanes, 1), lanes, 1)
    slices = torch.zeros((125, 2), dtype=torch.int64)
    slice_mean.shares(slice_mean.means(torch.empty(500_000, 64), slices, torch.float32), slices, 500_000)
    for reverse in (False, True):
        cumsum.scan(row, 1, reverse)
        cumsum.scan(lanes, 0, reverse)
    vector_norm.norm_of(row[0], *blue_constants(torch.float32))


def launch_all():
    """Every launcher, for every dtype and the shapes that it tells apart."""
    scales = blue_constants(torch.float32)
    slices = torch.tensor([[0, 4], [2, 20]])
    geometry = ([3, 2], [1, 2], [1, 0], [2, 1])
    for dtype in FLOATS:
        for shape, dim in (((20_000,), 0), ((300, 40), 1), ((900, 40), 0), ((2, 3, 5), 1)):
            for reverse in (False, True):
                cumsum.scan(torch.ones(shape, dtype=dtype), dim, reverse)
        for rows, window in ((1, 32), (64, 1), (3, 100), (2, 5000)):
            moving_mean.means(torch.ones((rows, 6000), dtype=dtype), window, window - 1)
        for shape, dim in (((64, 33), 0), ((64, 33), 1), ((5, 1), 1), ((2000, 9), 0)):
            x = torch.ones(shape, dtype=dtype)
            normalize_sum.gradient(normalize_sum.quotients(x, dim), x, dim)
        for count, features in ((2, 3), (2, 1), (2000, 64)):
            many = slices.repeat(count // 2, 1)
            slice_mean.shares(slice_mean.means(torch.ones((40, features), dtype=dtype), many, dtype), many, 40)
        for m, n in ((3, 5), (100, 3000), (3000, 1), (1, 7)):
            toeplitz.diagonal_sums(toeplitz.matrix(torch.ones(m, dtype=dtype), torch.ones(n, dtype=dtype)))
        for shape in ((2, 3, 8, 9), (1, 1, 64, 1)):
            x = torch.ones(shape, dtype=dtype)
            own = geometry if shape[3] > 1 else ([3, 1], [1, 1], [0, 0], [1, 1])
            unfold.image(unfold.columns(x, *own), list(shape), *own)
        wide = dtype in (torch.float64, torch.complex128)
        for count in (5, 5000):
            vector_norm.norm_of(torch.ones(count, dtype=dtype), *(blue_constants(torch.float64) if wide else scales))
    for dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        x = torch.ones((30, 40), dtype=dtype)
        cumsum.scan(x, 0, False)
        slice_mean.means(x, slices, torch.float32)
        toeplitz.matrix(x[0], x[1])


def main():
    """All of it."""
    if sys.argv[1:] == ["--bars"]:
        JITFunction.run = show_needs
        print(f"Triton {triton.__version__}, compiled for compute capability {TARGET.arch / 10}")
        print("kernel        programs warps registers stack instructions shuffles  loads and stores")
        launch_bars()
        return
    JITFunction.run = compile_instead
    launch_all()
    for name, count in sorted(compiled.items()):
        print(name, count)


if __name__ == "__main__":
    main()
