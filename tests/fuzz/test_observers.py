"""Observers: told once, whatever crashes when; in processes as in this one; refused where something would be lost."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consumers.context import Context
from consumers.follow.follower import SkippedError
from consumers.follow.observing import KeptPublication, ObserverBehindError, PublicationTold
from consumers.limits import LIMITS
from consumers.reading.runs import Shown
from consumers.render.outlets import NoOutlet
from consumers.render.telling import Telling
from consumers.work import processes
from consumers.work.workers import ThreadWorkers
from ledger.logs import LogConflictError
from ledger.state import StoreError
from ledger.state.aggregates import load_chunks
from ledger.state.file import StateFile
from ledger.state.store import Store
from projections.index.effects import Told
from projections.outcomes import ACCEPTED
from projections.roles.authority import Void
from projections.roles.layout import Layout
from tests.factory import ed25519_signer
from tests.fuzz import oracle
from tests.fuzz.thief import CapturingSealer, digest_of, draft
from tests.fuzz.told import ToldView
from tests.fuzz.world import World, following
from tests.simulation.ports import InlineWorkers


class CrashedError(Exception):
    """What an observer raises where it shall crash."""


class FailingView(ToldView):
    """Crashes once at each publication: after it has kept it, or before, with nothing kept of it."""

    fails_after = False
    failed = 0

    async def tell(self, publication: PublicationTold) -> None:
        if self.failed == publication.number:
            await super().tell(publication)
            return
        self.failed = publication.number
        if self.fails_after:
            await super().tell(publication)
        raise CrashedError


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A ledger with five publications: uploads, a hold, a removal, a release of the hold."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.begin()
        async with world.signing() as signing:
            make = world.make
            await signing.publish(make.file_uploaded("a"), make.file_uploaded("b"))
            await signing.publish(make.release_yanked("a", "1.0", "broken"), make.project_removed("nobody"))
            world.add(make.file_uploaded("a", "2.0"), make.file_uploaded("a", "3.0"), make.release_removed("a", "3.0"))
            hold = make.signing_held()
            await signing.publish(hold, make.file_uploaded("c"))
            await signing.publish(make.project_removed("b", withhold=True), make.target_added("tools/x"))
            await signing.publish(make.signing_released(hold.id))
        yield world


async def serve(world: World) -> tuple[dict[str, bytes], Any]:
    async with following(world.logs) as followed:
        await followed.follower.catch_up()
        return followed.storage.tree.files, await followed.judged()


@pytest.mark.parametrize("renders", [False, True])
@pytest.mark.parametrize("fails_after", [False, True])
async def test_each_publication_is_told_once(world: World, *, fails_after: bool, renders: bool) -> None:
    """An observer that has kept a publication is not told again, although the state has lost it."""
    told = FailingView()
    told.fails_after = fails_after
    with tempfile.TemporaryDirectory() as folder:
        crashes = 0
        while True:
            try:
                async with following(
                    world.logs, Path(folder), outlet=None if renders else NoOutlet(), observers=[told], renders=renders
                ) as followed:
                    await followed.follower.catch_up()
                    break
            except CrashedError:
                crashes += 1
    assert crashes == 5
    files, judged = await serve(world)
    told.check(files, judged, set())
    assert told.last is not None
    assert told.last.skipped == 0
    assert told.last.reproduced == renders


async def test_one_that_comes_back_without_its_state_is_told_what_is_new(world: World) -> None:
    """A run of publications ends at what the observer keeps: what it knows is not told as if it were new."""
    told = ToldView()
    async with following(world.logs, observers=[told], outlet=NoOutlet(), renders=False) as followed:
        while followed.follower.head.number < 2:
            await followed.follower.step()
    async with following(world.logs, observers=[told], outlet=NoOutlet(), renders=False) as followed:
        await followed.follower.skip()
        assert followed.follower.head.number == 2
        await followed.follower.skip()
        assert followed.follower.head.number == 5
    assert told.last is not None
    assert told.last.skipped == 2
    told.check(*await serve(world), set())


async def test_a_state_that_is_ahead_is_refused(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder), observers=[ToldView()]) as followed:
            await followed.follower.catch_up()
        with pytest.raises(ObserverBehindError, match=f"an observer keeps none.*Delete {folder}/state.sqlite:"):
            async with following(world.logs, Path(folder), observers=[ToldView()]):
                raise AssertionError
        with pytest.raises(StoreError, match="that renders"):
            async with following(world.logs, Path(folder), outlet=NoOutlet(), renders=False):
                raise AssertionError


async def test_an_observer_of_another_ledger_is_refused(world: World) -> None:
    class Stranger(ToldView):
        async def kept(self) -> KeptPublication:
            return KeptPublication(3, "0" * 64)

    async with following(world.logs, observers=[Stranger()]) as followed:
        with pytest.raises(LogConflictError, match="told of another log"):
            await followed.follower.catch_up()
        assert followed.follower.head.number == 2


async def test_each_observer_is_told_what_it_does_not_keep(world: World) -> None:
    """One is new, the other was told the first three."""
    first, second = ToldView(), ToldView()
    async with following(world.logs, observers=[first]) as followed:
        while followed.follower.head.number < 3:
            await followed.follower.step()
    async with following(world.logs, observers=[first, second]) as followed:
        await followed.follower.catch_up()
    for told in (first, second):
        told.check(*await serve(world), set())


async def test_who_only_folds_takes_the_word_of_a_root(world: World) -> None:
    """It cannot know a lie. When a root voids it, it stops; one that is made anew passes over it, and finds that its
    observer was told the lie.
    """
    world.add(world.make.file_uploaded("d"))
    forged = await draft(world)
    world.publications.values.extend(forged.but_bin(forged.names[0], lambda each: each["targets"].clear()).sealed())
    void = Void(number=forged.claim.number, digest=digest_of(world.publications.values[-1] or b""))
    told = ToldView()
    with tempfile.TemporaryDirectory() as folder:
        async with following(world.logs, Path(folder), outlet=NoOutlet(), observers=[told], renders=False) as followed:
            await followed.follower.catch_up()
            assert followed.follower.head.number == void.number
            settings = msgspec.structs.replace(world.team.settings, floor=void.number + 1)
            team = world.team.but(online=(ed25519_signer("online 2"),), settings=settings, void=void)
            world.hold_ceremony(team, followed.follower.tail.end.authority)
            async with world.signing() as signing:
                assert await signing.publish(world.make.file_uploaded("e"))
            with pytest.raises(SkippedError, match="delete that file"):
                await followed.follower.catch_up()
    for skips in (False, True):
        async with following(world.logs, outlet=NoOutlet(), observers=[told], renders=False) as followed:
            if skips:
                assert await followed.follower.skip()
            with pytest.raises(LogConflictError, match="a root has voided it"):
                await followed.follower.catch_up()
            assert followed.follower.head.number == void.number - 1
    await oracle.check(world)


async def test_bins_that_are_gone_are_not_told_with_keys_that_came_later(world: World) -> None:
    """Skipped with the publication that signed them last, and with the roots that have other keys and other bins."""
    stepped, skipped = ToldView(), ToldView()
    async with world.signing() as signing:
        before = {name for name, entry in signing.follower.table.entries.items() if entry.length}
        team = world.team.but(online=(ed25519_signer("online 2"),), layout=Layout(1, "b"))
        world.hold_ceremony(team, signing.authority)
        assert await signing.publish(world.make.file_uploaded("e"))
    async with following(world.logs, observers=[stepped]) as followed:
        await followed.follower.catch_up()
    async with following(world.logs, observers=[skipped]) as followed:
        assert await followed.follower.skip()
    assert {name: stepped.roles[name] for name in skipped.roles} == skipped.roles
    assert set(stepped.roles) - set(skipped.roles) == before


async def test_who_only_folds_stores_nothing_rendered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in this process nor in others."""
    monkeypatch.setattr(processes, "WORTH_ROUNDS", 0)
    workers = ThreadWorkers()
    try:
        for each in (None, workers):
            async with following(world.logs, outlet=NoOutlet(), workers=each, renders=False) as followed:
                await followed.follower.skip()
                chunks = await followed.store.run(load_chunks, ["project:a", "project:b", "project:c"])
                assert [(chunk.key, bytes(chunk.body), chunk.html) for chunk in chunks] == [
                    ("project:a", b"", b""),
                    ("project:b", b"", b""),
                    ("project:c", b"", b""),
                ]
                assert not followed.follower.table.entries
    finally:
        workers.close()


