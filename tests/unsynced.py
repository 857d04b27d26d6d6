"""No test waits for a disk: what is synced, and when, is the subject of `tests/simulation`, in memory.

Where others write much, to sync takes seconds. In processes of tests the system's calls do nothing, and SQLite is told
not to sync. Nothing else differs, and no test can tell: what was written is read back whether it is on the disk or not.
`--sync` leaves everything as it is; `python -m tests --all` runs so.
"""

import os
from pathlib import Path
from typing import Any, Literal

from ledger import catalog
from ledger.databases import asynchronous, plain

ROOT = Path(__file__).resolve().parents[1]
_STARTUP = Path(__file__).resolve().parent / "startup"


class _State:
    is_on = False


def begin() -> None:
    """From now on nothing is synced, in this process and in those that it starts."""
    _State.is_on = True
    os.environ["PYTHONPATH"] = path()
    for name in ("fsync", "sync"):
        setattr(os, name, lambda *_: None)
    connect, connect_asynchronously = plain.connect, asynchronous._connect

    def unsynced(file: Path, mode: Literal["rw", "rwc"], *pragmas: str) -> Any:
        others = [each for each in pragmas if not each.startswith("synchronous")]
        return connect(file, mode, *others, "synchronous = OFF")

    async def unsynced_asynchronously(file: Path, parameters: str, *statements: str) -> Any:
        others = [each for each in statements if not each.startswith("PRAGMA synchronous")]
        return await connect_asynchronously(file, parameters, *others, "PRAGMA synchronous = OFF")

    catalog.SYNCHRONOUS = "OFF"
    # Not assigned: mypy forbids to assign to a function.
    setattr(plain, "connect", unsynced)  # noqa: B010
    setattr(asynchronous, "_connect", unsynced_asynchronously)  # noqa: B010


def path() -> str:
    """The PYTHONPATH of processes that tests start: this source, and what begins with nothing synced."""
    return os.pathsep.join([str(_STARTUP), str(ROOT)] if _State.is_on else [str(ROOT)])
