"""Floors: what the same bytes cost one thread that does nothing else, buffered, without a log or a state.

And an afternoon's work: the same bins with python-tuf's model, loaded, changed, signed and written one by one.
"""

import atexit
import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, TargetFile, Targets

from schemas import canonical
from schemas.events import Event

_NEVER = datetime(2100, 1, 1, tzinfo=UTC)


def publication(files: Sequence[Path], pages: Sequence[Path] = ()) -> float:
    """Sign, hash and write the files of a publication, and hash and write its pages; in seconds."""
    unsigned = [path.read_bytes() for path in pages]
    payloads = [canonical.encode(json.loads(path.read_bytes())["signed"]) for path in files]
    signer = CryptoSigner.generate_ed25519()
    target = _folder(files[0].parents[2])
    started = perf_counter()
    for index, payload in enumerate(payloads):
        signature = signer.sign(payload)
        file = b'{"signatures":[{"keyid":"%s","sig":"%s"}],"signed":%s}' % (
            signature.keyid.encode(),
            signature.signature.encode(),
            payload,
        )
        hashlib.sha256(file).hexdigest()
        _write(os.path.join(target, str(index)), file)  # noqa: PTH118  # the fastest way
    for index, page in enumerate(unsigned):
        hashlib.sha256(page).hexdigest()
        _write(os.path.join(target, f"page-{index}"), page)  # noqa: PTH118
    seconds = perf_counter() - started
    os.sync()  # else the next publication's sync would write these files too
    return seconds


def rebuild(log: Path, tree: Path) -> float:
    """Read, decode and hash every record of a log, and hash and write every byte of a tree; in seconds."""
    decode = msgspec.json.Decoder(Event).decode
    started = perf_counter()
    connection = sqlite3.connect(log)
    for (value,) in connection.execute("SELECT value FROM records ORDER BY idx"):
        with suppress(msgspec.MsgspecError):
            decode(value)
        hashlib.sha256(value).digest()
    connection.close()
    seconds = perf_counter() - started
    target = _folder(tree.parent)
    for index, data in enumerate(_files(tree)):
        # A folder holds a thousand: that of one flat folder of a million would be measured instead.
        folder = os.path.join(target, str(index // 1000))  # noqa: PTH118
        started = perf_counter()
        if index % 1000 == 0:
            os.mkdir(folder)  # noqa: PTH102
        hashlib.sha256(data).digest()
        _write(os.path.join(folder, str(index)), data)  # noqa: PTH118
        seconds += perf_counter() - started
    return seconds


def afternoon(files: Sequence[Path]) -> float:
    """Load bins with python-tuf's model, change a target in each, sign and write them; in seconds."""
    signer = CryptoSigner.generate_ed25519()
    target = _folder(files[0].parents[2])
    started = perf_counter()
    for index, path in enumerate(files):
        metadata: Metadata[Targets] = Metadata.from_file(str(path))
        metadata.signed.targets["changed"] = TargetFile(1, {"sha256": "0" * 64}, "changed")
        metadata.signed.version += 1
        metadata.signed.expires = _NEVER
        metadata.sign(signer)
        metadata.to_file(os.path.join(target, str(index)))  # noqa: PTH118
    return perf_counter() - started


def _folder(parent: Path) -> str:
    """A new folder to write into, deleted when the program ends.

    Not before: ext4 looks at each inode that was freed in the last minutes before it gives out another, and a thousand
    files that were deleted make every new one cost 0.3 ms more. What is measured next would pay for that.
    """
    folder = tempfile.mkdtemp(prefix="floor-", dir=parent)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _files(tree: Path) -> Iterator[bytes]:
    """Every file once: a second name for the same bytes is no second file."""
    seen: set[int] = set()
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118
            status = os.stat(path)  # noqa: PTH116
            if status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            yield Path(path).read_bytes()


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as out:  # noqa: PTH123  # the fastest way
        out.write(data)