async def test_work_that_fails_is_undone(world: World) -> None:
    """As a context, a publication in work is abandoned at the end if nobody proposed it."""
    world.add(world.make.file_uploaded("d"))
    forged = await draft(world)
    async with following(world.logs) as followed:
        follower = followed.follower
        await follower.catch_up()
        entries, prefix = dict(follower.table.entries), await follower.tail.read_on()
        shown = Shown(forged.claim, forged.authority, prefix.size)
        work = await follower.prepare(follower.edition(shown, prefix), CapturingSealer(world.team))
        assert follower.table.entries != entries
        with suppress(CrashedError):
            async with work:
                raise CrashedError
        assert follower.table.entries == entries
        await followed.store.run(StateFile.begin)
        await followed.store.run(StateFile.rollback)


@pytest.mark.parametrize("renders", [False, True])
async def test_processes_tell_the_same(world: World, monkeypatch: pytest.MonkeyPatch, *, renders: bool) -> None:
    """Events folded in processes, and sorted on disk."""
    monkeypatch.setattr(processes, "WORTH_ROUNDS", 0)
    monkeypatch.setattr(Context, "limits", LIMITS._replace(items_per_partition=3))
    plain, told = ToldView(), ToldView()
    async with following(world.logs, observers=[plain]) as followed:
        await followed.follower.skip()
    workers = ThreadWorkers()
    try:
        async with following(
            world.logs, outlet=None if renders else NoOutlet(), workers=workers, observers=[told], renders=renders
        ) as followed:
            await followed.follower.skip()
    finally:
        workers.close()
    assert told.told == plain.told
    told.check(*await serve(world), set())


