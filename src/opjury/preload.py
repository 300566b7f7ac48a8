"""What every worker needs, imported once by the server that workers are forked from."""

import opjury.verify.judge  # noqa: F401
from opjury import registry

registry.operations()
registry.implementations()
