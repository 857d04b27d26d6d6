"""Whether a plan still fits the log: what of it is done, what can be appended, and what has come in between."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.filling import load_authority, read_ledger
from consumers.incidents.histories import project_history, target_history, terms_of
from consumers.incidents.known_incidents import KnownIncident
from consumers.prove.subtrees import subtree_roots
from ledger.catalog import FOREVER, event_rows, publication_rows, writing
from ledger.catalog.database import Connection
from ledger.catalog.tables import OUTCOMES
from ledger.disk.files import reading
from ledger.logs import Log
from projections.incidents.applying import BoundStep, RecoveryPlan, bind, read_plan
from projections.incidents.replays import replay_project, replay_target
from projections.log.operations import PROJECT_KEYS, TARGET_KEYS
from projections.log.proofs import Subtree
from projections.log.reading import Routed, read_records
from projections.outcomes import ACCEPTED, Outcome
from projections.roles.authority import Terms
from schemas import canonical
from schemas.errors import NegativeAnswerError
from schemas.plans import PlanHead


class OutdatedPlanError(NegativeAnswerError):
    """A plan is not one for this log, or not for the list that is in force."""


class StepState(NamedTuple):
    """A step and where it stands.

    `state` is `done` (on the log, and accepted), `fits` (not on the log; it would be accepted now), `overtaken` (an
    event about the same project or target came in between) or `refused` (the rules reject it). `event` is its own index
    where it is done, and the index of what came in between where it is overtaken.
    """

    step: BoundStep
    state: str
    event: int | None = None
    detail: str = ""


def load_plan(path: Path, incident: str) -> tuple[RecoveryPlan, str]:
    """A plan that is in a file, and the SHA-256 of the file.

    Raises:
        UnreadablePlanError: it is none.
        OutdatedPlanError: it is for another incident.
        StorageError: the file cannot be read.
    """
    with reading(path):
        data = path.read_bytes()
    plan = read_plan(data)
    if plan.head.incident != incident:
        raise OutdatedPlanError(f"{path} is a plan for the incident {plan.head.incident}, and not for {incident}")
    return plan, sha256(data).hexdigest()


async def check_head(asked: Asked, log: Log, head: PlanHead, known: KnownIncident) -> None:
    """Check that a plan is for this log, and for the list in force.

    Args:
        asked: the catalog.
        log: the log of events, open.
        head: the head of the plan.
        known: the incident.

    Raises:
        OutdatedPlanError: it is not.
    """
    ledger = read_ledger(await asked.database.run(writing.load_position))
    if head.ledger != ledger.digest:
        raise OutdatedPlanError(f"this plan is for another ledger ({head.ledger})", ledger=ledger.digest)
    if head.size > asked.size:
        raise OutdatedPlanError(
            f"this plan was made from {head.size} events, and this log has {asked.size}: is it a copy that lags behind?"
        )
    (root,) = await subtree_roots(asked, log, [Subtree(0, head.size)])
    if root != head.root_hash:
        raise OutdatedPlanError(f"the first {head.size} events of this log are not those that the plan was made from")
    check_list(head, known)


def check_list(head: PlanHead, known: KnownIncident) -> None:
    """Check that a plan is for the list in force.

    Raises:
        OutdatedPlanError: it is not.
    """
    if known.in_force is None or head.selection != known.in_force.events.selection:
        raise OutdatedPlanError(
            f"the list of {head.incident} has changed since this plan was made: make a new one with "
            f"`tuf-ledger incident plan {head.incident}`"
        )


def lost_keys_in_force(connection: Connection, head: PlanHead) -> list[str]:
    """The keys that count as lost, and that are online keys still."""
    return _lost_keys_at(connection, head, FOREVER)


def lost_keys_published(connection: Connection, head: PlanHead) -> list[str]:
    """The keys that count as lost, and that are online keys to clients: by the root of the last publication."""
    last = publication_rows.last_publication(connection)
    return _lost_keys_at(connection, head, FOREVER if last is None else last.size - 1)


def _lost_keys_at(connection: Connection, head: PlanHead, event: int) -> list[str]:
    online = set(load_authority(connection, event).online.keyids) if writing.load_documents(connection) else set()
    return sorted(online & set(head.lost_keys))


def examine(connection: Connection, plan: RecoveryPlan, size: int) -> list[StepState]:
    """Where each step of a plan stands, in the order of the plan.

    Args:
        connection: a catalog that is filled up to `size`.
        plan: the plan.
        size: the size of the log.

    Raises:
        UnreadablePlanError: a step is not what it must be.
    """
    bound = bind(plan)
    of_keys: dict[str, list[BoundStep]] = {}
    for step in bound:
        of_keys.setdefault(step.key, []).append(step)
    known, terms = _on_log(connection, bound), terms_of(connection)
    found: dict[str, StepState] = {}
    for key, steps in of_keys.items():
        done = {step.digest: known[step.digest] for step in steps if step.digest in known}
        left = [step for step in steps if step.digest not in done]
        outcomes, since = _fold_on(connection, key, left, size, terms)
        own = set(done.values())
        since = [index for index in since if index >= plan.head.size and index not in own]
        for step in steps:
            if step.digest in done:
                found[step.digest] = StepState(step, "done", done[step.digest])
            elif key.startswith(TARGET_KEYS) and since:
                found[step.digest] = StepState(step, "overtaken", since[0])
            else:
                outcome = outcomes.get(step.digest, ACCEPTED)
                found[step.digest] = _judged(step, outcome, since)
    return [found[step.digest] for step in bound]


def _judged(step: BoundStep, outcome: Outcome, since: Sequence[int]) -> StepState:
    if outcome is ACCEPTED:
        return StepState(step, "fits")
    if outcome.code == "expects" and since:
        return StepState(step, "overtaken", since[0])
    return StepState(step, "refused", None, f"{outcome.code}: {outcome.detail}" if outcome.detail else outcome.code)


def _on_log(connection: Connection, steps: Sequence[BoundStep]) -> dict[str, int]:
    """The indices of the steps that are on the log and were accepted, by digest."""
    rows = event_rows.events_with_digests(connection, [bytes.fromhex(step.digest) for step in steps])
    accepted = OUTCOMES.index("accepted")
    return {row.digest.hex(): row.idx for row in reversed(rows) if row.outcome == accepted}


def _fold_on(
    connection: Connection, key: str, left: Sequence[BoundStep], size: int, terms: Sequence[Terms]
) -> tuple[dict[str, Outcome], list[int]]:
    """What would become of steps if they were appended now, by digest; and the accepted events before, by index."""
    items: list[Routed] = read_records(size, [step.value for step in left]).routed
    if key.startswith(PROJECT_KEYS):
        name = key.removeprefix(PROJECT_KEYS)
        history = project_history(connection, name)
        outcomes = replay_project(name, [*history.items, *items], terms).outcomes
    elif key.startswith(TARGET_KEYS):
        outcomes = replay_target([*target_history(connection, key.removeprefix(TARGET_KEYS)), *items]).outcomes
    else:
        return {}, []
    since = [index for index, outcome in outcomes.items() if index < size and outcome is ACCEPTED]
    return {item.digest: outcomes[item.index] for item in items}, sorted(since)


def residuals_digest(head: PlanHead) -> str:
    """The SHA-256 of what a plan leaves undone, as canonical JSON."""
    return sha256(canonical.encode(msgspec.to_builtins(head.residuals))).hexdigest()
