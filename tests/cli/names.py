"""The names of all commands, those below a group with its name before: `log`, `incident show`."""

import click

from consumers.cli.groups import LazyGroup
from consumers.cli.main import COMMANDS, main


def command_of(name: str) -> click.Command:
    """A command by its name."""
    found: click.Command = main
    for part in name.split():
        assert isinstance(found, click.Group)
        command = found.get_command(click.Context(found), part)
        assert command is not None
        found = command
    return found


def _names() -> list[str]:
    found: list[str] = []
    for name in COMMANDS:
        command = command_of(name)
        below = command.list_commands(click.Context(command)) if isinstance(command, LazyGroup) else []
        found += [f"{name} {each}" for each in below] or [name]
    return found


NAMES = _names()
