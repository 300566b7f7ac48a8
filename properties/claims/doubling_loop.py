"""Question 3: what is data.norm() in the loop that doubles a vector until its norm reaches 1000?"""

import torch

import opjury
from opjury.contract import claim

QUESTION = "3. data.norm() in the doubling loop"


@claim(QUESTION, "norm() is the L2 norm", expected="holds")
def norm_is_l2():
    found = torch.tensor([3.0, 4.0]).norm().item()
    return found == 5, f"norm of (3, 4) is {found:g}"


@claim(QUESTION, "norm() equals sqrt(sum(pow(y, 2)))", expected="refuted")
def norm_is_root_of_sum_of_squares():
    y = torch.tensor([600.0, 800.0], dtype=torch.float16)
    ours, theirs = y.norm().item(), y.pow(2).sum().sqrt().item()
    zero = torch.zeros(2, requires_grad=True)
    at_zero = [
        torch.autograd.grad(f(zero), zero)[0][0].item()
        for f in (torch.linalg.vector_norm, lambda v: v.pow(2).sum().sqrt())
    ]
    return ours == theirs and at_zero[0] == at_zero[
        1
    ], f"float16 (600, 800): {ours:g} and {theirs:g}; gradient at 0: {at_zero[0]:g} and {at_zero[1]:g}"


@claim(QUESTION, "the loop on ones(3)·2 ends at 1024", expected="holds")
def loop_ends_at_1024():
    y = torch.ones(3) * 2
    while y.norm() < 1000:
        y = y * 2
    return y.tolist() == [1024] * 3, f"{y.tolist()}"


@claim(QUESTION, "the loop ends for every input", expected="refuted")
def loop_always_ends():
    y = torch.zeros(3)
    rounds = 0
    while y.norm() < 1000 and rounds < 5000:
        y, rounds = y * 2, rounds + 1
    stopped = not bool(torch.full((2,), float("nan")).norm() < 1000)
    return rounds < 5000, f"zeros: still running after {rounds} doublings; NaN stops at once: {stopped}"


@claim(QUESTION, "torch.ones(3) has shape (1, 3)", expected="refuted")
def ones_have_two_dimensions():
    shape = tuple(torch.ones(3).shape)
    return shape == (1, 3), f"{shape}"


@claim(QUESTION, "the library's norm of 1e7 normal float32 values is as accurate as the naive one", expected="refuted")
def library_norm_is_accurate():
    x = torch.randn(10_000_000, generator=torch.Generator().manual_seed(0))
    exact = opjury.get("vector_norm", "float64_accumulation")(x.double()).item()
    library, naive = (abs(v.item() / exact - 1) for v in (torch.linalg.vector_norm(x), x.square().sum().sqrt()))
    return library < 4 * naive + 2.0**-24, f"relative errors: library {library:.1e}, naive {naive:.1e}"
