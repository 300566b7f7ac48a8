"""pytest options of opjury's own suites: how many cases, from which seed, of which operations."""

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


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark of the suites. An unknown operation is a usage error, with the nearest known names."""
    config.addinivalue_line("markers", "slow(reason): takes long; left out of a quick run by `-m 'not slow'`")
    from opjury.model import registry

    for name in config.getoption("--opjury-operation"):
        try:
            registry.operation(name)
        except registry.UnknownName as error:
            raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--opjury-operation`, leave out what is about other operations, and the claims, which are about several."""
    wanted = config.getoption("--opjury-operation")
    if not wanted:
        return
    from opjury.model.claims import Claim
    from opjury.model.implementation import Implementation

    def concerned(item: pytest.Item) -> bool:
        given = getattr(item, "callspec", None)
        values = given.params.values() if given else ()
        return not any(
            isinstance(value, Claim) or (isinstance(value, Implementation) and value.operation not in wanted)
            for value in values
        )

    kept: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        kept[concerned(item)].append(item)
    config.hook.pytest_deselected(items=kept[False])
    items[:] = kept[True]
