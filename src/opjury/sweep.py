"""sweep: the choice over a range of one size, where it changes, and a dispatcher that follows it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opjury.choose import Choice, choose, sizes_of
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.registry import Impossible

POINTS = 9
REFINEMENTS = 3


@dataclass(frozen=True)
class Crossover:
    """From which size another implementation is faster: somewhere between `low`, where the first still was no slower, and `high`."""

    before: str
    after: str
    low: int
    high: int

    @property
    def at(self) -> int:
        """The geometric mean of the two."""
        return round(math.sqrt(self.low * self.high))


@dataclass(frozen=True)
class Sweep:
    """Choices over a range of one size.

    Parameters
    ----------
    operation, size : str
    choices : tuple of Choice
        In order of the size.
    crossovers : tuple of Crossover
    """

    operation: str
    size: str
    choices: tuple[Choice, ...]
    crossovers: tuple[Crossover, ...]

    @property
    def uses(self) -> tuple[tuple[str, int | None], ...]:
        """Each implementation in turn with the size up to which it is used; None: from there on."""
        first = self.crossovers[0].before if self.crossovers else self.choices[0].implementation
        names = [first, *(crossover.after for crossover in self.crossovers)]
        return tuple(zip(names, [*(crossover.at for crossover in self.crossovers), None], strict=True))


def sweep(
    operation: str,
    size: str,
    low: int,
    high: int,
    workload: str | Mapping[str, int] = "medium",
    *,
    points: int = POINTS,
    refinements: int = REFINEMENTS,
    notify: Callable[[str], None] = lambda stage: None,
    **options: Any,
) -> Sweep:
    """Choose at `points` sizes from `low` to `high`, evenly on the logarithmic scale; halve the gaps where the choice changes.

    An implementation is kept as long as it is no slower than the best: what is tied does not change hands.

    Parameters
    ----------
    operation : str
    size : str
        The name of the size that varies.
    low, high : int
    workload : str or mapping of str to int
        The other sizes.
    points, refinements : int
        Sizes at first, and halvings of each gap.
    notify : callable, optional
    **options
        Those of `choose`.

    Returns
    -------
    Sweep

    Raises
    ------
    Impossible
        For an empty range, and where nothing holds up; else as `choose`.
    """
    others = sizes_of(operation, workload)
    if size not in others:
        raise registry.UnknownName(registry.unknown(f"size of {operation}", size, others))
    if not 0 < low < high:
        raise Impossible(
            f"{size} from {low} to {high} is no range; the first must be less than the second, and positive"
        )
    made: dict[int, Choice] = {}

    def at(value: int) -> Choice:
        if value not in made:
            say = lambda stage: notify(f"{size}={value}: {stage}")  # noqa: E731
            made[value] = choose(operation, {**others, size: value}, notify=say, **options)
            if not made[value].implementation:
                why = "; ".join(f"{name} {reason}" for name, reason in made[value].excluded.items())
                raise Impossible(f"{size}={value}: {made[value].recommendation.reason}: {why}")
        return made[value]

    values = sorted({round(low * (high / low) ** (i / (points - 1))) for i in range(points)})
    current, crossovers, previous = at(values[0]).implementation, [], values[0]
    for value in values[1:]:
        if not _no_slower(current, at(value)):
            below, above = previous, value
            for _ in range(refinements):
                middle = round(math.sqrt(below * above))
                if middle in (below, above):
                    break
                below, above = (middle, above) if _no_slower(current, at(middle)) else (below, middle)
            following = at(value).implementation
            crossovers.append(Crossover(current, following, below, above))
            current = following
        previous = value
    return Sweep(operation, size, tuple(made[value] for value in sorted(made)), tuple(crossovers))


def _no_slower(name: str, choice: Choice) -> bool:
    return name in choice.recommendation.tied


def dispatcher(found: Sweep) -> str:
    """Python source of a function that calls, for each size, what the sweep chose.

    Raises
    ------
    Impossible
        When the size cannot be read from a call, or compiled functions were chosen.
    """
    workload = registry.workload(found.operation)
    if found.size not in workload.read_from:
        known = ", ".join(workload.read_from) or "none"
        raise Impossible(f"{found.size} cannot be read from a call of {found.operation}; sizes that can: {known}")
    compiled = [name for name, _ in found.uses if "+" in name]
    if compiled:
        raise Impossible(
            f"{', '.join(compiled)}: a dispatcher of compiled functions is not written; leave --compile out"
        )
    signature = inspect.signature(registry.operation(found.operation).reference)
    stars = {int(inspect.Parameter.VAR_POSITIONAL): "*", int(inspect.Parameter.VAR_KEYWORD): "**"}
    passed: list[str] = []
    for parameter in signature.parameters.values():
        star = stars.get(int(parameter.kind), "")
        passed.append(
            star
            + (f"{parameter.name}={parameter.name}" if parameter.kind == parameter.KEYWORD_ONLY else parameter.name)
        )
    call = f"({', '.join(passed)})"
    chosen = found.choices[0].recommendation
    others = ", ".join(f"{name}={value}" for name, value in chosen.sizes.items() if name != found.size)
    direction = "forward and backward" if chosen.gradient else "forward"
    where = environment()
    lines = [
        f'"""{found.operation} by {found.size}, as measured by opjury {where.opjury} with torch {where.torch} on {where.processor or where.machine}:',
        f"{chosen.dtype}, {chosen.device}, {direction}, {chosen.threads} thread(s), {others or 'no other size'}.",
        '"""',
        "",
        "import opjury",
        "",
    ]
    lines += [
        f'{name} = opjury.get("{found.operation}", "{name}")' for name in dict.fromkeys(name for name, _ in found.uses)
    ]
    lines += ["", "", f"def {found.operation}{signature}:", f'    """The fastest for each {found.size}."""']
    *parts, (last, _) = found.uses
    if parts:
        lines.append(f"    {found.size}_ = {workload.read_from[found.size]}")
    for name, limit in parts:
        lines += [f"    if {found.size}_ <= {limit}:", f"        return {name}{call}"]
    lines += [f"    return {last}{call}", ""]
    return "\n".join(lines)
