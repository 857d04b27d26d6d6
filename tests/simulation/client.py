"""The oracle: python-tuf's client, over a tree in memory."""

import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from tests.simulation.invariants import reachable
from tests.simulation.replay import NOWHERE

ROOT = "metadata/1.root.json"


class _Fetcher(FetcherInterface):
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix("memory:/")
        if path not in self._files:
            raise DownloadHTTPError(path, 404)
        yield self._files[path]


class Client:
    """A client that keeps its cache from one visit to the next."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(dir=NOWHERE))
        self.visits = 0

    def visit(self, files: Mapping[str, bytes], now: datetime) -> None:
        """Refresh, and get every page that is a target; what is no target is not found."""
        updater = Updater(
            str(self._folder),
            "memory:/metadata",
            str(self._folder),
            "memory:/targets",
            fetcher=_Fetcher(files),
            bootstrap=files[ROOT],
        )
        updater._trusted_set.reference_time = now  # python-tuf reads the machine's clock
        updater.refresh()
        for path in _pages(files):
            info = updater.get_targetinfo(path)
            assert info is not None, f"{path} is served, and no target for clients"
            with Path(updater.download_target(info, str(self._folder / "page"))).open("rb") as file:
                assert file.read() == files[f"targets/{path}"]
        assert updater.get_targetinfo("simple/no-such-project/index.json") is None
        self.visits += 1

    def close(self) -> None:
        """Forget the cache."""
        shutil.rmtree(self._folder)


def _pages(files: Mapping[str, bytes]) -> list[str]:
    """Pages by their target paths."""
    found = reachable(files)
    pages = {path.rpartition("/") for path in found if path.startswith("targets/simple/")}
    return sorted(f"{folder.removeprefix('targets/')}/{name.partition('.')[2]}" for folder, _, name in pages)
