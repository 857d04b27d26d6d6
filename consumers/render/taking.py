"""Taking distribution files from a public folder into a rebuilt tree: the logs hold only their digests."""

from pathlib import Path

from ledger.storage import Storage
from projections.index.pages import FileFacts
from projections.metadata.paths import companion_path, hashed_path, plain_path


def take_file(storage: Storage, source: Path, facts: FileFacts) -> int:
    """Copy a file and the metadata file beside it, checked against the log; return the number of files made, 0 if the
    file is missing.

    Raises:
        StorageError: the file has other bytes than the log says, or cannot be copied.
    """
    hashed = hashed_path(facts.path, facts.sha256)
    present = next((path for path in (source / hashed, source / plain_path(facts.path)) if path.exists()), None)
    if present is None:
        return 0
    storage.put_file(present, facts.sha256, hashed, plain_path(facts.path))
    metadata = companion_path(facts.path, "metadata")
    if facts.core_metadata_sha256 and (source / metadata).exists():
        storage.put_file(source / metadata, facts.core_metadata_sha256, metadata)
        return 3
    return 2
