"""The signer: claims, signs and appends publications.

The log is the lock, and it is taken before anything is signed. The signer first appends a claim, and signs only after
reading the claim back as the first valid one. So two signers, or one that is killed at any point, never give one
version two contents.
"""

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from time import monotonic
from typing import NamedTuple

import structlog
from securesystemslib.signer import Signer as KeySigner

from consumers.follow.follower import Follower
from consumers.follow.in_work import Proposal, PublicationInWork
from consumers.follow.served import check_not_ahead
from consumers.reading.runs import Shown
from consumers.render.sealing import SNAPSHOT, SigningSealer
from consumers.sign.schedule import Due, Schedule
from consumers.work.workers import Workers
from ledger.clock import Clock, to_instant
from ledger.keys.keyring import Keyring, MissingKeyError, SignerError
from ledger.logs import Log
from projections import publications as chain
from projections.log.prefix import Prefix
from projections.metadata.paths import TIMESTAMP
from projections.metadata.repository import pack_digest, pack_sha256, timestamp_payload
from projections.publications import OpenClaim
from projections.roles.authority import Authority
from schemas.codec import encode_record, encode_signed
from schemas.errors import NegativeAnswerError
from schemas.publications import Claim, Publication, Record, Seal

log = structlog.get_logger()

READ_BACK_SECONDS = 30.0


class _Signed(NamedTuple):
    """The highest number that was signed, and the digest of its claim.

    A root can change which claim is open after this one was signed. No number is ever signed with two contents.
    """

    number: int
    claim: str


