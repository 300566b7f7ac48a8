"""Mutants of registered implementations: their module's source with one node changed, as functions that can be audited."""

import ast
import inspect
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from opjury.judge import draw
from opjury.judge.judge import run_here
from opjury.judge.task import Request
from opjury.model import registry
from opjury.model.implementation import Implementation
from opjury.run.ship import Here
from tests.mutation.operators import RULES

EQUIVALENT = Path(__file__).with_name("equivalent.json")
_KNOWN_BY = 20  # characters around a change that tell where it is

TELLING = ("agreement", "gradient", "form", "rejects", "purity")


def order() -> list[str]:
    """All checks, those that tell most first: a mutant is done with at its first refutation."""
    return list(dict.fromkeys((*TELLING, *registry.checks())))


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
    change : str
        `x + 1 → x - 1`
    nth : int
        1, or more where the same change can be made at several places: places are counted from the top.
    line : int
        Where it is now. No part of the name, which is to stay when other lines move.
    """

    operation: str
    implementation: str
    rule: str
    place: int
    choice: int
    change: str
    nth: int
    line: int

    @property
    def name(self) -> str:
        """`cumsum:blelloch, arithmetic: a + b → a - b (2)`"""
        number = f" ({self.nth})" if self.nth > 1 else ""
        return f"{self.operation}:{self.implementation}, {self.rule}: {self.change}{number}"

    @property
    def of_any_implementation(self) -> str:
        """`cumsum:*, arithmetic: a + b → a - b (2)`"""
        return self.name.replace(f":{self.implementation},", ":*,", 1)

    @property
    def place_in_file(self) -> str:
        """`impls/cumsum/cumsum.py:131`"""
        source = inspect.getsourcefile(registry.entry(self.operation, self.implementation).function)
        return f"{os.path.relpath(source)}:{self.line}"

    def load(self) -> Implementation:
        """The declaration with the changed function in place of the right one."""
        entry = registry.entry(self.operation, self.implementation)
        source = inspect.getmodule(entry.function)
        tree = _tree(source)
        nodes = list(ast.walk(tree))
        changed = list(RULES[self.rule](nodes[self.place]))[self.choice]
        tree = _replaced(tree, nodes[self.place], changed)
        module = ModuleType(f"mutant_of_{source.__name__.replace('.', '_')}")
        module.__file__ = source.__file__
        exec(compile(ast.fix_missing_locations(tree), source.__file__, "exec"), vars(module))
        return replace(entry, function=getattr(module, entry.function.__name__))


def _replaced(tree: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST:
    """A copy of the tree with one of its nodes replaced."""
    return deepcopy(tree, {id(old): ast.copy_location(new, old)})


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
    counted: Counter[tuple[str, str]] = Counter()
    used = _used(tree, entry.function.__name__)
    ignored = _ignored(used)
    for function in used:
        for node, around in _changeable(function, ignored):
            seen = {ast.dump(node)}
            for rule, replacements in RULES.items():
                if rule == "detached" and entry.gradient is None:
                    continue
                for choice, changed in enumerate(replacements(node)):
                    if ast.dump(changed) in seen:
                        continue
                    seen.add(ast.dump(changed))
                    change = _in_words(ast.unparse(around), ast.unparse(_replaced(around, node, changed)))
                    counted[rule, change] += 1
                    place, line = numbers[id(node)], getattr(node, "lineno", function.lineno)
                    labels = (rule, place, choice, change, counted[rule, change], line)
                    yield Mutant(entry.operation, entry.name, *labels)


def _changeable(function: ast.FunctionDef, ignored: Iterable[ast.AST] = ()) -> Iterator[tuple[ast.AST, ast.AST]]:
    """The function's nodes from the top, each with so much around it that one knows it, but for what no audit sees."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(statement, statement) for statement in reversed(function.body)]
    while waiting:
        node, around = waiting.pop()
        if node in ignored:
            continue
        if isinstance(node, ast.If) and "is_cuda" in ast.unparse(node.test):  # runs on other devices alone
            waiting += [(child, child) for child in reversed(node.orelse)]
            continue
        around = node if len(ast.unparse(node)) >= _KNOWN_BY else around
        yield node, around
        waiting += [(child, around) for child in reversed(_children(node))]


def _children(node: ast.AST) -> list[ast.AST]:
    """The nodes directly below, without the words of errors."""
    if isinstance(node, (ast.Raise, ast.JoinedStr)):
        return []
    if isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise):
        return [node.test, node.body[-1], *node.orelse]
    return list(ast.iter_child_nodes(node))


