"""One distribution, one name: which filenames installers would take for each other.

A source distribution is known by its release, a wheel by its release, its build tag and its tags. Two files of one
distribution would be two contents for the same thing, and which one is installed would depend on the installer. What
is taken is stored beside a project's header, in a row for the source distributions of a release, and one for the
wheels of a release and build tag. A row is read for uploads alone.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from projections.index.chunks import Aggregate, Change
from projections.index.names import canonical_version
from projections.log.operations import Operation, Upload
from projections.log.reading import Routed

_SOURCE_ENDINGS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar")
_BUILD = re.compile(r"([0-9]+)(.*)")


class DistributionKey(NamedTuple):
    """What a filename takes: a row of its project, and in it the tags of a wheel (empty for a source distribution)."""

    row: str
    tags: str = ""


def distribution_key(project: str, filename: str) -> DistributionKey | None:
    """What a file of a project takes, by its name alone; None if its name is of no form that installers choose from."""
    rest = _after_project(project, filename)
    if rest is None:
        return None
    if rest.endswith(".whl"):
        return _wheel_key(rest.removesuffix(".whl").split("-"))
    ending = next((each for each in _SOURCE_ENDINGS if rest.endswith(each)), None)
    release = None if ending is None else canonical_version(rest.removesuffix(ending))
    return None if release is None else DistributionKey(f"source:{release}")


def _after_project(project: str, filename: str) -> str | None:
    """What follows the project and one separator in a filename; None if the name does not begin so."""
    lowered, at = filename.lower(), 0
    for number, part in enumerate(project.split("-")):
        start = at
        while number and at < len(lowered) and lowered[at] in "-_.":
            at += 1
        if (number and at == start) or not lowered.startswith(part, at):
            return None
        at += len(part)
    return filename[at + 1 :] if filename[at : at + 1] in {"-", "_", "."} else None


def _wheel_key(parts: list[str]) -> DistributionKey | None:
    if len(parts) not in {4, 5}:
        return None
    release = canonical_version(parts[0])
    build = _BUILD.fullmatch(parts[1]) if len(parts) == 5 else None
    if release is None or (len(parts) == 5 and build is None):
        return None
    tag = "" if build is None else (build[1].lstrip("0") or "0") + build[2]
    tags = "-".join(".".join(sorted(set(part.lower().split(".")))) for part in parts[-3:])
    return DistributionKey(f"wheel:{release}:{tag}", tags)


def row_key(project: str, row: str) -> str:
    """The key under which a row of a project is stored."""
    return f"taken:{project}:{row}"


def rows_read_by(items: Iterable[Routed]) -> list[str]:
    """The keys of the rows that folding these events reads, sorted."""
    return sorted({key for item in items if (key := _row_read_by(item.key.partition(":")[2], item.operation))})


def _row_read_by(project: str, operation: Operation) -> str | None:
    if not isinstance(operation, Upload):
        return None
    key = distribution_key(project, operation.filename)
    return None if key is None else row_key(project, key.row)


class _Row(msgspec.Struct, array_like=True):
    """What is taken in one row: how many files have these tags."""

    holders: dict[str, int] = {}


_decode = msgspec.msgpack.Decoder(_Row).decode
_encode = msgspec.msgpack.Encoder().encode


class TakenRow:
    """A row while a batch of a project's events is folded.

    The wheels that have a component are a number with a bit for each, so that many uploads to one release take no time
    that grows with their square.
    """

    def __init__(self, stored: bytes) -> None:
        self._row = _decode(stored) if stored else _Row()
        self._stored = stored
        self._wheels = 0
        self._having: tuple[dict[str, int], ...] = ({}, {}, {})
        for tags in self._row.holders:
            self._index(tags)

    def is_taken(self, tags: str) -> bool:
        """Whether a file that installers would take for one with these tags is known."""
        if not tags:
            return bool(self._row.holders)
        found = -1
        for part, having in zip(tags.split("-"), self._having, strict=True):
            some = 0
            for component in part.split("."):
                some |= having.get(component, 0)
            found &= some
        return found != 0

    def take(self, tags: str) -> None:
        """Count a file with these tags."""
        count = self._row.holders.get(tags, 0)
        self._row.holders[tags] = count + 1
        if count == 0:
            self._index(tags)

    def _index(self, tags: str) -> None:
        if tags:
            bit = 1 << self._wheels
            self._wheels += 1
            for part, having in zip(tags.split("-"), self._having, strict=True):
                for component in part.split("."):
                    having[component] = having.get(component, 0) | bit

    def encode(self) -> bytes | None:
        """The row as it is stored; None if it has not changed."""
        self._row.holders = dict(sorted(self._row.holders.items()))
        encoded = _encode(self._row)
        return None if encoded == self._stored or not self._row.holders else encoded


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
