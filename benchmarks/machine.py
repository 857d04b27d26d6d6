"""Where and with what a figure was measured."""

import platform
import sqlite3
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("tuf", "securesystemslib", "cryptography", "msgspec", "orjson", "sqlalchemy", "aiosqlite", "aiokafka")


def describe() -> list[str]:
    """The machine and the versions that matter, a line each."""
    processor = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor() or "unknown processor",
    )
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    cores = sum(line.startswith("processor") for line in _lines("/proc/cpuinfo"))
    return [
        f"machine   {processor}, {cores} cores, {int(memory) / 2**20:.0f} GiB, {platform.system()}",
        f"versions  Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {packages}",
    ]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
