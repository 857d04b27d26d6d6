"""Distribution files: the metadata of wheels and source distributions whose archives were read to the end.

    DistributionError   an index should not publish the file; the message says which file, why, and what to do

The checks are stricter than those of installers, but do not decide on acceptance: docs/rules.md does, when the event is
on the log.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser
from email.policy import compat32
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion
from packaging.version import Version as Pep440Version

from ledger.distributions.archives import BLOCK_BYTES, RefusalError, printable
from ledger.distributions.sources import read_tar_sdist_metadata, read_zip_sdist_metadata
from ledger.distributions.wheels import read_wheel_metadata
from schemas.errors import LedgerError
from schemas.fields import NewFilename, ProjectName, RequiresPython, Version

SUFFIXES = (".whl", ".tar.gz", ".zip")
MAX_NAME_CHARACTERS = 200

_CHANGED = "changed while it was read. Wait until it is complete, then try again."


class DistributionError(LedgerError):
    """An index should not publish the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A wheel or source distribution as of its reading.

    `version` is spelled as in the metadata, `project` is normalised (PEP 503), `display_name` is not. `core_metadata`
    is served beside the file (PEP 658 and 714): the METADATA of a wheel; None for a source distribution, since
    installers may not rely on its PKG-INFO. A caller that copies the file from `path` must compare the digest.
    """

    path: Path
    filename: str
    project: str
    display_name: str
    version: str
    requires_python: str | None
    length: int
    sha256: str
    blake2b_256: str
    core_metadata: bytes | None = field(repr=False)
    core_metadata_sha256: str | None


def find_distributions(paths: Iterable[Path]) -> Iterator[Path]:
    """Find files: given files as they are; in folders every `.whl`, `.tar.gz` and `.zip`, subfolders last.

    In folders, names are sorted, hidden entries are left out, and symbolic links to folders are not followed.

    Raises:
        DistributionError: a path does not exist, or a folder cannot be read.
    """
    for path in paths:
        with _refusals(path):
            is_folder = stat.S_ISDIR(_stat(path).st_mode)
        if is_folder:
            yield from _walk(path)
        else:
            yield path


def read_distribution(path: Path) -> Distribution:
    """Read everything that an upload event needs from a file. The archive is read to its end, so the file is complete.

    Raises:
        DistributionError: the file cannot be read, is damaged, contradicts its name, or breaks `schemas.fields`.
    """
    with _refusals(path), _open(path) as file:
        before = _state(file)
        try:
            return _read(path, file, before.st_size)
        finally:
            # If the file has changed, other errors do not matter.
            if _identity(before) != _identity(_state(file)):
                raise RefusalError(_CHANGED)


# --- files and folders -------------------------------------------------------------------------------------------


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Turn refusals and system errors into a `DistributionError` that names the file."""
    try:
        yield
    except RefusalError as error:
        raise DistributionError(f"{_show_path(path)} {error}") from error
    except FileNotFoundError as error:
        raise DistributionError(f"{_show_path(path)} does not exist. Check the path.") from error
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise DistributionError(f"{_show_path(path)} cannot be read ({why}). Check the path and its mode.") from error


def _show_path(path: Path) -> str:
    return printable(str(path), 4096)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except ValueError as error:  # a NUL, or what the file system's encoding lacks
        raise RefusalError("is not a path that a file can have. Check the path.") from error


def _open(path: Path) -> BinaryIO:
    _check_kind(_stat(path))
    # The file may have been replaced meanwhile: opening a named pipe must not wait for its writer.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    try:
        _check_kind(_state(file))
    except RefusalError:
        file.close()
        raise
    return file


def _state(file: BinaryIO) -> os.stat_result:
    return os.fstat(file.fileno())


def _identity(state: os.stat_result) -> tuple[int, int, int]:
    # The time of the last change cannot be set back, that of the last modification can.
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _check_kind(state: os.stat_result) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise RefusalError("is a folder. Name a distribution file.")
    if not stat.S_ISREG(state.st_mode):
        raise RefusalError("is not a plain file. Name a distribution file.")
    if state.st_size == 0:
        raise RefusalError("is empty. Get or build it again.")


def _walk(folder: Path) -> Iterator[Path]:
    left = [folder]
    while left:
        current = left.pop()
        folders = []
        for entry in _list(current):
            path = Path(entry.path)
            with _refusals(path):
                is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                folders.append(path)
            elif entry.name.endswith(SUFFIXES):
                yield path
        left.extend(reversed(folders))


