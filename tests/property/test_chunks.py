"""Chunks: a sorted map whose borders never show."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from projections.index.chunks import Aggregate, Change, Chunk, ChunkedMap
from projections.index.pages import ProjectHeader, Release, json_page, page_bodies
from projections.index.project_list import _NameCodec

MAX_ENTRIES = 64


class PlainCodec:
    """Entries as `key=value` lines, counting what is parsed and rendered."""

    def __init__(self) -> None:
        self.parsed = 0
        self.rendered = 0

    def parse(self, chunk: Chunk) -> dict[str, str]:
        self.parsed += 1
        return dict(line.split("=") for line in bytes(chunk.body).decode().splitlines())

    def render(self, lower: str, entries: Sequence[tuple[str, str]]) -> Chunk:
        self.rendered += 1
        return Chunk(lower, body="".join(f"{key}={value}\n" for key, value in entries).encode())


def joined(chunks: Sequence[Chunk]) -> str:
    return b"".join(chunk.body for chunk in chunks).decode()


class ChunkedMapIsADict(RuleBasedStateMachine):
    """Where chunks begin and end never shapes the result, whatever is put in which order and stored when."""

    @initialize(step=st.sampled_from([1, 7, 40]))
    def begin(self, step: int) -> None:
        self.plain: dict[str, str] = {}
        self.stored: tuple[Chunk, ...] = ()
        self.step = step
        self.map = ChunkedMap(self.stored, PlainCodec(), MAX_ENTRIES)

    @rule(start=st.integers(0, 500), count=st.integers(1, 150), value=st.sampled_from("xy"))
    def put_many(self, start: int, count: int, value: str) -> None:
        for number in range(start, start + count * self.step, self.step):
            self.map.put(f"{number:04}", value)
            self.plain[f"{number:04}"] = value

    @rule(keys=st.lists(st.integers(0, 700), max_size=20), value=st.sampled_from("xy"))
    def put_some(self, keys: list[int], value: str) -> None:
        for key in keys:
            self.map.put(f"{key:04}", value)
            self.plain[f"{key:04}"] = value

    @rule(start=st.integers(0, 700), count=st.integers(1, 200))
    def delete_many(self, start: int, count: int) -> None:
        for number in range(start, start + count):
            self.map.delete(f"{number:04}")
            self.plain.pop(f"{number:04}", None)

    @rule(key=st.integers(0, 900))
    def look(self, key: int) -> None:
        assert self.map.get(f"{key:04}") == self.plain.get(f"{key:04}")

    @rule()
    def rewrite_while_walking(self) -> None:
        for key, value in self.map.items():
            self.map.put(key, value.swapcase())
        self.plain = {key: value.swapcase() for key, value in self.plain.items()}

    @rule()
    def touch_all(self) -> None:
        self.map.touch_all()

    @rule(again=st.booleans())
    def store(self, again: bool) -> None:
        put, drop = self.map.finish()
        before = dict(zip((chunk.lower for chunk in self.stored), self.stored, strict=True))
        assert all(before.get(chunk.lower) != chunk for chunk in put), "what did not change is not stored again"
        lowers = [chunk.lower for chunk in put]
        assert len(lowers) == len({*lowers, *drop}) - len(drop), "a chunk is put once, and not dropped, too"
        assert before.keys() >= set(drop)
        self.stored = Change("key", None, put, drop).of(Aggregate("key", chunks=self.stored)).chunks
        assert self.stored == self.map.chunks or (self.stored == () and self.map.chunks == (Chunk(""),))
        assert joined(self.stored) == "".join(f"{key}={value}\n" for key, value in sorted(self.plain.items()))
        for number, chunk in enumerate(self.stored):
            entries = PlainCodec().parse(chunk)
            assert len(entries) <= MAX_ENTRIES
            assert (chunk.lower == "") == (number == 0)
            following = self.stored[number + 1 : number + 2]
            assert all(chunk.lower <= key and all(key < each.lower for each in following) for key in entries)
        if again:
            self.map = ChunkedMap(self.stored, PlainCodec(), MAX_ENTRIES)

    @invariant()
    def has_the_same_items(self) -> None:
        if hasattr(self, "plain"):
            assert list(self.map.items()) == sorted(self.plain.items())


TestChunkedMapIsADict = ChunkedMapIsADict.TestCase
TestChunkedMapIsADict.settings = settings(max_examples=60, stateful_step_count=15)


@given(st.lists(st.integers(0, 2_000), unique=True, max_size=300), st.integers(1, 400))
def test_any_order_of_insertion_gives_the_same_bytes(numbers: list[int], every: int) -> None:
    """Chunk borders never shape bytes, whatever is inserted in which order and stored how often."""
    entries: ChunkedMap[str] = ChunkedMap((), PlainCodec(), MAX_ENTRIES)
    for count, number in enumerate(numbers):
        entries.put(f"{number:05}", "x")
        if count % every == 0:
            entries.finish()
    entries.finish()
    assert joined(entries.chunks) == "".join(f"{number:05}=x\n" for number in sorted(numbers))


def test_one_entry_changes_one_chunk() -> None:
    """To change one entry is to parse and render one chunk."""
    entries: ChunkedMap[str] = ChunkedMap((), PlainCodec(), MAX_ENTRIES)
    for number in range(1_000):
        entries.put(f"{number:05}", "x")
    entries.finish()
    codec = PlainCodec()
    again = ChunkedMap(entries.chunks, codec, MAX_ENTRIES)
    again.put("00500", "y")
    put, drop = again.finish()
    assert (codec.parsed, codec.rendered, len(put), drop) == (1, 1, 1, ())


def test_chunks_that_grow_at_the_end_are_not_split_at_every_insertion() -> None:
    entries: ChunkedMap[str] = ChunkedMap((), PlainCodec(), MAX_ENTRIES)
    stored = 0
    for number in range(1_000):
        entries.put(f"{number:05}", "x")
        put, _ = entries.finish()
        stored += len(put)
    assert stored <= 1_000 + 1_000 // (MAX_ENTRIES // 4)
    assert len(entries.chunks) <= 1_000 // (MAX_ENTRIES // 2) + 1


def test_what_is_deleted_leaves_no_empty_chunks() -> None:
    entries: ChunkedMap[str] = ChunkedMap((), PlainCodec(), MAX_ENTRIES)
    for number in range(1_000):
        entries.put(f"{number:05}", "x")
    entries.finish()
    for number in range(1_000):
        entries.delete(f"{number:05}")
    entries.finish()
    assert joined(entries.chunks) == ""
    assert len(entries.chunks) == 1


@given(st.lists(st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,9}", fullmatch=True), unique=True, max_size=30))
def test_entries_of_the_list_return_from_their_bytes(names: list[str]) -> None:
    codec = _NameCodec()
    entries = [(name, b'{"name":"%s"}' % name.encode()) for name in sorted(names)]
    assert sorted(codec.parse(codec.render("", entries)).items()) == entries


@given(st.lists(st.sampled_from(["", '{"a":1}', '{"a":"]"},{"b":[]}', '{"a":",{}"}'])))
def test_bodies_return_from_the_page_that_was_made_of_them(bodies: list[str]) -> None:
    header = ProjectHeader(status="active", releases={"1": Release({"1": 1})})
    page = json_page("a", header, [Chunk(str(number), body=body.encode()) for number, body in enumerate(bodies)])
    lengths = [len(body) for body in bodies]
    assert [bytes(body).decode() for body in page_bodies(page, lengths)] == bodies
    if any(lengths):
        with pytest.raises(ValueError, match="not made of"):
            page_bodies(page, [*lengths, 1])
