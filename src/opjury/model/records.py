"""Records: what was found, stored as one JSON object per line, with a published schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from opjury.model import case_schema, files
from opjury.model.environment import Environment
from opjury.model.setting import Setting

FORMAT = 4  # since 4, "undecided" is a status; since 3, "error" is one and a waiver a field; since 2, verdicts have file and line
READABLE = (1, 2, 3, 4)

Status = Literal["not declared", "skipped", "holds", "waived", "undecided", "error", "refuted"]
SEVERITY: tuple[Status, ...] = get_args(Status)
_FAULT = "not judged, the contract or the harness failed: "  # began messages of status "skipped" that are "error" since format 3


class NoRecord(ValueError):
    """A line is no record of this version, for the reason in the message."""


class _Named:
    """A mixin for records of one implementation."""

    __slots__ = ()
    operation: str
    implementation: str

    @property
    def name(self) -> str:
        """`operation:implementation`"""
        return f"{self.operation}:{self.implementation}"


class Verdict(_Named, msgspec.Struct, frozen=True, kw_only=True, tag="verdict", tag_field="record"):
    """Whether one check holds for one implementation.

    `status` is "error" if the contract or the harness failed, so that nothing is known of the implementation, and "undecided" if calls
    take so long that too few cases could be tried. `message` says what was found, or which cases a check that holds was not tried on.
    `waiver` is the declared reason for not passing the check; the status is then "waived", or "holds" if the waiver is not needed.
    `examples` counts the executed cases; a check without any never "holds". `error_of_bound` and `error_ulps` are the largest error, as
    a fraction of the bound and in units in the last place. `seconds` is the time it took to judge. `cause` names a more elementary
    check that fails for the same reason, as wrong values also break laws. `profile` is "" in older records. `once` counts the examples
    that showed a kind of behaviour which no other example did: inputs alike in dtype, tier, layouts and powers of two of the sizes,
    with errors alike to a power of two. `once` / `examples` estimates the chance that one more example shows a new kind. `file` and
    `line` locate the function on trial, by the path of its module in a package, else by the path from the working directory; they are
    "" and 0 if it is not known.
    """

    operation: str
    implementation: str
    check: str
    status: Status
    dtypes: tuple[str, ...] = ()
    device: str = "cpu"
    examples: int = 0
    message: str = ""
    waiver: str = ""
    observed: str = ""
    expected: str = ""
    counterexample: dict[str, Any] | None = None
    script: str = ""
    cause: str = ""
    seed: int = 0
    error_of_bound: float = 0.0
    error_ulps: float = 0.0
    seconds: float = 0.0
    profile: str = ""
    once: int = 0
    file: str = ""
    line: int = 0
    control: bool = False
    format: int = FORMAT
    environment: Environment | None = None

    @property
    def told(self) -> str:
        """The message, with the reason of a waiver before it."""
        if self.waiver and self.status == "holds":
            return f"waived ({self.waiver}), but the check holds"
        found = f" ({self.message})" if self.message else ""
        return f"waived: {self.waiver}{found}" if self.waiver else self.message


class Part(msgspec.Struct, frozen=True, kw_only=True, tag="part", tag_field="record"):
    """The first record of a shard's file: which part of one audit its verdicts are.

    `tasks` verdicts belong to part `number` of `of`. `whole` is the same in all parts of one audit: a digest of its tasks, of how
    they are split, of profile and seed.
    """

    number: int
    of: int
    tasks: int
    whole: str
    seed: int = 0
    format: int = FORMAT


class Measurement(_Named, Setting, frozen=True, kw_only=True, tag="measurement", tag_field="record"):
    """What one implementation costs at one workload, compared with the others that were measured in the same contest.

    `seconds` is the median time of a call, `floor_seconds` that of copying the least bytes that any implementation must read and write.
    `ratio` is its time as a multiple of that of `reference`, with the 99 % interval from `low` to `high` over all comparisons of the
    contest; `tied` says that it is no slower than the reference, and may be recommended as well. `least_seconds` and
    `least_floor_seconds` are the times of the fastest blocks. A history compares these, because load can only slow a block down.
    `first_seconds` is the time of the first call in a new process, `peak_bytes` the peak memory of the second. `error_ulps` is the
    largest error, in units in the last place of the largest element, or None if it was not measured. `rounds` counts its timed blocks.
    `second_order` says whether it promises a second derivative. `waived` gives the worst case by what it waives: by check, and as
    "error" that of an error bound which is looser than the contract's.
    """

    implementation: str
    seconds: float
    reference: str
    ratio: float
    low: float
    high: float
    tied: bool
    floor_seconds: float
    least_seconds: float = math.nan
    least_floor_seconds: float = math.nan
    peak_bytes: int | None = None
    first_seconds: float = 0.0
    error_ulps: float | None = None
    rounds: int = 0
    second_order: bool = False
    waived: dict[str, str] = msgspec.field(default_factory=dict)
    seed: int = 0
    format: int = FORMAT
    environment: Environment | None = None

    @property
    def of_floor(self) -> float:
        """Seconds as a multiple of the floor's."""
        return self.seconds / self.floor_seconds


