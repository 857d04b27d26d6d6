"""What a team found in a rehearsal, against the answer."""

from collections.abc import Sequence
from typing import NamedTuple

from consumers.catalog.asking import open_catalog
from consumers.context import Context
from consumers.incidents.known_incidents import load_incident
from consumers.incidents.stories.deeds import Story
from ledger.catalog.states import incident_names
from projections.incidents.selection import Run, runs_of, together, without


class Marking(NamedTuple):
    """The incidents that a team opened, and how their lists, taken together, differ from the answer: events beyond it,
    and events of it that were overlooked.
    """

    incidents: Sequence[str]
    beyond: Sequence[int]
    overlooked: Sequence[int]


async def mark(context: Context, story: Story) -> Marking:
    """Compare the lists in force of all incidents in the ledger of a rehearsal with the suspects of its story.

    Raises:
        LogError, CatalogError: see `open_catalog`.
    """
    async with open_catalog(context) as asked:
        names = await asked.database.run(incident_names)
        known = [await asked.database.run(load_incident, asked, name) for name in names]
    lists = [each.in_force.events.runs for each in known if each is not None and each.in_force is not None]
    found, suspects = together(*lists), runs_of(story.suspects)
    return Marking(names, _indices(without(found, suspects)), _indices(without(suspects, found)))


def _indices(runs: Sequence[Run]) -> list[int]:
    return [index for first, end in runs for index in range(first, end)]
