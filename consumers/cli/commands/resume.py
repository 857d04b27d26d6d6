"""`tuf-ledger resume`: go on after a log was rolled back."""

import json
from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options
from consumers.cli.shared import open_context, print_json, runs_async
from consumers.render.outlets import NoOutlet, served_version
from consumers.service.opening import open_follower
from consumers.sign.resuming import note_resumed
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.publications import MAX_GAP
from projections.roles.authority import Authority
from schemas.errors import NegativeAnswerError


@click.command()
@click.option(
    "--above", type=click.IntRange(min=1), required=True, metavar="N", help="The highest version ever served."
)
@ledger_options
@json_option
@runs_async
async def resume(*, above: int, folder: Path, log: str | None, as_json: bool) -> None:
    """Let the signer go on above a publication number, after the log lost publications that were served.

    The next publication has a number above N, and signs every bin anew, because clients may have seen any of them in a
    version that the log no longer has. The signer's state is rebuilt from the log.

    \b
    Example, if clients may have seen version 4711:
      tuf-ledger resume --above 4711
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    served = context.served(context.config.signer.served)
    version = served_version(served.read(TIMESTAMP))
    if version > above:
        raise NegativeAnswerError(
            f"version {version} is served: resume above that, or above the highest that was ever served"
        )
    store = context.store("signer")
    await store.open()
    try:
        await store.reset()
    finally:
        await store.close()
    async with open_follower(context, "signer", NoOutlet()) as (follower, _, _, _):
        await follower.skip()
        end = await follower.tail.read_on()
        number = follower.head.number
        if end.authority is not None:
            most = max(number, end.authority.settings.floor) + MAX_GAP
            if above >= most:
                raise NegativeAnswerError(
                    f"the log ends with publication {number}, and the next one has number {most} at most: give the "
                    "highest version ever served. If clients did see a higher one, lift the floor in root above it "
                    "first (`tuf-ledger ceremony --floor`)"
                )
            _refuse_lost(served, version, end.authority)
        # What the log has up to here may be served in another form too: the next publication comes after all of it.
        note_resumed(context.state, max(above, number))
    if as_json:
        print_json({"ok": True, "publication": number, "above": max(above, number)})
        return
    click.echo(f"The log ends with publication {number}; the next one will have a number above {max(above, number)}.")


def _refuse_lost(served: ServedFiles, version: int, authority: Authority) -> None:
    """Make sure that the log has the offline roles that are served: a snapshot never goes back in their versions.

    Raises:
        NegativeAnswerError: it lost a ceremony.
    """
    lost = (
        [f"root {authority.root.version + 1}"] if served.read(metadata_path("root", authority.root.version + 1)) else []
    )
    snapshot = served.read(metadata_path("snapshot", version))
    for document in (authority.targets, authority.bins):
        shown = _listed(snapshot, document.role)
        if shown > document.version:
            lost.append(f"{document.role} {shown}")
    if lost:
        raise NegativeAnswerError(
            f"the log has lost {', '.join(lost)}, which is served. Append the ceremony that signed it again first: its "
            "documents are the served files (docs/operators.md, 'A log was rolled back')"
        )


def _listed(snapshot: bytes | None, role: str) -> int:
    """The version of a role in a served snapshot; 0 if there is none, or nothing readable."""
    try:
        return int(json.loads(snapshot or b"{}")["signed"]["meta"][f"{role}.json"]["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