class Recommendation(Setting, frozen=True, kw_only=True, tag="recommendation", tag_field="record"):
    """The implementation to use at one workload, and the reason.

    `implementation` is "" if none holds up. `tied` names those that are no slower, the recommended one included. `excluded` gives the
    reason for each that was not ranked. `accepted` names what a recommended implementation may waive: checks, and "error" for the
    contract's error bound. `alternative` is the fastest of those that waive more, if it is faster than the recommended one or none is
    recommended, and `alternative_reason` says by how much, and what may come of it.
    """

    implementation: str
    reason: str
    tied: tuple[str, ...] = ()
    excluded: dict[str, str] = msgspec.field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    alternative: str = ""
    alternative_reason: str = ""
    seed: int = 0
    format: int = FORMAT
    environment: Environment | None = None


class Standing(
    _Named, msgspec.Struct, frozen=True, kw_only=True, tag="standing", tag_field="record", omit_defaults=True
):
    """All verdicts of one implementation in short, as a history keeps them: the status of each judged check.

    `causes` names, for each refuted check, the more elementary checks that it follows from, with "" among them if it also fails for a
    reason of its own. It is None in records of formats 1 and 2. `tried` gives, for each task of the nightly profile by check and
    dtypes, its examples, its seconds, and how many of the examples showed a kind of behaviour that no other did.
    """

    operation: str
    implementation: str
    device: str = "cpu"
    verdicts: dict[str, Status]
    causes: dict[str, tuple[str, ...]] | None = None
    examples: int = 0
    tried: dict[str, tuple[int, float, int]] = {}
    error_of_bound: float = 0.0
    error_ulps: float = 0.0
    control: bool = False
    format: int = FORMAT


class Night(msgspec.Struct, frozen=True, kw_only=True, tag="night", tag_field="record"):
    """The first record of a file of the history: when, where and from which sources the others in it were made.

    `date` is that of the start (ISO 8601, UTC). `commit` is "" outside of a repository, and `dirty` says whether files differed from it.
    `seconds` is the time of the whole night. `sources` are digests of the files of each implementation and its contract, by name.
    `plan` says what was to be tried and measured.
    """

    date: str
    commit: str
    dirty: bool = False
    machine: str
    profile: str
    seconds: float
    sources: dict[str, str] = {}
    plan: str = ""
    environment: Environment
    format: int = FORMAT


class Alarm(_Named, Setting, frozen=True, kw_only=True, tag="alarm", tag_field="record", omit_defaults=True):
    """A change for the worse between two nights of one machine.

    `before` and `after` are, depending on `kind`, in seconds, bytes or ulps, a verdict, or the name of an implementation. An alarm of a
    verdict has no sizes and no dtype. `low` and `high` are the 99 % interval of the ratio of `after` to `before`. `since` is the date of
    the first night with the change. `commits` are those of the nights before and after, and `versions` what else differs between these.
    `confirmed` says whether measuring again showed the same, or is None if that was not tried. `command` reproduces the change.
    """

    kind: Literal["time", "memory", "error", "verdict", "recommendation"]
    implementation: str
    check: str = ""
    sizes: dict[str, int] = msgspec.field(default_factory=dict)
    dtype: str = ""
    machine: str
    before: float | str
    after: float | str
    low: float | None = None
    high: float | None = None
    since: str
    commits: tuple[str, str]
    versions: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)
    confirmed: bool | None = None
    message: str = ""
    command: str
    format: int = FORMAT


Record = Verdict | Part | Measurement | Recommendation | Standing | Night | Alarm


