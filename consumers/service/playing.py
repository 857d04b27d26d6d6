"""A story of an incident, played into a new ledger: through the real signer, on a clock that is set.

The files of uploads are short texts under the names of distributions. All else is as on any ledger with development
keys.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import msgspec

from consumers.ceremonies.creating import Wish, create, prepare
from consumers.context import Context
from consumers.incidents.stories.deeds import Act, Deed, Story, Tampering
from consumers.incidents.stories.rehearsing import moved
from consumers.render.outlets import PublicOutlet
from consumers.service.opening import Opened, open_follower
from consumers.service.publishing import make_signer
from consumers.service.tampering import tamper
from consumers.sign.schedule import Schedule
from consumers.sign.signer import Signer
from consumers.work.progress import Report, nobody
from ledger.clock import from_instant, to_instant
from ledger.config import Config, ConfigError, load_config
from ledger.storage import Storage
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas import canonical

_LOG = "sqlite:log"
_LAYOUT = Layout(2)
_BEFORE = timedelta(minutes=5)
"""The ledger is that much older than the first act."""
_RENEWED_EVERY = timedelta(hours=12)
"""A signer wakes up that often when nothing happens: the timestamp is valid for a day."""


class StoryClock:
    """A clock that stands until it is set."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        """The time to which it was set."""
        return self.moment


async def play(story: Story, folder: Path, days: int = 0, *, report: Report = nobody) -> Context:
    """Make a ledger in a new folder, and let everything happen in it; return it.

    Args:
        story: the story.
        folder: a folder that does not exist, or is empty.
        days: how many days later it happens.
        report: called with the numbers of acts that were played, and of all.

    Raises:
        ConfigError: the folder is not empty, or the environment has settings of a ledger.
    """
    context = prepare(folder, _LOG)
    if msgspec.structs.replace(load_config(folder), logging=Config().logging) != Config():
        raise ConfigError("a rehearsal must not touch a ledger of yours: unset the variables TUF_LEDGER_… first")
    clock = StoryClock(from_instant(moved(story.acts[0].at, days)).astimezone(UTC) - _BEFORE)
    wish = Wish(f"rehearsal.localhost/{story.name}", _LAYOUT, Settings(ruleset=0, project_list_seconds=0), 1)
    await create(context, wish, clock)
    await _Player(context, story, days, clock).play(report)
    return context


class _Player:
    """Plays the acts of a story in order."""

    def __init__(self, context: Context, story: Story, days: int, clock: StoryClock) -> None:
        self._context = context
        self._story = story
        self._days = days
        self._clock = clock
        self._storage = context.storage("signer")
        self._count = 0

    async def play(self, report: Report) -> None:
        """Whoever tampers with something finds no signer at work there."""
        done, rest = 0, self._story.acts
        while rest:
            acts = list(takewhile(lambda act: isinstance(act, Act), rest))
            after = rest[len(acts)] if len(acts) < len(rest) else None
            if acts:
                until = self._story.told_at if after is None else after.at
                await self._sign([act for act in acts if isinstance(act, Act)], from_instant(moved(until, self._days)))
            if isinstance(after, Tampering):
                await self._tamper(after)
            done += len(acts) + (after is not None)
            rest = rest[len(acts) + 1 :]
            report(done, len(self._story.acts))

    async def _sign(self, acts: Sequence[Act], until: datetime) -> None:
        """Play acts beside a signer."""
        schedule = Schedule(interval_seconds=0, grace_seconds=0)
        outlet = PublicOutlet(self._storage)
        async with open_follower(self._context, "signer", outlet, self._storage) as opened:
            signer = await make_signer(self._context, opened, schedule, self._clock)
            await signer.step(now=True)
            for act in acts:
                await self._wait(signer, from_instant(moved(act.at, self._days)))
                await self._perform(opened, signer, act)
            await self._wait(signer, until)

    async def _tamper(self, act: Tampering) -> None:
        self._clock.moment = from_instant(moved(act.at, self._days))
        if act.what != "append":
            tamper(self._context, act, self._days)
            return
        config = self._context.config
        section = msgspec.structs.replace(config.ledger, log=f"sqlite:{act.path}")
        logs = Context(self._context.folder, msgspec.structs.replace(config, ledger=section)).logs()
        await logs.open()
        try:
            await logs.events.append([self._record(deed) for deed in act.deeds])
        finally:
            await logs.close()

    async def _wait(self, signer: Signer, until: datetime) -> None:
        """Let time pass, with the renewals that a signer makes when nothing happens."""
        while self._clock.moment + _RENEWED_EVERY < until:
            self._clock.moment += _RENEWED_EVERY
            await signer.step(now=True)
        self._clock.moment = until

    async def _perform(self, opened: Opened, signer: Signer, act: Act) -> None:
        for deed in act.deeds:
            _store(self._storage, deed)
        await opened.logs.events.append([self._record(deed) for deed in act.deeds])
        if act.published_after is not None:
            self._clock.moment += timedelta(seconds=act.published_after)
            await signer.step(now=True)

    def _record(self, deed: Deed) -> bytes:
        self._count += 1
        time = moved(deed.says_time, self._days) or to_instant(self._clock.moment)
        return canonical.encode(deed.event(f"{self._story.name}-{self._count}", time))


def _store(storage: Storage, deed: Deed) -> None:
    """Place the file of an upload, and its provenance, where clients fetch them."""
    if deed.files is None:
        return
    content, provenance = deed.files
    digests = deed.data["hashes"]
    path = package_target(digests["blake2b_256"], deed.data["filename"])
    hashed = hashed_path(path, digests["sha256"])
    storage.replace(hashed, content)
    storage.replace(plain_path(path), content)
    if provenance is not None:
        storage.replace(companion_path(path, "provenance"), provenance)
