"""Reading the `publications` log: one record after another, judged by `projections.publications`.

The reader decides which records are valid. The follower finds out whether a valid publication also reproduces. It then
tells the reader to `accept` the publication, or to pass over it and the records that follow (`void`).
"""

from collections import deque
from typing import NamedTuple, Protocol

from consumers.work.workers import Workers
from projections import publications as chain
from projections.log.merkle import record_digest
from projections.log.prefix import Ledger, Prefix
from projections.metadata.repository import signed_file, timestamp_payload
from projections.outcomes import Judged, Outcome, rejected
from projections.publications import Head, OpenClaim
from projections.roles.authority import Authority
from schemas.codec import Rejection, decode_publication_record
from schemas.publications import Claim, Publication, Record


class ValidPublication(NamedTuple):
    """A valid publication: its record, its claim, and the prefix of the events that it covers."""

    record_index: int
    digest: str
    record: Record
    publication: Publication
    claim: Claim
    prefix: Prefix
    authority: Authority

    def timestamp(self) -> bytes:
        """The file of the timestamp, made from the claim and the publication."""
        payload = timestamp_payload(self.claim, self.publication, self.authority)
        return signed_file(payload, chain.seal_signatures(self.record))


class ReaderState(NamedTuple):
    """The position of a reader."""

    head: Head
    next_record: int
    open_claim: OpenClaim | None = None
    void_before_size: int | None = None


class Records(Protocol):
    """A log to be read."""

    async def read(self, start: int) -> list[bytes | None]:
        """As `ledger.logs.Log.read`."""


class Prefixes(Protocol):
    """The prefixes of the events log that are needed to judge claims."""

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as of the last reading."""

    async def reach(self, size: int) -> bool:
        """Read on at least to a size; False if the log is still shorter."""

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size that was reached. Asking for growing sizes reads the log only once."""


class ChainReader:
    """Reads and judges records. Save `state` and set it again to read from there once more."""

    def __init__(self, log: Records, tail: Prefixes, workers: Workers, ledger: Ledger, state: ReaderState) -> None:
        self._log = log
        self._tail = tail
        self._workers = workers
        self._ledger = ledger
        self._state = state
        self._unread: deque[bytes | None] = deque()

    @property
    def state(self) -> ReaderState:
        """The reader's position."""
        return self._state

    @state.setter
    def state(self, state: ReaderState) -> None:
        if state.next_record != self._state.next_record:
            self._unread.clear()
        self._state = state

    async def next(self) -> Judged | ValidPublication | None:
        """Judge the next record; None at the end of the log.

        A valid publication is returned as `ValidPublication`. It stays the next record until it is accepted or voided.

        Raises:
            LogTooShortError: an online key sealed a claim that covers more events than the log holds.
            LogError, NotALedgerError, UpgradeNeededError: see there.
        """
        if not self._unread:
            self._unread.extend(await self._log.read(self._state.next_record))
        if not self._unread:
            return None
        value = self._unread[0]
        digest = record_digest(value)
        record = await self._workers.run(decode_publication_record, value)
        kind, outcome, valid = "", rejected("null"), None
        if isinstance(record, Rejection):
            outcome = rejected(*record)
        elif isinstance(record.signed, Claim):
            kind, outcome = "claim", await self._judge_claim(record, record.signed, digest)
        else:
            kind = "publication"
            outcome, valid = await self._judge_publication(record, record.signed, digest)
        if valid is not None:
            return valid
        judged = Judged(self._state.next_record, digest, kind, outcome)
        self._pass()
        return judged

    def accept(self, valid: ValidPublication) -> None:
        """Make the publication that `next` returned the last one."""
        claim, time_from = valid.claim, valid.authority.time_from
        if self._state.next_record == valid.record_index and self._unread:
            self._unread.popleft()
        else:
            self._unread.clear()
        head = Head(claim.number, valid.digest, claim.time, claim.size, time_from)
        self._state = ReaderState(head, valid.record_index + 1)

    def void(self, size: int) -> None:
        """Pass over that publication and all that follows, up to the first claim under the root of this size."""
        self._state = self._state._replace(open_claim=None, void_before_size=size)
        self._pass()

    def _pass(self) -> None:
        self._unread.popleft()
        self._state = self._state._replace(next_record=self._state.next_record + 1)

    async def _judge_claim(self, record: Record, claim: Claim, digest: str) -> Outcome:
        state = self._state
        if state.void_before_size is not None and claim.size < state.void_before_size:
            return rejected("void", "a later root voids it")
        outcome = chain.judge_claim_alone(claim, self._ledger, state.head)
        if outcome.verdict != "accepted":
            return outcome
        reached = await self._tail.reach(claim.size)
        outcome = await self._workers.run(chain.judge_claimant, record, claim, self._tail.end)
        if outcome.verdict != "accepted":
            return outcome
        if not reached:
            return chain.judge_claim_beyond(claim, digest, self._tail.end)
        prefix = await self._tail.prefix_at(claim.size)
        outcome = await self._workers.run(chain.judge_claim, record, claim, prefix, state.head, state.open_claim)
        if outcome.verdict == "accepted" and prefix.authority is not None:
            open_claim = chain.open_claim(claim, digest, prefix.authority, state.open_claim)
            self._state = state._replace(open_claim=open_claim, void_before_size=None)
        return outcome

    async def _judge_publication(
        self, record: Record, publication: Publication, digest: str
    ) -> tuple[Outcome, ValidPublication | None]:
        state = self._state
        if state.void_before_size is not None:
            return rejected("void", "a later root voids it"), None
        open_claim = state.open_claim
        prefix = None if open_claim is None else await self._tail.prefix_at(open_claim.claim.size)
        outcome = await self._workers.run(chain.judge_publication, record, publication, open_claim, prefix)
        if outcome.verdict != "accepted" or open_claim is None or prefix is None or prefix.authority is None:
            return outcome, None
        return outcome, ValidPublication(
            state.next_record, digest, record, publication, open_claim.claim, prefix, prefix.authority
        )
