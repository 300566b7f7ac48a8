"""The old place of what `opjury.contract` offers. It goes with the next release."""

from opjury.model.modules import moved

__getattr__ = moved("opjury.operation", "opjury.contract")
