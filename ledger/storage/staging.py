"""The staging folder of a storage directory: files that nobody sees are made there, by any process."""

import os
from pathlib import Path
from typing import NamedTuple

from ledger.disk.files import writing
from ledger.disk.nursery import make_file


class Stager(NamedTuple):
    """Writes files into a staging folder. Contract: `ledger.storage.RemoteStorage`. `device` is the folder's file
    system.

    The folder is flat: creating and removing a folder for each page costs more than writing the page.
    """

    folder: Path
    device: int

    def put(self, _path: str, data: bytes, copy_of: str | None = None) -> str:
        """Write a file, buffered; return its path, or that of the copy, if a second name is possible."""
        if copy_of is not None:
            with writing(copy_of):
                if os.stat(copy_of).st_dev == self.device:  # noqa: PTH116  # a hot path
                    return copy_of
        with writing(self.folder):
            return make_file(str(self.folder), data)
