"""When to publish, which events to cover, and which bins to renew: the signer's policy, without any I/O.

The policy does not shape bytes: its decisions are written into the claim. The periods come from root.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from ledger.clock import from_instant, to_instant
from projections.metadata.repository import RoleEntry
from projections.publications import Head, earliest_time
from projections.roles.authority import Authority
from schemas.errors import LedgerError
from schemas.publications import Claim

CLOCK_TOLERANCE = timedelta(seconds=60)
WAITING_INTERVAL = timedelta(minutes=1)
"""Shortest time between two publications that are due to events that wait for the release of a hold."""
RENEWED_WITHIN = 1 / 4
"""Renewing all bins takes this part of their period, in its second half."""
RENEWALS = 64
"""Renewing all bins takes about this many publications; fewer, if publications are farther apart."""
LEAST_RENEWED = 16


class ClockError(LedgerError):
    """The clock contradicts the log; a person must decide which is right."""


class Due(NamedTuple):
    """A publication that is due: its size, the bins to renew, and the reason."""

    size: int
    renew: tuple[str, ...]
    why: str


class Schedule:
    """The policy of one signer.

    Args:
        interval_seconds: shortest time between two publications that are due to new events.
        clock_days: how far the clock may be ahead of the last publication before a person must confirm the clock.
        clock_checked: a person has confirmed the clock. It counts for one publication; and if the clock is behind the
            last publication, until the clock has passed it.
        grace_seconds: how long another signer's claim is left for that signer to complete.
        renew_now: publish once even if nothing is new.

    `above` is set if served metadata that is not on the log may have used the numbers up to it (`tuf-ledger resume`):
    the next publication has a higher number, and signs all bins anew. `lost` is set if a restore knows that clients
    have seen publications up to it: nothing is signed before somebody has resumed above it.
    """

    def __init__(
        self,
        *,
        interval_seconds: float = 1.0,
        clock_days: float = 7.0,
        clock_checked: bool = False,
        grace_seconds: float = 5.0,
        renew_now: bool = False,
    ) -> None:
        self.grace_seconds = grace_seconds
        self.above = 0
        self.lost = 0
        self._renew_now = renew_now
        self._interval = timedelta(seconds=interval_seconds)
        self._clock_limit = timedelta(days=clock_days)
        self._clock_checked = clock_checked
        self._published_at: datetime | None = None
        self._renewed_at: datetime | None = None
        self._looked_at: datetime | None = None

    def due(
        self,
        now: datetime,
        size: int,
        authority: Authority,
        head: Head,
        entries: Mapping[str, RoleEntry],
        *,
        only_waits: bool = False,
        now_please: bool = False,
    ) -> Due | None:
        """The publication that is due at this moment, or None.

        Args:
            now: the moment.
            size: how many events the next claim covers.
            authority: the offline roles in force at that size: they define the bins and the expiry periods.
            head: the last publication.
            entries: the last version of every bin.
            only_waits: all new events are held: covering them shows nothing.
            now_please: publish new events without waiting for the interval.

        Raises:
            ClockError: the clock is behind the last publication, or so far ahead that a person must look.
        """
        self._check_clock(now, head, authority)
        above = self.above >= head.number
        renew = tuple(map(authority.layout.name, range(authority.layout.count))) if above and head.number else ()
        if head.number == 0 or above:
            return Due(size, renew, "first" if head.number == 0 else "resumed")
        last = from_instant(earliest_time(head, authority.time_from))
        unwatched = max(now - (self._looked_at or last), timedelta(0))
        self._looked_at = now
        renew = self._renewals(now, unwatched, authority, entries)
        if only_waits:
            waited = now - last >= WAITING_INTERVAL
        else:
            waited = self._published_at is None or now - self._published_at >= self._interval
        if size > head.size and (now_please or waited):
            return Due(size, renew, "events")
        settings = authority.settings
        shortest = min(settings.timestamp_expiry_seconds, settings.snapshot_expiry_seconds)
        if now - last >= timedelta(seconds=shortest) / 2:
            return Due(size, renew, "timestamp")
        if renew or self._renew_now:
            return Due(size, renew, "renewal")
        return None

    def is_untimely(self, now: datetime, claim: Claim, authority: Authority, earliest: str) -> bool:
        """Whether the time of a claim forbids to complete it now.

        A claim is too old after a quarter of the timestamp's period: its metadata would expire too soon. A claim from
        the future must not be completed either: no later publication could have an earlier time. But a claim of the
        `earliest` time that a claim may have is not from the future: none in its place could have an earlier time.
        """
        quarter = timedelta(seconds=authority.settings.timestamp_expiry_seconds / 4)
        age = now - from_instant(claim.time)
        return age > quarter or (age < -CLOCK_TOLERANCE and claim.time > earliest)

    def published(self, now: datetime, claim: Claim) -> None:
        """Note that a publication was made."""
        self._published_at = now
        self._renew_now = False
        if now >= from_instant(claim.time):
            self._clock_checked = False
        if claim.renew:
            self._renewed_at = now

    def _renewals(
        self, now: datetime, unwatched: timedelta, authority: Authority, entries: Mapping[str, RoleEntry]
    ) -> tuple[str, ...]:
        """The bins to renew: a share of those in the second half of their period, and all that are urgent.

        The time of the next call is unknown. It is assumed to come within twice the time since the previous call, or
        since the last publication: bins that expire until then are urgent.
        """
        layout, period = authority.layout, timedelta(seconds=authority.settings.bin_expiry_seconds)
        soon = to_instant(now + max(period / 2, 2 * unwatched))
        due = sorted(
            (entry.expires, name)
            for name, entry in entries.items()
            if entry.expires <= soon and layout.index(name) is not None
        )
        asked_again = to_instant(now + 2 * unwatched)
        pressing = [name for expires, name in due if expires <= asked_again]
        rested = self._renewed_at is None or now - self._renewed_at >= period * RENEWED_WITHIN / RENEWALS
        share = -(-layout.count * unwatched // (period * RENEWED_WITHIN))
        limit = max(LEAST_RENEWED, -(-layout.count // RENEWALS), share) if rested else 0
        return tuple(sorted({*pressing, *(name for _, name in due[:limit])}))

    def _check_clock(self, now: datetime, head: Head, authority: Authority) -> None:
        earliest = earliest_time(head, authority.time_from)
        if not earliest or self._clock_checked:
            return
        last = from_instant(earliest)
        what = "the last publication" if authority.time_from == head.time_from else "root's time_from"
        both = f"The clock says {to_instant(now)}, but {what} is of {earliest}"
        if now < last - CLOCK_TOLERANCE:
            raise ClockError(
                f"{both}. Set the clock: nothing is signed with an earlier time. If the clock is right and a little "
                f"behind, go on with --clock-checked, and {earliest} is signed again. If that time is wrong, "
                "sign a root that starts a new time: see docs/operators.md, 'The clock'"
            )
        limit = max(self._clock_limit, timedelta(seconds=authority.settings.timestamp_expiry_seconds))
        if now > last + limit:
            raise ClockError(f"{both}. Set the clock; or, if the clock is right, go on with --clock-checked")
