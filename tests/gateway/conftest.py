"""A served ledger, and clients of its gateway."""

from collections.abc import Iterator

import httpx
import pytest

from tests.client.conftest import clock
from tests.client.index import Index
from tests.gateway.running import gateway

__all__ = ["clock"]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """A ledger with two publications: of one project, and of two. Nobody changes it."""
    index = Index.create(tmp_path_factory.mktemp("served") / "index", "--bins", 2)
    index.upload("my-demo", "1.0", requires_python=">=3.6")
    index.upload("my-demo", "1.0", suffix=".tar.gz")
    index.publish()
    index.upload("my-demo", "2.0", files={"big.bin": bytes(range(256)) * 4096})
    index.upload("other", "1.0")
    index.run("yank", "my-demo==2.0", "--reason", 'broken <b> & "more"')
    index.publish()
    return index


@pytest.fixture(scope="session")
def url(served: Index) -> Iterator[str]:
    """The URL of its gateway."""
    with gateway(served.public, served.context) as found:
        yield found


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[httpx.Client]:
    """A client of it that follows no redirection."""
    with httpx.Client(base_url=url, trust_env=False) as found:
        yield found
