"""Large aggregates as sorted chunks of rendered entries.

A page of 40,000 files changes one entry at a time. Its entries are stored in small chunks. Each chunk has the bytes
that it contributes to the rendered file. Changing one entry renders one chunk, and joins it with the others. The bounds
of chunks never shape the result.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Generic, NamedTuple, Protocol, TypeVar


class Chunk(NamedTuple):
    """Entries from `lower` (inclusive) to the next chunk's lower bound.

    `facts` has everything that rendering needs and the rendered bytes do not say. `body` and `html` are rendered
    entries. The first chunk of an aggregate has the lower bound `""`. A stored body may be part of a longer value.
    `facts` is None if the facts were not loaded because nothing needs them.
    """

    lower: str
    facts: bytes | None = b""
    body: bytes | memoryview = b""
    html: bytes = b""


class Aggregate(NamedTuple):
    """The state of one project, bin, target … as stored: a header and chunks sorted by lower bound."""

    key: str
    header: bytes = b""
    chunks: tuple[Chunk, ...] = ()


class Change(NamedTuple):
    """A change of a stored aggregate: its header (None: unchanged), chunks to put, lower bounds of chunks to drop."""

    key: str
    header: bytes | None
    put: tuple[Chunk, ...] = ()
    drop: tuple[str, ...] = ()

    def of(self, before: Aggregate) -> Aggregate:
        """The aggregate after the change."""
        chunks = {chunk.lower: chunk for chunk in before.chunks if chunk.lower not in self.drop}
        chunks.update((chunk.lower, chunk) for chunk in self.put)
        header = before.header if self.header is None else self.header
        return Aggregate(self.key, header, tuple(chunk for _, chunk in sorted(chunks.items())))


Entry = TypeVar("Entry")
_KEY = itemgetter(0)


class EntryCodec(Protocol[Entry]):
    """Reads the entries of one kind of aggregate from a chunk, and renders them into a chunk."""

    def parse(self, chunk: Chunk) -> dict[str, Entry]:
        """The entries of a chunk by key."""

    def render(self, lower: str, entries: Sequence[tuple[str, Entry]]) -> Chunk:
        """A chunk of these entries, which are sorted by key."""


class ChunkedMap(Generic[Entry]):
    """A sorted map from strings to entries in chunks. Only chunks that are used are parsed.

    Args:
        chunks: the stored chunks.
        codec: reads and renders the entries.
        max_entries: how many a chunk has at most. The limit never shapes the result. With a low limit, the change of an
            entry renders and stores little. With a high limit, there are few chunks to load when all are needed.
    """

    def __init__(self, chunks: Sequence[Chunk], codec: EntryCodec[Entry], max_entries: int) -> None:
        self._codec = codec
        self._max_entries = max_entries
        self._stored = {chunk.lower: chunk for chunk in chunks}
        self._begin(chunks)

    def _begin(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = list(chunks) or [Chunk("")]
        self._lowers = [chunk.lower for chunk in self._chunks]
        self._parsed: dict[int, dict[str, Entry]] = {}
        self._dirty: set[int] = set()

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None."""
        return self._at(self._position(key)).get(key)

    def put(self, key: str, entry: Entry) -> None:
        """Set the entry of a key."""
        position = self._position(key)
        self._at(position)[key] = entry
        self._dirty.add(position)

    def delete(self, key: str) -> None:
        """Delete the entry of a key, if there is one."""
        position = self._position(key)
        if self._at(position).pop(key, None) is not None:
            self._dirty.add(position)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """All entries in order of their keys. During the iteration, entries may be put under existing keys."""
        for position in range(len(self._chunks)):
            yield from sorted(self._at(position).items(), key=_KEY)

    def touch_all(self) -> None:
        """Have every chunk rendered anew, because something that shapes all entries has changed."""
        for position in range(len(self._chunks)):
            self._at(position)
            self._dirty.add(position)

    def finish(self) -> tuple[tuple[Chunk, ...], tuple[str, ...]]:
        """Render changed chunks; return the chunks to put, and the lower bounds of chunks to drop."""
        chunks: list[Chunk] = []
        for position, chunk in enumerate(self._chunks):
            if position in self._dirty:
                chunks.extend(self._render(chunk.lower, self._parsed[position]))
            else:
                chunks.append(chunk)
        put = tuple(chunk for chunk in chunks if self._stored.get(chunk.lower) != chunk)
        kept = {chunk.lower: chunk for chunk in chunks}
        drop = tuple(lower for lower in self._stored if lower not in kept)
        self._stored = kept
        self._begin(chunks)
        return put, drop

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The chunks as of the last `finish`."""
        return tuple(self._chunks)

    def _render(self, lower: str, entries: dict[str, Entry]) -> Iterator[Chunk]:
        ordered = sorted(entries.items(), key=_KEY)
        if not ordered and lower:
            return
        count = max(1, -(-len(ordered) // self._max_entries))
        # Halves rather than a full chunk and a remainder, so that the next insertion does not split again.
        step = -(-len(ordered) // count) or 1
        for start in range(0, max(len(ordered), 1), step):
            some = ordered[start : start + step]
            yield self._codec.render(lower if start == 0 else some[0][0], some)

    def _position(self, key: str) -> int:
        return bisect_right(self._lowers, key) - 1

    def _at(self, position: int) -> dict[str, Entry]:
        entries = self._parsed.get(position)
        if entries is None:
            entries = self._parsed[position] = self._codec.parse(self._chunks[position])
        return entries
