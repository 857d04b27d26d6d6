"""`tuf-ledger resume`: let the signer go on after a log was rolled back."""

import json
from pathlib import Path

import click

from consumers.cli.logs import configure_logging
from consumers.cli.options import json_option, ledger_options
from consumers.cli.shared import open_context, print_json, runs_async
from consumers.context import Context
from consumers.render.outlets import NoOutlet, served_version
from consumers.service.opening import open_follower
from consumers.sign.resuming import note_resumed
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
    """Resume signing above a publication number after a log rollback.

    Use this command when the log has lost publications that were served. The next publication has a number above N and
    signs every bin anew, because clients may have seen versions that the log has lost. The signer's state is rebuilt
    from the log.

    \b
    Example, if clients may have seen version 4711:
      tuf-ledger resume --above 4711
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    version = served_version(await context.read(context.served(context.config.signer.served), TIMESTAMP))
    if version > above:
        raise NegativeAnswerError(
            f"version {version} is served: give --above {version}, or the highest version that was ever served"
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
                    f"the log ends with publication {number}, so the next one has number {most} at most. Give the "
                    "highest version ever served. If clients have seen a higher version, first raise the floor in root "
                    "above it (`tuf-ledger ceremony --floor`)"
                )
            await _refuse_lost(context, version, end.authority)
        # Numbers up to here may also be served with other bytes, so the next publication has a higher number.
        note_resumed(context.state, max(above, number))
    if as_json:
        print_json({"ok": True, "publication": number, "above": max(above, number)})
        return
    click.echo(f"The log ends with publication {number}; the next one will have a number above {max(above, number)}.")


async def _refuse_lost(context: Context, version: int, authority: Authority) -> None:
    """Make sure that the log has the served offline roles: a snapshot must never list an older version of one.

    Raises:
        NegativeAnswerError: the log has lost a ceremony.
    """
    served = context.served(context.config.signer.served)
    next_root = await context.read(served, metadata_path("root", authority.root.version + 1))
    lost = [f"root {authority.root.version + 1}"] if next_root else []
    snapshot = await context.read(served, metadata_path("snapshot", version))
    for document in (authority.targets, authority.bins):
        shown = _listed(snapshot, document.role)
        if shown > document.version:
            lost.append(f"{document.role} {shown}")
    if lost:
        raise NegativeAnswerError(
            f"the log has lost offline roles that are served: {', '.join(lost)}. First append that ceremony again: "
            "its documents are the served files (docs/operators.md, 'A log was rolled back')"
        )


def _listed(snapshot: bytes | None, role: str) -> int:
    """The version of a role in a served snapshot; 0 if the snapshot is missing or unreadable, or lacks the role."""
    try:
        return int(json.loads(snapshot or b"{}")["signed"]["meta"][f"{role}.json"]["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
