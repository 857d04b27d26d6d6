"""One thing, whole: a publication, a version of a role, a target."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer
from consumers.catalog.filling import load_authority
from consumers.catalog.keys import KeySpan, signers_of, spans_of
from consumers.catalog.placing import Offering, Places
from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking, RoleFile
from consumers.catalog.rows import path_hash
from consumers.catalog.standing import merged, standings
from ledger.catalog import FOREVER, CatalogError, ceremonies, event_rows, publication_rows, states, writing
from ledger.catalog.database import Connection
from ledger.catalog.states import UploadRow
from ledger.catalog.tables import OUTCOMES, THERE
from ledger.catalog.writing import PublicationRow
from projections.metadata.paths import HTML_LIST, HTML_PAGE, JSON_LIST, TargetPlace, project_of_page

SUMMARIES = 200
"""Number of publications that are read at a time."""

OFFLINE = ("root", "targets", "bins")


class CatalogDamagedError(CatalogError):
    """A file that is re-made from a catalog is not the one that was published."""


def with_facts(connection: Connection, answer: EventAnswer) -> EventAnswer:
    """An event with its data: that of an accepted upload is made again from the facts of its file."""
    if answer.data is not None or answer.row.file is None:
        return answer
    upload = states.upload_at(connection, answer.row.idx)
    return answer if upload is None else answer._replace(data=_upload_data(upload))


def _upload_data(upload: UploadRow) -> dict[str, Any]:
    core, provenance = upload.core_metadata_sha256, upload.provenance_sha256
    optional = {
        "requires_python": upload.requires_python,
        "core_metadata_sha256": None if core is None else core.hex(),
        "provenance_sha256": None if provenance is None else provenance.hex(),
        "legacy": True if upload.legacy else None,
    }
    return {
        "filename": upload.filename,
        "version": upload.version,
        "length": upload.length,
        "hashes": {"sha256": upload.sha256.hex(), "blake2b_256": upload.blake2b_256.hex()},
        **{name: value for name, value in optional.items() if value is not None},
    }


# --- publications ----------------------------------------------------------------------------------------------------


class PublicationAnswer(NamedTuple):
    """A publication. `before` is the one before it; `root` the version of the root in force; `bins` the names of the
    bins that it signed; `snapshot` and `timestamp` the SHA-256 of these files, in hexadecimal.
    """

    row: PublicationRow
    before: PublicationRow | None
    root: int
    bins: Sequence[str]
    snapshot: str
    timestamp: str
    reproduced: bool

    @property
    def covered(self) -> tuple[int, int]:
        """The events that it is the first to cover: from one index to another."""
        return (0 if self.before is None else self.before.size), self.row.size

    @property
    def first_shown(self) -> tuple[int, int]:
        """The events that it is the first to show: from one index to another."""
        return (0 if self.before is None else self.before.content_size), self.row.content_size


def load_publication(connection: Connection, asked: Asked, number: int) -> PublicationAnswer | None:
    """A publication by its number."""
    row = publication_rows.load_publication(connection, number)
    if row is None:
        return None
    digests = {each.role: each.sha256.hex() for each in publication_rows.signed_versions(connection, number)}
    snapshot, timestamp = digests.pop(SNAPSHOT), digests.pop(TIMESTAMP)
    before = writing.publication_before(connection, number)
    reproduced = number <= asked.reproduced
    return PublicationAnswer(
        row, before, _root_version(connection, row), list(digests), snapshot, timestamp, reproduced
    )


class PublicationSummary(NamedTuple):
    """A publication in few words: how many events it is the first to cover and to show, and the version of its root."""

    row: PublicationRow
    covers: int
    shows: int
    root: int
    reproduced: bool


async def find_publications(
    asked: Asked, first: int, end: int | None, *, oldest_first: bool = False
) -> AsyncIterator[PublicationSummary]:
    """The publications from one number to below another, the newest first or the oldest."""
    start, stop = first, FOREVER if end is None else end
    while page := await asked.database.run(_summaries, asked, start, stop, oldest_first=oldest_first):
        for each in page:
            yield each
        if len(page) < SUMMARIES:
            return
        last = page[-1].row.number
        start, stop = (last + 1, stop) if oldest_first else (start, last)


def _summaries(
    connection: Connection, asked: Asked, first: int, end: int, *, oldest_first: bool
) -> list[PublicationSummary]:
    rows = publication_rows.publications_between(connection, first, end, SUMMARIES, oldest_first=oldest_first)
    ordered = rows if oldest_first else rows[::-1]
    before = writing.publication_before(connection, ordered[0].number) if ordered else None
    found: list[PublicationSummary] = []
    roots: dict[int, int] = {}
    for row in ordered:
        covers = row.size - (0 if before is None else before.size)
        shows = row.content_size - (0 if before is None else before.content_size)
        if row.roles_idx not in roots:
            roots[row.roles_idx] = _root_version(connection, row)
        found.append(PublicationSummary(row, covers, shows, roots[row.roles_idx], row.number <= asked.reproduced))
        before = row
    return found if oldest_first else found[::-1]


def _root_version(connection: Connection, row: PublicationRow) -> int:
    root = ceremonies.document_in_force(connection, "root", row.roles_idx)
    if root is None:
        raise AssertionError("a publication has a root")
    return root.version


def count_verdicts(connection: Connection, first: int, end: int) -> dict[str, int]:
    """How many of the records from one index to another were accepted, had no effect, or were rejected."""
    odd = {OUTCOMES[outcome]: count for outcome, count in event_rows.odd_outcomes(connection, first, end)}
    return {OUTCOMES[0]: end - first - sum(odd.values()), **odd}


# --- versions of roles -----------------------------------------------------------------------------------------------


class Signature(NamedTuple):
    """The key of a signature, and the roles that ever listed it."""

    keyid: str
    spans: Sequence[KeySpan]


class RoleAnswer(NamedTuple):
    """A version of a role, re-made: its file, when it expires, by whom it is signed, and which publications have it.

    `event` is the index of the ceremony that brought an offline role.
    """

    file: RoleFile
    expires: str
    signatures: Sequence[Signature]
    offer: Offering | None
    event: int | None = None


def load_role(connection: Connection, asked: Asked, role: str, version: int) -> RoleAnswer | None:
    """A version of a role, re-made and compared with what the log says.

    Raises:
        CatalogDamagedError: it is not the file that was published.
    """
    event = None
    if role in OFFLINE:
        document = ceremonies.document_version(connection, role, version)
        if document is None:
            return None
        file, event = RoleFile(role, version, document.file, document.sha256.hex()), document.idx
    else:
        remade = Remaking(connection).role_file(role, version)
        if remade is None:
            return None
        file = remade
    if not file.is_same:
        raise CatalogDamagedError(
            f"{role} version {version} cannot be re-made: the catalog is damaged. Make it anew with "
            "`tuf-ledger catalog rebuild`"
        )
    signatures = [Signature(keyid, spans_of(connection, keyid)) for keyid in signers_of(file.data)]
    expires = orjson.loads(file.data)["signed"]["expires"]
    offer = _offer_of(connection, asked, role, version, event)
    return RoleAnswer(file, expires, signatures, offer, event)


def _offer_of(connection: Connection, asked: Asked, role: str, version: int, event: int | None) -> Offering | None:
    if event is not None:
        later = [each for each in ceremonies.ceremonies_with(connection, role) if each > event]
        return Places(connection, asked).cover(event, later[0] if later else FOREVER)
    ends = [publication_rows.version_after(connection, role, version)]
    if role not in {SNAPSHOT, TIMESTAMP}:
        ends.append(_moved(connection, role, version))
    end = min((each for each in ends if each is not None), default=None)
    if end is None:
        return Offering(version, None)
    before = writing.publication_before(connection, end)
    return Offering(version, version if before is None else before.number)


def _moved(connection: Connection, role: str, version: int) -> int | None:
    """The first publication after one that has other bins than this."""
    for under in ceremonies.signed_under(connection):
        first, last = ceremonies.publications_under(connection, under.roles_idx)
        if last > version and load_authority(connection, under.roles_idx).layout.index(role) is None:
            return first
    return None


# --- targets ---------------------------------------------------------------------------------------------------------


class TargetAnswer(NamedTuple):
    """A target with the bytes of one SHA-256, or a page of whatever version: `sha256` and `length` are None then.

    `event` is the index of the event that brought it, `offers` are the publications that offered it, and `bin` is the
    bin that lists it, in the last of these.
    """

    path: str
    kind: str
    project: str | None
    sha256: str | None
    length: int | None
    event: int | None
    state: str
    offers: Sequence[Offering]
    bin: str | None


def find_targets(connection: Connection, asked: Asked, path: str, sha256: str | None = None) -> list[TargetAnswer]:
    """The targets that ever had a path; given a SHA-256, only those with these bytes."""
    kinds = (_files, _artifacts, _pages)
    found = [each for kind in kinds for each in kind(connection, asked, path)]
    return [each for each in found if sha256 is None or each.sha256 in {None, sha256}]


def _files(connection: Connection, asked: Asked, path: str) -> Iterator[TargetAnswer]:
    places = Places(connection, asked)
    uploads = states.uploads_hashed(connection, path_hash(path))
    names = states.project_names(connection, {each.project for each in uploads})
    for upload in uploads:
        (found,) = standings(connection, upload.project, [upload])
        if found.path == path:
            offers = places.offerings(found.listed)
            yield TargetAnswer(
                path,
                "file",
                names[upload.project],
                upload.sha256.hex(),
                upload.length,
                upload.upload_idx,
                found.state,
                offers,
                _bin_of(connection, path, offers),
            )


def _artifacts(connection: Connection, asked: Asked, path: str) -> Iterator[TargetAnswer]:
    places = Places(connection, asked)
    rows = states.states_of_artifact(connection, path)
    for row in rows:
        if row.state != THERE:
            continue
        offer = places.offer(row.from_idx, row.to_idx)
        offers = [] if offer is None else [offer]
        state = "listed" if row is rows[-1] else "replaced" if _next(rows, row).state == THERE else "removed"
        where = _bin_of(connection, path, offers)
        yield TargetAnswer(path, "target", None, row.sha256.hex(), row.length, row.from_idx, state, offers, where)


def _next(rows: Sequence[states.ArtifactState], row: states.ArtifactState) -> states.ArtifactState:
    return rows[rows.index(row) + 1]


def _pages(connection: Connection, asked: Asked, path: str) -> Iterator[TargetAnswer]:
    if path in {JSON_LIST, HTML_LIST}:
        first = publication_rows.first_publication(connection)
        offers = _with_page(connection, asked, path, [] if first is None else [Offering(first.number, None)])
        yield TargetAnswer(path, "page", None, None, None, None, "listed", offers, _bin_of(connection, path, offers))
        return
    name = project_of_page(path) if TargetPlace(path, None).is_page else ""
    number = states.project_number(connection, name)
    rows = [] if number is None else states.states_of_project(connection, number)
    there = merged((each.from_idx, each.to_idx) for each in rows if not each.removed)
    if not there:
        return
    places = Places(connection, asked)
    offers = places.offerings(there)
    offers = _with_page(connection, asked, path, offers)
    state = "removed" if rows[-1].removed else "listed"
    where = _bin_of(connection, path, offers)
    yield TargetAnswer(path, "page", name, None, None, there[-1][0], state, offers, where)


def _with_page(connection: Connection, asked: Asked, path: str, offers: Sequence[Offering]) -> list[Offering]:
    """Those publications of offers that have pages of the form of this one: root says whether HTML is one."""
    if path.rpartition("/")[2] != HTML_PAGE:
        return list(offers)
    ranges: list[tuple[int, int]] = []
    had_pages = False
    for under in ceremonies.signed_under(connection):
        has_pages = load_authority(connection, under.roles_idx).settings.html_pages
        first, last = ceremonies.publications_under(connection, under.roles_idx)
        if has_pages:
            ranges.append((ranges.pop()[0], last) if had_pages else (first, last))
        had_pages = has_pages
    found = []
    for first, last in ranges:
        for each in offers:
            start, end = max(first, each.first), min(last, each.last or last)
            if start <= end:
                found.append(Offering(start, None if each.last is None and end == asked.number else end))
    return found


def _bin_of(connection: Connection, path: str, offers: Sequence[Offering]) -> str | None:
    """The bin of a path in the last publication that offered it."""
    if not offers:
        return None
    last = offers[-1].last
    row = (
        publication_rows.last_publication(connection)
        if last is None
        else publication_rows.load_publication(connection, last)
    )
    if row is None:
        raise AssertionError("a publication that offers something is there")
    layout = Remaking(connection).authority(row).layout
    return layout.name(layout.index_of_target(path))
