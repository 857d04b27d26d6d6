"""Reading the `publications` log: one record after another, judged by `projections.publications`.

The reader knows which records are valid; whether a valid publication also reproduces is for the follower to find out,
which then tells the reader to `accept` it or to pass over what follows (`void`).
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
    """A publication that is valid: both of its records, and the prefix of the events that it covers."""

    record_index: int
    digest: str
    record: Record
    publication: Publication
    claim: Claim
    prefix: Prefix
    authority: Authority

    def timestamp(self) -> bytes:
        """The file of the timestamp that the two records make."""
        payload = timestamp_payload(self.claim, self.publication, self.authority)
        return signed_file(payload, chain.seal_signatures(self.record))


class ReaderState(NamedTuple):
    """Where a reader stands."""

    head: Head
    next_record: int
    open_claim: OpenClaim | None = None
    void_before_size: int | None = None


class Records(Protocol):
    """A log to be read."""

    async def read(self, start: int) -> list[bytes | None]:
        """As `ledger.logs.Log.read`."""


class Prefixes(Protocol):
    """The events log, as far as claims need it."""

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as far as it was read."""

    async def reach(self, size: int) -> bool:
        """Read on to a size at least; false if the log, asked anew, is shorter."""

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size that was reached. Asking for growing sizes costs no more than reading once."""


class ChainReader:
    """Reads and judges. `state` can be kept and set, to read again from there."""

    def __init__(self, log: Records, tail: Prefixes, workers: Workers, ledger: Ledger, state: ReaderState) -> None:
        self._log = log
        self._tail = tail
        self._workers = workers
        self._ledger = ledger
        self._state = state
        self._unread: deque[bytes | None] = deque()

    @property
    def state(self) -> ReaderState:
        """Where the reader stands."""
        return self._state

    @state.setter
    def state(self, state: ReaderState) -> None:
        if state.next_record != self._state.next_record:
            self._unread.clear()
        self._state = state

    async def next(self) -> Judged | ValidPublication | None:
        """Judge the next record; None if there is none.

        A valid publication is given as such, and stays the next record until it is accepted or voided.

        Raises:
            LogTooShortError: an online key sealed a claim that covers more events than there are.
            LogError, NotALedgerError, UpgradeNeededError: as they say.
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
        """The publication that `next` gave is the last one now."""
        claim = valid.claim
        if self._state.next_record == valid.record_index and self._unread:
            self._unread.popleft()
        else:
            self._unread.clear()
        self._state = ReaderState(Head(claim.number, valid.digest, claim.time, claim.size), valid.record_index + 1)

    def void(self, size: int) -> None:
        """Pass over that publication and all that follows, up to the first claim sealed under the root of this size."""
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
