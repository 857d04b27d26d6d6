"""Starting a follower: its position is loaded, and compared with the logs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from consumers.follow.follower import Follower, Parts
from consumers.follow.observing import Observer, Observers
from consumers.limits import LIMITS, Limits
from consumers.reading.publications import ChainReader, ReaderState, decode_state
from consumers.reading.rolled_back import compare_record
from consumers.reading.tail import Tail
from consumers.render.outlets import Outlet
from consumers.state import notes, records
from consumers.work.progress import Report, nobody
from consumers.work.workers import Workers
from ledger.logs import Log, LogConflictError, Logs, LogSettingsError
from ledger.state import StoreError
from ledger.state.position import Position, ReadingRow, load_note, load_position, load_reading, save_note
from ledger.state.signing import forget_signing_ahead
from ledger.state.store import Store
from projections import publications as chain
from projections.log.merkle import record_digest
from projections.log.prefix import Prefix
from projections.metadata.repository import SnapshotTable
from projections.publications import Head


async def start_follower(
    logs: Logs,
    store: Store,
    workers: Workers,
    outlet: Outlet,
    spill: Path,
    *,
    observers: Sequence[Observer] = (),
    renders: bool = True,
    limits: Limits = LIMITS,
    report: Report = nobody,
) -> Follower:
    """Load the position of a state, compare it with the logs, and make the follower that goes on from there.

    Args:
        logs: the logs, open.
        store: the state, open.
        workers: for work in threads and processes.
        outlet: where rendered files go.
        spill: a folder for what does not fit into memory.
        observers: who is told what publications did.
        renders: whether files are rendered and compared with the log. If not, events are only folded.
        limits: how much is done at once.
        report: called with the progress of a long batch.

    Raises:
        LogConflictError: the state was made from other logs, or the logs have lost records.
        LogSettingsError: the events log is empty.
        NotALedgerError: record 0 is not `ledger.created`.
        ObserverBehindError: an observer was not told all that the state has applied.
        StoreError: the state was made by a follower that renders, and this one does not, or the other way round.
    """
    position = await store.run(load_position)
    first = await logs.events.read(0)
    if not first and position is None:
        raise LogSettingsError(
            f"{logs.events.name} is empty, so there is no ledger yet: create one with `tuf-ledger init`"
        )
    await _check_kind(store, is_new=position is None, renders=renders)
    base = Prefix()
    if position is not None:
        base = await store.run(records.load_prefix, position.prefix)
        logs.events.resume(position.content_size - 1, position.content_token)
    reading = await store.run(load_reading)
    if reading is not None and position is not None and reading.next_record <= position.next_record:
        reading = None
    await _compare(logs, store, _Known(position, reading, base), first)
    await store.run(forget_signing_ahead, base.size)
    tail = Tail(logs.events, workers, base, spill / "tail", store=store, limits=limits, report=report)
    genesis = base if base.ledger is not None else await tail.prefix_at(1)
    if genesis.ledger is None:
        raise LogConflictError(
            f"{logs.events.name} is shorter than it was: it lost its first record. Was a backup restored? "
            "See docs/operators.md, 'A log was rolled back'"
        )
    state = _reader_state(position, reading, base, chain.first_head(genesis.ledger))
    reader = ChainReader(logs.publications, tail, workers, genesis.ledger, state)
    listeners = Observers(observers, logs.events, reproduces=renders)
    await listeners.start(state.head, store.path)
    parts = Parts(logs, store, workers, outlet, spill, listeners, report, renders, limits)
    return Follower(parts, genesis.ledger, tail, reader, SnapshotTable(await store.run(records.load_roles)))


def _reader_state(position: Position | None, reading: ReadingRow | None, base: Prefix, first: Head) -> ReaderState:
    if reading is not None:
        return decode_state(reading.state)
    if position is None:
        return ReaderState(first, 0, 0)
    version, time_from = (base.authority.root.version, base.authority.time_from) if base.authority else (0, "")
    head = Head(position.number, position.digest, position.time, position.size, time_from, position.content_size)
    return ReaderState(head, position.next_record, position.next_record, root_version=version)


async def _check_kind(store: Store, *, is_new: bool, renders: bool) -> None:
    if (await store.run(load_note, notes.FOLDS_ONLY) is None) == renders:
        return
    if is_new:
        await store.run(save_note, notes.FOLDS_ONLY, None if renders else "yes")
    else:
        made = "that only folds" if renders else "that renders"
        raise StoreError(f"{store.path} was made by a follower {made}. Delete it, or use a state of another name")


class _Known(NamedTuple):
    """What a state knows of the logs: its position, how far the verdicts behind it go, and the prefix there."""

    position: Position | None
    reading: ReadingRow | None
    base: Prefix


async def _compare(logs: Logs, store: Store, state: _Known, first: list[bytes | None]) -> None:
    """Compare what the state knows with the logs (docs/design.md, "Rolled-back logs are noticed")."""
    events, publications = logs
    position, reading, base = state
    known: list[tuple[Log, int, str, int]] = []
    if position is not None:
        is_same = base.ledger is not None and (not first or record_digest(first[0]) == base.ledger.digest)
        known.append((events, position.size - 1, position.last_event, position.events_token))
    else:
        is_same = reading is None or record_digest(first[0]) == decode_state(reading.state).head.digest
    if not is_same:
        raise LogConflictError(
            f"{events.name} belongs to another ledger: it begins with another `ledger.created` than this state "
            f"remembers. Name the right log, or delete {store.path} to start anew with this one"
        )
    if reading is not None:
        known.append((publications, reading.next_record - 1, reading.digest, reading.publications_token))
    elif position is not None:
        token = position.publications_token
        known.append((publications, position.next_record - 1, position.digest, token))
    for source, index, _, token in known:
        source.resume(index, token)
    for source, index, digest, _ in known:
        await compare_record(source, index, digest)
