"""The command `tuf-ledger`."""

import importlib

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
    "demo": "demo:demo",
}
"""Module below `consumers.commands`, and function, of each command, in the order of `--help`."""


class LazyGroup(click.Group):
    """Imports a command when it is asked for: one command does not wait for the libraries of all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, function = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"consumers.commands.{module}"), function)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="tuf-ledger", prog_name="tuf-ledger")
def main() -> None:
    """An event-sourced ledger of a package index, projected into TUF metadata (PEP 458).

    \b
    tuf-ledger init my-index && cd my-index
    tuf-ledger add dist/*.whl
    tuf-ledger publish
    tuf-ledger verify --served public
    """


if __name__ == "__main__":
    main()
