"""Comparing two sides of a ledger, page by page: each page is read in a transaction of its own."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.catalog import differing
from consumers.catalog.asking import Asked
from consumers.catalog.changes import events_of
from consumers.catalog.differing import Pages, ProjectDifference, TargetDifference
from consumers.catalog.remaking import ListedTarget, Remaking
from consumers.catalog.rows import path_hash
from consumers.catalog.sides import Side, find_side
from ledger.catalog import changed, content, publication_rows
from ledger.catalog.changed import FEW_EVENTS, Sizes
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import EventRow, is_project, load_events
from projections.metadata.facts import FactChange
from projections.metadata.paths import (
    HTML_LIST,
    HTML_PAGE,
    JSON_LIST,
    JSON_PAGE,
    is_page,
    page_target,
    project_of_page,
)
from schemas.errors import NegativeAnswerError

FIRST_PAGE, PAGE = 10, 200
"""Number of projects or targets that are read at a time: few at first, so that they are seen at once."""


class ProjectPage(NamedTuple):
    """What differs of some projects, the events that made it so, and targets by the number of the project."""

    projects: Sequence[ProjectDifference]
    events: Mapping[int, EventRow]
    targets: Mapping[int, Sequence[TargetDifference]]


class TargetPage(NamedTuple):
    """Targets that differ, and the events that made it so."""

    targets: Sequence[TargetDifference]
    events: Mapping[int, EventRow]


class RolesDifference(NamedTuple):
    """What differs of offline roles, and the ceremonies that made it so."""

    changes: Sequence[FactChange]
    events: Mapping[int, EventRow]


class Comparison:
    """What differs between two sides. The later side may be the first one: then everything is read backwards.

    Attributes:
        before, after: the sides.
        project: the only project that is compared; None: everything is.
    """

    def __init__(self, asked: Asked, before: Side, after: Side, project: str | None) -> None:
        self.before, self.after, self.project = before, after, project
        self._asked = asked
        sizes = sorted((before.content_size, after.content_size))
        self._contents = Sizes(*sizes)
        self._is_backwards = before.content_size > after.content_size
        self._roles = Sizes(*sorted((before.size, after.size)))
        self._roles_backwards = before.size > after.size
        self._pages: Pages | None = None

    def is_reproduced(self, side: Side) -> bool:
        """Whether a follower on this machine has reproduced the publication of a side."""
        return 0 < side.number <= self._asked.reproduced

    def not_reproduced(self) -> list[int]:
        """The publications of the two sides that no follower on this machine has reproduced."""
        sides = (self.before, self.after)
        return sorted({side.number for side in sides if side.number and not self.is_reproduced(side)})

    @property
    def is_backwards(self) -> bool:
        """Whether the first side is the later one: the events that are named are undone."""
        return self._is_backwards or self._roles_backwards

    async def roles(self) -> RolesDifference:
        """What differs of offline roles; of one alone if a version of it was asked for."""
        return await self._asked.database.run(self._read_roles)

    def _read_roles(self, connection: Connection) -> RolesDifference:
        if self.project is not None:
            return RolesDifference((), {})
        found = differing.role_differences(connection, self._roles, role=self.before.role)
        if self._roles_backwards:
            found = [each._replace(before=each.after, after=each.before) for each in found]
        return RolesDifference(
            found, _events_by_index(connection, {each.event for each in found if each.event is not None})
        )

    # --- projects ------------------------------------------------------------------------------------------------

    async def projects(self, *, targets: bool) -> AsyncIterator[ProjectPage]:
        """What differs of projects, by name; with their targets, if these are wanted, too."""
        pages = await self._html_pages()
        async for numbers in self._numbers(self._contents):
            yield await self._asked.database.run(self._read_projects, numbers, pages if targets else None)

    async def _html_pages(self) -> Pages:
        """Whether pages in HTML are made at the lower content size, and at the higher one."""
        if self._pages is None:
            pages = await self._asked.database.run(differing.html_pages, self._roles)
            is_apart = self._is_backwards != self._roles_backwards
            self._pages = pages._replace(before=pages.after, after=pages.before) if is_apart else pages
        return self._pages

    async def _numbers(self, between: Sizes) -> AsyncIterator[Sequence[int]]:
        """The numbers of the projects that events are about, few at first."""
        run, size = self._asked.database.run, FIRST_PAGE
        if self.project is not None:
            numbers = await run(content.project_numbers, [self.project])
        elif between.b - between.a <= FEW_EVENTS:
            numbers = await run(changed.changed_projects, between)
        else:
            after = ""
            while found := await run(changed.next_projects, between, after, size):
                yield [number for number, _ in found]
                after, size = found[-1][1], PAGE
            return
        while numbers:
            yield numbers[:size]
            numbers, size = numbers[size:], PAGE

    def _read_projects(self, connection: Connection, numbers: Sequence[int], pages: Pages | None) -> ProjectPage:
        found = differing.project_differences(connection, numbers, self._contents)
        targets: dict[int, list[TargetDifference]] = {}
        if pages is not None:
            files = differing.file_targets(connection, found, self._contents)
            for each in found:
                some = [*differing.page_targets(each, pages), *files[each.id]]
                targets[each.id] = [self._read_as(target) for target in some]
        if self._is_backwards:
            found = [each.reversed() for each in found]
        wanted = {event for each in found for event in events_of(each)}
        wanted |= {event for some in targets.values() for target in some for event in target.events}
        return ProjectPage(found, _events_by_index(connection, wanted), targets)

    def _read_as(self, target: TargetDifference) -> TargetDifference:
        return target.reversed() if self._is_backwards else target

    # --- a bin -----------------------------------------------------------------------------------------------------

    @property
    def is_of_bin(self) -> bool:
        """Whether versions of one bin are compared, and nothing else."""
        return bool(self.before.role) and self.before.publication is not None

    async def bin_targets(self) -> TargetPage:
        """What differs between two versions of a bin."""
        return await self._asked.database.run(self._read_bin, await self._html_pages())

    def _read_bin(self, connection: Connection, pages: Pages) -> TargetPage:
        remaking = Remaking(connection)
        before, after = (_bin_at(remaking, side) for side in (self.before, self.after))
        paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        names = {project_of_page(path) for path in paths if is_page(path)}
        hashes = [path_hash(path) for path in paths]
        files = (file for size in self._contents for file in content.files_hashed(connection, hashes, size))
        numbers = {*content.project_numbers(connection, names), *(each.project for each in files)}
        projects = differing.project_differences(connection, sorted(numbers), self._contents)
        by_project = differing.file_targets(connection, projects, self._contents)
        known = [each for some in by_project.values() for each in some]
        known += [page for each in projects for page in differing.page_targets(each, pages)]
        known += differing.other_targets(connection, paths, self._contents)
        known += self._read_renewed(connection, sorted(numbers), pages, self._find_new_time(connection))
        events = {each.path: each.events for each in [*known, *self._read_lists(connection, pages)]}
        moved = tuple(
            each.event
            for each in differing.role_differences(connection, self._roles)
            if each.fact.what == "bins" and each.event is not None
        )
        found = [TargetDifference(path, before.get(path), after.get(path), events.get(path, moved)) for path in paths]
        return TargetPage(found, _events_by_index(connection, {event for each in found for event in each.events}))

    # --- targets that no event about their own project changed ---------------------------------------------------

    async def others(self) -> AsyncIterator[TargetPage]:
        """What differs of targets that belong to no project, by path."""
        after, size = "", FIRST_PAGE
        while self.project is None:
            paths = await self._asked.database.run(changed.changed_targets, self._contents, after, size)
            if paths:
                yield await self._asked.database.run(self._read_others, paths)
            if len(paths) < size:
                return
            after, size = paths[-1], PAGE

    def _read_others(self, connection: Connection, paths: Sequence[str]) -> TargetPage:
        found = [self._read_as(each) for each in differing.other_targets(connection, paths, self._contents)]
        return TargetPage(found, _events_by_index(connection, {event for each in found for event in each.events}))

    async def lists(self) -> Sequence[TargetDifference]:
        """How the lists of all projects differ."""
        if self.project is not None:
            return ()
        return await self._asked.database.run(self._read_lists, await self._html_pages())

    def _read_lists(self, connection: Connection, pages: Pages) -> list[TargetDifference]:
        low, high = (self.after, self.before) if self._is_backwards else (self.before, self.after)
        event = changed.last_project_change(connection, Sizes(*sorted((low.list_size, high.list_size))))
        found = []
        for path, was_made, is_made in ((JSON_LIST, True, True), (HTML_LIST, pages.before, pages.after)):
            before = ListedTarget(path, 0, "") if was_made and low.content_size else None
            after = ListedTarget(path, 0, "") if is_made and high.content_size else None
            differs = (before is None) != (after is None) or low.list_size != high.list_size
            if differs and (before or after):
                events = tuple(each for each in {event, pages.event} if each is not None)
                found.append(self._read_as(TargetDifference(path, before, after, events)))
        return found

    async def renewed_pages(self) -> AsyncIterator[Sequence[TargetDifference]]:
        """Pages of projects without an event in between: where pages in HTML begin or end, or a new time starts."""
        pages = await self._html_pages()
        new_time = await self._asked.database.run(self._find_new_time)
        if pages.event is None and new_time is None:
            return
        async for numbers in self._numbers(Sizes(0, max(self._contents.b, 1))):
            yield await self._asked.database.run(self._read_renewed, numbers, pages, new_time)

    def _find_new_time(self, connection: Connection) -> int | None:
        """The ceremony that started the last new time between two publications."""
        first, last = sorted((self.before.number, self.after.number))
        found = (
            [number for number, _ in publication_rows.new_times(connection, last) if number > first] if first else []
        )
        row = publication_rows.load_publication(connection, found[-1]) if found else None
        return None if row is None else row.roles_idx

    def _read_renewed(
        self, connection: Connection, numbers: Sequence[int], pages: Pages, new_time: int | None
    ) -> list[TargetDifference]:
        changed_ones = changed.last_events(connection, numbers, self._contents)
        known = content.projects_numbered(connection, numbers, self._contents.b)
        remaking, found = Remaking(connection), []
        for number in numbers:
            if number in changed_ones or not differing.exists(known.get(number)):
                continue
            name = known[number].name
            if pages.event is not None:
                path = page_target(name, HTML_PAGE)
                before, after = (ListedTarget(path, 0, "") if made else None for made in (pages.before, pages.after))
                found.append(self._read_as(TargetDifference(path, before, after, (pages.event,))))
            rows = self.before.publication, self.after.publication
            if new_time is None or rows[0] is None or rows[1] is None:
                continue
            for path, made in ((JSON_PAGE, True), (HTML_PAGE, pages.before and pages.after)):
                html = path == HTML_PAGE
                if made and len({remaking.page(name, row, html=html) for row in rows if row is not None}) > 1:
                    target = ListedTarget(page_target(name, path), 0, "")
                    found.append(TargetDifference(target.path, target, target, (new_time,)))
        return found


def _events_by_index(connection: Connection, indices: Iterable[int]) -> dict[int, EventRow]:
    return {row.idx: row for row in load_events(connection, indices)}


def _bin_at(remaking: Remaking, side: Side) -> dict[str, ListedTarget]:
    """The targets of the version of a bin that a side names."""
    row = side.publication
    index = None if row is None else remaking.authority(row).layout.index(side.role)
    if row is None or index is None:
        raise AssertionError(f"{side.text} was signed, so its layout has it")
    return {each.path: each for each in remaking.bin_targets(index, row)}


async def compare_sides(asked: Asked, before: str, after: str, project: str | None) -> Comparison:
    """Find two sides, and what differs.

    Raises:
        SideError: a text names nothing of a ledger.
        NegativeAnswerError: there is no such publication, event, version or project; or the two do not go together.
    """
    sides = [await asked.database.run(find_side, asked, each) for each in (before, after)]
    if sides[0].role != sides[1].role:
        raise NegativeAnswerError(f"{before} and {after} are not versions of one role")
    if project is not None and not await asked.database.run(is_project, project):
        raise NegativeAnswerError(f"no event is about a project {project}")
    return Comparison(asked, sides[0], sides[1], project)
