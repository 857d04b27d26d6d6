"""Rebuilding: the repository as of any publication, from the two logs alone, without a key.

The bytes are those that were served, signatures included: signatures are on the log, and everything else is computed.
Every file is checked against the digests on the log before it is written.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import structlog

from consumers.context import Context, working_storage
from consumers.follow.follower import Follower
from consumers.follow.starting import start_follower
from consumers.limits import Limits
from consumers.reading.tail import Tail
from consumers.rebuild.choosing import At, find_number, has_new_time
from consumers.rebuild.replay import replay
from consumers.render.edition import DivergenceError
from consumers.render.outlets import PublicOutlet
from consumers.render.taking import take_file, take_target
from consumers.state.published import published_files, published_targets
from consumers.work.alone import alone_in
from consumers.work.processes import WORTH_READING
from consumers.work.spill import SpillError
from consumers.work.workers import ThreadWorkers, Workers
from ledger.disk.files import StorageError, writing
from ledger.logs import Logs
from ledger.state.store import Store
from ledger.storage import Storage
from projections.log.prefix import Prefix
from schemas.errors import NegativeAnswerError

log = structlog.get_logger()


class _Order(NamedTuple):
    """The options of a rebuild."""

    at: At
    all_versions: bool
    files: Path | None
    limits: Limits
    report: Callable[[int, int], None]


class Rebuilt(NamedTuple):
    """The result of a rebuild: the publication's number, time and size, the number of files, and the missing files."""

    publication: int
    time: str
    size: int
    files: int
    missing: list[str]


async def rebuild(
    context: Context,
    target: Path,
    at: At,
    *,
    all_versions: bool,
    files: Path | None,
    report: Callable[[int, int], None],
) -> Rebuilt:
    """Rebuild into a folder, which appears when the rebuild is complete.

    A long log is replayed on all cores. After an interruption, the same call goes on where it was.

    Args:
        context: the ledger; only its logs are used.
        target: the folder, new or empty.
        at: the publication.
        all_versions: rebuild every version published up to there, not only the files that clients need then.
        files: a public folder to take distribution files and other targets from, checked against the log.
        report: called with the amount done and the total.

    Raises:
        NegativeAnswerError: the publication does not exist.
        StorageError: the folder is not empty, or cannot be written.
        InUseError: another process rebuilds into the folder.
        DivergenceError, LogError …: see `Follower.step`.
    """
    target = target.resolve()  # the name that the finished tree is given is its own, not that of a link
    with _working_beside(target) as folder:
        logs, workers = context.logs(), ThreadWorkers()
        try:
            await logs.open()
            rebuilt = None
            order = _Order(at, all_versions, files, context.limits, report)
            if not all_versions and await logs.events.size() >= WORTH_READING:
                rebuilt = await _replay(logs, workers, folder / "replay", order)
            if rebuilt is None:
                rebuilt = await _step(logs, workers, folder / "steps", order)
            tree, result = rebuilt
            if result.publication == 0 or at.number not in {None, result.publication}:
                raise NegativeAnswerError(_no_such(at, result.publication))
            with writing(target):
                await asyncio.to_thread(tree.replace, target)
        finally:
            await logs.close()
            workers.close()
        return result


@contextmanager
def _working_beside(target: Path) -> Iterator[Path]:
    """A working folder beside the target. It stays after an interruption, so that the next call can go on."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is not an empty folder; rebuild into a new one")
    if target.is_mount():
        raise StorageError(f"a file system is mounted at {target}; name a folder below it")
    folder = target.parent / f".{target.name}.rebuild"
    with alone_in(folder, f"rebuilds into {target}", mode=0o777):
        try:
            yield folder
        except (asyncio.CancelledError, KeyboardInterrupt):
            if (folder / "replay").exists():
                log.warning("interrupted; run the same command again to go on from here", folder=str(folder))
            raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


async def _replay(logs: Logs, workers: Workers, folder: Path, order: _Order) -> tuple[Path, Rebuilt] | None:
    """Replay the log on all cores; None if a follower must do it."""
    for attempt in (1, 2):
        try:
            done = await replay(
                logs, folder, workers, at=order.at, source=order.files, limits=order.limits, report=order.report
            )
        except DivergenceError as error:
            log.warning("publications do not reproduce as one run; trying them one by one", why=str(error))
            return None
        except SpillError as error:
            if attempt == 2:
                raise
            log.warning("the files of an interrupted rebuild cannot be used; beginning anew", why=str(error))
        else:
            if done is None:
                return None
            claim = done.claim
            return folder / "tree", Rebuilt(claim.number, claim.time, claim.size, done.files, done.missing)
    return None


async def _step(logs: Logs, workers: ThreadWorkers, folder: Path, order: _Order) -> tuple[Path, Rebuilt]:
    """Follow the log, as every consumer does."""
    shutil.rmtree(folder, ignore_errors=True)
    with writing(folder):
        (folder / "tree").mkdir(parents=True)
    store = Store(folder / "state.sqlite", durable=False)
    try:
        await store.open()
        storage = working_storage(folder)
        follower = await start_follower(
            logs, store, workers, PublicOutlet(storage), folder / "spill", limits=order.limits
        )
        try:
            await _follow(follower, order, await _number(follower, logs, workers, folder / "times", order))
        finally:
            await follower.abandon()
        head = follower.head
        missing = await _take_files(store, storage, order) if head.number else []
        count = sum(1 for _ in storage.paths())
    finally:
        await store.close()
    return folder / "tree", Rebuilt(head.number, head.time, head.size, count, missing)


async def _number(follower: Follower, logs: Logs, workers: Workers, spill: Path, order: _Order) -> At:
    """Turn a time into a number, if times may decrease."""
    at = order.at
    await follower.tail.read_known()
    if at.time is None or not has_new_time(follower.tail):
        return at
    tail = Tail(logs.events, workers, Prefix(), spill, limits=order.limits)  # the follower's own goes forwards only
    await tail.read_known()
    return await find_number(at, logs.publications, tail, workers)


async def _follow(follower: Follower, order: _Order, at: At) -> None:
    end = await follower.tail.read_known()
    order.report(0, end.size)
    if not order.all_versions:
        await follower.skip(at.includes)
    # One by one for all versions, and for publications that cannot be skipped because a later root voids one.
    while await follower.step(at.includes):
        order.report(follower.head.size, end.size)


def _no_such(at: At, last: int) -> str:
    if last == 0:
        return f"nothing was published up to {at.time}" if at.time else "nothing was published yet"
    return f"there is no publication {at.number}; the last one before is number {last}"


async def _take_files(store: Store, storage: Storage, order: _Order) -> list[str]:
    """Take distribution files and other targets from a public folder; return the paths of missing ones."""
    missing: list[str] = []
    async for batch in published_files(store):
        if order.files is None:
            break
        wanted = [facts for facts in batch if not facts.removed or (order.all_versions and not facts.withheld)]
        absent = [facts for facts in wanted if not take_file(storage, order.files, facts)]
        missing.extend(facts.path for facts in absent if not facts.removed)
    async for targets in published_targets(store):
        if order.files is None:
            break
        shown = [(path, facts.sha256) for path, facts in targets if not facts.removed]
        missing.extend(path for path, sha256 in shown if not take_target(storage, order.files, path, sha256))
    return missing
