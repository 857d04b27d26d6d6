"""One publication's way from events to files: the I/O between the pure rounds of `projections`.

    events ──fold──▶ projects: pages, targets ──fold──▶ bins ──seal──▶ files, snapshot

Everything is loaded, folded, sealed and saved in groups of bounded size, so memory does not grow with the batch.
What is the same for whoever renders is here; who *seals* the payloads (a signer with its keys, a follower with the
signatures on the log) and where files go (`Sink`) is given.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple, Protocol

import orjson
import structlog

from consumers import state
from consumers.partitions import Partitions
from consumers.runs import Stamp
from consumers.stopwatch import Stopwatch
from consumers.tail import Tail
from consumers.workers import Behind, Workers
from ledger.store import Store
from projections import project_list
from projections.authority import Authority
from projections.bins import FoldedBin, Layout, TargetChange, bin_key, fold_bin, hashed_path, take_targets
from projections.chunks import Aggregate
from projections.documents import Document
from projections.fold import Folded, fold_events
from projections.names import split_filename
from projections.prefix import Prefix, Routed
from projections.project_list import Listing, ProjectList
from projections.repository import LENGTH_ABOVE_BYTES, RoleEntry, SnapshotTable, bin_payload, expires_at, signs_all_bins
from schemas.publications import Claim

BINS_PER_GROUP = 64
PROJECTS_PER_GROUP = 128

log = structlog.get_logger()


class DivergenceError(Exception):
    """A valid publication is not what its events make: whoever signed it did not follow the rules."""


class Sealer(Protocol):
    """Turns payloads into metadata files. Called from several threads."""

    def seal(self, name: str, payload: bytes) -> bytes:
        """The file of a bin or of `snapshot`: the payload with its signatures.

        Raises:
            DivergenceError: the log has no such signatures, or others.
            SignerError: a key does not sign.
        """


class Sink(Protocol):
    """Where rendered files go. Paths are relative to what is served."""

    def put(self, path: str, data: bytes) -> None:
        """An immutable file. Called from several threads."""

    def show(self, path: str, source: str | None) -> None:
        """A plain page shows this immutable file from this publication on, or nothing."""

    def put_document(self, document: Document) -> None:
        """An offline role's document is in force from this publication on."""


class Edition(NamedTuple):
    """What to render: the repository of the last of these claims, from the state at `before`.

    One claim is the usual case. With several, the versions between are skipped: `stamps` then says which publication
    last signed each bin that any of them signed.
    """

    claims: Sequence[tuple[Claim, Authority]]
    before: Prefix
    after: Prefix
    stamps: Mapping[str, Stamp] | None = None

    @property
    def claim(self) -> Claim:
        """The last claim."""
        return self.claims[-1][0]

    @property
    def authority(self) -> Authority:
        """The offline roles under which it is rendered."""
        return self.claims[-1][1]


class Rendered(NamedTuple):
    """What was rendered: the names of the bins that were sealed, in order, their entries, and the snapshot's file."""

    names: list[str]
    entries: dict[str, RoleEntry]
    snapshot: bytes


