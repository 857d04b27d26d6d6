"""One distribution, one name: which filenames installers would take for each other.

A source distribution is known by its release, a wheel by its release, its build tag and its tags. Two files of one
distribution would be two contents for the same thing, and which one is installed would depend on the installer. What
is taken is stored beside a project's header, in a row for the source distributions of a release, and one for the
wheels of a release and build tag. A row is read for uploads and freed files alone. It remembers the bytes that were
freed: they never come back.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

import msgspec

from projections.index.chunks import Aggregate, Change
from projections.index.names import canonical_version
from projections.log.operations import FileAct, Operation, Upload, type_of
from projections.log.reading import Routed
from schemas import events

_SOURCE_ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar")
_SEPARATORS = frozenset("-_.")
_FREED = type_of(events.FileFreed)
_BUILD = re.compile(r"([0-9]+)(.*)")
INDEXED_FROM = 16
"""Number of wheels in a row from which they are indexed: nearly all rows have fewer, and comparing these is faster."""


class DistributionKey(NamedTuple):
    """What a filename takes: a row of its project, and in it the tags of a wheel (empty for all others)."""

    row: str
    tags: str = ""


def distribution_key(project: str, filename: str) -> DistributionKey:
    """What a file of a project takes, by its name alone. A name of no form that installers choose from takes itself."""
    rest = _after_project(project, filename)
    found = None if rest is None else _wheel_key(rest) if rest.endswith(".whl") else _source_key(rest)
    return found or DistributionKey(f"file:{filename}")


def _source_key(rest: str) -> DistributionKey | None:
    ending = next((each for each in _SOURCE_ENDINGS if rest.endswith(each)), None)
    release = None if ending is None else canonical_version(rest.removesuffix(ending))
    return None if release is None else DistributionKey(f"source:{release}")


def _after_project(project: str, filename: str) -> str | None:
    """What follows the project and one separator in a filename; None if the name does not begin so."""
    usual = project.replace("-", "_")
    if filename.startswith(usual):
        at = len(usual)
        return filename[at + 1 :] if filename[at : at + 1] in _SEPARATORS else None
    lowered, at = filename.lower(), 0
    for number, part in enumerate(project.split("-")):
        start = at
        while number and at < len(lowered) and lowered[at] in _SEPARATORS:
            at += 1
        if (number and at == start) or not lowered.startswith(part, at):
            return None
        at += len(part)
    return filename[at + 1 :] if filename[at : at + 1] in _SEPARATORS else None


def _wheel_key(rest: str) -> DistributionKey | None:
    parts = rest.removesuffix(".whl").split("-")
    if len(parts) not in {4, 5}:
        return None
    release = canonical_version(parts[0])
    build = _BUILD.fullmatch(parts[1]) if len(parts) == 5 else None
    if release is None or (len(parts) == 5 and build is None):
        return None
    tag = "" if build is None else (build[1].lstrip("0") or "0") + build[2]
    return DistributionKey(f"wheel:{release}:{tag}", _sorted_tags("-".join(parts[-3:])))


@lru_cache(maxsize=1024)  # nearly all wheels share a few tags
def _sorted_tags(tags: str) -> str:
    """The tags of a wheel in one form: in lower case, each set sorted."""
    return "-".join(".".join(sorted(set(part.split(".")))) for part in tags.lower().split("-"))


def row_key(project: str, row: str) -> str:
    """The key under which a row of a project is stored."""
    return f"taken:{project}:{row}"


def rows_read_by(items: Iterable[Routed]) -> list[str]:
    """The keys of the rows that folding these events reads, sorted."""
    return sorted({key for item in items if (key := _row_read_by(item.key.partition(":")[2], item.operation))})


def _row_read_by(project: str, operation: Operation) -> str | None:
    if isinstance(operation, Upload) or (isinstance(operation, FileAct) and operation.type == _FREED):
        return row_key(project, distribution_key(project, operation.filename).row)
    return None


class _Row(msgspec.Struct, array_like=True):
    """What is taken in one row: how many files have these tags; and the freed files, by SHA-256 the tags of each."""

    holders: dict[str, int] = {}
    freed: dict[str, list[str]] = {}


_decode = msgspec.msgpack.Decoder(_Row).decode
_encode = msgspec.msgpack.Encoder().encode


class TakenRow:
    """A row while a batch of a project's events is folded."""

    def __init__(self, stored: bytes) -> None:
        self._row = _decode(stored) if stored else _Row()
        self._stored = stored
        self._index: _WheelIndex | None = None

    def is_taken(self, tags: str) -> bool:
        """Whether a file that installers would take for one with these tags is known."""
        holders = self._row.holders
        if not tags:
            return bool(holders)
        if len(holders) < INDEXED_FROM:
            return any(_meet(tags, each) for each in holders)
        if self._index is None:
            self._index = _WheelIndex(holders)
        return self._index.meets(tags)

    def take(self, tags: str) -> None:
        """Count a file with these tags."""
        count = self._row.holders.get(tags, 0)
        self._row.holders[tags] = count + 1
        if count == 0 and self._index is not None:
            self._index.add(tags)

    def free(self, tags: str, digest: str) -> None:
        """Count a file less, and refuse its bytes from now on."""
        self._row.freed.setdefault(digest, []).append(tags)
        self._row.holders[tags] -= 1
        if not self._row.holders[tags]:
            del self._row.holders[tags]
            if self._index is not None:
                self._index.remove(tags)

    def was_freed(self, tags: str, digest: str) -> bool:
        """Whether a file with these bytes that installers would take for one with these tags was freed."""
        return any(_meet(tags, each) for each in self._row.freed.get(digest, ()))

    def encode(self) -> bytes | None:
        """The row as it is stored; None if it has not changed."""
        holders, freed = self._row.holders, self._row.freed
        encoded = _encode(_Row(dict(sorted(holders.items())), dict(sorted(freed.items()))))
        return None if encoded == self._stored or not (holders or freed) else encoded


