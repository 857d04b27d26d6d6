"""Folding batches of events into the rows of a catalog. Nothing here reads or writes: so it may be done beside, in a
process of its own, while the rows of the batch before are written.
"""

import marshal
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from consumers.catalog.ahead import EventBatch, judge_batch
from consumers.catalog.rows import (
    BatchRows,
    Judgement,
    Known,
    Needs,
    Row,
    RowMaker,
    is_about_project,
    judgements,
    needs,
    project_row,
)
from ledger.catalog.tables import FREED
from ledger.catalog.writing import OpenFile, Remembered, StoredAggregate
from projections.index.chunks import Aggregate, Change, Chunk
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.upload_times import OWN_TIMES
from projections.log import prefix as prefixes
from projections.log.holds import SigningEvent
from projections.log.operations import project_key
from projections.log.prefix import AcceptedCeremony, NotALedgerError, Prefix
from projections.roles.authority import UpgradeNeededError

DICTIONARIES = ("types", "actors", "credentials", "subjects", "projects")

_encode = msgspec.msgpack.encode


class FoldingLimits(NamedTuple):
    """What is kept in memory between batches: the length of aggregates, and the number of names."""

    cached_bytes: int = 2**27
    cached_names: int = 1_000_000


class FoldingState(NamedTuple):
    """Where folding begins: a folded prefix, the lowest free numbers by table, and whether files were freed."""

    prefix: Prefix
    free: Mapping[str, int]
    has_freed: bool


class ToLoad(NamedTuple):
    """What must be loaded before a batch is folded: stored aggregates, and remembered events, by their ids. `marks` are
    those of the batch.
    """

    keys: Sequence[str]
    ids: Sequence[str]
    marks: Sequence[Prefix]


class BatchLoaded(NamedTuple):
    """What was loaded of that: aggregates by key, and remembered events."""

    aggregates: Mapping[str, StoredAggregate] = {}
    remembered: Sequence[Remembered] = ()


class ToFind(NamedTuple):
    """What must be found before a folded batch becomes rows: numbers of names that may be stored, by table, and
    intervals that have not ended. `numbers` are those of projects that are known already.
    """

    names: Mapping[str, Sequence[Any]]
    numbers: Mapping[str, int]
    filenames: Sequence[str]
    whole_projects: Sequence[str]
    states_of: Sequence[str]
    releases_of: Sequence[str]
    paths: Sequence[str]
    incidents: Sequence[str]


class BatchFound(NamedTuple):
    """What was found of that."""

    names: Mapping[str, Mapping[Any, int]]
    files: Sequence[OpenFile]
    project_states: Sequence[Row]
    release_states: Sequence[Row]
    artifact_states: Sequence[Row]
    incidents: Sequence[Row]


class BatchMade(NamedTuple):
    """What a batch becomes.

    `rows` are to be inserted, and `replaced` to be put in the place of those with the same key, by table. `ended` and
    `revoked` end intervals and grants, and `dropped` are chunks to delete. `keys` and `holds` are rows by column.
    `place` are named values of the position. `ceremonies` are the indices of accepted ones.
    """

    size: int
    last_digest: str
    rows: dict[str, list[Row]]
    replaced: dict[str, list[Row]]
    ended: dict[str, list[tuple[tuple[Any, ...], int]]]
    revoked: list[tuple[tuple[str | None, ...], int]]
    dropped: list[tuple[str, str]]
    keys: list[dict[str, str]]
    holds: list[dict[str, Any]]
    place: dict[str, bytes]
    ceremonies: list[int]
    packed: bytes = b""

    def pack(self) -> "BatchMade":
        """The same with its many rows as bytes: for another process of this program, which takes them four times as
        fast as by pickle.
        """
        return self._replace(rows={}, replaced={}, packed=marshal.dumps((self.rows, self.replaced)))

    def unpack(self) -> "BatchMade":
        """The same with rows, if it was packed."""
        if not self.packed:
            return self
        rows, replaced = marshal.loads(self.packed)  # noqa: S302  # this program made it
        return self._replace(rows=rows, replaced=replaced, packed=b"")


class _Folded(NamedTuple):
    """A batch that was folded and is not yet rows."""

    batch: EventBatch
    changes: Sequence[Change]
    judged: Mapping[int, Judgement]
    needs: Needs


