"""Bytes to records and back.

`decode_event` and `decode_publication_record` never raise for any input: what is not a record is a `Rejection` with
a code of docs/rules.md. They are pure functions of the bytes. Two parsers look at every event (orjson or the
standard library for members that stand twice, msgspec for the types), and both must accept it.
"""

import json
import re
from typing import Any, NamedTuple

import msgspec
import orjson

from schemas import canonical
from schemas.events import (
    MAX_EVENT_BYTES,
    BaseEvent,
    Event,
    LedgerCreated,
    RolesSigned,
    SigningHeld,
    SigningReleased,
)
from schemas.fields import is_calendar_time
from schemas.publications import MAX_PUBLICATION_BYTES, Claim, Record

MAX_EVENT_DEPTH = 32
MAX_PUBLICATION_DEPTH = 8
MAX_NUMBER_CHARACTERS = 300

EVENT_TYPES: dict[str, type[BaseEvent]] = {
    str(event_class.__struct_config__.tag): event_class for event_class in Event.__args__
}
"""Every event class by its `type`."""

AUTHORITY_TYPES = frozenset(
    str(kind.__struct_config__.tag) for kind in (LedgerCreated, RolesSigned, SigningHeld, SigningReleased)
)
"""The types of events that the prefix judges: they count as soon as they are covered, whatever is held."""


class Rejection(NamedTuple):
    """Why a record has no effect: a code of docs/rules.md, and a sentence for people (not part of the rules)."""

    code: str
    detail: str = ""


class DuplicateMemberError(ValueError):
    """An object has the same member twice."""


# In a document any number may stand, one beyond the range of floating point too: which are refused is not decided here.
_event_decoder = msgspec.json.Decoder(Event, float_hook=float)
_event_encoder = msgspec.json.Encoder()
_record_decoder = msgspec.json.Decoder(Record)

