"""Reading the `publications` log: one record after another, judged by `projections.publications`.

The reader decides which records are valid. The follower finds out whether a valid publication also reproduces. It then
tells the reader to `accept` the publication, or to pass over it and the records that follow (`void`).
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

import msgspec

from consumers.work.workers import Workers, length_of, run_if_long
from projections import publications as chain
from projections.log.merkle import record_digest
from projections.log.prefix import Ledger, Prefix
from projections.metadata.repository import signed_file, timestamp_payload
from projections.outcomes import Judged, Outcome, rejected
from projections.publications import Head, LogTooShortError, OpenClaim
from projections.roles.authority import Authority, UpgradeNeededError
from schemas.codec import Rejection, decode_publication_record
from schemas.errors import LedgerError
from schemas.publications import Claim, Publication, Record


class ValidPublication(NamedTuple):
    """A valid publication: its record, its claim, the prefix of the events that it covers, and its content size."""

    record_index: int
    digest: str
    record: Record
    publication: Publication
    claim: Claim
    prefix: Prefix
    authority: Authority
    content_size: int

    def timestamp(self) -> bytes:
        """The file of the timestamp, made from the claim and the publication."""
        payload = timestamp_payload(self.claim, self.publication, self.authority)
        return signed_file(payload, chain.seal_signatures(self.record))


class ReaderState(NamedTuple):
    """The position of a reader.

    `first_record` is the index of the first record behind the last publication: there judging starts again when a root
    changes who may seal. The verdicts behind it hold for the online keys of root version `root_version` (0: none).
    """

    head: Head
    next_record: int
    first_record: int
    open_claim: OpenClaim | None = None
    void_before_size: int | None = None
    root_version: int = 0


def encode_state(state: ReaderState) -> bytes:
    """A position as bytes, for a state file; the same position gives the same bytes."""
    return _encode(state)


def decode_state(data: bytes) -> ReaderState:
    """The position that `encode_state` encoded."""
    return _decode(data)


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(ReaderState).decode


class Rejudging(NamedTuple):
    """The verdicts on the records from `first_record` on no longer hold: these are the next records again."""

    first_record: int


class Records(Protocol):
    """A log to be read."""

    async def read(self, start: int) -> list[bytes | None]:
        """As `ledger.logs.Log.read`."""


class Prefixes(Protocol):
    """The prefixes of the events log that are needed to judge claims."""

    @property
    def end(self) -> Prefix:
        """The prefix at the end of the log, as of the last reading; before a root that this program does not know."""

    @property
    def upgrade(self) -> UpgradeNeededError | None:
        """Why `end` is before a root, and not at the end of the log."""

    async def read_known(self) -> Prefix:
        """Read to the end of the log, or up to a root that this program does not know, and return `end`."""

    async def prefix_at(self, size: int) -> Prefix:
        """The prefix at a size up to `end`. Asking for growing sizes reads the log only once."""


class _Passed(NamedTuple):
    """Records that were judged in one go, and what the next one is if it may be valid.

    `must_ask` says that the end of `events` must be known before the next record can be judged, `depended` that a
    verdict depended on where that is, and `error` that the next record stops followers.
    """

    judged: list[Judged]
    claim: tuple[Claim, str] | None = None
    publication: tuple[Record, Publication, str] | None = None
    must_ask: bool = False
    depended: bool = False
    error: LedgerError | None = None


class _Known(NamedTuple):
    """What is known of the events: the ledger, the prefix at the end as far as the log was read, the prefix at the size
    of the open claim, why the end is before a root, and whether the end was asked after the records were read.
    """

    ledger: Ledger
    end: Prefix
    prefix: Prefix | None
    upgrade: UpgradeNeededError | None
    has_asked: bool


class ChainReader:
    """Reads and judges records. Save `state` and set it again to read from there once more."""

    def __init__(self, log: Records, tail: Prefixes, workers: Workers, ledger: Ledger, state: ReaderState) -> None:
        self._log = log
        self._tail = tail
        self._workers = workers
        self._ledger = ledger
        self._state = state
        self._unread: deque[bytes | None] = deque()
        self._has_asked = False
        self._depended = state.next_record > state.first_record
        """Whether a verdict behind the last publication depended on where `events` ended (after a start: may have)."""
        self._must_look = False
        """Whether records were rejected since `events` was read. A root there may void what was skipped over: then
        everything behind it looks invalid, and nothing else would lead there."""

    @property
    def state(self) -> ReaderState:
        """The reader's position."""
        return self._state

    @state.setter
    def state(self, state: ReaderState) -> None:
        if state.next_record != self._state.next_record:
            self._unread.clear()
        self._state = state
        self._depended = state.next_record > state.first_record

    @property
    def is_outdated(self) -> bool:
        """Whether a root was read that changed the online keys or their threshold since records were judged."""
        authority = self._tail.end.authority
        return authority is not None and authority.online_since > self._state.root_version

    async def next(self) -> list[Judged] | ValidPublication | Rejudging | None:
        """Judge the next records; None at the end of the log.

        Several records are judged in one go if they are not valid. A valid claim is the last of a list. A valid
        publication is returned as `ValidPublication`; it stays the next record until it is accepted or voided.

        Raises:
            LogTooShortError: keys that are online sealed a claim that covers more events than the log holds.
            UpgradeNeededError: a claim covers a root that this program does not know.
            LogError, NotALedgerError: see there.
        """
        if not self._unread:
            self._unread.extend(await self._log.read(self._state.next_record))
            self._has_asked = False
            at_end = not self._unread
            if (not at_end and self._state.root_version == 0) or (at_end and (self._depended or self._must_look)):
                await self._ask()
        if again := self._judge_again():
            return again
        if not self._unread:
            return None
        passed = await self._pass_over()
        if passed.must_ask and not passed.judged:
            await self._ask()
            if again := self._judge_again():
                return again
            passed = await self._pass_over()
        self._depended |= passed.depended
        self._must_look |= any(each.outcome.verdict == "rejected" for each in passed.judged)
        if passed.error is not None and not passed.judged:
            self._unread.clear()  # whoever tries again reads the batch again, and then asks again where the log ends
            raise passed.error
        if passed.publication is not None and not passed.judged:
            return await self._valid(*passed.publication)
        if passed.claim is None:
            self._pass(len(passed.judged))
            return passed.judged
        return [*passed.judged, await self._judge_contents(*passed.claim, len(passed.judged))]

    def accept(self, valid: ValidPublication) -> None:
        """Make the publication that `next` returned the last one."""
        claim, following = valid.claim, valid.record_index + 1
        if self._state.next_record == valid.record_index and self._unread:
            self._unread.popleft()
        else:
            self._unread.clear()
        self._depended = False
        time_from = valid.authority.time_from
        head = Head(claim.number, valid.digest, claim.time, claim.size, time_from, valid.content_size)
        self._state = ReaderState(head, following, following, root_version=self._state.root_version)

    def void(self, size: int) -> None:
        """Pass over that publication and all that follows, up to the first claim under the root of this size."""
        self._state = self._state._replace(open_claim=None, void_before_size=size)
        self._pass(1)

    def _pass(self, count: int) -> None:
        for _ in range(count):
            self._unread.popleft()
        self._state = self._state._replace(next_record=self._state.next_record + count)

    def _judge_again(self) -> Rejudging | None:
        """Go back to behind the last publication if a root has changed who may seal."""
        state, authority = self._state, self._tail.end.authority
        if authority is None or authority.root.version <= state.root_version:
            return None
        is_outdated = self.is_outdated and state.next_record > state.first_record
        state = state._replace(root_version=authority.root.version)
        if not is_outdated:
            self.state = state
            return None
        first, self._depended = state.first_record, False
        self.state = state._replace(next_record=first, open_claim=None, void_before_size=None)
        return Rejudging(first)

    async def _ask(self) -> None:
        """Ask where `events` ends, after the batch was read: all that an honest claim in it covers is before that."""
        await self._tail.read_known()
        self._has_asked, self._must_look = True, False

    async def _pass_over(self) -> _Passed:
        """Judge unread records up to the first one that may be valid, or that cannot be judged yet."""
        open_claim = self._state.open_claim
        prefix = None if open_claim is None else await self._tail.prefix_at(open_claim.claim.size)
        known = _Known(self._ledger, self._tail.end, prefix, self._tail.upgrade, has_asked=self._has_asked)
        return await run_if_long(self._workers, length_of(self._unread), _pass_over, self._unread, self._state, known)

    async def _judge_contents(self, claim: Claim, digest: str, before: int) -> Judged:
        """Judge a claim that may be valid, after so many records that are not, by the events at its size."""
        state = self._state
        prefix = await self._tail.prefix_at(claim.size)
        length = sum(map(len, claim.renew))
        outcome = await run_if_long(self._workers, length, chain.judge_contents, claim, prefix)
        if outcome.verdict == "accepted" and prefix.authority is not None:
            opened = chain.open_claim(claim, digest, prefix.authority, state.open_claim)
            self._state = state._replace(open_claim=opened, void_before_size=None)
        self._pass(before + 1)
        return Judged(state.next_record + before, digest, "claim", outcome)

    async def _valid(self, record: Record, publication: Publication, digest: str) -> ValidPublication:
        """A publication that was judged valid."""
        state = self._state
        if state.open_claim is None:
            raise AssertionError("a publication without an open claim is not valid")
        claim = state.open_claim.claim
        prefix = await self._tail.prefix_at(claim.size)
        if prefix.authority is None:
            raise AssertionError("a claim at whose size no root is in force is not valid")
        shown = chain.content_size(state.head.content_size, prefix)
        return ValidPublication(state.next_record, digest, record, publication, claim, prefix, prefix.authority, shown)


