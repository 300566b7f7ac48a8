"""`python -m opjury` is the command `opjury`."""

from opjury.cli.main import run

run()