_SURROGATE_ESCAPES = re.compile(
    # Alternatives in this order: an escaped backslash, which is no escape of what follows; a proper pair; a lone one.
    rb"\\\\|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_ENCODED_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
# Possessive, and content with a string that does not end: otherwise garbage of backslashes costs quadratic time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def encode_event(event: BaseEvent) -> bytes:
    """Encode an event as it is appended: compact JSON, defaults left out."""
    return _event_encoder.encode(event)


def decode_event(value: bytes | None) -> Event | Rejection:
    """Decode a record of the `events` log; the checks of docs/rules.md, section 1, in their order."""
    if value is None:
        return Rejection("null", "the record has no value")
    if len(value) > MAX_EVENT_BYTES:
        return Rejection("oversize", f"{len(value):,} bytes; at most {MAX_EVENT_BYTES:,} are allowed")
    if _is_deeper(value, MAX_EVENT_DEPTH):
        return Rejection("too-deep", f"nested deeper than {MAX_EVENT_DEPTH} levels")
    try:
        value = value if _is_plain(value) else _repair(value)
    except DuplicateMemberError as error:
        return Rejection("duplicate-member", f"member {error} stands twice in one object")
    except ValueError as error:
        return Rejection("not-json", str(error))
    try:
        event: Event = _event_decoder.decode(value)
    except msgspec.ValidationError as error:
        return _explain(value, error)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Rejection("not-json", str(error))
    if not is_calendar_time(event.time):
        return Rejection("invalid", "there is no such date - at `$.time`")
    return event


def decode_publication_record(value: bytes | None) -> Record | Rejection:
    """Decode a record of the `publications` log; docs/rules.md, section 7."""
    if value is None:
        return Rejection("null", "the record has no value")
    if len(value) > MAX_PUBLICATION_BYTES:
        return Rejection("oversize", f"{len(value):,} bytes; at most {MAX_PUBLICATION_BYTES:,} are allowed")
    try:
        record = _record_decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _explain_record(value, error)
    if isinstance(record.signed, Claim) and not is_calendar_time(record.signed.time):
        return Rejection("invalid", "there is no such date - at `$.signed.time`")
    if encode_record(record) != value:
        return _explain_record(value, None)
    return record


def encode_record(record: Record) -> bytes:
    """Encode a record of the `publications` log: canonical JSON."""
    return canonical.encode(msgspec.to_builtins(record))


def encode_signed(signed: Claim | msgspec.Struct) -> bytes:
    """Encode the `signed` part of such a record: what a claim's seal covers, what `x-publication` is the digest of."""
    return canonical.encode(msgspec.to_builtins(signed))


def _is_plain(value: bytes) -> bool:
    """Whether the bytes are what orjson itself would write; if so, no member stands twice.

    That is true of what every usual encoder produces, and ten times faster to find out than by `_repair`.
    """
    try:
        return orjson.dumps(orjson.loads(value)) == value
    except orjson.JSONDecodeError:
        return False


def _repair(value: bytes) -> bytes:
    """Replace lone surrogates (docs/rules.md, section 2) and make sure that no member stands twice.

    Raises:
        DuplicateMemberError: an object has the same member twice.
        ValueError: the value is not JSON in UTF-8.
    """
    value = replace_surrogates(value)
    _parse_strictly(value)
    return value


def replace_surrogates(value: bytes) -> bytes:
    """Replace lone surrogates in JSON (docs/rules.md, section 2). The length stays."""
    value = _ENCODED_SURROGATE.sub("\ufffd".encode(), value)
    return _SURROGATE_ESCAPES.sub(lambda match: rb"\ufffd" if match[2] else match[0], value)


def _parse_strictly(value: bytes) -> Any:
    """Parse with the standard library, in which numbers stay text: their digits would be limited by a setting.

    Raises:
        DuplicateMemberError: an object has the same member twice.
        ValueError: the value is not JSON in UTF-8.
    """
    return json.loads(
        value.decode("utf-8"),
        object_pairs_hook=_distinct,
        parse_int=_number,
        parse_float=_number,
        parse_constant=_no_constant,
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, member in pairs:
        if name in members:
            raise DuplicateMemberError(json.dumps(name[:100]))
        members[name] = member
    return members


def _number(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number of {len(text)} characters")
    return text


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _is_deeper(value: bytes, limit: int) -> bool:
    """Whether objects and arrays nest deeper than a limit. Parsers differ in what they stand; we do not wait for it.

    Garbage can be nothing but brackets, so they are not looked at one by one: each round takes the innermost away.
    """
    if value.count(b"[") + value.count(b"{") <= limit:
        return False
    brackets = _STRING.sub(b"", value).translate(_TO_SQUARE, _ALL_BUT_BRACKETS)
    brackets += b"]" * brackets.count(b"[")  # what is left open is closed, so that every level is taken away
    too_many = b"[" * (limit + 1)
    for _ in range(limit):
        if too_many in brackets:
            return True
        brackets = brackets.replace(b"[]", b"")
    return b"[" in brackets


def _explain(value: bytes, error: msgspec.ValidationError) -> Rejection:
    """Tell an unknown type from a known one that does not fit its schema."""
    tree = _parse_strictly(value)
    kind = tree.get("type") if isinstance(tree, dict) else None
    if not isinstance(kind, str) or kind not in EVENT_TYPES:
        return Rejection("unknown-type", f"type {json.dumps(kind)[:100]} is not known here")
    return Rejection("invalid", str(error))


def _explain_record(value: bytes, error: Exception | None) -> Rejection:
    """Why a record of `publications` is none; in the order of docs/rules.md, whatever the decoder met first.

    A record that is one is never deep, so only the others pay for being looked at.
    """
    if _is_deeper(value, MAX_PUBLICATION_DEPTH):
        return Rejection("too-deep", f"nested deeper than {MAX_PUBLICATION_DEPTH} levels")
    try:
        _parse_strictly(value)
    except DuplicateMemberError:
        pass  # not canonical, or not fit for its types
    except ValueError as problem:
        return Rejection("not-json", str(problem))
    if error is None:
        return Rejection("not-canonical", "the record is not in canonical form")
    return Rejection("invalid", str(error))
