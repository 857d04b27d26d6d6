"""SHA-256 of the files of a backup: a copy that was cut or altered is told from one of an earlier moment.

A log that lacks its end is a log, and a record that somebody altered makes what was published look forged. So neither
can be seen from the records alone. The file has the form that `sha256sum --check` reads.
"""

import asyncio
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from ledger.disk.files import reading, write_file, writing
from ledger.disk.syncing import sync_file
from schemas.errors import NegativeAnswerError

SUMS = "SHA256SUMS"
_READ_BYTES = 1 << 22
_DIGEST_LENGTH = 64


async def write_sums(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of files of a folder into it, durably.

    Raises:
        StorageError: a file cannot be read, or the digests cannot be written.
    """
    lines = [f"{await _digest(folder / name)}  {name}\n" for name in sorted(names)]
    with writing(folder / SUMS):
        write_file(str(folder / SUMS), "".join(lines).encode(), is_new=True)
    sync_file(folder / SUMS)


async def check_sums(folder: Path, names: Iterable[str]) -> None:
    """Compare files of a folder with what `write_sums` wrote, if it did: earlier backups have no digests.

    Raises:
        NegativeAnswerError: a file has other bytes than it had, or is missing.
        StorageError: a file cannot be read.
    """
    if not (folder / SUMS).exists():
        return
    with reading(folder / SUMS):
        lines = (folder / SUMS).read_text(encoding="ascii", errors="replace").splitlines()
    digests = {line[_DIGEST_LENGTH + 2 :]: line[:_DIGEST_LENGTH] for line in lines}
    for name in names:
        exists = (folder / name).exists()
        if exists != (name in digests) or (exists and await _digest(folder / name) != digests[name]):
            was = "is not what it was" if exists else "is missing, and was there"
            raise NegativeAnswerError(
                f"{folder / name} {was} when the backup was made ({SUMS}). It is damaged, or was changed since: use "
                f"another one. If you changed it, delete {SUMS}"
            )


async def _digest(path: Path) -> str:
    digest = sha256()
    with reading(path), path.open("rb") as file:
        while content := await asyncio.to_thread(file.read, _READ_BYTES):
            digest.update(content)
    return digest.hexdigest()