def _in_words(old: str, new: str) -> str:
    """`old → new`, of long ones the part that differs."""
    old, new = " ".join(old.split()), " ".join(new.split())
    if max(len(old), len(new)) > 60:
        same = _in_common(old, new)
        end = _in_common(old[same:][::-1], new[same:][::-1])
        start, end = max(same - _KNOWN_BY, 0), max(end - _KNOWN_BY, 0)
        old, new = (
            ("…" if start else "") + text[start : len(text) - end] + ("…" if end else "") for text in (old, new)
        )
    return " → ".join(text if len(text) <= 80 else f"{text[:79]}…" for text in (old, new))


def _in_common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _used(tree: ast.Module, name: str) -> list[ast.FunctionDef]:
    """The module's functions that this one uses, itself first."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    found, waiting = [], [name]
    while waiting:
        function = functions.pop(waiting.pop(), None)
        if function is not None:
            found.append(function)
            waiting += [node.id for node, _ in _changeable(function) if isinstance(node, ast.Name)]
    return found


def _ignored(used: list[ast.FunctionDef]) -> set[ast.AST]:
    """What helpers return and nobody takes: everything where they are called alone, the second value for `x, _ = check(x)`."""
    nodes = [node for function in used for node in ast.walk(function)]
    taken: dict[str, set[int]] = {helper.name: set() for helper in used[1:]}
    calls = set()
    for node in nodes:
        match node:
            case ast.Expr(ast.Call(ast.Name() as name)):
                calls.add(name)
            case ast.Assign([ast.Tuple(targets)], ast.Call(ast.Name() as name)) if name.id in taken:
                calls.add(name)
                taken[name.id] |= {place for place, target in enumerate(targets) if ast.unparse(target) != "_"}
    other_uses = {node.id for node in nodes if isinstance(node, ast.Name) and node not in calls}
    found: set[ast.AST] = set()
    for helper in used[1:]:
        last = helper.body[-1]
        if isinstance(last, ast.Return) and helper.name not in other_uses:
            if isinstance(last.value, ast.Tuple) and taken[helper.name]:
                found |= {value for place, value in enumerate(last.value.elts) if place not in taken[helper.name]}
            elif not taken[helper.name]:
                found.add(last)
    return found


@dataclass(frozen=True)
class Outcome:
    """What the quick audit made of a mutant.

    Parameters
    ----------
    checks : tuple of str
        Those that refute it: the first alone, or all. None for a survivor.
    seconds : float, optional
        Processor time that it took to find out; None where the process did not live to tell.
    """

    checks: tuple[str, ...]
    seconds: float | None


def killed_by(mutant: Mutant) -> Outcome:
    """The check that refutes it first."""
    return _judged(mutant, first=True)


def all_killers(mutant: Mutant) -> Outcome:
    """Every check that refutes it."""
    return _judged(mutant, first=False)


def _judged(mutant: Mutant, *, first: bool) -> Outcome:
    draw._chunk.cache_clear()  # as in a process of its own: drawing cases counts
    started = time.process_time()
    request = Request(checks=order(), first=True)
    tasks = request.tasks(mutant.operation, mutant.implementation, Here(mutant.load()))
    found: list[str] = []
    for check in order():
        verdicts = run_here([task for task in tasks if task.check == check])
        if any(verdict.status == "refuted" for _, verdict in verdicts):
            found.append(check)
            if first:
                break
    return Outcome(tuple(found), time.process_time() - started)


def equivalent(mutants: Iterable[Mutant], file: Path = EQUIVALENT) -> dict[str, str]:
    """Those of the mutants that no audit can refute, and why. An entry `cumsum:*, …` is about all implementations.

    Raises
    ------
    ValueError
        For entries that name no mutant (any more).
    """
    reasons = json.loads(file.read_text())
    known: set[str] = set()
    wanted = {entry.partition(",")[0] for entry in reasons}
    for operation in {name.partition(":")[0] for name in wanted}:
        for entry in registry.implementations(operation):
            if wanted & {f"{operation}:{entry.name}", f"{operation}:*"}:
                known |= {name for mutant in mutants_of(entry) for name in (mutant.name, mutant.of_any_implementation)}
    stale = sorted(set(reasons) - known)
    if stale:
        raise ValueError(f"{file.name}: {len(stale)} entries name no mutant and are to be removed: {stale}")
    both = ((mutant, (mutant.name, mutant.of_any_implementation)) for mutant in mutants)
    return {mutant.name: reasons[name] for mutant, names in both for name in names if name in reasons}
