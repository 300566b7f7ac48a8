"""Question 6: X @ z or broadcasting?"""

import torch

from opjury.contract import claim

QUESTION = "6. X @ z or broadcasting?"


@claim(QUESTION, "[50, 2] @ [2, 1] is [50, 1]; @ multiplies matrices", expected="holds")
def matmul_of_matrices():
    x, z = torch.arange(100.0).reshape(50, 2), torch.tensor([[2.0], [3.0]])
    product = x @ z
    return tuple(product.shape) == (50, 1) and torch.equal(
        product[:, 0], 2 * x[:, 0] + 3 * x[:, 1]
    ), f"shape {tuple(product.shape)}"


@claim(QUESTION, "X * z needs no transpose", expected="refuted")
def elementwise_without_transpose():
    x, z = torch.ones(50, 2), torch.ones(2, 1)
    try:
        x * z
    except RuntimeError as error:
        return False, f"RuntimeError: {error}; X * z.T has shape {tuple((x * z.T).shape)}"
    return True, "accepted"


@claim(QUESTION, "matmul broadcasts batch dimensions", expected="holds")
def matmul_broadcasts_batches():
    shape = tuple((torch.ones(7, 1, 3, 4) @ torch.ones(5, 4, 2)).shape)
    return shape == (7, 5, 3, 2), f"[7,1,3,4] @ [5,4,2] is {shape}"
