"""Taking files from a public folder into a rebuilt tree: the logs hold only their digests."""

from pathlib import Path

from ledger.disk.files import StorageError, StorageUnavailableError
from ledger.disk.reading import digest_of
from ledger.storage import Storage
from projections.index.pages import FileFacts
from projections.metadata.paths import companion_path, hashed_path, plain_path


def take_target(storage: Storage, source: Path, path: str, sha256: str) -> int:
    """Copy a target that is neither a page nor a distribution file, checked against the log; return 1, or 0 if it is
    missing.

    Raises:
        StorageError: the file has other bytes than the log says, or cannot be copied.
    """
    hashed = hashed_path(path, sha256)
    if not (source / hashed).exists():
        return 0
    _take(storage, source / hashed, sha256, hashed)
    return 1


def take_file(storage: Storage, source: Path, facts: FileFacts) -> int:
    """Copy a file and what is beside it (core metadata, provenance), checked against the log; return the number of
    files made, 0 if the file is missing.

    Raises:
        StorageError: the file has other bytes than the log says, or cannot be copied.
    """
    hashed = hashed_path(facts.path, facts.sha256)
    present = next((path for path in (source / hashed, source / plain_path(facts.path)) if path.exists()), None)
    if present is None:
        return 0
    _take(storage, present, facts.sha256, hashed, plain_path(facts.path))
    made = 2
    beside = (
        (companion_path(facts.path, "metadata"), facts.core_metadata_sha256),
        (companion_path(facts.path, "provenance"), facts.provenance_sha256),
    )
    for path, sha256 in beside:
        if sha256 and (source / path).exists():
            _take(storage, source / path, sha256, path)
            made += 1
    return made


def _take(storage: Storage, source: Path, sha256: str, *paths: str) -> None:
    try:
        storage.put_file(source, sha256, *paths)
    except StorageUnavailableError as error:
        if digest_of(source) == sha256:
            raise
        raise StorageError(
            f"{source} has other bytes than the log says (SHA-256 {sha256}). Put a good copy there, or delete it, and "
            "give the command again"
        ) from error
