"""What TUF clients are shown now: python-tuf's own client visits what is served, with what it remembers."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import FetcherInterface, Updater

from ledger.disk.files import StorageError
from ledger.storage import ServedFiles
from projections.metadata.paths import METADATA, TARGETS

_ORIGIN = "https://served.invalid"


class ClientVisit(NamedTuple):
    """What a client was shown: the version of the timestamp (0: it refused what is served, and `error` says why), and
    for each wanted target its contents, None where no metadata lists it.
    """

    client: str
    version: int
    error: str
    targets: Mapping[str, bytes | None]


class _ServedFetcher(FetcherInterface):
    """Fetches what is served, wherever that is."""

    def __init__(self, served: ServedFiles) -> None:
        self._served = served

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = unquote(url.removeprefix(f"{_ORIGIN}/"))
        data = self._served.read(path)
        if data is None:
            raise DownloadHTTPError(f"there is no {path}", 404)
        yield data


def visit(
    name: str, served: ServedFiles, first_root: bytes, remembered: Mapping[str, bytes], wanted: Sequence[str]
) -> ClientVisit:
    """Let a client look at what is served.

    Args:
        name: what the client is called in answers.
        served: what is served.
        first_root: the root that it trusts from the beginning.
        remembered: the metadata files that it got before, by name (`timestamp.json`).
        wanted: the targets that it asks for.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept, got = Path(folder) / "metadata", Path(folder) / "targets"
        kept.mkdir()
        got.mkdir()
        for file, data in remembered.items():
            (kept / file).write_bytes(data)
        try:
            updater = Updater(
                str(kept),
                f"{_ORIGIN}/{METADATA}",
                str(got),
                f"{_ORIGIN}/{TARGETS}",
                fetcher=_ServedFetcher(served),
                bootstrap=first_root,
            )
            updater.refresh()
            found = {path: _download(updater, path) for path in wanted}
            version = json.loads((kept / "timestamp.json").read_bytes())["signed"]["version"]
        except (RepositoryError, DownloadError, StorageError, OSError) as error:
            return ClientVisit(name, 0, f"{type(error).__name__}: {error}", {})
    return ClientVisit(name, version, "", found)


def _download(updater: Updater, path: str) -> bytes | None:
    target = updater.get_targetinfo(path)
    return None if target is None else Path(updater.download_target(target)).read_bytes()
