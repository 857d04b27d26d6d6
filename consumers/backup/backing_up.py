"""A backup of a ledger: both logs, the configuration and the first root. Everything else is computed, except keys.

`publications` is copied before `events`. A claim only covers events that are already on the log, so the copy has the
events of all its publications, whatever is appended meanwhile.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from consumers.backup.identity import read_identity
from consumers.backup.sums import write_sums
from consumers.context import Context
from consumers.work.alone import alone_in
from ledger.config import FILENAME
from ledger.disk.files import StorageError, write_file, writing
from ledger.disk.syncing import sync_folder
from ledger.logs import Logs
from ledger.logs.copying import copy_log
from ledger.logs.sqlite import SqliteLog
from projections.metadata.paths import metadata_path
from schemas.errors import DisagreementError

Report = Callable[[int, int], None]

LOG_FOLDER = "log"
FIRST_ROOT = "1.root.json"
LOGS = (f"{LOG_FOLDER}/events.sqlite", f"{LOG_FOLDER}/publications.sqlite")


class ForeignRootError(DisagreementError):
    """The served first root is not that of the log."""


class BackedUp(NamedTuple):
    """The result of a backup: the ledger, the numbers of records of each log, and the number of files.

    `missing` names the files that could not be copied because they do not exist; `from_sqlite` is False if the records
    came from another kind of log.
    """

    ledger: str
    events: int
    publications: int
    files: int
    missing: list[str]
    from_sqlite: bool


async def back_up(context: Context, target: Path, report: Report) -> BackedUp:
    """Copy a ledger into a folder, which appears when the copy is complete. Events may be appended meanwhile.

    Args:
        context: the ledger.
        target: the folder, new or empty.
        report: called in any thread with the number of copied records and of all records.

    Raises:
        StorageError: the folder is not empty, or cannot be written.
        InUseError: another process writes this backup.
        ForeignRootError: the served first root is not that of the log.
        LogError, NotALedgerError: see there.
    """
    target = target.resolve()  # the name that the finished folder is given is its own, not that of a link
    with _working_beside(target) as folder:
        logs = context.logs()
        await logs.open()
        try:
            done = await _copy(context, logs, folder, report)
        finally:
            await logs.close()
        with writing(target):
            await asyncio.to_thread(folder.replace, target)
        await asyncio.to_thread(sync_folder, target.parent)
    return done


async def _copy(context: Context, logs: Logs, folder: Path, report: Report) -> BackedUp:
    ledger = await read_identity(logs.events)
    with writing(folder):
        (folder / LOG_FOLDER).mkdir(mode=0o700)
    size = await logs.events.size()

    def from_publications(done: int, total: int) -> None:
        report(done, total + size)

    publications = await copy_log(logs.publications, folder / LOGS[1], from_publications)

    def from_events(done: int, total: int) -> None:
        report(publications + done, publications + total)

    events = await copy_log(logs.events, folder / LOGS[0], from_events)
    root = await context.read(context.served(context.config.signer.served), metadata_path("root", 1))
    copied = await asyncio.to_thread(_copy_others, context, folder, root, ledger.root_sha256)
    await write_sums(folder, [*LOGS, *copied])
    await asyncio.to_thread(sync_folder, folder)
    missing = [name for name in (FILENAME, FIRST_ROOT) if name not in copied]
    return BackedUp(
        ledger.digest, events, publications, len(LOGS) + len(copied), missing, isinstance(logs.events, SqliteLog)
    )


def _copy_others(context: Context, folder: Path, root: bytes | None, root_sha256: str) -> list[str]:
    """Copy the configuration and the first root, if they exist; return the names of the copies."""
    found: list[str] = []
    configuration = context.folder / FILENAME
    if configuration.exists():
        with writing(folder / FILENAME):  # it may hold a password
            write_file(str(folder / FILENAME), configuration.read_bytes(), is_new=True, mode=0o600)
        found.append(FILENAME)
    if root is not None:
        if sha256(root).hexdigest() != root_sha256:
            raise ForeignRootError(
                f"the served first root ({metadata_path('root', 1)}) is not that of this log (SHA-256 {root_sha256}). "
                "It is damaged or belongs to another ledger: check [signer] served and [ledger] public"
            )
        with writing(folder / FIRST_ROOT):
            write_file(str(folder / FIRST_ROOT), root, is_new=True)
        found.append(FIRST_ROOT)
    for name in found:
        with writing(folder / name), (folder / name).open("rb") as file:
            os.fsync(file.fileno())
    return found


@contextmanager
def _working_beside(target: Path) -> Iterator[Path]:
    """A working folder beside the target; deleted after a failure."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} is not an empty folder; back up into a new one")
    if target.is_mount():
        raise StorageError(f"a file system is mounted at {target}; name a folder below it")
    folder = target.parent / f".{target.name}.backup"
    with alone_in(folder, f"writes the backup {target}", mode=0o700):
        try:
            with writing(folder):  # files that a killed run left behind
                for path in folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield folder
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(folder)
            raise
