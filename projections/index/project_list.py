"""The list of all projects, `simple/index.json`: a target with a shortest time between two renderings.

At PyPI's size the list has 20 MB, so root sets that time (`project_list_seconds`). The chunks contain the names of the
last rendering. Names that were added or removed since then wait for the next rendering. Each waiting name is stored by
itself: after the import of an index, there are as many waiting names as projects. Only claims and events determine when
the list is rendered.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import orjson

from projections.index.chunks import Change, Chunk, ChunkedMap
from projections.index.pages import html_list, json_list
from projections.metadata.paths import HTML_LIST, JSON_LIST
from projections.metadata.repository import expires_at
from projections.metadata.targets import Page, TargetChange, rendered_page
from projections.roles.authority import Settings
from schemas.publications import Claim

KEY = "list:"


class Listing(msgspec.Struct, frozen=True, array_like=True):
    """An event that made a project exist, or removed it."""

    index: int
    name: str
    exists: bool


class _Header(msgspec.Struct, array_like=True):
    rendered_at: str = ""
    html: bool = False
    serial: int = 0
    waiting: int = 0


NAMES_PER_CHUNK = 64
"""Number of names in a chunk of the list."""


class _NameCodec:
    def parse(self, chunk: Chunk) -> dict[str, bytes]:
        entries = orjson.loads(b"[" + chunk.body + b"]")
        return {entry["name"]: entry_of_project(entry["name"]) for entry in entries}

    def render(self, lower: str, entries: Sequence[tuple[str, bytes]]) -> Chunk:
        return Chunk(lower, body=b",".join(entry for _, entry in entries))


class ProjectList:
    """The list while publications are applied. For each, call `apply` and `advance`; after the last, call `finish`.

    Only `finish` needs the chunks and all waiting names, and only if `is_rendered`: most publications do not touch the
    list.

    Args:
        header: the stored header.
        waiting: waiting names, at least those in the listings to come: True if added, False if removed.
        names_per_chunk: how many names a chunk has at most.
    """

    def __init__(self, header: bytes, waiting: Mapping[str, bool], *, names_per_chunk: int = NAMES_PER_CHUNK) -> None:
        self._names_per_chunk = names_per_chunk
        self._stored = header
        self._header = msgspec.msgpack.decode(header, type=_Header) if header else _Header()
        self._waited = dict(waiting)
        self._touched: set[str] = set()
        self._moved: dict[str, bool] = {}
        self._left: dict[str, bool | None] = {}
        self.is_rendered = False

    def follow(self, publications: Iterable[tuple[Claim, Settings, int]], listings: Iterable[Listing]) -> None:
        """Apply publications in order, each with the settings at its size, and with its content size.

        `listings` has those of all their events.
        """
        waiting = sorted(listings, key=lambda each: each.index)
        start = 0
        for claim, settings, content_size in publications:
            end = start
            while end < len(waiting) and waiting[end].index < content_size:
                end += 1
            self.apply(waiting[start:end])
            self.advance(claim, settings, content_size)
            start = end

    def apply(self, listings: Iterable[Listing]) -> None:
        """Apply the listings of a publication's events; those of one project are in the order of their indices."""
        for listing in listings:
            waits = self._left[listing.name] if listing.name in self._left else self._waited.get(listing.name)
            # A listing is a transition, so the last rendering of the name is known without a look at the list.
            was_rendered = not (listing.exists if waits is None else waits)
            now = None if was_rendered == listing.exists else listing.exists
            self._header.waiting += (now is not None) - (waits is not None)
            self._left[listing.name] = now

    def advance(self, claim: Claim, settings: Settings, content_size: int) -> None:
        """Decide whether this publication renders the list."""
        header = self._header
        if header.rendered_at and header.html == settings.html_pages:
            due_at = expires_at(header.rendered_at, settings.project_list_seconds)
            # A list that is dated after the claim is due: a new time began between.
            if not header.waiting or header.rendered_at <= claim.time < due_at:
                return
        if not self.is_rendered:
            self._touched = set(self._left)
        self._moved.update({name: exists for name, exists in self._left.items() if exists is not None})
        self._waited, self._left = {}, {}
        self._header = _Header(claim.time, settings.html_pages, content_size - 1)
        self.is_rendered = True

    @property
    def left(self) -> Mapping[str, bool | None]:
        """Changes of waiting names to store: True if added, False if removed, None if the name no longer waits.

        If the list is rendered, no other name waits; otherwise the other waiting names stay as stored.
        """
        return self._left

    def finish(
        self, chunks: Sequence[Chunk], waited: Mapping[str, bool]
    ) -> tuple[Change, list[Page], list[TargetChange]]:
        """The change to store; and the pages and changes of targets, if a publication rendered the list.

        Args:
            chunks: the stored chunks.
            waited: all stored waiting names: True if added, False if removed.
        """
        header = msgspec.msgpack.encode(self._header)
        if not self.is_rendered:
            return Change(KEY, None if header == self._stored else header), [], []
        names = ChunkedMap(chunks, _NameCodec(), self._names_per_chunk)
        moved = {name: exists for name, exists in waited.items() if name not in self._touched} | self._moved
        for name, exists in sorted(moved.items()):
            if exists:
                names.put(name, entry_of_project(name))
            else:
                names.delete(name)
        put, drop = names.finish()
        pages = _render(names.chunks, self._header)
        targets = [target for _, target in pages]
        if not self._header.html:
            targets.append(TargetChange(HTML_LIST, None))
        return Change(KEY, header, put, drop), [page for page, _ in pages], targets


def _render(chunks: Iterable[Chunk], header: _Header) -> list[tuple[Page, TargetChange]]:
    names = b",".join(chunk.body for chunk in chunks if chunk.body)
    pages = [rendered_page(JSON_LIST, json_list(names, header.serial))]
    if header.html:
        entries = orjson.loads(b"[" + names + b"]")
        html = html_list((entry["name"] for entry in entries), header.serial)
        pages.insert(0, rendered_page(HTML_LIST, html))
    return pages


def entry_of_project(name: str) -> bytes:
    """The member of the list for one project."""
    return b'{"name":%s}' % orjson.dumps(name)
