"""Make the golden log and its digests anew: `python -m tests.golden.make`.

To be run when ruleset 0 changes on purpose, and never again for a ruleset that is frozen: the point of these files is
that the same log gives the same bytes for ever. Look at the difference before it is committed: `events.ndjson` and
`publications.ndjson` change when the story or the form of records does, `digests.json` alone when what they make does.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.client.index import silence
from tests.golden.driver import Driver
from tests.golden.history import History
from tests.golden.records import FOLDER, Golden, save
from tests.golden.replay import replay


def tell(folder: Path) -> tuple[list[bytes | None], list[bytes | None]]:
    """Tell the story in an empty folder; returns both logs."""
    driver = Driver(folder)
    History(driver).play()
    return driver.events(), driver.publications()


def make() -> Golden:
    """The golden log, as the program makes it now."""
    silence()
    with tempfile.TemporaryDirectory() as folder:
        events, publications = tell(Path(folder))
        digests: dict[str, Any] = replay(Path(folder) / "replayed", events, publications)
    return Golden(events, publications, digests)


if __name__ == "__main__":
    golden = make()
    save(golden)
    sys.stdout.write(
        f"{FOLDER}: {len(golden.events)} events, {len(golden.publications)} records of publications, "
        f"{len(golden.digests['files'])} files, {len(golden.digests['judged'])} records without effect\n"
    )