class _WheelIndex:
    """The wheels of a row by each component of their tags: a number with a bit for each wheel, so that many uploads to
    one release take no time that grows with their square.
    """

    def __init__(self, wheels: Iterable[str]) -> None:
        self._bits: dict[str, int] = {}
        self._next = 1
        self._left = 0
        self._having: tuple[dict[str, int], ...] = ({}, {}, {})
        for tags in wheels:
            self.add(tags)

    def add(self, tags: str) -> None:
        """Add a wheel."""
        for part, having in zip(tags.split("-"), self._having, strict=True):
            for component in part.split("."):
                having[component] = having.get(component, 0) | self._next
        self._bits[tags] = self._next
        self._left |= self._next
        self._next <<= 1

    def remove(self, tags: str) -> None:
        """Remove a wheel."""
        self._left &= ~self._bits.pop(tags)

    def meets(self, tags: str) -> bool:
        """Whether each set of these tags meets that of one wheel."""
        found = self._left
        for part, having in zip(tags.split("-"), self._having, strict=True):
            some = 0
            for component in part.split("."):
                some |= having.get(component, 0)
            found &= some
        return found != 0


def _meet(tags: str, others: str) -> bool:
    """Whether installers take wheels with these tags for each other."""
    pairs = zip(tags.split("-"), others.split("-"), strict=True)
    return all(not set(part.split(".")).isdisjoint(other.split(".")) for part, other in pairs)


class TakenRows:
    """The rows of a project while a batch of its events is folded."""

    def __init__(self, project: str, states: Mapping[str, Aggregate]) -> None:
        self._project = project
        self._states = states
        self._rows: dict[str, TakenRow] = {}

    def row(self, name: str) -> TakenRow:
        """A row by its name in the project."""
        row = self._rows.get(name)
        if row is None:
            stored = self._states.get(row_key(self._project, name))
            row = self._rows[name] = TakenRow(b"" if stored is None else stored.header)
        return row

    def finish(self) -> list[Change]:
        """The changes to store."""
        encoded = [(name, row.encode()) for name, row in sorted(self._rows.items())]
        return [Change(row_key(self._project, name), each) for name, each in encoded if each is not None]
