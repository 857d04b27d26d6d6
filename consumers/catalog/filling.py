"""Filling a catalog: events are folded to the end of the log, publications are judged, and both become rows.

The events and their position are written in one transaction, and so are publications. So a catalog that was killed
anywhere goes on from where its tables are.
"""

import gc
from base64 import b64decode
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from secrets import token_bytes
from typing import Any, NamedTuple

import msgspec
import structlog

from consumers.catalog.ahead import EventBatch, EventsAhead
from consumers.catalog.rows import (
    BatchRows,
    Judgement,
    Known,
    Needs,
    RowMaker,
    is_about_project,
    judgements,
    needs,
    project_row,
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
from consumers.work.workers import Workers
from ledger.catalog import FOREVER, FORMAT, CatalogError, tables, writing
from ledger.catalog.database import Connection, Database, Transaction, create_indexes, create_tables, has_tables
from ledger.catalog.tables import INDEXES, INDEXES_TO_FILL
from ledger.logs import LogConflictError, Logs, LogSettingsError
from projections import publications as chain
from projections.index.chunks import Aggregate, Change, Chunk
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.upload_times import OWN_TIMES
from projections.log import prefix as prefixes
from projections.log.holds import Signing, SigningEvent
from projections.log.merkle import NODE_WIDTH, record_digest
from projections.log.operations import project_key
from projections.log.prefix import AcceptedCeremony, Ledger, Prefix
from projections.log.reading import Routed
from projections.metadata.repository import expires_at, pack_signatures
from projections.outcomes import ACCEPTED, Judged, Outcome, rejected
from projections.publications import Head, LogTooShortError
from projections.roles.authority import Authority, UpgradeNeededError
from schemas.codec import encode_signed
from schemas.errors import TemporaryError

log = structlog.get_logger()

CACHED_BYTES = 2**27
"""Length of the aggregates that are kept in memory between batches."""

CACHED_NAMES = 1_000_000
"""Number of names that are kept there."""

WORTH_NO_COLLECTION = 1_000
"""Number of events from which no garbage is collected meanwhile."""

PUBLICATIONS_AT_ONCE = 1_000
ROLES_AT_ONCE = 50_000
"""Number of publications, and of versions of roles, that are written in one transaction."""


class CatalogFormatError(CatalogError):
    """A catalog was made by another version of this program."""


class CatalogMovedError(CatalogError, TemporaryError):
    """Another process fills the same catalog."""


class _Position(msgspec.Struct, array_like=True):
    """How far a log was read: the number of records, the digest of the last one, and the log's token of it."""

    size: int
    digest: str
    token: int


_DICTIONARIES = ("types", "actors", "credentials", "subjects", "projects")
_encode = msgspec.msgpack.encode


class Filling:
    """Fills one catalog. `start`, then `step` until it returns False.

    Attributes:
        halted: what keeps publications from being judged further, as of the last step: online keys have claimed events
            that are not on the log, or a root names a ruleset that this program does not know.
    """

    def __init__(self, logs: Logs, database: Database, workers: Workers) -> None:
        self._logs = logs
        self._database = database
        self._workers = workers
        self._cache, self._names = _Cache(is_complete=False), _Names(is_complete=False)
        self._is_indexed = False
        self._next: dict[str, int] = {}
        self._has_freed = False
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
        self._next = await self._database.run(
            writing.next_ids,
            [
                tables.types,
                tables.actors,
                tables.credentials,
                tables.subjects,
                tables.projects,
                tables.files,
                tables.roles,
            ],
        )
        self._has_freed = await self._database.run(writing.has_freed)
        self._last = await self._database.run(_load_before, FOREVER)
        self._ceremonies = sorted({index for index, _, _ in await self._database.run(writing.load_documents)})
        self._stored_size = folded.size
        self._cache, self._names = _Cache(is_complete=folded.size == 0), _Names(is_complete=folded.size == 0)
        self._is_indexed = "indexed" in stored
        self._events = EventsAhead(self._logs.events, self._workers, base, folded)
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
        batch = await self._events.next()
        if batch is not None:
            with _no_collection(len(batch.values)):
                await self._write_events(batch)
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

    async def rest(self, seconds: float) -> None:
        """Wait for new records, at most so long."""
        await self._workers.rest()
        await self._logs.events.wait(self._stored_size, seconds)

    def _check_place(self, connection: Connection) -> None:
        """Make sure that nobody else has filled the catalog meanwhile.

        Raises:
            CatalogMovedError: somebody has.
        """
        data = writing.load_position(connection)
        events = msgspec.msgpack.decode(data["events"], type=_Position).size if "events" in data else 0
        found = data.get("made"), events, data.get("reader", b"")
        if found != (self._made, self._stored_size, self._stored_reader):
            raise CatalogMovedError(f"{self._database.name}: another process has filled it meanwhile")

    # --- events --------------------------------------------------------------------------------------------------

    async def _write_events(self, batch: EventBatch) -> None:
        async with self._database.transaction() as transaction:
            await transaction.run(self._check_place)
            folded = await self._fold(transaction, batch)
            judged = await self._workers.run(judgements, batch, folded.told)
            wanted = await self._workers.run(needs, batch, judged, has_freed=self._has_freed)
            known, new = await transaction.run(_find, wanted, self._names, self._next)
            rows = await self._workers.run(_make_rows, batch, judged, known)
            self._next["files"] = rows.next_file
            for name, some in new.items():
                self._next[name] += len(some)
                await transaction.insert(tables.metadata.tables[name], some)
            await transaction.run(_end_rows, rows)
            for name, some in rows.rows.items():
                await transaction.insert(tables.metadata.tables[name], some)
            await transaction.run(writing.end_grants, rows.revoked)
            await transaction.insert(tables.tree_nodes, batch.nodes)
            ends = [(node.n + 1) * NODE_WIDTH - 1 for node in batch.nodes if node.level == 1]
            positions = [(index, self._logs.events.token(index)) for index in ends]
            await transaction.insert(tables.log_positions, positions)
            await self._write_ceremonies(transaction, batch.extension.ceremonies)
            headers, put, drop = await self._workers.run(_changed, folded.changes)
            await transaction.upsert(tables.fold_aggregates, headers)
            await transaction.run(writing.drop_chunks, drop)
            await transaction.upsert(tables.fold_chunks, put)
            after = batch.after
            changed = list(after.signing.since(self._stored_size))
            await transaction.run(writing.save_holds, [_hold_row(name, event) for name, event in changed])
            token = self._logs.events.token(after.size - 1)
            place = {
                "events": _encode(_Position(after.size, after.last_digest, token)),
                "prefix": prefixes.save(after),
            }
            if batch.before.size == 0:
                place["ledger"] = _encode(after.ledger)
            await transaction.run(writing.save_position, place)
        self._stored_size = after.size
        self._has_freed = self._has_freed or any(row[3] == tables.FREED for row in rows.rows["file_states"])
        self._cache.apply(folded.changes)
        self._names.add(known)

    async def _fold(self, transaction: Transaction, batch: EventBatch) -> Folded:
        routed = batch.extension.routed
        authority = batch.after.authority
        if not routed or authority is None:
            return Folded()
        if not self._cache.is_complete:
            keys = sorted({item.key for item in routed} | set(rows_read_by(routed)))
            missing = self._cache.missing(keys)
            self._cache.add(missing, await transaction.run(writing.load_aggregates, missing) if missing else {})
        ids = sorted({item.operation.id for item in routed if item.operation.id})
        seen = {}
        for each in await transaction.run(writing.remembered, ids) if ids else ():
            about = (
                project_key(each.about)
                if is_about_project(each.type)
                else f"{each.type.partition('.')[0]}:{each.about}"
            )
            seen[about, each.event_id] = each.digest.hex()
        return await self._workers.run(_fold, self._cache.known, seen, routed, authority)

    async def _write_ceremonies(self, transaction: Transaction, ceremonies: Sequence[AcceptedCeremony]) -> None:
        documents: list[tuple[Any, ...]] = []
        role_keys: list[tuple[Any, ...]] = []
        keys: dict[str, dict[str, str]] = {}
        for each in ceremonies:
            self._ceremonies.append(each.index)
            for document in each.documents:
                digest = sha256(document.file).digest()
                documents.append((each.index, document.role, document.version, digest, document.expires, document.file))
                for keyid, key in _keys_of(document.signed).items():
                    keys[keyid] = {"keyid": keyid, "scheme": key["scheme"], "public": key["keyval"]["public"]}
                for role, keyids, threshold in _roles_of(document.role, document.signed):
                    role_keys.extend((each.index, role, keyid, threshold) for keyid in keyids)
        await transaction.insert(tables.documents, documents)
        await transaction.insert(tables.role_keys, role_keys)
        await transaction.run(writing.upsert, tables.keys, list(keys.values()))

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
        self._events = EventsAhead(self._logs.events, self._workers, base, self._events.end)
        self._reader = ChainReader(self._logs.publications, self._events, self._workers, genesis, state)

    async def _prefix_again(self, size: int) -> Prefix:
        return await EventsAhead(self._logs.events, self._workers, Prefix(), Prefix()).prefix_at(size)

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
                known[name] = self._next["roles"]
                self._next["roles"] += 1
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


class _Cache:
    """Stored aggregates that were used lately; while it `is_complete`, all that there are."""

    def __init__(self, *, is_complete: bool) -> None:
        self.is_complete = is_complete
        self.known: OrderedDict[str, Aggregate] = OrderedDict()
        self._lengths: dict[str, int] = {}
        self._bytes = 0

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of some keys that are not known."""
        found = []
        for key in keys:
            if key in self.known:
                self.known.move_to_end(key)
            else:
                found.append(key)
        return found

    def add(self, keys: Iterable[str], stored: Mapping[str, writing.StoredAggregate]) -> None:
        """Add what was loaded for some keys."""
        for key in keys:
            found = stored.get(key)
            chunks = () if found is None else tuple(Chunk(lower, facts) for lower, facts in found.chunks)
            self._put(Aggregate(key, b"" if found is None else found.header, chunks))

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply changes that were stored, and forget what was not used for long."""
        for change in changes:
            if change.header is not None or change.put or change.drop:
                self._put(change.of(self.known.get(change.key, Aggregate(change.key))))
        while self._bytes > CACHED_BYTES:
            key, _ = self.known.popitem(last=False)
            self._bytes -= self._lengths.pop(key)
            self.is_complete = False

    def _put(self, aggregate: Aggregate) -> None:
        length = 500 + len(aggregate.header) + sum([200 + len(chunk.facts or b"") for chunk in aggregate.chunks])
        self._bytes += length - self._lengths.get(aggregate.key, 0)
        self._lengths[aggregate.key] = length
        self.known[aggregate.key] = aggregate
        self.known.move_to_end(aggregate.key)


class _Names:
    """The numbers of names that were used lately, by dictionary; while it `is_complete`, all that there are."""

    def __init__(self, *, is_complete: bool) -> None:
        self.is_complete = is_complete
        self._known: dict[str, dict[Any, int]] = {name: {} for name in _DICTIONARIES}

    def of(self, table: str, names: Iterable[Any]) -> dict[Any, int]:
        """The known numbers of some names."""
        known = self._known[table]
        return {name: known[name] for name in names if name in known}

    def add(self, known: Known) -> None:
        """Remember what a batch has used."""
        for table, names in self._known.items():
            names.update(getattr(known, table))
        if sum(map(len, self._known.values())) > CACHED_NAMES:
            self.is_complete = False
            for names in self._known.values():
                names.clear()


@contextmanager
def _no_collection(count: int) -> Iterator[None]:
    """Collect no garbage while a large batch is in work: it makes no cycles, and to look took a fifth of the time."""
    if count < WORTH_NO_COLLECTION or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# --- functions over a connection, or for a worker --------------------------------------------------------------------


def is_of_other_format(connection: Connection) -> bool:
    """Whether another version of this program made a catalog."""
    return has_tables(connection) and writing.load_position(connection).get("format") != f"{FORMAT}".encode()


def _create(connection: Connection, schema: str) -> None:
    if not has_tables(connection):
        create_tables(connection, schema)
        create_indexes(connection, INDEXES_TO_FILL)
        # Two catalogs of one ledger have the same rows, but not the same of what folding needs.
        writing.save_position(connection, {"format": f"{FORMAT}".encode(), "made": token_bytes(16)})


def _index(connection: Connection) -> None:
    """Create the indexes that only questions need: made at the end of the log, they take a third of the time."""
    if "indexed" in writing.load_position(connection):
        return  # another process was faster
    create_indexes(connection, INDEXES)
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


def _find(
    connection: Connection, wanted: Needs, names: _Names, free: Mapping[str, int]
) -> tuple[Known, dict[str, list[Any]]]:
    """What a batch needs to know, with new numbers for new names; and the rows of these, by table."""
    new: dict[str, list[Any]] = {}
    numbers: dict[str, dict[Any, int]] = {}
    for table in _DICTIONARIES:
        wanted_here: Mapping[Any, None] = getattr(wanted, table)
        numbers[table] = found = names.of(table, wanted_here)
        unknown = [name for name in wanted_here if name not in found]
        if unknown and not names.is_complete:
            if table == "actors":
                found.update(writing.find_actors(connection, unknown))
            else:
                found.update(writing.find_names(connection, tables.metadata.tables[table], unknown))
            unknown = [name for name in unknown if name not in found]
        for number, name in enumerate(unknown, free[table]):
            found[name] = number
            new.setdefault(table, []).append(_name_row(table, number, name))
    projects = numbers["projects"]
    whole = [projects[name] for name in wanted.whole_projects]
    opened = writing.open_rows
    known = Known(
        numbers["types"],
        numbers["actors"],
        numbers["credentials"],
        numbers["subjects"],
        projects,
        [*writing.open_files_named(connection, wanted.filenames), *writing.open_files_of(connection, whole)],
        opened(connection, tables.project_states, "project", [projects[name] for name in wanted.states_of]),
        opened(connection, tables.release_states, "project", [projects[name] for name in wanted.releases_of]),
        opened(connection, tables.artifact_states, "path", wanted.paths),
        opened(connection, tables.incidents, "name", wanted.incidents),
        free["files"],
    )
    return known, new


def _name_row(table: str, number: int, name: Any) -> Sequence[Any]:
    if table == "projects":
        return project_row(number, name)
    return (number, *name) if table == "actors" else (number, name)


def _make_rows(batch: EventBatch, judged: Mapping[int, Judgement], known: Known) -> BatchRows:
    rows = RowMaker(known)
    for index, (value, envelope) in enumerate(zip(batch.values, batch.envelopes, strict=True), batch.before.size):
        rows.add(index, value, envelope, judged[index])
    return rows.finish()


def _end_rows(connection: Connection, rows: BatchRows) -> None:
    for name, ended in rows.ended.items():
        writing.end_rows(connection, tables.metadata.tables[name], ended)


def _fold(
    states: Mapping[str, Aggregate],
    seen: Mapping[tuple[str, str], str],
    routed: Sequence[Routed],
    authority: Authority,
) -> Folded:
    return fold_events(
        states, seen, routed, html=False, terms=authority.terms, times=OWN_TIMES, renders=False, tells=True
    )


def _changed(
    changes: Iterable[Change],
) -> tuple[list[tuple[str, bytes]], list[tuple[str, str, bytes]], list[tuple[str, str]]]:
    """Headers, chunks to put, and chunks to drop."""
    headers: list[tuple[str, bytes]] = []
    put: list[tuple[str, str, bytes]] = []
    drop: list[tuple[str, str]] = []
    for change in changes:
        if change.header is not None:
            headers.append((change.key, change.header))
        put.extend((change.key, chunk.lower, chunk.facts or b"") for chunk in change.put)
        drop.extend((change.key, lower) for lower in change.drop)
    return headers, put, drop


def _hold_row(name: str, event: SigningEvent) -> dict[str, Any]:
    return {
        "event_id": name,
        "digest": bytes.fromhex(event.digest),
        "idx": event.index,
        "size": event.size,
        "lock": event.lock,
        "released_idx": event.released_at,
    }


def _keys_of(signed: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys that an offline role lists."""
    keys: Mapping[str, Any] = (signed if "keys" in signed else signed["delegations"])["keys"]
    return keys


def _roles_of(role: str, signed: Mapping[str, Any]) -> Iterable[tuple[str, Sequence[str], int]]:
    """The roles that an offline role delegates: name, key ids, threshold. All bins have the name `bin`."""
    if role == "root":
        for name, each in signed["roles"].items():
            yield name, each["keyids"], each["threshold"]
        return
    delegations = signed["delegations"]
    each = delegations.get("succinct_roles") or delegations["roles"][0]
    yield "bins" if role == "targets" else "bin", each["keyids"], each["threshold"]
