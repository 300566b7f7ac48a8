"""sweep: the choices over a range of one size, where they change, and a function that dispatches accordingly."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from opjury.choose import Choice, choose, sizes_of
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.registry import Impossible


@dataclass(frozen=True)
class Crossover:
    """A change of the choice: `before` is no slower than the best at size `low`, and slower at `high`."""

    before: str
    after: str
    low: int
    high: int

    @property
    def at(self) -> int:
        """The geometric mean of both sizes."""
        return round(math.sqrt(self.low * self.high))


@dataclass(frozen=True)
class Sweep:
    """Choices over a range of one size, in its order."""

    operation: str
    size: str
    choices: tuple[Choice, ...]
    crossovers: tuple[Crossover, ...]

    @property
    def uses(self) -> tuple[tuple[str, int | None], ...]:
        """Each implementation in turn with the size up to which it is used, None for the last."""
        names = [self.choices[0].implementation, *(crossover.after for crossover in self.crossovers)]
        return tuple(zip(names, [*(crossover.at for crossover in self.crossovers), None], strict=True))


def sweep(
    operation: str,
    size: str,
    low: int,
    high: int,
    workload: str | Mapping[str, int] = "medium",
    *,
    points: int = 9,
    refinements: int = 3,
    notify: Callable[[str], None] = lambda stage: None,
    **options: Any,
) -> Sweep:
    """Choose at `points` sizes from `low` to `high`, evenly on the logarithmic scale, and halve the gaps where the choice changes.

    The choice changes only where an implementation is slower than the best, not where both are tied.

    Parameters
    ----------
    size : str
        The name of the size that varies.
    workload : str or mapping of str to int
        The other sizes.
    points, refinements : int
        Sizes at first, and halvings of each gap.
    **options
        Those of `choose`.

    Raises
    ------
    Impossible
        For an empty range, and where nothing holds up; otherwise as `choose`.
    """
    others = sizes_of(operation, workload)
    if size not in others:
        raise registry.UnknownName(registry.unknown(f"size of {operation}", size, others))
    if not 0 < low < high:
        raise Impossible(f"{size} from {low} to {high} is no range; its bounds must be positive and ascending")
    made: dict[int, Choice] = {}

    def at(value: int) -> Choice:
        if value not in made:
            choice = made[value] = choose(
                operation, {**others, size: value}, notify=lambda stage: notify(f"{size}={value}: {stage}"), **options
            )
            if not choice.implementation:
                told = choice.recommendation
                weak = {told.alternative: f"is {told.alternative_reason}"} if told.alternative else {}
                why = "; ".join(f"{name} {reason}" for name, reason in {**weak, **choice.excluded}.items())
                raise Impossible(f"{size}={value}: {told.reason}: {why}")
        return made[value]

    def no_slower(name: str, value: int) -> bool:
        return name in at(value).recommendation.tied

    values = sorted({round(low * (high / low) ** (i / (points - 1))) for i in range(points)})
    current, crossovers, previous = at(values[0]).implementation, [], values[0]
    for value in values[1:]:
        if not no_slower(current, value):
            below, above = previous, value
            for _ in range(refinements):
                middle = round(math.sqrt(below * above))
                if middle in (below, above):
                    break
                below, above = (middle, above) if no_slower(current, middle) else (below, middle)
            crossovers.append(Crossover(current, at(value).implementation, below, above))
            current = at(value).implementation
        previous = value
    return Sweep(operation, size, tuple(made[value] for value in sorted(made)), tuple(crossovers))


def _waivers(found: Sweep, names: Container[str]) -> dict[str, None]:
    """What the implementations of these names waive, in lines."""
    used = [choice for choice in found.choices if choice.implementation in names]
    waived = [(choice.implementation, choice.measurement(choice.implementation).waived) for choice in used]
    return dict.fromkeys(f"{name} waives {what}: {reason}" for name, each in waived for what, reason in each.items())


def dispatcher(found: Sweep) -> str:
    """Python source of a function that calls, for each size, what the sweep chose.

    Raises `Impossible` where the size cannot be read from a call, or compiled functions were chosen.
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
    call = ", ".join(
        f"{p.name}={p.name}" if p.kind is p.KEYWORD_ONLY else str(p.replace(default=p.empty, annotation=p.empty))
        for p in signature.parameters.values()
    )
    names = dict.fromkeys(name for name, _ in found.uses)
    functions = "\n".join(f'{name} = opjury.get("{found.operation}", "{name}")' for name in names)
    *parts, (last, _) = found.uses
    body = [f"{found.size}_ = {workload.read_from[found.size]}"] if parts else []
    for name, limit in parts:
        body += [f"if {found.size}_ <= {limit}:", f"    return {name}({call})"]
    body.append(f"return {last}({call})")
    code = "\n    ".join(body)
    chosen, here = found.choices[0].recommendation, environment()
    machine = f"opjury {here.opjury} with torch {here.torch} on {here.processor or here.machine}"
    direction = "forward and backward" if chosen.gradient else "forward"
    others = ", ".join(f"{name}={value}" for name, value in chosen.sizes.items() if name != found.size)
    accepted = "".join(f"\n{line}." for line in _waivers(found, names))
    return f'''"""{found.operation} by {found.size}, as measured by {machine}:
{chosen.dtype}, {chosen.device}, {direction}, {chosen.threads} thread(s), {others or "no other size"}.{accepted}
"""

import opjury

{functions}


def {found.operation}{signature}:
    """The fastest for each {found.size}."""
    {code}
'''
