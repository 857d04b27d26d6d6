"""Finding events on the log, by their id or by the target that they offer. Every record is looked at."""

from collections.abc import Sequence
from typing import NamedTuple

from consumers.work.progress import Report
from consumers.work.workers import Workers
from ledger.logs import Log
from projections.log.checking import Offer, offer_of
from schemas.codec import Rejection, decode_event
from schemas.plain_uploads import decode_plain_upload


class Found(NamedTuple):
    """The events that a text names, accepted or not: the indices of those with this id, and what those offer, by index,
    that offer a target of this path.
    """

    with_id: list[int]
    offers: dict[int, Offer]


async def search(log: Log, text: str, workers: Workers, report: Report) -> Found:
    """Find the events that a text names.

    Args:
        log: the log of events, open.
        text: the id of an event, or the path of a target.
        workers: for decoding.
        report: called with the number of records that were looked at, and their number.

    Raises:
        LogError: the log cannot be read.
    """
    found, start, size = Found([], {}), 0, await log.size()
    while values := await log.read(start):
        some = await workers.run(_search, start, values, text)
        found.with_id.extend(some.with_id)
        found.offers.update(some.offers)
        start += len(values)
        report(min(start, size), size)
    return found


def _search(start: int, values: Sequence[bytes | None], text: str) -> Found:
    found = Found([], {})
    for index, value in enumerate(values, start):
        event = decode_plain_upload(value) or decode_event(value)
        if isinstance(event, Rejection):
            continue
        if event.id == text:
            found.with_id.append(index)
        offer = offer_of(event)
        if offer is not None and offer.path == text:
            found.offers[index] = offer
    return found
