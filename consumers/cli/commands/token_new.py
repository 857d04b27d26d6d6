"""`tuf-ledger token new`: a token, and its line for the file of producers."""

import json
import re

import click

from consumers.cli.options import json_option
from consumers.cli.shared import Usage, print_json, say, translated
from consumers.gateway.producers import new_token, types_of


@click.command()
@click.option("--producer", required=True, metavar="NAME", help="Who gets it, as the log of the gateway names him.")
@click.option(
    "--type",
    "types",
    multiple=True,
    default=["*"],
    metavar="TYPE",
    help="What may be appended, such as file.uploaded.v1 or release.*. Repeat it for several.  "
    "[default: *, all but holds]",
)
@click.option(
    "--project",
    "projects",
    multiple=True,
    default=["*"],
    metavar="NAME",
    help="About which projects, such as six or my-team-*. Repeat it for several.  [default: *, all]",
)
@click.option(
    "--source",
    metavar="URI",
    help="The `source` that all its events must have: so the log itself says which came by this token.  [default: any]",
)
@json_option
def new(*, producer: str, types: tuple[str, ...], projects: tuple[str, ...], source: str | None, as_json: bool) -> None:
    """Make a token for a producer.

    The token is shown once, on standard output, and kept nowhere. The file of producers has its SHA-256, and what may
    be appended with it: add the line that is printed. A gateway that runs reads the file again by itself.

    A * stands for any text. Types of holds (signing.held.v1, signing.released.v1) count only where they are named in
    full. Roles are never appended over HTTP.

    \b
    Example:
      tuf-ledger token new --producer warehouse --source /warehouse
      tuf-ledger token new --producer ci --type file.uploaded.v1 --project 'my-team-*' --json
    """
    with translated():
        if re.fullmatch(r"[!-~]{1,128}", producer) is None:
            raise Usage(f"--producer {producer!r}: 1 to 128 printable characters of ASCII without a space are needed")
        for each in types:
            if not types_of(each):
                raise Usage(f"--type {each!r}: it fits no type of event that is appended over HTTP (docs/rules.md)")
        for each in projects:
            if re.fullmatch(r"[a-z0-9*-]{1,200}", each) is None:
                raise Usage(f"--project {each!r}: write a project's normalised name, with * for any text")
        if source is not None and re.fullmatch(r"[!-~]{1,256}", source) is None:
            raise Usage(f"--source {source!r}: 1 to 256 printable characters of ASCII without a space are needed")
        made, line = new_token(producer, types, projects, source)
        if as_json:
            print_json({"ok": True, "producer": producer, "token": made, "line": json.loads(line)})
            return
        click.echo(made)
        say("note:", "this is the token, and it is shown only now. Add this line to the file of [gateway] producers:")
        click.echo(line, err=True)
