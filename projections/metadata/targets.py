"""Targets: entries of bins, changes of entries, and rendered pages."""

from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
import orjson

from projections.metadata.paths import hashed_path

Standing = Literal["", "lists", "has", "withholds"]
"""How a project holds a path: not at all; with a file that its page lists; with a removed or quarantined one; with
one that is withheld.
"""


# `gc=False`: there are millions, and texts and numbers make no cycles.
class TargetChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The change of a target by a batch of events.

    `set` sets the target's entry, or deletes it (None). `withhold` withholds the bytes of an entry that is not set, and
    `lift` ends that.

    `hold` changes one of several holders from the standing `was` to the standing `now`. Two projects can hold one path,
    even with different entries, because a legacy filename does not say where the project's name ends. Of those that
    list the path, the entry of the holder with the lowest `rank` counts. A file whose name says its project has rank 0,
    so the entry of another project never replaces it.

    `move` brings a holder from another bin, with the standing `now` that it had there.
    """

    path: str
    entry: bytes | None
    act: Literal["set", "withhold", "lift", "hold", "move"] = "set"
    rank: int = 0
    was: Standing = ""
    now: Standing = ""


_DIGEST = b'{"sha256":"'


def target_entry(path: str, length: int, digest: str) -> bytes:
    """The member of a bin's `targets` for one target (TUF 1.0.34, section 4.5)."""
    return b'%s:{"hashes":{"sha256":"%s"},"length":%d}' % (orjson.dumps(path), digest.encode(), length)


def entry_digest(entry: bytes) -> bytes:
    """The SHA-256 in an entry that `target_entry` made."""
    start = entry.rindex(_DIGEST) + len(_DIGEST)
    return bytes.fromhex(entry[start : start + 64].decode())


class Page(NamedTuple):
    """A target with rendered bytes: its path, the bytes, and their SHA-256."""

    path: str
    data: bytes
    sha256: str

    @property
    def hashed_path(self) -> str:
        """Where the page is served under consistent snapshots."""
        return hashed_path(self.path, self.sha256)


def rendered_page(path: str, data: bytes) -> tuple[Page, TargetChange]:
    """Make a page from rendered bytes, and the change of its target."""
    page = Page(path, data, sha256(data).hexdigest())
    return page, TargetChange(path, target_entry(path, len(data), page.sha256))