class BatchFolding:
    """Folds batches. For each, call `judge` or `take`, then `fold`, then `rows`.

    The next batch may be judged before the rows of this one are made, and folded before they are stored: what must be
    loaded for it is then loaded when all before this one is stored. It must be folded after the rows of this one were
    made, and what must be found for its rows is found when those of this one are stored.
    """

    def __init__(self, state: FoldingState, limits: FoldingLimits, *, packs: bool = False) -> None:
        is_new = state.prefix.size == 0
        self._end = state.prefix
        self._free = dict(state.free)
        self._has_freed = state.has_freed
        self._packs = packs
        self._cache = _Cache(limits.cached_bytes, is_new=is_new)
        self._names = _Names(limits.cached_names, is_complete=is_new)
        self._seen: dict[tuple[str, str], str] = {}
        self._taken: deque[tuple[EventBatch, Sequence[str]]] = deque()
        self._folded: deque[_Folded] = deque()

    def judge(self, values: Sequence[bytes | None]) -> ToLoad | None:
        """Decode the next records and judge them by the prefix; None if that is an error, which reading them elsewhere
        finds, too.
        """
        try:
            return self.take(judge_batch(self._end, values))
        except (NotALedgerError, UpgradeNeededError):
            return None

    def take(self, batch: EventBatch) -> ToLoad:
        """Take the next batch; what must be loaded to fold it."""
        self._end = batch.after
        routed = batch.extension.routed
        missing: Sequence[str] = ()
        if not self._cache.is_complete:
            missing = self._cache.missing(sorted({item.key for item in routed} | set(rows_read_by(routed))))
        ids = sorted({item.operation.id for item in routed if item.operation.id})
        self._taken.append((batch, missing))
        return ToLoad(missing, ids, batch.marks)

    def fold(self, stored: BatchLoaded) -> ToFind:
        """Fold the batch that was taken first; what must be found to make its rows."""
        batch, missing = self._taken.popleft()
        self._cache.add(missing, stored.aggregates)
        seen = {_seen_as(each): each.digest.hex() for each in stored.remembered} | self._seen
        folded, authority = Folded(), batch.after.authority
        if batch.extension.routed and authority is not None:
            folded = fold_events(
                self._cache.known,
                seen,
                batch.extension.routed,
                html=False,
                terms=authority.terms,
                times=OWN_TIMES,
                renders=False,
                tells=True,
            )
        self._seen = {(each.key, each.id): each.digest for each in folded.seen}
        self._cache.apply(folded.changes)
        judged = judgements(batch, folded.told)
        needed = needs(batch, judged, has_freed=self._has_freed)
        self._folded.append(_Folded(batch, folded.changes, judged, needed))
        return self._open(needed)

    def _open(self, needed: Needs) -> ToFind:
        names = {} if self._names.is_complete else {name: self._names.unknown(name, needed) for name in DICTIONARIES}
        projects = self._names.known["projects"]
        about = (*needed.whole_projects, *needed.states_of, *needed.releases_of)
        return ToFind(
            names,
            {name: projects[name] for name in about if name in projects},
            *map(list, (needed.filenames, needed.whole_projects, needed.states_of)),
            *map(list, (needed.releases_of, needed.paths, needed.incidents)),
        )

    def rows(self, found: BatchFound) -> BatchMade:
        """Make the rows of the batch that was folded first."""
        batch, changes, judged, needed = self._folded.popleft()
        rows: dict[str, list[Row]] = {}
        for table in DICTIONARIES:
            self._names.add(table, found.names.get(table, {}))
            new = {name: number for number, name in enumerate(self._names.unknown(table, needed), self._free[table])}
            self._names.add(table, new)
            self._free[table] += len(new)
            rows[table] = [_name_row(table, number, name) for name, number in new.items()]
        made = _make_rows(batch, judged, self._known(found))
        self._free["files"] = made.next_file
        self._has_freed = self._has_freed or any(row[3] == FREED for row in made.rows["file_states"])
        self._names.forget()
        after = batch.after
        place = {"prefix": prefixes.save(after)}
        if batch.before.size == 0:
            place["ledger"] = _encode(after.ledger)
        documents, keys = _of_ceremonies(batch.extension.ceremonies)
        headers, put, drop = _changed(changes)
        whole = BatchMade(
            after.size,
            after.last_digest,
            {**rows, **made.rows, "tree_nodes": list(map(tuple, batch.nodes)), **documents},
            {"fold_aggregates": headers, "fold_chunks": put},
            made.ended,
            made.revoked,
            drop,
            keys,
            [_hold_row(name, event) for name, event in after.signing.since(batch.before.size)],
            place,
            [each.index for each in batch.extension.ceremonies],
        )
        return whole.pack() if self._packs else whole

    def _known(self, found: BatchFound) -> Known:
        names = self._names.known
        return Known(
            names["types"],
            names["actors"],
            names["credentials"],
            names["subjects"],
            names["projects"],
            found.files,
            found.project_states,
            found.release_states,
            found.artifact_states,
            found.incidents,
            self._free["files"],
        )


