"""Verification by columns against stepping: the same publication diverges first, or none does; and the state that it
leaves is that of stepping.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from consumers.limits import LIMITS
from consumers.render.outlets import FileListOutlet
from consumers.verify import column_tasks
from consumers.verify.verifier import Patience, Verifier
from consumers.work import processes
from consumers.work.workers import ThreadWorkers
from ledger.state.comparisons import FileRow, differences_after, files_after
from projections.metadata import repository
from projections.metadata.repository import RoleEntry
from projections.roles.authority import Void
from projections.roles.layout import Layout
from tests.factory import ed25519_signer
from tests.fuzz.commands import verified
from tests.fuzz.test_stolen_key import DIVERGENT, add_target, forged
from tests.fuzz.thief import digest_of, draft
from tests.fuzz.walking import check_columns, walk
from tests.fuzz.world import SMALL, Signing, World, following
from tests.property.histories import cuts, histories
from tests.simulation.ports import InlineWorkers

MORE = st.integers(0, 3)


async def lie_and_go_on(world: World, name: str, projects: Sequence[str]) -> None:
    """A thief publishes a lie, and then what an honest signer would have published after it: uploads to projects."""
    make = world.make
    honest = World(world.folder, events=world.events, make=make, storage=world.storage)
    honest.publications.values.extend(world.publications.values)
    world.add(make.file_uploaded("z", "2.0"))
    honest.publications.values.extend((await draft(honest)).sealed())
    await forged(world, name)
    for project in projects:
        world.add(make.file_uploaded(project, f"{len(world.events.values)}.0"))
        after = await draft(honest)
        last = world.publications.values[-1] or b""
        claim = msgspec.structs.replace(after.claim, previous=digest_of(last))
        world.publications.values.extend(after.but(claim=claim).sealed())
        honest.publications.values.extend(after.sealed())


async def lie(name: str, values: list[bytes], data: st.DataObject) -> None:
    """A random ledger, a lie in it, and what the thief goes on to publish."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "signer")
        world.begin()
        make = world.make
        async with world.signing() as signing:
            await signing.publish(make.file_uploaded("z"), make.file_uploaded("b"))
            await signing.publish(make.file_uploaded("c"), make.target_added("t"))
            for piece in data.draw(cuts(values)):
                world.append(*piece)
                await signing.publish()
            number = signing.follower.head.number
        await lie_and_go_on(world, name, [data.draw(st.sampled_from(["z", "d"])) for _ in range(data.draw(MORE))])
        walked = await check_columns(world, data.draw(st.integers(0, number)))
        assert walked.halted_at == number + 1


@pytest.mark.parametrize("name", DIVERGENT)
@given(histories(12), st.data())
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])  # to make a smaller ledger would take minutes
def test_a_lie_is_found_where_stepping_finds_it(name: str, values: list[bytes], data: st.DataObject) -> None:
    asyncio.run(lie(name, values, data))


# --- what may happen in a window --------------------------------------------------------------------------------------

THRESHOLD_2 = SMALL.but(
    layout=Layout(4), online=(ed25519_signer("online 1"), ed25519_signer("online 2")), online_threshold=2
)
HTML = SMALL.but(layout=Layout(4), settings=msgspec.structs.replace(SMALL.settings, html_pages=True, importing=False))
LIST_LATER = SMALL.but(layout=Layout(4), settings=msgspec.structs.replace(SMALL.settings, project_list_seconds=30))
TEAMS = {"threshold 2": THRESHOLD_2, "html": HTML, "list later": LIST_LATER}
DAY = 86_400


async def publish_many(signing: Signing, count: int) -> None:
    """Small publications, with time enough between some of them that bins are renewed."""
    make = signing.world.make
    for number in range(count):
        project = f"p{number % 5}"
        await signing.publish(make.file_uploaded(project, f"{number}.0"), make.file_uploaded("a", f"{number}.1"))
        if number % 4 == 3:
            await signing.publish(make.project_removed(project), seconds=60)
            await signing.publish(make.project_created(project), make.target_added("t", str(number)), seconds=3 * DAY)


@pytest.mark.parametrize("team", TEAMS.values(), ids=TEAMS)
async def test_renewals_thresholds_and_lists(world: World) -> None:
    async with world.signing() as signing:
        await publish_many(signing, 12)
    renewed = [value for value in world.publications.values if b'"renew":["' in (value or b"")]
    assert renewed
    await check_columns(world)


async def test_a_root_that_changes_neither_keys_nor_bins_ends_no_era(world: World) -> None:
    async with world.signing() as signing:
        await publish_many(signing, 4)
        settings = msgspec.structs.replace(SMALL.settings, bin_expiry_seconds=40 * DAY, importing=False)
        world.hold_ceremony(SMALL.but(settings=settings, expires="2039-01-01T00:00:00Z"), signing.authority)
        await publish_many(signing, 4)
    windows: list[int] = []
    walked = await walk(world, by_columns=True, windows=windows)
    assert windows == [walked.number]
    await check_columns(world)


@pytest.mark.parametrize(
    "change",
    [{"layout": Layout(3)}, {"online": (ed25519_signer("online 2"),)}, {"settings": HTML.settings}],
    ids=["bins", "keys", "html"],
)
async def test_eras_end(world: World, change: dict[str, object]) -> None:
    async with world.signing() as signing:
        await publish_many(signing, 4)
        world.hold_ceremony(SMALL.but(**change), signing.authority)
        await publish_many(signing, 4)
    windows: list[int] = []
    walked = await walk(world, by_columns=True, windows=windows)
    assert len(windows) == 2
    assert windows[-1] == walked.number
    await check_columns(world)


