"""A follower's state in memory, as simple as it can be: what the pure rounds of `projections` are given and what
becomes of their results. Each publication is checked against the contract of `Change` on the way.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from projections.index import project_list
from projections.index.chunks import Aggregate, Change, Chunk
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.project_list import Listing, ProjectList
from projections.index.upload_times import Bracket, Dated, UploadTimes, brackets_of, pack_brackets
from projections.log.prefix import Prefix
from projections.log.reading import Routed
from projections.metadata.bins import Entries, StoredBin, fold_bin, take_targets
from projections.metadata.repository import signs_all_bins
from projections.metadata.targets import Page, TargetChange
from projections.outcomes import Outcome
from projections.publications import Head
from projections.roles.authority import Authority
from projections.roles.layout import Layout
from schemas.publications import Claim
from tests import factory
from tests.property.model import Model, target_of

Grouping = Callable[[Sequence[Routed]], list[list[Routed]]]
"""Cuts a batch into groups; one aggregate's events stay together and in order."""


def in_one_group(routed: Sequence[Routed]) -> list[list[Routed]]:
    """All events together."""
    return [list(routed)]


@dataclass
class Store:
    """The state after some publications."""

    prefix: Prefix = field(default_factory=Prefix)
    aggregates: dict[str, Aggregate] = field(default_factory=dict)
    bins: dict[str, StoredBin] = field(default_factory=dict)
    seen: dict[tuple[str, str], str] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    pages: dict[str, bytes] = field(default_factory=dict)
    waiting: dict[str, bool] = field(default_factory=dict)
    withheld: set[str] = field(default_factory=set)
    published: Authority | None = None
    number: int = 0
    dated: list[Dated] = field(default_factory=lambda: [Dated(0, "", "")])
    _times: tuple[list[Bracket], str] = field(default_factory=lambda: ([], ""))

    def publish(
        self,
        values: Sequence[bytes | None],
        *,
        grouping: Grouping = in_one_group,
        shuffle: Callable[[list[TargetChange]], list[TargetChange]] = list,
        seconds: int | None = None,
        skipped: Sequence[tuple[int, int]] = (),
    ) -> set[str]:
        """Publish these records; returns the names of the bins that the publication signs. `skipped` are publications
        before the last one: how many of the records each covers, and its time in seconds.
        """
        prefix, extension = self.prefix.extend(values)
        authority = factory.authority_of(prefix)
        before = self.published
        html = authority.settings.html_pages
        switched = before is not None and before.settings.html_pages != html
        self.number += 1 + len(skipped)
        claim = factory.claim(prefix, _NO_HEAD, self.number)
        if seconds is not None:
            claim = factory.claim(prefix, _NO_HEAD, self.number, time=factory.instant(seconds))
        dated = [_dated(self.prefix.extend(values[:count])[0], factory.instant(time)) for count, time in skipped]
        dated.append(_dated(prefix, claim.time))
        self._times = brackets_of(self.dated[-1], dated)
        self.dated.extend(dated)
        routed = extension.routed
        for index in range(self.prefix.size, prefix.size):
            self.outcomes[index] = Outcome("accepted")
        self.outcomes.update({judged.index: judged.outcome for judged in extension.judged})
        self.kinds.update({judged.index: judged.kind for judged in extension.judged})
        listings: list[Listing] = []
        moved = self._moved(before, authority.layout)
        changes: list[TargetChange] = []
        folded = [self._fold(group, authority, anew=switched) for group in grouping(routed)]
        if switched or self._times[1]:
            done = {item.key for item in routed}
            keys = [key for key in self.aggregates if key.startswith("project:") and key not in done]
            folded.append(self._fold([], authority, anew=switched, keys=keys))
        for each in folded:
            listings.extend(each.listings)
            changes.extend(each.targets)
        changes.extend(self._list(claim, authority, listings))
        differing = self._fold_bins([*moved, *shuffle(changes)], authority.layout)
        self.prefix, self.published = prefix, authority
        indices = range(authority.layout.count) if signs_all_bins(before, authority) else differing
        return {authority.layout.name(index) for index in indices}

    def _moved(self, before: Authority | None, layout: Layout) -> list[TargetChange]:
        if before is None or before.layout.bits == layout.bits:
            return []
        keys = [before.layout.key(index) for index in range(before.layout.count)]
        return take_targets([self.bins.pop(key) for key in keys if key in self.bins])

    def _fold(self, routed: Sequence[Routed], authority: Authority, *, anew: bool, keys: Iterable[str] = ()) -> Folded:
        wanted = {*keys, *(item.key for item in routed), *rows_read_by(routed)}
        states = {key: state for key, state in self.aggregates.items() if key in wanted}
        html, terms = authority.settings.html_pages, authority.terms
        brackets, new_time = self._times
        times = UploadTimes(pack_brackets(brackets), new_time)
        folded = fold_events(states, self.seen, routed, html=html, terms=terms, times=times, render_anew=anew)
        self._keep(folded.changes)
        self.seen.update({(each.key, each.id): each.digest for each in folded.seen})
        self.outcomes.update({judged.index: judged.outcome for judged in folded.judged})
        self._show(folded.pages, folded.targets)
        return folded

    def _list(self, claim: Claim, authority: Authority, listings: list[Listing]) -> list[TargetChange]:
        state = self.aggregates.get(project_list.KEY, Aggregate(project_list.KEY))
        projects = ProjectList(state.header, self.waiting)
        projects.apply(sorted(listings, key=lambda listing: listing.index))
        projects.advance(claim, authority.settings, claim.size)
        change, pages, changes = projects.finish(state.chunks, self.waiting)
        if projects.is_rendered:
            self.waiting.clear()
        self.waiting.update({name: came for name, came in projects.left.items() if came is not None})
        for name in [name for name, came in projects.left.items() if came is None]:
            self.waiting.pop(name, None)
        self._keep([change])
        self._show(pages, changes)
        return changes

    def _show(self, pages: Iterable[Page], changes: Iterable[TargetChange]) -> None:
        self.pages.update({page.path: page.data for page in pages})
        for change in changes:
            if change.act == "set" and change.entry is None:
                self.pages.pop(change.path, None)

    def _fold_bins(self, changes: Iterable[TargetChange], layout: Layout) -> list[int]:
        by_bin: dict[int, list[TargetChange]] = {}
        for change in changes:
            by_bin.setdefault(layout.index_of_target(change.path), []).append(change)
        differing = []
        for index, group in sorted(by_bin.items()):
            stored = self.bins.get(layout.key(index), StoredBin())
            folded = fold_bin(stored, group)
            targets = b",".join(folded.targets)
            assert folded.differs == (targets != stored.targets.copy()), "`differs` says whether the bin must be signed"
            assert folded.header != stored.header, "a header that is stored anew is another one"
            header = stored.header if folded.header is None else folded.header
            self.bins[layout.key(index)] = StoredBin(header, Entries(b"{%s}" % targets, 1, 1 + len(targets)))
            for path, is_withheld, _ in folded.withholdings:
                (self.withheld.add if is_withheld else self.withheld.discard)(path)
            if folded.differs:
                differing.append(index)
        return differing

    def _keep(self, changes: Iterable[Change]) -> None:
        for change in changes:
            state = self.aggregates.get(change.key, Aggregate(change.key))
            chunks = apply_change(state.chunks, change)
            header = state.header if change.header is None else change.header
            if header or chunks:
                self.aggregates[change.key] = Aggregate(change.key, header, chunks)

    def bin_targets(self, index: int) -> bytes:
        """The rendered entries of a bin."""
        return self.bins.get(factory.authority_of(self.prefix).layout.key(index), StoredBin()).targets.copy()


