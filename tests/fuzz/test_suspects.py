"""What selectors choose over random histories is what a look at every record chooses, with a root over it."""

import asyncio
import json
import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.catalog.asking import Asked
from consumers.incidents.incident_selectors import read_selectors
from consumers.incidents.known_incidents import tally
from consumers.incidents.suspects import Own, find_matching, freeze
from projections.incidents.selection import runs_of
from tests.factory import digest, ed25519_signer
from tests.fuzz.facts import read
from tests.fuzz.plain_answers import PlainTimes, accepted_events
from tests.fuzz.plain_selectors import PlainLog
from tests.fuzz.test_all_rules import TEAM
from tests.fuzz.test_answers import (
    accepted_indices,
    asking,
    publications_of,
    publish,
    read_indices,
    signed_by_many,
)
from tests.fuzz.world import World
from tests.property.histories import PROJECTS, histories, narrow_histories
from tests.unit.test_merkle import naive_root

NEXT = TEAM.but(online=(ed25519_signer("the next online key"),))
KINDS = ["alice", "bob", "trusted-publisher:bob", "user:alice", "nobody"]


def with_publishers(values: list[bytes], data: st.DataObject) -> list[bytes]:
    """A history in which some events are by trusted publishers, and some name an incident."""
    found = []
    for value in values:
        document = json.loads(value)
        document["actorkind"] = data.draw(st.sampled_from(["user", "trusted-publisher"]))
        if data.draw(st.integers(0, 9)) == 0:
            document["incident"] = "theft"
        found.append(json.dumps(document).encode())
    return found


def texts_of(world: World, times: list[str], keys: list[str]) -> st.SearchStrategy[list[str]]:
    """Some selectors."""
    last = len(world.events.values) + 2
    indices = st.tuples(st.integers(0, last), st.integers(0, last)).map(sorted)
    instants = st.sampled_from([*times, "2029-12-31T23:59:59Z", "2030-01-01T00:00:30Z", "2999-01-01T00:00:00Z"])
    values = st.one_of(
        indices.map(lambda pair: f"events={pair[0]}..{pair[1]}"),
        st.sampled_from(KINDS).map("actor={}".format),
        st.sampled_from(["t-1", "t-2", "t-9"]).map("credential={}".format),
        st.sampled_from(["alice", "bob", "x"]).map("publisher={}".format),
        st.sampled_from([*PROJECTS, "none"]).map("project={}".format),
        st.sampled_from([digest("x"), digest("y"), digest("z")]).map("sha256={}".format),
        st.sampled_from(keys).map("key={}".format),
        st.sampled_from(["unattested", "first-use", "late-files=0", "late-files=1.5"]),
    )
    ranged = st.one_of(instants.map("since={}".format), instants.map("until={}".format), st.just("strict"))
    return st.lists(st.one_of(values, ranged, values.map("not {}".format)), max_size=4)


async def check(world: World, asked: Asked, keys: dict[int, str], data: st.DataObject) -> None:
    """`keys` has the online key from the event of a ceremony on."""
    values, run = world.events.values, asked.database.run
    publications = await run(publications_of)
    first_shown: dict[int, set[str]] = {}
    for _, size, content_size, _ in publications:
        for index in range(content_size):
            first_shown.setdefault(index, {[key for at, key in keys.items() if at < size][-1]})
    opened = data.draw(st.integers(0, len(values)))
    plain = PlainLog(
        accepted_events(values, await run(read_indices)),
        accepted_events(values, await run(accepted_indices)),
        PlainTimes([(number, size, time) for number, size, _, time in publications]),
        first_shown,
        "theft",
        opened,
    )
    some = texts_of(world, [time for *_, time in publications], [*keys.values(), "ab" * 32])
    for _ in range(8):
        texts = data.draw(some)
        selectors = read_selectors(texts)
        assert read_selectors(map(str, selectors)) == selectors
        found = await run(find_matching, asked, selectors, Own("theft", opened))
        expected = plain.select(texts)
        assert found.runs == runs_of(expected), texts
        frozen = await run(freeze, found.runs)
        leaves = [at.to_bytes(8, "big") + sha256(values[at] or b"").digest() for at in expected]
        assert (frozen.total, frozen.selection) == (len(expected), naive_root(leaves).hex())
        documents = [read(values[at] or b"") for at in expected]
        counts = await run(tally, found.runs)
        assert counts.by_type == Counter(each["type"] for each in documents)
        assert counts.by_credential == Counter(
            each["actorcredential"] for each in documents if "actorcredential" in each
        )
        assert counts.by_verdict.total() == counts.by_actor.total() == len(expected)
        for text in texts:
            names_nothing = text.endswith(("nobody", "t-9", "=x", "none", digest("z"), "ab" * 32))
            assert names_nothing <= bool((await run(find_matching, asked, read_selectors([text]))).unknown), text


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        cut = data.draw(st.integers(0, len(values)))
        signed = with_publishers(signed_by_many(values, data), data)
        await publish(world, signed[:cut], data)
        keys = {1: TEAM.online[0].public_key.keyid}
        if data.draw(st.booleans()):
            keys[len(world.events.values)] = NEXT.online[0].public_key.keyid
            await replace_keys(world, signed[cut:])
        async with asking(world) as asked:
            await check(world, asked, keys, data)


async def replace_keys(world: World, values: list[bytes]) -> None:
    async with world.signing() as signing:
        world.hold_ceremony(NEXT, signing.authority)
        await signing.publish(seconds=60)
        world.append(*values)
        await signing.publish(seconds=60)


@given(st.one_of(histories(20), narrow_histories(20)), st.data())
@settings(max_examples=10)
def test_selectors_choose_what_a_look_at_every_record_chooses(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))


@pytest.mark.slow
@given(st.one_of(histories(20), narrow_histories(20)), st.data())
@settings(max_examples=30)
def test_selectors_more_often(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
