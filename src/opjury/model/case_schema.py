"""The JSON schema of a stored case: what `Case.to_json` writes, without its imports."""

from __future__ import annotations

from typing import Any

from opjury.model.dtypes import DTYPES


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _object(description: str, *optional: str, **properties: Any) -> dict[str, Any]:
    """An object of these properties and no others."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_SIZE = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_SHAPE = _list(_SIZE)
_VALUES = _list({"anyOf": [_ref("Number"), {"type": "boolean"}]})
_INDEX = {"type": "integer"}

DEFINITIONS: dict[str, Any] = {
    "Number": {
        "description": "A number. JSON has none that are not finite: these are strings.",
        "anyOf": [{"type": "number"}, {"enum": ["nan", "inf", "-inf"]}],
    },
    "Case": _object(
        "The arguments of one call, as data from which it can be made again.",
        "repeated",
        "rule",
        "beside",
        args={**_list(_ref("Argument")), "description": "The positional arguments."},
        kwargs={"type": "object", "additionalProperties": _ref("Argument"), "description": "The arguments by name."},
        tier={"enum": ["exact", "rounding", "special", "illegal"], "description": "What values it was drawn from."},
        seed={"type": "integer", "description": "What a check needs, and `beside` does not have, is derived from it."},
        repeated=_object(
            "How often the arguments and the result are repeated, and along which dimensions.",
            times=_SIZE,
            arguments=_list({"type": "array", "prefixItems": [_INDEX, _INDEX], "minItems": 2, "maxItems": 2}),
            result=_list(_INDEX),
        ),
        rule={**_TEXT, "description": "Why an illegal call is illegal."},
        beside={
            "type": "object",
            "additionalProperties": _ref("Tensor"),
            "description": "What the check used beside the arguments, such as an incoming gradient.",
        },
    ),
    "Argument": {
        "description": "An argument: a plain value, or an object that tells how to build it.",
        "anyOf": [
            {"type": ["number", "string", "boolean", "null"]},
            *map(_ref, ("Tensor", "SparseMatrix", "Recipe")),
            _object("A tuple.", tuple=_list(_ref("Argument"))),
            _object("A float that is not finite.", float={"enum": ["nan", "inf", "-inf"]}),
            _object(
                "A number of NumPy, by the name of its dtype.",
                numpy=_TEXT,
                value={"anyOf": [_ref("Number"), {"type": "boolean"}]},
            ),
        ],
    },
    "Tensor": _object(
        "A tensor of torch. `values` are in the order of the elements, a complex number as its real and its imaginary part.",
        tensor={"enum": list(DTYPES), "description": "The dtype."},
        shape=_SHAPE,
        layout={**_TEXT, "description": "How the values lie in memory."},
        data={"type": "boolean", "description": "False for indices, which have no gradient."},
        values=_VALUES,
    ),
    "SparseMatrix": _object(
        "A sparse matrix of SciPy: what is stored, repeated entries and explicit zeros included.",
        sparse={"enum": ["bsr", "coo", "csc", "csr", "dia", "dok", "lil", "dense"], "description": "The format."},
        shape=_SHAPE,
        dtype=_TEXT,
        container={"enum": ["array", "matrix"]},
        index_dtype={"enum": ["int32", "int64"]},
        places={**_list(_list(_INDEX)), "description": "Rows and columns of the entries or blocks; offsets of a DIA."},
        stored={**_SHAPE, "description": "The shape of `values`."},
        values=_VALUES,
    ),
    "Recipe": {
        "type": "object",
        "description": "An argument of a contract's own class, which reads the other properties.",
        "properties": {"recipe": {**_TEXT, "description": "The class, as `module:class`."}},
        "required": ["recipe"],
    },
}
