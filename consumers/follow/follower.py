"""A follower: reads both logs and applies every valid publication to its state.

Signer, publisher and verifier are followers. They differ in where rendered files go, and only the signer appends. A
signer applies its own records when it reads them back, like any other follower: the normal path is the recovery path.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from consumers.reading.publications import (
    ChainReader,
    ReaderState,
    Rejudging,
    ValidPublication,
    decode_state,
    encode_state,
)
from consumers.reading.runs import Shown, collect, publication_row
from consumers.reading.tail import Tail
from consumers.render.edition import DivergenceError, Edition
from consumers.render.outlets import Outlet
from consumers.render.renderer import RenderedPublication, Renderer
from consumers.render.sealing import SNAPSHOT, CheckingSealer, Sealer, Seals, seals_of
from consumers.state import notes, records
from consumers.work.progress import Report, nobody
from consumers.work.stopwatch import Stopwatch
from consumers.work.workers import Begun, Workers
from ledger.logs import Log, LogConflictError, Logs, LogSettingsError
from ledger.state.store import AppliedPublication as PublicationRow
from ledger.state.store import Position, ReadingRow, Store
from projections import publications as chain
from projections.log import prefix as prefixes
from projections.log.merkle import record_digest
from projections.log.prefix import Prefix
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


SKIP_FROM = 16
"""Number of unread publications from which a follower that may skip versions does so."""

SAVED_TOGETHER = 1000
"""Number of verdicts that are saved at once, if no publication comes before: a commit for each would cost more than
judging."""

ANEW_FROM = 8
"""A batch with this many times the events of the state writes the state anew: that is less work than journalling."""


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


class Proposal(NamedTuple):
    """A publication that this signer rendered and sealed. It is in the open transaction, and counts when read back."""

    digest: str
    value: bytes


class Follower:
    """Follows both logs. The caller opens the logs and the store. Used by one task."""

    def __init__(
        self, logs: Logs, store: Store, workers: Workers, outlet: Outlet, spill: Path, *, report: Report = nobody
    ) -> None:
        self._logs = logs
        self._store = store
        self._workers = workers
        self._outlet = outlet
        self._spill = spill
        self._report = report
        self._unsaved: list[Judged] = []
        self._noted = _Noted()
        self._last_judged: Judged | None = None
        self._saving: Begun[None] | None = None
        self._in_transaction = False
        self.proposal: Proposal | None = None
        self.stopwatch = Stopwatch()

    # --- starting ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the position and compare it with the logs.

        Raises:
            LogConflictError: the state was made from other logs, or the logs have lost records.
            LogSettingsError: the events log is empty.
            NotALedgerError: record 0 is not `ledger.created`.
        """
        position = await self._store.load_position()
        first = await self._logs.events.read(0)
        if not first and position is None:
            raise LogSettingsError(
                f"{self._logs.events.name} is empty, so there is no ledger yet: create one with `tuf-ledger init`"
            )
        base = Prefix()
        if position is not None:
            base = await records.load_prefix(self._store, position.prefix)
            self._logs.events.resume(position.content_size - 1, position.content_token)
        reading = await self._store.load_reading()
        if reading is not None and position is not None and reading.next_record <= position.next_record:
            reading = None
        await self._compare(position, reading, base, first)
        self.tail = Tail(
            self._logs.events, self._workers, base, self._spill / "tail", store=self._store, report=self._report
        )
        self.base = base
        genesis = base if base.ledger is not None else await self.tail.prefix_at(1)
        if genesis.ledger is None:
            raise LogConflictError(
                f"{self._logs.events.name} is shorter than it was: it lost its first record. Was a backup restored? "
                "See docs/operators.md, 'A log was rolled back'"
            )
        self.ledger = genesis.ledger
        reader_state = ReaderState(chain.first_head(self.ledger), 0, 0)
        if reading is not None:
            reader_state = decode_state(reading.state)
        elif position is not None:
            version, time_from = (base.authority.root.version, base.authority.time_from) if base.authority else (0, "")
            head = Head(
                position.number, position.digest, position.time, position.size, time_from, position.content_size
            )
            reader_state = ReaderState(head, position.next_record, position.next_record, root_version=version)
        self._checked_voids = len(base.authority.voids) if base.authority else 0
        self.reader = ChainReader(self._logs.publications, self.tail, self._workers, self.ledger, reader_state)
        self.table = SnapshotTable(await records.load_roles(self._store))
        self._renderer = Renderer(
            self._store, self._workers, self.table, self._spill, stopwatch=self.stopwatch, report=self._report
        )

    async def _compare(
        self,
        position: Position | None,
        reading: ReadingRow | None,
        base: Prefix,
        first: list[bytes | None],
    ) -> None:
        """Compare what the state knows with the logs (docs/design.md, "Rolled-back logs are noticed")."""
        events, publications = self._logs
        known: list[tuple[Log, int, str, int]] = []
        if position is not None:
            is_same = base.ledger is not None and (not first or record_digest(first[0]) == base.ledger.digest)
            known.append((events, position.size - 1, position.last_event, position.events_token))
        else:
            is_same = reading is None or record_digest(first[0]) == decode_state(reading.state).head.digest
        if not is_same:
            raise LogConflictError(
                f"{events.name} belongs to another ledger: it begins with another `ledger.created` than this state "
                f"remembers. Name the right log, or delete {self._store.path} to start anew with this one"
            )
        if reading is not None:
            known.append((publications, reading.next_record - 1, reading.digest, reading.publications_token))
        elif position is not None:
            token = position.publications_token
            known.append((publications, position.next_record - 1, position.digest, token))
        for source, index, _, token in known:
            source.resume(index, token)
        for source, index, digest, _ in known:
            try:
                found = await source.read(index)
            except LogConflictError:
                found = []
            if not found:
                raise LogConflictError(
                    f"{source.name} is shorter than it was: record {index} is gone. Was a backup restored? See "
                    "docs/operators.md, 'A log was rolled back'"
                )
            if record_digest(found[0]) != digest:
                raise LogConflictError(
                    f"record {index} of {source.name} is not the one it was. Was a backup restored and appended to? "
                    "See docs/operators.md, 'A log was rolled back'"
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
        return await self._store.publication(number)

    async def count_publications_above(self, number: int) -> int:
        """How many publications above a number were applied."""
        return await self._store.count_publications(number)

    async def read_publication(self, number: int) -> Logged | None:
        """The signatures of a publication that was applied, read from the log again; None if it was not applied.

        Raises:
            LogError: the log cannot be read.
        """
        row = await self._store.publication(number)
        value = [] if row is None else await self._logs.publications.read(row.record)
        record = await self._workers.run(decode_publication_record, value[0]) if value else None
        if not isinstance(record, Record) or not isinstance(record.signed, Publication):
            return None
        return Logged.of(record, record.signed)

    async def ceremonies(self) -> list[PastCeremony]:
        """All accepted ceremonies up to the end of the log as of the last reading, in order."""
        found: dict[int, dict[str, bytes]] = {}
        for index, role, _, file in await self._store.load_ceremonies():
            found.setdefault(index, {})[role] = file
        async for extension in self.tail.extensions(self.tail.end.size, None):
            for each in extension.ceremonies:
                found[each.index] = {document.role: document.file for document in each.documents}
        ceremonies = []
        for index in sorted(found):
            row = await self._store.publication_covering(index)
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
        try:
            if self.proposal is None or self.proposal.digest != valid.digest:
                await self.abandon()
                await self._reproduce(edition, valid.publication, seals_of(valid.publication))
        except DivergenceError as error:
            await self._diverged(valid, error)
            return
        await self._finish(edition, [publication_row(valid, stepped=True)], valid)
        log.info(
            "publication applied",
            publication=valid.claim.number,
            size=valid.claim.size,
            signed=len(valid.publication.roles),
            **self.stopwatch.take(),
        )

    async def _reproduce(self, edition: Edition, publication: Publication, seals: Seals) -> None:
        """Render a publication and compare it with its record.

        Raises:
            DivergenceError: they differ.
        """
        rendered = await self.render(edition, CheckingSealer(edition.authority.online, seals))
        layout = edition.authority.layout
        signed = {name for name in seals if name != SNAPSHOT and layout.index(name) is not None}
        problem = ""
        if extra := sorted(signed.difference(rendered.names)):
            problem = f"the publication signed {extra[0]}, but nothing in it had changed or was to be renewed"
        elif len(rendered.snapshot) != publication.snapshot[1]:
            problem = "the snapshot has another length than the publication says"
        if problem:
            await self.abandon()
            raise DivergenceError(problem)

    async def _diverged(self, valid: ValidPublication, error: DivergenceError) -> None:
        """Handle a valid publication that does not reproduce: go on only if a later root voids it."""
        end = await self.tail.read_known()
        if self.reader.is_outdated:
            return  # a root has changed who may seal: the publication may not be valid
        number = valid.claim.number
        size = end.authority.void_for(number, valid.digest) if end.authority else None
        if size is None:
            await self._store.set_note(notes.DIVERGED, valid.digest)
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
        await self._store.forget_reading("publications", first)

    async def _check_voids(self) -> None:
        """Look at what roots void that were read since.

        Raises:
            SkippedError: a root voids a publication that this state skipped over.
        """
        authority = self.tail.end.authority
        voids = () if authority is None else authority.voids[self._checked_voids :]
        for size, void in voids:
            row = await self._store.publication(void.number)
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
        if self._in_transaction or not self._unsaved or self._last_judged is None:
            return
        unsaved, self._unsaved, last = self._unsaved, [], self._last_judged
        token = self._logs.publications.token(last.index)
        row = ReadingRow(last.index + 1, last.digest, token, encode_state(self.reader.state))
        await records.save_reading(self._store, unsaved, row)

    # --- rendering -----------------------------------------------------------------------------------------------

    def edition(self, shown: Shown, prefix: Prefix) -> Edition:
        """The edition of the next publication, given what it shows and the prefix at its size."""
        return Edition([shown], self.head, self.base, prefix)

    async def render(self, edition: Edition, sealer: Sealer) -> RenderedPublication:
        """Render into a transaction that stays open until the publication is applied or abandoned."""
        await self._workers.run(self._outlet.begin)
        await self.tail.read_again(edition.first, edition.content_size)
        await self._store.begin(anew=edition.size >= ANEW_FROM * edition.shown_before)
        self._in_transaction = True
        self.stopwatch.start()
        try:
            rendered = await self._renderer.render(edition, self.tail, sealer, self._outlet)
        except BaseException:
            await self.abandon()
            raise
        self._saving = rendered.saving
        return rendered

    async def abandon(self) -> None:
        """Undo a rendering that was not applied."""
        self.proposal = None
        if not self._in_transaction:
            return
        self._in_transaction = False
        saving, self._saving = self._saving, None
        if saving is not None:
            await saving.stop()
        await self._store.rollback()
        self.table.reset(await records.load_roles(self._store))
        await self._workers.run(self._outlet.begin)
        await self._save_unsaved()

    async def _finish(
        self, edition: Edition, rows: list[PublicationRow], last: ValidPublication, judged: Sequence[Judged] = ()
    ) -> None:
        """Make a rendering the state: place the files first, then save verdicts (noted and these) and the position."""
        claim = edition.claim
        self.stopwatch.start()
        await self._workers.run(self._outlet.finish, claim.number, last.timestamp())
        self.stopwatch.lap("place")
        if self._saving is not None:
            await self._saving.result()
            self._saving = None
        await records.save_judged(self._store, "publications", [*self._unsaved, *judged])
        await self._store.save_publications(rows)
        await records.save_signing(self._store, edition.after, self.base.size)
        await self._store.save_position(
            Position(
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
        )
        await self._store.commit()
        self.stopwatch.lap("commit")
        self._in_transaction = False
        self._unsaved = []
        self.proposal = None
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
        before = self.reader.state
        await self.tail.read_known()
        run = await collect(self.reader, self.tail, wanted, halted_at=await self._store.note(notes.DIVERGED))
        self.reader.state = before
        await self._check_voids()
        if len(run.rows) < at_least or run.last is None:
            return False
        if run.judged_from is not None:
            await self._judge_again(run.judged_from)
        edition = Edition(run.shown, self.head, self.base, run.last.prefix, run.stamps)
        digest, _, packed = run.last.publication.snapshot
        try:
            await self._reproduce(edition, run.last.publication, {**run.seals, SNAPSHOT: (digest, packed)})
        except DivergenceError as error:
            log.warning("publications do not reproduce as one run; trying them one by one", why=str(error))
            return False
        await self._finish(
            edition, run.rows, run.last, [each for each in run.judged if each.index < run.last.record_index]
        )
        log.info(
            "publications applied",
            count=len(run.rows),
            publication=run.last.claim.number,
            size=run.last.claim.size,
            **self.stopwatch.take(),
        )
        return True
