"""Targets: entries of bins, how they change, and pages, whose bytes we render."""

from hashlib import sha256
from typing import Literal, NamedTuple

import msgspec
import orjson

from projections.metadata.paths import hashed_path


# `gc=False`: there are millions, and texts and numbers make no cycles.
class TargetChange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a batch of events does to a target.

    `set` gives it this entry, or takes it away (None). `hold` and `release` do so for one of several holders: two
    projects can hold one path, even with different claims about it, because a legacy filename does not say where the
    project's name ends. The holder of least `rank` is believed, and the target goes when the last lets go. A file whose
    name does say whose it is has rank 0, so nobody else's claim replaces it.
    """

    path: str
    entry: bytes | None
    act: Literal["set", "hold", "release"] = "set"
    rank: int = 0


def target_entry(path: str, length: int, digest: str) -> bytes:
    """The member of a bin's `targets` for one target (TUF 1.0.34, section 4.5)."""
    return b'%s:{"hashes":{"sha256":"%s"},"length":%d}' % (orjson.dumps(path), digest.encode(), length)


class Page(NamedTuple):
    """A target whose bytes we render: its path, its bytes, and their SHA-256."""

    path: str
    data: bytes
    sha256: str

    @property
    def hashed_path(self) -> str:
        """Where it is served under consistent snapshots."""
        return hashed_path(self.path, self.sha256)


def rendered_page(path: str, data: bytes) -> tuple[Page, TargetChange]:
    """A page that was rendered, and the change of its target."""
    page = Page(path, data, sha256(data).hexdigest())
    return page, TargetChange(path, target_entry(path, len(data), page.sha256))
