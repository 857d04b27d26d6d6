"""Proposals are what a look at every record finds, to a fixpoint; they are told in order, and bounded."""

import asyncio
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.catalog.asking import Asked
from consumers.incidents.proposing import MOST_TOLD, propose
from projections.incidents.selection import runs_of
from schemas.events import Hashes
from tests.factory import digest
from tests.fuzz.budget import examples
from tests.fuzz.plain_answers import accepted_events
from tests.fuzz.test_all_rules import TEAM
from tests.fuzz.test_answers import accepted_indices, asking, publish, read_indices, signed_by_many
from tests.fuzz.world import World
from tests.incidents.plain_proposals import PlainProposals
from tests.property.histories import histories, narrow_histories

NAMED = {"revocation", "release", "root", "publications"}


MALWARE = Hashes(sha256=digest("malware"), blake2b_256=digest("blake2b malware"))


async def check_proposals(world: World, asked: Asked, data: st.DataObject) -> None:
    values, run = world.events.values, asked.database.run
    events = accepted_events(values, await run(read_indices))
    accepted = accepted_events(values, await run(accepted_indices))
    indices = [each.at for each in events if not each.document["type"].startswith(("ledger.", "roles.", "signing."))]
    if not indices:
        return
    suspects = data.draw(st.sets(st.sampled_from(indices), min_size=1, max_size=6))
    measures = data.draw(st.sets(st.sampled_from(indices), max_size=3)) - suspects
    found = await run(propose, asked, runs_of(sorted(suspects)), runs_of(sorted(measures)))
    assert found.is_complete
    plain = PlainProposals(events, accepted, suspects, measures).found
    counts = Counter[tuple[str, str, str, int]]()
    for each in found.proposals:
        if each.reason in NAMED:
            continue
        about = "" if each.reason == "grant" else each.about
        key = each.reason, about, each.when, each.depth
        counts[key] += each.count
        assert set(each.first) <= set(plain[key])
        assert each.last in plain[key]
        assert len(each.first) == min(each.count, MOST_TOLD)
        assert not (suspects | measures) & {*each.first, each.last}
        assert each.selectors
    assert counts == {key: len(indices) for key, indices in plain.items()}
    revoked = [each.at for each in accepted if each.document["type"] == "access.revoked.v1" and each.at in suspects]
    assert [each.last for each in found.proposals if each.reason == "revocation"] == revoked


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, signed_by_many(values, data), data)
        async with asking(world) as asked:
            await check_proposals(world, asked, data)


@given(st.one_of(histories(20), narrow_histories(20)), st.data())
@settings(max_examples=examples(15))
def test_proposals_are_what_a_look_at_every_record_finds(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))


async def test_a_stolen_token_minted_another_and_so_on(tmp_path: Path) -> None:
    """From one upload to the grants, projects and files that it leads to; what a person must decide is named."""
    world = World(tmp_path)
    make = world.make
    alice = make.having(actorid="alice", actorcredential="token:old")
    thief = make.having(actorid="alice", actorcredential="token:stolen")
    minted = make.having(actorid="alice", actorcredential="token:minted")
    other = make.having(actorid="mallory", actorcredential="token:m")
    world.begin()
    async with world.signing() as signing:
        await signing.publish(alice.file_uploaded("alpha", "1.0"))
        held = make.signing_held()
        await signing.publish(
            thief.access("granted", "a", kind="credential", credential="token:minted", role=None, project=None),
            held,
            make.signing_released(held.id),
            thief.access("revoked", "a", account="bob", role="owner", project="alpha"),
        )
        await signing.publish(minted.file_uploaded("typo", "1.0", hashes=MALWARE))
        await signing.publish(other.file_uploaded("beta", "9", hashes=MALWARE), other.file_uploaded("gamma", "1"))
        world.hold_ceremony(world.team.but(expires="2098-01-01T00:00:00Z"), signing.authority)
        await signing.publish(other.file_uploaded("typo", "2.0"), thief.file_uploaded("alpha", "1.1"))
    suspects = [each.at for each in accepted_events(world.events.values, range(len(world.events.values)))]
    suspects = [at for at in suspects if b'"token:stolen"' in (world.events.values[at] or b"")]
    async with asking(world) as asked:
        found = await asked.database.run(propose, asked, runs_of(suspects))
        few = await asked.database.run(propose, asked, runs_of(suspects), most_followed=1)
    assert found.is_complete
    assert not few.is_complete
    assert [each for each in few.proposals if each.depth == 1] == [each for each in found.proposals if each.depth == 1]
    told = {(each.depth, each.reason, each.when, each.about): each.count for each in found.proposals}
    assert told == {
        (1, "grant", "", "granted credential token:minted to account-2"): 1,
        (1, "actor", "before", "user:alice"): 1,
        (1, "actor", "within", "user:alice"): 1,
        (1, "first-use", "", "token:m"): 3,
        (1, "revocation", "", "revoked collaborator as owner to bob for alpha"): 1,
        (1, "release", "within", f"released the hold {held.id}"): 1,
        (1, "root", "within", "root@2"): 1,
        (1, "publications", "", "root@2"): 1,
        (2, "project", "", "typo"): 1,
        (2, "digest", "", MALWARE.sha256): 1,
        (3, "credential", "within", "token:m"): 1,
    }
    (grant,) = [each for each in found.proposals if each.reason == "grant"]
    assert (grant.because, grant.selectors) == (
        f"event {suspects[0]} granted it",
        (f"events={suspects[0] + 1}..{len(world.events.values) - 1}", "credential=token:minted"),
    )
