"""Making proofs. Every proof is checked before it is handed out, as whoever gets it will check it."""

from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from consumers.context import Context
from consumers.prove.published import Listed, PublishedFiles, Question, published_files
from consumers.prove.searching import Found, search
from consumers.prove.subtrees import subtree_roots
from consumers.work.progress import Report
from consumers.work.workers import ThreadWorkers, Workers
from ledger.logs import LogConflictError, Logs
from projections.log.checking import Checked, WrongProofError, check_proof
from projections.log.merkle import leaf_hash
from projections.log.proofs import consistency_path, inclusion_path
from schemas.errors import NegativeAnswerError
from schemas.proofs import ConsistencyProof, EventPart, EventProof, Proof, TargetProof


class Proven(NamedTuple):
    """A proof, and what it proves."""

    proof: Proof
    checked: Checked


async def prove(context: Context, what: str, *, number: int | None, with_record: bool, report: Report) -> Proven:
    """Prove that a publication covers an event, or offers a target.

    Args:
        context: the ledger.
        what: the index or id of an event, or the path of a target.
        number: the publication; None: the last one.
        with_record: whether the event's record is in the proof, or the hash of its leaf.
        report: called with the progress of reading.

    Raises:
        NegativeAnswerError: there is no such publication, or it has no such event or target.
        LogConflictError: the log is not the one that was signed.
        StoreError: no state on this machine can be used.
        The errors of `Follower.step`.
    """
    async with _opened(context) as (logs, workers):
        if what.isascii() and what.isdigit():
            files = await published_files(context, logs, Question(number, int(what) + 1), report)
            return await _prove_event(logs, workers, files, int(what), with_record=with_record)
        found = await search(logs.events, what, workers, report)
        size = max(found.with_id, default=-1) + 1
        files = await published_files(context, logs, Question(number, size, what, tuple(found.offers)), report)
        if files.listed is not None:
            return await _prove_target(logs, workers, files, files.listed, found)
        index = _one_of(found.with_id, what, files)
        return await _prove_event(logs, workers, files, index, with_record=with_record)


async def prove_consistency(context: Context, first: int, second: int, report: Report) -> Proven:
    """Prove that a later publication begins with the events of an earlier one.

    Args:
        context: the ledger.
        first: the number of the earlier one.
        second: the number of the later one.
        report: called with the progress of reading.

    Raises:
        The errors of `prove`.
    """
    async with _opened(context) as (logs, workers):
        earlier = await published_files(context, logs, Question(first), report)
        later = await published_files(context, logs, Question(second), report)
        path = await subtree_roots(logs.events, consistency_path(earlier.size, later.size), workers)
    proof = ConsistencyProof(roots=later.roots, earlier=earlier.part, later=later.part, path=path)
    return _checked(proof)


@asynccontextmanager
async def _opened(context: Context) -> AsyncIterator[tuple[Logs, Workers]]:
    logs, workers = context.logs(), ThreadWorkers()
    try:
        await logs.open()
        yield logs, workers
    finally:
        await logs.close()
        workers.close()


async def _prove_event(logs: Logs, workers: Workers, files: PublishedFiles, index: int, *, with_record: bool) -> Proven:
    if index >= files.size:
        raise NegativeAnswerError(
            f"publication {files.number} covers {files.size} events, numbered from 0: event {index} is not among them"
        )
    event = await _event_part(logs, workers, files, index, with_record=with_record)
    return _checked(EventProof(roots=files.roots, published=files.part, event=event))


async def _prove_target(logs: Logs, workers: Workers, files: PublishedFiles, listed: Listed, found: Found) -> Proven:
    index = listed.last_serial
    if found.offers:
        index = min(
            each for each in listed.accepted if each < files.content_size and found.offers[each].sha256 == listed.sha256
        )
    event: EventPart | UnsetType = UNSET
    if index is not None:
        event = await _event_part(logs, workers, files, index, with_record=True)
    return _checked(TargetProof(roots=files.roots, published=files.part, target=listed.part, event=event))


async def _event_part(
    logs: Logs, workers: Workers, files: PublishedFiles, index: int, *, with_record: bool
) -> EventPart:
    path = await subtree_roots(logs.events, inclusion_path(index, files.size), workers)
    values = await logs.events.read(index)
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
