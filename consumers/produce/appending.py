"""Appending events, and asking what became of them.

An event is checked against its schema before it is appended. Whether the ledger accepts it is decided by the fold; a
consumer's state on this machine answers, by the number of its record.
"""

import asyncio
import getpass
import os
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from consumers.context import Context
from consumers.state.furthest import STATES
from ledger.clock import to_instant
from ledger.logs import Log
from ledger.state.errors import StoreError
from ledger.state.store import Store
from schemas import canonical
from schemas.codec import Rejection, decode_event
from schemas.errors import NegativeAnswerError, TemporaryError

BATCH = 1000
POLL_SECONDS = 0.1


class NotCoveredError(TemporaryError):
    """An event is on the log, and no publication covers it yet."""


class Appended(NamedTuple):
    """An event on the log: where, and the SHA-256 of its record."""

    record: int
    digest: str
    label: str


class Answer(NamedTuple):
    """What became of an event, and the first publication that covers it."""

    record: int
    digest: str
    label: str
    verdict: str
    code: str
    detail: str
    publication: int


def make_event(kind: str, subject: str, data: dict[str, Any], *, now: datetime, actor: str) -> bytes:
    """An event of this machine's operator, as bytes.

    Raises:
        NegativeAnswerError: it does not fit its schema.
    """
    value: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/tuf-ledger/cli",
        "type": kind,
        "subject": _text(subject),
        "time": to_instant(now),
        "actorkind": "administrator",
        "actorid": actor,
        "data": {name: _text(each) for name, each in data.items() if each is not None},
    }
    encoded = canonical.encode(value)
    event = decode_event(encoded)
    if isinstance(event, Rejection):
        # A regular expression tells nobody what is wrong.
        detail = re.sub(r"^Expected `str` matching regex .* - at `\$\.(?:data\.)?(\w+)`$", r"no valid \1", event.detail)
        raise NegativeAnswerError(f"{kind} for {_text(subject)}: {detail}")
    return encoded


def _text(value: Any) -> Any:
    """A string from the command line as text: bytes in another encoding become U+FFFD, as docs/rules.md has it."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


async def append_in_batches(log: Log, values: Sequence[tuple[bytes, str]]) -> AsyncIterator[list[Appended]]:
    """Append events, each with a label for messages, in order; gives what was appended, batch by batch."""
    for start in range(0, len(values), BATCH):
        batch = values[start : start + BATCH]
        indices = await log.append([value for value, _ in batch])
        yield [
            Appended(index, sha256(value).hexdigest(), label)
            for index, (value, label) in zip(indices, batch, strict=True)
        ]


async def wait_for(context: Context, appended: Iterable[Appended], timeout_seconds: float) -> list[Answer]:
    """Wait until events are covered by a publication, and say what became of each.

    Raises:
        NotCoveredError: they are not covered in time.
    """
    waiting = list(appended)
    if not waiting:
        return []
    deadline = monotonic() + timeout_seconds
    first, last = min(each.record for each in waiting), max(each.record for each in waiting)
    while True:
        answers = await _ask(context, waiting, last)
        if answers is not None:
            return answers
        if monotonic() > deadline:
            raise NotCoveredError(
                f"not covered by a publication after {timeout_seconds:g} s. What was appended is on the log as "
                f"{f'event {first}' if first == last else f'events {first} to {last}'}; is a signer running "
                "(`tuf-ledger run`), or is signing held (`tuf-ledger info`)?"
            )
        await asyncio.sleep(POLL_SECONDS)


async def _ask(context: Context, waiting: Sequence[Appended], last: int) -> list[Answer] | None:
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
            if position is not None and position.size > last:
                return [await _answer(store, each) for each in waiting]
        except StoreError:
            continue  # that consumer does not run here, or is starting
        finally:
            await store.close()
    return None


async def _answer(store: Store, each: Appended) -> Answer:
    judged = await store.judged("events", each.record)
    covering = await store.publication_covering(each.record)
    number = covering.number if covering else 0
    if judged is None:
        return Answer(*each, "accepted", "", "", number)
    return Answer(*each, judged.verdict, judged.code, judged.detail, number)


def actor() -> str:
    """Who runs this command, as an opaque account id."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them; KeyError up to Python 3.12
        return f"uid-{os.getuid()}"
    return name if name.isascii() and name.isprintable() and " " not in name else "operator"
