"""Filling a catalog: events are folded to the end of the log, publications are judged, and both become rows.

The events and their position are written in one transaction, and so are publications. So a catalog that was killed
anywhere goes on from where its tables are.
"""

import gc
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from secrets import token_bytes
from typing import Any, NamedTuple

import msgspec
import structlog

from consumers.catalog.ahead import EventsAhead
from consumers.catalog.folding import (
    BatchFolding,
    BatchFound,
    BatchLoaded,
    BatchMade,
    FoldingLimits,
    FoldingState,
    ToFind,
    ToLoad,
)
from consumers.reading.publications import (
    ChainReader,
    ReaderState,
    Rejudging,
    ValidPublication,
    decode_state,
    encode_state,
)
from consumers.reading.rolled_back import compare_record
from consumers.reading.slices import read_slice
from consumers.work.processes import ObjectProcess
from consumers.work.workers import Begun, Workers
from ledger.catalog import FOREVER, FORMAT, CatalogError, tables, writing
from ledger.catalog.added import add_files
from ledger.catalog.database import Connection, Database, Transaction, create_indexes, create_tables, has_tables
from ledger.catalog.tables import INDEXES, INDEXES_TO_FILL
from ledger.logs import LogConflictError, Logs, LogSettingsError
from projections import publications as chain
from projections.log import prefix as prefixes
from projections.log.holds import Signing, SigningEvent
from projections.log.merkle import NODE_WIDTH, record_digest
from projections.log.prefix import Ledger, Prefix
from projections.metadata.repository import expires_at, pack_signatures
from projections.outcomes import ACCEPTED, Judged, Outcome, rejected
from projections.publications import Head, LogTooShortError
from projections.roles.authority import Authority, UpgradeNeededError
from schemas.codec import encode_signed
from schemas.errors import TemporaryError

log = structlog.get_logger()

PUBLICATIONS_AT_ONCE = 1_000
ROLES_AT_ONCE = 50_000
"""Number of publications, and of versions of roles, that are written in one transaction."""


class FillingLimits(NamedTuple):
    """How much is done at a time.

    `worth_beside` is the number of unread events from which they are folded in a process beside, while this one writes
    rows. `slice_bytes` is the length of the records of a batch. Three batches are in memory at a time, and objects
    take ten times the memory of records.
    """

    worth_beside: int = 100_000
    slice_bytes: int = 8 * 2**20
    folding: FoldingLimits = FoldingLimits()


DEFAULT_LIMITS = FillingLimits()


class CatalogFormatError(CatalogError):
    """A catalog was made by another version of this program."""


class CatalogMovedError(CatalogError, TemporaryError):
    """Another process fills the same catalog."""


class _Position(msgspec.Struct, array_like=True):
    """How far a log was read: the number of records, the digest of the last one, and the log's token of it."""

    size: int
    digest: str
    token: int


_encode = msgspec.msgpack.encode


