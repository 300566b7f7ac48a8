"""Settings: at what implementations are measured."""

from __future__ import annotations

import msgspec


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """An operation at sizes, in a dtype, on a device, in a direction. What is stored of measurements has its fields.

    Attributes
    ----------
    operation : str
    sizes : dict of str to int
        The workload's sizes, by name.
    dtype : str
    device : str
        "cpu", "cuda" or "cuda:1".
    gradient : bool
        Forward and backward together.
    threads : int
        For torch and the libraries beneath NumPy.
    """

    operation: str
    sizes: dict[str, int]
    dtype: str
    device: str = "cpu"
    gradient: bool = False
    threads: int = 1

    def __hash__(self) -> int:
        return hash(
            (self.operation, frozenset(self.sizes.items()), self.dtype, self.device, self.gradient, self.threads)
        )

    @property
    def setting(self) -> Setting:
        """The setting alone, of a record that has more fields."""
        return Setting(
            operation=self.operation,
            sizes=self.sizes,
            dtype=self.dtype,
            device=self.device,
            gradient=self.gradient,
            threads=self.threads,
        )

    @property
    def shown_sizes(self) -> str:
        """`rows=1 n=1000`"""
        return " ".join(f"{name}={value}" for name, value in self.sizes.items())

    def __str__(self) -> str:
        words = [self.operation, self.shown_sizes, self.dtype, self.device]
        return " ".join(filter(None, [*words, "backward" if self.gradient else ""]))
