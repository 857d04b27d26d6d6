"""Drawing up the plan of a recovery, as a file."""

import secrets
from collections.abc import Sequence
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.filling import load_authority, read_ledger
from consumers.incidents.known_incidents import KnownIncident
from consumers.incidents.replaying import CleanReplay, replay, suspected_of
from consumers.produce.appending import actor
from consumers.prove.subtrees import subtree_roots
from consumers.work.progress import Report, nobody
from ledger.catalog import FOREVER, writing
from ledger.catalog.database import Connection
from ledger.clock import SystemClock, to_instant
from ledger.logs import Log
from projections.incidents.applying import Making, write_plan
from projections.log.proofs import Subtree
from schemas.errors import NegativeAnswerError
from schemas.plans import PlanHead


class DrawnPlan(NamedTuple):
    """A plan: the file, its head, and what it was made from."""

    data: bytes
    head: PlanHead
    replay: CleanReplay


def making_of(incident: str) -> Making:
    """What the events of a new plan have in common."""
    return Making(secrets.token_hex(16), incident, to_instant(SystemClock().now()), actor())


async def draw_up(
    asked: Asked, log: Log, known: KnownIncident, lost_keys: Sequence[str], report: Report = nobody
) -> DrawnPlan:
    """Plan the recovery from an incident.

    Args:
        asked: the catalog.
        log: the log of events, open.
        known: the incident.
        lost_keys: beginnings of ids of online keys that count as lost.
        report: called with the numbers of projects and targets that were replayed, and of all.

    Raises:
        NegativeAnswerError: the incident has no list, or a key was never an online key.
    """
    suspected, making = suspected_of(known), making_of(known.name)
    lost_keys = await asked.database.run(_whole_ids, lost_keys)
    made = await asked.database.run(replay, suspected, asked.size, making.event, report)
    frozen = known.in_force
    if frozen is None:
        raise AssertionError("an incident without a list was refused")
    (root_hash,) = await subtree_roots(asked, log, [Subtree(0, asked.size)])
    head = PlanHead(
        incident=known.name,
        ledger=read_ledger(await asked.database.run(writing.load_position)).digest,
        size=asked.size,
        root_hash=root_hash,
        publication=asked.number,
        version=frozen.version,
        selection=frozen.events.selection,
        expects={each.name: each.expects for each in made.projects},
        targets=tuple(each.path for each in made.targets),
        lost_keys=tuple(lost_keys),
        residuals=tuple(made.residuals),
    )
    return DrawnPlan(write_plan(head, made.steps, making), head, made)


def _whole_ids(connection: Connection, beginnings: Sequence[str]) -> list[str]:
    """The ids of online keys that begin so."""
    if not beginnings:
        return []
    known, found = load_authority(connection, FOREVER).online_ever, []
    for key in beginnings:
        fitting = [each for each in known if each.startswith(key)]
        if len(fitting) > 1:
            raise NegativeAnswerError(
                f"{len(fitting)} online keys of this ledger begin with {key}: give more of the id"
            )
        found += fitting
        if not fitting:
            raise NegativeAnswerError(
                f"{key} was never an online key of this ledger; `tuf-ledger show root@N` names those of a root"
            )
    return found
