"""Tests of the harness itself."""

from pathlib import Path

from opjury.model.sources import digest


def state_of_sources() -> str:
    """A digest of everything that verdicts depend on in this checkout."""
    top = Path(__file__).parents[1]
    folders = ("src", "impls", "properties", "tests/mutation", "tests/right")
    return digest(file for folder in folders for file in (top / folder).rglob("*.py"))
