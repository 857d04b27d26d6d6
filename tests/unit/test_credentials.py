"""`ledger.http.credentials`: who gets which password, and who gets none."""

from base64 import b64decode
from pathlib import Path

import httpx
import pytest

from ledger.http.credentials import Credentials

NETRC = """machine files.example.org login reader password at-files
machine index.example.org login reader password at-index
default login anybody password for-all
"""


def sent(source: str, url: str) -> str | None:
    """What a request says about who asks."""
    header = Credentials(httpx.URL(source)).header(httpx.URL(url))
    return None if header is None else b64decode(header.removeprefix("Basic ")).decode()


@pytest.fixture(autouse=True)
def _netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(NETRC, encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize(
    ("source", "url", "said"),
    [
        ("https://index.example.org/simple/", "https://index.example.org/simple/six/", "reader:at-index"),
        ("https://me:mine@index.example.org/simple/", "https://index.example.org/six/", "me:mine"),
        ("https://me:mine@index.example.org/simple/", "https://index.example.org:8443/six/", "reader:at-index"),
        ("https://someone@index.example.org/simple/", "https://index.example.org/six/", None),
        ("http://me:mine@index.example.org/simple/", "http://index.example.org/six/", "me:mine"),
        # Another host gets what netrc says of it by name, and only over TLS: a page can link to wherever it likes.
        ("https://index.example.org/simple/", "https://files.example.org/six", "reader:at-files"),
        ("https://index.example.org/simple/", "http://files.example.org/six", None),
        ("http://index.example.org/simple/", "http://files.example.org/six", None),
        ("http://me:mine@index.example.org/simple/", "http://index.example.org:8080/six", None),
        # `default` is for the host that was named on the command line.
        ("https://other.example.org/simple/", "https://other.example.org/six", "anybody:for-all"),
        ("https://index.example.org/simple/", "https://evil.example.org/six", None),
    ],
)
def test_a_password_goes_to_whom_it_is_for(source: str, url: str, said: str | None) -> None:
    assert sent(source, url) == said
