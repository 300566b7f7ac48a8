"""Compiles every Triton kernel for a GPU that need not be there: `python -m tests.compiled`, in a process that does not interpret.

The kernels' launchers are called on the CPU with what `plain` would refuse; in place of each launch the kernel is compiled down to the
instructions of a GPU for just these arguments. Prints the name of each kernel and the number of its variants.
"""

import inspect
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


def compile_instead(kernel, *arguments, grid, warmup, num_warps=4, **named):
    """What a launch would compile: the types of its arguments, and those that are 1 or divisible by 16."""
    bound = inspect.signature(kernel.fn).bind(*arguments, **named).arguments
    signature, constants, attributes = {}, {}, {}
    for number, parameter in enumerate(kernel.params):
        value = bound[parameter.name]
        if parameter.is_constexpr or (type(value) is int and value == 1):
            signature[parameter.name], constants[(number,)] = "constexpr", value
            continue
        tensor = isinstance(value, torch.Tensor)
        signature[parameter.name] = "*" + TYPES[value.dtype] if tensor else "i32" if value < 2**31 else "i64"
        if (value.data_ptr() if tensor else value) % 16 == 0:
            attributes[(number,)] = [["tt.divisibility", 16]]
    key = (kernel.fn.__name__, str(signature), str(constants), str(attributes), num_warps)
    if key not in seen:
        seen.add(key)
        source = ASTSource(kernel, signature, constants, attributes)
        assert triton.compile(source, target=TARGET, options={"num_warps": num_warps}).asm["cubin"]
        compiled[kernel.fn.__name__] += 1


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
    JITFunction.run = compile_instead
    launch_all()
    for name, count in sorted(compiled.items()):
        print(name, count)


if __name__ == "__main__":
    main()
