"""Settings: the conditions of a measurement."""

from __future__ import annotations

import msgspec


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """An operation with sizes, dtype, device and direction, from which records of measurements derive.

    Attributes
    ----------
    operation : str
    sizes : dict of str to int
        The workload's sizes, by name.
    dtype : str
    device : str
        "cpu", "cuda" or "cuda:1".
    gradient : bool
        Whether forward and backward are measured together, or forward alone.
    threads : int
        The threads of torch and of the libraries that NumPy uses.
    """

    operation: str
    sizes: dict[str, int]
    dtype: str
    device: str = "cpu"
    gradient: bool = False
    threads: int = 1

    def __hash__(self) -> int:
        # `sizes` is a dict, whose order does not matter.
        sizes = frozenset(self.sizes.items())
        return hash((self.operation, sizes, self.dtype, self.device, self.gradient, self.threads))

    @property
    def setting(self) -> Setting:
        """The setting of a record, without the record's other fields."""
        return Setting(**{name: getattr(self, name) for name in Setting.__struct_fields__})

    @property
    def shown_sizes(self) -> str:
        """`rows=1 n=1000`"""
        return " ".join(f"{name}={value}" for name, value in self.sizes.items())

    def __str__(self) -> str:
        words = [self.operation, self.shown_sizes, self.dtype, self.device]
        return " ".join(filter(None, [*words, "backward" if self.gradient else ""]))
