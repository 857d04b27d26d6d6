"""Metadata of any publication, re-made from the rows of a catalog, byte for byte.

A file is what the log says only if its SHA-256 is the one on the log: `RoleFile.is_same`. Whoever compares needs no key
and need not trust who made the catalog.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from consumers.catalog.filling import load_authority, read_ledger
from ledger.catalog import content, publication_rows, writing
from ledger.catalog.content import FileRow, ProjectRow, Range, ReleaseFlags
from ledger.catalog.database import Connection
from ledger.catalog.states import UploadRow
from ledger.catalog.tables import FREED, WITHHELD
from ledger.catalog.writing import PublicationRow
from projections.index.pages import (
    FileCodec,
    FileFacts,
    ProjectHeader,
    Release,
    html_list,
    html_page,
    json_list,
    json_page,
)
from projections.index.project_list import entry_of_project
from projections.index.upload_times import Bracket, UploadTimes, is_later, pack_brackets
from projections.log.prefix import Ledger
from projections.metadata.paths import HTML_LIST, HTML_PAGE, JSON_LIST, JSON_PAGE, package_target, page_target
from projections.metadata.repository import (
    LENGTH_ABOVE_BYTES,
    RoleEntry,
    SnapshotFile,
    SnapshotTable,
    bin_payload,
    expires_at,
    render_timestamp,
    signed_file,
)
from projections.metadata.targets import target_entry
from projections.roles.authority import Authority
from schemas.publications import Claim

SNAPSHOT, TIMESTAMP = "snapshot", "timestamp"

_LONGEST_ENTRY_BYTES = 700
"""No entry of a bin is longer: a path has at most 512 characters."""

_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class RoleFile(NamedTuple):
    """A version of a role: the file as re-made, and the SHA-256 that the log says it has."""

    role: str
    version: int
    data: bytes
    sha256: str

    @property
    def is_same(self) -> bool:
        """Whether the file is the one that was published."""
        return sha256(self.data).hexdigest() == self.sha256


class ListedTarget(NamedTuple):
    """A target of a publication."""

    path: str
    length: int
    sha256: str


class Remaking:
    """Re-makes files over one connection, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._authorities: dict[int, Authority] = {}
        self._publications: dict[int, PublicationRow | None] = {}
        self._brackets: list[tuple[int, int, PublicationRow, str]] = []
        self._new_times: list[tuple[int, str]] | None = None
        self._new_times_up_to = -1
        self._ledger: Ledger | None = None

    def publication(self, number: int) -> PublicationRow | None:
        """A publication by its number."""
        if number not in self._publications:
            self._publications[number] = publication_rows.load_publication(self._connection, number)
        return self._publications[number]

    def authority(self, row: PublicationRow) -> Authority:
        """The offline roles of a publication."""
        found = self._authorities.get(row.roles_idx)
        if found is None:
            found = self._authorities[row.roles_idx] = load_authority(self._connection, row.roles_idx)
        return found

    # --- files of roles ------------------------------------------------------------------------------------------

    def role_file(self, role: str, version: int) -> RoleFile | None:
        """A version of a bin, the snapshot or the timestamp; None if no publication signed it."""
        found = publication_rows.role_version(self._connection, role, version)
        row = self.publication(version)
        if found is None or row is None:
            return None
        authority = self.authority(row)
        if role == SNAPSHOT:
            payload = self._snapshot(row, authority)
        elif role == TIMESTAMP:
            payload = self._timestamp(row, authority)
        else:
            payload = self._bin(role, row, authority)
        signatures = {
            keyid: each.hex()
            for keyid, each in zip(authority.online.keyids, _unpack(found.signatures), strict=True)
            if each
        }
        return RoleFile(role, version, signed_file(payload, signatures), found.sha256.hex())

    def _bin(self, role: str, row: PublicationRow, authority: Authority) -> bytes:
        index = authority.layout.index(role)
        if index is None:
            raise AssertionError(f"publication {row.number} signed {role}, which its layout does not have")
        expires = expires_at(row.time, authority.settings.bin_expiry_seconds)
        targets = self.bin_targets(index, row)
        return bin_payload([target_entry(*each) for each in targets], row.number, expires)

    def _snapshot(self, row: PublicationRow, authority: Authority) -> bytes:
        versions = publication_rows.versions_at(self._connection, row.number)
        long = self._long_bins(row, authority)
        entries = {
            role: RoleEntry(version, "", self._length(role, version) if role in long else 0)
            for role, version in versions.items()
            if role not in {SNAPSHOT, TIMESTAMP}
        }
        return SnapshotTable(entries).payload(self._claim(row), authority, row.content_size)

    def _long_bins(self, row: PublicationRow, authority: Authority) -> set[str]:
        """The bins that may be so long that a snapshot states their length."""
        most = LENGTH_ABOVE_BYTES // _LONGEST_ENTRY_BYTES
        if content.count_targets(self._connection) <= most:
            return set()
        layout = authority.layout
        return {layout.name(index) for index in content.crowded(self._connection, layout.bits, most)}

    def _length(self, role: str, version: int) -> int:
        file = self.role_file(role, version)
        return 0 if file is None else len(file.data)

    def _timestamp(self, row: PublicationRow, authority: Authority) -> bytes:
        snapshot = publication_rows.role_version(self._connection, SNAPSHOT, row.number)
        if snapshot is None:
            raise AssertionError("a publication has a snapshot")
        file = SnapshotFile(snapshot.sha256.hex(), row.snapshot_length)
        return render_timestamp(self._claim(row), file, row.signed_sha256.hex(), authority)

    def _claim(self, row: PublicationRow) -> Claim:
        """What files say of the claim of a publication."""
        if self._ledger is None:
            self._ledger = read_ledger(writing.load_position(self._connection))
        return Claim(
            format=1,
            origin=self._ledger.origin,
            number=row.number,
            previous="",
            time=row.time,
            size=row.size,
            root_hash=row.root_hash,
            renew=(),
        )

    # --- targets -------------------------------------------------------------------------------------------------

    def bin_targets(self, index: int, row: PublicationRow) -> list[ListedTarget]:
        """The targets in a bin of a publication, in order."""
        connection, size, authority = self._connection, row.content_size, self.authority(row)
        layout = authority.layout
        width = 1 << (32 - layout.bits)
        hashes = Range(index * width, (index + 1) * width)
        targets = [
            ListedTarget(each.path, each.length, each.sha256.hex())
            for each in content.artifacts_in(connection, hashes, size)
        ]
        targets += self._files_in(hashes, size)
        for name, is_html in ((JSON_PAGE, False), (HTML_PAGE, True)):
            if is_html and not authority.settings.html_pages:
                continue
            for project in content.projects_in(connection, hashes, size, html=is_html):
                if not project.removed:
                    page = self._page(project, row, html=is_html)
                    targets.append(ListedTarget(page_target(project.name, name), len(page), sha256(page).hexdigest()))
        for path, is_html in ((JSON_LIST, False), (HTML_LIST, True)):
            if layout.index_of_target(path) == index and (authority.settings.html_pages or not is_html):
                data = self.project_list(row, html=is_html)
                targets.append(ListedTarget(path, len(data), sha256(data).hexdigest()))
        return sorted(targets)

    def _files_in(self, hashes: Range, size: int) -> list[ListedTarget]:
        """The listed files with these hashes."""
        return list(listed_files(self._connection, content.files_in(self._connection, hashes, size), size).values())

    def page(
        self, name: str, row: PublicationRow, *, html: bool = False, without_withheld: bool = False
    ) -> bytes | None:
        """The page of a project in a publication; None if it shows none.

        With `without_withheld`, it is the page without files that the last publication withholds.
        """
        project = content.project_named(self._connection, name, row.content_size)
        if project is None or project.removed:
            return None
        return self._page(project, row, html=html, without=self._withheld(project) if without_withheld else ())

    def _withheld(self, project: ProjectRow) -> set[int]:
        """The files of a project that the last publication withholds."""
        last = publication_rows.last_publication(self._connection)
        if last is None:
            raise AssertionError("there is a publication with pages")
        rows = content.files_of(self._connection, project.id, last.content_size, removed=True)
        return {each.id for each in rows if each.state in {WITHHELD, FREED}}

    def _page(self, project: ProjectRow, row: PublicationRow, *, html: bool, without: Collection[int] = ()) -> bytes:
        header, facts = self.project_at(project, row, without=without)
        chunk = FileCodec(header, html=html).render("", [(each.filename, each) for each in facts])
        return (html_page if html else json_page)(project.name, header, [chunk])

    def project_list(self, row: PublicationRow, *, html: bool = False) -> bytes:
        """The list of all projects in a publication."""
        names = content.project_names(self._connection, row.list_size)
        if html:
            return html_list(names, row.list_size - 1)
        return json_list(b",".join(map(entry_of_project, names)), row.list_size - 1)

    # --- a project at a size -------------------------------------------------------------------------------------

    def project_at(
        self, project: ProjectRow, row: PublicationRow, *, without: Collection[int] = ()
    ) -> tuple[ProjectHeader, list[FileFacts]]:
        """What a page of a publication is rendered from: the header, and the files that are there, by name; those but
        for some, given by their numbers.
        """
        connection, size = self._connection, row.content_size
        rows = [each for each in content.files_of(connection, project.id, size) if each.id not in without]
        flags = content.release_flags(connection, [project.id], size)
        releases: dict[str, Release] = {}
        for each in rows:
            flag = flags.get((project.id, each.release)) or ReleaseFlags(project.id, each.release, None, None)
            release = releases.setdefault(each.release, Release({}, flag.yanked, flag.quarantined))
            release.add(each.version)
        for key, release in releases.items():
            if len(release.spellings) > 1:
                self._order(project.id, key, release, size)
        serial = content.last_serials(connection, [project.id], size)[project.id]
        header = ProjectHeader(project.status, project.reason, bool(project.removed), serial, releases=releases)
        times = self.upload_times(rows, row)
        return header, [_facts(each, time) for each, time in zip(rows, times, strict=True)]

    def _order(self, project: int, key: str, release: Release, size: int) -> None:
        """Sort the spellings of a release by when they came and did not go since."""
        since: dict[str, tuple[int, int]] = {}
        for version, from_idx, to_idx in content.offered_since(self._connection, project, key, size):
            first, end = since.get(version, (from_idx, to_idx))
            # No event takes a file away and brings another one, but a yank ends one interval and begins the next.
            since[version] = (first, max(end, to_idx)) if from_idx <= end else (from_idx, to_idx)
        release.spellings = dict(sorted(release.spellings.items(), key=lambda item: since[item[0]][0]))

    # --- upload times --------------------------------------------------------------------------------------------

    def upload_times(self, rows: Sequence[FileRow] | Sequence[UploadRow], row: PublicationRow) -> list[str]:
        """The upload times that a publication shows for files that it shows (docs/rules.md, section 3)."""
        terms = self.authority(row).terms
        found = []
        for each in rows:
            first, not_before = self._bracket(each.upload_idx)
            bracket = Bracket(first.content_size, not_before, first.time)
            time = UploadTimes(pack_brackets([bracket])).shown(each.upload_idx, each.time, terms)
            for number, new_time in self._times_up_to(row.number):
                if number > first.number and is_later(time, new_time):
                    time = new_time
            found.append(time)
        return found

    def _bracket(self, index: int) -> tuple[PublicationRow, str]:
        """The first publication that shows an event, and the time of the one before (empty: there is none)."""
        place = bisect_right(self._brackets, index, key=lambda each: each[0]) - 1
        if place >= 0 and index < self._brackets[place][1]:
            return self._brackets[place][2:]
        first = publication_rows.first_showing(self._connection, index)
        if first is None:
            raise LookupError(f"no publication shows event {index}")
        before = writing.publication_before(self._connection, first.number)
        start = 0 if before is None else before.content_size
        self._brackets.insert(place + 1, (start, first.content_size, first, "" if before is None else before.time))
        return first, "" if before is None else before.time

    def _times_up_to(self, number: int) -> list[tuple[int, str]]:
        if self._new_times is None or self._new_times_up_to < number:
            self._new_times = publication_rows.new_times(self._connection, number)
            self._new_times_up_to = number
        return [each for each in self._new_times if each[0] <= number]


