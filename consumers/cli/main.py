"""The command `tuf-ledger`."""

import importlib
import io
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

COMMANDS = {
    "init": "init:init",
    "add": "add:add",
    "yank": "change:yank",
    "unyank": "change:unyank",
    "remove": "change:remove",
    "restore": "change:restore",
    "status": "change:status",
    "append": "append:append",
    "publish": "publish:publish",
    "run": "run:run",
    "ceremony": "ceremony:ceremony",
    "rebuild": "rebuild:rebuild",
    "verify": "verify:verify",
    "info": "info:info",
    "rejected": "rejected:rejected",
    "resume": "resume:resume",
    "sweep": "sweep:sweep",
    "demo": "demo:demo",
}
"""Module below `consumers.cli.commands`, and function, of each command, in the order of `--help`."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for: one command does not wait for the libraries of all."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, whatever standard input and output are."""
        prepare_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # help that cannot be printed; commands say it themselves
            from consumers.cli.shared import explain, give_up_output, say  # noqa: PLC0415  # most never need it

            give_up_output()
            say("error:", explain(error), style="bold red")
            sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"consumers.cli.commands.{module}"), function)
        return command


def prepare_streams() -> None:
    """See to it that there are standard streams, and that everything can be printed.

    Where one was closed, the next file that is opened takes its number, and what C libraries print goes into that file.
    Names of files may be no text at all, and a terminal may lack a character: neither is a reason to fail.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    """Print the version, and end."""
    if not value or context.resilient_parsing:
        return
    try:
        found = version("tuf-ledger")
    except PackageNotFoundError:
        found = "unknown (it runs from its source and is not installed)"
    click.echo(f"tuf-ledger, version {found}")
    context.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
def main() -> None:
    """An event-sourced ledger of a package index, projected into TUF metadata (PEP 458).

    \b
    tuf-ledger init my-index && cd my-index
    tuf-ledger add dist/*.whl
    tuf-ledger publish
    tuf-ledger verify --served public
    """


if __name__ == "__main__":
    main(prog_name="tuf-ledger")
