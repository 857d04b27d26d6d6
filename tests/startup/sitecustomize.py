"""Python imports this first in every process that a test starts with `tests.unsynced.path()` on its PYTHONPATH."""

import os

os.fsync = lambda _: None  # type: ignore[assignment]
os.sync = lambda: None
