"""The old place of strategies that `opjury.contract` offers. It goes with the next release."""

from opjury.model.modules import moved

__getattr__ = moved("opjury.verify.strategies", "opjury.contract", "opjury.judge.strategies")
