"""What a mutant changes: for a node of the syntax tree, every other node that may stand in its place."""

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy

Rule = Callable[[ast.AST], Iterator[ast.AST]]

_COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
_BINARY = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_DROPPED = frozenset(
    [
        "flip",
        "conj",
        "clone",
        "contiguous",
        "abs",
        "float",
        "double",
        "detach",
        "resolve_conj",
        "resolve_neg",
        "sort",
        "coalesce",
        "sum_duplicates",
        "sort_indices",
        "copy",
        "flipud",
        "transpose",
        "permute",
        "movedim",
        "unsqueeze",
        "squeeze",
        "roll",
        "tril",
        "triu",
        "clamp",
    ]
)
_RENAMED = {
    "min": "max",
    "max": "min",
    "any": "all",
    "all": "any",
    "zeros": "ones",
    "ones": "zeros",
    "zeros_like": "ones_like",
    "new_zeros": "new_ones",
    "new_ones": "new_zeros",
    "float64": "float32",
    "int64": "int32",
    "complex128": "complex64",
    "double": "float",
    "tril": "triu",
    "triu": "tril",
    "hstack": "vstack",
    "ceil": "floor",
    "floor": "ceil",
    "cumsum": "cumprod",
    "isfinite": "isnan",
    "index_add": "index_copy",
    "index_add_": "index_copy_",
    "clone": "detach",
    "amax": "amin",
    "H": "T",
}
_NO_DATA = frozenset(["torch", "np", "scipy", "math", "functools", "operator", "ctx", "slices", "index", "indices"])
_NO_HISTORY = frozenset(
    [
        "append",
        "detach",
        "dim",
        "is_complex",
        "is_conj",
        "is_contiguous",
        "is_floating_point",
        "isfinite",
        "isnan",
        "item",
        "new_empty",
        "new_full",
        "new_ones",
        "new_zeros",
        "numel",
        "size",
        "stride",
        "tolist",
    ]
)


def comparison(node: ast.AST) -> Iterator[ast.AST]:
    """`<` for `<=`, `==` for `!=`."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
        yield ast.Compare(node.left, [_COMPARE[type(node.ops[0])](), *node.ops[1:]], node.comparators)


def arithmetic(node: ast.AST) -> Iterator[ast.AST]:
    """`+` for `-`, `*` for `/`."""
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        yield ast.BinOp(node.left, _BINARY[type(node.op)](), node.right)


def operands(node: ast.AST) -> Iterator[ast.AST]:
    """`b - a` for `a - b`, and one operand alone."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, (ast.Sub, ast.Div, ast.MatMult, ast.FloorDiv)):
            yield ast.BinOp(node.right, node.op, node.left)
        yield node.left


def integers(node: ast.AST) -> Iterator[ast.AST]:
    """A number one larger, or smaller."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)


def bounds(node: ast.AST) -> Iterator[ast.AST]:
    """A slice that starts or ends one later."""
    if isinstance(node, ast.Slice):
        for side in ("lower", "upper"):
            bound = getattr(node, side)
            if bound is not None and not isinstance(bound, ast.Constant):
                changed = deepcopy(node)
                setattr(changed, side, ast.BinOp(bound, ast.Add(), ast.Constant(1)))
                yield changed


def ranges(node: ast.AST) -> Iterator[ast.AST]:
    """A range that leaves out its last number, or its first."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        for part in (ast.Slice(None, ast.Constant(-1)), ast.Slice(ast.Constant(1))):
            yield ast.Subscript(deepcopy(node), part, ast.Load())


def dropped(node: ast.AST) -> Iterator[ast.AST]:
    """`x` for `x.flip(0)`, `x` for `x.mT`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _DROPPED:
        yield node.func.value
    if isinstance(node, ast.Attribute) and node.attr in ("T", "mT", "H"):
        yield node.value


def renamed(node: ast.AST) -> Iterator[ast.AST]:
    """`zeros` for `ones`, `float32` for `float64`."""
    if isinstance(node, ast.Attribute) and node.attr in _RENAMED:
        yield ast.Attribute(node.value, _RENAMED[node.attr], node.ctx)
    if isinstance(node, ast.Name) and node.id in ("min", "max", "any", "all"):
        yield ast.Name(_RENAMED[node.id], node.ctx)


def conditions(node: ast.AST) -> Iterator[ast.AST]:
    """A condition that is always true, or always false; `and` for `or`."""
    if isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            changed = deepcopy(node)
            changed.test = ast.Constant(value)
            yield changed
    if isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def signs(node: ast.AST) -> Iterator[ast.AST]:
    """`x` for `-x`, `x` for `not x`."""
    if isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield node.operand


def keywords(node: ast.AST) -> Iterator[ast.AST]:
    """A call without one of its keyword arguments, but those that one device or right lengths never need, or with two exchanged."""
    if isinstance(node, ast.Call):
        for dropped in node.keywords:
            if dropped.arg not in ("device", "strict"):
                yield ast.Call(node.func, node.args, [keyword for keyword in node.keywords if keyword is not dropped])
        if len(node.keywords) >= 2 and all(k.arg for k in node.keywords):
            one, two, *rest = node.keywords
            yield ast.Call(
                node.func, node.args, [ast.keyword(one.arg, two.value), ast.keyword(two.arg, one.value), *rest]
            )


def exchanged(node: ast.AST) -> Iterator[ast.AST]:
    """A call with its first two arguments exchanged."""
    symmetric = ("transpose", "swapaxes", "maximum", "minimum", "result_type", "promote_types", "max", "min")
    name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
    if isinstance(node, ast.Call) and len(node.args) >= 2 and name not in symmetric:
        first, second, *rest = node.args
        if not any(isinstance(a, ast.Starred) for a in (first, second)) and ast.dump(first) != ast.dump(second):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)


def detached(node: ast.AST) -> Iterator[ast.AST]:
    """`x.detach().sum(0)` for `x.sum(0)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr not in _NO_HISTORY:
        value = node.func.value
        if isinstance(value, ast.Name) and value.id not in _NO_DATA:
            hidden = ast.Call(ast.Attribute(value, "detach", ast.Load()), [], [])
            yield ast.Call(ast.Attribute(hidden, node.func.attr, ast.Load()), node.args, node.keywords)


def multiplied(node: ast.AST) -> Iterator[ast.AST]:
    """`mask * a + ~mask * b` for `torch.where(mask, a, b)`."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "where" and len(node.args) == 3:
        mask, one, other = node.args
        yield ast.BinOp(
            ast.BinOp(mask, ast.Mult(), one),
            ast.Add(),
            ast.BinOp(ast.UnaryOp(ast.Invert(), mask), ast.Mult(), other),
        )


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Nothing in place of a call for its effect, or of an assignment in place."""
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if is_call or isinstance(node, ast.AugAssign):
        yield ast.Pass()


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        comparison,
        arithmetic,
        operands,
        integers,
        bounds,
        ranges,
        dropped,
        renamed,
        conditions,
        signs,
        keywords,
        exchanged,
        detached,
        multiplied,
        statements,
    )
}
