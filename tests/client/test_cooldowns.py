"""Cooldowns: installers ignore what was uploaded lately, and the index's credential is no way around that."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.client.index import FakeClock, Index
from tests.serving import simple_index

PIP, UV = "pip==26.0", "uv==0.13.9"
"""The first pip with `--uploaded-prior-to`; a uv with `--exclude-newer`."""
COOLDOWN = "2031-01-20T00:00:00Z"
"""Three weeks before the stolen credential is used."""


@pytest.fixture
def stolen(tmp_path: Path, clock: FakeClock) -> Index:
    """A ledger with an honest version, and one by a thief a month later, dated as if it were as old."""
    index = Index.create(tmp_path / "index", clock=clock)
    clock.advance(hours=1)
    index.upload("demo", "1.0")
    index.publish()
    clock.advance(days=40)
    index.publish("--clock-checked")
    clock.advance(days=-39)
    index.upload("demo", "2.0")
    clock.advance(days=39, minutes=1)
    index.publish_and_check()
    return index


def upload_times(index: Index, name: str) -> dict[str, str]:
    page = json.loads((index.public / f"targets/simple/{name}/index.json").read_bytes())
    return {file["filename"]: file["upload-time"] for file in page["files"]}


def test_pages_show_when_an_upload_can_have_come_at_the_earliest(stolen: Index, tmp_path: Path) -> None:
    one, two = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"
    assert upload_times(stolen, "demo") == {one: "2031-01-01T01:00:00Z", two: "2031-02-10T01:00:00Z"}
    stolen.verify()
    stolen.check_rebuilt(tmp_path / "rebuilt" / "public")


# --- real installers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pip and uv, from the package index that this machine uses."""
    folder = tmp_path_factory.mktemp("tools")
    command = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(folder), PIP, UV]
    subprocess.run(command, check=True)
    return folder


def installed(tools: Path, folder: Path, *command: object) -> str | None:
    """The version of `demo` that a command installs into a folder; None if it finds none that fits."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "UV_"))}
    environment: dict[str, Any] = {
        **kept,
        "PYTHONPATH": str(tools),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "UV_CACHE_DIR": str(folder.with_name("uv-cache")),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    arguments = [*map(str, command), "--target", str(folder), "demo"]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    found = [path.name for path in folder.glob("demo-*.dist-info")]
    assert (done.returncode == 0) == bool(found), done.stderr
    return found[0].removeprefix("demo-").removesuffix(".dist-info") if found else None


@pytest.mark.slow
def test_pip_refuses_a_back_dated_upload(stolen: Index, tools: Path, tmp_path: Path) -> None:
    with simple_index(stolen.public) as url:
        pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--index-url", url]
        assert installed(tools, tmp_path / "all", *pip) == "2.0"
        assert installed(tools, tmp_path / "aged", *pip, "--uploaded-prior-to", COOLDOWN) == "1.0"
        assert installed(tools, tmp_path / "later", *pip, "--uploaded-prior-to", "2031-02-11T00:00:00Z") == "2.0"
        assert installed(tools, tmp_path / "none", *pip, "--uploaded-prior-to", "2030-01-01T00:00:00Z") is None


@pytest.mark.slow
def test_uv_refuses_a_back_dated_upload(stolen: Index, tools: Path, tmp_path: Path) -> None:
    with simple_index(stolen.public) as url:
        uv = [tools / "bin/uv", "pip", "install", "--python", sys.executable, "--no-deps", "--default-index", url]
        assert installed(tools, tmp_path / "all", *uv) == "2.0"
        assert installed(tools, tmp_path / "aged", *uv, "--exclude-newer", COOLDOWN) == "1.0"
        assert installed(tools, tmp_path / "later", *uv, "--exclude-newer", "2031-02-11T00:00:00Z") == "2.0"
        assert installed(tools, tmp_path / "none", *uv, "--exclude-newer", "2030-01-01T00:00:00Z") is None
