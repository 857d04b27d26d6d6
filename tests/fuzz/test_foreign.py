"""Metadata in which a stranger has put anything anywhere is compared, or refused with an error that says so."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consumers.cli.differences import Counts, said_of_trees
from consumers.reading.trees import MetadataTree
from ledger.disk.files import StorageError
from ledger.storage.folder import FolderFiles
from projections.metadata.facts import FactsError
from schemas.errors import NegativeAnswerError
from tests.client.test_diff_trees import foreign_repository
from tests.fuzz.budget import examples, seeds

STRANGE: list[Any] = [None, True, -1, 0, 2**70, 1.5, "", "x", "../x", [], [[]], {}, {"x": 1}, "\x1b[31m", 10**400]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """All containers in a value, each with each of its keys."""
    keys = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(keys):
        yield value, key
        yield from places(each)


@pytest.mark.parametrize("seed", seeds(4))
def test_anything_anywhere(seed: int, tmp_path: Path) -> None:
    rng = Random(seed)
    foreign_repository(tmp_path / "one", {"a": b"1", "b": b"2"}, bins=1)
    foreign_repository(tmp_path / "two", {"a": b"1", "c": b"2"}, bins=1)
    outcomes = {True: 0, False: 0}
    for _ in range(examples(120)):
        path = rng.choice(sorted((tmp_path / "two").iterdir()))
        before = path.read_bytes()
        value = json.loads(before)
        container, key = rng.choice(list(places(value)))
        container[key] = rng.choice(STRANGE)
        path.write_text(json.dumps(value))
        outcomes[is_compared(tmp_path)] += 1
        path.write_bytes(before)
    assert all(outcomes.values())


def is_compared(folder: Path) -> bool:
    """Whether the two can be compared, and differ; if not, the error is one for people."""
    counts = Counts()
    try:
        trees = [MetadataTree(FolderFiles(folder / name), name) for name in ("one", "two")]
        for said in said_of_trees(*trees):
            json.dumps(said.facts)
            counts.add(said)
    except (FactsError, StorageError, NegativeAnswerError):
        return False
    return counts.differs
