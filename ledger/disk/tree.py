"""A tree of files that nobody sees before it is complete: files are written in place, without staging or syncing."""

import os
from contextlib import suppress
from pathlib import Path

from ledger.disk.files import write_file, writing


class NewTree:
    """Writes files below a folder. Writing a file again does no harm, so an interrupted run just goes on.

    Paths are relative, with `/`. They come from projections, so they name nothing outside the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = f"{root}/"
        self._folder = ""

    def put(self, path: str, data: bytes, _copy_of: str | None = None) -> str:
        """Write a file in place. Returns an empty token: the file need not be adopted."""
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
        """Make a path a second name of another file."""
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
