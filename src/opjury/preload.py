"""What every worker needs, imported once by the server that workers are forked from."""

import scipy.signal  # noqa: F401

import opjury.verify.judge  # noqa: F401
from opjury import registry

registry.operations()
registry.implementations()
