"""`python -m opjury` is the command `opjury`."""

from opjury.cli import run

run()