def encode(record: Record) -> bytes:
    """One line of JSON without a newline, with non-finite floats as strings."""
    return msgspec.json.encode(_finite({**msgspec.to_builtins(record), "format": FORMAT}))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def decode(line: bytes | str) -> Record:
    """A record from its line.

    Raises
    ------
    NoRecord
        For a line that is not JSON, of another format, or with a missing or mistyped field.
    """
    try:
        found: Record = msgspec.json.decode(line, type=Record, strict=False)
    except msgspec.MsgspecError as error:
        raise NoRecord(f"not a record of this version of opjury (format {FORMAT}): {error}") from None
    if found.format not in READABLE:
        known = ", ".join(map(str, READABLE[:-1])) + f" and {READABLE[-1]}"
        raise NoRecord(f"a record of format {found.format}; this version of opjury reads formats {known}")
    return upgraded(found)


def upgraded(record: Record) -> Record:
    """A record of an older format in the present one."""
    # Before format 3 the message of a verdict began with its status or waiver.
    if not isinstance(record, Verdict) or record.format == FORMAT:
        return record
    message, changed = record.message, dict[str, Any]()
    if record.format >= 3:
        pass
    elif record.status == "skipped" and message.startswith(_FAULT):
        changed = dict(status="error", message=message.removeprefix(_FAULT))
    elif record.status == "waived":
        changed = dict(waiver=message.removeprefix("waived: "), message="")
    elif record.status == "holds" and message:
        changed = dict(waiver=message.removeprefix("waived (").removesuffix("), but the check holds"), message="")
    return msgspec.structs.replace(record, format=FORMAT, **changed)


def lines_of(path: Path | str) -> Iterator[Record | NoRecord]:
    """The records of a file, and for each line that is none the error that says why."""
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        if line.strip():
            try:
                yield decode(line)
            except NoRecord as error:
                yield NoRecord(f"{path}, line {number}: {error}")


def read(path: Path | str) -> Iterator[Record]:
    """The records of a file (raises `NoRecord` with the number of a line that is none)."""
    for found in lines_of(path):
        if isinstance(found, NoRecord):
            raise found
        yield found


def lenient(path: Path, problems: list[str]) -> list[Record]:
    """The records of a file, where other lines are added to the problems."""
    found = list(lines_of(path))
    problems += [str(each) for each in found if isinstance(each, NoRecord)]
    return [each for each in found if not isinstance(each, NoRecord)]


def write(path: Path | str, records: Iterable[Record]) -> None:
    """Write a file of records whole or not at all (raises `Unwritable`)."""
    files.write_whole(path, b"".join(encode(record) + b"\n" for record in records))


class Journal:
    """The records of an unfinished run, written to disk as they come, so that the run can be resumed.

    Parameters
    ----------
    path : Path
    fits : callable
        Called with the records that an earlier run left, and returns those to keep.
    """

    def __init__(self, path: Path, fits: Callable[[list[Record]], list[Record]]) -> None:
        self.path = path
        self.kept = fits(left_in(path))
        write(path, self.kept)

    def add(self, found: Sequence[Record]) -> None:
        """Append records."""
        with files.writing(self.path), self.path.open("ab") as stream:
            stream.write(b"".join(encode(record) + b"\n" for record in found))
        self.kept += found

    def end(self) -> None:
        """Delete the file of a finished run, whose records are kept elsewhere."""
        self.path.unlink(missing_ok=True)


def left_in(path: Path) -> list[Record]:
    """The records that an earlier run left, up to the first line that was cut short."""
    found: list[Record] = []
    with files.writing(path):
        for each in lines_of(path) if path.exists() else ():
            if isinstance(each, NoRecord):
                break
            found.append(each)
    return found


def schema() -> dict[str, Any]:
    """The JSON schema of a record, whose numbers may also be "nan", "inf" or "-inf"."""
    (whole,), definitions = msgspec.json.schema_components([Record], ref_template="#/$defs/{name}")
    definitions["Verdict"]["properties"]["counterexample"]["anyOf"][0] = {"$ref": "#/$defs/Case"}
    described = {
        **whole,
        "description": _DESCRIPTION,
        "$defs": {**_with_strings(definitions), **case_schema.DEFINITIONS},
    }
    return dict(_finite(described))


_DESCRIPTION = 'A record: one line of a file. JSON has no infinities and no NaN: these numbers are the strings "inf", "-inf" and "nan".'


def _with_strings(part: Any) -> Any:
    """A schema in which a number that is not finite may be a string."""
    if isinstance(part, list):
        return [_with_strings(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("type") == "number":
        return {"$ref": "#/$defs/Number", **{key: value for key, value in part.items() if key != "type"}}
    return {key: _with_strings(value) for key, value in part.items()}
