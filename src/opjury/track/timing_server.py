"""One side of a comparison: a process that times blocks when it is told to. `python -m opjury.track.timing_server`

Requests and answers are lines of JSON on standard input and output. The first request is an `Opening`, the answer a `Ready`; every
further one a `Turn`, the answer seconds by competitor. The process ends with its input.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

import msgspec

from opjury.measure.checkout import take_over
from opjury.measure.contest import Competitor, Contest, Lineup, threads
from opjury.model.environment import environment
from opjury.model.setting import Setting


class Opening(msgspec.Struct, frozen=True):
    """What is to be timed, and where `impls/` stands; "" for the installed one."""

    setting: Setting
    implementations: tuple[str, ...]
    seed: int
    impls: str = ""


class Ready(msgspec.Struct, frozen=True):
    """Calls in a block, by competitor; why others cannot be timed."""

    calls: dict[str, int]
    faults: dict[str, str]
    versions: dict[str, str]


class Turn(msgspec.Struct, frozen=True):
    """One block of each, in this order, with so many calls."""

    calls: dict[str, int]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    warnings.simplefilter("ignore")
    opening = msgspec.json.decode(requests.readline(), type=Opening)
    with threads(1):
        lineup, faults = _ready(opening)
        labels = (
            {} if lineup is None else {n: c for n, c in lineup.outcome.calls.items() if n in opening.implementations}
        )
        _say(answers, Ready(labels, faults, _versions()))
        for line in requests:
            assert lineup is not None
            turn = msgspec.json.decode(line, type=Turn)
            lineup.outcome.calls.update(turn.calls)
            times = {name: lineup.turn(name) for name in turn.calls}
            _say(answers, {name: each.longer for name, each in times.items() if each is not None})


def _ready(opening: Opening) -> tuple[Lineup | None, dict[str, str]]:
    if opening.impls:
        take_over("opjury.impls", Path(opening.impls, "__init__.py"))
    competitors = tuple(Competitor(name) for name in opening.implementations)
    try:
        lineup = Lineup(Contest(opening.setting, competitors, seed=opening.seed, to_the_end=True))
    except Exception as error:
        return None, {name: f"{type(error).__name__}: {error}" for name in opening.implementations}
    return lineup, lineup.outcome.faults


def _versions() -> dict[str, str]:

    here = environment()
    return {name: getattr(here, name) for name in ("python", "torch", "numpy", "scipy")}


def _say(answers: BinaryIO, what: object) -> None:
    answers.write(msgspec.json.encode(what) + b"\n")
    answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as out:  # what implementations print is no answer
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        serve(sys.stdin.buffer, out)