class Signer:
    """Publishes the events that a follower reads. Used by one task."""

    def __init__(
        self,
        *,
        follower: Follower,
        publications: Log,
        keyring: Keyring,
        clock: Clock,
        schedule: Schedule,
        workers: Workers,
        read_served: Callable[[str], bytes | None] | None,
    ) -> None:
        self._follower = follower
        self._publications = publications
        self._keyring = keyring
        self._clock = clock
        self._schedule = schedule
        self._workers = workers
        self._read_served = read_served
        self._checked_served = False
        self._own_claims: set[str] = set()
        self._signed = _Signed(0, "")
        self._others_since: tuple[str, float] | None = None

    async def step(self, *, now: bool = False) -> bool:
        """Read on, and make or complete one publication if one is due.

        Args:
            now: publish new events without waiting for the interval.

        Returns:
            Whether a publication was made.

        Raises:
            ClockError, ServedAheadError: a person must decide.
            SignerError: too few online keys are here, or a key does not sign.
            LogError, DivergenceError …: see `Follower.step`.
        """
        follower = self._follower
        before = follower.head.number
        end = await self._catch_up()
        size, authority = end.size, end.authority
        if authority is None:
            return False
        open_claim = follower.open_claim
        if open_claim is not None and not await self._is_void(open_claim, end, authority):
            if follower.proposal is None and not self._may_complete(open_claim):
                return False
        else:
            moment = self._clock.now()
            due = self._schedule.due(
                moment,
                size,
                authority,
                follower.head,
                follower.table.entries,
                only_waits=chain.only_waits(follower.head, end),
                now_please=now,
            )
            if open_claim is not None and due is None:
                due = Due(size, (), "void")
            if due is None:
                return False
            if not await self._claim(due):
                return False
        await self._complete()
        return follower.head.number > before

    async def _catch_up(self) -> Prefix:
        """Read both logs to their ends, and return the prefix at the end of `events`.

        The first time after a start, make sure that the served timestamp is not ahead of the log.

        The served timestamp is read before the log. In the other order, a publication by another signer in between
        would look like one that the log has lost.
        """
        follower = self._follower
        if self._checked_served or self._read_served is None:
            return await follower.catch_up_to_end()
        timestamp = await self._workers.run(self._read_served, TIMESTAMP)
        if timestamp is None and follower.head.number > 0:
            log.warning("no timestamp is served, so it cannot be compared with the log: check [signer] served")
        end = await follower.catch_up_to_end()
        await check_not_ahead(timestamp, follower, above=self._schedule.above, lost=self._schedule.lost)
        self._checked_served = True
        return end

    # --- claims --------------------------------------------------------------------------------------------------

    async def _is_void(self, open_claim: OpenClaim, end: Prefix, authority: Authority) -> bool:
        """Whether an open claim must not be completed (docs/design.md, "An open claim ends").

        Args:
            open_claim: the claim.
            end: the prefix at the end of the log, which a new claim would cover now.
            authority: the offline roles in force there.
        """
        claim = open_claim.claim
        at_claim = await self._follower.tail.prefix_at(claim.size)
        if at_claim.authority is None or at_claim.authority.online != authority.online:
            return True
        # Whoever claimed had not read a hold yet: its publication would show what is held now.
        shown = self._follower.head.content_size
        if chain.content_size(shown, at_claim) > chain.content_size(shown, end):
            return True
        if claim.number <= self._schedule.above:
            return True
        if claim.number <= self._signed.number and open_claim.digest != self._signed.claim:
            return True
        earliest = chain.earliest_time(self._follower.head, at_claim.authority.time_from)
        return self._schedule.is_untimely(self._clock.now(), claim, authority, earliest)

    def _may_complete(self, open_claim: OpenClaim) -> bool:
        """Whether this signer may complete a claim: its own at once, another signer's after a grace period."""
        if open_claim.digest in self._own_claims:
            return True
        if self._others_since is None or self._others_since[0] != open_claim.digest:
            self._others_since = (open_claim.digest, monotonic())
        return monotonic() - self._others_since[1] >= self._schedule.grace_seconds

    async def _claim(self, due: Due) -> bool:
        """Append a claim; return whether it was read back as the open claim."""
        follower = self._follower
        prefix = await follower.tail.prefix_at(due.size)
        authority = prefix.authority
        if authority is None:
            return False
        signers = self._signers(authority)
        claim = Claim(
            format=1,
            origin=follower.ledger.origin,
            number=self._number(authority),
            previous=follower.head.digest,
            time=max(to_instant(self._clock.now()), chain.earliest_time(follower.head, authority.time_from)),
            size=due.size,
            root_hash=prefix.tree.root_hash(),
            renew=due.renew,
        )
        sealer = SigningSealer(authority.online, signers)
        follower.stopwatch.start()
        sign = partial(sealer.signatures, "the claim", encode_signed(claim))
        # A key in memory signs a claim in less time than another thread takes to be told.
        signatures = sign() if sealer.are_in_memory else await self._workers.run(sign)
        value = encode_record(_record(signatures, claim))
        digest = sha256(value).hexdigest()
        self._own_claims.add(digest)
        log.debug("claiming", publication=claim.number, size=claim.size, renew=len(claim.renew), why=due.why)
        await self._append(value)
        follower.stopwatch.lap("claim")
        return follower.open_claim is not None and follower.open_claim.digest == digest

    def _number(self, authority: Authority) -> int:
        """The number of the next claim.

        Raises:
            NegativeAnswerError: no number is left.
            SignerError: the number would not be valid, so every claim would be rejected.
        """
        follower, floor = self._follower, authority.settings.floor
        taken = chain.lowest_number(follower.head, follower.open_claim, authority.online)
        least, most = max(taken + 1, floor, self._signed.number + 1), chain.highest_number(taken, floor)
        number = max(least, self._schedule.above + 1)
        if least > chain.MAX_NUMBER:
            raise NegativeAnswerError(
                f"no number is left: the last number is {chain.MAX_NUMBER}, and the next publication would have number "
                f"{number}. This ledger cannot publish any more: begin a new one"
            )
        if number > most:
            raise SignerError(
                f"the next publication would have number {number}, but {most} is the highest valid number now. If "
                "`tuf-ledger resume` got a number that was never served, run it again with the highest version served"
            )
        return number

    # --- publications --------------------------------------------------------------------------------------------

    async def _complete(self) -> None:
        """Render, sign and append the publication of the open claim."""
        follower = self._follower
        open_claim = follower.open_claim
        if open_claim is None:
            return
        prefix = await follower.tail.prefix_at(open_claim.claim.size)
        if prefix.authority is None:
            return
        proposal = follower.proposal
        if proposal is None:
            self._signed = _Signed(open_claim.claim.number, open_claim.digest)
            size = chain.content_size(follower.head.content_size, prefix)
            edition = follower.edition(Shown(open_claim.claim, prefix.authority, size), prefix)
            sealer = SigningSealer(prefix.authority.online, self._signers(prefix.authority), self._keyring)
            async with await follower.prepare(edition, sealer) as work:
                follower.stopwatch.start()
                value = await self._workers.run(_publication_record, open_claim, work, sealer, prefix)
                proposal = Proposal(sha256(value).hexdigest(), value)
                work.propose(proposal)
            follower.stopwatch.lap("record")
        await self._append(proposal.value)
        self._schedule.published(self._clock.now(), open_claim.claim)
        self._own_claims.clear()

    async def _append(self, value: bytes) -> None:
        """Append a record, and read on until this record and all before it are judged."""
        (index,) = await self._publications.append([value])
        while self._follower.next_record <= index:
            if not await self._follower.step():
                await self._publications.wait(self._follower.next_record, READ_BACK_SECONDS)

    def _signers(self, authority: Authority) -> list[KeySigner]:
        signers = self._keyring.find(authority.online.keys)
        if len(signers) < authority.online.threshold:
            wanted = ", ".join(f"{keyid[:16]}…" for keyid in authority.online.keyids)
            held = f"only {len(signers)}" if signers else "none"
            are = "are" if len(signers) > 1 else "is"
            raise MissingKeyError(
                f"{held} of the online keys in force ({wanted}) {are} in {self._keyring.folder}, but "
                f"{authority.online.threshold} must sign. Put the key's file there, or name the key in [signer] uris"
            )
        return signers


def _record(signatures: dict[str, str], signed: Claim | Publication) -> Record:
    return Record(
        signatures=tuple(Seal(keyid=keyid, sig=signature) for keyid, signature in sorted(signatures.items())),
        signed=signed,
    )


def _publication_record(open_claim: OpenClaim, work: PublicationInWork, sealer: SigningSealer, prefix: Prefix) -> bytes:
    """Seal the snapshot, make the record of the publication, and judge it as every follower will.

    Raises:
        SignerError: the publication would not be valid.
    """
    snapshot = work.seal(sealer)
    rendered, packed = work.rendered, sealer.packed
    publication = Publication(
        format=1,
        number=open_claim.claim.number,
        claim=open_claim.digest,
        roles=tuple((name, pack_sha256(rendered.entries[name].sha256), packed[name]) for name in rendered.names),
        snapshot=(pack_digest(snapshot), len(snapshot), packed[SNAPSHOT]),
    )
    payload = timestamp_payload(open_claim.claim, publication, work.edition.authority)
    record = _record(sealer.signatures("the timestamp", payload), publication)
    outcome = chain.judge_publication(record, publication, open_claim, prefix)
    if outcome.verdict != "accepted":
        raise SignerError(
            f"publication {publication.number} was not appended, because every follower would reject it: "
            f"{outcome.detail}"
        )
    return encode_record(record)
