"""The files of a publication that proofs need, re-made from a catalog, and the events that they are about."""

from typing import NamedTuple

import orjson

from consumers.catalog.remaking import SNAPSHOT, TIMESTAMP, Remaking
from consumers.catalog.rows import path_hash
from ledger.catalog import CatalogError, content, publication_rows, writing
from ledger.catalog.content import UploadedFile
from ledger.catalog.database import Connection
from projections.metadata.paths import PACKAGES, is_page, package_target, project_of_page
from schemas.errors import NegativeAnswerError
from schemas.proof_files import PublishedProof, TargetPart


class Listed(NamedTuple):
    """A target that a publication offers: the files that lead to it, and the event that it comes from (None: none)."""

    part: TargetPart
    event: int | None


class PublishedFiles(NamedTuple):
    """The files of a publication, with all roots up to the one in force."""

    number: int
    size: int
    roots: tuple[str, ...]
    part: PublishedProof


class PublishedReader:
    """Reads a publication from a catalog, in one transaction.

    Raises:
        NegativeAnswerError: there is no such publication.
    """

    def __init__(self, connection: Connection, number: int | None) -> None:
        self._connection = connection
        self._remaking = Remaking(connection)
        last = publication_rows.last_publication(connection)
        row = last if number is None else self._remaking.publication(number)
        if last is None:
            raise NegativeAnswerError("nothing was published yet: the log holds no valid publication")
        if row is None:
            raise NegativeAnswerError(f"there is no publication {number}; the last one is number {last.number}")
        self._row = row

    def files(self) -> PublishedFiles:
        """Its timestamp and snapshot, with the roots up to it."""
        row = self._row
        documents = writing.load_documents(self._connection)
        roots = tuple(each.file.decode() for each in documents if each.role == "root" and each.idx <= row.roles_idx)
        part = PublishedProof(
            root=len(roots), timestamp=self._file(TIMESTAMP, row.number), snapshot=self._file(SNAPSHOT, row.number)
        )
        return PublishedFiles(row.number, row.size, roots, part)

    def listed(self, path: str) -> Listed | None:
        """A target; None if the publication does not offer it."""
        authority, row = self._remaking.authority(self._row), self._row
        name = authority.layout.name(authority.layout.index_of_target(path))
        file = self._file(name, publication_rows.last_version(self._connection, name, row.number) or 0)
        entry = orjson.loads(file)["signed"]["targets"].get(path)
        if entry is None:
            return None
        part = TargetPart(
            path=path, targets=authority.targets.file.decode(), bins=authority.bins.file.decode(), bin=file
        )
        return Listed(part, self._event_of(path, bytes.fromhex(entry["hashes"]["sha256"]), entry["length"]))

    def _event_of(self, path: str, sha256: bytes, length: int) -> int | None:
        """The event that a target comes from: of a page, the last one that it shows."""
        connection, size = self._connection, self._row.content_size
        if is_page(path):
            project = content.project_named(connection, project_of_page(path), size)
            return None if project is None else content.last_serials(connection, [project.id], size)[project.id]
        if not path.startswith(PACKAGES):
            return content.artifact_since(connection, path, sha256, size)
        name = path.rpartition("/")[2]
        uploads = content.uploads_of(connection, path_hash(path), UploadedFile(name, sha256, length), size)
        return next(each.upload_idx for each in uploads if package_target(each.blake2b_256.hex(), name) == path)

    def _file(self, role: str, version: int) -> str:
        file = self._remaking.role_file(role, version)
        if file is None or not file.is_same:
            raise CatalogError(
                f"version {version} of {role} cannot be re-made from the catalog. Make it anew with "
                "`tuf-ledger catalog rebuild`"
            )
        return file.data.decode()
