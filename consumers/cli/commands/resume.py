"""`tuf-ledger resume`: let the signer go on after a log was rolled back."""

import json
from contextlib import aclosing
from hashlib import sha256

import click

from consumers.cli.options import on_ledger
from consumers.cli.shared import print_json, progress
from consumers.context import Context
from consumers.follow.examining import Examiner, coming_publications
from consumers.follow.replayed import replayed
from consumers.render.outlets import NoOutlet, served_version
from consumers.service.opening import open_follower
from consumers.sign.resuming import lost_up_to, note_resumed, resumed_above
from consumers.state.furthest import is_remembered
from ledger.state.file import StateFile
from ledger.storage import ServedFiles
from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.publications import MAX_GAP
from projections.roles.authority import Authority
from schemas.errors import NegativeAnswerError


@click.command()
@click.option(
    "--above", type=click.IntRange(min=1), required=True, metavar="N", help="The highest version ever served."
)
@click.option("--forged", is_flag=True, help="Go on above a served version although it was signed outside the log.")
@on_ledger
async def resume(*, above: int, forged: bool, context: Context, as_json: bool) -> None:
    """Resume signing above a publication number after a log rollback.

    Use this command when the log has lost publications that were served. The next publication has a number above N and
    signs every bin anew, because clients may have seen versions that the log has lost. The signer's state is rebuilt
    from the log.

    A served version that was signed outside the log is refused: replace its key first. Then --forged leads clients
    above it.

    \b
    Example, if clients may have seen version 4711:
      tuf-ledger resume --above 4711
    """
    served = context.served(context.config.signer.served)
    number = await _check(context, served, above, forged=forged)
    store = context.store("signer")
    await store.open()
    try:
        await store.run(StateFile.reset)
    finally:
        await store.close()
    async with open_follower(context, "signer", NoOutlet()) as (follower, _, _, _):
        await follower.skip()
        # Numbers up to here may also be served with other bytes, so the next publication has a higher number.
        note_resumed(context.state, max(above, number))
    if as_json:
        print_json({"ok": True, "publication": number, "above": max(above, number)})
        return
    click.echo(f"The log ends with publication {number}; the next one will have a number above {max(above, number)}.")


async def _check(context: Context, served: ServedFiles, above: int, *, forged: bool) -> int:
    """Check by the log, before any state is deleted, that signing may go on above a number.

    Returns:
        The number of the last publication on the log.

    Raises:
        NegativeAnswerError: the number is too low or too high, a forgery is served, or the log has lost a ceremony.
    """
    timestamp = await context.read(served, TIMESTAMP)
    version, number = served_version(timestamp), 0
    with progress("Reading") as advance:
        async with replayed(context, report=advance) as (follower, _, _):
            end = await follower.tail.read_on()
            async with aclosing(coming_publications(follower)) as coming:
                async for found in coming:
                    number = found.claim.number
            examiner = Examiner(follower)
            finding = await examiner.examine_timestamp(timestamp)
            if finding is not None and finding.kind in {"forged", "offline"} and not forged:
                digest = sha256(timestamp or b"").hexdigest()
                is_understood = version <= resumed_above(context.state)
                if not is_understood and not await is_remembered(context, version, digest):
                    raise NegativeAnswerError(
                        f"version {version} is served. It is {finding.detail}. To go on above a forgery hides a theft: "
                        f"{await examiner.advice(finding)}. Say --forged when that is done, or if you know that the "
                        "log has lost this version",
                        finding=finding.kind,
                        keyids=list(finding.keyids),
                    )
    if version > above:
        raise NegativeAnswerError(
            f"version {version} is served: give --above {version}, or the highest version that was ever served"
        )
    if (lost := lost_up_to(context.state)) > above:
        raise NegativeAnswerError(
            f"clients have seen publication {lost}: give --above {lost}, or the highest version that was ever served"
        )
    if end.authority is not None:
        most = max(number, end.authority.settings.floor) + MAX_GAP
        if above >= most:
            raise NegativeAnswerError(
                f"the log ends with publication {number}, so the next one has number {most} at most. Give the "
                "highest version ever served. If clients have seen a higher version, first raise the floor in root "
                "above it (`tuf-ledger ceremony --floor`)"
            )
        await _refuse_lost(context, served, version, end.authority)
    return number


async def _refuse_lost(context: Context, served: ServedFiles, version: int, authority: Authority) -> None:
    """Make sure that the log has the served offline roles: a snapshot must never list an older version of one.

    Raises:
        NegativeAnswerError: the log has lost a ceremony.
    """
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
            "its documents are the served files, for `tuf-ledger ceremony --append` (docs/operators.md, 'A log was "
            "rolled back')"
        )


def _listed(snapshot: bytes | None, role: str) -> int:
    """The version of a role in a served snapshot; 0 if the snapshot is missing or unreadable, or lacks the role."""
    try:
        return int(json.loads(snapshot or b"{}")["signed"]["meta"][f"{role}.json"]["version"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0
