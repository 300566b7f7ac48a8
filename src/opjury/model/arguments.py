"""Recipes of arguments as plain data, for tensors and SciPy sparse matrices, and the memory of live sparse arguments.

The recipe of a sparse argument says what is stored: repeated entries, explicit zeros, unsorted indices, and the values that a DIA
matrix keeps outside its shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy
import torch

from opjury.model.dtypes import is_floating
from opjury.model.exact import carrier, exactly, literal, torch_dtype
from opjury.model.layouts import laid_out, layout_code

Mode = Literal["float", "long", "exact"]
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


@dataclass(frozen=True, eq=False)
class Tensor:
    """The recipe of one tensor argument.

    Parameters
    ----------
    values : numpy.ndarray
        The logical values, in the carrier of `dtype` (every element representable in `dtype`).
    dtype : str
    layout : str
        How the values lie in memory: a name in `opjury.model.layouts.LAYOUTS`.
    data : bool
        False for indices, slices and the like, which are int64 for every dtype on trial and have no gradient.
    """

    values: np.ndarray
    dtype: str
    layout: str = "contiguous"
    data: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self.values.shape)

    @property
    def differentiable(self) -> bool:
        """Whether it has a gradient."""
        return self.data and is_floating(self.dtype)

    def build(self, device: str = "cpu", requires_grad: bool = False) -> torch.Tensor:
        """A new tensor with memory of its own, whose rows are equal in the layout "expanded"."""
        values = np.array(self.values, dtype=carrier(self.dtype), order="C")
        plain = torch.from_numpy(values).to(torch_dtype(self.dtype)).clone(memory_format=torch.contiguous_format)
        laid = laid_out(plain.to(device), self.layout).detach()
        return laid.requires_grad_(True) if requires_grad and self.differentiable else laid

    def wide(self, mode: Mode) -> np.ndarray:
        """The values for the reference, as float64/complex128, long double or exact objects, with integers as int64."""
        return _widened(np.array(self.values), mode if self.differentiable else "float")

    def code(self) -> str:
        """Python that builds it with torch alone."""
        nested = self.values.size <= 2000
        text = literal((self.values if nested else self.values.ravel()).tolist())
        shape = "" if nested and self.values.size else f".reshape({self.shape})"
        built = f"torch.tensor({text}, dtype=torch.{self.dtype}){shape}"
        laid = layout_code(self.layout, self.values.ndim, self.dtype)
        return built if laid == "t" else f"(lambda t: {laid})({built})"

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return {
            "tensor": self.dtype,
            "shape": list(self.values.shape),
            "layout": self.layout,
            "data": self.data,
            "values": _listed(self.values),
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Tensor:
        """The tensor that `to_json` wrote."""
        values = _unlisted(entry["values"], carrier(entry["tensor"])).reshape(entry["shape"])
        return Tensor(values, entry["tensor"], entry["layout"], entry["data"])


@dataclass(frozen=True, eq=False)
class Sparse:
    """The recipe of one sparse matrix or array.

    Parameters
    ----------
    format : str
        One of `FORMATS`, or "dense": a NumPy array, for calls that must be rejected.
    shape : tuple of int
    dtype : str
        The NumPy dtype's name.
    values : numpy.ndarray
        The stored values, in the order of storage, as float64, complex128, int64 or bool: (entries,); for BSR
        (blocks, block rows, block columns); for DIA (diagonals, width); dense: `shape`.
    places : tuple of numpy.ndarray
        (rows, columns) of the entries or blocks, which may repeat in BSR, COO, CSC and CSR; for DIA (offsets,).
        CSC, CSR and BSR keep the order of entries within a column or row. LIL needs sorted entries, DOK distinct ones.
    container : {"array", "matrix"}
    index_dtype : {"int32", "int64"}
    """

    format: str
    shape: tuple[int, int]
    dtype: str
    values: np.ndarray
    places: tuple[np.ndarray, ...] = ()
    container: str = "array"
    index_dtype: str = "int32"

    data = True
    differentiable = False
    layout = "contiguous"

    def build(self, device: str = "cpu", requires_grad: bool = False) -> Any:
        """A new SciPy object with memory of its own (the parameters of `Tensor.build` have no effect)."""
        values = self.values.astype(self.dtype)
        if self.format == "dense":
            return values
        new = getattr(scipy.sparse, f"{self.format}_{self.container}")
        if self.format not in ("dok", "lil"):
            return new(self._stored(values), shape=self.shape)
        matrix = new(self.shape, dtype=self.dtype)
        # Assignment would drop explicit zeros.
        for row, column, value in zip(*(part.tolist() for part in self.places), values, strict=True):
            if self.format == "dok":
                matrix.setdefault((row, column), value)
            else:
                matrix.rows[row].append(column)
                matrix.data[row].append(value.item())
        return matrix

    def _stored(self, values: np.ndarray) -> tuple[Any, ...]:
        """What the constructor of the format takes."""
        index = np.dtype(self.index_dtype)
        if self.format == "dia":
            return values, self.places[0].astype(index)
        rows, columns = self.places
        if self.format == "coo":
            return values, (rows.astype(index), columns.astype(index))
        major, minor = (columns, rows) if self.format == "csc" else (rows, columns)
        order = np.argsort(major, kind="stable")
        length = self.shape[1 if self.format == "csc" else 0] // (values.shape[1] if self.format == "bsr" else 1)
        starts = np.concatenate([[0], np.cumsum(np.bincount(major, minlength=length))])
        return values[order], minor[order].astype(index), starts.astype(index)

    def wide(self, mode: Mode = "float") -> np.ndarray:
        """The dense matrix with repeated entries added up, as float64/complex128, long double or exact objects.

        Integers and bool keep their dtype, and wrap as NumPy's do.
        """
        values = np.array(self.values)
        values = _widened(values, mode) if values.dtype.kind in "fc" else values.astype(self.dtype)
        if self.format == "dense":
            return values
        dense = np.zeros(self.shape, dtype=values.dtype)
        rows, columns = self._coordinates()
        inside = (rows >= 0) & (rows < self.shape[0]) & (columns < self.shape[1])
        with np.errstate(all="ignore"):
            np.add.at(dense, (rows[inside], columns[inside]), values[inside])
        return dense

    def _coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of every stored value, in the shape of `values`, which for DIA may lie outside the matrix."""
        if self.format == "dia":
            columns = np.broadcast_to(np.arange(self.values.shape[1]), self.values.shape)
            return columns - self.places[0][:, None], columns
        rows, columns = self.places
        if self.format == "bsr":
            _, height, width = self.values.shape
            rows = rows[:, None, None] * height + np.arange(height)[:, None]
            columns = columns[:, None, None] * width + np.arange(width)
            return np.broadcast_to(rows, self.values.shape), np.broadcast_to(columns, self.values.shape)
        return rows, columns

    def code(self) -> str:
        """Python that builds it with NumPy and SciPy alone."""
        if self.format == "dense":
            return _array_code(self.build())
        new = f"scipy.sparse.{self.format}_{self.container}"
        values = self.values.astype(self.dtype)
        if self.format in ("dok", "lil"):
            parts = ", ".join(_array_code(part) for part in (*self.places, values))
            entries = f"zip(*map(np.ndarray.tolist, ({parts})))"
            each = "m.setdefault((r, c), v)" if self.format == "dok" else "m.rows[r].append(c) or m.data[r].append(v)"
            return f"(lambda m: ([{each} for r, c, v in {entries}], m)[1])({new}({self.shape}, dtype=np.{self.dtype}))"
        return f"{new}({_stored_code(self._stored(values))}, shape={self.shape})"

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""
        return {
            "sparse": self.format,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "container": self.container,
            "index_dtype": self.index_dtype,
            "places": [part.tolist() for part in self.places],
            "stored": list(self.values.shape),
            "values": _listed(self.values),
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Sparse:
        """The matrix that `to_json` wrote."""
        values = _unlisted(entry["values"], carrier(entry["dtype"])).reshape(entry["stored"])
        places = tuple(np.array(part, dtype=np.int64) for part in entry["places"])
        form = (entry["sparse"], tuple(entry["shape"]), entry["dtype"])
        return Sparse(*form, values, places, entry["container"], entry["index_dtype"])


def _widened(values: np.ndarray, mode: Mode) -> np.ndarray:
    if mode == "long":
        return values.astype(np.clongdouble if values.dtype.kind == "c" else np.longdouble)
    if mode == "exact":
        objects = [exactly(value) for value in values.ravel().tolist()]
        return np.array(objects, dtype=object).reshape(values.shape)
    return values


def _listed(values: np.ndarray) -> list[Any]:
    """Numbers for JSON: complex ones as real and imaginary part, non-finite ones as strings."""
    flat = values.ravel()
    flat = flat.view(np.float64) if flat.dtype.kind == "c" else flat
    return [repr(v) if isinstance(v, float) and not math.isfinite(v) else v for v in flat.tolist()]


def _unlisted(listed: list[Any], kind: np.dtype) -> np.ndarray:
    """What `_listed` made flat."""
    flat = [float(v) if isinstance(v, str) else v for v in listed]
    return np.array(flat, dtype=np.float64 if kind.kind == "c" else kind).view(kind)


def stored(matrix: Any) -> Iterator[np.ndarray]:
    """The arrays of a live sparse matrix or array, which are copies for a DOK."""
    if matrix.format == "dok":
        keys = np.array(list(matrix.keys()), dtype=np.int64).reshape(-1, 2)
        yield from (keys[:, 0], keys[:, 1], np.array(list(matrix.values()), dtype=matrix.dtype))
        return
    names = {"coo": ("data",), "dia": ("data", "offsets"), "lil": ("rows", "data")}
    for name in names.get(matrix.format, ("data", "indices", "indptr")):
        yield getattr(matrix, name)
    if matrix.format == "coo":
        yield from matrix.coords


def snapshot(matrix: Any) -> tuple[Any, ...]:
    """The contents of a live sparse matrix or array as bytes, which are equal after a call that does not modify it."""

    def frozen(array: np.ndarray) -> Any:
        if array.dtype == object:
            return tuple((len(part), np.array(part).tobytes()) for part in array)
        return array.dtype.str, array.shape, array.tobytes()

    if not scipy.sparse.issparse(matrix):
        return type(matrix).__name__, frozen(matrix)
    return type(matrix).__name__, matrix.shape, matrix.dtype.str, *map(frozen, stored(matrix))


def in_common(argument: Any, result: Any) -> bool:
    """Whether a result shares memory with an argument, for tensors and for sparse arrays."""
    if isinstance(argument, torch.Tensor) and isinstance(result, torch.Tensor):
        try:
            one, other = (value.untyped_storage().data_ptr() for value in (argument, result))
        except (RuntimeError, NotImplementedError):  # a layout without storage, which the check of form judges
            return False
        return one == other and bool(argument.numel() and result.numel())
    both_sparse = hasattr(argument, "tocoo") and hasattr(result, "tocoo")
    return both_sparse and shares_memory(argument, result)


def shares_memory(first: Any, second: Any) -> bool:
    """Whether two live sparse matrices or arrays have an array, or a list of a LIL, in common."""
    if first is second or (first.format == second.format == "dok" and first._dict is second._dict):
        return True
    pairs = [(a, b) for a in stored(first) for b in stored(second)]
    if any(np.shares_memory(a, b) for a, b in pairs):
        return True
    lists = {id(part) for a, _ in pairs if a.dtype == object for part in a}
    return any(id(part) in lists for _, b in pairs if b.dtype == object for part in b)


def _array_code(array: np.ndarray) -> str:
    shape = "" if array.ndim == 1 else f".reshape({array.shape})"
    return f"np.array({literal(array.ravel().tolist())}, dtype=np.{array.dtype.name}){shape}"


def _stored_code(part: Any) -> str:
    if isinstance(part, tuple):
        return "(" + ", ".join(map(_stored_code, part)) + ")"
    return _array_code(part)
