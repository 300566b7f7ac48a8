"""The old place of what `opjury.contract` offers. It goes with the next release."""

from opjury.model.forward import forwarding

__getattr__ = forwarding("opjury.operation", "opjury.contract")
