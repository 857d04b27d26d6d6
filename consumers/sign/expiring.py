"""Offline roles that expire. Only people with offline keys can renew them, so whoever publishes says so in time."""

from datetime import datetime, timedelta

import structlog

from ledger.clock import Clock, from_instant
from projections.roles.authority import Authority

SOON = timedelta(days=30)
"""How long before the end a role counts as about to expire."""
AGAIN = timedelta(days=1)
"""How often the same is said."""

log = structlog.get_logger()


class ExpiryWatch:
    """Warns of offline roles that have expired, or will soon: when they are first seen so, and then once a day."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[tuple[str, str, bool], datetime] = {}

    def look(self, authority: Authority | None) -> None:
        """Look at the offline roles in force."""
        now = self._clock.now()
        for document in authority.documents if authority else ():
            ends_at = from_instant(document.expires)
            has_expired = ends_at <= now
            key = (document.role, document.expires, has_expired)
            if ends_at > now + SOON or (key in self._said and now < self._said[key] + AGAIN):
                continue
            self._said[key] = now
            log.warning(
                "an offline role has expired: clients refuse everything until a ceremony renews it"
                if has_expired
                else "an offline role expires soon: renew it by a ceremony, or clients will refuse everything",
                role=document.role,
                expires_at=document.expires,
            )
