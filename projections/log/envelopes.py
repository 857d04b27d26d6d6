"""The envelope of an event: who says what, when, about what. No rule reads it but the type and the subject."""

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.codec import Rejection, decode_event
from schemas.events import BaseEvent
from schemas.plain_uploads import PlainUpload, decode_plain_upload


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The attributes of an event (CloudEvents 1.0, section 3): all but its `data`. `time` is the producer's claim."""

    id: str
    type: str
    source: str
    subject: str
    time: str
    actorkind: str
    actorid: str
    actorcredential: str | None
    incident: str | None


def read_envelopes(values: Sequence[bytes | None]) -> list[Envelope | None]:
    """The envelopes of records, in order; None for a record that is no event."""
    return [_envelope(value) for value in values]


def _envelope(value: bytes | None) -> Envelope | None:
    upload = decode_plain_upload(value)
    if upload is not None:
        return _of(upload, upload.type, None)
    event: Any = decode_event(value)
    if isinstance(event, Rejection):
        return None
    return _of(event, str(event.__struct_config__.tag), event.incident)


def _of(event: PlainUpload | BaseEvent, kind: str, incident: str | None) -> Envelope:
    return Envelope(
        event.id,
        kind,
        event.source,
        event.subject,
        event.time,
        event.actorkind,
        event.actorid,
        event.actorcredential,
        incident,
    )
