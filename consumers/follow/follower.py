"""A follower: reads both logs and applies every valid publication to its state.

Signer, publisher and verifier are followers. They differ in where rendered files go, and only the signer appends. A
signer applies its own records when it reads them back, like any other follower: the normal path is the recovery path.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from consumers.follow.in_work import Proposal, PublicationInWork, Workplace
from consumers.follow.observing import Observers
from consumers.limits import LIMITS, Limits
from consumers.reading.publications import ChainReader, Rejudging, ValidPublication, encode_state
from consumers.reading.runs import Shown, Window, collect, publication_row
from consumers.reading.tail import Tail
from consumers.render.edition import DivergenceError, Edition
from consumers.render.outlets import Outlet
from consumers.render.renderer import Renderer
from consumers.render.sealing import SNAPSHOT, CheckingSealer, Sealer, Seals, seals_of
from consumers.state import notes, records
from consumers.work.progress import Report, nobody
from consumers.work.stopwatch import Stopwatch
from consumers.work.workers import Workers
from ledger.logs import Logs
from ledger.state.comparisons import FileRow
from ledger.state.position import Position, ReadingRow, forget_reading, load_note, save_note
from ledger.state.publications import AppliedPublication as PublicationRow
from ledger.state.publications import count_publications, load_publication, publication_covering
from ledger.state.roles import load_ceremonies
from ledger.state.store import Store
from projections.log import prefix as prefixes
from projections.log.prefix import Ledger, Prefix
from projections.metadata.forgeries import Logged
from projections.metadata.repository import SnapshotTable
from projections.outcomes import Judged, rejected
from projections.publications import Head, LogTooShortError, OpenClaim
from projections.roles.authority import UpgradeNeededError
from projections.roles.history import PastCeremony
from schemas.codec import decode_publication_record
from schemas.errors import DisagreementError
from schemas.publications import Claim, Publication, Record

log = structlog.get_logger()


SAVED_TOGETHER = 1000
"""Number of verdicts that are saved at once, if no publication comes before: a commit for each would cost more than
judging."""


class CheckedWindow(NamedTuple):
    """What was found in a window: the number of the first publication that does not reproduce, or all files that the
    publications made.
    """

    diverging: int | None
    files: Sequence[FileRow] = ()


Check = Callable[[Sequence[ValidPublication], Edition], Awaitable[CheckedWindow]]
"""Checks every version of the publications of an edition."""


def _any(_: Claim) -> bool:
    return True


class SkippedError(DisagreementError):
    """A root voids a publication that a state has skipped over: nobody knows whether it reproduces."""


class _Noted:
    """Verdicts to be reported, in one line however many there are."""

    def __init__(self) -> None:
        self._first: Judged | None = None
        self._codes: Counter[str] = Counter()
        self._last = 0

    def add(self, judged: Sequence[Judged]) -> None:
        """Add verdicts on records that are not valid, in order."""
        for each in judged:
            self._first = self._first or each
            self._last = each.index
            self._codes[each.outcome.code] += 1

    def report(self) -> None:
        """Log what was added, if anything was, and forget it."""
        first, codes = self._first, self._codes
        if first is None:
            return
        if codes.total() == 1:
            why = first.outcome.detail
            log.warning("record rejected", log="publications", record=first.index, code=first.outcome.code, why=why)
        else:
            log.warning(
                "records rejected",
                log="publications",
                count=codes.total(),
                first_record=first.index,
                last_record=self._last,
                codes=dict(sorted(codes.items())),
            )
        self._first, self._codes = None, Counter()


class Parts(NamedTuple):
    """What a follower works with: open logs, its open state, workers, where rendered files go, and a folder for what
    does not fit into memory.

    One that does not render only folds: it knows what events did, and takes the word of the log for what was published.
    """

    logs: Logs
    store: Store
    workers: Workers
    outlet: Outlet
    spill: Path
    observers: Observers
    report: Report = nobody
    renders: bool = True
    limits: Limits = LIMITS


class Follower:
    """Follows both logs. `consumers.follow.starting` makes one. Used by one task.

    Attributes:
        ledger: the ledger's identity.
        tail: the events log from the position on.
        reader: the publications log from the position on.
        table: the bins that the snapshot lists.
        base: the prefix at the position.
    """

    def __init__(self, parts: Parts, ledger: Ledger, tail: Tail, reader: ChainReader, table: SnapshotTable) -> None:
        self._logs, self._store, self._workers, self._outlet = parts.logs, parts.store, parts.workers, parts.outlet
        self._observers, self._renders, self._spill = parts.observers, parts.renders, parts.spill
        self._limits = parts.limits
        self._unsaved: list[Judged] = []
        self._noted = _Noted()
        self._last_judged: Judged | None = None
        self._work: PublicationInWork | None = None
        self._has_outlet_begun = False
        self.stopwatch = Stopwatch()
        self.ledger = ledger
        self.tail = tail
        self.reader = reader
        self.table = table
        self.base = tail.base
        self._place = Workplace(parts.store, parts.workers, parts.outlet, table)
        self._checked_voids = len(self.base.authority.voids) if self.base.authority else 0
        self._renderer = Renderer(
            parts.store,
            parts.workers,
            table,
            parts.spill,
            stopwatch=self.stopwatch,
            limits=parts.limits,
            report=parts.report,
        )

    @property
    def head(self) -> Head:
        """The last publication."""
        return self.reader.state.head

    @property
    def open_claim(self) -> OpenClaim | None:
        """The claim that waits for its publication."""
        return self.reader.state.open_claim

    @property
    def next_record(self) -> int:
        """The index of the next record of `publications` to read."""
        return self.reader.state.next_record

    async def count_records(self) -> int:
        """Number of records on `publications` now. Over Kafka, markers of transactions count until they are read."""
        return await self._logs.publications.size()

    async def publication(self, number: int) -> PublicationRow | None:
        """A publication that was applied."""
        return await self._store.run(load_publication, number)

    async def count_publications_above(self, number: int) -> int:
        """How many publications above a number were applied."""
        return await self._store.run(count_publications, number)

    async def read_publication(self, number: int) -> Logged | None:
        """The signatures of a publication that was applied, read from the log again; None if it was not applied.

        Raises:
            LogError: the log cannot be read.
        """
        row = await self._store.run(load_publication, number)
        value = [] if row is None else await self._logs.publications.read(row.record)
        record = await self._workers.run(decode_publication_record, value[0]) if value else None
        if not isinstance(record, Record) or not isinstance(record.signed, Publication):
            return None
        return Logged.of(record, record.signed)

    async def ceremonies(self) -> list[PastCeremony]:
        """All accepted ceremonies up to the end of the log as of the last reading, in order."""
        found: dict[int, dict[str, bytes]] = {}
        for index, role, _, file in await self._store.run(load_ceremonies):
            found.setdefault(index, {})[role] = file
        async for extension in self.tail.extensions(self.tail.end.size, None):
            for each in extension.ceremonies:
                found[each.index] = {document.role: document.file for document in each.documents}
        ceremonies = []
        for index in sorted(found):
            row = await self._store.run(publication_covering, index)
            documents = {role: msgspec.json.decode(file) for role, file in found[index].items()}
            ceremonies.append(PastCeremony(index, documents, "" if row is None else row.time))
        return ceremonies

    # --- following -----------------------------------------------------------------------------------------------

    async def step(self, wanted: Callable[[Claim], bool] = _any) -> bool:
        """Judge the next records of `publications`, and apply the next one if it is a valid publication.

        Args:
            wanted: whether to apply this publication; the first unwanted one stays the next record.

        Returns:
            Whether a record was judged.

        Raises:
            SkippedError: a root voids a publication that this state skipped over.
            DivergenceError: a valid publication is not what its events make, and no later root voids it.
            LogTooShortError, NotALedgerError, UpgradeNeededError, LogError, StoreError, StorageError: see there.
        """
        try:
            found = await self.reader.next()
        except (LogTooShortError, UpgradeNeededError):
            await self._check_voids()
            await self._end_of_log()
            raise
        await self._check_voids()
        if found is None or (isinstance(found, ValidPublication) and not wanted(found.claim)):
            await self._end_of_log()
            if found is None:
                self.tail.check_known()
            return False
        if isinstance(found, ValidPublication):
            await self._publication(found)
        elif isinstance(found, Rejudging):
            await self._judge_again(found.first_record)
        else:
            await self._note(found)
            if found[-1].outcome.verdict == "accepted":
                # A claim: a proposal under an earlier claim will not be published.
                await self.abandon()
        return True

    async def catch_up(self) -> None:
        """Apply everything that is on the log now."""
        while await self.step():
            pass

    async def catch_up_to_end(self) -> Prefix:
        """Apply everything that is on `publications` now, as a reader judges it who knows `events` to the end.

        Returns:
            The prefix at the end of `events`.
        """
        while True:
            await self.catch_up()
            end = await self.tail.read_on()
            if not self.reader.is_outdated:
                return end

    async def _publication(self, valid: ValidPublication) -> None:
        edition = self.edition(Shown(valid.claim, valid.authority, valid.content_size), valid.prefix)
        seals = seals_of(valid.publication)
        work = self._work
        if work is None or work.proposal is None or work.proposal.digest != valid.digest:
            await self.abandon()
            try:
                work = await self._reproduce(edition, valid, seals)
            except DivergenceError as error:
                await self._diverged(valid, error)
                return
        await self._apply(work, [publication_row(valid, stepped=self._renders)], valid, seals)
        log.info(
            "publication applied",
            publication=valid.claim.number,
            size=valid.claim.size,
            signed=len(valid.publication.roles),
            **self.stopwatch.take(),
        )

    async def _reproduce(
        self, edition: Edition, valid: ValidPublication, seals: Seals, *, are_checked: bool = False
    ) -> PublicationInWork:
        """Render a publication and compare it with its record.

        A follower that does not render takes the log's word, but for what a root voids.

        Raises:
            DivergenceError: they differ.
        """
        if not self._renders:
            await self._check_not_void(valid)
            return await self.prepare(edition, None)
        sealer = CheckingSealer(edition.authority.online, seals, are_checked=are_checked)
        work = await self.prepare(edition, sealer)
        try:
            snapshot = await self._workers.run(work.seal, sealer)
            self.stopwatch.lap("snapshot")
            self._compare(work.rendered.names, snapshot, edition, valid, seals)
        except BaseException:
            await self.abandon()
            raise
        return work

    @staticmethod
    def _compare(
        rendered: Sequence[str], snapshot: bytes, edition: Edition, valid: ValidPublication, seals: Seals
    ) -> None:
        """Compare what a publication says with what was rendered, beyond what the sealer has compared.

        Raises:
            DivergenceError: they differ.
        """
        layout = edition.authority.layout
        signed = {name for name in seals if name != SNAPSHOT and layout.index(name) is not None}
        if extra := sorted(signed.difference(rendered)):
            raise DivergenceError(
                f"the publication signed {extra[0]}, but nothing in it had changed or was to be renewed"
            )
        if len(snapshot) != valid.publication.snapshot[1]:
            raise DivergenceError("the snapshot has another length than the publication says")

    async def _check_not_void(self, valid: ValidPublication) -> None:
        authority = (await self.tail.read_known()).authority
        if authority is not None and authority.void_for(valid.claim.number, valid.digest) is not None:
            raise DivergenceError("a root says so")

    async def _diverged(self, valid: ValidPublication, error: DivergenceError) -> None:
        """Handle a valid publication that does not reproduce: go on only if a later root voids it."""
        end = await self.tail.read_known()
        if self.reader.is_outdated:
            return  # a root has changed who may seal: the publication may not be valid
        number = valid.claim.number
        size = end.authority.void_for(number, valid.digest) if end.authority else None
        if size is None:
            await self._store.run(save_note, notes.DIVERGED, valid.digest)
            raise DivergenceError(
                f"publication {number} (record {valid.record_index}, SHA-256 {valid.digest}) is sealed by the online "
                f"keys and is not what its events make: {error}. Nothing after it is applied. See docs/operators.md, "
                "'A publication diverges'"
            ) from error
        outcome = rejected("void", f"it diverged, and the root in force at size {size} voids it")
        self.reader.void(size)
        await self._note([Judged(valid.record_index, valid.digest, "publication", outcome)])

    async def _judge_again(self, first: int) -> None:
        """Forget what was judged from a record on: a root has changed who may seal."""
        self._unsaved, self._noted, self._last_judged = [], _Noted(), None
        await self.abandon()
        await self._store.run(forget_reading, "publications", first)

    async def _check_voids(self) -> None:
        """Look at what roots void that were read since.

        Raises:
            SkippedError: a root voids a publication that this state skipped over.
        """
        authority = self.tail.end.authority
        voids = () if authority is None else authority.voids[self._checked_voids :]
        for size, void in voids:
            row = await self._store.run(load_publication, void.number)
            if row is None or row.digest != void.digest:
                continue
            if not row.stepped:
                raise SkippedError(
                    f"the root in force at size {size} voids publication {void.number}, which {self._store.path} has "
                    "skipped over without rendering it. Stop the consumer and delete that file: the state is rebuilt "
                    "from the logs, and finds out whether the publication diverges"
                )
            log.warning("a root voids a publication that reproduces: that has no effect", publication=void.number)
        self._checked_voids += len(voids)

    async def _note(self, judged: Sequence[Judged]) -> None:
        """Note verdicts, and save them if they are many."""
        bad = [each for each in judged if each.outcome.verdict != "accepted"]
        self._unsaved += bad
        self._noted.add(bad)
        self._last_judged = judged[-1]
        if len(self._unsaved) >= SAVED_TOGETHER:
            await self._save_unsaved()

    async def _end_of_log(self) -> None:
        """Report and save what was noted."""
        self._noted.report()
        await self._save_unsaved()

    async def _save_unsaved(self) -> None:
        """Save verdicts and how far the reader is, so that the next start does not read these records again.

        While a publication is being made, the state waits for it; so do the verdicts.
        """
        if self._work is not None or not self._unsaved or self._last_judged is None:
            return
        unsaved, self._unsaved, last = self._unsaved, [], self._last_judged
        token = self._logs.publications.token(last.index)
        row = ReadingRow(last.index + 1, last.digest, token, encode_state(self.reader.state))
        await self._store.run(records.save_reading, unsaved, row)

    # --- rendering -----------------------------------------------------------------------------------------------

    def edition(self, shown: Shown, prefix: Prefix) -> Edition:
        """The edition of the next publication, given what it shows and the prefix at its size."""
        return Edition([shown], self.head, self.base, prefix)

    @property
    def proposal(self) -> Proposal | None:
        """The record of the publication in work, if it is ready to be appended or was appended and not read back."""
        return None if self._work is None else self._work.proposal

    async def prepare(self, edition: Edition, sealer: Sealer | None) -> PublicationInWork:
        """Render the next publication, but not its snapshot (`PublicationInWork.seal`); without a sealer, only fold.

        The work ends when it is applied or abandoned.

        Raises:
            DivergenceError: a bin changed but was not signed on the log, or a seal does not fit.
            SignerError: a key does not sign.
        """
        await self.abandon()
        if not self._has_outlet_begun:
            await self._workers.run(self._outlet.begin)
        self._has_outlet_begun = False
        await self.tail.read_again(edition.first, edition.content_size)
        self.stopwatch.start()
        telling = await self._observers.telling(edition, self._workers, self._spill / "told", self._limits)
        work = self._work = PublicationInWork(edition, self._place, telling)
        try:
            await work.render(self._renderer, self.tail, sealer)
        except BaseException:
            await self.abandon()
            raise
        return work

    async def abandon(self) -> None:
        """Undo what was prepared and not applied."""
        work, self._work = self._work, None
        if work is not None:
            await work.abandon()
            await self._save_unsaved()

    async def _apply(
        self,
        work: PublicationInWork,
        rows: list[PublicationRow],
        last: ValidPublication,
        seals: Seals,
        judged: Sequence[Judged] = (),
        *,
        window: Sequence[FileRow] | None = None,
    ) -> None:
        """Make a publication in work the state: place the files first, tell observers, then save verdicts (noted and
        these), the files of a window, and the position.
        """
        edition, claim = work.edition, last.claim
        self.stopwatch.start()
        synced = await work.place(last.timestamp())
        self._has_outlet_begun = True
        self.stopwatch.lap("place")
        self._observers.check(Head(claim.number, last.digest, claim.time, claim.size), self.head.number)
        if work.telling is not None:
            await self._observers.tell(edition, last, seals, self.base.size, work.telling)
            await work.telling.close()
            self.stopwatch.lap("tell")
        position = Position(
            claim.number,
            last.digest,
            claim.time,
            claim.size,
            edition.content_size,
            self._logs.events.token(edition.content_size - 1),
            edition.after.last_digest,
            self._logs.events.token(claim.size - 1),
            last.record_index + 1,
            self._logs.publications.token(last.record_index),
            prefixes.save(edition.after),
        )
        verdicts = [*self._unsaved, *judged]
        applied = records.Applied(verdicts, rows, edition.after, self.tail.stored_size, position)
        await work.commit(applied, after=synced, window=window)
        self.stopwatch.lap("commit")
        self._work = None
        self._unsaved = []
        self.base = edition.after.as_stored()
        self.tail.advance(edition.after)
        self.reader.accept(last)
        self._noted.add([each for each in judged if each.outcome.verdict != "accepted"])
        self._noted.report()

    # --- skipping ------------------------------------------------------------------------------------------------

    async def skip(self, wanted: Callable[[Claim], bool] = _any, *, at_least: int = 1) -> bool:
        """Apply the next publications as one run, without rendering the versions between.

        Every file of the last publication is compared with the log. The versions between are not: only `step` (and
        `tuf-ledger verify`) finds that a replaced version diverged. A publication that halted the follower once halts
        it again.

        Args:
            wanted: whether a publication belongs to the run; the first unwanted one ends it.
            at_least: minimum number of publications; with fewer, nothing is applied, since `step` is as fast.

        Returns:
            Whether anything was applied. If not, `step` finds the publication that a later root voids or that does not
            reproduce.
        """
        return await self._run(wanted, at_least, None, None)

    async def step_over(
        self, wanted: Callable[[Claim], bool], window: Window, check: Check, *, at_least: int = 1
    ) -> bool:
        """Apply the next publications of an era as one run, after each of them was checked as `step` would.

        Args:
            wanted: whether a publication belongs to the run; the first unwanted one ends it.
            window: how far the run goes.
            check: finds the first publication that does not reproduce. The run then ends before it.
            at_least: minimum number of publications; with fewer, nothing is applied.

        Returns:
            Whether anything was applied. If not, the next publication is one for `step`.
        """
        return await self._run(wanted, at_least, window, check)

    async def _run(
        self, wanted: Callable[[Claim], bool], at_least: int, window: Window | None, check: Check | None
    ) -> bool:
        before = self.reader.state
        await self.tail.read_known()
        kept = self._observers.kept_above(self.head.number)

        def is_wanted(claim: Claim) -> bool:
            return wanted(claim) and (kept is None or claim.number <= kept)

        halted_at = await self._store.run(load_note, notes.DIVERGED)
        run = await collect(self.reader, self.tail, is_wanted, halted_at=halted_at, window=window)
        self.reader.state = before
        await self._check_voids()
        if len(run.rows) < at_least or run.last is None:
            return False
        if run.judged_from is not None:
            await self._judge_again(run.judged_from)
        edition = Edition(run.shown, self.head, self.base, run.last.prefix, run.stamps)
        files: Sequence[FileRow] | None = None
        if check is not None:
            await self.abandon()
            await self.tail.read_again(edition.first, edition.content_size)
            diverging, files = await check(run.publications, edition)
            if diverging is not None:
                return await self._run(lambda claim: wanted(claim) and claim.number < diverging, 1, window, check)
        digest, _, packed = run.last.publication.snapshot
        seals = {**run.seals, SNAPSHOT: (digest, packed)}
        try:
            work = await self._reproduce(edition, run.last, seals, are_checked=check is not None)
        except DivergenceError as error:
            log.warning("publications do not reproduce as one run; trying them one by one", why=str(error))
            return False
        judged = [each for each in run.judged if each.index < run.last.record_index]
        await self._apply(work, run.rows, run.last, seals, judged, window=files)
        log.info(
            "publications applied",
            count=len(run.rows),
            publication=run.last.claim.number,
            size=run.last.claim.size,
            **self.stopwatch.take(),
        )
        return True
