"""Single records: no input raises, two parsers never disagree, and nothing but its signers' documents is accepted."""

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from projections.log.prefix import Prefix
from projections.roles.authority import judge_ceremony
from schemas.codec import EVENT_TYPES, Rejection, decode_event, decode_publication_record, encode_record
from schemas.events import BaseEvent
from tests import factory
from tests.factory import Make
from tests.fuzz import facts
from tests.fuzz.budget import examples, seeds
from tests.fuzz.inserting import Index
from tests.fuzz.mutating import dump, load, mutate
from tests.fuzz.oracle import CODES
from tests.fuzz.strangers import Stranger
from tests.fuzz.world import SMALL, World

FILES = factory.ceremony(SMALL)
EVENTS = factory.encode(Make().one_of_each(factory.file_digest(FILES["root"]), FILES))
PREFIX = factory.ready_prefix(Make(), SMALL)


def judged(value: bytes | None) -> None:
    """Check what is made of one event."""
    event = decode_event(value)
    if isinstance(event, Rejection):
        assert event.code in CODES, event
        return
    assert isinstance(event, BaseEvent)
    assert value is not None
    same_values(event, value)


def same_values(event: BaseEvent, value: bytes) -> None:
    """The standard library reads the same from these bytes."""
    document = facts.read(value)
    assert EVENT_TYPES[document["type"]] is type(event)
    read: dict[str, Any] = msgspec.to_builtins(event)
    compare(read, document)


def compare(read: Any, document: Any) -> None:
    """What was read stands in the document; it may say more."""
    if isinstance(read, dict):
        known = {repaired(name): member for name, member in document.items()}
        for name, member in read.items():
            assert name in known or member in ({}, ())  # a default
            compare(member, known.get(name, {}))
    elif isinstance(read, list | tuple):
        assert len(read) == len(document)
        for member, other in zip(read, document, strict=True):
            compare(member, other)
    elif isinstance(read, str):
        assert read == repaired(document)
    else:
        assert read == document
        assert type(read) is type(document)


def repaired(text: str) -> str:
    """The text without lone surrogates."""
    return "".join("\ufffd" if "\ud800" <= each <= "\udfff" else each for each in text)


@given(st.binary(max_size=200))
@settings(max_examples=examples(300))
@example(b"\xff\xfe{\x00}\x00")
@example(b'{"type":"\\ud800"}')
@example(b'{"a":1,"\\u0061":1}')
def test_any_bytes_are_judged(value: bytes) -> None:
    judged(value)
    record = decode_publication_record(value)
    assert isinstance(record, Rejection)
    assert record.code in CODES


@given(st.sampled_from(EVENTS), st.randoms(use_true_random=False))
@settings(max_examples=examples(1000))
def test_any_mutation_of_an_event_is_judged(value: bytes, rng: Random) -> None:
    judged(mutate(rng, value))


@given(st.sampled_from(EVENTS), st.randoms(use_true_random=False))
@settings(max_examples=examples(300))
def test_how_an_event_is_written_changes_nothing(value: bytes, rng: Random) -> None:
    """Space, escapes and the order of members are free; the bytes are hashed, the meaning is the same."""
    written = dump(load(value), rng)
    if len(written) <= 65_535:
        assert decode_event(written) == decode_event(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.sampled_from(EVENTS), st.dictionaries(st.text(max_size=5), json_values, max_size=3))
@settings(max_examples=examples(200))
def test_members_that_nobody_knows_are_ignored(value: bytes, more: dict[str, Any]) -> None:
    event = json.loads(value)
    unknown = {f"x{name}": member for name, member in more.items()}
    written = json.dumps({**unknown, **event}).encode("utf-8")
    assert decode_event(written) == decode_event(value)


@pytest.mark.parametrize("seed", seeds(150))
def test_no_ceremony_that_was_not_held_is_accepted(seed: int) -> None:
    """Whatever is made of the documents without their signers' keys."""
    rng, make = Random(seed), Make()
    new = SMALL.but(online=(factory.ed25519_signer("online 2"),))
    held = factory.ceremony(new, PREFIX.authority, SMALL)
    index = Index(rng, make)
    index.ceremonies = [FILES, held]
    bodies = [json.dumps(each["signed"], sort_keys=True) for each in (*FILES.values(), *held.values())]
    for current, root in ((None, factory.file_digest(FILES["root"])), (PREFIX.authority, "")):
        for _ in range(10):
            value = index.roles_signed(index.forged(SMALL, current))
            event = decode_event(value)
            if isinstance(event, Rejection):
                assert event.code in CODES
                continue
            ceremony = judge_ceremony(current, root, event.data.roles, 3)  # type: ignore[union-attr]  # a ceremony
            assert ceremony.outcome.code in {*CODES, ""}
            for document in ceremony.documents:
                assert json.dumps(document.signed, sort_keys=True) in bodies


@pytest.mark.parametrize("seed", seeds(20))
def test_a_prefix_is_the_same_however_it_was_read(seed: int) -> None:
    rng, make = Random(seed), Make()
    index = Index(rng, make)
    values = [*factory.beginning(make, SMALL), *index.batch(40, SMALL, PREFIX.authority)]
    once, extension = Prefix().extend(values)
    pieces, routed, listed = Prefix(), [], []
    start = 0
    while start < len(values):
        end = start + rng.randrange(1, 9)
        pieces, added = pieces.extend(values[start:end])
        routed += added.routed
        listed += added.judged
        start = end
    assert pieces == once
    assert routed == extension.routed
    assert listed == extension.judged


@pytest.mark.parametrize("seed", seeds(10))
def test_whatever_a_stranger_writes_is_a_record_or_rejected(seed: int) -> None:
    rng = Random(seed)
    world = World(folder=None, team=SMALL)  # type: ignore[arg-type]  # nobody signs here
    world.begin()
    stranger = Stranger(rng, world)
    for _ in range(40):
        for value in stranger.records(1):
            record = decode_publication_record(value)
            if isinstance(record, Rejection):
                assert record.code in CODES
            else:
                assert encode_record(record) == value
            world.publications.values.append(value)
