"""Exposure is what a look at every published tree finds: when it was offered, until when, by what, signed by whom."""

import asyncio
import itertools
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from consumers.catalog.asking import Asked
from consumers.catalog.remaking import Remaking
from consumers.incidents.exposure import Exposure, ExposureWindow, find_exposures
from projections.metadata.paths import JSON_LIST, package_target, page_target
from schemas.events import FileUploaded
from tests.factory import Make, ed25519_signer
from tests.fuzz.budget import examples
from tests.fuzz.plain_answers import PlainTimes, accepted_events
from tests.fuzz.test_all_rules import TEAM, act
from tests.fuzz.test_answers import accepted_indices, asking, publications_of
from tests.fuzz.world import Signing, World
from tests.incidents.plain_trees import PlainTree, read_tree, root_at
from tests.property.histories import cuts, freeing_histories, histories, narrow_histories

EXPIRIES: list[dict[str, Any]] = [
    {"bin_expiry_seconds": 600},
    {"bin_expiry_seconds": 7 * 86_400},
    {"timestamp_expiry_seconds": 3 * 86_400, "snapshot_expiry_seconds": 300_000},
    {"timestamp_expiry_seconds": 60},
    {"snapshot_expiry_seconds": 50},
]


async def renew(world: World, signing: Signing, data: st.DataObject) -> None:
    """Offline roles with other expiries; a fresh online key now and then, of which two sign at most."""
    changes = data.draw(st.sampled_from(EXPIRIES))
    team = world.team.but(settings=msgspec.structs.replace(world.team.settings, **changes))
    if data.draw(st.booleans()):
        fresh = ed25519_signer(f"fresh {len(world.events.values)}")
        team = team.but(online=(*team.online, fresh)[-2:])
    if data.draw(st.booleans()):
        team = team.but(expires=f"{data.draw(st.integers(2031, 2099))}-05-01T00:00:00Z")
    if team != world.team:
        await signing.follower.tail.read_on()
        world.hold_ceremony(team, signing.authority)


async def publish(world: World, values: list[bytes], data: st.DataObject) -> None:
    """A history in publications, with holds, thefts, new times and ceremonies anywhere."""
    world.begin()
    holds: list[str] = []
    async with world.signing() as signing:
        for piece in data.draw(cuts(values)):
            where = data.draw(st.integers(0, len(piece)))
            world.append(*piece[:where])
            if data.draw(st.booleans()):
                await act(world, signing, data, holds)
            else:
                await renew(world, signing, data)
            world.append(*piece[where:])
            await signing.publish(seconds=data.draw(st.sampled_from([1, 60, 86_400])))
    world.append(*values[: data.draw(st.integers(0, 3))])


def read_trees(connection: Connection, world: World, sizes: dict[int, int], accepted: Any) -> dict[int, PlainTree]:
    remaking, trees = Remaking(connection), {}
    for number, size in sizes.items():
        timestamp = remaking.role_file("timestamp", number)
        assert timestamp is not None
        trees[number] = read_tree(number, world.storage.tree.files, timestamp.data, root_at(size, accepted))
    return trees


async def check_exposures(world: World, asked: Asked) -> None:
    values, run = world.events.values, asked.database.run
    accepted = accepted_events(values, await run(accepted_indices))
    publications = await run(publications_of)
    times = PlainTimes([(number, size, time) for number, size, _, time in publications])
    moments = {
        number: (time, effective) for (number, _, _, time), effective in zip(publications, times.effective, strict=True)
    }
    trees = await run(read_trees, world, {number: size for number, size, *_ in publications}, accepted)
    found = await expose_everything(asked, accepted)
    by_path: dict[str, set[int]] = {}
    for each in found:
        numbers = [number for window in each.windows for number in numbers_in(window, list(trees))]
        assert len(numbers) == len(set(numbers))
        by_path.setdefault(each.path, set()).update(numbers)
        if each.kind == "file":
            facts = (each.project or "", each.filename or "", each.sha256)
            assert set(numbers) == {number for number, tree in trees.items() if facts in tree.shown}, facts
        else:
            bytes_of = (each.sha256, each.length)
            assert set(numbers) == {number for number, tree in trees.items() if tree.targets.get(each.path) == bytes_of}
        assert each.is_offered == (bool(numbers) and max(numbers) == asked.number)
        for one, other in pairwise(each.windows):
            assert one.listed[-1][1] is not None
            assert one.listed[-1][1] < other.listed[0][0]
        for window in each.windows:
            check_window(each, window, trees, moments)
    for path in {path for tree in trees.values() for path in tree.targets if not path.startswith("simple/")}:
        assert by_path[path] == {number for number, tree in trees.items() if path in tree.targets}, path


def numbers_in(window: ExposureWindow, numbers: list[int]) -> list[int]:
    if window.first is None or window.last is None:
        return []
    return [each for each in numbers if window.first.publication <= each <= window.last.publication]