def _list(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, without hidden ones."""
    with _refusals(folder), os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _hash(file: BinaryIO, length: int) -> tuple[str, str]:
    """SHA-256 and BLAKE2b-256 of the whole file, in one pass."""
    sha256 = hashlib.sha256()
    blake2b = hashlib.blake2b(digest_size=32)
    while block := file.read(BLOCK_BYTES):
        length -= len(block)
        if length < 0:  # it grows, perhaps for ever
            raise RefusalError(_CHANGED)
        sha256.update(block)
        blake2b.update(block)
    return sha256.hexdigest(), blake2b.hexdigest()


# --- what a distribution says about itself -----------------------------------------------------------------------


def _read(path: Path, file: BinaryIO, length: int) -> Distribution:
    project, version_in_name = _parse_filename(path.name)
    sha256, blake2b_256 = _hash(file, length)
    file.seek(0)
    metadata = _read_metadata(path.name, file, length, project, version_in_name)
    headers = _parse_headers(metadata)
    core_metadata = metadata if path.name.endswith(".whl") else None
    return Distribution(
        path=path,
        filename=path.name,
        project=project,
        display_name=_parse_name(headers, project),
        version=_parse_version(headers, version_in_name),
        requires_python=_parse_requires_python(headers),
        length=length,
        sha256=sha256,
        blake2b_256=blake2b_256,
        core_metadata=core_metadata,
        core_metadata_sha256=None if core_metadata is None else hashlib.sha256(core_metadata).hexdigest(),
    )


def _read_metadata(filename: str, file: BinaryIO, length: int, project: str, version: Pep440Version) -> bytes:
    if filename.endswith(".whl"):
        return read_wheel_metadata(file, length, project, version)
    if filename.endswith(".zip"):
        return read_zip_sdist_metadata(file, length)
    return read_tar_sdist_metadata(file, length)


def _parse_filename(filename: str) -> tuple[str, Pep440Version]:
    """The normalised project and the version in a filename."""
    if not _fits(filename, NewFilename):
        raise RefusalError(
            "has a name that an index cannot serve: at most 190 ASCII letters, digits and . _ + ! -, the first one a "
            "letter, digit or underscore. Build it again; a distribution must not be renamed."
        )
    try:
        if filename.endswith(".whl"):
            project, version, _, _ = parse_wheel_filename(filename)
        else:
            project, version = parse_sdist_filename(filename)
    except ValueError as error:
        raise RefusalError(
            f"is not named like a wheel (PEP 427) or a source distribution (PEP 625): {printable(str(error))}. "
            "Build it again; a distribution must not be renamed."
        ) from error
    if not _fits(project, ProjectName):
        raise RefusalError(
            f"is named for a project '{project}', which is not a valid name (PEP 503). Rename the project."
        )
    return project, version


def _parse_headers(metadata: bytes) -> Message:
    """The headers, as installers read them.

    This is the first step of `packaging.metadata.parse_email`. The rest of that function takes time that grows with the
    square of the number of headers, and asserts that the body is not a nested message.
    """
    return HeaderParser(policy=compat32).parsestr(metadata.decode("utf-8", "replace"))


def _parse_header(headers: Message, name: str) -> str | None:
    """A header's value, unfolded; None if it is absent or empty."""
    values = headers.get_all(name, [])
    if len(values) > 1:
        raise RefusalError(f"says its {name} {len(values)} times. Build it again with a current build tool.")
    return " ".join(line.strip() for line in "".join(values).splitlines()).strip() or None


def _parse_name(headers: Message, project: str) -> str:
    name = _parse_header(headers, "Name")
    if name is None:
        raise RefusalError("has metadata without a Name. Build it again with a current build tool.")
    if canonicalize_name(name) != project or not name.isascii() or len(name) > MAX_NAME_CHARACTERS:
        raise RefusalError(
            f"belongs to the project '{project}' by its name, to '{printable(name)}' by its metadata. "
            "Build it again; a distribution must not be renamed."
        )
    return name


def _parse_version(headers: Message, version_in_name: Pep440Version) -> str:
    version = _parse_header(headers, "Version")
    if version is None:
        raise RefusalError("has metadata without a Version. Build it again with a current build tool.")
    if not _fits(version, Version):
        raise RefusalError(
            f"has metadata with a Version that an index cannot serve: '{printable(version)}'. Change it."
        )
    try:
        parsed = Pep440Version(version)
    except InvalidVersion as error:
        raise RefusalError(f"has the version '{version}', which is not one of PEP 440. Change it.") from error
    if parsed != version_in_name:
        raise RefusalError(
            f"has version {version_in_name} by its name, {version} by its metadata. "
            "Build it again; a distribution must not be renamed."
        )
    return version


def _parse_requires_python(headers: Message) -> str | None:
    text = _parse_header(headers, "Requires-Python")
    if text is None:
        return None
    # Indexes serve specifiers that are not well-formed as they are, and installers know what to do with them.
    if not _fits(text, RequiresPython):
        raise RefusalError(
            f"has a Requires-Python, '{printable(text)}', that is not printable ASCII of at most 512 characters. "
            "Change it."
        )
    return text


def _fits(value: str, constrained: Any) -> bool:
    """Whether a string fits one of `schemas.fields`."""
    try:
        msgspec.convert(value, constrained)
    except msgspec.ValidationError:
        return False
    return True
