"""The process of one side of a comparison, which times blocks on request: `python -m opjury.track.timing_server`

Requests and answers are lines of JSON on standard input and output. The first request is an `Opening`, its answer a `Ready`. Every
further request is a `Turn`, its answer the seconds of each competitor. The process ends with its input.
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
    """What is to be timed, with the `impls` of a checkout where it has some, else with the installed ones."""

    setting: Setting
    implementations: tuple[str, ...]
    seed: int
    folder: str = ""


class Ready(msgspec.Struct, frozen=True):
    """How many calls a block of each competitor has, and why others cannot be timed."""

    calls: dict[str, int]
    faults: dict[str, str]
    versions: dict[str, str]


class Turn(msgspec.Struct, frozen=True):
    """The competitors to time one block of, in this order, with the number of calls."""

    calls: dict[str, int]


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    warnings.simplefilter("ignore")
    opening = msgspec.json.decode(requests.readline(), type=Opening)
    versions = {name: version for name, version in environment().versions.items() if name != "opjury"}
    package = Path(opening.folder, "impls", "__init__.py")
    if opening.folder and package.is_file():
        take_over("opjury.impls", package)
    competitors = tuple(Competitor(name) for name in opening.implementations)
    with threads(1):
        try:
            lineup = Lineup(Contest(opening.setting, competitors, seed=opening.seed, to_the_end=True))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            _say(answers, Ready({}, dict.fromkeys(opening.implementations, why), versions))
            return
        calls = {name: count for name, count in lineup.outcome.calls.items() if name in opening.implementations}
        _say(answers, Ready(calls, lineup.outcome.faults, versions))
        for line in requests:
            turn = msgspec.json.decode(line, type=Turn)
            lineup.outcome.calls.update(turn.calls)
            times = {name: lineup.turn(name) for name in turn.calls}
            _say(answers, {name: each.longer for name, each in times.items() if each is not None})


def _say(answers: BinaryIO, what: object) -> None:
    answers.write(msgspec.json.encode(what) + b"\n")
    answers.flush()


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "wb") as out:  # implementations may print to standard output: only `out` is for answers
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        serve(sys.stdin.buffer, out)
