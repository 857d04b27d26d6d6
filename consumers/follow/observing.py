"""Observers: whoever wants to know what publications did, event by event, without the files.

A follower tells each observer every publication once, in order, before the publication counts in its own state. An
observer keeps the number and the digest of the last one together with what it makes of it, in one transaction. So after
a crash anywhere the follower and its observers go on together:

- The observer has kept a publication, and the state has not: the follower applies it again, and does not tell it again.
- The state is ahead of the observer: what it has folded cannot be told any more. The follower says so and stops; a
  state from nothing folds, and so tells, everything.
"""

from base64 import b64decode
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

from consumers.limits import Limits
from consumers.reading.publications import ValidPublication
from consumers.reading.runs import Stamp
from consumers.render.edition import Edition
from consumers.render.sealing import SNAPSHOT, Seals
from consumers.render.telling import Telling
from consumers.work.workers import Workers
from ledger.logs import Log, LogConflictError, record_is_gone
from projections import publications as chain
from projections.index.effects import RoleVersion, Told
from projections.log.envelopes import Envelope, read_envelopes
from projections.metadata.repository import unpack_signatures
from projections.publications import Head
from schemas.errors import DisagreementError


class ObserverBehindError(DisagreementError):
    """A state has applied publications that an observer was never told, and that cannot be told any more."""


class KeptPublication(NamedTuple):
    """What an observer keeps of the last publication that it was told: its number and its digest."""

    number: int
    digest: str


class PublicationTold(NamedTuple):
    """One publication, and what it covers and shows since the one before.

    Attributes:
        number: its number, and the version of every file that it signed.
        record: the index of its record on `publications`, and `digest` the SHA-256 of it.
        time: the time of its claim.
        size: how many events it covers, and `covered_before` how many the one before did. Between them, records about
            the ledger itself are told: ceremonies, holds, and what is no event.
        content_size: how many events it shows, and `shown_before` how many the one before did. Between them, all other
            events are told.
        skipped: how many publications between the one before and this one are not told, because the follower skipped
            them. What they did is told with this one; which of them showed it first is not.
        new_time: the time to which all upload times told before are lowered, if a new time began; else empty.
        roles: the versions that it signed: bins, snapshot and timestamp. Of skipped publications, only those that are
            still in force.
        reproduced: whether the follower has rendered the publication and found the digests of its record. One that only
            folds takes them from the log.
    """

    number: int
    record: int
    digest: str
    time: str
    size: int
    covered_before: int
    content_size: int
    shown_before: int
    skipped: int
    new_time: str
    roles: Sequence[RoleVersion]
    reproduced: bool
    events: "Events"


class Observer(Protocol):
    """Is told what publications did."""

    async def kept(self) -> KeptPublication | None:
        """The last publication that it keeps, or None. Asked at each start of its follower, before it is told anything:
        also after a failure that is retried.
        """

    async def tell(self, publication: PublicationTold) -> None:
        """Take a publication, and keep its number and digest in the same transaction.

        When this returns, the publication is kept for good. An exception stops the follower, and the publication is
        told again.
        """


class Events:
    """What the events of a publication did. May be read several times by several observers, each until its `tell`
    returns.
    """

    def __init__(self, telling: Telling, log: Log) -> None:
        self._telling = telling
        self._log = log

    def __aiter__(self) -> AsyncIterator[list[Told]]:
        """Some events at a time, in the order of the log."""
        return self._telling.read()

    async def with_envelopes(self) -> AsyncGenerator[list[tuple[Told, Envelope | None]], None]:
        """The same, each with its envelope; None where the record is no event.

        The log is read again for it, so that nobody pays for envelopes who does not ask.

        Raises:
            LogError: the log cannot be read, or has lost records.
        """
        envelopes: list[Envelope | None] = []
        start = 0
        async with aclosing(self._telling.read()) as batches:
            async for batch in batches:
                together: list[tuple[Told, Envelope | None]] = []
                for told in batch:
                    if not start <= told.index < start + len(envelopes):
                        start, values = told.index, await self._log.read(told.index)
                        if not values:
                            raise record_is_gone(self._log.name, start)
                        envelopes = await self._telling.compute(read_envelopes, values)
                    together.append((told, envelopes[told.index - start]))
                yield together


