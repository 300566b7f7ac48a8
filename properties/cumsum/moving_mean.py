"""moving_mean(x, window): the mean of each window of the last dimension, step 1.

x (…, n) floating or complex, 1 ≤ window ≤ n → (…, n − window + 1). A NaN reaches only the windows that
contain it, an incoming gradient only the elements of its window.
"""

import numpy as np
import torch

from opjury.contract import Case, Law, Operation, Space, composite, illegal, st


def moving_mean(x, window):
    """Σ x[…, i : i + window] / window."""
    return np.lib.stride_tricks.sliding_window_view(x, window, axis=-1).sum(axis=-1) / int(window)


def terms(x, window):
    """Additions of one window, and one rounding of the weights (products with 1/window are as good)."""
    return int(window) + 1


@composite
def cases(draw, space: Space) -> Case:
    batch = draw(space.shapes(0, 5))
    n = draw(space.sizes(1))
    window = draw(space.lengths(n))
    x = draw(space.tensor((*batch, n), terms=n))
    return Case.of(x, window)


@composite
def rejects(draw, space: Space) -> Case:
    n = draw(st.integers(0, 5))
    batch = draw(st.sampled_from([(), (2,), (0,), (2, 3)]))
    x, window = draw(space.tensor((*batch, n))), draw(st.sampled_from([0, -1, -n - 1, n + 1, n + 7]))
    fault = "larger than the last dimension" if window > 0 else "negative" if window else "0"
    return illegal(f"window is {fault}", x, window)


def one_element(f, rng, x, window):
    return f(x, 1), x


def shifted(f, rng, x, window):
    if x.shape[-1] == window:
        return None
    start = int(rng.integers(1, x.shape[-1] - window + 1))
    return f(x[..., start:], window), f(x, window)[..., start:]


def joined(f, rng, x, window):
    if x.shape[-1] < 2 * window:
        return None
    halves = f(x, window)
    return f(x, 2 * window), (halves[..., :-window] + halves[..., window:]) / 2


def flipped(f, rng, x, window):
    return f(x.flip(-1), window), f(x, window).flip(-1)


def constant(f, rng, x, window):
    return f(torch.full_like(x, 3), window), torch.full_like(f(x, window), 3)


Operation(
    "moving_mean",
    "the mean of each window of the last dimension, step 1",
    kind="arithmetic",
    reference=moving_mean,
    terms=terms,
    cases=cases,
    rejects=rejects,
    laws=(
        Law("a window of one changes nothing", one_element),
        Law("leaving out the first elements leaves out the first means", shifted),
        Law("the mean of two adjacent windows is the mean of both together", joined),
        Law("reversing the elements reverses the means", flipped),
        Law("a constant has itself for its mean", constant),
    ),
    baseline="unfold_mean",
    usual=("average_pool", "unfold_mean"),
)
