r"""The constrained strings and numbers that records are made of.

Every pattern ends in `(?!\n)$`: Python's `$` alone also matches before a final newline.
"""

import re
from datetime import datetime
from typing import Annotated

from msgspec import Meta

PROJECT_PATTERN = r"^[a-z0-9](?:-?[a-z0-9])*(?!\n)$"
# A path segment is printable ASCII without " # % / ? and backslash; it starts with neither dot nor space, ends with no
# space, and has at most 190 bytes, and does not look like a consistent-snapshot name (HASH.name), which could collide
# with one on disk.
_INNER = r"!$&-.0->@-\[\]-~"
_FIRST = r"!$&-\-0->@-\[\]-~"
_SEGMENT = rf"(?![0-9a-f]{{64}}\.)[{_FIRST}](?:[ {_INNER}]{{0,188}}[{_INNER}])?"
FILENAME_PATTERN = rf"^{_SEGMENT}(?!\n)$"
TARGET_PATTERN = rf"^{_SEGMENT}(?:/{_SEGMENT}){{0,7}}(?!\n)$"
NEW_FILENAME_PATTERN = r"^(?![0-9a-f]{64}\.)[A-Za-z0-9_][A-Za-z0-9._+!-]*(?!\n)$"
_DATE_AND_TIME = r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
TIME_PATTERN = rf"^{_DATE_AND_TIME}(?:\.[0-9]{{1,6}})?Z(?!\n)$"
INSTANT_PATTERN = rf"^{_DATE_AND_TIME}Z(?!\n)$"

ProjectName = Annotated[
    str, Meta(pattern=PROJECT_PATTERN, max_length=200, description="Project name, normalised (PEP 503).")
]
Filename = Annotated[str, Meta(pattern=FILENAME_PATTERN, max_length=190, description="Name of a distribution file.")]
NewFilename = Annotated[
    str, Meta(pattern=NEW_FILENAME_PATTERN, max_length=190, description="Name of a file that build tools make today.")
]
Version = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*(?!\n)$", max_length=128, description="Version of a release."),
]
TargetPath = Annotated[
    str, Meta(pattern=TARGET_PATTERN, max_length=512, description="TUF target path of one to eight segments.")
]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$", description="SHA-256, lower-case hexadecimal.")]
Secret = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$", description="32 random bytes, lower-case hexadecimal.")]
Blake2b256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}(?!\n)$", description="BLAKE2b-256, lower-case hexadecimal.")]
Length = Annotated[int, Meta(ge=0, le=2**53, description="Length in bytes.")]
Size = Annotated[int, Meta(ge=0, le=2**53, description="Number of records, counted from the first.")]
Number = Annotated[int, Meta(ge=1, le=2**53, description="Number of a publication; every online role's version.")]
EventTime = Annotated[
    str, Meta(pattern=TIME_PATTERN, description="UTC time, RFC 3339, at most six digits of fraction, ending in Z.")
]
Instant = Annotated[str, Meta(pattern=INSTANT_PATTERN, description="UTC time in whole seconds, ending in Z.")]
Identifier = Annotated[
    str, Meta(pattern=r"^[!-~]+(?!\n)$", max_length=128, description="Opaque identifier, printable ASCII, no space.")
]
Uri = Annotated[str, Meta(pattern=r"^[!-~]+(?!\n)$", max_length=256, description="URI reference (RFC 3986).")]
ORIGIN_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:-]{0,254}(?!\n)$"
Origin = Annotated[
    str,
    Meta(
        pattern=ORIGIN_PATTERN,
        description="Name of the ledger, a URL without its scheme (as the origin of a C2SP checkpoint).",
    ),
]
RequiresPython = Annotated[
    str, Meta(pattern=r"^[ -~]+(?!\n)$", max_length=512, description="Requires-Python specifier (PEP 345).")
]
FreeText = Annotated[str, Meta(description="Free text; cleaned by docs/rules.md section 2, never a reason to reject.")]
Commitment = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}(?!\n)$",
        description="HMAC-SHA-256 with a random 32-byte salt over event id, field name and private value.",
    ),
]


def is_calendar_time(text: str) -> bool:
    """Whether a string that fits `TIME_PATTERN` names a date that exists (30 February does not)."""
    try:
        datetime.fromisoformat(text[:19])
    except ValueError:
        return False
    return True


def is_instant(text: str) -> bool:
    """Whether a text is a UTC time in whole seconds."""
    return re.match(INSTANT_PATTERN, text) is not None and is_calendar_time(text)


def is_event_time(text: str) -> bool:
    """Whether a text is a UTC time that an event can have: with up to six digits of fraction."""
    return re.match(TIME_PATTERN, text) is not None and is_calendar_time(text)


def is_origin(text: str) -> bool:
    """Whether a text can be the name of a ledger."""
    return re.match(ORIGIN_PATTERN, text) is not None