def check_window(
    of: Exposure, window: ExposureWindow, trees: dict[int, PlainTree], moments: dict[int, tuple[str, str]]
) -> None:
    for moment in (window.first, window.last, window.gone):
        assert moment is None or (moment.time, moment.effective_time) == moments[moment.publication]
    numbers = numbers_in(window, list(trees))
    assert (window.reach in {"offered", "ended"}) == bool(numbers)
    if not numbers:
        assert (window.gone, window.frozen, window.carried) == (None, None, ())
        return
    later = [number for number in trees if number > numbers[-1]]
    assert (None if window.gone is None else window.gone.publication) == (later[0] if later else None)
    frozen = {number: trees[number].frozen[of.path] for number in numbers}
    assert window.frozen is not None
    assert window.frozen.until == max(each.until for each in frozen.values())
    assert frozen[window.frozen.publication].until == window.frozen.until
    carried = {(role, *each) for chain in frozen.values() for role, each in chain.online.items()}
    assert {(each.role, version, each.keyids) for each in window.carried for version in each.versions} == carried
    assert sum(each.count for each in window.carried) == len(carried)
    for each in window.carried:
        assert (each.first, each.last) == (min(each.versions), max(each.versions))
    assert {each.keyid for each in window.lost} >= {keyid for _, _, keyids in carried for keyid in keyids}


async def expose_everything(asked: Asked, accepted: Any) -> list[Exposure]:
    """All exposures, found by whatever names them: by filename, release, path and digest they are the same."""
    uploads = [each for each in accepted if each.document["type"] == "file.uploaded.v1"]
    found: dict[int, Exposure] = {}
    for upload in uploads:
        data, project = upload.document["data"], upload.document["subject"]
        (own,) = [each async for each in find_exposures(asked, data["filename"]) if each.event == upload.at]
        found[upload.at] = own
        for text in (own.path, f"targets/{own.path}", f"sha256:{own.sha256}", f"{project}=={data['version']}"):
            assert own in [each async for each in find_exposures(asked, text)], text
    for event in accepted:
        if event.document["type"] == "target.added.v1":
            async for each in find_exposures(asked, event.document["subject"]):
                found[each.event] = each
    return list(found.values())


async def play(values: list[bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), team=TEAM)
        await publish(world, values, data)
        async with asking(world) as asked:
            await check_exposures(world, asked)


@given(st.one_of(histories(25), narrow_histories(20), freeing_histories()), st.data())
@settings(max_examples=examples(15))
def test_exposure_is_what_every_published_tree_shows(values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(play(values, data))


# --- what random histories rarely have -------------------------------------------------------------------------------


def names_in(index: int, count: int, form: str = "t{}") -> list[str]:
    """Names of targets in a bin of `TEAM`."""
    names = (form.format(number) for number in itertools.count())
    return list(itertools.islice((name for name in names if TEAM.layout.index_of_target(name) == index), count))


async def test_an_older_version_of_a_bin_may_last_longer_than_a_newer_one(tmp_path: Path) -> None:
    world = World(tmp_path, team=TEAM)
    world.begin()
    (target, beside), (other,) = names_in(0, 2), names_in(1, 1)
    async with world.signing() as signing:
        await signing.publish(world.make.target_added(target), seconds=60)
        shorter = msgspec.structs.replace(TEAM.settings, bin_expiry_seconds=600)
        world.hold_ceremony(world.team.but(settings=shorter), signing.authority)
        await signing.publish(world.make.target_added(other), seconds=60)
        await signing.publish(world.make.target_added(beside), seconds=60)
    async with asking(world) as asked:
        (found,) = [each async for each in find_exposures(asked, target)]
        (window,) = found.windows
    assert window.frozen is not None
    assert (window.frozen.publication, window.frozen.role) == (2, "timestamp")
    assert [(each.role, each.versions) for each in window.carried] == [
        (TEAM.layout.name(0), (1, 3)),
        ("snapshot", (1, 2, 3)),
        ("timestamp", (1, 2, 3)),
    ]


def uploads_of_one_path(make: Make) -> tuple[FileUploaded, FileUploaded, str]:
    """Uploads of the same file to two projects, the second of which has its page in another bin; and the path."""
    for number in itertools.count():
        name, layout = f"x-{number}", TEAM.layout
        first, second = (make.file_uploaded(each, filename=f"{name}-1.0.zip", legacy=True) for each in ("x", name))
        path = package_target(first.data.hashes.blake2b_256, first.data.filename)
        pages = {layout.index_of_target(page) for page in (page_target(name), JSON_LIST)}
        if layout.index_of_target(path) not in pages:
            return first, second, path
    raise AssertionError("unreachable")


async def test_the_bin_may_list_a_path_before_the_file_of_another_project(tmp_path: Path) -> None:
    world = World(tmp_path, team=TEAM)
    world.begin()
    first, second, path = uploads_of_one_path(world.make)
    async with world.signing() as signing:
        await signing.publish(first)
        await signing.publish(second)
    async with asking(world) as asked:
        found = [each async for each in find_exposures(asked, path)]
    assert [each.project for each in found] == ["x", second.subject]
    (window,) = found[1].windows
    assert window.first is not None
    assert window.first.publication == 2
    carried = {each.role: each.versions for each in window.carried}
    assert carried[TEAM.layout.name(TEAM.layout.index_of_target(path))] == (1,)