class Filling:
    """Fills one catalog. `start`, then `step` until it returns False; `close` at the end.

    Args:
        logs: the logs, opened.
        database: the catalog, opened.
        workers: threads; with processes if many events may be folded in one.
        limits: how much is done at a time.

    Attributes:
        halted: what keeps publications from being judged further, as of the last step: online keys have claimed events
            that are not on the log, or a root names a ruleset that this program does not know.
    """

    def __init__(
        self, logs: Logs, database: Database, workers: Workers, limits: FillingLimits = DEFAULT_LIMITS
    ) -> None:
        self._logs = logs
        self._database = database
        self._workers = workers
        self._limits = limits
        self._here = BatchFolding(FoldingState(Prefix(), {}, has_freed=False), limits.folding)
        self._beside: ObjectProcess[BatchFolding] | None = None
        self._judging: Begun[ToLoad | None] | None = None
        self._folding: Begun[ToFind] | None = None
        self._is_indexed = False
        self._next_role = 0
        self._stored_size = 0
        self._stored_reader = self._made = b""
        self._ceremonies: list[int] = []
        self._checked_voids = 0
        self._last: _LastPublication | None = None
        self.halted: LogTooShortError | UpgradeNeededError | None = None

    @property
    def size(self) -> int:
        """The number of events in the catalog."""
        return self._stored_size

    @property
    def number(self) -> int:
        """The number of the last publication in the catalog."""
        return self._reader.state.head.number

    @property
    def held_from(self) -> int | None:
        """The index from which on nothing is shown until a hold ends, or None."""
        held = chain.held(self._reader.state.head.content_size, self._events.end)
        return None if held is None else held.size

    async def start(self) -> None:
        """Create the tables if there are none, and compare the catalog with the logs.

        Raises:
            CatalogFormatError: the catalog has another format.
            LogConflictError: the catalog was made from other logs, or the logs have lost records.
            LogSettingsError: the events log is empty.
        """
        first = await self._logs.events.read(0)
        if not first:
            raise LogSettingsError(
                f"{self._logs.events.name} is empty, so there is no ledger yet: create one with `tuf-ledger init`"
            )
        if not await self._database.run(has_tables):
            async with self._database.transaction() as transaction:
                await transaction.run(_create, self._database.schema)
        stored = await self._database.run(writing.load_position)
        format_ = stored.get("format")
        if format_ != f"{FORMAT}".encode():
            raise CatalogFormatError(
                f"{self._database.name} has format {(format_ or b'none').decode()}, and this program writes {FORMAT}: "
                "make it anew with `tuf-ledger catalog rebuild`"
            )
        await self._compare(stored, record_digest(first[0]))
        folded, base = await self._database.run(_load_prefixes, stored)
        self._next_role = (await self._database.run(writing.next_ids, [tables.roles]))["roles"]
        self._last = await self._database.run(_load_before, FOREVER)
        self._ceremonies = sorted({index for index, _, _ in await self._database.run(writing.load_documents)})
        self._stored_size = folded.size
        self._is_indexed = "indexed" in stored
        self._events = EventsAhead(self._logs.events, self._workers, base, folded, self._limits.slice_bytes)
        unread = await self.count_events() - folded.size
        is_worth = self._workers.processes is not None and unread >= self._limits.worth_beside
        await self._begin_folding(folded, beside=is_worth)
        state = stored.get("reader")
        self._stored_reader = state or b""
        self._made = stored["made"]
        genesis = folded if folded.ledger is not None else await self._events.prefix_at(1)
        if genesis.ledger is None:
            raise AssertionError("a log with a first record is a ledger's")
        reader_state = ReaderState(chain.first_head(genesis.ledger), 0, 0) if state is None else decode_state(state)
        self._reader = ChainReader(self._logs.publications, self._events, self._workers, genesis.ledger, reader_state)
        self._checked_voids = len(base.authority.voids) if base.authority else 0

    async def step(self) -> bool:
        """Write the next events; or at the end of the log, the next publications. False if there is nothing new.

        Where another process has filled the catalog meanwhile, this one goes on from there. What stops followers stops
        only the publications here: `halted` says what it is.

        Raises:
            LogError, CatalogError: see there.
        """
        try:
            return await self._step()
        except CatalogMovedError:
            await self.start()
            return True

    async def _step(self) -> bool:
        with _no_collection():
            to_find = await self._fold_next()
            if to_find is not None:
                await self._write_events(to_find)
                return True
        if not self._is_indexed:
            async with self._database.transaction() as transaction:
                await transaction.run(_index)
            self._is_indexed = True
        if await self._check_voids():
            return True
        self.halted = self._events.upgrade
        return await self._write_publications()

    async def _compare(self, stored: Mapping[str, bytes], genesis: str) -> None:
        if "ledger" in stored and read_ledger(stored).digest != genesis:
            raise LogConflictError(
                f"{self._logs.events.name} belongs to another ledger than {self._database.name}. Name the right log, "
                "or make the catalog anew with `tuf-ledger catalog rebuild`"
            )
        for source, name in ((self._logs.events, "events"), (self._logs.publications, "publications")):
            if name in stored:
                known = msgspec.msgpack.decode(stored[name], type=_Position)
                source.resume(known.size - 1, known.token)
                await compare_record(source, known.size - 1, known.digest)

    async def count_events(self) -> int:
        """The number of events on the log now."""
        return await self._logs.events.size()

    async def close(self) -> None:
        """End the process beside, and forget what was folded and is not written."""
        if self._beside is not None:
            await self._beside.close()
        self._beside = self._judging = self._folding = None

    async def rest(self, seconds: float) -> None:
        """Wait for new records, at most so long."""
        await self._workers.rest()
        await self._logs.events.wait(self._stored_size, seconds)

    def _check_place(self, connection: Connection) -> None:
        """Make sure that nobody else has filled the catalog meanwhile; whoever has made the indexes.

        Raises:
            CatalogMovedError: somebody has.
        """
        data = writing.load_position(connection)
        events = msgspec.msgpack.decode(data["events"], type=_Position).size if "events" in data else 0
        self._is_indexed = "indexed" in data
        found = data.get("made"), events, data.get("reader", b"")
        if found != (self._made, self._stored_size, self._stored_reader):
            raise CatalogMovedError(f"{self._database.name}: another process has filled it meanwhile")

    # --- events --------------------------------------------------------------------------------------------------

    async def _begin_folding(self, folded: Prefix, *, beside: bool) -> None:
        """Begin to fold the events behind a prefix, here or in a process beside."""
        await self.close()
        state = FoldingState(folded, *await self._database.run(_load_folding))
        if beside:
            self._beside = ObjectProcess(partial(BatchFolding, state, self._limits.folding, packs=True))
        else:
            self._here = BatchFolding(state, self._limits.folding)

    async def _fold_next(self) -> ToFind | None:
        """Fold the next batch, and what must be found to write it; None at the end of the log."""
        if self._beside is not None and self._folding is None:
            self._judging = await self._judge_beside(self._beside)
            await self._fold_beside(self._beside, self._database)
        if self._folding is not None:
            return await self._folding.result()
        if self._beside is not None:  # the end of the log, or of what can be judged: that is found out here
            await self._begin_folding(self._events.end, beside=False)
        batch = await self._events.next()
        if batch is None:
            return None
        to_load = await self._workers.run(self._here.take, batch)
        loaded = await self._database.run(_load, to_load) if to_load.keys or to_load.ids else BatchLoaded()
        return await self._workers.run(self._here.fold, loaded)

    async def _judge_beside(self, beside: ObjectProcess[BatchFolding]) -> Begun[ToLoad | None] | None:
        """Have the next batch judged beside, if there is one."""
        values = await read_slice(self._logs.events, self._events.end.size, self._limits.slice_bytes)
        return beside.begin(BatchFolding.judge, values) if values else None

    async def _fold_beside(self, beside: ObjectProcess[BatchFolding], reading: Database | Transaction) -> None:
        """Have the batch folded beside that is judged there, and the one behind it judged."""
        judging, self._judging, self._folding = self._judging, None, None
        to_load = None if judging is None else await judging.result()
        if to_load is None:
            return
        self._events.go_on(to_load.marks)
        self._folding = beside.begin(BatchFolding.fold, await reading.run(_load, to_load))
        self._judging = await self._judge_beside(beside)

    async def _write_events(self, to_find: ToFind) -> None:
        """Write the batch that was folded. Beside, the next is folded meanwhile."""
        async with self._database.transaction() as transaction:
            await transaction.run(self._check_place)
            found = await transaction.run(_find, to_find)
            made = await self._make_rows(found, transaction)
            await self._write(transaction, made)
        self._stored_size = made.size
        self._ceremonies.extend(made.ceremonies)

    async def _make_rows(self, found: BatchFound, transaction: Transaction) -> BatchMade:
        if self._beside is None:
            return await self._workers.run(self._here.rows, found)
        making = self._beside.begin(BatchFolding.rows, found)
        await self._fold_beside(self._beside, transaction)
        return (await making.result()).unpack()

    async def _write(self, transaction: Transaction, made: BatchMade) -> None:
        await transaction.run(_end_rows, made.ended)
        for name, rows in made.rows.items():
            await transaction.insert(tables.metadata.tables[name], rows)
        if self._is_indexed:
            await transaction.run(add_files, self._stored_size, made.size)
        await transaction.run(writing.end_grants, made.revoked)
        nodes = range(self._stored_size // NODE_WIDTH + 1, made.size // NODE_WIDTH + 1)
        ends = [number * NODE_WIDTH - 1 for number in nodes]
        positions = [(index, self._logs.events.token(index)) for index in ends]
        await transaction.insert(tables.log_positions, positions)
        await transaction.run(writing.upsert, tables.keys, made.keys)
        await transaction.run(writing.drop_chunks, made.dropped)
        for name, rows in made.replaced.items():
            await transaction.upsert(tables.metadata.tables[name], rows)
        await transaction.run(writing.save_holds, made.holds)
        token = self._logs.events.token(made.size - 1)
        position = {"events": _encode(_Position(made.size, made.last_digest, token))}
        await transaction.run(writing.save_position, made.place | position)

    # --- publications --------------------------------------------------------------------------------------------

    async def _check_voids(self) -> bool:
        """Forget publications that a root voids which was read since; whether there are any."""
        authority = self._events.end.authority
        voids = authority.voids if authority else ()
        new, self._checked_voids = voids[self._checked_voids :], len(voids)
        for _, void in new:
            found = await self._database.run(_load_before, void.number + 1)
            if found is not None and (found.head.number, found.head.digest) == (void.number, void.digest):
                await self._forget(void.number)
                return True
        return False

    async def _forget(self, number: int) -> None:
        """Forget the publications from a number on: they are judged again."""
        log.warning("a root voids a publication that was in the catalog", publication=number)
        last = await self._database.run(_load_before, number)
        genesis = self._events.end.ledger
        if genesis is None:
            raise AssertionError("a log with publications is a ledger's")
        head = chain.first_head(genesis) if last is None else last.head
        first = 0 if last is None else last.record + 1
        version = self._reader.state.root_version
        state = ReaderState(head, first, first, root_version=version)
        base = Prefix() if last is None else await self._prefix_again(last.head.size)
        reader = encode_state(state)
        async with self._database.transaction() as transaction:
            await transaction.run(self._check_place)
            await transaction.run(writing.forget_publications, number, first)
            await transaction.run(writing.save_position, {"reader": reader, "base": prefixes.save(base)})
        self._stored_reader = reader
        self._last = last
        self._events = EventsAhead(self._logs.events, self._workers, base, self._events.end, self._limits.slice_bytes)
        self._reader = ChainReader(self._logs.publications, self._events, self._workers, genesis, state)

    async def _prefix_again(self, size: int) -> Prefix:
        return await EventsAhead(
            self._logs.events, self._workers, Prefix(), Prefix(), self._limits.slice_bytes
        ).prefix_at(size)

    async def _write_publications(self) -> bool:
        """Judge the next records of `publications`, and write what they are; whether there were any."""
        found = _Found()
        while len(found.publications) < PUBLICATIONS_AT_ONCE and found.signed < ROLES_AT_ONCE:
            try:
                judged = await self._reader.next()
            except (LogTooShortError, UpgradeNeededError) as error:
                self.halted = error
                break
            if judged is None:
                break
            if isinstance(judged, Rejudging):
                if not found.is_empty:
                    await self._save(found)
                    found = _Found()
                async with self._database.transaction() as transaction:
                    await transaction.run(writing.forget_verdicts, judged.first_record)
                found.is_empty = False
            elif not isinstance(judged, ValidPublication):
                found.add_judged(judged)
            elif judged.claim.size <= self._stored_size:
                await self._take(judged, found)
            else:
                break  # events came meanwhile: they are folded first
        if found.is_empty:
            return self._events.end.size > self._stored_size
        await self._save(found)
        return True

    async def _take(self, valid: ValidPublication, found: "_Found") -> None:
        end = self._events.end.authority
        claim = valid.claim
        size = end.void_for(claim.number, valid.digest) if end is not None else None
        if size is not None:
            self._reader.void(size)
            found.add_void(valid, size)
            return
        claim_record = found.claims.get(valid.publication.claim)
        if claim_record is None:
            claim_record = await self._database.run(writing.find_claim, bytes.fromhex(valid.publication.claim))
        last, settings = self._last, valid.authority.settings
        list_size, list_time = valid.content_size, claim.time
        if last is not None and last.html == settings.html_pages:
            due_at = expires_at(last.list_time, settings.project_list_seconds)
            is_due = not last.list_time <= claim.time < due_at
            if not is_due or not await self._database.run(writing.projects_differ, last.list_size, valid.content_size):
                list_size, list_time = last.list_size, last.list_time
        roles_idx = self._ceremonies[bisect_left(self._ceremonies, claim.size) - 1]
        found.add(valid, claim_record, roles_idx, list_size, list_time)
        self._reader.accept(valid)
        self._last = _LastPublication(
            self._reader.state.head, valid.record_index, list_size, list_time, settings.html_pages
        )

    async def _save(self, found: "_Found") -> None:
        state = self._reader.state
        async with self._database.transaction() as transaction:
            await transaction.run(self._check_place)
            names = dict.fromkeys(name for name, *_ in found.role_versions)
            known = await transaction.run(writing.find_names, tables.roles, names)
            new = [name for name in names if name not in known]
            for name in new:
                known[name] = self._next_role
                self._next_role += 1
            await transaction.insert(tables.roles, [(known[name], name) for name in new])
            await transaction.insert(
                tables.role_versions, [(known[name], *rest) for name, *rest in found.role_versions]
            )
            await transaction.insert(tables.publications, found.publications)
            await transaction.insert(tables.chain_records, found.records)
            for number, time in found.lowered:
                await transaction.run(writing.lower_effective_times, number, time)
            place = {"reader": encode_state(state)}
            if found.last_digest:
                token = self._logs.publications.token(state.next_record - 1)
                place["publications"] = _encode(_Position(state.next_record, found.last_digest, token))
            if found.last_prefix is not None:
                place["base"] = prefixes.save(found.last_prefix)
            await transaction.run(writing.save_position, place)
        self._stored_reader = place["reader"]
        if found.last_prefix is not None:
            self._events.forget(found.last_prefix)


class _LastPublication(NamedTuple):
    """What the next publication depends on: the head, and the list of projects that it shows."""

    head: Head
    record: int
    list_size: int
    list_time: str
    html: bool


class _Found:
    """Records of the publications log that were judged, as rows."""

    def __init__(self) -> None:
        self.publications: list[tuple[Any, ...]] = []
        self.role_versions: list[tuple[Any, ...]] = []
        self.records: list[tuple[Any, ...]] = []
        self.lowered: list[tuple[int, str]] = []
        self.claims: dict[str, int] = {}
        self.signed = 0
        self.last_digest = ""
        self.last_prefix: Prefix | None = None
        self.is_empty = True
        self._time = ""

    def add_judged(self, judged: Iterable[Judged]) -> None:
        """Add verdicts on records that are no valid publications."""
        for each in judged:
            outcome = each.outcome
            if each.kind == "claim" and outcome.verdict == "accepted":
                self.claims[each.digest] = each.index
            self._record(each.index, each.digest, each.kind, outcome)

    def add_void(self, valid: ValidPublication, size: int) -> None:
        """Add a publication that a root voids."""
        outcome = rejected("void", f"the root in force at size {size} voids it")
        self._record(valid.record_index, valid.digest, "publication", outcome, valid.claim.number)

    def add(self, valid: ValidPublication, claim_record: int, roles_idx: int, list_size: int, list_time: str) -> None:
        """Add a valid publication."""
        claim, publication, online = valid.claim, valid.publication, valid.authority.online
        number = claim.number
        self._record(valid.record_index, valid.digest, "publication", ACCEPTED, number)
        digest64, length, packed = publication.snapshot
        self.publications.append(
            (
                number,
                valid.record_index,
                bytes.fromhex(valid.digest),
                claim_record,
                claim.time,
                claim.time,
                valid.authority.time_from,
                claim.size,
                claim.root_hash,
                valid.content_size,
                roles_idx,
                list_size,
                list_time,
                len(publication.roles),
                sha256(encode_signed(publication)).digest(),
                length,
            )
        )
        self.role_versions.extend(
            (name, number, b64decode(digest), _pack(signatures)) for name, digest, signatures in publication.roles
        )
        self.role_versions.append(("snapshot", number, b64decode(digest64), _pack(packed)))
        seal = pack_signatures(online, chain.seal_signatures(valid.record))
        self.role_versions.append(("timestamp", number, sha256(valid.timestamp()).digest(), _pack(seal)))
        self.signed += len(publication.roles)
        self.last_prefix = valid.prefix
        self.lowered.append((number, claim.time))

    def _record(self, index: int, digest: str, kind: str, outcome: Outcome, number: int | None = None) -> None:
        self.is_empty = False
        self.last_digest = digest
        verdict = tables.OUTCOMES.index(outcome.verdict)
        what = verdict, outcome.code or None, outcome.detail or None
        self.records.append((index, bytes.fromhex(digest), kind, number, *what))


def _pack(signatures: Sequence[str]) -> bytes:
    return _encode([b64decode(each) for each in signatures])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage while a batch is in work: it makes no cycles, and to look took a fifth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- functions over a connection, or for a worker --------------------------------------------------------------------


def _create(connection: Connection, schema: str) -> None:
    if not has_tables(connection):
        create_tables(connection, schema)
        create_indexes(connection, INDEXES_TO_FILL)
        # Two catalogs of one ledger have the same rows, but not the same of what folding needs.
        writing.save_position(connection, {"format": f"{FORMAT}".encode(), "made": token_bytes(16)})


def _index(connection: Connection) -> None:
    """Create the indexes, and what is made with them, that only questions need: at the end of the log, that takes a
    third of the time.
    """
    if "indexed" in writing.load_position(connection):
        return  # another process was faster
    create_indexes(connection, INDEXES)
    add_files(connection, 0, FOREVER)
    writing.save_position(connection, {"indexed": b"yes"})


def _load_prefixes(connection: Connection, stored: Mapping[str, bytes]) -> tuple[Prefix, Prefix]:
    """The prefix that was folded, and the one at the last publication."""
    if "prefix" not in stored:
        return Prefix(), Prefix()
    ceremonies: dict[int, dict[str, bytes]] = {}
    for index, role, file in writing.load_documents(connection):
        ceremonies.setdefault(index, {})[role] = file
    held = writing.load_holds(connection)
    ordered = sorted(ceremonies.items())
    folded = _with_signing(prefixes.restore(stored["prefix"], ordered), held)
    base = _with_signing(prefixes.restore(stored["base"], ordered), held) if "base" in stored else Prefix()
    return folded, base


def _with_signing(prefix: Prefix, held: Sequence[writing.HoldRow]) -> Prefix:
    events = {
        name: SigningEvent(
            digest.hex(), index, size, lock, released if released is None or released < prefix.size else None
        )
        for name, digest, index, size, lock, released in held
        if index < prefix.size
    }
    ordered = dict(sorted(events.items(), key=lambda item: item[1].changed_at))
    return msgspec.structs.replace(prefix, signing=Signing().put(ordered))


def _load_before(connection: Connection, number: int) -> _LastPublication | None:
    """The last publication below a number."""
    row = writing.publication_before(connection, number)
    if row is None:
        return None
    authority = load_authority(connection, row.roles_idx)
    head = Head(row.number, row.digest.hex(), row.time, row.size, row.time_from, row.content_size)
    return _LastPublication(head, row.record, row.list_size, row.list_time, authority.settings.html_pages)


def read_ledger(stored: Mapping[str, bytes]) -> Ledger:
    """The identity of the ledger that a catalog is of, from its named values."""
    return msgspec.msgpack.decode(stored["ledger"], type=Ledger)


def read_sizes(stored: Mapping[str, bytes]) -> tuple[int, int]:
    """How many records of `events` and of `publications` a catalog has read, from its named values."""
    found = (stored.get(name) for name in ("events", "publications"))
    events, publications = (0 if each is None else msgspec.msgpack.decode(each, type=_Position).size for each in found)
    return events, publications


def load_authority(connection: Connection, roles_idx: int) -> Authority:
    """The offline roles that the ceremony at an index brought into force."""
    ceremonies: dict[int, dict[str, bytes]] = {}
    for index, role, file in writing.load_documents(connection):
        if index <= roles_idx:
            ceremonies.setdefault(index, {})[role] = file
    ledger = read_ledger(writing.load_position(connection))
    authority = prefixes.restore_authority(ledger, sorted(ceremonies.items()))
    if authority is None:
        raise AssertionError("a publication has a root")
    return authority


def _load_folding(connection: Connection) -> tuple[dict[str, int], bool]:
    """The lowest free numbers by table, and whether any file was freed."""
    numbered = tables.types, tables.actors, tables.credentials, tables.subjects, tables.projects, tables.files
    return writing.next_ids(connection, numbered), writing.has_freed(connection)


def _load(connection: Connection, wanted: ToLoad) -> BatchLoaded:
    return BatchLoaded(writing.load_aggregates(connection, wanted.keys), writing.remembered(connection, wanted.ids))


def _find(connection: Connection, wanted: ToFind) -> BatchFound:
    names: dict[str, Mapping[Any, int]] = {}
    for table, some in wanted.names.items():
        if table == "actors":
            names[table] = writing.find_actors(connection, some)
        else:
            names[table] = writing.find_names(connection, tables.metadata.tables[table], some)
    projects = {**wanted.numbers, **names.get("projects", {})}
    whole, states_of, releases_of = (
        [projects[name] for name in some if name in projects]
        for some in (wanted.whole_projects, wanted.states_of, wanted.releases_of)
    )
    opened = writing.open_rows
    return BatchFound(
        names,
        [*writing.open_files_named(connection, wanted.filenames), *writing.open_files_of(connection, whole)],
        opened(connection, tables.project_states, "project", states_of),
        opened(connection, tables.release_states, "project", releases_of),
        opened(connection, tables.artifact_states, "path", wanted.paths),
        opened(connection, tables.incidents, "name", wanted.incidents),
    )


def _end_rows(connection: Connection, ended: Mapping[str, Sequence[tuple[tuple[Any, ...], int]]]) -> None:
    for name, some in ended.items():
        writing.end_rows(connection, tables.metadata.tables[name], some)
