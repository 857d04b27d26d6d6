"""Copying a log into a SQLite log, while others append to it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event

from ledger.databases.plain import is_passing, open_to_read, unusable_now
from ledger.disk.syncing import sync_file, sync_folder
from ledger.logs import Log, LogSettingsError, LogUnavailableError
from ledger.logs.sqlite import SqliteLog

Report = Callable[[int, int], None]

_PAGES_AT_ONCE = 1024


class _StoppedError(Exception):
    """The caller was cancelled."""


async def copy_log(log: Log, path: Path, report: Report) -> int:
    """Copy all records that a log has now into a new file, durably; return their number.

    A SQLite log is copied by SQLite's online backup interface. So the copy includes records in the write-ahead log,
    which a copy of the file may lack. From any other log, the records are read and appended.

    Args:
        log: the log, open.
        path: the path of a file that does not exist yet.
        report: called in any thread with the number of copied records and of all records.

    Raises:
        LogError: the log cannot be read, or the copy cannot be written.
    """
    copied = await (_backup(log, path, report) if isinstance(log, SqliteLog) else _append_all(log, path, report))
    await asyncio.to_thread(_make_durable, path)
    return copied


async def _backup(log: SqliteLog, path: Path, report: Report) -> int:
    stop = Event()
    try:
        return await asyncio.to_thread(_back_up, Path(log.name), path, report, stop)
    except asyncio.CancelledError:
        stop.set()  # else the program would wait for the thread
        raise
    except sqlite3.Error as error:
        if is_passing(path, error):
            raise LogUnavailableError(unusable_now(path, error)) from error
        raise LogSettingsError(f"{log.name} cannot be copied to {path}: {error}") from error


def _back_up(source: Path, path: Path, report: Report, stop: Event) -> int:
    # In one transaction: otherwise SQLite begins anew whenever records are appended between two steps.
    with closing(open_to_read(source).connection) as before, closing(sqlite3.connect(path)) as after:
        before.execute("BEGIN")
        ((size,),) = before.execute("SELECT coalesce(max(idx) + 1, 0) FROM records").fetchall()

        def advance(_status: int, remaining: int, total: int) -> None:
            if stop.is_set():
                raise _StoppedError
            report(size * (total - remaining) // max(1, total), size)

        before.backup(after, pages=_PAGES_AT_ONCE, progress=advance, sleep=0)
        return int(size)


async def _append_all(log: Log, path: Path, report: Report) -> int:
    size = await log.size()
    copy, copied = SqliteLog(path), 0
    await copy.create()
    try:
        while values := (await log.read(copied))[: max(0, size - copied)]:
            await copy.append(values)
            copied += len(values)
            report(copied, size)
    finally:
        await copy.close()
    return copied


def _make_durable(path: Path) -> None:
    sync_file(path)
    sync_folder(path.parent)
