"""Clients of a tree in memory: the oracle of all tests, asked by one client with a cache of its own."""

import shutil
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import mkdtemp

from tests.oracle import look
from tests.simulation.invariants import reachable
from tests.simulation.replay import NOWHERE

ROOT = "metadata/1.root.json"
NO_PAGE = "simple/no-such-project/index.json"


class Client:
    """A client that keeps its cache from one visit to the next."""

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(dir=NOWHERE))
        self.visits = 0

    def visit(self, files: Mapping[str, bytes], now: datetime) -> None:
        """Refresh, and get every page that is a target; what is no target is not found."""
        pages = _pages(files)
        seen = look(files, files[ROOT], self._folder, now, others=[*pages, NO_PAGE])
        expected = {path: sha256(files[f"targets/{path}"]).hexdigest() for path in pages}
        assert seen.others == {**expected, NO_PAGE: None}
        self.visits += 1

    def close(self) -> None:
        """Forget the cache."""
        shutil.rmtree(self._folder)


def _pages(files: Mapping[str, bytes]) -> list[str]:
    """Pages by their target paths."""
    found = reachable(files)
    pages = {path.rpartition("/") for path in found if path.startswith("targets/simple/")}
    return sorted(f"{folder.removeprefix('targets/')}/{name.partition('.')[2]}" for folder, _, name in pages)
