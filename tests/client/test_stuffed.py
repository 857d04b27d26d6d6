"""A bin that somebody stuffed with targets, beyond what clients download by default."""

import json
from hashlib import sha256
from pathlib import Path

from tests.client.index import Index, lines
from tests.client.processes import execute
from tests.factory import Make

DEFAULT_LIMIT_BYTES = 5_000_000
"""What python-tuf, go-tuf and tuf-js take for a bin whose length they do not know."""


def names_in_bin(index: int, bits: int, count: int) -> list[str]:
    """Names of targets that all fall into one bin: to find one takes as many tries as there are bins."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        path = f"{'x' * 150}-{number}"
        if sha256(path.encode()).digest()[0] >> (8 - bits) == index:
            found.append(path)
        number += 1
    return found


def test_clients_download_it_and_the_log_names_who_fills_it(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--bins", "4")
    make = Make()
    names = names_in_bin(2, 2, 20_000)
    index.run("append", stdin=lines(make.target_added(name, "content", 7) for name in names))
    done = execute("publish", "--ledger", index.folder, env={"TUF_LEDGER_LOGGING_FORMAT": "json"})
    metadata = index.public / "metadata"
    snapshot = json.loads((metadata / "2.snapshot.json").read_bytes())["signed"]["meta"]
    stuffed = metadata / "2.bin-2.json"
    assert stuffed.stat().st_size > DEFAULT_LIMIT_BYTES
    assert snapshot["bin-2.json"]["length"] == stuffed.stat().st_size
    (index.public / f"targets/{sha256(b'content').hexdigest()}.{names[0]}").write_bytes(b"content")
    seen = index.check(others=names[:1], files=False)
    assert seen.number == 2
    (warning,) = [json.loads(line) for line in done.stderr.splitlines() if "a bin is very long" in line]
    assert (warning["bin"], warning["most"]) == ("bin-2", "other targets")
    assert warning["of_these"] >= len(names)
