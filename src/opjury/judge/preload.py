"""What every worker needs, imported once by the server that workers are forked from."""

import scipy.signal  # noqa: F401
import torch.fx.experimental.symbolic_shapes  # noqa: F401  (with SymPy, half a second: the first torch.autograd.grad would import it)

import opjury.judge.judge  # noqa: F401
from opjury.model import registry

registry.operations()
registry.implementations()
registry.workloads()
