"""Proposed fixes of defects that `test_defects` shows, so that the simulation can look beyond them.

Each goes when its defect does: its test there fails then, because it is expected to fail.
"""

from typing import Any

from consumers.outlets import TIMESTAMP
from consumers.served import check_not_ahead
from consumers.signer import Signer
from projections.prefix import Routed
from schemas import events

CEREMONIES_WHILE_HELD = False
"""Whether scenarios sign roles while signing is held (`test_bins_are_renewed_while_signing_is_held`)."""


class ReadableRouted(Routed, frozen=True, array_like=True):
    """A routed event that can be read back from disk (`test_events_that_were_spilled_are_read_back`)."""

    event: events.Event


_step = Signer.step


async def _step_with_served(self: Any, *, now: bool = False) -> bool:
    """Read what is served before the log is read on: then the log cannot be behind only because we are slow."""
    if not self._checked_served and self._read_served is not None:
        self._served = await self._workers.run(self._read_served, TIMESTAMP)
    return await _step(self, now=now)


async def _check_served(self: Any) -> None:
    if not self._checked_served and self._read_served is not None:
        await check_not_ahead(self._served, self._follower, above=self._schedule.above)
        self._checked_served = True


FIXES: dict[str, Any] = {
    "consumers.renderer.Routed": ReadableRouted,
    "consumers.signer.Signer.step": _step_with_served,
    "consumers.signer.Signer._check_served": _check_served,
}