async def test_what_was_told_cannot_be_read_later(world: World) -> None:
    """It says so, instead of being less than it was."""
    last: list[PublicationTold] = []

    class Keeping(ToldView):
        async def tell(self, publication: PublicationTold) -> None:
            last.append(publication)

    async with following(world.logs, observers=[Keeping()]) as followed:
        await followed.follower.skip()
        with pytest.raises(ValueError, match="until `tell` returns"):
            await anext(aiter(last[0].events))


async def test_envelopes_of_a_log_that_is_cut_meanwhile(world: World) -> None:
    class Cutting(ToldView):
        async def tell(self, publication: PublicationTold) -> None:
            world.events.values.clear()
            await super().tell(publication)

    async with following(world.logs, observers=[Cutting()]) as followed:
        with pytest.raises(LogConflictError, match="is shorter than it was"):
            await followed.follower.skip()


async def test_work_that_is_cancelled_while_it_begins_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has begun the transaction with what came first, and nobody has heard of it."""
    run, begun = Store.run, list[Any]()

    async def run_and_be_cancelled(store: Store, function: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await run(store, function, *args, **kwargs)
        if begun:
            raise asyncio.CancelledError
        return answer

    def begin(store: Store, function: Any, *args: Any, **kwargs: Any) -> None:
        begun.append(function)
        soon(store, function, *args, **kwargs)

    soon = Store.soon

    async with following(world.logs) as followed:
        while followed.follower.head.number < 3:
            await followed.follower.step()
        with monkeypatch.context() as patched:
            patched.setattr(Store, "run", run_and_be_cancelled)
            patched.setattr(Store, "soon", begin)
            with pytest.raises(asyncio.CancelledError):
                await followed.follower.catch_up()
        assert StateFile.begin in begun
        await followed.follower.catch_up()
        assert followed.follower.head.number == 5


async def test_files_of_tasks_that_nobody_heard_of_are_deleted(tmp_path: Path) -> None:
    """Where folding fails, tasks have written files whose names were not added."""
    telling = Telling(InlineWorkers(), tmp_path / "told", 0, 1, LIMITS)
    telling.files.write([Told(0, "", "", "", ACCEPTED)])
    assert any(path.is_file() for path in tmp_path.rglob("*"))
    await telling.close()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
