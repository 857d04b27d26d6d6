"""Rebuilding: the repository as of any publication, from the two logs alone, without a key.

The bytes are those that were served, signatures included: what cannot be computed is on the log, and every file is
checked against the digests there before it is written.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from consumers.cli import No
from consumers.comparing import hashed_path, published_files
from consumers.context import Context
from consumers.follower import Follower
from consumers.outlets import PublicOutlet
from consumers.workers import ThreadWorkers
from ledger.storage import DirectoryStorage, StorageError
from ledger.store import Store
from schemas.fields import is_instant
from schemas.publications import Claim


class At(NamedTuple):
    """Which publication: the last with this number, or not after this time; the last of all if both are None."""

    number: int | None = None
    time: str | None = None

    def includes(self, claim: Claim) -> bool:
        """Whether a publication comes no later."""
        if self.number is not None:
            return claim.number <= self.number
        return self.time is None or claim.time <= self.time


class Rebuilt(NamedTuple):
    """What was rebuilt."""

    number: int
    time: str
    size: int
    files: int
    missing: list[str]


def read_at(text: str | None) -> At:
    """Read a publication number, or a UTC time as `2026-11-21T10:00:00Z`.

    Raises:
        ValueError: it is neither.
    """
    if text is None:
        return At()
    if text.isascii() and text.isdigit():
        return At(number=int(text))
    if is_instant(text):
        return At(time=text)
    raise ValueError(f"{text!r} is neither a publication's number nor a UTC time such as 2026-11-21T10:00:00Z")


async def rebuild(
    context: Context,
    target: Path,
    at: At,
    *,
    all_versions: bool,
    files: Path | None,
    report: Callable[[int, int], None],
) -> Rebuilt:
    """Rebuild into a folder, which appears when it is complete.

    Args:
        context: the ledger; only its logs are used.
        target: the folder, which must not exist or be empty.
        at: which publication.
        all_versions: every version ever published up to there, not only what clients need then.
        files: a public folder to take distribution files from, checked against the log.
        report: is told how many events are done, of how many.

    Raises:
        No: there is no such publication.
        StorageError: the folder is not empty.
        DivergenceError, LogError …: as a follower.
    """
    work = await asyncio.to_thread(_prepare, target)
    logs, store, workers = context.logs(), Store(work / "state.sqlite"), ThreadWorkers()
    try:
        await logs.open()
        await store.open()
        storage = DirectoryStorage(work / "tree", work / "staging", durable=False)
        follower = Follower(logs, store, workers, PublicOutlet(storage), work / "spill")
        await follower.start()
        await _follow(follower, at, all_versions=all_versions, report=report)
        head = follower.head
        if head.number == 0 or (at.number is not None and head.number != at.number):
            raise No(_no_such(at, head.number))
        missing = await _take_files(store, storage, files, removed_too=all_versions) if files else []
        count = sum(1 for _ in storage.paths())
        await asyncio.to_thread((work / "tree").replace, target)
        return Rebuilt(head.number, head.time, head.size, count, missing)
    finally:
        await store.close()
        await logs.close()
        workers.close()
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _prepare(target: Path) -> Path:
    """A folder to work in, beside the target."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is not an empty folder; rebuild into a new one")
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))


async def _follow(follower: Follower, at: At, *, all_versions: bool, report: Callable[[int, int], None]) -> None:
    end = await follower.tail.read_on()
    report(0, end.size)
    if not all_versions:
        await follower.skip(at.includes)
    # One by one for all versions; and for those that cannot be skipped because a later root voids one of them.
    while await follower.step(at.includes):
        report(follower.head.size, end.size)


def _no_such(at: At, last: int) -> str:
    if last == 0:
        return f"there is no publication not after {at.time}" if at.time else "nothing was published yet"
    return f"there is no publication {at.number}; the last one before it is number {last}"


async def _take_files(store: Store, storage: DirectoryStorage, source: Path, *, removed_too: bool) -> list[str]:
    """Copy distribution files from a public folder; gives those that are not there."""
    missing = []
    async for batch in published_files(store):
        for facts in batch:
            if facts.removed and not removed_too:
                continue
            hashed = hashed_path(facts.path, facts.sha256)
            present = next(
                (path for path in (source / hashed, source / f"targets/{facts.path}") if path.exists()), None
            )
            if present is None:
                if not facts.removed:
                    missing.append(facts.path)
                continue
            storage.copy(present, hashed, facts.sha256)
            storage.link(f"targets/{facts.path}", hashed)
            metadata = source / f"targets/{facts.path}.metadata"
            if facts.core_metadata_sha256 and metadata.exists():
                storage.copy(metadata, f"targets/{facts.path}.metadata", facts.core_metadata_sha256)
    return missing
