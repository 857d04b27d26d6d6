"""The ledger as of its last publication: from a state on this machine, or from the logs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consumers.context import Context
from consumers.state.furthest import open_furthest
from consumers.work.progress import Report, nobody
from ledger.state.picking import Furthest
from ledger.state.position import load_position
from schemas.errors import NegativeAnswerError


@asynccontextmanager
async def open_known(context: Context, report: Report = nobody) -> AsyncIterator[Furthest]:
    """The ledger as of its last publication: the furthest state on this machine, or the replayed logs.

    Raises:
        NegativeAnswerError: nothing was published yet.
        StoreError: no state on this machine can be used.
    """
    async with open_furthest(context) as furthest:
        if furthest is not None:
            yield furthest
            return
    from consumers.follow.replayed import replayed  # noqa: PLC0415  # nearly always there is a state

    async with replayed(context, report=report) as replay:
        await replay.follower.skip()
        await replay.follower.catch_up()
        position = await replay.store.run(load_position)
        if position is None:
            # Whoever asks need not hold a key: no advice to publish.
            raise NegativeAnswerError("nothing was published yet: the log holds no valid publication")
        yield Furthest("", position, replay.store)