async def test_content_waits_in_a_window(world: World, signing: Signing) -> None:
    """Publications during a hold cover what they do not show."""
    held = world.make.signing_held(len(world.events.values) + 3)
    await signing.publish(held, world.make.file_uploaded("b"), world.make.file_uploaded("c"))
    await publish_many(signing, 5)
    await signing.publish(world.make.signing_released(held.id), seconds=DAY)
    await publish_many(signing, 2)
    windows: list[int] = []
    walked = await walk(world, by_columns=True, windows=windows)
    assert windows == [walked.number]
    assert any(row.content_size < row.size for row in walked.publications)
    for first in (2, 4):
        await check_columns(world, first)


async def test_a_lie_that_a_root_voids_is_passed_over(world: World, signing: Signing) -> None:
    await publish_many(signing, 3)
    world.add(world.make.file_uploaded("a", "77.0"))
    lie = await draft(world)
    world.publications.values.extend(lie.but_bin(lie.names[0], add_target).sealed())
    await signing.follower.tail.read_on()
    settings = msgspec.structs.replace(SMALL.settings, floor=1000)
    void = Void(lie.claim.number, digest_of(world.publications.values[-1] or b""))
    new = SMALL.but(online=(ed25519_signer("online 2"),), settings=settings, void=void)
    world.hold_ceremony(new, signing.authority)
    await signing.publish()
    await publish_many(signing, 3)
    assert (await check_columns(world)).number > 1000


async def test_long_bins_state_their_length_in_the_snapshot(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (repository, column_tasks):
        monkeypatch.setattr(module, "LENGTH_ABOVE_BYTES", 2_000)
    await publish_many(signing, 12)
    assert any(
        b'"length"' in data for path, data in world.storage.tree.files.items() if path.endswith(".snapshot.json")
    )
    await check_columns(world)


@pytest.mark.slow
async def test_bins_that_are_really_long(world: World, signing: Signing) -> None:
    """Beyond the border of two million bytes, and back."""
    layout, folder = Layout(2), "/".join(["x" * 100] * 4)
    names = [f"{folder}-{number}" for number in range(16_000)]
    stuffing = [name for name in names if layout.index_of_target(name) == 1]
    for part in (stuffing[:3_500], stuffing[3_500:]):
        await signing.publish(*map(world.make.target_added, part))
        await publish_many(signing, 4)
    for name in stuffing[:3]:
        await signing.publish(world.make.target_removed(name))
    await signing.publish(*map(world.make.target_removed, stuffing[3:500]))
    await publish_many(signing, 4)
    snapshots = [path for path in world.storage.tree.files if path.endswith(".snapshot.json")]
    long = [path for path in snapshots if b'"length"' in world.storage.tree.files[path]]
    assert len(snapshots) // 4 < len(long) < len(snapshots) // 4 * 3
    await check_columns(world)


async def test_a_window_that_changes_too_much_is_cut_in_two(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_tasks, "MOST_CHANGES", 20)
    await publish_many(signing, 12)
    windows: list[int] = []
    await walk(world, by_columns=True, windows=windows)
    assert len(windows) > 2
    await check_columns(world)


async def test_windows_in_processes(world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTH_ROUNDS", 0)
    await publish_many(signing, 20)
    world.add(world.make.file_uploaded("a", "77.0"))
    lie = await draft(world)
    world.publications.values.extend(lie.but_bin(lie.names[0], add_target).sealed())
    workers = ThreadWorkers()
    try:
        walked = await walk(world, by_columns=True, workers=workers)
    finally:
        workers.close()
    assert walked == await walk(world, by_columns=False)
    assert walked.halted_at == lie.claim.number


def counted_windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many publications each window has, from now on."""
    windows: list[int] = []
    check = column_tasks.check_snapshots

    def counted(
        before: Mapping[str, RoleEntry], first: int, versions: Sequence[column_tasks.SnapshotVersion]
    ) -> int | None:
        windows.append(len(versions))
        return check(before, first, versions)

    monkeypatch.setattr("consumers.verify.columns.check_snapshots", counted)
    return windows


async def test_the_command_goes_by_columns(world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes to the same answer, compares the same files, and steps through less."""
    await publish_many(signing, 30)
    windows = counted_windows(monkeypatch)
    answer = await verified(world)
    assert answer.differences == []
    assert answer.last == signing.follower.head.number == sum(windows) + 1
    path = next(path for path in world.storage.tree.files if path.startswith("metadata/9."))
    world.storage.tree.files[path] += b" "
    answer = await verified(world)
    assert [each.path for each in answer.differences] == [path]


async def watched(world: World, skip_from: int) -> tuple[list[FileRow], list[str]]:
    """All files that a verifier knows when it has caught up, and those that differ."""
    async with following(world.logs, outlet=FileListOutlet()) as followed:
        verifier = Verifier(
            world.storage,
            patience=Patience(0, 1000),
            follower=followed.follower,
            store=followed.store,
            workers=InlineWorkers(),
            limits=LIMITS._replace(skip_from=skip_from),
        )
        while await verifier.step(0):
            pass
        files = await followed.store.run(files_after, "", 10**6)
        return files, [row.path for row in await followed.store.run(differences_after, "", 10)]


async def test_a_verifier_far_behind_goes_by_columns(
    world: World, signing: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes to the same list of files, and raises the same alarms."""
    await publish_many(signing, 24)
    path = next(path for path in world.storage.tree.files if path.startswith("metadata/9."))
    world.storage.tree.files[path] += b" "
    windows = counted_windows(monkeypatch)
    stepped = await watched(world, 10**6)
    assert windows == []
    assert stepped[1] == [path]
    assert await watched(world, 16) == stepped
    assert len(windows) == 1
    assert windows[0] > signing.follower.head.number // 2
