"""The facts of a file that a page does not say, and its bytes.

What a page says of bytes that are not read is believed: its source is the index that is imported. What is read is
compared with it.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

from consumers.produce.storing import store
from ledger.disk.files import reading
from ledger.distributions.distribution import Distribution
from ledger.simple.package_sources import Beside, PackageSource
from ledger.simple.source_pages import SourceFile
from ledger.storage import Storage
from projections.index.pages import FileFacts
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path
from schemas.errors import NegativeAnswerError

CORE_METADATA: Final = "core-metadata"
PROVENANCE: Final = "provenance"
_BESIDE: Final[Mapping[Beside, str]] = {"metadata": "core metadata", "provenance": "provenance"}
_BLOCK_BYTES = 2**20


class BytesRead(NamedTuple):
    """The length and the digests of bytes."""

    length: int
    sha256: str
    blake2b_256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigests:
    """What an event says of bytes. `unlearnt` names facts that the page promises and the source does not have;
    `downloaded` is how many bytes of the file were read.
    """

    bytes: BytesRead
    core_metadata_sha256: str | None = None
    provenance_sha256: str | None = None
    unlearnt: tuple[str, ...] = ()
    downloaded: int = 0


class _Beside(NamedTuple):
    """What stands beside a file, as far as it was read."""

    metadata: bytes | None
    provenance: bytes | None


def needs_bytes(file: SourceFile) -> bool:
    """Whether a file must be downloaded to be known: its page and its address do not say both digests."""
    return file.sha256 is None or file.blake2b_256 is None


class Gathering:
    """Learns what pages do not say; with a `storage`, also stores files and what is beside them.

    Args:
        source: what is read.
        storage: where files are stored; None: nowhere.
        folder: where downloads are, until they are checked.

    Raises:
        NegativeAnswerError: the source does not have a file that it lists, or its bytes are not what the page says.
        StorageError, PackageSourceError: the source cannot be read, or a file cannot be stored.
    """

    def __init__(self, source: PackageSource, storage: Storage | None, folder: Path) -> None:
        self._source = source
        self._storage = storage
        self._folder = folder

    @property
    def stores(self) -> bool:
        """Whether files are stored."""
        return self._storage is not None

    async def length(self, file: SourceFile) -> int | None:
        """The length of a file in bytes; None: it has to be downloaded to know it."""
        return file.size if file.size is not None else await self._source.length(file)

    async def learn(self, project: str, version: str, file: SourceFile) -> FileDigests:
        """The facts of a new file. With a storage, it is stored: an event may name it then."""
        beside = await self._read_beside(file, all_of_it=self.stores)
        unlearnt = []
        core_metadata = file.core_metadata_sha256
        if file.has_core_metadata and (self.stores or core_metadata is None):
            core_metadata = _checked(beside.metadata, core_metadata, _BESIDE["metadata"])
            unlearnt += [CORE_METADATA] if core_metadata is None else []
        if file.provenance_url is not None and beside.provenance is None:
            unlearnt.append(PROVENANCE)
        found = await self._known(file)
        downloaded = 0
        if found is None:
            found = await self._download(project, version, file, beside)
            downloaded = found.length
        return FileDigests(
            bytes=found,
            core_metadata_sha256=core_metadata,
            provenance_sha256=None if beside.provenance is None else hashlib.sha256(beside.provenance).hexdigest(),
            unlearnt=tuple(unlearnt),
            downloaded=downloaded,
        )

    async def lacks(self, facts: FileFacts) -> bool:
        """Whether a file of the ledger is to be stored: it is not, and files are stored."""
        return self._storage is not None and not await asyncio.to_thread(_is_there, self._storage, facts)

    async def fetch(self, project: str, file: SourceFile, facts: FileFacts) -> int:
        """Store a file of the ledger and what is beside it, as far as that is not stored; return how many bytes of the
        file were downloaded.
        """
        if self._storage is None:
            return 0
        if not await self.lacks(facts):
            await self._complete(self._storage, file, facts)
            return 0
        beside = await self._read_beside(file, all_of_it=True)
        has_metadata, has_provenance = facts.core_metadata_sha256 is not None, facts.provenance_sha256 is not None
        _checked(beside.metadata if has_metadata else None, facts.core_metadata_sha256, _BESIDE["metadata"])
        _checked(beside.provenance if has_provenance else None, facts.provenance_sha256, _BESIDE["provenance"])
        kept = _Beside(beside.metadata if has_metadata else None, beside.provenance if has_provenance else None)
        said = {"sha256": facts.sha256, "blake2b_256": facts.blake2b_256}
        return (await self._download(project, facts.version, file, kept, said)).length

    async def _complete(self, storage: Storage, file: SourceFile, facts: FileFacts) -> None:
        """Store what is missing beside a file that is stored: an import may have ended between the two."""
        missing = await asyncio.to_thread(_missing_beside, storage, facts)
        for what, path, said in missing:
            if what == "metadata" and not file.has_core_metadata:
                continue
            data = await self._source.beside(file, what)
            _checked(data, said, _BESIDE[what])
            if data is not None:
                await asyncio.to_thread(storage.replace, path, data)

    async def _known(self, file: SourceFile) -> BytesRead | None:
        """What the source says of a file's bytes; None: they have to be read, or are to be stored."""
        if self.stores or file.sha256 is None or file.blake2b_256 is None:
            return None
        length = await self.length(file)
        return None if length is None else BytesRead(length, file.sha256, file.blake2b_256)

    async def _read_beside(self, file: SourceFile, *, all_of_it: bool) -> _Beside:
        """Read what is beside a file: provenance, since a page has no digest of it; core metadata where that is so."""
        metadata = provenance = None
        if file.has_core_metadata and (all_of_it or file.core_metadata_sha256 is None):
            metadata = await self._source.beside(file, "metadata")
        if file.provenance_url is not None:
            provenance = await self._source.beside(file, "provenance")
        return _Beside(metadata, provenance)

    async def _download(
        self, project: str, version: str, file: SourceFile, beside: _Beside, more: Mapping[str, str] | None = None
    ) -> BytesRead:
        """Download a file, compare it with what is said of it, and store it, if files are stored."""
        path = self._folder / str(uuid4())
        try:
            if not await self._source.download(file, path):
                raise NegativeAnswerError("the source lists it, and has no such file")
            found = await asyncio.to_thread(_read, path, file, more or {})
            if self._storage is not None:
                what = Distribution(
                    path=path,
                    filename=file.filename,
                    project=project,
                    display_name=project,
                    version=version,
                    requires_python=file.requires_python,
                    core_metadata=beside.metadata,
                    core_metadata_sha256=_sha256(beside.metadata),
                    **found._asdict(),
                )
                await asyncio.to_thread(_store, self._storage, what, beside.provenance)
        finally:
            with suppress(FileNotFoundError):
                path.unlink()
        return found