def apply_change(chunks: Sequence[Chunk], change: Change) -> tuple[Chunk, ...]:
    """What a store does with a change: drop, put, keep sorted."""
    stored = {chunk.lower: chunk for chunk in chunks}
    for lower in change.drop:
        del stored[lower]
    stored.update({chunk.lower: chunk for chunk in change.put})
    assert len(change.put) == len({chunk.lower for chunk in change.put}), "a chunk is put twice"
    assert not set(change.drop) & {chunk.lower for chunk in change.put}, "a chunk is both put and dropped"
    return tuple(stored[lower] for lower in sorted(stored))


def _dated(prefix: Prefix, time: str) -> Dated:
    return Dated(prefix.size, time, factory.authority_of(prefix).time_from)


_NO_HEAD = Head(0, factory.digest("no head"), "", 0)

LIST_PATHS = {"simple/index.json", "simple/index.html"}


def targets_of(store: Store) -> dict[str, tuple[int, str]]:
    """Length and SHA-256 of every target, each found in the bin where clients look for it."""
    layout = factory.authority_of(store.prefix).layout
    targets = {}
    for index in range(layout.count):
        members = orjson.loads(b"{" + store.bin_targets(index) + b"}")
        assert list(members) == sorted(members)
        for path, target in members.items():
            assert layout.index_of_target(path) == index
            assert set(target) == {"length", "hashes"}
            targets[path] = target["length"], target["hashes"]["sha256"]
    return targets


def check(store: Store, model: Model) -> None:
    """The store shows what the model says."""
    model.publications = [(each.size, each.time, each.time_from) for each in store.dated[1:]]
    pages = {
        path: page for path, page in store.pages.items() if path.endswith("/index.json") and path not in LIST_PATHS
    }
    assert pages == model.json_pages()
    names = [project["name"] for project in json.loads(store.pages["simple/index.json"])["projects"]]
    assert names == model.existing()
    expected = model.file_targets()
    expected |= {path: target_of(page) for path, page in store.pages.items()}
    assert targets_of(store) == expected
    assert store.withheld == model.withheld()
