"""The old place of `opjury.judge.strategies`; contracts import `opjury.contract`. It goes with the next release."""

from opjury.model.forward import forwarding

__getattr__ = forwarding("opjury.verify.strategies", "opjury.judge.strategies")
