"""Merging the records of several runs: shards of an audit, audits of different operations, runs on several machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opjury.audit import identity
from opjury.model import records, registry
from opjury.model.environment import Environment
from opjury.model.outcome import NOT_TRIED, causes_checked
from opjury.model.records import Part, Record, Verdict


@dataclass(frozen=True)
class Merged:
    """Several runs as one."""

    verdicts: tuple[Verdict, ...]  # one for each task, in the order of an audit of everything
    others: tuple[Record, ...]  # the other records, with the parts that are complete
    problems: tuple[str, ...]  # what is missing, unreadable or contradictory
    notes: tuple[str, ...]  # differences in environment or seed


def merge(paths: Sequence[Path]) -> Merged:
    """Merge the records of files.

    A line that cannot be read is a problem, because it may have been a refutation.
    """
    problems: list[str] = []
    files = {path: records.lenient(path, problems) for path in dict.fromkeys(paths)}
    problems += [f"{path} holds no record" for path, mine in files.items() if not mine]
    found = [(path, record) for path, mine in files.items() for record in mine]
    kept: dict[tuple[object, ...], tuple[Path, Verdict]] = {}
    for path, record in found:
        if isinstance(record, Verdict):
            key = identity(record)
            kept[key] = _one(kept[key], (path, record), problems) if key in kept else (path, record)
    parts, absent = _parts(files)
    problems += absent
    others = [record for _, record in found if not isinstance(record, (Verdict, Part))]
    verdicts = sorted(causes_checked([verdict for _, verdict in kept.values()]), key=_place)
    return Merged(tuple(verdicts), (*parts, *others), tuple(problems), tuple(_notes(record for _, record in found)))


def _one(first: tuple[Path, Verdict], second: tuple[Path, Verdict], problems: list[str]) -> tuple[Path, Verdict]:
    """The worse of two verdicts of one task, the first if they agree. One that was not tried or not decided contradicts nothing."""
    ours, theirs = first[1], second[1]
    worse = max(first, second, key=lambda each: (_tried(each[1]), records.SEVERITY.index(each[1].status)))
    if ours.status != theirs.status and _tried(ours) and _tried(theirs):
        where = f"{ours.name} {ours.check} ({', '.join(ours.dtypes)}, {ours.device})"
        problems.append(f"{where}: {ours.status} in {first[0]}, {theirs.status} in {second[0]}")
    return worse


def _tried(verdict: Verdict) -> bool:
    return verdict.status not in NOT_TRIED


def _parts(files: dict[Path, list[Record]]) -> tuple[list[Part], list[str]]:
    """The parts whose verdicts are all in their files, and what is missing of the audits that they belong to."""
    seen: dict[tuple[str, int], Part] = {}
    complete: dict[tuple[str, int], Part] = {}
    cut: dict[tuple[str, int], str] = {}
    for path, mine in files.items():
        named = {(record.whole, record.number): record for record in mine if isinstance(record, Part)}
        there = len({identity(record) for record in mine if isinstance(record, Verdict)})
        expected = sum(part.tasks for part in named.values())
        seen |= named
        if there >= expected:
            complete |= named
        else:
            cut |= dict.fromkeys(named, f"{path} has {there} of the {expected} verdicts of {_shards(named.values())}")
    problems = list(dict.fromkeys(problem for key, problem in cut.items() if key not in complete))
    for whole, of, seed in dict.fromkeys((part.whole, part.of, part.seed) for part in seen.values()):
        absent = [number for number in range(1, of + 1) if (whole, number) not in seen]
        if absent:
            problems.append(
                f"missing {_shards(Part(number=n, of=of, tasks=0, whole=whole) for n in absent)}, seed {seed}"
            )
    return list(complete.values()), problems


def _shards(parts: Iterable[Part]) -> str:
    """`shard 2/8, 5/8 of audit 3f0c…`"""
    parts = list(parts)
    return f"shard {', '.join(f'{part.number}/{part.of}' for part in parts)} of audit {parts[0].whole}"


def _place(verdict: Verdict) -> tuple[object, ...]:
    """The place of a verdict in an audit of everything. What is not registered here comes last."""
    operations = {contract.name: contract for contract in registry.operations()}
    contract = operations.get(verdict.operation)
    names = [entry.name for entry in registry.implementations(contract.name)] if contract else []
    dtypes = contract.dtypes if contract else ()
    return (
        _index(list(operations), verdict.operation),
        _index(names, verdict.implementation),
        registry.place_of_check(verdict.check),
        [dtypes.index(name) for name in verdict.dtypes if name in dtypes],
        verdict.dtypes,
    )


def _index(known: Sequence[str], name: str) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known)), name


def _notes(found: Iterable[Record]) -> list[str]:
    verdicts = [record for record in found if isinstance(record, Verdict)]
    notes = []
    for name in Environment.__struct_fields__:
        values = sorted({getattr(verdict.environment, name) for verdict in verdicts if verdict.environment})
        if len(values) > 1:
            notes.append(f"from several environments, {name}: {', '.join(value or 'none' for value in values)}")
    seeds = sorted({verdict.seed for verdict in verdicts})
    if len(seeds) > 1:
        notes.append(f"from several audits, seeds {', '.join(map(str, seeds))}")
    return notes
