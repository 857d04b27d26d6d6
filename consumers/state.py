"""A follower's state in the terms of `projections`: what `ledger.store` keeps as bytes under keys."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from ledger.store import JudgedRow, Store
from projections import prefix as prefixes
from projections.chunks import Aggregate, Change, Chunk
from projections.fold import Seen
from projections.operations import Upload
from projections.outcomes import Judged
from projections.prefix import Ceremony, Prefix, Routed
from projections.repository import RoleEntry


async def load_aggregates(store: Store, keys: Sequence[str]) -> dict[str, Aggregate]:
    """Stored aggregates by key; those never stored are missing."""
    rows, chunk_rows = await store.load(keys)
    headers = dict(rows)
    chunks = {key: tuple(Chunk(*row[1:]) for row in group) for key, group in groupby(chunk_rows, key=itemgetter(0))}
    return {
        key: Aggregate(key, headers.get(key, b""), chunks.get(key, ()))
        for key in keys
        if key in headers or key in chunks
    }


async def save_changes(store: Store, changes: Iterable[Change]) -> None:
    """Save what a fold changed in aggregates."""
    changes = list(changes)
    await store.save(
        [(change.key, change.header) for change in changes if change.header is not None],
        [(change.key, *chunk) for change in changes for chunk in change.put],
        [(change.key, lower) for change in changes for lower in change.drop],
    )


async def load_seen(store: Store, routed: Iterable[Routed]) -> dict[tuple[str, str], str]:
    """Digests of remembered events with the ids of these, by aggregate key and id."""
    pairs = sorted({(item.key, item.operation.id) for item in routed if not isinstance(item.operation, Upload)})
    if not pairs:
        return {}
    return {(key, name): digest for key, name, digest in await store.load_seen(pairs)}


async def save_seen(store: Store, seen: Iterable[Seen]) -> None:
    """Remember ids of events."""
    await store.save_seen([(each.key, each.id, each.digest) for each in seen])


async def load_waiting(store: Store, names: Sequence[str] | None = None) -> dict[str, bool]:
    """Those of these names, or of all, that wait for the list of projects: whether they came or went."""
    return {name: bool(came) for name, came in await store.load_waiting(names)}


async def save_waiting(store: Store, left: Mapping[str, bool | None], *, is_rendered: bool) -> None:
    """Keep which names wait, as `ProjectList.left` says."""
    if is_rendered:
        await store.clear_waiting()
    kept = [(name, int(came)) for name, came in left.items() if came is not None]
    await store.save_waiting(kept, [name for name, came in left.items() if came is None])


async def save_judged(store: Store, log: str, judged: Iterable[Judged]) -> None:
    """Remember the outcomes of records, except of those that were simply accepted."""
    await store.save_judged(
        [
            JudgedRow(log, each.index, each.digest, each.kind, *each.outcome)
            for each in judged
            if each.outcome.verdict != "accepted"
        ]
    )


async def save_ceremonies(store: Store, ceremonies: Iterable[Ceremony]) -> None:
    """Add the documents of ceremonies."""
    await store.save_ceremonies(
        [
            (ceremony.index, document.role, document.version, document.file)
            for ceremony in ceremonies
            for document in ceremony.documents
        ]
    )


async def load_prefix(store: Store, saved: bytes) -> Prefix:
    """The prefix at the follower's position."""
    rows = await store.load_ceremonies()
    ceremonies = [
        (index, {role: file for _, role, _, file in group}) for index, group in groupby(rows, key=itemgetter(0))
    ]
    return prefixes.restore(saved, ceremonies)


async def load_roles(store: Store) -> dict[str, RoleEntry]:
    """The last version of every bin by role name, retired ones too."""
    rows = await store.load_roles()
    return {name: RoleEntry(version, expires, length, sha256) for name, version, expires, length, sha256 in rows}


async def save_roles(store: Store, entries: Mapping[str, RoleEntry]) -> None:
    """Put the last versions of bins."""
    await store.save_roles(
        [(name, entry.version, entry.expires, entry.length, entry.sha256) for name, entry in entries.items()]
    )
