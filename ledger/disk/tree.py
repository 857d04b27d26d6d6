"""A tree of files that nobody sees before it is whole: each is written where it belongs, without staging or syncing."""

import os
from contextlib import suppress
from pathlib import Path

from ledger.disk.files import write_file, writing


class NewTree:
    """Writes files below a folder. Writing one again does no harm: whoever was interrupted just goes on.

    Paths are relative, with `/`, and name nothing outside: they are made by projections.
    """

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._folder = ""

    def put(self, path: str, data: bytes, _copy_of: str | None = None) -> str:
        """Write a file; it needs no other name to be found."""
        folder = path.rpartition("/")[0]
        with writing(self._root + path):
            if folder != self._folder:
                # A page is the first in its folder, or one of the first.
                with suppress(FileExistsError):
                    _make_folder(self._root + folder)
                self._folder = folder
            write_file(self._root + path, data)
        return ""

    def show(self, path: str, source: str) -> None:
        """Make a path show what another holds."""
        with writing(self._root + path):
            try:
                os.link(self._root + source, self._root + path)
            except FileExistsError:
                os.unlink(self._root + path)  # noqa: PTH108
                os.link(self._root + source, self._root + path)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)  # noqa: PTH102  # a hot path
    except FileNotFoundError:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