class _Cache:
    """Stored aggregates that were used lately, while it `is_complete` all that there are; and which may be stored.

    Nearly every upload is about a name that is new, so to look for what is not stored would be most of the loading.
    """

    def __init__(self, most_bytes: int, *, is_new: bool) -> None:
        self._most_bytes = most_bytes
        self.is_complete = is_new
        self._keys = _Keys() if is_new else None
        self.known: OrderedDict[str, Aggregate] = OrderedDict()
        self._lengths: dict[str, int] = {}
        self._bytes = 0

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of some keys that are not known, and may be stored."""
        found = []
        for key in keys:
            if key in self.known:
                self.known.move_to_end(key)
            elif self._keys is None or key in self._keys:
                found.append(key)
        return found

    def add(self, keys: Iterable[str], stored: Mapping[str, StoredAggregate]) -> None:
        """Add what was loaded for some keys."""
        for key in keys:
            found = stored.get(key)
            chunks = () if found is None else tuple(Chunk(lower, facts) for lower, facts in found.chunks)
            self._put(Aggregate(key, b"" if found is None else found.header, chunks))

    def apply(self, changes: Iterable[Change]) -> None:
        """Apply the changes of a batch, and forget what was not used for long, but for what these changes are about:
        they are not stored yet.
        """
        changed = set()
        for change in changes:
            if change.header is not None or change.put or change.drop:
                self._put(_after(change, self.known.get(change.key)))
                changed.add(change.key)
        if self._keys is not None:
            self._keys.add(changed)
        while self._bytes > self._most_bytes and (key := next(iter(self.known))) not in changed:
            del self.known[key]
            self._bytes -= self._lengths.pop(key)
            self.is_complete = False

    def _put(self, aggregate: Aggregate) -> None:
        key, header, chunks = aggregate
        length = 500 + len(header)
        if chunks:
            length += sum([200 + len(chunk.facts or b"") for chunk in chunks])
        self._bytes += length - self._lengths.get(key, 0)
        self._lengths[key] = length
        self.known[key] = aggregate
        self.known.move_to_end(key)


def _after(change: Change, before: Aggregate | None) -> Aggregate:
    """An aggregate after a change; most have no chunks."""
    if before is None and change.header is not None and not change.put:
        return Aggregate(change.key, change.header)
    return change.of(before or Aggregate(change.key))


class _Keys:
    """Keys of which none is forgotten, in constant memory: few that were never added seem to be there, too (a Bloom
    filter with one hash; with 10 million keys one in 27).
    """

    def __init__(self) -> None:
        self._bits = bytearray(2**25)

    def add(self, keys: Iterable[str]) -> None:
        """Add keys."""
        bits = self._bits
        for key in keys:
            place = hash(key) & _LAST_BIT
            bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: str) -> bool:
        place = hash(key) & _LAST_BIT
        return bool(self._bits[place >> 3] & 1 << (place & 7))


_LAST_BIT = 2**28 - 1


class _Names:
    """The numbers of names that were used lately, by dictionary; while it `is_complete`, all that there are."""

    def __init__(self, most: int, *, is_complete: bool) -> None:
        self._most = most
        self.is_complete = is_complete
        self.known: dict[str, dict[Any, int]] = {name: {} for name in DICTIONARIES}

    def unknown(self, table: str, needed: Needs) -> list[Any]:
        """Those of the names that a batch needs whose numbers are not known."""
        known, names = self.known[table], getattr(needed, table)
        return [name for name in names if name not in known]

    def add(self, table: str, numbers: Mapping[Any, int]) -> None:
        """Remember the numbers of names."""
        self.known[table].update(numbers)

    def forget(self) -> None:
        """Forget all if there are many."""
        if sum(map(len, self.known.values())) > self._most:
            self.is_complete = False
            for names in self.known.values():
                names.clear()


def _seen_as(each: Remembered) -> tuple[str, str]:
    """The key of the aggregate that remembers an event, and the event's id."""
    family = each.type.partition(".")[0]
    return project_key(each.about) if is_about_project(each.type) else f"{family}:{each.about}", each.event_id


def _name_row(table: str, number: int, name: Any) -> Sequence[Any]:
    if table == "projects":
        return project_row(number, name)
    return (number, *name) if table == "actors" else (number, name)


def _make_rows(batch: EventBatch, judged: Mapping[int, Judgement], known: Known) -> BatchRows:
    rows = RowMaker(known)
    for index, (value, envelope) in enumerate(zip(batch.values, batch.envelopes, strict=True), batch.before.size):
        rows.add(index, value, envelope, judged[index])
    return rows.finish()


def _changed(
    changes: Iterable[Change],
) -> tuple[list[Row], list[Row], list[tuple[str, str]]]:
    """Headers, chunks to put, and chunks to drop."""
    headers: list[Row] = []
    put: list[Row] = []
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


def _of_ceremonies(
    ceremonies: Iterable[AcceptedCeremony],
) -> tuple[dict[str, list[Row]], list[dict[str, str]]]:
    """The rows of accepted ceremonies by table, and of the keys that they list by column."""
    documents: list[Row] = []
    role_keys: list[Row] = []
    keys: dict[str, dict[str, str]] = {}
    for each in ceremonies:
        for document in each.documents:
            digest = sha256(document.file).digest()
            documents.append((each.index, document.role, document.version, digest, document.expires, document.file))
            for keyid, key in _keys_of(document.signed).items():
                keys[keyid] = {"keyid": keyid, "scheme": key["scheme"], "public": key["keyval"]["public"]}
            for role, keyids, threshold in _roles_of(document.role, document.signed):
                role_keys.extend((each.index, role, keyid, threshold) for keyid in keyids)
    return {"documents": documents, "role_keys": role_keys}, list(keys.values())


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
