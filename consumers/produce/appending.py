"""Making and appending events. An event is checked against its schema before it is appended."""

import getpass
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from consumers.context import Context
from consumers.state.furthest import open_events
from ledger.client import build_event, digest_of
from ledger.clock import SystemClock, to_instant
from ledger.logs import Log

BATCH = 1000


class NewEvent(NamedTuple):
    """An event to be appended: its record, its type, and its subject in words (`label`) and for machines (`names`)."""

    value: bytes
    type: str
    label: str
    names: Mapping[str, Any]


class Appended(NamedTuple):
    """An event on the log: its index, and the SHA-256 of its record."""

    event: int
    digest: str
    of: NewEvent


def make_event(
    kind: str,
    subject: str,
    data: Mapping[str, Any],
    *,
    now: datetime,
    actor: str,
    actor_kind: str = "administrator",
    credential: str | None = None,
    incident: str | None = None,
    time: str | None = None,
) -> bytes:
    """Make an event of a command, as bytes. `incident` names the incident that it belongs to, `time` when it happened,
    if not now.

    Raises:
        NegativeAnswerError: the event does not fit its schema.
    """
    return build_event(
        kind,
        _text(subject),
        {name: _text(each) for name, each in data.items()},
        source="/tuf-ledger/cli",
        actor=_text(actor),
        actor_kind=actor_kind,
        credential=_text(credential),
        incident=_text(incident),
        time=time or to_instant(now),
    )


def _text(value: Any) -> Any:
    """Turn a command-line argument into text: bytes in another encoding become U+FFFD, as docs/rules.md requires."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value


async def append_in_batches(log: Log, events: Sequence[NewEvent]) -> AsyncIterator[list[Appended]]:
    """Append events in order; yield the appended events batch by batch."""
    for start in range(0, len(events), BATCH):
        batch = events[start : start + BATCH]
        indices = await log.append([event.value for event in batch])
        yield [Appended(index, digest_of(event.value), event) for index, event in zip(indices, batch, strict=True)]


async def append_all(context: Context, events: Sequence[NewEvent]) -> list[Appended]:
    """Open the log of a ledger, and append events in order."""
    appended: list[Appended] = []
    async with open_events(context) as log:
        async for batch in append_in_batches(log, events):
            appended.extend(batch)
    return appended


async def append_hold(context: Context, size: int | None, lock: str | None, reason: str | None) -> tuple[Appended, str]:
    """Append a hold; return it, and its id.

    Args:
        context: the ledger.
        size: the size that it holds; None: the number of records before it.
        lock: the SHA-256 of its secret; None: everybody who may append events can release it.
        reason: the reason, for people.
    """
    value = make_event(
        "signing.held.v1",
        "signing",
        {"size": size, "lock": lock, "reason": reason},
        now=SystemClock().now(),
        actor=actor(),
    )
    name: str = msgspec.json.decode(value)["id"]
    (appended,) = await append_all(context, [NewEvent(value, "signing.held.v1", f"hold {name}", {"hold": name})])
    return appended, name


async def append_release(context: Context, name: str, secret: str | None, reason: str | None) -> Appended:
    """Append the release of a hold."""
    kind, data = "signing.released.v1", {"hold": name, "secret": secret, "reason": reason}
    value = make_event(kind, "signing", data, now=SystemClock().now(), actor=actor())
    (appended,) = await append_all(context, [NewEvent(value, kind, f"release of {name}", {"hold": name})])
    return appended


def actor() -> str:
    """The user who runs this command, as an opaque account id."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as containers have them; KeyError up to Python 3.12
        return f"uid-{os.getuid()}"
    return name if name.isascii() and name.isprintable() and " " not in name else "operator"
