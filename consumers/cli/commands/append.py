"""`tuf-ledger append`: events from a file."""

import sys
from collections.abc import Iterator
from itertools import count
from typing import BinaryIO
from uuid import uuid4

import click
from msgspec.structs import replace

from consumers.cli.answers import end_list, print_appended, wait_and_print
from consumers.cli.options import on_ledger, wait_options
from consumers.cli.shared import plural, progress, say
from consumers.context import Context
from consumers.produce.appending import BATCH, Appended, NewEvent, append_in_batches
from consumers.produce.storing import is_stored
from consumers.state.furthest import open_events
from ledger.logs import Log
from ledger.storage import Storage
from projections.log.operations import type_of
from schemas.codec import Rejection, decode_event, encode_event
from schemas.errors import NegativeAnswerError
from schemas.events import MAX_EVENT_BYTES, BaseEvent, FileUploaded, RolesSigned

MAX_LINE_BYTES = 2 * MAX_EVENT_BYTES
"""The longest line, with the space around its event."""

MOST_ABSENT = 20
"""The most uploads without bytes that are named."""

_SPACE = b" \t\r\n"
_TOO_LONG = Rejection("oversize", f"the line has over {MAX_LINE_BYTES:,} bytes")


@click.command()
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--keep-going", is_flag=True, help="Skip bad lines instead of stopping at the first one.")
@wait_options
@on_ledger
async def append(
    *,
    file: BinaryIO,
    context: Context,
    keep_going: bool,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Append events from FILE or standard input, one JSON object a line.

    Each line is checked against its schema (`schemas/json/`) and appended unchanged, but that a `roles.signed` event
    gets a new, random id. The command stops at the first bad line: earlier lines are appended, later lines are not.
    Appending a line again does no harm. An upload whose bytes are not in the public folder is named.

    \b
    Example:
      tuf-ledger append events.ndjson --wait
    """
    async with open_events(context) as events:
        has_files = not context.is_elsewhere and context.public.exists()
        absent = _Absent(context.storage("append") if has_files else None)
        appended, bad = await _append(events, file, absent, keep_going=keep_going)
    absent.tell()
    rejected = 0
    if wait and appended:
        rejected = await wait_and_print(context, appended, wait_seconds, as_json=as_json)
    elif as_json:
        for each in appended:
            print_appended(each)
    else:
        click.echo(f"Appended {plural(len(appended), 'event')}.")
    if bad:
        went_on = "skipped" if keep_going else "nothing from that line on was appended; --keep-going skips bad lines"
        raise NegativeAnswerError(
            f"{plural(bad, 'bad line')}: {went_on}", events=len(appended), rejected=rejected, bad=bad
        )
    if wait or as_json:
        end_list(len(appended), rejected, as_json=as_json)


class _Absent:
    """The uploads whose bytes are not in the public folder. Without `storage`, another machine has it."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage
        self._first: list[str] = []
        self._count = 0

    def look(self, event: BaseEvent) -> None:
        """Look for the bytes of an event."""
        if self._storage is None or not isinstance(event, FileUploaded) or is_stored(self._storage, event):
            return
        self._count += 1
        if len(self._first) < MOST_ABSENT:
            self._first.append(event.data.filename)

    def tell(self) -> None:
        """Say which they are."""
        for filename in self._first:
            say("note:", f"the bytes of {filename} are not in the public folder")
        if self._count:
            say(
                "note:",
                f"{plural(self._count, 'upload')} without bytes: installers cannot download what is not there. "
                "`tuf-ledger add FILE` stores a file that is known, too",
            )


async def _append(log: Log, file: BinaryIO, absent: _Absent, *, keep_going: bool) -> tuple[list[Appended], int]:
    """Append the lines of a file; return the appended events and the number of bad lines."""
    appended: list[Appended] = []
    good: list[NewEvent] = []
    bad = 0
    with progress("Appending") as advance:
        for number, line in _lines(file):
            event = decode_event(line) if line else _TOO_LONG
            if isinstance(event, Rejection):
                bad += 1
                say(f"line {number}:", f"{event.code}: {event.detail}")
                if not keep_going:
                    break
                continue
            absent.look(event)
            good.append(NewEvent(_to_append(line, event), type_of(type(event)), f"line {number}", {"line": number}))
            if len(good) >= BATCH:
                async for batch in append_in_batches(log, good):
                    appended.extend(batch)
                good = []
                advance(len(appended), None)
        async for batch in append_in_batches(log, good):
            appended.extend(batch)
    return appended, bad


def _to_append(line: bytes, event: BaseEvent) -> bytes:
    """The line; that of a ceremony with a random id.

    Nobody must know the bytes of a new root's event beforehand: a thief of a key could claim what it will cover.
    """
    return encode_event(replace(event, id=str(uuid4()))) if isinstance(event, RolesSigned) else line


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, counted from 1, without empty lines; `b""` for one of over `MAX_LINE_BYTES`.

    Such a line is passed over in pieces: whoever writes the file may not decide how much memory is taken.
    """
    try:
        for number in count(1):
            line = piece = file.readline(MAX_LINE_BYTES)
            if not line:
                return
            text = line.strip(_SPACE)
            is_whole = True
            while len(piece) == MAX_LINE_BYTES and not piece.endswith(b"\n"):
                piece = file.readline(MAX_LINE_BYTES)
                is_whole = is_whole and not piece
                text = text or piece.strip(_SPACE)
            if text:
                yield number, text if is_whole else b""
    except OSError as error:
        raise NegativeAnswerError(
            f"{getattr(file, 'name', sys.stdin.name)} cannot be read: {error.strerror}"
        ) from error
