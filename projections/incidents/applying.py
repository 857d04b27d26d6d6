"""Reading a plan, and the exact records that it leads to."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from projections.incidents.planning import StepDraft
from projections.log.merkle import record_digest
from projections.log.operations import PROJECT_KEYS, operation_of
from schemas import canonical
from schemas.codec import Rejection, decode_event
from schemas.errors import NegativeAnswerError
from schemas.plans import MAX_STEP_BYTES, PlanHead, PlanStep

_head = msgspec.json.Decoder(PlanHead)
_step = msgspec.json.Decoder(PlanStep)
_FORMAT = 1
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some editors put it before a text that they save."""


class UnreadablePlanError(NegativeAnswerError):
    """A file is no plan of a recovery, or was changed so that it is none any more."""


class RecoveryPlan(NamedTuple):
    """A plan as it was read."""

    head: PlanHead
    steps: Sequence[PlanStep]


class BoundStep(NamedTuple):
    """A step with its record: the key of the aggregate that judges it, its type, and the record."""

    step: int
    why: str
    key: str
    type: str
    value: bytes
    digest: str


class Making(NamedTuple):
    """What the events of a plan have in common. `nonce` is random and secret, and so are the ids that follow from it:
    whoever sees the first step on the log cannot take the id of a later one.
    """

    nonce: str
    incident: str
    time: str
    actor: str

    def event(self, number: int, draft: StepDraft) -> dict[str, Any]:
        """The event of a step."""
        return {
            "specversion": "1.0",
            "id": sha256(f"{self.nonce}.{number}".encode()).hexdigest()[:32],
            "source": "/tuf-ledger/incident",
            "type": draft.type,
            "subject": draft.subject,
            "time": draft.time or self.time,
            "actorkind": "administrator",
            "actorid": self.actor,
            "incident": self.incident,
            "data": draft.data,
        }


def write_plan(head: PlanHead, drafts: Sequence[StepDraft], making: Making) -> bytes:
    """A plan as a file."""
    steps = [
        PlanStep(step=number, why=draft.why, event=making.event(number, draft)) for number, draft in enumerate(drafts)
    ]
    return b"".join(canonical.encode(msgspec.to_builtins(each)) + b"\n" for each in (head, *steps))


def read_plan(data: bytes) -> RecoveryPlan:
    """Read a plan.

    Raises:
        UnreadablePlanError: it is none, or another version of this program made it.
    """
    lines = data.removeprefix(_BYTE_ORDER_MARK).splitlines()
    if not lines:
        raise UnreadablePlanError("the plan is empty; make one with `tuf-ledger incident plan NAME`")
    try:
        head = _head.decode(lines[0])
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadablePlanError(f"line 1 is not the head of a plan: {error}") from error
    if head.plan != _FORMAT:
        raise UnreadablePlanError(f"the plan has format {head.plan}, and this version reads {_FORMAT}")
    steps = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        if len(line) > MAX_STEP_BYTES:
            raise UnreadablePlanError(f"line {number} of the plan is longer than {MAX_STEP_BYTES:,} bytes")
        try:
            steps.append(_step.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadablePlanError(f"line {number} is no step of a plan: {error}") from error
    return RecoveryPlan(head, steps)


def bind(plan: RecoveryPlan) -> list[BoundStep]:
    """The records of a plan's steps, in order. The first event about a project expects what the head says, every other
    one the event before it.

    Raises:
        UnreadablePlanError: a step is no event of the incident, or about a project that the head does not name.
    """
    last = dict(plan.head.expects)
    bound = []
    for step in plan.steps:
        event = dict(step.event)
        key = _key_of(plan.head, step)
        if key.startswith(PROJECT_KEYS):
            name = key.removeprefix(PROJECT_KEYS)
            if name not in last:
                raise UnreadablePlanError(f"step {step.step} is about {name}, which the head of the plan does not name")
            event["data"] = {**event.get("data", {}), "expects": last[name]}
        value = canonical.encode(event)
        digest = record_digest(value)
        if key.startswith(PROJECT_KEYS):
            last[key.removeprefix(PROJECT_KEYS)] = digest
        bound.append(BoundStep(step.step, step.why, key, event["type"], value, digest))
    if len({step.event["id"] for step in plan.steps}) < len(bound):
        raise UnreadablePlanError("a step stands twice in the plan")
    return bound


def _key_of(head: PlanHead, step: PlanStep) -> str:
    try:
        event = decode_event(canonical.encode(step.event))
    except TypeError as error:  # a number that is too large, or too many lists in lists
        raise UnreadablePlanError(f"step {step.step} is no event: {error}") from error
    if isinstance(event, Rejection):
        raise UnreadablePlanError(f"step {step.step} is no event: {event.detail or event.code}")
    found = operation_of(event)
    if found is None:
        raise UnreadablePlanError(f"step {step.step} is about the ledger itself: no plan may do that")
    if event.incident != head.incident:
        raise UnreadablePlanError(f"step {step.step} does not name the incident {head.incident}")
    return found[0]
