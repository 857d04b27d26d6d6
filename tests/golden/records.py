"""The golden log as files: one record a line, readable where records are text.

A line is JSON: a string for a record that is UTF-8, `{"base64": …}` for any other, `{"repeat": [text, count]}` for a
long one, null for a record without a value.
"""

import asyncio
import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ledger.logs.sqlite import SqliteLog

FOLDER = Path(__file__).parent / "ruleset-0"
Value = bytes | None


class Golden(NamedTuple):
    """Both logs, and what they come to."""

    events: list[Value]
    publications: list[Value]
    digests: dict[str, Any]


def load() -> Golden:
    """The committed files."""
    logs = [
        [_decode(line) for line in (FOLDER / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()]
        for name in ("events", "publications")
    ]
    return Golden(logs[0], logs[1], json.loads((FOLDER / "digests.json").read_text(encoding="utf-8")))


def save(golden: Golden) -> None:
    """Write the files anew."""
    FOLDER.mkdir(exist_ok=True)
    for name, values in (("events", golden.events), ("publications", golden.publications)):
        text = "".join(f"{_encode(value)}\n" for value in values)
        (FOLDER / f"{name}.ndjson").write_text(text, encoding="utf-8")
    text = json.dumps(golden.digests, indent=1, sort_keys=True)
    (FOLDER / "digests.json").write_text(f"{text}\n", encoding="utf-8")


def write_logs(folder: Path, events: Sequence[Value], publications: Sequence[Value]) -> str:
    """Both logs as the embedded log keeps them, in a new folder; returns the URL."""
    for name, values in (("events", events), ("publications", publications)):
        create_log(folder / f"{name}.sqlite")
        append(folder / f"{name}.sqlite", values)
    return f"sqlite:{folder}"


def create_log(path: Path) -> None:
    """An empty log."""

    async def create() -> None:
        log = SqliteLog(path)
        await log.create()
        await log.close()

    asyncio.run(create())


def append(path: Path, values: Iterable[Value]) -> None:
    """Append records, null ones too: another program than ours may have."""
    connection = sqlite3.connect(path)
    try:
        (start,) = connection.execute("SELECT count(*) FROM records").fetchone()
        connection.executemany("INSERT INTO records (idx, value) VALUES (?, ?)", enumerate(values, start))
        connection.commit()
    finally:
        connection.close()


def read(path: Path) -> list[Value]:
    """All records of a log."""
    connection = sqlite3.connect(path)
    try:
        return [value for (value,) in connection.execute("SELECT value FROM records ORDER BY idx")]
    finally:
        connection.close()


def _encode(value: Value) -> str:
    if value is None:
        return "null"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return json.dumps({"base64": b64encode(value).decode()})
    if len(text) > 1000 and len(set(text)) == 1:
        return json.dumps({"repeat": [text[0], len(text)]})
    return json.dumps(text, ensure_ascii=False)


def _decode(line: str) -> Value:
    value = json.loads(line)
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode("utf-8")
    if "repeat" in value:
        text, count = value["repeat"]
        return bytes(text, "utf-8") * int(count)
    return b64decode(value["base64"])
