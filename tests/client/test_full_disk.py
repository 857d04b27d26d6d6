"""A full disk passes: whatever has no room, nothing is damaged, nobody is told to delete anything, and all goes on when
there is room again. The disks are real ones, small, and filled to the last page.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.sign.resuming import note_resumed, resumed_above
from ledger.disk.files import StorageUnavailableError
from ledger.logs import LogUnavailableError
from schemas.codec import encode_event
from tests.client.disks import PAGE_BYTES, SmallDisk, mounted
from tests.client.index import Index, invoke, tree
from tests.client.processes import execute, start, until
from tests.client.test_processes import covers
from tests.client.test_sweep import age
from tests.factory import Make

ADVICE = "No space left on device: make room, or wait for a sweep"
SQLITE = r"cannot be used now: (database or disk is full|disk I/O error)\. Check that the disk has room"
RETRIED = "temporary failure, retrying"

PLACES = {
    "state": ("state", rf"disk/state/signer\.(sqlite {SQLITE}|kept/\S+ cannot be written: {ADVICE})"),
    "served": ("public", rf"disk/\S+ cannot be written: {ADVICE}"),
    "log": ("log", rf"disk/log/(events|publications)\.sqlite {SQLITE}"),
    "spill": ("state/signer.spill", rf"signer\.spill/\S+ cannot be written: {ADVICE}"),
}
"""What stands on the small disk: where it is in a ledger's folder, and what is said when there is no room for it."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk, empty."""
    with mounted(tmp_path / "disk") as small:
        yield small


def move(index: Index, disk: SmallDisk, place: str) -> None:
    """Move a part of a ledger to the disk."""
    part, _ = PLACES[place]
    moved = disk.folder / part.rpartition("/")[2]
    if place == "spill":
        moved.mkdir()
        (index.folder / part).symlink_to(moved)
        return
    shutil.move(index.folder / part, moved)
    written = {"state": f'state = "{moved}"', "served": f'public = "{moved}"', "log": f'log = "sqlite:{moved}"'}
    (index.folder / "ledger.toml").write_text(f"[ledger]\n{written[place]}\n")
    if place == "served":
        index.public = moved


def check_wording(output: str, place: str) -> None:
    """It says what has no room, and nothing against it."""
    assert re.search(PLACES[place][1], output), output
    assert "damaged" not in output
    assert "delete" not in output


def check_whole(index: Index, target: Path) -> None:
    """Nothing is lost, and nothing is left behind."""
    index.check(files=False)
    assert "complete and unchanged" in index.verify("--no-files")
    log = index.context.logs().events.name.removesuffix("/events.sqlite")
    invoke("rebuild", "--log", f"sqlite:{log}", "--ledger", target.parent, "--to", target, "--files", index.public)
    assert tree(target).items() <= tree(index.public).items()


# --- commands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["state", "served", "log"])
def test_wherever_a_publication_runs_out_of_room(index: Index, disk: SmallDisk, tmp_path: Path, place: str) -> None:
    """With no room at all, and with a page more each time, until it fits."""
    index.upload("one")
    index.publish()
    move(index, disk, place)
    make, number, pages, done = Make(), 0, 0, False
    while not done:
        number += 1
        index.append(make.file_uploaded("one", f"1.{number}"))
        disk.fill(left_bytes=pages * PAGE_BYTES)
        answer = execute("publish", "--ledger", index.folder, answer=None) if pages == 0 else None
        if answer is None:  # in this process that is faster
            output = index.run("publish", answer=None)
            done = "Publication" in output
        else:
            output = answer.stderr
            assert answer.returncode == 75, output
        if not done:
            check_wording(output, place)
        disk.make_room()
        index.publish()
        pages += 1
    assert pages > 2
    check_whole(index, tmp_path / "rebuilt")


