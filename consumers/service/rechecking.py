"""What a publisher makes sure of after a start: that what its state says is withheld is not served, and the opposite.

A publication moves what it withholds, and what it no longer does. But bytes may come back another way, from a copy for
instance, and a state may be lost between two publications.
"""

from collections.abc import Collection

from consumers.render.bin_steps import read_bins
from consumers.render.outlets import PublicOutlet
from consumers.render.withholding import evidence_in
from consumers.service.opening import Opened
from consumers.state import records
from consumers.state.kept_bins import LastBins
from ledger.state.withheld import withheld_after
from ledger.storage import Storage
from projections.metadata.bins import holders_of
from projections.metadata.holders import Withholding, served_names
from projections.metadata.paths import target_of

BATCH = 512


class Recheck:
    """Checks once, when the last publication is what is served."""

    def __init__(self, opened: Opened, storage: Storage, outlet: PublicOutlet) -> None:
        self._opened = opened
        self._storage = storage
        self._outlet = outlet
        self._is_done = False

    async def when_idle(self) -> None:
        """Check, unless that is done. To be called when nothing is being published."""
        follower, _, store, workers = self._opened
        if self._is_done or follower.proposal is not None:
            return
        withheld: set[str] = set()
        last = ""
        while paths := await store.run(withheld_after, last, BATCH):
            last = paths[-1]
            withheld.update(paths)
        free = await self._free(set(await workers.run(evidence_in, self._storage)) - withheld)
        changes = [*(Withholding(path, is_withheld=True) for path in withheld), *free]
        self._is_done = not changes or await workers.run(self._outlet.withhold_again, follower.head.number, changes)

    async def _free(self, evidence: Collection[str]) -> list[Withholding]:
        """Those of these served paths at which somebody has a file that is not withheld."""
        follower, _, store, workers = self._opened
        authority = follower.base.authority
        if authority is None or not evidence:
            return []
        layout = authority.layout
        last = LastBins(store.kept, layout, follower.table.entries)
        free = []
        for target in sorted({target for path in evidence if (target := target_of(path)) is not None}):
            index = layout.index_of_target(target)
            headers, marks = await store.run(records.load_bins, [layout.key(index)], last.names([index]))
            (stored,) = await workers.run(read_bins, last, layout, [index], headers, marks)
            names = served_names(target, holders_of(stored, target)).values()
            free += [each for each in names if each.path in evidence and not each.is_withheld]
        return free