def _pass_over(values: Iterable[bytes | None], state: ReaderState, known: _Known) -> _Passed:
    """Judge records up to the first one that may be valid. Garbage must not cost a switch between threads a record.

    Args:
        values: the unread records.
        state: the reader's position. Records that are not valid change nothing in it but the next record.
        known: what is known of the events.
    """
    judged: list[Judged] = []
    depended = False
    for value in values:
        digest = record_digest(value)
        record = decode_publication_record(value)
        if isinstance(record, Rejection):
            found = _Found("", rejected(*record))
        elif isinstance(record.signed, Claim):
            found = _judge_claim(record, record.signed, state, known)
            if found.must_ask or found.error is not None:
                return _Passed(judged, must_ask=found.must_ask, depended=depended, error=found.error)
            if found.outcome.verdict == "accepted":
                return _Passed(judged, claim=(record.signed, digest), depended=depended)
        else:
            found = _Found("publication", chain.VOIDED)
            if state.void_before_size is None:
                outcome = chain.judge_publication(record, record.signed, state.open_claim, known.prefix)
                found = _Found("publication", outcome)
            if found.outcome.verdict == "accepted":
                return _Passed(judged, publication=(record, record.signed, digest), depended=depended)
        depended |= found.depended
        judged.append(Judged(state.next_record + len(judged), digest, found.kind, found.outcome))
    return _Passed(judged, depended=depended)


class _Found(NamedTuple):
    """What was found out about a record; `must_ask`, `depended` and `error` as in `_Passed`."""

    kind: str
    outcome: Outcome
    must_ask: bool = False
    depended: bool = False
    error: LedgerError | None = None


def _judge_claim(record: Record, claim: Claim, state: ReaderState, known: _Known) -> _Found:
    """Judge a claim by everything but the events at its size."""
    outcome = chain.judge_claim_alone(claim, known.ledger, state.head, state.void_before_size)
    if outcome.verdict != "accepted":
        return _Found("claim", outcome)
    depends = chain.depends_on_end(record, claim, known.end)
    if depends and not known.has_asked:
        return _Found("claim", outcome, must_ask=True)
    if known.upgrade is not None and claim.size > known.end.size:
        return _Found("claim", outcome, error=known.upgrade)
    outcome = chain.judge_claimant(record, claim, known.end)
    if outcome.verdict != "accepted":
        return _Found("claim", outcome, depended=depends)
    try:
        outcome = chain.judge_claim(record, claim, known.end, state.head, state.open_claim)
        return _Found("claim", outcome, depended=depends)
    except LogTooShortError as error:
        return _Found("claim", outcome, error=error)
