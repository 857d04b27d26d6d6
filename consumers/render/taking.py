"""Distribution files for a rebuilt tree, taken from a public folder: the logs hold their digests only."""

from pathlib import Path

from ledger.storage.directory import DirectoryStorage
from projections.index.pages import FileFacts
from projections.metadata.bins import hashed_path


def take_file(storage: DirectoryStorage, source: Path, facts: FileFacts) -> int:
    """Copy a file, and the metadata file beside it, checked against the log; gives how many files that
    made, 0 if the file is not there.

    Raises:
        StorageError: it is not what the log says, or cannot be copied.
    """
    hashed = hashed_path(facts.path, facts.sha256)
    present = next((path for path in (source / hashed, source / f"targets/{facts.path}") if path.exists()), None)
    if present is None:
        return 0
    storage.copy(present, hashed, facts.sha256)
    storage.link(f"targets/{facts.path}", hashed)
    metadata = source / f"targets/{facts.path}.metadata"
    if facts.core_metadata_sha256 and metadata.exists():
        storage.copy(metadata, f"targets/{facts.path}.metadata", facts.core_metadata_sha256)
        return 3
    return 2