def _checked(data: bytes | None, said: str | None, what: str) -> str | None:
    """The SHA-256 of what was read beside a file; None if it is not there.

    Raises:
        NegativeAnswerError: it is not what was said of it.
    """
    found = _sha256(data)
    if found is not None and said not in {None, found}:
        raise NegativeAnswerError(f"its {what} has the SHA-256 {found}, not {said}, as is said of it")
    return found


def _sha256(data: bytes | None) -> str | None:
    return None if data is None else hashlib.sha256(data).hexdigest()


def _is_there(storage: Storage, facts: FileFacts) -> bool:
    hashed = hashed_path(facts.path, facts.sha256)
    # Both names, since a process can end between the two.
    stored = all(storage.entry(each) is not None for each in (hashed, plain_path(facts.path)))
    return stored or storage.evidence.has(hashed)


def _missing_beside(storage: Storage, facts: FileFacts) -> list[tuple[Beside, str, str]]:
    """What the ledger says stands beside a file and is not stored: its kind, its path, its SHA-256. Nothing if the file
    is withheld.
    """
    if storage.evidence.has(hashed_path(facts.path, facts.sha256)):
        return []
    digests: dict[Beside, str | None] = {
        "metadata": facts.core_metadata_sha256,
        "provenance": facts.provenance_sha256,
    }
    missing: list[tuple[Beside, str, str]] = []
    for what, said in digests.items():
        path = companion_path(facts.path, what)
        if said is not None and storage.entry(path) is None:
            missing.append((what, path, said))
    return missing


def _read(path: Path, file: SourceFile, more: Mapping[str, str]) -> BytesRead:
    """Read a file to its end, and compare it with all that is said of it.

    Raises:
        NegativeAnswerError: it is another one.
    """
    said = {**file.hashes, **({"blake2b_256": file.blake2b_256} if file.blake2b_256 else {}), **more}
    known = {name for name in said if name in hashlib.algorithms_guaranteed and not name.startswith("shake")}
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in {*known, "sha256"}}
    blake2b = hashlib.blake2b(digest_size=32)
    length = 0
    with reading(path), path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            length += len(block)
            blake2b.update(block)
            for digest in digests.values():
                digest.update(block)
    found = {name: digest.hexdigest() for name, digest in digests.items()} | {"blake2b_256": blake2b.hexdigest()}
    if file.size not in {None, length}:
        raise NegativeAnswerError(f"it has {length:,} bytes, not {file.size:,}, as is said of it")
    for name in sorted(said.keys() & found.keys()):
        if said[name] != found[name]:
            raise NegativeAnswerError(f"it has the {name} {found[name]}, not {said[name]}, as is said of it")
    return BytesRead(length, found["sha256"], found["blake2b_256"])


def _store(storage: Storage, what: Distribution, provenance: bytes | None) -> None:
    store(storage, what)
    if provenance is not None:
        path = companion_path(package_target(what.blake2b_256, what.filename), PROVENANCE)
        storage.replace(path, provenance)
