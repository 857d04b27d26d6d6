"""The command `tuf-ledger`."""

import importlib
import io
import os
import sys
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from consumers.cli.shared import PERSON_NEEDED, end_with_usage, explain, fail, give_up_output

GROUPS = {
    "Set up": {"init": "init:init", "demo": "demo:demo"},
    "Change what is published": {
        "add": "add:add",
        "yank": "change:yank",
        "unyank": "change:unyank",
        "remove": "change:remove",
        "restore": "change:restore",
        "status": "change:status",
        "append": "append:append",
    },
    "Run": {"run": "run:run", "publish": "publish:publish", "ceremony": "ceremony:ceremony", "sweep": "sweep:sweep"},
    "Check": {"info": "info:info", "rejected": "rejected:rejected", "verify": "verify:verify"},
    "Repair": {"backup": "backup:backup", "rebuild": "rebuild:rebuild", "resume": "resume:resume"},
}
"""Commands by what they are for, in the order of `--help`: module below `consumers.cli.commands`, and function."""

COMMANDS = {name: place for group in GROUPS.values() for name, place in group.items()}


class LazyGroup(click.Group):
    """Imports a command when it is asked for: one command does not wait for the libraries of all."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, whatever standard input and output are. What goes wrong ends as `shared.fail` says."""
        prepare_streams()
        arguments = list(args[0]) if args and args[0] is not None else kwargs.get("args") or sys.argv[1:]
        is_alone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        if not is_alone:
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **kwargs)
        except click.ClickException as error:  # usage: commands say everything else themselves
            error.show()
            end_with_usage(error, as_json="--json" in arguments)
        except click.Abort:
            sys.exit(130)
        except OSError as error:  # help that cannot be printed
            give_up_output()
            fail("error:", "environment", explain(error), PERSON_NEEDED)
        sys.exit(code if isinstance(code, int) else 0)

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant; who mistypes it is told what there is."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = get_close_matches(name, COMMANDS, n=3, cutoff=0.5)
        advice = f"Did you mean {' or '.join(near)}?" if near else "`tuf-ledger --help` lists all."
        return ctx.fail(f"There is no command {name!r}. {advice}")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands by what they are for, with the first sentence of each, whole."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, self._summary(ctx, name)) for name in names], col_max=12)

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        text = " ".join((command.help or "").split("\n\n")[0].split()) if command is not None else ""
        first, stop, _ = text.partition(". ")
        return first + stop.strip()


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
