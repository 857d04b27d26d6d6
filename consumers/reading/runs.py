"""Runs of publications: only the last one is rendered, and the versions between are skipped."""

from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import NamedTuple

from consumers.reading.publications import ChainReader, ValidPublication
from ledger.state.store import AppliedPublication as PublicationRow
from projections.log.prefix import Prefix
from projections.metadata.repository import expires_at
from projections.outcomes import Judged
from projections.roles.authority import Authority
from schemas.publications import Claim


class Stamp(NamedTuple):
    """The number and expiry that a publication gives the bins it signs. `sha256` is the file's digest on the log, if
    known.
    """

    number: int
    expires: str
    sha256: str = ""


class Run:
    """Publications that are applied together."""

    def __init__(self) -> None:
        self.claims: list[tuple[Claim, Authority]] = []
        self.rows: list[PublicationRow] = []
        self.judged: list[Judged] = []
        self.stamps: dict[str, Stamp] = {}
        self.seals: dict[str, tuple[str, Sequence[str]]] = {}
        self.last: ValidPublication | None = None

    def add(self, valid: ValidPublication) -> None:
        """Add the next publication."""
        self.claims.append((valid.claim, valid.authority))
        self.rows.append(publication_row(valid))
        expires = expires_at(valid.claim.time, valid.authority.settings.bin_expiry_seconds)
        for name, digest, signatures in valid.publication.roles:
            self.stamps[name] = Stamp(valid.claim.number, expires, b64decode(digest).hex())
            self.seals[name] = (digest, signatures)
        self.last = valid


async def collect(
    reader: ChainReader, end: Prefix, wanted: Callable[[Claim], bool], *, halted_at: str | None = None
) -> Run:
    """Judge the next publications. The run ends before one that is unwanted, that a later root voids, or that diverges.

    Args:
        reader: the reader; afterwards it stands behind the run.
        end: the prefix at the end of the log.
        wanted: whether a publication belongs to the run; the first unwanted one ends it.
        halted_at: the digest of a publication that is known to diverge.
    """
    run = Run()
    while (found := await reader.next()) is not None:
        if isinstance(found, Judged):
            run.judged.append(found)
            continue
        voided = end.authority.void_for(found.claim.number, found.digest) if end.authority else None
        if voided is not None or found.digest == halted_at or not wanted(found.claim):
            break
        run.add(found)
        reader.accept(found)
    return run


def publication_row(valid: ValidPublication) -> PublicationRow:
    """The row that a state stores for a publication."""
    return PublicationRow(
        valid.claim.number,
        valid.record_index,
        valid.digest,
        valid.claim.time,
        valid.claim.size,
        len(valid.publication.roles),
        b64decode(valid.publication.snapshot[0]).hex(),
        sha256(valid.timestamp()).hexdigest(),
    )
