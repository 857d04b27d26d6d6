"""What `ledger.distributions.distribution` may say of a file: facts that the ledger accepts, or a refusal in words."""

import tracemalloc
from pathlib import Path

import msgspec
import pytest

from ledger.distributions.distribution import Distribution, DistributionError, read_distribution
from projections.index.names import check_filename, normalise
from schemas.events import FileUploadedData


def refusal(path: Path) -> str:
    """What is wrong with a file; fails if nothing is, or if it is not said as it should be."""
    with pytest.raises(DistributionError) as caught:
        read_distribution(path)
    return check_message(path, caught.value)


def peak_of(path: Path) -> tuple[str, int]:
    """What is wrong with a file, and the most memory that it took to find out."""
    tracemalloc.start()
    try:
        return refusal(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_message(path: Path, error: DistributionError) -> str:
    message = str(error)
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < len(str(path)) * 6 + 800
    return message


def check_published(distribution: Distribution) -> None:
    """The ledger accepts what we read, as the schema and the rules of names judge it (docs/rules.md section 3)."""
    facts = {
        "filename": distribution.filename,
        "version": distribution.version,
        "length": distribution.length,
        "hashes": {"sha256": distribution.sha256, "blake2b_256": distribution.blake2b_256},
        "requires_python": distribution.requires_python,
        "core_metadata_sha256": distribution.core_metadata_sha256,
    }
    msgspec.convert(facts, FileUploadedData)
    assert normalise(distribution.display_name) == distribution.project
    assert check_filename(distribution.project, distribution.filename, distribution.version, legacy=False) == ""
