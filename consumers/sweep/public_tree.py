"""The served files, read as a client does: from the timestamp to metadata, and to the pages that bins name."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from ledger.storage import Storage
from projections.metadata.paths import METADATA, PAGES, TIMESTAMP, MetadataPlace, hashed_path, metadata_path, read_path
from projections.roles.authority import read_bins_layout
from projections.roles.documents import DocumentError
from projections.roles.layout import Layout
from schemas.errors import NegativeAnswerError

_PAGES = PAGES.encode()
_TARGETS = b'"targets":{'
# As `target_entry` and `bin_payload` (`projections.metadata`) render them, sorted by path.
_ENTRY = re.compile(rb'"([ !#-\[\]-~]+)":\{"hashes":\{"sha256":"([0-9a-f]{64})"\},"length":[0-9]+\}')
_END = re.compile(
    rb'(?:"[ !#-\[\]-~]+":\{"hashes":\{"sha256":"[0-9a-f]{64}"\},"length":[0-9]+\},?)*\},"version":([0-9]+)\}\}'
)
_END_BYTES = 8 * 2**10


class UnreadableTreeError(NegativeAnswerError):
    """The served files cannot be followed from their timestamp."""


class ServedTree(NamedTuple):
    """The metadata that the served timestamp leads to: the publication's number, the paths of all metadata except bins,
    the layout, and the versions of bins by role name.
    """

    number: int
    others: set[str]
    layout: Layout
    bins: dict[str, int]

    def metadata(self) -> set[str]:
        """All paths of metadata."""
        return self.others.union(metadata_path(name, version) for name, version in self.bins.items())


def unreadable(path: str) -> UnreadableTreeError:
    """The error for a file that is missing or has unexpected contents."""
    return UnreadableTreeError(
        f"{path} is missing or cannot be read, so nothing is swept: check with `tuf-ledger verify --served`"
    )


def read_served(storage: Storage) -> ServedTree:
    """Follow the served timestamp to the bins.

    Raises:
        UnreadableTreeError: a file on the way is missing or has unexpected contents.
    """
    path = TIMESTAMP
    try:
        timestamp = _read(storage, path)["signed"]
        number = timestamp["meta"]["snapshot.json"]["version"]
        others = {metadata_path("timestamp", timestamp["version"])}
        path = metadata_path("snapshot", number)
        meta = _read(storage, path)["signed"]["meta"]
        others |= {path, metadata_path("targets", meta["targets.json"]["version"])}
        path = metadata_path("bins", meta["bins.json"]["version"])
        layout = read_bins_layout(_read(storage, path))
        bins = {name: meta[f"{name}.json"]["version"] for name in map(layout.name, range(layout.count))}
    except (KeyError, TypeError, ValueError, DocumentError) as error:
        raise unreadable(path) from error
    return ServedTree(number, others | {path}, layout, bins)


def _read(storage: Storage, path: str) -> Any:
    """The contents of a served JSON file. Raises ValueError if the file is missing or not JSON."""
    return orjson.loads(storage.read(path) or b"")


def pages_of(storage: Storage, name: str, version: int) -> set[str]:
    """The served paths of the pages that a bin names. Pages are the last of its targets and few, so only they are read.

    Raises:
        UnreadableTreeError: the bin is missing, or was not rendered by a ledger.
    """
    path = metadata_path(name, version)
    length = _END_BYTES
    while True:
        data = storage.read(path, last=length) or b""
        first = _ENTRY.search(data)
        if len(data) < length or (first is not None and first[1] < _PAGES):
            break
        length *= 4
    # From the first entry to the end there must be only entries, or an entry would be missed.
    opening = data.rfind(_TARGETS)
    start = len(data) if first is None else first.start()
    end = _END.fullmatch(data, start if opening < 0 else opening + len(_TARGETS))
    if end is None or int(end[1]) != version:
        raise unreadable(path)
    return {
        hashed_path(target.decode("ascii"), digest.decode("ascii"))
        for target, digest in _ENTRY.findall(data)
        if target.startswith(_PAGES)
    }


def versioned_metadata(storage: Storage) -> dict[str, tuple[str, int]]:
    """All versioned metadata except roots: role name and version by path."""
    return {
        path: (place.role, place.version)
        for path in files_below(storage, METADATA)
        if isinstance(place := read_path(path), MetadataPlace) and place.version is not None and not place.is_root
    }


def files_below(storage: Storage, folder: str) -> Iterator[str]:
    """The files in a served folder. Names that are not ASCII are left out: no ledger writes them."""
    return filter(str.isascii, storage.paths(folder))
