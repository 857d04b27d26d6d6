"""Where rendered files go: the port between those who render and those who write."""

from typing import Protocol

from projections.roles.documents import Document


class RemoteSink(Protocol):
    """Where another process writes."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> str:
        """Write an immutable file, which may be a second name of another; gives what whoever deals out the work needs
        to find it.
        """

    def show(self, path: str, source: str) -> None:
        """A plain page shows this immutable file, if they are where they belong already."""


class Sink(Protocol):
    """Where rendered files go. Paths are relative to what is served."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """An immutable file, which may be a second name of another. Called from several threads."""

    def show(self, path: str, source: str | None) -> None:
        """A plain page shows this immutable file from this publication on, or nothing."""

    def put_document(self, document: Document) -> None:
        """An offline role's document is in force from this publication on."""

    def remote(self) -> RemoteSink | None:
        """Where other processes put files that are then adopted; None: all are to be put here."""

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """An immutable file of so many bytes, with this SHA-256, was put there by another process, which was given this
        token.
        """
