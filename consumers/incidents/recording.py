"""Appending what an incident consists of, and reading back whether it counts.

Everything of one command is appended in one batch. Others may append at the same time, so what counts is known only
afterwards.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from consumers.catalog.asking import Asked
from consumers.context import Context
from consumers.incidents.known_incidents import KnownIncident, load_incident
from consumers.produce.appending import NewEvent, actor, make_event
from consumers.prove.subtrees import subtree_roots
from consumers.state.furthest import open_events
from ledger.catalog.states import incident_names
from ledger.clock import SystemClock
from projections.incidents.selection import Selected, parts_of
from projections.log.proofs import Subtree
from schemas.errors import NegativeAnswerError


def incident_event(act: str, name: str, data: Mapping[str, Any]) -> NewEvent:
    """An event about an incident, which names it, too: so `log --incident` finds it.

    Args:
        act: `opened`, `noted`, `selected` or `closed`.
        name: the incident.
        data: the event's data.

    Raises:
        NegativeAnswerError: the name or the data do not fit the schema.
    """
    kind = f"incident.{act}.v1"
    value = make_event(kind, name, data, now=SystemClock().now(), actor=actor(), incident=name)
    return NewEvent(value, kind, f"{act} {name}", {"incident": name})


async def list_records(context: Context, asked: Asked, name: str, events: Selected, version: int) -> list[NewEvent]:
    """The records that say the list of an incident.

    Raises:
        NegativeAnswerError: the incident's name does not fit the schema.
        LogError, CatalogError: see `subtree_roots`.
    """
    async with open_events(context) as log:
        (root_hash,) = await subtree_roots(asked, log, [Subtree(0, asked.size)])
    parts = parts_of(events, version=version, size=asked.size, root_hash=root_hash, publication=asked.number or None)
    return [incident_event("selected", name, msgspec.to_builtins(part)) for part in parts]


async def read_back(asked: Asked, name: str, events: Selected, version: int) -> KnownIncident:
    """The incident as the log has it after a list was appended.

    Args:
        asked: the catalog, brought up to date after the records were appended.
        name: the incident.
        events: the list that was appended.
        version: its version.

    Raises:
        NegativeAnswerError: the list is not the one in force: somebody else was faster, or it was not accepted.
    """
    known = await asked.database.run(load_incident, asked, name)
    if known is None:
        raise NegativeAnswerError(
            f"what was appended was not accepted, so there is no incident {name}: `tuf-ledger log --rejected` says why"
        )
    frozen = known.in_force
    if frozen is None or frozen.version < version:
        raise NegativeAnswerError(
            f"the list that was appended does not count: the incident was closed meanwhile, or somebody put records "
            f"between. Look at it with `tuf-ledger incident show {name}`, and amend it again",
            incident=name,
        )
    if frozen.version > version or frozen.events != events:
        raise NegativeAnswerError(
            f"another list is in force: somebody else amended the incident at the same time (version "
            f"{frozen.version}, event {frozen.first_idx}, {frozen.events.total:,} events). Look at it with `tuf-ledger "
            f"incident show {name}`, and amend it if it lacks something",
            incident=name,
            version=frozen.version,
            event=frozen.first_idx,
        )
    return known


async def incident_of(asked: Asked, name: str) -> KnownIncident:
    """The incident of a name, as the log has it.

    Raises:
        NegativeAnswerError: it was never opened.
    """
    names = await asked.database.run(incident_names)
    return _refuse_if_unknown(await asked.database.run(load_incident, asked, name), name, names)


def _refuse_if_unknown(known: KnownIncident | None, name: str, names: Sequence[str]) -> KnownIncident:
    """The incident that was asked for.

    Raises:
        NegativeAnswerError: it was never opened.
    """
    if known is not None:
        return known
    others = f"; there are {', '.join(names[:5])}" if names else ""
    raise NegativeAnswerError(f"no incident {name} was ever opened{others}. `tuf-ledger incident list` has all of them")
