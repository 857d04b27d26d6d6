"""Appending a ceremony that was held elsewhere, for `tuf-ledger ceremony --append`."""

from collections.abc import Sequence
from pathlib import Path

import click

from consumers.ceremonies.development import roles_signed
from consumers.ceremonies.signed_files import judge_signed, read_signed
from consumers.cli.answers import print_appended
from consumers.cli.shared import print_json
from consumers.context import Context
from consumers.produce.appending import NewEvent, actor, append_all
from consumers.reading.end import prefix_at_end
from ledger.clock import SystemClock
from projections.log.operations import type_of
from schemas.codec import Rejection, decode_event, encode_event
from schemas.errors import NegativeAnswerError
from schemas.events import RolesSigned


async def append_signed(context: Context, files: Sequence[Path], comment: str | None, *, as_json: bool) -> None:
    """Append a ceremony that was held elsewhere.

    Raises:
        NegativeAnswerError: the rules reject it. Nothing was appended, unless somebody else was faster.
    """
    documents = read_signed(files)
    roles = sorted(documents)
    outcome = judge_signed(await prefix_at_end(context), documents)
    if outcome.verdict == "rejected":
        raise NegativeAnswerError(
            f"{outcome.code}: {outcome.detail or 'the rules reject these documents'}. Nothing was appended"
        )
    if outcome.verdict == "accepted":
        said = comment or "held elsewhere: documents from files"
        value = encode_event(roles_signed(documents, SystemClock().now(), said, actor()))
        if isinstance(refused := decode_event(value), Rejection):
            raise NegativeAnswerError(f"{refused.code}: {refused.detail}. Nothing was appended")
        new = NewEvent(value, type_of(RolesSigned), said, {"documents": roles, "comment": said})
        (appended,) = await append_all(context, [new])
        if judge_signed(await prefix_at_end(context), documents).verdict != "no effect":
            raise NegativeAnswerError("another ceremony came first, and this one was rejected: sign it again")
        if as_json:
            print_appended(appended)
        else:
            click.echo(f"Appended the ceremony ({', '.join(roles)}) as event {appended.event}.")
            click.echo("The next publication covers it: `tuf-ledger publish`, or a running signer.")
    elif not as_json:
        click.echo("These documents are in force already; nothing was appended.")
    if as_json:
        print_json({"ok": True, "roots": int("root" in documents and outcome.verdict == "accepted")})
