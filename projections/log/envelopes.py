"""The envelope of an event: who says what, when, about what. No rule reads it but the type and the subject."""

from collections.abc import Sequence

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
    return [envelope_of(decode_plain_upload(value) or decode_event(value)) for value in values]


def envelope_of(event: PlainUpload | BaseEvent | Rejection) -> Envelope | None:
    """The envelope of a decoded record; None if it is no event."""
    if isinstance(event, Rejection):
        return None
    kind, incident = (
        (event.type, None) if isinstance(event, PlainUpload) else (str(event.__struct_config__.tag), event.incident)
    )
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
