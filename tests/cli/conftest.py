"""One ledger for all tests of commands, copied for each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.index import Index, silence


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    silence()
    yield
    silence()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's folder with three files in two projects, one of them yanked, and four publications."""
    index = Index.create(tmp_path_factory.mktemp("template") / "index")
    index.upload("one", requires_python=">=3.9")
    index.upload("one", suffix=".tar.gz")
    index.publish()
    index.upload("two")
    index.publish()
    index.run("yank", "one==1.0", "--reason", "broken")
    index.publish()
    silence()
    return index.folder


@pytest.fixture
def index(template: Path, tmp_path: Path) -> Index:
    """A copy of it."""
    shutil.copytree(template, tmp_path / "index")
    return Index(tmp_path / "index")
