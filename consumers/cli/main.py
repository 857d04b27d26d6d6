"""The command `tuf-ledger`."""

import io
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from consumers.cli.groups import LazyGroup, commands_of
from consumers.cli.shared import PERSON_NEEDED, end_with_usage, explain, fail, give_up_output

GROUPS = {
    "Set up": {"init": "init:init", "demo": "demo:demo"},
    "Change what is published": {
        "add": "add:add",
        "import": "import_index:import_index",
        "yank": "change:yank",
        "unyank": "change:unyank",
        "remove": "change:remove",
        "restore": "change:restore",
        "free": "free:free",
        "status": "change:status",
        "append": "append:append",
        "hold": "hold:hold",
        "unhold": "hold:unhold",
    },
    "Run": {
        "run": "run:run",
        "serve": "serve:serve",
        "token": "token:token",
        "publish": "publish:publish",
        "ceremony": "ceremony:ceremony",
        "sweep": "sweep:sweep",
    },
    "Audit": {
        "log": "log:log",
        "diff": "diff:diff",
        "compare": "compare:compare",
        "reconcile": "reconcile:reconcile_command",
        "show": "show:show",
        "blame": "blame:blame",
        "find": "find:find",
        "access": "access:access",
        "watch": "watch:watch",
        "prove": "prove:prove",
        "check-proof": "check_proof:check",
    },
    "Respond": {"incident": "incident:incident"},
    "Check": {"info": "info:info", "rejected": "rejected:rejected", "verify": "verify:verify"},
    "Move and repair": {
        "backup": "backup:backup",
        "copy-log": "copy_log:copy_log",
        "catalog": "catalog:catalog",
        "restore-backup": "restore_backup:restore_backup",
        "rebuild": "rebuild:rebuild",
        "resume": "resume:resume",
    },
}
"""Commands by purpose, in the order of `--help`, each with its module below `consumers.cli.commands` and its function.
"""

COMMANDS = commands_of(GROUPS)


class Main(LazyGroup):
    """The command line as a whole."""

    groups = GROUPS

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command line, even with closed standard streams. Errors end it as `shared.fail` says."""
        prepare_streams()
        arguments = list(args[0]) if args and args[0] is not None else kwargs.get("args") or sys.argv[1:]
        is_alone = kwargs.pop("standalone_mode", True)
        kwargs["standalone_mode"] = False
        if not is_alone:
            return super().main(*args, **kwargs)
        try:
            code = super().main(*args, **kwargs)
        except click.ClickException as error:  # wrong usage; commands report all other errors themselves
            error.show()
            end_with_usage(error, as_json="--json" in arguments)
        except click.Abort:
            sys.exit(130)
        except OSError as error:  # the help text cannot be printed
            give_up_output()
            fail("error:", "environment", explain(error), PERSON_NEEDED)
        sys.exit(code if isinstance(code, int) else 0)


def prepare_streams() -> None:
    """Make sure that all three standard streams are open and that any text can be printed.

    If a stream was closed, the next opened file would take its number, and C libraries would print into that file.
    A filename may be undecodable, and a terminal may lack a character: neither must fail a command.
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
        found = "unknown (run from source, not installed)"
    click.echo(f"tuf-ledger, version {found}")
    context.exit()


@click.group(cls=Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    tuf-ledger serve
    """


if __name__ == "__main__":
    main(prog_name="tuf-ledger")
