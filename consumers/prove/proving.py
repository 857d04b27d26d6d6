"""Making proofs. Every proof is checked before it is handed out, as whoever gets it will check it."""

from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from consumers.catalog.asking import Asked
from consumers.prove.publication_files import Listed, PublishedFiles, PublishedReader
from consumers.prove.subtrees import subtree_roots
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import events_with_id
from ledger.logs import Log, LogConflictError
from projections.log.merkle import leaf_hash
from projections.log.proof_checking import CheckedProof, WrongProofError, check_proof
from projections.log.proofs import consistency_path, inclusion_path
from schemas.errors import NegativeAnswerError
from schemas.proof_files import ConsistencyProof, EventPart, EventProof, Proof, TargetProof


class Proven(NamedTuple):
    """A proof, and what it proves."""

    proof: Proof
    checked: CheckedProof


class _Found(NamedTuple):
    """What a text names: a target that the publication offers, or events with this id."""

    files: PublishedFiles
    listed: Listed | None = None
    events: Sequence[int] = ()


async def prove(asked: Asked, log: Log, what: str, *, number: int | None, with_record: bool) -> Proven:
    """Prove that a publication covers an event, or offers a target.

    Args:
        asked: the catalog of the ledger.
        log: its log of events, open.
        what: the index or id of an event, or the path of a target.
        number: the publication; None: the last one.
        with_record: whether the event's record is in the proof, or the hash of its leaf.

    Raises:
        NegativeAnswerError: there is no such publication, or it has no such event or target.
        LogConflictError: the log is not the one that was signed.
        LogError, CatalogError: see there.
    """
    found = await asked.database.run(_find, what, number)
    if found.listed is not None:
        return await _prove_target(asked, log, found.files, found.listed)
    index = _one_of(found.events, what, found.files)
    if index >= found.files.size:
        where = "is on the log behind them" if index < asked.size else f"is none of the {asked.size} on the log"
        raise NegativeAnswerError(
            f"publication {found.files.number} covers {found.files.size} events, numbered from 0: event {index} {where}"
        )
    event = await _event_part(asked, log, found.files.size, index, with_record=with_record)
    return _checked(EventProof(roots=found.files.roots, published=found.files.part, event=event))


async def prove_consistency(asked: Asked, log: Log, first: int, second: int) -> Proven:
    """Prove that a later publication begins with the events of an earlier one.

    Args:
        asked: the catalog of the ledger.
        log: its log of events, open.
        first: the number of the earlier one.
        second: the number of the later one.

    Raises:
        The errors of `prove`.
    """
    earlier, later = await asked.database.run(_both, first, second)
    path = await subtree_roots(asked, log, consistency_path(earlier.size, later.size))
    return _checked(ConsistencyProof(roots=later.roots, earlier=earlier.part, later=later.part, path=path))


def _find(connection: Connection, what: str, number: int | None) -> _Found:
    reader = PublishedReader(connection, number)
    if what.isascii() and what.isdigit():
        return _Found(reader.files(), events=[int(what)])
    listed = reader.listed(what)
    return _Found(reader.files(), listed, [] if listed else [row.idx for row in events_with_id(connection, what)])


def _both(connection: Connection, first: int, second: int) -> tuple[PublishedFiles, PublishedFiles]:
    return PublishedReader(connection, first).files(), PublishedReader(connection, second).files()


async def _prove_target(asked: Asked, log: Log, files: PublishedFiles, listed: Listed) -> Proven:
    event: EventPart | UnsetType = UNSET
    if listed.event is not None:
        event = await _event_part(asked, log, files.size, listed.event, with_record=True)
    return _checked(TargetProof(roots=files.roots, published=files.part, target=listed.part, event=event))


async def _event_part(asked: Asked, log: Log, size: int, index: int, *, with_record: bool) -> EventPart:
    path = await subtree_roots(asked, log, inclusion_path(index, size))
    values = await log.read(index)
    value = (values[0] if values else None) or b""
    if with_record:
        return EventPart(index=index, path=path, record=b64encode(value).decode())
    return EventPart(index=index, path=path, leaf_hash=leaf_hash(value).hex())


def _one_of(indices: Sequence[int], what: str, files: PublishedFiles) -> int:
    """The one event with an id."""
    if not indices:
        raise NegativeAnswerError(
            f"publication {files.number} does not offer {what}, and no event has this id. Give an event's index or id, "
            "or a target path such as simple/PROJECT/index.json"
        )
    if len(indices) > 1:
        listed = ", ".join(map(str, indices[:10])) + (" …" if len(indices) > 10 else "")
        raise NegativeAnswerError(f"{len(indices)} events have the id {what}: give the index of one ({listed})")
    return indices[0]


def _checked(proof: Proof) -> Proven:
    try:
        return Proven(proof, check_proof(proof, proof.roots[0].encode()))
    except WrongProofError as error:
        raise LogConflictError(
            f"the log is not the one that was signed ({error}). `tuf-ledger verify` says more"
        ) from error
