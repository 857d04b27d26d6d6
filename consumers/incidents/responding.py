"""A recovery from its plan to its proof: steps, keys, hold, publication, bytes, clients."""

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from consumers.catalog.asking import Asked, asked_of, choose_catalog, open_filling
from consumers.catalog.filling import Filling
from consumers.context import Context
from consumers.incidents.caches import CacheAnswers, ask_caches, withheld_paths
from consumers.incidents.confirming import Confirmation, confirm
from consumers.incidents.known_incidents import count_besides
from consumers.incidents.recording import incident_of
from consumers.incidents.recovering import AppliedPlan, apply_plan, catch_up
from consumers.incidents.replaying import Suspected, suspected_of
from consumers.incidents.step_states import check_head, check_list, load_plan, lost_keys_in_force, lost_keys_published
from consumers.produce.appending import append_release
from consumers.produce.waiting import HeldError, NotCoveredError
from consumers.reading.end import holds_at_end
from consumers.state.furthest import open_events
from consumers.work.progress import Report, nobody
from ledger.catalog import publication_rows
from ledger.catalog.database import Database
from ledger.catalog.states import is_lock_known
from ledger.disk.files import reading
from projections.incidents.applying import RecoveryPlan
from projections.log.holds import lock_of, opens
from projections.metadata.paths import HTML_PAGE, JSON_PAGE, page_target, plain_path
from schemas.errors import NegativeAnswerError
from schemas.plans import Residual

POLL_SECONDS = 0.2
_MOST_BYTES = 1000
"""How much of the file of a secret is read."""


class Wishes(NamedTuple):
    """How to recover: the plan's file, the file with the secret of a hold, where clients read (empty: the public
    folder), servers to ask, and the longest time to wait.
    """

    plan: Path
    secret: Path | None
    served: str
    caches: Sequence[str]
    wait_seconds: float


class Recovery(NamedTuple):
    """What became of a recovery.

    Attributes:
        applied: where the steps stand.
        residuals: what the plan leaves undone.
        confirmation: what was proven; None: not all steps are on the log.
        caches: what the servers answered that were asked for what is withheld, and for pages.
        only_now: how many events the incident's selectors find now that its list does not have.
    """

    applied: AppliedPlan
    residuals: Sequence[Residual]
    confirmation: Confirmation | None
    caches: CacheAnswers
    only_now: int = 0

    @property
    def proven(self) -> bool:
        """Whether everybody has the clean state, but for residuals."""
        return self.confirmation is not None and self.confirmation.holds and not any(self.caches)


async def recover_incident(
    context: Context, name: str, wishes: Wishes, report: Report = nobody, say: Callable[[str], None] = print
) -> Recovery:
    """Apply a plan, wait for its publication, and prove what is shown. It may be interrupted anywhere, and repeated.

    Args:
        context: the ledger.
        name: the incident.
        wishes: how.
        report: called with the progress of the steps.
        say: called with sentences about what is waited for.

    Raises:
        UnreadablePlanError, OutdatedPlanError: see `load_plan` and `check_head`.
        NegativeAnswerError: there is no such incident, or the secret opens no hold.
        NotCoveredError, HeldError: it took longer than the longest time to wait.
    """
    plan, _ = await asyncio.to_thread(load_plan, wishes.plan, name)
    secret = None if wishes.secret is None else await asyncio.to_thread(_read_secret, wishes.secret)
    async with AsyncExitStack() as closing:
        database, is_private = await choose_catalog(context)
        filling = await closing.enter_async_context(open_filling(context, database, is_private=is_private))
        log = await closing.enter_async_context(open_events(context))
        closing.callback(context.give_up)  # a thread may wait for a server while this command is told to end
        await catch_up(filling)
        asked = await asked_of(context, database, filling)
        known = await incident_of(asked, name)
        await check_head(asked, log, plan.head, known)
        applied = await apply_plan(filling, database, log, plan, report)
        if applied.open:
            return Recovery(applied, plan.head.residuals, None, CacheAnswers())
        waiting = _Waiting(context, filling, asked, monotonic() + wishes.wait_seconds, say)
        keys_at = await waiting.for_keys(plan)
        if secret is not None:
            await _release(context, database, secret, say)
            await catch_up(filling)
        number = max(keys_at, await waiting.for_publication(applied.last_event, suspected_of(known)))
        return await _prove(waiting, plan, applied, number, wishes)


