"""A follower: reads both logs, judges every record of `publications`, and applies the valid ones to its state.

Signer, publisher and verifier are followers; they differ in where rendered files go, and the signer also appends. What
a signer appended it applies like anyone else, when it reads it back: the normal path is the recovery path.
"""

from base64 import b64decode
from collections import deque
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import structlog

from consumers import state
from consumers.outlets import Outlet
from consumers.renderer import DivergenceError, Edition, Rendered, Renderer, Sealer
from consumers.sealing import CheckingSealer, seals_of
from consumers.tail import Tail
from consumers.workers import Workers
from ledger.logs import LogConflictError, Logs, LogSettingsError
from ledger.store import Position, Store
from ledger.store import Publication as PublicationRow
from projections import chain
from projections import prefix as prefixes
from projections.chain import Head, OpenClaim
from projections.outcomes import Judged, Outcome, rejected
from projections.prefix import Prefix
from projections.repository import SnapshotTable, signed_file, timestamp_payload
from schemas.codec import Rejection, decode_publication_record
from schemas.publications import Claim, Publication, Record

log = structlog.get_logger()


class Proposal(NamedTuple):
    """A publication that we rendered and sealed ourselves. It is in the open transaction, and counts when read back."""

    digest: str
    value: bytes


class Follower:
    """Follows both logs. Used by one task."""

    def __init__(self, logs: Logs, store: Store, workers: Workers, outlet: Outlet, spill: Path) -> None:
        self._logs = logs
        self._store = store
        self._workers = workers
        self._outlet = outlet
        self._spill = spill
        self._unread: deque[bytes | None] = deque()
        self._unsaved: list[Judged] = []
        self._in_transaction = False
        self._void_before_size: int | None = None
        self.proposal: Proposal | None = None
        self.open_claim: OpenClaim | None = None

    # --- starting ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load the position and compare it with the logs, which are open.

        Raises:
            LogConflictError: the logs are not those that the state was made from, or have lost records.
            LogSettingsError: the events log is empty.
        """
        position = await self._store.load_position()
        first = await self._logs.events.read(0)
        if not first:
            if position is None:
                raise LogSettingsError(f"{self._logs.events.name} is empty: it is no ledger yet (`tuf-ledger init`)")
            raise LogConflictError(f"{self._logs.events.name} is empty and had {position.size} records")
        base = Prefix()
        self.next_record = 0
        self._last_record = ""
        if position is not None:
            base = await state.load_prefix(self._store, position.prefix)
            await self._compare(position, base, first[0])
            self.next_record, self._last_record = position.next_record, position.last_record
        self.tail = Tail(self._logs.events, self._workers, base)
        self.base = base
        genesis = base if base.ledger is not None else await self.tail.prefix_at(1)
        if genesis is None or genesis.ledger is None:
            raise LogConflictError(f"{self._logs.events.name} lost its first record")
        self.ledger = genesis.ledger
        self.head = chain.first_head(self.ledger)
        if position is not None:
            self.head = Head(position.number, position.digest, position.time, position.size)
        self.table = SnapshotTable(await state.load_roles(self._store))
        self._renderer = Renderer(self._store, self._workers, self.table, self._spill)

    async def _compare(self, position: Position, base: Prefix, first: bytes | None) -> None:
        """Compare what we remember with what the logs hold (docs/design.md, "A log can be rolled back")."""
        events, publications = self._logs
        if base.ledger is None or _digest(first) != base.ledger.digest:
            raise LogConflictError(
                f"{events.name} begins with another `ledger.created` than this state remembers: it is another ledger. "
                f"Point at the right log, or delete {self._store.path} to start anew with this one"
            )
        events.resume(position.size, position.events_token)
        publications.resume(position.next_record, position.publications_token)
        for source, index, digest in (
            (events, position.size - 1, position.last_event),
            (publications, position.next_record - 1, position.last_record),
        ):
            try:
                found = await source.read(index)
            except LogConflictError:
                found = []
            if not found:
                raise LogConflictError(
                    f"{source.name} is shorter than it was: record {index} is gone. Was a backup restored? See "
                    "docs/operators.md, 'A log was rolled back'"
                )
            if _digest(found[0]) != digest:
                raise LogConflictError(
                    f"record {index} of {source.name} is not the one it was. Was a backup restored and appended to? "
                    "See docs/operators.md, 'A log was rolled back'"
                )

    # --- following -----------------------------------------------------------------------------------------------

    async def step(self) -> bool:
        """Judge the next record of `publications`, and apply it if it is valid; false if there is none.

        Raises:
            DivergenceError: a valid publication is not what its events make, and no later root voids it.
            LogTooShortError: an online key sealed a claim that covers more events than there are.
            NotALedgerError, UpgradeNeededError, LogError, StoreError, StorageError: as they say.
        """
        if not self._unread:
            self._unread.extend(await self._logs.publications.read(self.next_record))
        if not self._unread:
            return False
        value = self._unread[0]
        digest = _digest(value)
        record = decode_publication_record(value)
        if isinstance(record, Rejection):
            await self._note(digest, "", rejected(*record))
        elif isinstance(record.signed, Claim):
            await self._claim(record, record.signed, digest)
        else:
            await self._publication(record, record.signed, digest)
        self._unread.popleft()
        self.next_record += 1
        return True

    async def catch_up(self) -> None:
        """Apply everything that is on the log now."""
        while await self.step():
            pass

    async def publication(self, number: int) -> PublicationRow | None:
        """A publication that was applied."""
        return await self._store.publication(number)

    async def render(self, edition: Edition, sealer: Sealer) -> Rendered:
        """Render into a transaction that stays open. The outlet has the files until `finish` or `abandon`."""
        await self._workers.run(self._outlet.begin)
        await self._store.begin()
        self._in_transaction = True
        try:
            return await self._renderer.render(edition, self.tail, sealer, self._outlet)
        except BaseException:
            await self.abandon()
            raise

    async def abandon(self) -> None:
        """Undo what was rendered and not applied."""
        self.proposal = None
        if not self._in_transaction:
            return
        self._in_transaction = False
        await self._store.rollback()
        self.table.reset(await state.load_roles(self._store))
        await self._workers.run(self._outlet.begin)
        await self._save_unsaved()

    async def finish(self, edition: Edition, rows: list[PublicationRow], timestamp: bytes) -> None:
        """Make what was rendered the state: files into place first, then the position."""
        claim = edition.claim
        await self._workers.run(self._outlet.finish, claim.number, timestamp)
        last = rows[-1]
        self.head = Head(claim.number, last.digest, claim.time, claim.size)
        self._last_record = last.digest
        await state.save_judged(self._store, "publications", self._unsaved)
        await self._store.save_publications(rows)
        await self._store.save_position(
            Position(
                claim.number,
                last.digest,
                claim.time,
                claim.size,
                edition.after.last_digest,
                self._logs.events.token(claim.size),
                last.record + 1,
                last.digest,
                self._logs.publications.token(last.record + 1),
                prefixes.save(edition.after),
            )
        )
        await self._store.commit()
        self._in_transaction = False
        self._unsaved = []
        self.proposal = self.open_claim = None
        self.base = edition.after
        self.tail.advance(edition.after)

    # --- judging -------------------------------------------------------------------------------------------------

    async def _claim(self, record: Record, claim: Claim, digest: str) -> None:
        outcome = await self.judge_claim(record, claim)
        await self._note(digest, "claim", outcome)
        if outcome.verdict == "accepted":
            # Whatever we had prepared under an earlier claim will not be published.
            await self.abandon()
            self.open_claim = OpenClaim(claim, digest)
            self._void_before_size = None

    async def judge_claim(self, record: Record, claim: Claim) -> Outcome:
        """Whether a claim is valid after the last publication."""
        if self._void_before_size is not None and claim.size < self._void_before_size:
            return rejected("void", "a later root voids what follows the publication before it")
        outcome = chain.judge_claim_alone(claim, self.ledger, self.head, self.open_claim)
        if outcome.verdict != "accepted":
            return outcome
        prefix = await self.tail.prefix_at(claim.size)
        if prefix is None:
            return await self._workers.run(chain.judge_claim_beyond, record, claim, self.tail.end)
        return await self._workers.run(chain.judge_claim, record, claim, prefix)

    async def _publication(self, record: Record, publication: Publication, digest: str) -> None:
        if self._void_before_size is not None:
            await self._note(digest, "publication", rejected("void", "a later root voids it"))
            return
        prefix = None if self.open_claim is None else await self.tail.prefix_at(self.open_claim.claim.size)
        outcome = await self._workers.run(chain.judge_publication, record, publication, self.open_claim, prefix)
        if outcome.verdict != "accepted" or self.open_claim is None or prefix is None or prefix.authority is None:
            await self._note(digest, "publication", outcome)
            return
        started = perf_counter()
        edition = Edition([(self.open_claim.claim, prefix.authority)], self.base, prefix)
        try:
            if self.proposal is None or self.proposal.digest != digest:
                await self.abandon()
                await self._reproduce(edition, publication)
        except DivergenceError as error:
            await self._diverged(publication, digest, error)
            return
        timestamp = timestamp_file(edition, record, publication)
        row = publication_row(self.next_record, edition, record, publication, digest)
        await self.finish(edition, [row], timestamp)
        log.info(
            "publication applied",
            number=publication.number,
            size=edition.claim.size,
            signed=len(publication.roles),
            seconds=round(perf_counter() - started, 3),
        )

    async def _reproduce(self, edition: Edition, publication: Publication) -> None:
        """Render a publication and compare it with its record.

        Raises:
            DivergenceError: they differ.
        """
        sealer = CheckingSealer(edition.authority.online, seals_of(publication))
        rendered = await self.render(edition, sealer)
        signed = [name for name, _, _ in publication.roles]
        if rendered.names != signed:
            extra = next(name for name in signed if name not in set(rendered.names))
            await self.abandon()
            raise DivergenceError(f"{extra} is in the publication, and nothing in it had to be signed")
        if len(rendered.snapshot) != publication.snapshot[1]:
            await self.abandon()
            raise DivergenceError("the snapshot has another length than the publication says")

    async def _diverged(self, publication: Publication, digest: str, error: DivergenceError) -> None:
        """A valid publication does not reproduce: go on only if a later root voids it."""
        end = await self.tail.read_on()
        size = end.authority.void_for(publication.number, digest) if end.authority else None
        if size is None:
            raise DivergenceError(
                f"publication {publication.number} (record {self.next_record}, SHA-256 {digest}) is sealed by the "
                f"online keys and is not what its events make: {error}. Nothing after it is applied. See docs/operators.md, "
                "'A publication diverges'"
            ) from error
        self._void_before_size = size
        self.open_claim = None
        await self._note(digest, "publication", rejected("void", f"it diverged, and the root of size {size} voids it"))

    async def _note(self, digest: str, kind: str, outcome: Outcome) -> None:
        if outcome.verdict == "accepted":
            return
        log.warning(
            "record rejected", log="publications", record=self.next_record, code=outcome.code, why=outcome.detail
        )
        self._unsaved.append(Judged(self.next_record, digest, kind, outcome))
        if not self._in_transaction:
            await self._save_unsaved()

    async def _save_unsaved(self) -> None:
        await state.save_judged(self._store, "publications", self._unsaved)
        self._unsaved = []


def timestamp_file(edition: Edition, record: Record, publication: Publication) -> bytes:
    """The timestamp that a publication's two records make."""
    payload = timestamp_payload(edition.claim, publication, edition.authority)
    return signed_file(payload, chain.seal_signatures(record))


def publication_row(
    index: int, edition: Edition, record: Record, publication: Publication, digest: str
) -> PublicationRow:
    """What the state remembers of a publication."""
    timestamp = timestamp_file(edition, record, publication)
    return PublicationRow(
        publication.number,
        index,
        digest,
        edition.claim.time,
        edition.claim.size,
        len(publication.roles),
        b64decode(publication.snapshot[0]).hex(),
        sha256(timestamp).hexdigest(),
    )


def _digest(value: bytes | None) -> str:
    return sha256(value or b"").hexdigest()
