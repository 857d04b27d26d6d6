"""Going on after an interruption: the state of a verification is kept in a file of the caller's.

Everything that is known is in that state: what was replayed, which ledger it is of (a follower compares its position
with the logs when it starts), and what the comparison with served files remembers. The options are noted in it, since
another question has another answer.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from consumers.state import notes
from ledger.config import ConfigError
from ledger.disk.files import writing
from ledger.state import StoreError
from ledger.state.position import load_note, load_position, save_note
from ledger.state.read_only import is_blank
from ledger.state.statements import State
from ledger.state.store import ReadingStore, Store


class Resume(NamedTuple):
    """The file that a verification is kept in, and the options that it must have been begun with, by name."""

    path: Path
    options: Mapping[str, str | int | bool | None]

    async def prepare(self) -> int:
        """Look at the file before it is opened as a state, which would delete what is none. Create it if it is missing.

        Returns:
            The last publication that was verified; 0 if there is none.

        Raises:
            ConfigError: it is another kind of file, or of a verification with other options.
            StoreError: it cannot be read, or another version of this program made it.
        """
        path, store = self.path, ReadingStore(self.path)
        if not path.exists() and store.kept.folder.exists():
            raise ConfigError(f"--resume: {store.kept.folder} is there without {path}: name another file")
        with writing(path):
            path.touch()
        if is_blank(path):
            return 0
        try:
            await store.open()
        except StoreError as error:
            raise ConfigError(
                f"--resume: {path} is not from an interrupted `verify --resume`, or another version of this program "
                f"made it ({error}). Name another file"
            ) from error
        try:
            return await store.run(self._check)
        finally:
            await store.close()

    def _check(self, state: State) -> int:
        note, position = load_note(state, notes.VERIFICATION), load_position(state)
        if position is None:
            return 0
        if note is None:
            raise ConfigError(
                f"--resume: {self.path} is the state of a consumer, and not from an interrupted `verify --resume`. "
                "Name another file"
            )
        begun = json.loads(note)
        others = [name for name in sorted({*begun, *self.options}) if begun.get(name) != self.options.get(name)]
        if others:
            raise ConfigError(
                f"--resume: {self.path} is of a verification with another {', '.join(others)}. Give the same options "
                "as then, or name another file"
            )
        return position.number

    async def begin(self, store: Store) -> None:
        """Note the options in the state."""
        await store.run(save_note, notes.VERIFICATION, json.dumps(dict(self.options)))
