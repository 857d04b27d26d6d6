"""A signer over an opened follower, and one publication at a time."""

import structlog

from consumers.context import Context
from consumers.follow.follower import Follower
from consumers.render.outlets import PublicOutlet, served_version
from consumers.service.opening import Opened, open_follower
from consumers.service.rechecking import Recheck
from consumers.sign.expiring import ExpiryWatch
from consumers.sign.resuming import lost_up_to, note_resumed, resumed_above
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.work.progress import Report
from ledger.clock import Clock, SystemClock
from projections.metadata.paths import TIMESTAMP

log = structlog.get_logger()


def warn_of_own_folder(context: Context) -> None:
    """Warn once, at the start of a signer, that the log is compared only with a folder of this machine.

    On a restored machine, that folder is as old as the log. So the signer would publish the same versions again, with
    other bytes.
    """
    if context.compares_with_own_folder:
        folder = context.config.signer.served or context.config.ledger.public
        log.warning(
            "[signer] served is a folder of this machine: set it to the public URL, so that no version is published "
            "twice",
            folder=str(context.path(folder)),
        )


async def publish_once(context: Context, schedule: Schedule, *, report: Report | None = None) -> tuple[bool, Follower]:
    """Make one publication if one is due, and place its files.

    Args:
        context: the ledger.
        schedule: the policy of the signer.
        report: called with the progress of a long batch.

    Returns:
        Whether a publication was made, and the follower afterwards (closed; its `head` is the last publication).
    """
    storage = context.storage("signer")
    outlet = PublicOutlet(storage)
    async with open_follower(context, "signer", outlet, storage, report=report) as opened:
        follower = opened.follower
        await follower.skip(at_least=context.limits.skip_from)
        signer = await make_signer(context, opened, schedule)
        made = await signer.step(now=True)
        ExpiryWatch(SystemClock()).look(follower.base.authority)
        await Recheck(opened, storage, outlet).when_idle()
        return made, follower


async def make_signer(context: Context, opened: Opened, schedule: Schedule, clock: Clock | None = None) -> Signer:
    """A signer over an opened follower, as the configuration says."""
    follower, logs, _, workers = opened
    served = context.served(context.config.signer.served)
    above = resumed_above(context.state)
    if follower.head.number > above > 0:
        # Until clients see a later publication, the served timestamp is still not on the log.
        version = served_version(await workers.run(served.read, TIMESTAMP))
        if not 0 < version <= above:
            note_resumed(context.state, None)
    schedule.above = above
    schedule.lost = lost_up_to(context.state)
    return Signer(
        follower=follower,
        publications=logs.publications,
        keyring=context.keyring(),
        clock=clock or SystemClock(),
        schedule=schedule,
        workers=workers,
        read_served=served.read,
    )
