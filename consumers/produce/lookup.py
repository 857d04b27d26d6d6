"""What this machine knows of projects and files: the state of whichever consumer runs here."""

from typing import NamedTuple

import msgspec

from consumers.context import Context
from consumers.state import records
from consumers.state.furthest import STATES
from ledger.state.errors import StateDamagedError, StateMissingError, StoreError
from projections.index.pages import FileFacts, ProjectHeader, read_facts


class KnownProject(NamedTuple):
    """A project as of the last publication that the state has applied."""

    name: str
    header: ProjectHeader
    files: dict[str, FileFacts]


class Lookup(NamedTuple):
    """Projects by name, without those that do not exist, and the publication (0: nothing is known here).

    `problem` says which state there is and cannot be used.
    """

    number: int
    projects: dict[str, KnownProject]
    problem: str = ""


async def look_up(context: Context, names: list[str]) -> Lookup:
    """Look projects up in the state that has applied most."""
    best, problem = Lookup(0, {}), ""
    for name in STATES:
        store = context.store(name, read_only=True)
        try:
            await store.open()
            position = await store.load_position()
            if position is None or position.number <= best.number:
                continue
            aggregates = await records.load_facts(store, [f"project:{each}" for each in names])
        except StateMissingError:
            continue
        except StoreError as error:
            problem = str(error)
            continue
        finally:
            await store.close()
        projects = {}
        for key, aggregate in aggregates.items():
            project = key.removeprefix("project:")
            header = msgspec.msgpack.decode(aggregate.header, type=ProjectHeader)
            files = {facts.filename: facts for chunk in aggregate.chunks for facts in read_facts(chunk)}
            if not all(facts.release in header.releases for facts in files.values()):
                raise StateDamagedError(
                    f"{store.path} is damaged: {project} has a file of no release. Stop that consumer and delete the "
                    "state file; it is rebuilt from the logs"
                )
            projects[project] = KnownProject(project, header, files)
        best = Lookup(position.number, projects)
    return best._replace(problem=problem)
