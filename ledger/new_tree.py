"""A tree of files that nobody sees before it is whole: each is written where it belongs, without staging or syncing."""

import os
from pathlib import Path

from ledger.storage import write_file


class NewTree:
    """Writes files below a folder. Writing one again does no harm: whoever was interrupted just goes on.

    Paths are relative, with `/`, and name nothing outside: they are made by projections.
    """

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"

    def put(self, path: str, data: bytes) -> str:
        """Write a file; it needs no other name to be found."""
        try:
            write_file(self._root + path, data)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._root + path), exist_ok=True)  # noqa: PTH103, PTH120  # a hot path
            write_file(self._root + path, data)
        return ""

    def show(self, path: str, source: str) -> None:
        """Make a path show what another holds."""
        try:
            os.link(self._root + source, self._root + path)
        except FileExistsError:
            os.unlink(self._root + path)  # noqa: PTH108
            os.link(self._root + source, self._root + path)