class Renderer:
    """Renders editions into a follower's state. The caller begins the transaction, and ends it."""

    def __init__(self, store: Store, workers: Workers, table: SnapshotTable, spill: Path, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch
        self._store = store
        self._workers = workers
        self._table = table
        self._spill = spill

    async def render(self, edition: Edition, tail: Tail, sealer: Sealer, sink: Sink) -> Rendered:
        """Fold an edition's events and render what they change.

        Raises:
            DivergenceError: a bin changed that the log says was not signed, or a seal does not fit.
        """
        expected = 3 * (edition.after.size - edition.before.size)
        expected += await self._moved_items(edition)
        targets = Partitions(self._spill / "targets", TargetChange, expected)
        try:
            await self._move_bins(edition, targets)
            listings = await self._fold(edition, tail, sink, targets)
            await self._list_projects(edition, listings, sink, targets)
            self._stopwatch.lap("fold")
            entries = await self._seal_bins(edition, sealer, sink, targets)
            self._stopwatch.lap("bins")
        finally:
            targets.close()
        retired = await self._retire(edition)
        self._table.update(entries | retired)
        payload = self._table.payload(edition.claim, edition.authority)
        snapshot = await self._workers.run(sealer.seal, "snapshot", payload)
        sink.put(f"metadata/{edition.claim.number}.snapshot.json", snapshot)
        await state.save_roles(self._store, entries | retired)
        self._stopwatch.lap("snapshot")
        return Rendered(list(entries), entries, snapshot)

    # --- the first round: events to projects ---------------------------------------------------------------------

    async def _fold(self, edition: Edition, tail: Tail, sink: Sink, targets: Partitions[TargetChange]) -> list[Listing]:
        html = edition.authority.settings.html_pages
        was = edition.before.authority
        anew = was is not None and was.settings.html_pages != html
        listings: list[Listing] = []
        done: set[str] = set()
        routed = Partitions(self._spill / "events", Routed, edition.after.size - edition.before.size)
        try:
            async with self._pages(sink) as pages:
                await self._route(edition, tail, sink, routed)
                for index in range(routed.count):
                    items = await self._workers.run(routed.take, index)
                    for keys, chosen in _groups(items):
                        folded = await self._fold_group(keys, chosen, html=html, anew=anew)
                        await self._keep(folded, edition, sink, pages, targets)
                        listings.extend(folded.listings)
                        if anew:
                            done.update(keys)
                if anew:
                    async for keys in self._all_projects(done):
                        folded = await self._fold_group(keys, [], html=html, anew=True)
                        await self._keep(folded, edition, sink, pages, targets)
        finally:
            routed.close()
        return listings

    async def _route(self, edition: Edition, tail: Tail, sink: Sink, routed: Partitions[Routed]) -> None:
        """Keep what the prefix has judged, and distribute events by the aggregate they are about."""
        # What goes into which partition shapes nothing; nobody shall be able to choose names that all fall into one.
        salt = token_hex(16)
        async for extension in tail.extensions(edition.after.size):
            await state.save_judged(self._store, "events", extension.judged)
            await state.save_ceremonies(self._store, extension.ceremonies)
            for ceremony in extension.ceremonies:
                for document in ceremony.documents:
                    sink.put_document(document)
            await self._workers.run(routed.add, extension.routed, lambda item: hash(salt + item.key) % routed.count)

    async def _fold_group(self, keys: Sequence[str], items: Sequence[Routed], *, html: bool, anew: bool) -> Folded:
        states = await state.load_aggregates(self._store, keys)
        seen = await state.load_seen(self._store, items)
        return await self._workers.run(fold_events, states, seen, items, html=html, render_anew=anew)

    async def _keep(
        self,
        folded: Folded,
        edition: Edition,
        sink: Sink,
        pages: Behind[tuple[str, bytes], None],
        targets: Partitions[TargetChange],
    ) -> None:
        await pages.add(folded.pages)
        _hide_pages(folded.targets, sink)
        await state.save_changes(self._store, folded.changes)
        await state.save_seen(self._store, folded.seen)
        await state.save_judged(self._store, "events", folded.judged)
        await self._distribute(folded.targets, edition.authority.layout, targets)

    async def _all_projects(self, done: set[str]) -> AsyncIterator[list[str]]:
        last = "project:"
        while keys := await self._store.keys(last, "project;", PROJECTS_PER_GROUP):
            last = keys[-1]
            yield [key for key in keys if key not in done]

    async def _list_projects(
        self, edition: Edition, listings: list[Listing], sink: Sink, targets: Partitions[TargetChange]
    ) -> None:
        projects = ProjectList(await self._store.load_header(project_list.KEY))
        projects.follow([(claim, authority.settings) for claim, authority in edition.claims], listings)
        stored = Aggregate(project_list.KEY)
        if projects.is_rendered:
            found = await state.load_aggregates(self._store, [project_list.KEY])
            stored = found.get(project_list.KEY, stored)
        change, rendered, changes = await self._workers.run(projects.finish, stored.chunks)
        await state.save_changes(self._store, [change])
        async with self._pages(sink) as pages:
            await pages.add(rendered)
            _hide_pages(changes, sink)
        await self._distribute(changes, edition.authority.layout, targets)

    def _pages(self, sink: Sink) -> Behind[tuple[str, bytes], None]:
        """Writes pages, one group behind those who render them."""

        def put(page: tuple[str, bytes]) -> None:
            path, data = page
            hashed = hashed_path(path, sha256(data).hexdigest())
            sink.put(hashed, data)
            sink.show(f"targets/{path}", hashed)

        return Behind(self._workers, put)

    # --- the second round: targets to bins -----------------------------------------------------------------------

    async def _distribute(
        self, changes: Iterable[TargetChange], layout: Layout, targets: Partitions[TargetChange]
    ) -> None:
        def partition_of(change: TargetChange) -> int:
            return layout.partition_of(change.path, targets.count)

        await self._workers.run(targets.add, changes, partition_of)

    async def _moved_items(self, edition: Edition) -> int:
        """About how many targets move because the number of bins changes."""
        old = _old_layout(edition)
        return 0 if old is None else 64 * await self._store.count_chunks(bin_key(old.bits, 0), f"bin:{old.bits:02};")

    async def _move_bins(self, edition: Edition, targets: Partitions[TargetChange]) -> None:
        """Take all targets out of the old bins if there is another number of bins now, and add them to the new."""
        old = _old_layout(edition)
        if old is None:
            return
        layout = edition.authority.layout
        for start in range(0, old.count, BINS_PER_GROUP):
            keys = [old.key(index) for index in range(start, min(start + BINS_PER_GROUP, old.count))]
            states = await state.load_aggregates(self._store, keys)
            moved = await self._workers.run(take_targets, list(states.values()))
            await self._distribute(moved, layout, targets)
        await self._store.delete_range(f"bin:{old.bits:02}:", f"bin:{old.bits:02};")

    async def _seal_bins(
        self, edition: Edition, sealer: Sealer, sink: Sink, targets: Partitions[TargetChange]
    ) -> dict[str, RoleEntry]:
        def seal(item: tuple[str, Stamp, bytes]) -> tuple[str, RoleEntry]:
            name, stamp, found = item
            file = sealer.seal(name, bin_payload(found, stamp.number, stamp.expires))
            if len(file) > LENGTH_ABOVE_BYTES:
                _warn_of_stuffed(name, len(file), found)
            sink.put(f"metadata/{stamp.number}.{name}.json", file)
            return name, RoleEntry(stamp.number, stamp.expires, len(file), sha256(file).hexdigest())

        layout = edition.authority.layout
        chosen = _Choice(edition)
        async with Behind(self._workers, seal) as sealing:
            for partition in range(targets.count):
                changes: dict[int, list[TargetChange]] = {}
                for change in await self._workers.run(targets.take, partition):
                    changes.setdefault(layout.index_of_target(change.path), []).append(change)
                visited = chosen.visited(layout.bins_of(partition, targets.count), changes)
                for start in range(0, len(visited), BINS_PER_GROUP):
                    group = visited[start : start + BINS_PER_GROUP]
                    await sealing.add(await self._fold_bins(group, changes, chosen))
        return dict(sealing.results)

    async def _fold_bins(
        self, group: Sequence[int], changes: Mapping[int, list[TargetChange]], chosen: "_Choice"
    ) -> list[tuple[str, Stamp, bytes]]:
        """Fold changes into bins; gives those to be sealed, with their stamps and rendered targets."""
        layout = chosen.layout
        states = await state.load_aggregates(self._store, [layout.key(index) for index in group])

        def fold_group() -> list[FoldedBin]:
            keys = [layout.key(index) for index in group]
            return [
                fold_bin(states.get(key, Aggregate(key)), changes.get(index, ()))
                for index, key in zip(group, keys, strict=True)
            ]

        folded = await self._workers.run(fold_group)
        await state.save_changes(self._store, [each.change for each in folded])
        return [
            (layout.name(index), chosen.stamp(index), each.targets)
            for index, each in zip(group, folded, strict=True)
            if chosen.signs(index, differs=each.differs)
        ]

    async def _retire(self, edition: Edition) -> dict[str, RoleEntry]:
        """The bins that are no longer in force, without their lengths."""
        layout = edition.authority.layout
        was = edition.before.authority
        retired = {}
        if was is not None and (was.layout.bits, was.layout.prefix) != (layout.bits, layout.prefix):
            stored = await state.load_roles(self._store)
            retired = {name: RoleEntry(entry.version, entry.expires, 0, entry.sha256) for name, entry in stored.items()}
        # Between several claims bins may have come and gone.
        for name, stamp in (edition.stamps or {}).items():
            retired[name] = RoleEntry(stamp.number, stamp.expires, 0, stamp.sha256)
        return {name: entry for name, entry in retired.items() if layout.index(name) is None}


def _groups(items: Sequence[Routed]) -> Iterator[tuple[list[str], Sequence[Routed]]]:
    """Events in groups of so many aggregates, with their keys."""
    by_key: dict[str, list[Routed]] = {}
    for item in items:
        by_key.setdefault(item.key, []).append(item)
    keys = sorted(by_key)
    for start in range(0, len(keys), PROJECTS_PER_GROUP):
        group = keys[start : start + PROJECTS_PER_GROUP]
        yield group, [item for key in group for item in by_key[key]]


def _hide_pages(changes: Iterable[TargetChange], sink: Sink) -> None:
    """Plain pages that are gone."""
    for change in changes:
        if change.entry is None and change.act == "set" and change.path.startswith("simple/"):
            sink.show(f"targets/{change.path}", None)


class _Choice:
    """Which bins an edition seals, and with which stamps."""

    def __init__(self, edition: Edition) -> None:
        claim, authority = edition.claims[-1]
        self.layout = authority.layout
        self._stamps = edition.stamps
        self._uniform = Stamp(claim.number, expires_at(claim.time, authority.settings.bin_expiry_seconds))
        self._all = signs_all_bins(edition.before.authority, authority)
        self._renewed = {self.layout.index(name) for name in claim.renew}
        if self._stamps is not None:
            self._all = False
            self._renewed = {self.layout.index(name) for name in self._stamps}

    def visited(self, bins: range, changes: Mapping[int, object]) -> list[int]:
        """The bins to look at among some, in order."""
        return [index for index in bins if self._all or index in changes or index in self._renewed]

    def signs(self, index: int, *, differs: bool) -> bool:
        """Whether a bin is to be sealed, given whether its targets differ from before.

        Raises:
            DivergenceError: it differs, and no publication signed it.
        """
        if self._stamps is not None and differs and index not in self._renewed:
            raise DivergenceError(f"{self.layout.name(index)} changed, and no publication signed it")
        return self._all or index in self._renewed or (differs and self._stamps is None)

    def stamp(self, index: int) -> Stamp:
        """Number and expiry of a bin that is to be sealed."""
        return self._uniform if self._stamps is None else self._stamps[self.layout.name(index)]


def _warn_of_stuffed(name: str, length: int, targets: bytes) -> None:
    """Say which project fills a bin: names can be chosen so that they all fall into one (clients still download it, as
    the snapshot gives its length).
    """
    names = (path.rpartition("/")[2] for path in orjson.loads(b"{" + targets + b"}"))
    projects = Counter((split_filename(filename) or ("other targets", ""))[0] for filename in names)
    (project, count), *_ = projects.most_common(1)
    log.warning("a bin is very long", bin=name, bytes=length, targets=projects.total(), most=project, of_these=count)


def _old_layout(edition: Edition) -> Layout | None:
    """The layout before, if targets have to move to other bins."""
    was = edition.before.authority
    return was.layout if was is not None and was.layout.bits != edition.authority.layout.bits else None
