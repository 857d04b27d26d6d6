"""The state of one follower: one SQLite file, large values in files of their own, and a thread for all of it.

A state is disposable: it can be deleted and rebuilt from the logs at any time, and a file of another format is deleted
and rebuilt. It is not held in memory: a publication loads and saves rows in batches.

Everything about it is synchronous: the file (`ledger.state.file`), and the queries in the other modules of this
package, functions whose first argument is an open state. `run` is all that is asynchronous: one await for a group of
them. What nobody waits for goes before the next one (`soon`).
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from ledger.state.disk import SYSTEM_DISK, Disk
from ledger.state.file import MANY_ROWS, StateFile
from ledger.state.kept_files import KeptFiles
from ledger.state.read_only import StateReader
from ledger.state.statements import State, lock_path
from ledger.state.threads import OneThread, finished

P = ParamSpec("P")
Answer = TypeVar("Answer")


class ReadingStore:
    """A state that is only read. It uses no threads: handing a call to one would take as long as reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = StateReader(path)

    @property
    def kept(self) -> KeptFiles:
        """The kept files."""
        return self._reader.kept

    async def open(self) -> None:
        """Open the file.

        Raises:
            StoreError: see `StateReader.open`.
        """
        self._reader.open()

    async def close(self) -> None:
        """Close the file."""
        self._reader.close()

    async def run(self, function: Callable[Concatenate[State, P], Answer], *args: P.args, **kwargs: P.kwargs) -> Answer:
        """Run a function of the state."""
        return function(self._reader, *args, **kwargs)

    def is_locked(self) -> bool:
        """Whether a process has the file open for writing."""
        return SYSTEM_DISK.is_locked(lock_path(self.path))


class Store(ReadingStore):
    """A state that is written. One process at a time has it open.

    Args:
        path: the file.
        durable: without it, files are not synced: for a state that is thrown away after a failure.
        disk: the disk.
        new_thread: makes the thread that everything runs in, and the one that settles beside it.
        many_rows: how many written rows a commit begins to settle.
    """

    def __init__(
        self,
        path: Path,
        *,
        durable: bool = True,
        disk: Disk = SYSTEM_DISK,
        new_thread: Callable[[], Executor] = OneThread,
        many_rows: int = MANY_ROWS,
    ) -> None:
        super().__init__(path)
        self._threads = new_thread(), new_thread()
        self._soon: list[Callable[[], object]] = []
        self._file = StateFile(path, disk, self._threads[1], durable=durable, many_rows=many_rows)

    @property
    def kept(self) -> KeptFiles:
        """The kept files."""
        return self._file.kept

    async def open(self) -> None:
        """Open the file, or create it; a file of another format, or a damaged one, is deleted first.

        Raises:
            InUseError: another process uses the file.
            StoreError: the file cannot be written.
        """
        await self.run(StateFile.open)

    async def close(self) -> None:
        """Close the file. Uncommitted changes are lost."""
        self._soon.clear()
        try:
            await self.run(StateFile.close)
        finally:
            for thread in self._threads:
                thread.shutdown()

    def soon(self, function: Callable[Concatenate[StateFile, P], object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the next visit to the state's thread begin with a function: nobody waits for it alone. If it fails, that
        visit does.
        """
        self._soon.append(partial(function, self._file, *args, **kwargs))

    async def run(
        self, function: Callable[Concatenate[StateFile, P], Answer], *args: P.args, **kwargs: P.kwargs
    ) -> Answer:
        """Run a function of the state in its thread; to its end, even if the caller is cancelled."""
        before, self._soon = self._soon, []
        return await finished(self._threads[0].submit(_visit, before, partial(function, self._file, *args, **kwargs)))


def _visit(before: Iterable[Callable[[], object]], function: Callable[[], Answer]) -> Answer:
    for each in before:
        each()
    return function()
