"""Storing distribution files in the public folder, before any metadata names them (PEP 458)."""

from ledger.distributions.distribution import Distribution
from ledger.storage import Storage
from projections.metadata.paths import companion_path, hashed_path, package_target, plain_path
from schemas.errors import NegativeAnswerError
from schemas.events import FileUploaded


def refuse_withheld(storage: Storage, hashed: str, advice: str) -> None:
    """Refuse to store what is withheld: it would be served again at once.

    Raises:
        NegativeAnswerError: bytes of this consistent-snapshot name are withheld.
    """
    if storage.evidence.has(hashed):
        name = hashed.rpartition("/")[2].partition(".")[2]
        raise NegativeAnswerError(f"the bytes of {name} are withheld: {advice}")


def is_stored(storage: Storage, upload: FileUploaded) -> bool:
    """Whether the bytes of an upload are where they are served, or kept as evidence."""
    data = upload.data
    hashed = hashed_path(package_target(data.hashes.blake2b_256, data.filename), data.hashes.sha256)
    return storage.entry(hashed) is not None or storage.evidence.has(hashed)


def store(storage: Storage, each: Distribution) -> None:
    """Store a file under its consistent-snapshot name and under its plain name, and its metadata beside it.

    Raises:
        NegativeAnswerError: the file is withheld.
    """
    path = package_target(each.blake2b_256, each.filename)
    hashed = hashed_path(path, each.sha256)
    refuse_withheld(storage, hashed, f"restore it first (`tuf-ledger restore {each.filename}`)")
    storage.put_file(each.path, each.sha256, hashed, plain_path(path))
    metadata = companion_path(path, "metadata")
    if each.core_metadata is not None and storage.digest(metadata) != each.core_metadata_sha256:
        storage.replace(metadata, each.core_metadata)
