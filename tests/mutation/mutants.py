"""Mutants of registered implementations: their module's source with one node changed, as functions that can be audited."""

import ast
import inspect
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from types import ModuleType

from opjury import registry
from opjury.execute import Here, run_here
from opjury.operation import Implementation
from opjury.uses.audit import plan
from tests.mutation.operators import RULES

# The checks that tell most, first: a mutant is done with at its first refutation.
ORDER = ("agreement", "gradient", "form", "rejects", "purity", "specials", "layouts", "locality", "determinism", "laws")


@dataclass(frozen=True)
class Mutant:
    """One change to one implementation.

    Parameters
    ----------
    operation, implementation : str
    rule : str
        Which of `RULES` made it.
    place : int
        The number of the node in its module's tree, in the order of `ast.walk`.
    choice : int
        Which of the rule's replacements of that node.
    line : int
    change : str
        `x + 1 → x - 1`
    """

    operation: str
    implementation: str
    rule: str
    place: int
    choice: int
    line: int
    change: str

    @property
    def name(self) -> str:
        """`cumsum:blelloch line 131, arithmetic: a + b → a - b`"""
        return f"{self.operation}:{self.implementation} line {self.line}, {self.rule}: {self.change}"

    def load(self) -> Implementation:
        """The declaration with the changed function in place of the right one."""
        entry = registry.implementation(self.operation, self.implementation)
        source = inspect.getmodule(entry.function)
        tree = _tree(source)
        nodes = list(ast.walk(tree))
        changed = list(RULES[self.rule](nodes[self.place]))[self.choice]
        tree = _Replacing(nodes[self.place], changed).visit(tree)
        module = ModuleType(f"mutant_of_{source.__name__.replace('.', '_')}")
        module.__file__ = source.__file__
        exec(compile(ast.fix_missing_locations(tree), source.__file__, "exec"), vars(module))
        return replace(entry, function=getattr(module, entry.function.__name__))


class _Replacing(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, ast.copy_location(deepcopy(new), old)

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def _tree(module: ModuleType) -> ast.Module:
    """The module's tree without what registers its functions."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [d for d in node.decorator_list if "implementation" not in ast.unparse(d)]
    return tree


def mutants_of(entry: Implementation) -> Iterator[Mutant]:
    """Every change to the implementation's function, and to the functions of its module that it uses."""
    tree = _tree(inspect.getmodule(entry.function))
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    seen = set()
    for function in _used(tree, entry.function.__name__):
        for node in [inner for statement in function.body for inner in ast.walk(statement)]:
            for rule, replacements in RULES.items():
                for choice, changed in enumerate(replacements(node)):
                    ast.fix_missing_locations(ast.copy_location(changed, node))
                    change = f"{_short(node)} → {_short(changed)}"
                    if (node.lineno if hasattr(node, "lineno") else 0, change) not in seen:
                        seen.add((getattr(node, "lineno", 0), change))
                        line = getattr(node, "lineno", function.lineno)
                        yield Mutant(entry.operation, entry.name, rule, numbers[id(node)], choice, line, change)


def _short(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:70]


def _used(tree: ast.Module, name: str) -> list[ast.FunctionDef]:
    """The module's functions that this one uses, itself first."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found, waiting = [], [name]
    while waiting:
        function = functions.pop(waiting.pop(), None)
        if function is not None:
            found.append(function)
            waiting += [node.id for node in ast.walk(function) if isinstance(node, ast.Name)]
    return found


def killed_by(mutant: Mutant) -> str:
    """The check that refutes it first, or ""."""
    entry = mutant.load()
    tasks = plan(
        registry.operation(mutant.operation), mutant.implementation, checks=ORDER, function=Here(entry), first=True
    )
    return next((verdict.check for _, verdict in run_here(tasks) if verdict.status == "refuted"), "")
