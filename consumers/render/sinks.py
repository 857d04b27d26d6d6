"""Sinks: the port between rendering and writing files."""

from collections.abc import Iterable
from typing import Protocol

from projections.metadata.holders import Withholding
from projections.roles.documents import Document


class RemoteSink(Protocol):
    """A sink in another process."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> str:
        """Write an immutable file, which may be a second name of another; return the token to adopt it by."""

    def show(self, path: str, source: str) -> None:
        """Make a plain page show this immutable file, if files are written in place."""


class Sink(Protocol):
    """Takes rendered files. Paths are relative to the public folder."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Write an immutable file, which may be a second name of another. Called from several threads."""

    def show(self, path: str, source: str | None) -> None:
        """Make a plain page show this immutable file from this publication on; None: hide the page."""

    def withhold(self, withholdings: Iterable[Withholding]) -> None:
        """Take files out of what is served, or put them back, from this publication on."""

    def put_document(self, document: Document) -> None:
        """Write an offline role's document, which is in force from this publication on."""

    def remote(self) -> RemoteSink | None:
        """The sink for other processes, whose files are then adopted; None: all files must be put here."""

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """Adopt an immutable file of this length in bytes and SHA-256, for which `RemoteSink.put` in another process
        returned this token.
        """
