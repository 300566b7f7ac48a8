"""pytest options for the suites that call `judge`: how many cases, and from which seed."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--opjury-profile`, `--opjury-scale`, `--opjury-seed` and `--opjury-operation`."""
    group = parser.getgroup("opjury", "competing implementations of tensor operations")
    group.addoption(
        "--opjury-profile",
        default="quick",
        choices=("quick", "full", "nightly"),
        help="how many cases are tried (default: quick)",
    )
    group.addoption(
        "--opjury-scale",
        type=float,
        default=0.25,
        help="the share of the profile's cases that is tried (default: 0.25; what is declared to fail gets all)",
    )
    group.addoption(
        "--opjury-seed", type=int, default=0, help="seed of the drawn cases (default: 0, the same cases every time)"
    )
    group.addoption(
        "--opjury-operation", action="append", default=[], metavar="NAME", help="only this operation (repeatable)"
    )
