"""Applying a plan: project by project, as often as it takes, and never over what happened since."""

from collections.abc import Sequence
from typing import NamedTuple

from consumers.catalog.filling import Filling
from consumers.incidents.step_states import StepState, examine
from consumers.work.progress import Report, nobody
from ledger.catalog.database import Database
from ledger.logs import Log
from projections.incidents.applying import RecoveryPlan


class AppliedPlan(NamedTuple):
    """Where the steps of a plan stand after it was applied, and how many of them were appended now."""

    steps: Sequence[StepState]
    appended: int

    @property
    def open(self) -> list[StepState]:
        """The steps that are not done: something came in between, or the rules reject them."""
        return [each for each in self.steps if each.state != "done"]

    @property
    def last_event(self) -> int | None:
        """The index of the last step that is done."""
        return max((each.event for each in self.steps if each.event is not None and each.state == "done"), default=None)


async def apply_plan(
    filling: Filling, database: Database, log: Log, plan: RecoveryPlan, report: Report = nobody
) -> AppliedPlan:
    """Append what of a plan is not on the log, and read back what became of it.

    The steps about one project or target are appended together. Where something came in between, none of them is, and
    the others go on. It may be interrupted anywhere: the next call appends what is left, and a record that is appended
    twice has no effect.

    Args:
        filling: fills the catalog.
        database: the catalog.
        log: the log of events, open.
        plan: the plan; `check_head` has checked that it is for this log.
        report: called with the numbers of the steps that were looked at, and of all.

    Raises:
        LogError: the log cannot be written; the next call goes on.
    """
    await catch_up(filling)
    before = await database.run(examine, plan, filling.size)
    of_keys: dict[str, list[StepState]] = {}
    for each in before:
        of_keys.setdefault(each.step.key, []).append(each)
    looked_at = appended = 0
    for states in of_keys.values():
        left = [each for each in states if each.state != "done"]
        if left and all(each.state == "fits" for each in left):
            await log.append([each.step.value for each in left])
            appended += len(left)
        looked_at += len(states)
        report(looked_at, len(before))
    await catch_up(filling)
    return AppliedPlan(await database.run(examine, plan, filling.size), appended)


async def catch_up(filling: Filling) -> None:
    """Bring the catalog up to the ends of both logs."""
    while await filling.step():
        pass
