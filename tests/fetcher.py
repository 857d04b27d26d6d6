"""The one way in which tests let python-tuf read: from a folder, or from files in memory, as if they were served."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

BASE = "https://repository.invalid/"
"""Where it seems to be."""

Read = Callable[[str], bytes | None]
"""Gives the file that is served under a path, or None."""


class Fetcher(FetcherInterface):
    """Serves what a function reads."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._read(unquote(url.removeprefix(BASE)))
        if data is None:
            raise DownloadHTTPError(f"{url} is not there", 404)
        return iter([data])


def from_folder(folder: Path) -> Read:
    """Read from a folder."""

    def read(path: str) -> bytes | None:
        try:
            return (folder / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    return read


def from_files(files: Mapping[str, bytes]) -> Read:
    """Read from files in memory, as they are when they are read."""
    return files.get


def new_updater(
    folder: Path,
    root: bytes,
    fetcher: FetcherInterface,
    *,
    base: str = BASE,
    now: datetime | None = None,
) -> Updater:
    """A client of python-tuf.

    Args:
        folder: keeps what it trusts and what it has downloaded, from one client to the next.
        root: the root that it begins with.
        fetcher: how it reads.
        base: where metadata and targets are below.
        now: the time on its clock; the machine's by default.
    """
    metadata, targets = folder / "metadata", folder / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    updater = Updater(str(metadata), f"{base}metadata/", str(targets), f"{base}targets/", fetcher, bootstrap=root)
    if now is not None:
        updater._trusted_set.reference_time = now  # python-tuf reads the machine's clock
    return updater
