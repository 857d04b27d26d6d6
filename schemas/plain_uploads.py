"""A short way to decode what nearly every record is: an upload, written without anything unusual.

`decode_plain_upload` accepts less than `schemas.codec.decode_event`, never more, and reads the same from what it
accepts; whatever it does not accept is for that one to judge. It takes half the time or less: it need not find out what
is wrong with a record, nor what an unusual one may hold. All members are known here, so that nothing can be nested
deeper than they are, and forms are matched together instead of one by one.
"""

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from schemas.events import MAX_EVENT_BYTES, ActorKind
from schemas.fields import (
    Commitment,
    EventTime,
    Filename,
    Identifier,
    Length,
    ProjectName,
    RequiresPython,
    Uri,
    Version,
    is_calendar_time,
)

_Digest = Annotated[str, Meta(min_length=64, max_length=64)]
_Text = Annotated[str, Meta(min_length=1)]


class PlainHashes(Struct, frozen=True, forbid_unknown_fields=True):
    """`schemas.events.Hashes`."""

    blake2b_256: _Digest
    sha256: _Digest


class PlainUploadData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`schemas.events.FileUploadedData`."""

    filename: str
    hashes: PlainHashes
    core_metadata_sha256: _Digest | None = None
    length: Length
    provenance_sha256: _Digest | None = None
    requires_python: _Text | None = None
    version: str
    legacy: bool = False
    commitments: dict[str, str] = {}


class PlainUpload(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`schemas.events.FileUploaded`; these types say which members there are, `_FORM` says how they look."""

    actorcredential: _Text | None = None
    actorid: str
    actorkind: ActorKind
    data: PlainUploadData
    id: str
    source: str
    specversion: Literal["1.0"]
    subject: str
    time: str
    type: Literal["file.uploaded.v1"]


_decode = msgspec.json.Decoder(PlainUpload).decode


def _form(field: Any) -> str:
    """The pattern of one of `schemas.fields`, with its limit of characters, to be matched up to the end of a line."""
    meta: Meta = get_args(field)[1]
    pattern = (meta.pattern or "").removeprefix("^").removesuffix(r"(?!\n)$")
    limit = f"(?!.{{{meta.max_length + 1}}})" if meta.max_length else ""
    return f"{limit}(?:{pattern})"


# No form has a newline in it, so lines that match are fields that match.
_FORM = re.compile(
    "\n".join(
        [
            *map(_form, (Identifier, Uri, ProjectName, EventTime, Identifier, Filename, Version)),
            f"(?:{_form(Identifier)})?",
            f"(?:{_form(RequiresPython)})?",
        ]
    )
)
_COMMITMENTS = re.compile(f"(?:{_form(Identifier)}\n{_form(Commitment)}\n)*")

_QUOTES = 4 * 16 + 2 * 3
"""Quotation marks around names and values of 16 members with a text, and around the names of `data`, `hashes` and
`length`."""


def decode_plain_upload(value: bytes | None) -> PlainUpload | None:
    """Decode a record if it is a `file.uploaded` in a usual form. None says nothing about it."""
    if value is None or len(value) > MAX_EVENT_BYTES or not value.isascii() or b"\\" in value:
        return None
    try:
        upload = _decode(value)
    except msgspec.DecodeError:
        return None
    return upload if _is_whole(value, upload) and _is_well_formed(upload) else None


def _is_whole(value: bytes, upload: PlainUpload) -> bool:
    """Whether a record has no member that was not read, which is one that stands twice.

    Nothing is escaped, so every quotation mark begins or ends a text, and more of them than what was read has is
    another member. (A `null`, or a default that is written out, is one too: such a record is not plain.)
    """
    data = upload.data
    options = (upload.actorcredential, data.core_metadata_sha256, data.provenance_sha256, data.requires_python)
    expected = _QUOTES - 4 * options.count(None)
    if data.legacy:
        expected += 2
    if data.commitments:
        expected += 2 + 4 * len(data.commitments)
    return value.count(b'"') == expected


def _is_well_formed(upload: PlainUpload) -> bool:
    data, hashes = upload.data, upload.data.hashes
    fields = (
        f"{upload.id}\n{upload.source}\n{upload.subject}\n{upload.time}\n{upload.actorid}\n{data.filename}\n"
        f"{data.version}\n{upload.actorcredential or ''}\n{data.requires_python or ''}"
    )
    digests = hashes.sha256 + hashes.blake2b_256 + (data.core_metadata_sha256 or "") + (data.provenance_sha256 or "")
    return (
        _FORM.fullmatch(fields) is not None
        and _is_hexadecimal(digests)
        and is_calendar_time(upload.time)
        and (not data.commitments or _fit(data.commitments))
    )


def _is_hexadecimal(digests: str) -> bool:
    """Whether digests are written as they ought to be: in lower case and without anything between."""
    try:
        return bytes.fromhex(digests).hex() == digests
    except ValueError:
        return False


def _fit(commitments: dict[str, str]) -> bool:
    return _COMMITMENTS.fullmatch("".join(f"{name}\n{digest}\n" for name, digest in commitments.items())) is not None
