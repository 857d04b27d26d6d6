"""Whether a publication may be voided: only one that diverges."""

from consumers.context import Context
from consumers.follow.replayed import replayed
from consumers.render.edition import DivergenceError
from consumers.state import notes
from consumers.state.furthest import open_furthest
from ledger.state.position import load_note
from ledger.state.publications import load_publication
from projections.roles.authority import Void
from schemas.errors import NegativeAnswerError


async def check_diverges(context: Context, void: Void) -> None:
    """Make sure that a publication diverges: a root that voids one that reproduces has no effect.

    A state on this machine may have found out. If none has, the publication is rendered from the logs.

    Raises:
        NegativeAnswerError: the publication reproduces, or there is none with this number and digest.
        DivergenceError: an earlier publication diverges.
        LogError, StoreError, UpgradeNeededError: see there.
    """
    async with open_furthest(context) as furthest:
        if furthest is not None:
            if await furthest.store.run(load_note, notes.DIVERGED) == void.digest:
                return
            known = await furthest.store.run(load_publication, void.number)
            if known is not None and known.digest == void.digest and known.stepped:
                raise _reproduces(void)
    async with replayed(context) as replay:
        follower = replay.follower
        await follower.skip(lambda claim: claim.number < void.number)
        try:
            while await follower.step(lambda claim: claim.number <= void.number):
                pass
        except DivergenceError:
            if await replay.store.run(load_note, notes.DIVERGED) == void.digest:
                return
            raise
        known = await replay.store.run(load_publication, void.number)
    if known is not None and known.digest == void.digest:
        raise _reproduces(void)
    raise NegativeAnswerError(
        f"no publication on the log that nobody voided has number {void.number} and a record with SHA-256 {void.digest}"
    )


def _reproduces(void: Void) -> NegativeAnswerError:
    return NegativeAnswerError(
        f"publication {void.number} is what its events make: a root voids only a publication that diverges. If a key "
        "was stolen, `tuf-ledger ceremony --replace-online` without --void ends what its thief can do"
    )
