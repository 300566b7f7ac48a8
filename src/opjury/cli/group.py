"""Groups of commands that are imported when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from opjury.model.registry import unknown


class LazyGroup(click.Group):
    """A group with commands in other modules.

    Parameters
    ----------
    modules : mapping of str to str
        The module of each command, which names it `<command>_command`. Importing it must not import torch: `--help` imports all.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which they are shown."""
        return [*self.commands, *self.modules]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in self.modules:
            return self.commands.get(cmd_name)
        found: click.Command = getattr(importlib.import_module(self.modules[cmd_name]), f"{cmd_name}_command")
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant. An unknown one is a usage error with the nearest names."""
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(unknown("command", args[0], known))
        return super().resolve_command(ctx, args)
