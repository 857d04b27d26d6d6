"""Followers that fold on all cores: the same state and the same files as with one process, whatever goes wrong."""

import asyncio
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.reading import slices, tail
from consumers.rebuild import rebuilding
from consumers.render import tasks
from consumers.render.carriers import Files, Sent
from consumers.render.outlets import PublicOutlet
from consumers.render.rounds.parallel import BulkRounds
from consumers.service.opening import open_follower
from consumers.work import processes
from consumers.work.processes import ProcessKilledError
from ledger.storage.directory import DirectoryStorage
from tests.client.index import Index, silence, tree
from tests.golden.positions import read_state, skip_from, step_all
from tests.golden.records import load
from tests.golden.replay import context_of


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    silence()
    golden = load()
    return context_of(tmp_path_factory.mktemp("ledger"), golden.events, golden.publications)


@pytest.fixture(scope="module")
def stepped(context: Context, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """States after each publication, made one by one in one process."""
    folder = tmp_path_factory.mktemp("states") / "states"
    return [folder / f"{number}.sqlite" for number in step_all(context, folder)]


@pytest.fixture(params=["files", "sent", "sent, then files"])
def way(request: pytest.FixtureRequest) -> str:
    """How what tasks hand on gets from one to another."""
    return str(request.param)


@pytest.fixture
def bulk(monkeypatch: pytest.MonkeyPatch, way: str) -> Iterator[list[int]]:
    """Every batch is done in processes, and cut into many pieces, and nearly every page is kept as a file. Gives the
    sizes of these batches.
    """
    sizes: list[int] = []
    ways: set[str] = set()
    seal = BulkRounds.seal
    fold = BulkRounds.fold

    async def counting(self: BulkRounds) -> Any:
        sizes.append(self._edition.size)
        return await fold(self)

    async def noting(self: BulkRounds) -> Any:
        sealed = await seal(self)
        _, carrier = self._folded()
        assert isinstance(carrier, Files | Sent)
        if self._edition.first < self._edition.content_size:  # where nothing is folded, nothing is carried
            ways.add("files" if isinstance(carrier, Files) else "sent, then files" if carrier._are_many else "sent")
        return sealed

    monkeypatch.setattr(BulkRounds, "fold", counting)
    monkeypatch.setattr(BulkRounds, "seal", noting)
    monkeypatch.setattr(processes, "WORTH_ROUNDS", 0)
    limits = LIMITS._replace(page_bytes=600)
    if way != "sent":
        monkeypatch.setattr(tasks, "SENT_BYTES", 1_000)
    if way == "files":
        monkeypatch.setattr(tail, "WORTH_READING", 0)
        monkeypatch.setattr(tail, "_LOOK_AFTER", 0)
        monkeypatch.setattr(slices, "SLICE_BYTES", 10_000)
        limits = limits._replace(tail_bytes=0, items_per_partition=30)
    monkeypatch.setattr(Context, "limits", limits)
    yield sizes
    assert sizes
    assert way in ways, "what is little is sent anyway"
    assert way == "sent, then files" or ways == {way}


@pytest.mark.parametrize("place", [0, 6, 14])
def test_a_state_is_what_one_process_makes_of_it(
    context: Context, stepped: list[Path], bulk: list[int], place: int
) -> None:
    """What a root voids, or what moves to other bins, is for one process."""
    assert skip_from(context, stepped[place]) == read_state(stepped[-1])
    assert max(bulk) > 20


@pytest.mark.usefixtures("way")
def test_a_tree_is_what_one_process_makes_of_it(
    context: Context, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    def publish(name: str) -> dict[str, str]:
        async def run() -> None:
            storage = DirectoryStorage(tmp_path / name, tmp_path / f"{name}.staging", evidence=context.evidence)
            async with open_follower(context, name, PublicOutlet(storage), storage) as opened:
                while await opened.follower.skip() or await opened.follower.step():
                    pass

        asyncio.run(run())
        return tree(tmp_path / name)

    expected = publish("alone")
    bulk: list[int] = request.getfixturevalue("bulk")
    assert publish("together") == expected
    assert bulk
    assert not [path for path in (tmp_path / "together.staging").rglob("*") if path.is_file()]
    assert not (context.state / "together.sqlite-wal").exists(), "a state is one file when its consumer has stopped"


def test_a_signer_that_signs_much(bulk: list[int], tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index")
    for name in ("one", "two", "three"):
        index.upload(name)
    index.publish_and_check()
    index.upload("one", "2.0")
    index.publish_and_check()
    index.verify()
    index.check_rebuilt(tmp_path / "rebuilt")
    assert len(bulk) > 4


def test_what_waited_is_shown_alike(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Events that waited are read again and folded on all cores, by signers, followers and rebuilds."""
    index = Index.create(tmp_path / "index")
    index.upload("one")
    index.publish()
    (first,) = index.ask("hold", "--unlocked")
    for number in range(1, 4):
        index.upload("one", f"{number}.5")
    index.publish()
    (second,) = index.ask("hold", "--unlocked")
    index.upload("two")
    index.run("remove", "one==1.5")
    number = index.publish()
    alone = index.rebuild(tmp_path / "held")
    bulk: list[int] = request.getfixturevalue("bulk")
    index.run("unhold", first["hold"], "--others-remain")
    assert list(index.publish_and_check().projects["one"].versions) == ["1.0", "1.5", "2.5", "3.5"]
    assert bulk[-1] == 4, "three uploads and the hold before them"
    index.run("unhold", second["hold"])
    seen = index.publish_and_check()
    assert sorted(seen.projects) == ["one", "two"]
    assert not list((index.folder / "state/signer.spill").glob("tail/*")), "nothing is left of what was read again"
    index.verify()
    index.check_rebuilt(tmp_path / "rebuilt")
    monkeypatch.setattr(rebuilding, "WORTH_READING", 0)
    assert index.rebuild(tmp_path / "replayed").items() <= tree(index.public).items()
    assert index.rebuild(tmp_path / "replayed-then", "--at", number) == alone
    assert way


def test_a_killed_process_is_said_and_nothing_is_kept(
    context: Context, stepped: list[Path], bulk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = BulkRounds._save_behind

    async def kill(self: BulkRounds, *arguments: Any) -> None:
        await save(self, *arguments)
        for process in active_children():
            process.kill()

    with monkeypatch.context() as patched:
        patched.setattr(BulkRounds, "_save_behind", kill)
        with pytest.raises(ProcessKilledError, match="memory"):
            skip_from(context, stepped[0])
    assert read_state(context.state / "skipping.sqlite") == read_state(stepped[0])
    assert skip_from(context, stepped[0]) == read_state(stepped[-1])
    assert bulk
