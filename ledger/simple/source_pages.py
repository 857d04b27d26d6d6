"""What the pages of an index say: plain values, the same for PEP 691 and PEP 503."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from schemas.errors import LedgerError

MAX_FILENAME_CHARACTERS = 1_000
MAX_NAME_CHARACTERS = 1_000


ENDINGS = (
    *(".whl", ".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar"),
    *(".egg", ".exe", ".msi", ".rpm", ".deb", ".dmg"),
)
"""How names of distribution files end, those of older forms too."""

_BY_BLAKE2B = re.compile(r"/packages/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})/[^/]+\Z")


class SourcePageError(LedgerError):
    """A page of another index cannot be read."""


class EntryError(Exception):
    """An entry of a page is none. It never leaves this package: a page names such entries (`UnreadableFile`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file on the page of a project.

    `url` is absolute, without its fragment. `hashes` are in lower-case hexadecimal, by the name of the algorithm.
    `size` is in bytes; PEP 503 has none. `uploaded_at` and `requires_python` are as they are written. `yanked` is the
    reason; empty: without one; None: not yanked (PEP 592). `core_metadata_sha256` may be unknown where
    `has_core_metadata` (PEP 658, PEP 714). `provenance_url` is absolute (PEP 740).
    """

    filename: str
    url: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    uploaded_at: str | None = None
    requires_python: str | None = None
    yanked: str | None = None
    has_core_metadata: bool = False
    core_metadata_sha256: str | None = None
    provenance_url: str | None = None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 that the page says."""
        return self.hashes.get("sha256")

    @property
    def blake2b_256(self) -> str | None:
        """The BLAKE2b-256 that the page says, or the address: `/packages/`, 2, 2 and 60 digits, the name."""
        found = _BY_BLAKE2B.search(urlsplit(self.url).path)
        return self.hashes.get("blake2b_256") or (None if found is None else "".join(found.groups()))


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """An entry of a page that is none: its name, as far as it has one, and why."""

    filename: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePage:
    """The page of a project. `status` is that of PEP 792. `versions` is None where the page does not list them.
    `knows_flags` is false for a folder of files, which says nothing of statuses and yanks. `answered_by` is the host
    that answered in the place of the source, which sent on to it; empty if none did.
    """

    name: str
    status: str = "active"
    status_reason: str | None = None
    versions: tuple[str, ...] | None = None
    knows_flags: bool = True
    files: tuple[SourceFile, ...] = ()
    unreadable: tuple[UnreadableFile, ...] = ()
    answered_by: str = ""


def without_twins(files: list[SourceFile], unreadable: list[UnreadableFile]) -> tuple[SourceFile, ...]:
    """The files of a page, each name once. A second entry of a name that says something else is unreadable."""
    found: dict[str, SourceFile] = {}
    unreadable.extend(
        UnreadableFile(each.filename, "is listed twice, and the entries differ: the first one counts")
        for each in files
        if found.setdefault(each.filename, each) != each
    )
    return tuple(found.values())