def listed_files(connection: Connection, rows: Sequence[FileRow], size: int) -> dict[str, ListedTarget]:
    """What bins list at a size of these files, which are all that are there of their paths: targets by path.

    Of several with one path, that of the lowest rank counts.
    """
    numbers = sorted({each.project for each in rows})
    known = content.projects_numbered(connection, numbers, size)
    flags = content.release_flags(connection, numbers, size)
    best: dict[str, tuple[int, str, int]] = {}
    for each in rows:
        release = flags.get((each.project, each.release))
        if is_hidden(known[each.project]) or (release and release.quarantined is not None):
            continue
        path = package_target(each.blake2b_256.hex(), each.filename)
        entry = (each.rank, each.sha256.hex(), each.length)
        best[path] = min(entry, best.get(path, entry))
    return {path: ListedTarget(path, length, digest) for path, (_, digest, length) in best.items()}


def is_hidden(project: ProjectRow) -> bool:
    """Whether none of a project's files is listed."""
    return bool(project.removed) or project.status == "quarantined"


def _facts(row: FileRow, time: str) -> FileFacts:
    core, provenance = row.core_metadata_sha256, row.provenance_sha256
    return FileFacts(
        row.filename,
        row.version,
        row.release,
        row.length,
        row.sha256.hex(),
        row.blake2b_256.hex(),
        time,
        row.requires_python,
        None if core is None else core.hex(),
        None if provenance is None else provenance.hex(),
        bool(row.legacy),
        row.rank,
        row.yanked,
    )
