"""Watching the served files one by one: which differ now, which ever did, and the progress of the comparison.

A file that differs raises one alarm, until it is right again. A missing file needs care: a later publication may have
replaced it, and a sweep may have deleted it. So the served version is read *after* the file was looked for, and the
alarm waits until everything up to that version is applied. Then the state tells whether the file was still needed.
However far a verifier lags, it raises no false alarm and misses none.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import NamedTuple

import structlog

from consumers.follow.examining import Examiner
from consumers.render.outlets import served_version
from consumers.verify.comparing import FEW, Difference, Expected, compare, every_file, examine
from consumers.work.workers import Workers
from ledger.state.comparisons import (
    DifferenceRow,
    FileRow,
    count_files,
    differences_after,
    load_differences,
    load_files,
    save_differences,
    set_checked,
    unchecked_files,
)
from ledger.state.store import Store
from ledger.state.withheld import load_withheld
from ledger.storage import ServedFiles
from projections.metadata.forgeries import OLDER
from projections.metadata.paths import TIMESTAMP, TargetPlace, is_plain_page, plain_path, read_path

log = structlog.get_logger()

_MOST_WAITING = 100_000
"""Maximum number of waiting alarms; further missing files are found by the next round."""


class _Waiting(NamedTuple):
    """A difference to be judged when everything up to the version served at that time is applied."""

    row: FileRow
    difference: Difference
    served: int


class Round(NamedTuple):
    """The progress of a round. In the first round, distribution files are counted as they are found."""

    compared: int
    to_compare: int


class Watch:
    """Compares served files with the log. Used by one task.

    With `files`, existing distribution files are compared in each round too.
    """

    def __init__(self, served: ServedFiles, *, examiner: Examiner, store: Store, workers: Workers, files: bool) -> None:
        self._served = served
        self._examiner = examiner
        self._follower = examiner.follower
        self._store = store
        self._workers = workers
        self._files = files
        self._all: AsyncIterator[list[FileRow]] | None = None
        self._listed = 0
        self._others = 0
        self.round = Round(0, 0)
        self.rounds = 0
        self._doubtful: dict[str, FileRow] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._looked_again = ""

    async def step(self, version: int, most: int) -> bool:
        """Compare a few files: those that differ, some that were never compared, and the next ones of the round.

        Args:
            version: the served version.
            most: maximum number of files that were never compared.

        Returns:
            Whether more files were never compared.
        """
        await self._judge()
        doubtful, self._doubtful = self._doubtful, {}
        await self._look(list(doubtful.values()), version, again=True)
        await self._look_again(version)
        unchecked = await self._store.run(unchecked_files, min(version, self._follower.head.number), most)
        await self._look(unchecked, version)
        await self._store.run(set_checked, [path for path, _, _ in unchecked])
        await self._look(await self._next_few(), version)
        return len(unchecked) == most

    async def differs(self, difference: Difference) -> None:
        """Raise an alarm for a difference that the caller found."""
        await self._report([((difference.path, "", 0), difference)])

    async def is_right(self, paths: Collection[str]) -> None:
        """Note that these files do not differ, or no longer."""
        if not paths:
            return
        known = [row for row in await self._store.run(load_differences, sorted(paths)) if row.is_now]
        for row in known:
            log.info("what is served is right again", path=row.path)
        await self._store.run(save_differences, [row._replace(is_now=0) for row in known])

    # --- what to look at -----------------------------------------------------------------------------------------

    async def _next_few(self) -> list[FileRow]:
        """The next few files of the round; after the last file a new round begins."""
        if self._all is None:
            self._listed, _ = await self._store.run(count_files)
            self.round = Round(0, self._listed + self._others)
            self._all = every_file(self._store, files=self._files)
        few = await anext(self._all, None)
        if few is None:
            self._all = None
            self._others = max(0, self.round.compared - self._listed)
            self.round = Round(self.round.compared, self.round.compared)
            self.rounds += 1
            return []
        compared = self.round.compared + len(few)
        self.round = Round(compared, max(compared, self.round.to_compare))
        return few

    async def _look_again(self, version: int) -> None:
        """Compare files that differed again, a few at a time; after the last file begin with the first again."""
        known = await self._store.run(differences_after, self._looked_again, FEW)
        self._looked_again = known[-1].path if len(known) == FEW else ""
        current = {path: (path, digest, number) for path, digest, number in await self._current(known)}
        withheld = [row.path for row in known if row.problem == "withheld"]
        await self.is_right(set(withheld) - await self._store.run(load_withheld, withheld))
        rows = [current.get(row.path, row[:3]) for row in known if row.path not in {TIMESTAMP, *withheld}]
        await self._look(rows, version, again=True)

    async def _current(self, known: Iterable[DifferenceRow]) -> list[FileRow]:
        return await self._store.run(load_files, [row.path for row in known])

    async def _look(self, rows: Sequence[FileRow], version: int, *, again: bool = False) -> None:
        """Compare files. A certain difference is an alarm; other differences are compared again, or wait to be judged.

        A plain page is replaced after the timestamp. So a plain page of the served publication may still be on its way,
        and counts only when compared `again`. A missing distribution file is no difference: not every server of
        metadata serves distribution files.
        """
        due = [row for row in rows if row[2] <= version]
        expected = [Expected(path, digest) for path, digest, _ in due if digest]
        found = {each.path: each for each in await compare(self._served, expected, self._workers)}
        served = version
        if found:  # the latest version that was served when a file was missing
            served = max(version, served_version(await self._workers.run(self._served.read, TIMESTAMP)))
        certain: list[tuple[FileRow, Difference]] = []
        for row in due:
            path, _, number = row
            difference = found.get(path)
            if difference is None or (number == 0 and difference.problem == "missing"):
                continue
            if difference.problem == "differs" and not is_plain_page(path):
                certain.append((row, difference))  # a file with this name never had other bytes
            elif is_plain_page(path) and number == version and not again:
                self._doubtful[path] = row
            elif path in self._waiting or len(self._waiting) < _MOST_WAITING:
                self._waiting[path] = _Waiting(row, difference, served)
        examined = await examine(self._served, [each for _, each in certain], self._examiner, self._workers)
        await self._report([(row, each) for (row, _), each in zip(certain, examined, strict=True)])
        right = {path for path, _, number in due if path not in found or (number == 0 and found[path][1] == "missing")}
        for path in right:
            self._waiting.pop(path, None)
        await self.is_right(right)
        await self._judge()

    # --- what differs --------------------------------------------------------------------------------------------

    async def _judge(self) -> None:
        """Judge waiting differences whose version is applied by now."""
        applied = self._follower.head.number
        due = [each for each in self._waiting.values() if each.served <= applied]
        if not due:
            return
        replaced = await self._replaced(due)
        await self._report([(each.row, each.difference) for each in due if each.row[0] not in replaced])
        await self.is_right(replaced)
        for each in due:
            del self._waiting[each.row[0]]

    async def _replaced(self, waiting: Sequence[_Waiting]) -> set[str]:
        """The files among these that later ones replaced, so that a sweep may have deleted them."""
        current = {name: entry.version for name, entry in self._follower.table.entries.items()}
        authority = self._follower.base.authority
        if authority is not None:
            current |= {"targets": authority.targets.version, "bins": authority.bins.version}
        places = {each.row[0]: read_path(each.row[0]) for each in waiting}
        pages = [plain_path(each.target) for each in places.values() if isinstance(each, TargetPlace) and each.is_page]
        shown = {path: (path, digest, number) for path, digest, number in await self._store.run(load_files, pages)}
        replaced = set()
        for row, _, served in waiting:
            path, place = row[0], places[row[0]]
            if isinstance(place, TargetPlace):
                plain = shown.get(plain_path(place.target))
                is_other = plain != row if place.is_plain_page else plain is None or plain[1] != place.sha256
                replaced |= {path} if place.is_page and is_other else set()
            elif place is not None and place.version is not None and not place.is_root:
                replaced |= {path} if place.version < current.get(place.role, served) else set()
        return replaced

    async def _report(self, differences: Sequence[tuple[FileRow, Difference]]) -> None:
        """Raise an alarm for each difference that is new."""
        if not differences:
            return
        known = {
            row.path: row for row in await self._store.run(load_differences, [each.path for _, each in differences])
        }
        rows = []
        for (_, digest, number), difference in differences:
            path, problem, detail, finding, keyids = difference
            before = known.get(path)
            rows.append(DifferenceRow(path, digest, number, problem, detail, 1))
            # How old a timestamp is changes all the time.
            is_age = finding == "older" and before is not None and before.detail.startswith(OLDER)
            told = before is not None and before.is_now and before.problem == problem
            if not told or not (is_age or (before is not None and before.detail == detail)):
                facts = {"finding": finding, "keyids": list(keyids)} if finding else {}
                log.error("what is served is not what the log says", path=path, problem=problem, why=detail, **facts)
        await self._store.run(save_differences, rows)
