"""sliding_window(x, size, step=1): all windows of `size` neighbours along the last dimension, beginning every `step` elements.

x (…, n) → (…, (n − size) // step + 1, size), out[…, w, k] = x[…, w·step + k], for 1 ≤ size ≤ n and step ≥ 1.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, composite, illegal, st

LARGEST_RESULT = 300_000


def sliding_window(x, size, step=1):
    """Window by window."""
    starts = np.arange(0, x.shape[-1] - size + 1, step)
    return x[..., starts[:, None] + np.arange(size)]


@composite
def cases(draw, space: Space) -> Case:
    batch = draw(space.shapes(0, 5))
    n = draw(space.sizes(1))
    size = draw(st.one_of(st.integers(1, min(n, 9)), st.integers(max(1, n - 9), n), st.integers(1, min(n, 70))))
    step = draw(st.one_of(st.integers(1, 3), st.integers(1, n + 2)))
    rows = int(np.prod(batch)) * size
    step = max(step, -(-rows * (n - size + 1) // LARGEST_RESULT))
    x = draw(space.tensor((*batch, n), terms=-(-size // step)))
    return Case.of(x, size, step)


@composite
def rejects(draw, space: Space) -> Case:
    n = draw(st.integers(0, 6))
    x = draw(space.tensor((*draw(space.shapes(0, 2)), n)))
    scalar = draw(space.tensor(()))
    good, more = draw(st.integers(1, max(n, 1))), draw(st.integers(1, 3))
    large = "size is larger than the last dimension"
    wrong = [("size is 0", x, 0), ("size is negative", x, -more), (large, x, n + more), (large, x, n + more, 2)]
    wrong += [("x is 0-d", scalar, 1), ("x is 0-d", scalar, 1, 1)]
    if n:
        wrong += [("step is 0", x, good, 0), ("step is negative", x, good, -more), ("step is 0", x, n, 0)]
        wrong += [("size is 0", x, 0, 1), ("size is negative", x, -more, more)]
    return illegal(*draw(st.sampled_from(wrong)))


def every_step(f, rng, x, size, step=1):
    return f(x, size, step), f(x, size)[..., ::step, :]


def reversed_windows(f, rng, x, size, step=1):
    return f(x.flip(-1), size), f(x, size).flip(-1, -2)


def windows_of_windows(f, rng, x, size, step=1):
    fewer = int(rng.integers(0, min(size, 16)))  # little work: few windows, or small ones
    inner = size - fewer if rng.integers(2) else fewer + 1
    return f(f(x, size, step), inner).flatten(-2)[..., :inner], f(x[..., : x.shape[-1] - size + inner], inner, step)


def moved_dimension(f, rng, x, size, step=1):
    if x.ndim < 2:
        return None
    row = int(rng.integers(x.shape[0])) if x.shape[0] else None
    return None if row is None else (f(x[row], size, step), f(x, size, step)[row])


def first_elements(f, rng, x, size, step=1):
    starts = torch.arange(0, x.shape[-1] - int(size) + 1, int(step), device=x.device)
    return f(x, size, step)[..., 0], x[..., starts]


Operation(
    "sliding_window",
    "all windows of `size` neighbours along the last dimension, one every `step` elements",
    kind="movement",
    reference=sliding_window,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    laws=(
        Law("a step keeps every step-th window", every_step),
        Law("reversing x reverses windows and their order", reversed_windows),
        Law("the first windows of each window are the windows of a shorter x", windows_of_windows),
        Law("a row has the same windows alone as in a batch", moved_dimension),
        Law("the first elements of the windows are every step-th of x", first_elements),
    ),
    baseline="broadcasted_index",
    usual=("tensor_unfold", "numpy_sliding_window_view"),
)
