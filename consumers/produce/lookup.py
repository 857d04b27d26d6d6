"""Projects and files as of the last publication, looked up in a state."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from consumers.state import records
from ledger.state import StateDamagedError
from ledger.state.store import ReadingStore
from projections.index.pages import FileFacts, ProjectHeader, read_facts
from projections.log.operations import project_key


class KnownProject(NamedTuple):
    """A project as of the last publication that the state has applied."""

    name: str
    header: ProjectHeader
    files: dict[str, FileFacts]


async def look_up(store: ReadingStore, names: Sequence[str]) -> dict[str, KnownProject]:
    """Look up projects by name; unknown projects are left out.

    Raises:
        StateDamagedError: the state contradicts itself.
    """
    keys = {project_key(name): name for name in names}
    found = {}
    for key, aggregate in (await store.run(records.load_facts, list(keys))).items():
        header = msgspec.msgpack.decode(aggregate.header, type=ProjectHeader)
        files = {facts.filename: facts for chunk in aggregate.chunks for facts in read_facts(chunk)}
        if not all(facts.release in header.releases for facts in files.values()):
            raise StateDamagedError(
                f"{store.path} is damaged: {keys[key]} has a file without a release. Stop its consumer and delete the "
                "state file; it is rebuilt from the logs"
            )
        found[keys[key]] = KnownProject(keys[key], header, files)
    return found
