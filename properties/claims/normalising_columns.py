"""Question 5: a custom autograd function for y = x / sum(x, 0)."""

import torch

import opjury
from opjury.contract import claim

QUESTION = "5. A custom autograd function for y = x / sum(x, 0)"


def two_rows():
    return torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, 2.5]], dtype=torch.float64)


def gradcheck(name, x):
    """Whether torch.autograd.gradcheck passes for an implementation."""
    function = opjury.get("normalize_sum", name)
    return torch.autograd.gradcheck(lambda v: function(v.clone(), 0), x.clone().requires_grad_(), raise_exception=False)


@claim(QUESTION, "the backward with the diagonal of the Jacobian alone fails gradcheck", expected="holds")
def diagonal_fails():
    return (
        not gradcheck("diagonal_jacobian", two_rows()),
        f"two rows: gradcheck {gradcheck('diagonal_jacobian', two_rows())}, one row: {gradcheck('diagonal_jacobian', two_rows()[:1])}",
    )


@claim(QUESTION, "the version that overwrites its input in forward has the right gradient", expected="refuted")
def overwriting_is_right():
    x = two_rows().clone().requires_grad_()
    try:
        (grad,) = torch.autograd.grad(opjury.get("normalize_sum", "division_in_place")(x * 1, 0)[0].sum(), x)
    except RuntimeError as error:
        return False, f"RuntimeError: {str(error).splitlines()[0][:100]}"
    (true,) = torch.autograd.grad((x / x.sum(0))[0].sum(), x)
    return torch.allclose(grad, true), f"gradient {grad[0].tolist()}, true {true[0].tolist()}"


@claim(QUESTION, "J = (diag(s) − x)/s² with the gradient einsum('abc,bc->ac') is right", expected="holds")
def explicit_jacobian_is_right():
    return gradcheck("explicit_jacobian", two_rows()), "gradcheck passes"


@claim(QUESTION, "the transpose of that Jacobian is as good", expected="refuted")
def transposed_jacobian_is_right():
    return gradcheck("transposed_jacobian", two_rows()), f"gradcheck {gradcheck('transposed_jacobian', two_rows())}"


@claim(QUESTION, "dividing by s² is safe for every scale in float32", expected="refuted")
def squares_are_safe():
    found = []
    for scale in (1e20, 1e-25):
        x = torch.full((2, 1), scale, requires_grad=True)
        (grad,) = torch.autograd.grad(opjury.get("normalize_sum", "explicit_jacobian")(x, 0)[0].sum(), x)
        true = torch.autograd.grad(opjury.get("normalize_sum", "plain_division")(x, 0)[0].sum(), x)[0]
        found.append((grad[0].item(), true[0].item()))
    return all(
        abs(a - b) <= 1e-5 * abs(b) for a, b in found
    ), f"gradient and true gradient for x = 1e20: {found[0]}, 1e-25: {found[1]}"
