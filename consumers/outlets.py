"""Outlets: what becomes of rendered files.

NoOutlet         nowhere: a signer that runs apart from storage, a verifier
PublicOutlet     what is served: staged, then placed in the order that keeps every client's view complete
FileListOutlet   digests of everything that was ever published, to compare with what is served
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Protocol

import structlog

from consumers.renderer import Sink
from ledger.storage import Storage
from projections.documents import Document

log = structlog.get_logger()


class Outlet(Sink, Protocol):
    """A sink for one edition after another. All methods block; `put` is called from several threads."""

    def begin(self) -> None:
        """A new edition: forget what was put for one that was not finished."""

    def finish(self, number: int, timestamp: bytes) -> None:
        """The edition is published: its record was read from the log."""


class NoOutlet:
    """Nothing is written."""

    def begin(self) -> None:
        """Nothing to forget."""

    def put(self, path: str, data: bytes) -> None:
        """Nothing."""

    def show(self, path: str, source: str | None) -> None:
        """Nothing."""

    def put_document(self, document: Document) -> None:
        """Nothing."""

    def finish(self, number: int, timestamp: bytes) -> None:
        """Nothing."""


class PublicOutlet:
    """Writes what is served.

    The order is that of PEP 458 and TUF 1.0.34, section 6.2: targets, bins and snapshot first, then new roots, then the
    timestamp, which makes all of it visible at once; plain pages last, for clients without TUF. Between a new root
    and the timestamp there is nothing, because clients that see one without the other fail.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.begin()

    def begin(self) -> None:
        """Empty the staging area."""
        self._storage.discard()
        self._pages: dict[str, str | None] = {}
        self._roots: list[Document] = []

    def put(self, path: str, data: bytes) -> None:
        """Stage an immutable file."""
        self._storage.stage(path, data)

    def show(self, path: str, source: str | None) -> None:
        """Remember what a plain page is to show."""
        self._pages[path] = source

    def put_document(self, document: Document) -> None:
        """Stage an offline role; roots wait for the end."""
        if document.role == "root":
            self._roots.append(document)
        else:
            self._storage.stage(f"metadata/{document.version}.{document.role}.json", document.file)

    def finish(self, number: int, timestamp: bytes) -> None:
        """Place everything."""
        self._storage.stage(f"metadata/{number}.timestamp.json", timestamp)
        for path in self._storage.place():
            log.error("a published file had other bytes than the log says; it was replaced", path=path)
        for root in self._roots:
            self._storage.replace(f"metadata/{root.version}.root.json", root.file)
        self._storage.replace("metadata/timestamp.json", timestamp)
        for path, source in sorted(self._pages.items()):
            if source is None:
                self._storage.delete(path)
            else:
                self._storage.link(path, source)
        self._pages, self._roots = {}, []


class FileListOutlet:
    """Passes digests of all files on, instead of files.

    `shown` gives plain pages by path, with the path of what they show, as of the last publication.
    """

    def __init__(self, save: Callable[[list[tuple[str, str, int]]], None]) -> None:
        self._save = save
        self._files: dict[str, str] = {}
        self.shown: dict[str, str] = {}

    def begin(self) -> None:
        """Forget the files of an edition that was not finished."""
        self._files = {}

    def put(self, path: str, data: bytes) -> None:
        """Note a file's digest."""
        self._files[path] = sha256(data).hexdigest()

    def show(self, path: str, source: str | None) -> None:
        """Note what a plain page shows."""
        if source is None:
            self.shown.pop(path, None)
        else:
            self.shown[path] = source

    def put_document(self, document: Document) -> None:
        """Note the digest of an offline role's file."""
        self.put(f"metadata/{document.version}.{document.role}.json", document.file)

    def finish(self, number: int, timestamp: bytes) -> None:
        """Pass the publication's files on."""
        self.put(f"metadata/{number}.timestamp.json", timestamp)
        self._save([(path, digest, number) for path, digest in self._files.items()])
        self._files = {}
