"""The files of a publication that proofs need: from the furthest state on this machine, or from the replayed logs."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
import orjson

from consumers.context import Context
from consumers.follow.replayed import replayed
from consumers.render.sealing import SNAPSHOT, CheckingSealer, seals_of
from consumers.state import records
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report
from ledger.disk.files import StorageError
from ledger.logs import Log, LogConflictError, Logs
from ledger.state import StoreError
from ledger.state.aggregates import load_headers
from ledger.state.position import Position, load_position
from ledger.state.publications import AppliedPublication, load_publication
from ledger.state.roles import kept_name, load_ceremonies, load_marks
from ledger.state.statements import State
from ledger.state.store import ReadingStore
from ledger.state.verdicts import load_judged
from projections import publications as chain
from projections.index.pages import ProjectHeader
from projections.log.operations import project_key
from projections.metadata.paths import is_page, project_of_page
from projections.metadata.repository import RoleEntry, SnapshotTable, signed_file, timestamp_payload
from projections.roles.authority import Authority
from schemas.codec import decode_publication_record
from schemas.errors import NegativeAnswerError
from schemas.proofs import PublishedProof, TargetPart
from schemas.publications import Claim, Publication, Record

_TRIES = 10
"""How often a state is read anew whose consumer goes on meanwhile."""


class Question(NamedTuple):
    """What is asked of a publication: its number (None: the last one), and a size that it must cover if it is the last.

    Args:
        target: the path of a target.
        candidates: the indices of events that may have offered the target.
    """

    number: int | None = None
    size: int = 0
    target: str = ""
    candidates: Iterable[int] = ()


class Listed(NamedTuple):
    """A target that a publication offers: the files that lead to it, and its SHA-256.

    `accepted` are those of the candidates that were accepted. `last_serial` is the last event that a project's page
    shows; None for other targets.
    """

    part: TargetPart
    sha256: str
    accepted: list[int]
    last_serial: int | None


class PublishedFiles(NamedTuple):
    """The files of a publication, with all roots up to the one in force. `listed` is None if the target is not."""

    number: int
    size: int
    content_size: int
    roots: tuple[str, ...]
    part: PublishedProof
    listed: Listed | None


class _Stored(NamedTuple):
    """What a state has of its last publication."""

    row: AppliedPublication
    position: Position
    authority: Authority
    claim: Claim
    bins: SnapshotTable
    roots: tuple[str, ...]
    listed: Listed | None


async def published_files(context: Context, logs: Logs, question: Question, report: Report) -> PublishedFiles:
    """The files of a publication.

    Args:
        context: the ledger.
        logs: its logs, open.
        question: which publication and target.
        report: called with the progress of a replay.

    Raises:
        NegativeAnswerError: there is no such publication.
        StoreError: no state on this machine can be used.
        LogConflictError: the log has another publication than the state.
        The errors of `Follower.step`.
    """
    async with open_furthest(context) as furthest:
        stored = None if furthest is None else await _load(furthest.store, question)
        if stored is not None:
            return await _files(stored, logs.publications)
    async with replayed(context, report=report) as replay:

        def is_wanted(claim: Claim) -> bool:
            return question.number is None or claim.number <= question.number

        await replay.follower.skip(is_wanted)
        while await replay.follower.step(is_wanted):
            pass
        last = replay.follower.head
        stored = await _load(replay.store, question._replace(size=0))
    if stored is None:
        raise NegativeAnswerError(
            "nothing was published yet: the log holds no valid publication"
            if last.number == 0
            else f"there is no publication {question.number}; the last one before is number {last.number}"
        )
    return await _files(stored, logs.publications)


async def _load(store: ReadingStore, question: Question) -> _Stored | None:
    """What a state has of its last publication; None if that is not the one."""
    for _ in range(_TRIES):
        position = await store.run(load_position)
        if position is None or question.number not in {None, position.number} or position.size < question.size:
            return None
        try:
            stored = await store.run(_stored, position, question)
        except StorageError:
            return None  # a state's kept files are those of its user alone: everybody else replays
        except (StoreError, ValueError):
            # Its consumer may have replaced what belongs to this position.
            if await store.run(load_position) == position:
                raise
            continue
        if await store.run(load_position) == position:
            return stored
    return None


def _stored(state: State, position: Position, question: Question) -> _Stored:
    prefix = records.load_prefix(state, position.prefix)
    row = load_publication(state, position.number)
    if row is None or prefix.authority is None or prefix.ledger is None:
        raise ValueError(f"{state.path} does not have its last publication")
    # Predecessor and renewals are in none of the files.
    claim = Claim(
        format=1,
        origin=prefix.ledger.origin,
        number=position.number,
        previous=position.digest,
        time=position.time,
        size=position.size,
        root_hash=prefix.tree.root_hash(),
        renew=(),
    )
    entries = records.load_roles(state)
    roots = {
        version: file.decode()
        for index, role, version, file in load_ceremonies(state)
        if role == "root" and index < position.size
    }
    return _Stored(
        row,
        position,
        prefix.authority,
        claim,
        SnapshotTable(entries),
        tuple(file for _, file in sorted(roots.items())),
        _listed(state, prefix.authority, entries, question) if question.target else None,
    )


def _listed(state: State, authority: Authority, entries: Mapping[str, RoleEntry], question: Question) -> Listed | None:
    path, layout = question.target, authority.layout
    name = layout.name(layout.index_of_target(path))
    marks = dict(load_marks(state, [name]))
    (file,) = state.read_kept([(kept_name(name, entries[name].version), marks[name])])
    entry = orjson.loads(file)["signed"]["targets"].get(path)
    if entry is None:
        return None
    part = TargetPart(
        path=path, targets=authority.targets.file.decode(), bins=authority.bins.file.decode(), bin=file.decode()
    )
    accepted = [index for index in question.candidates if load_judged(state, "events", index) is None]
    return Listed(part, entry["hashes"]["sha256"], accepted, _last_serial(state, path))


def _last_serial(state: State, path: str) -> int | None:
    project = project_of_page(path) if is_page(path) else ""
    if not project:
        return None
    headers = dict(load_headers(state, [project_key(project)]))
    return msgspec.msgpack.decode(headers[project_key(project)], type=ProjectHeader).last_serial


async def _files(stored: _Stored, publications: Log) -> PublishedFiles:
    """Seal the files with the signatures on the log."""
    publications.resume(stored.position.next_record - 1, stored.position.publications_token)
    values = await publications.read(stored.row.record)
    record = decode_publication_record(values[0]) if values else None
    if not isinstance(record, Record) or not isinstance(record.signed, Publication):
        raise LogConflictError(
            f"record {stored.row.record} of {publications.name} is not the publication that it was. See "
            "docs/operators.md, 'A log was rolled back'"
        )
    claim, authority = stored.claim, stored.authority
    sealer = CheckingSealer(authority.online, seals_of(record.signed))
    snapshot = sealer.seal(SNAPSHOT, stored.bins.payload(claim, authority, stored.position.content_size))
    timestamp = signed_file(timestamp_payload(claim, record.signed, authority), chain.seal_signatures(record))
    part = PublishedProof(root=authority.root.version, timestamp=timestamp.decode(), snapshot=snapshot.decode())
    return PublishedFiles(claim.number, claim.size, stored.position.content_size, stored.roots, part, stored.listed)