@pytest.mark.parametrize("where", ["in this process", "in processes"])
def test_no_room_for_what_is_spilled(
    index: Index, disk: SmallDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    move(index, disk, "spill")
    index.upload("one")
    monkeypatch.setattr(Context, "limits", LIMITS._replace(tail_bytes=0))
    if where == "in processes":
        monkeypatch.setattr("consumers.work.processes.WORTH_ROUNDS", 1)
    answers = set()
    for pages in range(0, 40, 1):
        disk.fill(left_bytes=pages * PAGE_BYTES)
        output = index.run("publish", answer=None)
        answers.add("Publication" in output)
        if "Publication" in output:
            break
        check_wording(output, "spill")
        disk.make_room()
    assert answers == {False, True}
    disk.make_room()
    index.upload("two")
    index.publish()
    check_whole(index, tmp_path / "rebuilt")


def test_appending_to_a_log_without_room(index: Index, disk: SmallDisk) -> None:
    """The same log goes on, open or not."""
    move(index, disk, "log")
    disk.fill()
    (said,) = index.ask("append", stdin=encode_event(Make().project_created("one")), answer=75)
    assert (said["ok"], said["error"], said["exit"]) == (False, "log-unavailable", 75)
    check_wording(said["message"], "log")
    disk.make_room()

    async def append() -> tuple[list[int], int]:
        log = index.context.logs().events
        await log.open()
        try:
            size = await log.size()
            disk.fill()
            with pytest.raises(LogUnavailableError, match=SQLITE):
                await log.append([encode_event(Make().project_created("two"))] * 3)
            assert await log.size() == size
            disk.make_room()
            return await log.append([encode_event(Make().project_created("three"))]), size
        finally:
            await log.close()

    appended, size = asyncio.run(append())
    assert appended == [size]
    index.publish_and_check()


def test_adding_a_file_without_room(index: Index, disk: SmallDisk) -> None:
    move(index, disk, "served")
    before = index.info()["sizes"]
    disk.fill()
    path = index.folder.with_name("index-files") / "one-1.0-py3-none-any.whl"
    with pytest.raises(AssertionError, match="ended with 75") as ended:
        index.upload("one")
    check_wording(str(ended.value), "served")
    assert index.info()["sizes"] == before, "what is not stored is not appended"
    disk.make_room()
    index.run("add", path)
    index.publish_and_check()
    index.verify()


def test_no_room_for_a_new_ledger(disk: SmallDisk) -> None:
    output = ""
    for pages in range(0, 120, 3):
        disk.fill(left_bytes=pages * PAGE_BYTES)
        output = invoke("init", disk.folder / "new", answer=None).output
        if (disk.folder / "new").exists():
            break
        assert f"cannot be written: {ADVICE}" in output or re.search(SQLITE, output), output
        assert "damaged" not in output
        disk.make_room()
    disk.make_room()
    if not output.startswith("Ledger"):  # it was made, and its first publication had no room
        invoke("publish", "--ledger", disk.folder / "new")
    Index(disk.folder / "new", clients=disk.folder / "client").check()


@pytest.mark.parametrize("how", ["step by step", "on all cores"])
def test_rebuilding_without_room(index: Index, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    index.upload("one")
    index.publish()
    if how == "on all cores":
        monkeypatch.setattr("consumers.rebuild.rebuilding.WORTH_READING", 1)
    target = disk.folder / "rebuilt"
    for pages in range(0, 400, 8):
        disk.fill(left_bytes=pages * PAGE_BYTES)
        output = index.run("rebuild", "--to", target, answer=None)
        disk.make_room()
        if target.exists():
            break
        assert f"cannot be written: {ADVICE}" in output or re.search(SQLITE, output), output
        assert "damaged" not in output
        assert list(disk.folder.iterdir()) == [], "it gives back the room that it took"
    assert tree(target).items() <= tree(index.public).items()


def test_verifying_without_room(index: Index, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
    for pages in (0, 1, 20):
        disk.fill(left_bytes=pages * PAGE_BYTES)
        said = index.run("verify", answer=75)
        assert re.search(SQLITE, said) or "No space left on device" in said, said
        assert "damaged" not in said
        disk.make_room()
    index.run("verify")
    assert list(disk.folder.iterdir()) == []


# --- sweeps ------------------------------------------------------------------------------------------------------


def test_a_sweep_needs_no_room_to_make_some(index: Index, disk: SmallDisk, tmp_path: Path) -> None:
    """What was marked before is deleted on a disk without a free page: the service waits for just that."""
    for _ in range(40):
        index.publish("--renew")
    age(index)
    shutil.move(index.folder, disk.folder / "index")
    index = Index(disk.folder / "index", clients=tmp_path / "clients")
    marked = index.ask("sweep", "--grace", "0s")[0]["marked"]
    disk.fill()
    assert len(index.ask("sweep", "--grace", "0s")[0]["deleted"]) == marked
    index.publish("--renew")
    index.check()
    index.verify()


def test_a_first_sweep_without_room(index: Index, disk: SmallDisk) -> None:
    move(index, disk, "state")
    disk.fill()
    said = index.run("sweep", answer=75)
    assert re.search(rf"disk/state/sweep\.sqlite {SQLITE}", said), said
    assert "damaged" not in said
    disk.make_room()
    assert index.ask("sweep")[0]["full"]


# --- what is remembered ------------------------------------------------------------------------------------------


def test_the_number_to_resume_above_is_not_lost(disk: SmallDisk) -> None:
    note_resumed(disk.folder, 11)
    disk.fill()
    with pytest.raises(StorageUnavailableError, match=f"resumed-above cannot be written: {ADVICE}"):
        note_resumed(disk.folder, 4711)
    assert resumed_above(disk.folder) == 11
    disk.make_room()
    note_resumed(disk.folder, 4711)
    assert resumed_above(disk.folder) == 4711
    assert [path.name for path in disk.folder.iterdir()] == ["resumed-above"]


# --- services ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES)
def test_a_service_goes_on_when_there_is_room(index: Index, disk: SmallDisk, tmp_path: Path, place: str) -> None:
    index.upload("one")
    index.publish()
    move(index, disk, place)
    make, size = Make(), index.info()["sizes"]["events"]
    module = "tests.client.spilling" if place == "spill" else "consumers.cli.main"
    if place == "log":
        index.append(make.file_uploaded("one", "1.1"))
        size += 1
        disk.fill()
    with start(tmp_path / "log", "run", "--ledger", index.folder, "signer", "publisher", module=module) as running:
        if place != "log":
            running.wait_for("signer started")

        def warned() -> list[str]:
            return [str(each["why"]) for each in running.events() if each["message"] == RETRIED]

        def warned_or_covered(so_far: int) -> bool:
            return bool(warned()) or covers(index, so_far)

        while not warned():  # what was replaced may just have been deleted, and then there is room for one more
            assert running.process.poll() is None, running.output()
            if place != "log":
                disk.fill()
                index.append(make.file_uploaded("one", f"2.{size}"))
                size += 1
            until(partial(warned_or_covered, size), running.output)
        check_wording(warned()[0], place)
        assert running.events()[-1].get("consumer") == "signer"
        disk.make_room()
        until(lambda: covers(index, size), running.output)
        running.stop()
    check_whole(index, tmp_path / "rebuilt")
