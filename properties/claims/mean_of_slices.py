"""Question 2: means of x[start:end] for many slices. Do gradients flow only into the slices? Is there something faster?"""

import torch

import opjury
from opjury.contract import claim

QUESTION = "2. The mean of slices along an axis, slices given by another tensor"


def published(*arguments):
    """The published answer: padded prefix sums."""
    return opjury.get("slice_mean", "published_prefix_sum")(*arguments)


@claim(QUESTION, "padded prefix sums give the means of the example", expected="holds")
def example_is_right():
    x, slices = torch.arange(40.0).reshape(10, 4), torch.tensor([[3, 5], [1, 8], [4, 8], [6, 9]])
    first = published(x, slices)[:, 0].tolist()
    return first == [14, 16, 22, 28], f"first column {first}"


@claim(QUESTION, "rows outside a slice cancel, so its mean does not depend on them", expected="refuted")
def rows_outside_cancel():
    x = torch.tensor([[1e8, 0.0], [1.0, 1.0], [1.0, 1.0]])
    mean = published(x, torch.tensor([[1, 3]]))[0, 0].item()
    poisoned = published(torch.tensor([[float("nan"), 0.0], [1, 1]]), torch.tensor([[1, 2]]))[0, 0].item()
    return (
        mean == 1 and poisoned == 1,
        f"1e8 before the slice turns the mean 1 into {mean:g}; a NaN before it gives {poisoned}",
    )


@claim(QUESTION, "the gradient outside the slices is zero", expected="refuted")
def gradient_outside_is_zero():
    x = torch.zeros(6, 2, requires_grad=True)
    weights = torch.full((2, 2), 1 / 3)
    (grad,) = torch.autograd.grad(published(x, torch.tensor([[4, 5], [1, 4]])), x, weights)
    return grad[0, 0].item() == 0, f"slices [4,5] and [1,4], incoming 1/3: row 0 receives {grad[0, 0].item():.3g}"


@claim(QUESTION, "the gradient inside the slices is right", expected="refuted")
def gradient_inside_is_right():
    x = torch.zeros(6, 2, requires_grad=True)
    weights = torch.tensor([[1e8, 1e8], [0.3, 0.3]])
    (grad,) = torch.autograd.grad(published(x, torch.tensor([[5, 6], [2, 5]])), x, weights)
    return bool(
        (grad[2:5, 0] - 0.1).abs().max() < 1e-3
    ), f"slices [5,6] with 1e8 and [2,5] with 0.3: rows 0-4 receive {grad[:5, 0].tolist()}; true 0, 0, 0.1, 0.1, 0.1"


@claim(QUESTION, "squeeze() only removes the axis that was added", expected="refuted")
def squeeze_is_harmless():
    shape = tuple(published(torch.ones(5, 1), torch.tensor([[0, 1], [1, 3], [2, 5]])).shape)
    return shape == (3, 1), f"one feature, three slices: shape {shape}"


@claim(QUESTION, "slices that are reversed or out of range raise", expected="refuted")
def bad_slices_raise():
    x = torch.arange(12.0).reshape(6, 2)
    given = published(x, torch.tensor([[4, 1], [2, 3]]))[0].tolist()
    return False, f"slice [4, 1] is answered with {given}"


@claim(QUESTION, "trimming to [min start, max end) keeps rows outside the slices harmless", expected="refuted")
def trimming_keeps_rows_out():
    x = torch.ones(6, 2)
    x[2] = float("nan")
    last = opjury.get("slice_mean", "published_trimmed_prefix_sum")(x, torch.tensor([[0, 2], [4, 6]]))[1, 0].item()
    return last == 1, f"a NaN between the slices [0,2] and [4,6] makes the second mean {last}"


@claim(QUESTION, "trimming works without slices", expected="refuted")
def trimming_without_slices():
    try:
        opjury.get("slice_mean", "published_trimmed_prefix_sum")(torch.ones(3, 2), torch.zeros(0, 2, dtype=torch.int64))
    except (RuntimeError, IndexError) as error:
        return False, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return True, "no slices: no error"
