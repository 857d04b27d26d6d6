"""A folder of distribution files without pages, as simple index servers and build machines have it."""

import asyncio
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from ledger.disk.files import reading
from ledger.distributions.distribution import Distribution, DistributionError, read_distribution
from ledger.simple.package_sources import Beside
from ledger.simple.source_pages import ENDINGS, SourceFile, SourcePage, UnreadableFile

_WITH_METADATA = (".whl", ".tar.gz", ".zip")
# A version begins with a digit in all but a few names.
_OLDER_NAME = re.compile(r"(.+?)[-_ ](?=v?[0-9])")


class FilesSource:
    """Implements `PackageSource` on a folder of files, and the folders in it.

    The name of a file says its project; where it does not, a project of that name has a file that cannot be read. The
    time of its last change counts as that of its upload. What a wheel or a source distribution says of itself is read
    from it; an old source distribution that cannot be read is listed without that, a wheel that cannot be read is not
    listed: installers may read it differently.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = str(folder)
        self._files: dict[str, list[Path]] | None = None
        self._lock = asyncio.Lock()

    async def projects(self) -> list[str]:
        """The normalised names of all projects (PEP 503), sorted, each once."""
        return sorted(await self._found())

    async def page(self, project: str) -> SourcePage | None:
        """What the page of a project would say; None if no file belongs to it. All its files are read."""
        paths = (await self._found()).get(project)
        return None if paths is None else await asyncio.to_thread(_page, project, paths)

    async def length(self, file: SourceFile) -> int | None:
        """The length of a file in bytes."""
        return file.size

    async def beside(self, file: SourceFile, what: Beside) -> bytes | None:
        """The core metadata of a wheel. There is no provenance."""
        if what == "provenance":
            return None
        return (await asyncio.to_thread(read_distribution, Path(file.url))).core_metadata

    async def download(self, file: SourceFile, to: Path) -> bool:
        """Copy a file; whether there is one."""
        path = Path(file.url)
        if not path.is_file():
            return False
        with reading(path):
            await asyncio.to_thread(shutil.copyfile, path, to)
        return True

    async def close(self) -> None:
        """Nothing is open."""

    async def _found(self) -> dict[str, list[Path]]:
        async with self._lock:
            if self._files is None:
                self._files = await asyncio.to_thread(_find, self._folder)
            return self._files


def _find(folder: Path) -> dict[str, list[Path]]:
    """The files of each project, sorted."""
    found: dict[str, list[Path]] = {}
    for path in sorted(_walk(folder)):
        found.setdefault(project_in(path.name) or canonicalize_name(path.name), []).append(path)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        with reading(error.filename or folder):
            raise error

    for above, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [each for each in folders if not each.startswith(".")]
        yield from (Path(above, each) for each in names if each.endswith(ENDINGS) and not each.startswith("."))


def project_in(filename: str) -> str | None:
    """The normalised project that a filename names; None if it does not."""
    if filename.endswith(".whl"):
        name, hyphen, _ = filename.partition("-")
        return str(canonicalize_name(name)) if hyphen else None
    try:
        return str(parse_sdist_filename(filename.replace(" ", "-"))[0])
    except (InvalidSdistFilename, ValueError):
        found = _OLDER_NAME.match(filename)
        return None if found is None else str(canonicalize_name(found[1].replace(" ", "-")))


def _page(project: str, paths: list[Path]) -> SourcePage:
    files: dict[str, SourceFile] = {}
    unreadable = []
    for path in paths:
        if project_in(path.name) is None:
            unreadable.append(
                UnreadableFile(path.name, "has a name that does not say of which project and version it is")
            )
            continue
        try:
            file = _read(path)
        except DistributionError as error:
            unreadable.append(UnreadableFile(path.name, str(error)))
            continue
        twin = files.setdefault(file.filename, file)
        if twin.sha256 != file.sha256:
            unreadable.append(UnreadableFile(path.name, f"{path} and {twin.url} have one name and different bytes"))
    return SourcePage(name=project, knows_flags=False, files=tuple(files.values()), unreadable=tuple(unreadable))


def _read(path: Path) -> SourceFile:
    said: Distribution | None = None
    if path.name.endswith(_WITH_METADATA):
        try:
            said = read_distribution(path)
        except DistributionError:
            if path.name.endswith(".whl"):
                raise
    with reading(path), path.open("rb") as file:
        state = os.fstat(file.fileno())
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        blake2b = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    changed_at = datetime.fromtimestamp(state.st_mtime_ns // 10**9, UTC)
    return SourceFile(
        filename=path.name,
        url=str(path),
        hashes={"sha256": sha256, "blake2b_256": blake2b},
        size=state.st_size,
        uploaded_at=changed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        requires_python=None if said is None else said.requires_python,
        has_core_metadata=said is not None and said.core_metadata is not None,
        core_metadata_sha256=None if said is None else said.core_metadata_sha256,
    )
