"""slice_mean in Triton: a program for each slice, and in backward for each block of rows."""

from opjury.contract import COMPLEX, FLOATING, INTEGER, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded
from opjury.impls.cumsum.slice_mean import known_slices


@implementation(
    "slice_mean",
    source="Triton: ragged reduction, and its adjoint without atomics",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX, *INTEGER),
    requires="triton",
)
def ragged_kernel(x, slices):
    """A Triton kernel that adds the rows of each slice where they lie. Slices that are few are split.

    O(Σ lengths) work, no memory beside the result; in backward every row adds the shares of the slices that contain it, looked for among
    all where they are few, and by sorting else: O(Σ lengths + k·log k), more where one long slice stands among many short ones. Waits for
    the device once, to check the slices.
    """
    from opjury.impls.cumsum._triton_slice_mean import means

    return means(plain(x), slices, known_slices(x, slices))
