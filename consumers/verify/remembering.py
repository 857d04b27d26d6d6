"""What a comparison with served files remembers. It is in the state, and changes with it.

So an interrupted verification can go on.
"""

import json
from collections.abc import Sequence
from typing import cast

from consumers.state import notes
from consumers.verify.comparing import Difference, Problem
from ledger.state.comparisons import (
    DifferenceRow,
    FileRow,
    differences_after,
    forget_comparison,
    save_differences,
    save_files,
    save_shown,
)
from ledger.state.file import StateFile
from ledger.state.position import load_note, save_note
from ledger.state.statements import State
from ledger.state.store import Store
from projections.metadata.paths import is_plain_page

_ALL = 10**9


class ServedComparison:
    """With which publication served files are compared, and what came of it.

    What plain pages have shown since that publication is remembered, too: a publisher may be anywhere between.

    Attributes:
        base: the publication; 0 if the served timestamp leads to none.
        is_done: whether the files were compared.
        differences: what was found then.
    """

    def __init__(self) -> None:
        self.base = 0
        self.is_done = False
        self.differences: list[Difference] = []

    def save(self, state: State, rows: Sequence[FileRow]) -> None:
        """Save files that publications made, in the transaction of these."""
        base = self.base
        if base:
            save_shown(
                state, [(path, digest) for path, digest, number in rows if number > base and is_plain_page(path)]
            )
        save_files(state, rows)

    async def start(self, store: Store, served: int, applied: int) -> bool:
        """Choose the publication to compare with.

        Args:
            store: the state.
            served: the version of the served timestamp; 0 if it has none.
            applied: the last publication of the state.

        Returns:
            Whether there is one. If not, the state has passed it: what is served is older than it was.
        """
        if served == 0 or served >= applied:
            await self.begin(store, served)
            return True
        base, is_done, differences = await store.run(_load)
        if not is_done or base > served:
            return False
        self.base, self.is_done, self.differences = base, is_done, differences
        return True

    async def begin(self, store: Store, base: int) -> None:
        """Forget what was found, and compare with this publication."""
        self.base, self.is_done, self.differences = base, False, []
        await store.run(_begin, base)

    async def end(self, store: Store, differences: Sequence[Difference]) -> None:
        """Remember what was found."""
        self.is_done, self.differences = True, list(differences)
        await store.run(_end, self.base, self.differences)


def _load(state: State) -> tuple[int, bool, list[Difference]]:
    note = load_note(state, notes.COMPARISON)
    if note is None:
        return 0, False, []
    base, is_done = json.loads(note)
    rows = differences_after(state, "", _ALL)
    return base, is_done, [Difference(row.path, cast("Problem", row.problem), row.detail) for row in rows]


def _begin(state: StateFile, base: int) -> None:
    with state.transaction():
        forget_comparison(state)
        save_note(state, notes.COMPARISON, json.dumps([base, False]))


def _end(state: StateFile, base: int, differences: Sequence[Difference]) -> None:
    with state.transaction():
        save_differences(state, [DifferenceRow(each.path, "", 0, each.problem, each.detail, 1) for each in differences])
        # A publisher may just be about to take out what is withheld.
        save_shown(state, [(each.path, "") for each in differences if each.problem == "withheld"])
        save_note(state, notes.COMPARISON, json.dumps([base, True]))
