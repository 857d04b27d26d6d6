"""What else may belong to an incident: proposals, each with its reason. None is ever added by itself.

Proposals come in depths. Those of depth 1 follow from the list of suspects. From what suspect projects, grants,
credentials and files led to follow those of depth 2, and so on until nothing new is found. What somebody did besides,
or before, is told and not followed: nearly every event is a few acts away from every other one. Some things are named
alone, since no list holds them, or a person must decide: what was revoked or released.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import answers
from consumers.catalog.words import describe_access
from ledger.catalog import event_rows, leads, publication_rows
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted
from ledger.catalog.leads import Actor, Sought
from ledger.catalog.rights import AccessRow
from projections.incidents.selection import Run, runs_of, together
from projections.log.operations import type_of
from schemas.codec import AUTHORITY_TYPES
from schemas.events import LedgerCreated

MOST_TOLD = 20
"""Events of a proposal that are told one by one."""

MOST_FOLLOWED = 20_000
"""Events of proposals from which others follow, in all."""

MOST_NAMED = 1_000
"""Credentials that were first used, and releases of holds, that are looked at."""

PAGE = 2_000

NEVER = (*sorted(AUTHORITY_TYPES), type_of(LedgerCreated))
"""The types of events that are about the ledger itself: no list has them."""

Reason = Literal[
    "project", "grant", "credential", "actor", "digest", "first-use", "revocation", "release", "root", "publications"
]
REASONS: tuple[Reason, ...] = (
    *("project", "grant", "credential", "actor", "digest", "first-use"),
    *("revocation", "release", "root", "publications"),
)
"""All reasons, in the order in which they are told. The last four are named alone."""

When = Literal["", "before", "within", "after"]


class ProposedEvents(msgspec.Struct, frozen=True):
    """Events that may belong to an incident.

    Attributes:
        reason: why, one of `REASONS`.
        about: what it is about: a project, an actor, a credential, a digest, a root.
        because: what leads to it, in words.
        depth: how many steps it is away from the suspects.
        when: whether these events are before the first suspect, between the first and the last, or after the last.
        count: how many events (of `publications`: publications) these are.
        first: the indices of the first ones, at most `MOST_TOLD`; of `publications`, the number of the first one.
        last: the index of the last one; of `publications`, its number.
        selectors: the selectors that would find them; none where they are named alone.
    """

    reason: Reason
    about: str
    because: str
    depth: int
    when: When
    count: int
    first: tuple[int, ...]
    last: int
    selectors: tuple[str, ...] = ()


class Proposals(msgspec.Struct, frozen=True):
    """All proposals, by depth and reason. `is_complete`: nothing was left out because there is too much."""

    proposals: tuple[ProposedEvents, ...]
    is_complete: bool


def propose(
    connection: Connection,
    asked: Asked,
    suspects: Sequence[Run],
    measures: Sequence[Run] = (),
    *,
    most_followed: int = MOST_FOLLOWED,
) -> Proposals:
    """What else may belong to an incident.

    Args:
        connection: a catalog, in one transaction.
        asked: the same catalog.
        suspects: the events that do belong to it, as sorted runs.
        measures: the response's own events, which are never proposed.
        most_followed: from so many events of proposals others follow, in all.
    """
    if not suspects:
        return Proposals((), is_complete=True)
    return _Proposing(connection, asked, suspects, measures, most_followed).all()


class _Lead(NamedTuple):
    """Events that are sought, and why; `is_followed`: others may follow from them."""

    reason: Reason
    about: str
    because: str
    when: When
    sought: Sought
    selectors: tuple[str, ...]
    is_followed: bool


class _Proposing:
    """Follows leads from suspects, in one transaction."""

    def __init__(
        self, connection: Connection, asked: Asked, suspects: Sequence[Run], measures: Sequence[Run], most: int
    ) -> None:
        self._connection = connection
        self._asked = asked
        self._size = asked.size
        self._suspects = suspects
        self._window = suspects[0][0], suspects[-1][1]
        self._seen = together(suspects, measures)
        self._done: set[tuple[Reason, str, When]] = set()
        self._left = most
        self._is_complete = True

    def all(self) -> Proposals:
        found = list(self._named())
        frontier, depth = tuple(self._suspects), 1
        while frontier:
            followed: set[int] = set()
            for lead in self._leads(frontier, depth):
                proposal = self._propose(lead, depth)
                if proposal is None:
                    continue
                found.append(proposal)
                if lead.is_followed:
                    followed.update(self._follow(self._take(lead.sought, self._left), proposal))
            for proposal, others in self._same_bytes(frontier, depth):
                found.append(proposal)
                followed.update(self._follow(others[: self._left], proposal))
            frontier = runs_of(sorted(followed))
            self._seen = together(self._seen, frontier)
            depth += 1
        found.sort(key=lambda each: (each.depth, REASONS.index(each.reason)))
        return Proposals(tuple(found), self._is_complete)

    # --- what leads to what ----------------------------------------------------------------------------------

    def _leads(self, frontier: Sequence[Run], depth: int) -> Iterator[_Lead]:
        """What follows from some events, each but once."""
        acted = leads.who_acted(self._connection, frontier)
        every = [
            *self._begun(frontier),
            *self._granted(frontier),
            *self._with_credentials(acted, depth),
            *self._by_actors(acted, depth),
            *(self._first_used(acted) if depth == 1 else ()),
        ]
        for lead in every:
            key = lead.reason, lead.about, lead.when
            if lead.reason != "grant":  # each is about one event
                if key in self._done:
                    continue
                self._done.add(key)
            yield lead

    def _begun(self, frontier: Sequence[Run]) -> Iterator[_Lead]:
        for each in leads.what_began(self._connection, frontier):
            sought = Sought(each.first + 1, self._size, projects=(each.project,), never=NEVER)
            because = f"event {each.first} began the project"
            yield _Lead("project", each.name, because, "", sought, (f"project={each.name}",), is_followed=True)

    def _granted(self, frontier: Sequence[Run]) -> Iterator[_Lead]:
        for grant in leads.access_in(self._connection, frontier, "granted"):
            found = self._under(grant)
            if found is not None:
                sought, selectors = found
                because = f"event {grant.idx} granted it"
                yield _Lead("grant", _access_text(grant), because, "", sought, selectors, is_followed=True)

    def _under(self, grant: AccessRow) -> tuple[Sought, tuple[str, ...]] | None:
        """The acts that a grant allowed, as far as the log can say; None if it names nobody."""
        end = self._size if grant.ended_idx is None else grant.ended_idx
        selectors = [f"events={grant.idx + 1}..{end - 1}"]
        if grant.credential is not None:
            numbers = leads.numbers_of_names(self._connection, "credentials", grant.credential)
            sought = Sought(grant.idx + 1, end, credentials=numbers, never=NEVER)
            selectors.append(f"credential={grant.credential}")
        elif grant.account is not None:
            numbers = leads.numbers_of_names(self._connection, "actors", grant.account)
            sought = Sought(grant.idx + 1, end, actors=numbers, never=NEVER)
            selectors.append(f"actor={grant.account}")
        else:
            return None
        if grant.project is not None:
            projects = leads.numbers_of_names(self._connection, "projects", grant.project)
            sought = sought._replace(projects=projects)
            numbers = numbers if projects else ()
            selectors.append(f"project={grant.project}")
        return (sought, tuple(selectors)) if numbers and grant.idx + 1 < end else None

    def _with_credentials(self, acted: Iterable[Actor], depth: int) -> Iterator[_Lead]:
        used: dict[int, str] = {}
        counts: dict[int, int] = {}
        for each in acted:
            if each.credential_id is not None and each.credential is not None:
                used[each.credential_id] = each.credential
                counts[each.credential_id] = counts.get(each.credential_id, 0) + each.events
        for number, name in used.items():
            because = _acts_text(counts[number], depth)
            for when, first, end in self._times():
                sought = Sought(first, end, credentials=(number,), never=NEVER)
                selectors = (f"credential={name}", f"events={first}..{end - 1}")
                yield _Lead("credential", name, because, when, sought, selectors, is_followed=when != "before")

    def _by_actors(self, acted: Sequence[Actor], depth: int) -> Iterator[_Lead]:
        """What actors did without the credentials of the acts that lead here."""
        actors: dict[tuple[str, str], list[Actor]] = {}
        for each in acted:
            actors.setdefault((each.kind, each.name), []).append(each)
        for (kind, name), some in actors.items():
            credentials = tuple(each.credential_id for each in some if each.credential_id is not None)
            because = _acts_text(sum(each.events for each in some), depth)
            for when, first, end in self._times():
                sought = Sought(first, end, actors=(some[0].actor_id,), other_than=credentials, never=NEVER)
                selectors = (f"actor={kind}:{name}", f"events={first}..{end - 1}")
                yield _Lead("actor", f"{kind}:{name}", because, when, sought, selectors, is_followed=False)

    def _times(self) -> Iterator[tuple[When, int, int]]:
        first, end = self._window
        times: list[tuple[When, int, int]] = [("before", 0, first), ("within", first, end), ("after", end, self._size)]
        return (each for each in times if each[1] < each[2])

    def _same_bytes(self, frontier: Sequence[Run], depth: int) -> Iterator[tuple[ProposedEvents, list[int]]]:
        """Other events that brought the same bytes as some events, each digest with its events."""
        digests = leads.digests_brought(self._connection, frontier)
        for digest in leads.brought_often(self._connection, digests):
            brought = leads.brought_by(self._connection, digest, 0, self._left + MOST_TOLD)
            others = [index for index in brought if not _is_in(self._seen, index)]
            self._is_complete = self._is_complete and len(brought) < self._left + MOST_TOLD
            if others:
                known = next((index for index in brought if _is_in(frontier, index)), None)
                because = "proposed events" if known is None else f"event {known}"
                told = tuple(others[:MOST_TOLD])
                selectors = (f"sha256={digest.hex()}",)
                yield (
                    ProposedEvents(
                        "digest",
                        digest.hex(),
                        f"{because} brought the same bytes",
                        depth,
                        "",
                        len(others),
                        told,
                        others[-1],
                        selectors,
                    ),
                    others,
                )

    def _first_used(self, acted: Sequence[Actor]) -> Iterator[_Lead]:
        first, end = self._window
        suspect = {each.credential for each in acted}
        wanted = Wanted(first=first, end=end, first_use=True)
        rows = event_rows.events_from(self._connection, wanted, first, MOST_NAMED + 1)
        self._is_complete = self._is_complete and len(rows) <= MOST_NAMED
        for row in rows[:MOST_NAMED]:
            if row.credential is None or row.credential in suspect:
                continue
            numbers = leads.numbers_of_names(self._connection, "credentials", row.credential)
            sought = Sought(row.idx, self._size, credentials=numbers, never=NEVER)
            because = f"event {row.idx} is its first use, and no grant precedes it"
            selectors = (f"credential={row.credential}",)
            yield _Lead("first-use", row.credential, because, "", sought, selectors, is_followed=False)

    # --- what is named alone ---------------------------------------------------------------------------------

    def _named(self) -> Iterator[ProposedEvents]:
        first, end = self._window
        for revoked in leads.access_in(self._connection, self._suspects, "revoked"):
            why = "a suspect revoked it: say whether it shall be granted again"
            yield ProposedEvents("revocation", _access_text(revoked), why, 1, "", 1, (revoked.idx,), revoked.idx)
        yield from self._released()
        for index, version in leads.roots_between(self._connection, first, end):
            why = "it was accepted between the first suspect and the last"
            yield ProposedEvents("root", f"root@{version}", why, 1, "within", 1, (index,), index)
            following = leads.next_root(self._connection, index)
            under = [
                era
                for era in publication_rows.eras(self._connection)
                if index <= era.roles_idx and (following is None or era.roles_idx < following)
            ]
            if under:
                start, last = under[0].first, under[-1].last
                count = publication_rows.count_from(self._connection, start)
                count -= publication_rows.count_from(self._connection, last + 1)
                why = "they are signed by the keys of this root"
                yield ProposedEvents("publications", f"root@{version}", why, 1, "", count, (start,), last)

    def _released(self) -> Iterator[ProposedEvents]:
        """Releases of holds between the first suspect and the last, and later ones by those who acted."""
        first, end = self._window
        acted = leads.who_acted(self._connection, self._suspects)
        actors = {(each.kind, each.name) for each in acted}
        wanted = Wanted(first=first, types=("signing.released",))
        rows = event_rows.events_from(self._connection, wanted, first, MOST_NAMED + 1)
        self._is_complete = self._is_complete and len(rows) <= MOST_NAMED
        for answer in answers(self._connection, self._asked, rows[:MOST_NAMED]):
            row = answer.row
            is_theirs = (row.actor_kind, row.actor) in actors
            if row.outcome or not (row.idx < end or is_theirs):
                continue
            by = "by an actor of suspects" if is_theirs else "between the first suspect and the last"
            why = f"a hold was released {by}: say whether to hold again"
            when: When = "within" if row.idx < end else "after"
            yield ProposedEvents("release", answer.what, why, 1, when, 1, (row.idx,), row.idx)

    # --- events ----------------------------------------------------------------------------------------------

    def _propose(self, lead: _Lead, depth: int) -> ProposedEvents | None:
        """The proposal that a lead makes; None if everything that it finds is known."""
        sought = lead.sought
        told = tuple(self._take(sought, MOST_TOLD))
        if not told:
            return None
        count = leads.count_sought(self._connection, sought)
        count -= leads.count_sought_among(self._connection, sought, self._seen)
        last = next(self._unseen(sought, newest_first=True))
        return ProposedEvents(
            lead.reason, lead.about, lead.because, depth, lead.when, count, told, last, lead.selectors
        )

    def _follow(self, events: list[int], proposal: ProposedEvents) -> list[int]:
        """The events of a proposal from which others follow."""
        self._left -= len(events)
        self._is_complete = self._is_complete and len(events) == proposal.count
        return events

    def _take(self, sought: Sought, limit: int) -> list[int]:
        found: list[int] = []
        for index in self._unseen(sought):
            if len(found) == limit:
                break
            found.append(index)
        return found

    def _unseen(self, sought: Sought, *, newest_first: bool = False) -> Iterator[int]:
        """The events that are sought and not known, in order, or the newest first."""
        while page := leads.indices_sought(self._connection, sought, PAGE, newest_first=newest_first):
            yield from (index for index in page if not _is_in(self._seen, index))
            if len(page) < PAGE:
                return
            sought = sought._replace(end=page[-1]) if newest_first else sought._replace(first=page[-1] + 1)


def _is_in(runs: Sequence[Run], index: int) -> bool:
    at = bisect_right(runs, index, key=lambda run: run[0])
    return at > 0 and index < runs[at - 1][1]


def _access_text(row: AccessRow) -> str:
    """What was granted or revoked, in words."""
    names = ("kind", "account", "role", "credential", "project")
    return describe_access(row.act, {name: getattr(row, name) for name in names})


def _acts_text(count: int, depth: int) -> str:
    acts = "1 act" if count == 1 else f"{count:,} acts"
    return f"{acts} {'on the list' if depth == 1 else 'proposed before'}"
