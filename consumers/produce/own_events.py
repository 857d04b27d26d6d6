"""An upload's event that its producer made, and the file that it is about."""

import hashlib
from pathlib import Path

from consumers.produce.appending import NewEvent
from ledger.disk.files import reading
from ledger.distributions.distribution import Distribution, read_distribution
from projections.log.operations import type_of
from schemas.codec import Rejection, decode_event
from schemas.errors import NegativeAnswerError
from schemas.events import MAX_EVENT_BYTES, FileUploaded

_SPACE = b" \t\r\n"


def read_own_upload(event_path: Path, path: Path) -> tuple[NewEvent, Distribution]:
    """Read a `file.uploaded` event, one JSON object, and the file whose bytes it names.

    Raises:
        NegativeAnswerError: it is no such event, or it is about other bytes.
        DistributionError: the event names core metadata, and the file has none that can be read.
        StorageError: one of the two cannot be read.
    """
    with reading(event_path), event_path.open("rb") as file:
        value = file.read(2 * MAX_EVENT_BYTES).strip(_SPACE)
    event = decode_event(value)
    if isinstance(event, Rejection):
        raise NegativeAnswerError(f"{event_path} is no event: {event.code}: {event.detail}")
    if not isinstance(event, FileUploaded):
        raise NegativeAnswerError(f"{event_path} is a {type_of(type(event))}: append it with `tuf-ledger append`")
    data = event.data
    with reading(path), path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        blake2b = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
        length = file.tell()
    if (data.length, data.hashes.sha256, data.hashes.blake2b_256) != (length, sha256, blake2b):
        raise NegativeAnswerError(
            f"{event_path} is about other bytes than {path}, which has {length:,} bytes, SHA-256 {sha256}, and "
            f"BLAKE2b-256 {blake2b}"
        )
    metadata = None if data.core_metadata_sha256 is None else read_distribution(path).core_metadata
    if metadata is not None and hashlib.sha256(metadata).hexdigest() != data.core_metadata_sha256:
        raise NegativeAnswerError(f"{event_path} names another core metadata than {path} has")
    distribution = Distribution(
        path=path,
        filename=data.filename,
        project=event.subject,
        display_name=event.subject,
        version=data.version,
        requires_python=data.requires_python,
        length=length,
        sha256=sha256,
        blake2b_256=blake2b,
        core_metadata=metadata,
        core_metadata_sha256=data.core_metadata_sha256,
    )
    names = {"project": event.subject, "file": data.filename}
    return NewEvent(value, type_of(FileUploaded), data.filename, names), distribution
