"""A publication in work: one object, from the beginning of its transaction to its end."""

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from consumers.reading.tail import Tail
from consumers.render.edition import Edition
from consumers.render.outlets import Outlet
from consumers.render.renderer import RenderedPublication, Renderer
from consumers.render.sealing import SNAPSHOT, Sealer
from consumers.render.telling import Telling
from consumers.state import records
from consumers.work.workers import Workers
from ledger.disk.syncing import Synced
from ledger.state.comparisons import FileRow
from ledger.state.file import StateFile
from ledger.state.store import Store
from projections.metadata.paths import metadata_path
from projections.metadata.repository import SnapshotTable

ANEW_FROM = 8
"""A batch with this many times the events of the state writes the state anew: that is less work than journalling."""


class Proposal(NamedTuple):
    """The record of a publication that this signer rendered and sealed: it counts when it is read back."""

    digest: str
    value: bytes


class Workplace(NamedTuple):
    """Where a publication is made: the state, threads, where its files go, and the bins that the snapshot lists. The
    table has those of the publication in work until it is abandoned.
    """

    store: Store
    workers: Workers
    outlet: Outlet
    table: SnapshotTable


class PublicationInWork:
    """A publication that is rendered into the open transaction of a state, and does not count yet.

    It ends once: with `commit`, or with `abandon`. As a context it is abandoned at the end if it was neither committed
    nor proposed.

    Args:
        edition: what it shows.
        place: where it is made.
        telling: collects what its events do; None: nobody wants to know.
    """

    def __init__(self, edition: Edition, place: Workplace, telling: Telling | None) -> None:
        self.edition = edition
        self.telling = telling
        self._proposal: Proposal | None = None
        self._store, self._workers, self._outlet, self._table = place
        self._rendered: RenderedPublication | None = None
        self._has_begun = self._is_over = False

    @property
    def rendered(self) -> RenderedPublication:
        """What was rendered."""
        if self._rendered is None:
            raise ValueError("nothing was rendered")
        return self._rendered

    @property
    def proposal(self) -> Proposal | None:
        """The record that was proposed for it."""
        return self._proposal

    def propose(self, proposal: Proposal) -> None:
        """Set the record with which it will be read back."""
        self._proposal = proposal

    async def render(self, renderer: Renderer, tail: Tail, sealer: Sealer | None) -> None:
        """Begin the transaction and render into it; without a sealer, only fold."""
        edition = self.edition
        self._store.soon(StateFile.begin, anew=edition.size >= ANEW_FROM * edition.shown_before)
        self._has_begun = True
        if sealer is None:
            self._rendered = await renderer.fold(edition, tail, self.telling)
        else:
            self._rendered = await renderer.render(edition, tail, sealer, self._outlet, self.telling)

    def seal(self, sealer: Sealer) -> bytes:
        """Seal the snapshot of what was rendered, and put it. Blocks.

        Raises:
            DivergenceError: the seal on the log does not fit.
            SignerError: a key does not sign.
        """
        edition = self.edition
        payload = self._table.payload(edition.claim, edition.authority, edition.content_size)
        snapshot = sealer.seal(SNAPSHOT, payload)
        self._outlet.put(metadata_path(SNAPSHOT, edition.claim.number), snapshot)
        return snapshot

    async def place(self, timestamp: bytes) -> Synced | None:
        """Place its files, and wait until its changes of the state are saved. The timestamp makes it visible.

        Returns:
            What placing has made durable, for `commit`.
        """
        synced = await self._workers.run(self._outlet.finish, self.edition.claim.number, timestamp)
        await self.rendered.saving.result()
        return synced

    async def commit(
        self, applied: records.Applied, *, after: Synced | None, window: Sequence[FileRow] | None = None
    ) -> None:
        """Make it the state. `window`: the files of all publications of a window, if it is the end of one."""
        await self._store.run(records.commit, applied, after, lambda state: self._outlet.save(state, window))
        self._is_over = True

    async def abandon(self) -> None:
        """Undo it."""
        if self._is_over:
            return
        self._is_over = True
        if self._has_begun:
            if self._rendered is not None:
                await self._rendered.saving.stop()
            self._table.reset(await self._store.run(records.roll_back))
            await self._workers.run(self._outlet.begin)
        if self.telling is not None:
            await self.telling.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None or self._proposal is None:
            await self.abandon()
