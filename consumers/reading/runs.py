"""A run of publications: what the last of them leaves to be rendered, if the versions between are skipped."""

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
    """What a publication gives the bins it signs: its number, and when they expire. `sha256` is what the log says of
    the file, where that is known.
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
    """Judge the next publications, up to one that is not wanted, that a later root may void, or that was halted at.

    Args:
        reader: it goes on behind the run.
        end: the prefix at the end of the log.
        wanted: whether a publication is to be among them; the first that is not ends the run.
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
    """What the state remembers of a publication."""
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
