"""All rules at once: names and bytes that are cleaned, holds, new times, other bins and pages, in any order; whoever
follows comes to the same, and serves what nobody withholds, and nothing else.
"""

import asyncio
import json
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.state.published import published_files
from ledger.clock import to_instant
from ledger.storage.memory import MemoryStorage
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path
from projections.roles.layout import Layout
from tests import factory
from tests.factory import digest, ed25519_signer
from tests.fuzz.catalogs import check_catalog
from tests.fuzz.oracle import check_chain, check_client, check_folding, check_judged, follow, same_view
from tests.fuzz.thief import draft
from tests.fuzz.walking import check_columns
from tests.fuzz.world import SMALL, Signing, World, following
from tests.property.histories import FREEABLE, cuts, histories

LISTED = (factory.freeable_root(FREEABLE),)
TEAM = SMALL.but(settings=msgspec.structs.replace(SMALL.settings, freeable=LISTED))
SETTINGS: list[dict[str, Any]] = [
    {"html_pages": True},
    {"html_pages": False},
    {"importing": False},
    {"importing": True},
    {"freeable": ()},
    {"freeable": LISTED},
    {"project_list_seconds": 30},
]
CONTENTS = {digest(content): content.encode() for content in ("x", "y")}


def store_files(storage: MemoryStorage, values: Iterable[bytes | None]) -> None:
    """What an index stores before it appends these records."""
    for value in values:
        event = json.loads(value or b"{}")
        if event.get("type") != "file.uploaded.v1":
            continue
        data = event["data"]
        path, sha = package_target(data["hashes"]["blake2b_256"], data["filename"]), data["hashes"]["sha256"]
        for served in (hashed_path(path, sha), plain_path(path), companion_path(path, "metadata")):
            if not storage.evidence.has(served) and storage.read(served) is None:
                storage.replace(served, CONTENTS[sha])


async def change_root(world: World, signing: Signing, data: st.DataObject, *, new_time: bool) -> None:
    """A ceremony that changes some settings, the bins perhaps, and the time if it must."""
    world.clock.advance(1)
    changes = data.draw(st.sampled_from(SETTINGS)) | data.draw(st.sampled_from(SETTINGS))
    team = world.team.but(layout=data.draw(st.sampled_from([world.team.layout, Layout(1), Layout(3), Layout(2, "b")])))
    if new_time:
        changes = {**changes, "time_from": to_instant(world.clock.now())}
        team = team.but(online=(ed25519_signer(f"online of {changes['time_from']}"),))
    team = team.but(settings=msgspec.structs.replace(team.settings, **changes))
    if team != world.team:
        await signing.follower.tail.read_on()
        world.hold_ceremony(team, signing.authority)


async def act(world: World, signing: Signing, data: st.DataObject, holds: list[str]) -> None:
    """Something besides events about projects and targets."""
    action = data.draw(st.sampled_from(["", "hold", "hold", "release", "ceremony", "ceremony", "new time", "theft"]))
    if action == "hold":
        held = world.make.signing_held(data.draw(st.integers(0, len(world.events.values))))
        holds.append(held.id)
        world.add(held)
    elif action == "release" and holds:
        world.add(world.make.signing_released(data.draw(st.sampled_from(holds))))
    elif action == "theft":
        world.publications.values.extend((await draft(world, time="2999-01-01T00:00:00Z")).sealed())
        await signing.follower.catch_up()
    if action in {"ceremony", "new time", "theft"}:
        await change_root(world, signing, data, new_time=action != "ceremony")


async def check_served(world: World) -> bool:
    """Each name of a distribution file is served, unless all files that have it are withheld.

    Returns whether no two projects say different things of one path: of these, clients refuse all files but one.
    """
    served = world.storage.tree.files
    holders: dict[str, list[tuple[str, bool]]] = {}
    offered: dict[str, set[tuple[str, int]]] = {}
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        async for batch in published_files(followed.store):
            for facts in batch:
                holders.setdefault(facts.path, []).append((facts.sha256, facts.withheld))
                if not facts.removed:
                    offered.setdefault(facts.path, set()).add((facts.sha256, facts.length))
    for path, held in holders.items():
        free = {sha for sha, is_withheld in held if not is_withheld}
        for sha, _ in held:
            assert (hashed_path(path, sha) in served) == (sha in free)
        assert (plain_path(path) in served) == (companion_path(path, "metadata") in served) == bool(free)
        shown = served.get(plain_path(path))
        assert shown is None or sha256(shown).hexdigest() not in {sha for sha, _ in held if sha not in free}
    return all(len(each) == 1 for each in offered.values())


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        world.begin()
        holds: list[str] = []
        async with world.signing() as signing:
            for piece in data.draw(cuts(values)):
                where = data.draw(st.integers(0, len(piece)))
                store_files(world.storage, piece)
                world.append(*piece[:where])
                await act(world, signing, data, holds)
                world.append(*piece[where:])
                await signing.publish()
            await signing.publish(*(world.make.signing_released(each) for each in holds))
        stepped = await follow(world, skipping=False)
        same_view(stepped, await follow(world, skipping=True))
        same_view(stepped, await follow(world, skipping=True, first=data.draw(st.integers(0, stepped.number))))
        await check_columns(world, data.draw(st.integers(0, stepped.number)))
        await check_folding(world, stepped)
        await check_catalog(world, stepped, stops=data.draw(st.integers(0, 5)))
        check_judged(world, stepped)
        check_chain(world, stepped)
        if await check_served(world):
            check_client(world, stepped)


@given(histories(30), st.data())
@settings(max_examples=12)
def test_whoever_follows_comes_to_the_same(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))


@pytest.mark.slow
@given(histories(30), st.data())
@settings(max_examples=30)
def test_whoever_follows_comes_to_the_same_more_often(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))
