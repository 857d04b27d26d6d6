"""Groups of commands that are imported on demand."""

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import ClassVar

import click

Groups = Mapping[str, Mapping[str, str]]
"""Commands by purpose, in the order of `--help`, each with its module below `consumers.cli.commands` and its function.
"""


def commands_of(groups: Groups) -> dict[str, str]:
    """All commands, each with its module and function."""
    return {name: place for group in groups.values() for name, place in group.items()}


class LazyGroup(click.Group):
    """Imports a command on demand, so that no command waits for the libraries of the others."""

    groups: ClassVar[Groups] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of `--help`."""
        return list(commands_of(self.groups))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        place = commands_of(self.groups).get(cmd_name)
        if place is None:
            return None
        module, _, function = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"consumers.cli.commands.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name; for an unknown name, suggest similar ones."""
        name, known = args[0], commands_of(self.groups)
        if name in known or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        advice = f"Did you mean {' or '.join(near)}?" if near else f"`{ctx.command_path} --help` lists all commands."
        return ctx.fail(f"There is no command {name!r}. {advice}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands by purpose, each with the whole first sentence of its help."""
        for title, names in self.groups.items():
            with formatter.section(title):
                formatter.write_dl([(name, self._summary(ctx, name)) for name in names], col_max=16)

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        text = " ".join((command.help or "").split("\n\n")[0].split()) if command is not None else ""
        first, stop, _ = text.partition(". ")
        return first + stop.strip()
