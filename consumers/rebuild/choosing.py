"""The choice of the publication that is rebuilt."""

from typing import NamedTuple

from consumers.reading.publications import ChainReader, Prefixes, ReaderState, Records, Rejudging, ValidPublication
from consumers.work.workers import Workers
from projections import publications as chain
from projections.publications import LogTooShortError
from projections.roles.authority import UpgradeNeededError
from schemas.fields import is_instant
from schemas.publications import Claim


class At(NamedTuple):
    """The choice of a publication: the last up to a number, or up to a time; the last of all if both are None."""

    number: int | None = None
    time: str | None = None

    def includes(self, claim: Claim) -> bool:
        """Whether a publication is not later than the chosen one, as far as times never decrease (`find_number`)."""
        if self.number is not None:
            return claim.number <= self.number
        return self.time is None or claim.time <= self.time


def read_at(text: str | None) -> At:
    """Read a publication number, or a UTC time as `2026-11-21T10:00:00Z`.

    Raises:
        ValueError: the text is neither.
    """
    if text is None:
        return At()
    if text.isascii() and text.isdigit():
        return At(number=int(text))
    if is_instant(text):
        return At(time=text)
    raise ValueError(f"{text!r} is neither a publication's number nor a UTC time such as 2026-11-21T10:00:00Z")


def has_new_time(prefixes: Prefixes) -> bool:
    """Whether a root up to the end has a `time_from`. Only then may a publication be dated before an earlier one."""
    authority = prefixes.end.authority
    return authority is not None and authority.time_from != ""


async def find_number(at: At, publications: Records, prefixes: Prefixes, workers: Workers) -> At:
    """Turn a time into the number of the last publication up to it.

    A publication that a thief dated 2999 counts as of the time at which the index went on: its *effective* time is the
    least time of it and of all later publications. So the last publication up to a time is the one with the greatest
    number among those whose claim is not later.

    Args:
        at: the choice.
        publications: the log of publications.
        prefixes: prefixes from nothing on, read to the end.
        workers: for judging records.

    Returns:
        `at` itself if it has no time, or if no root has a `time_from`: then times never decrease.

    Raises:
        LogError, NotALedgerError: see there.
    """
    ledger, authority = prefixes.end.ledger, prefixes.end.authority
    if at.time is None or ledger is None or authority is None or not has_new_time(prefixes):
        return at
    reader = ChainReader(publications, prefixes, workers, ledger, ReaderState(chain.first_head(ledger), 0, 0))
    number = 0
    while True:
        try:
            found = await reader.next()
        except (LogTooShortError, UpgradeNeededError):
            break  # publications up to here can be rebuilt
        if found is None:
            break
        if isinstance(found, Rejudging) or not isinstance(found, ValidPublication):
            continue
        voided_at = authority.void_for(found.claim.number, found.digest)
        if voided_at is not None:  # it diverges: `ceremony --void` takes no other
            reader.void(voided_at)
            continue
        reader.accept(found)
        if found.claim.time <= at.time:
            number = found.claim.number
    return At(number=number)