async def _prove(
    waiting: "_Waiting", plan: RecoveryPlan, applied: AppliedPlan, number: int, wishes: Wishes
) -> Recovery:
    """Let clients look until what is served is as new as the publication: a server may lag, and bytes are withheld
    after clients can see the publication.
    """
    context, database = waiting.context, waiting.asked.database
    served = context.served(wishes.served)
    own = {wishes.served or str(context.public): served}
    while True:
        known = await incident_of(await waiting.now(), plan.head.incident)
        check_list(plan.head, known)
        suspected, last = suspected_of(known), waiting.filling.number
        found = await confirm(database, suspected, plan.head, last, served, refresh=waiting.catch_up)
        withheld = await database.run(withheld_paths, suspected.left_out)
        answers = await asyncio.to_thread(ask_caches, own, withheld, {})
        is_new = found.publication >= number and all(each.version >= number for each in found.visits)
        if is_new and not any(answers):
            break
        if not await waiting.pause("what is served to be as new as the log"):
            break
    if wishes.caches and not answers.unasked:
        paths = [plain_path(page_target(name, kind)) for name in plan.head.expects for kind in (JSON_PAGE, HTML_PAGE)]
        pages = {path: await asyncio.to_thread(served.digest, path) for path in paths}
        caches = {url.rstrip("/"): context.served(url) for url in wishes.caches}
        asked = await asyncio.to_thread(ask_caches, caches, withheld, pages)
        answers = CacheAnswers([*answers.answering, *asked.answering], asked.unasked)
    only_now = await database.run(count_besides, await waiting.now(), known)
    return Recovery(applied, plan.head.residuals, found, answers, only_now)


def _read_secret(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        secret = file.read(_MOST_BYTES).decode("ascii", "replace").strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", secret):
        raise NegativeAnswerError(
            f"nothing was appended: {path} has no secret of a hold, which is 64 hexadecimal digits"
        )
    return secret


async def _release(context: Context, database: Database, secret: str, say: Callable[[str], None]) -> None:
    """Release all holds that a secret opens: whoever may append can hold once more with the same lock."""
    held = await holds_at_end(context)
    fitting = [name for name, each in held.open.items() if each.lock and opens(each.lock, secret)]
    for name in fitting:
        await append_release(context, name, secret, "the recovery is on the log")
        say(f"Released the hold {name}.")
    if fitting:
        return
    if not held.open:
        say("Nothing is held.")
    elif not await database.run(is_lock_known, lock_of(secret)):
        raise NegativeAnswerError("all steps are on the log, but the secret opens none of the holds")
    else:
        say("What the secret opens was released before.")


class _Waiting:
    """Waits, up to a moment, for what others do."""

    def __init__(
        self, context: Context, filling: Filling, asked: Asked, deadline: float, say: Callable[[str], None]
    ) -> None:
        self.context = context
        self.filling = filling
        self.asked = asked
        self._deadline = deadline
        self._say = say
        self._said: set[str] = set()

    async def now(self) -> Asked:
        """The catalog as it is now."""
        return await asked_of(self.context, self.asked.database, self.filling)

    async def pause(self, what: str) -> bool:
        """Wait a little; False if it was long enough."""
        if monotonic() >= self._deadline:
            return False
        if what not in self._said:
            self._said.add(what)
            self._say(f"Waiting for {what} …")
        await asyncio.sleep(POLL_SECONDS)
        await self.catch_up()
        return True

    async def catch_up(self) -> None:
        """Bring the catalog up to the ends of the logs."""
        await catch_up(self.filling)

    async def for_keys(self, plan: RecoveryPlan) -> int:
        """Wait until a publication has a root without the lost keys; return the number of the last publication then."""
        while True:
            asked = await self.now()
            keys = await asked.database.run(lost_keys_in_force, plan.head)
            shown = keys or await asked.database.run(lost_keys_published, plan.head)
            if not shown:
                return asked.number
            what = f"root without the lost online {'key' if len(shown) == 1 else 'keys'} {', '.join(shown)}"
            if keys:
                what = (
                    f"a {what}, signed offline (`tuf-ledger ceremony --replace-online --floor N`, N above all versions "
                    "it may have signed)"
                )
            else:
                what = f"a publication of the {what}"
            if not await self.pause(what):
                raise NotCoveredError(f"all steps are on the log; what is missing is {what}. Then run this again")

    async def for_publication(self, step: int | None, suspected: Suspected) -> int:
        """Wait for the first publication that shows the last step; if the plan has none, the last suspect or measure;
        if there are none, for any. Return its number.
        """
        event = max(suspected.left_out, default=0) if step is None else step
        while True:
            asked = await self.now()
            row = await asked.database.run(publication_rows.first_showing, event)
            if row is not None:
                return row.number
            if asked.held_from is not None and asked.held_from <= event:
                what = "the release of a hold (`tuf-ledger unhold`, or --secret-file)"
                if not await self.pause(what):
                    raise HeldError(f"all steps are on the log; what is missing is {what}. Then run this again")
            elif not await self.pause("the publication that shows the steps"):
                last = "" if step is None else f" (the last one is event {step})"
                raise NotCoveredError(
                    f"all steps are on the log{last}, and no publication shows them yet. Is the signer running? "
                    "If there is none, run `tuf-ledger publish`. Then run this again"
                )