class Observers:
    """The observers of one follower."""

    def __init__(self, observers: Sequence[Observer], log: Log, *, reproduces: bool) -> None:
        self._observers = observers
        self._log = log
        self._reproduces = reproduces
        self._kept: list[KeptPublication | None] = []

    async def start(self, head: Head, state: Path) -> None:
        """Ask each observer what it keeps.

        Args:
            head: the last publication in the follower's state.
            state: the file of that state, for a message.

        Raises:
            ObserverBehindError: an observer was not told all that the state has applied.
        """
        self._kept = [await each.kept() for each in self._observers]
        for kept in self._kept:
            number = 0 if kept is None else kept.number
            if number < head.number:
                raise ObserverBehindError(
                    f"the state has applied publication {head.number}, and an observer keeps {number or 'none'}: what "
                    f"lies between cannot be told any more. Delete {state}: a new state tells everything"
                )
        self.check(head, head.number - 1)

    def kept_above(self, number: int) -> int | None:
        """The lowest number above this one that an observer keeps: a run of publications must not go beyond it."""
        return min((kept.number for kept in self._kept if kept is not None and kept.number > number), default=None)

    async def telling(self, edition: Edition, workers: Workers, folder: Path, limits: Limits) -> Telling | None:
        """Collects what the events of an edition do, for the observers that do not keep its publication."""
        number = edition.claim.number
        if all(kept is not None and kept.number >= number for kept in self._kept):
            return None
        first, end = min(edition.first, edition.before.size), max(edition.content_size, edition.after.size)
        return await Telling.begin(workers, folder, first, end, limits)

    async def tell(
        self, edition: Edition, valid: ValidPublication, seals: Seals, covered_before: int, telling: Telling
    ) -> None:
        """Tell a publication to each observer that does not keep it.

        Args:
            edition: the edition whose last publication it is.
            valid: the publication.
            seals: digests and signatures of all bins that the edition signed, and of the snapshot.
            covered_before: the size of the publication before the edition.
            telling: what its events did.

        Raises:
            Exception: whatever an observer raises.
        """
        claim = valid.claim
        told = PublicationTold(
            claim.number,
            valid.record_index,
            valid.digest,
            claim.time,
            claim.size,
            covered_before,
            edition.content_size,
            edition.shown_before,
            len(edition.publications) - 1,
            edition.brackets()[1],
            _role_versions(edition, valid, seals),
            self._reproduces,
            Events(telling, self._log),
        )
        for place, (observer, kept) in enumerate(zip(self._observers, self._kept, strict=True)):
            if kept is None or kept.number < told.number:
                await observer.tell(told)
                self._kept[place] = KeptPublication(told.number, told.digest)

    def check(self, head: Head, before: int) -> None:
        """Compare what observers keep with a publication.

        Args:
            head: the publication.
            before: the number of the publication before it: numbers between them stand for nothing on this log.

        Raises:
            LogConflictError: an observer keeps another publication of this number, or one between the two.
        """
        for kept in self._kept:
            if kept is None or not before < kept.number <= head.number:
                continue
            if (kept.number, kept.digest) != (head.number, head.digest):
                raise LogConflictError(
                    f"an observer keeps a publication {kept.number} that is not on this log, or not valid any more: it "
                    "was told of another log, or a root has voided it since. Begin anew with an empty observer"
                )


def _role_versions(edition: Edition, valid: ValidPublication, seals: Seals) -> list[RoleVersion]:
    number, online, layout = valid.claim.number, edition.authority.online, edition.authority.layout
    stamps = edition.stamps or {}
    versions = [
        RoleVersion(
            name,
            number if name == SNAPSHOT else stamps.get(name, Stamp(number, "")).number,
            b64decode(digest).hex(),
            unpack_signatures(online, packed),
        )
        for name, (digest, packed) in sorted(seals.items())
        # A bin that is gone was skipped over with what signed it last, perhaps by keys that are not these.
        if name == SNAPSHOT or layout.index(name) is not None
    ]
    timestamp = sha256(valid.timestamp()).hexdigest()
    return [*versions, RoleVersion("timestamp", number, timestamp, dict(chain.seal_signatures(valid.record)))]
