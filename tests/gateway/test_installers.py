"""Real installers, old and new: pip and uv install, download and lock what the gateway serves, now and as it was."""

import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ledger.clock import SystemClock
from tests.client.index import FakeClock, Index
from tests.gateway.running import gateway

pytestmark = pytest.mark.slow

PIPS = ("21.3.1", "23.2.1", "26.0")
"""Before PEP 691, the first with PEP 658 by PEP 714, and one that locks."""
NEWEST = PIPS[-1]
UV = "uv==0.13.9"
BEFORE = "2031-01-02T12:00:00Z"
"""When there was one version of `demo` only."""


def metadata(name: str, version: str, *more: str) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *more]
    return ("\n".join(lines) + "\n").encode()


class Site(NamedTuple):
    """A gateway's URL, its ledger, and a folder with installers."""

    url: str
    served: Index
    tools: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tools, clock = tmp_path_factory.mktemp("tools"), FakeClock()
    for wanted in (*(f"pip=={version}" for version in PIPS), UV):
        command = [sys.executable, "-m", "pip", "--quiet", "install", "--target", str(tools / wanted), wanted]
        subprocess.run(command, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: clock.now())
        index = Index.create(tmp_path_factory.mktemp("site") / "index", "--bins", 2, clock=clock)
        clock.advance(days=1)
        index.upload("demo", "1.0")
        index.publish()
        clock.advance(days=1)
        index.upload("demo", "2.0")
        index.upload("demo", "3.0", requires_python=">=99")
        index.upload("demo", "4.0")
        more = metadata("with-more", "1.0", "Provides-Extra: more", "Requires-Dist: demo; extra == 'more'")
        index.upload("with-more", "1.0", metadata=more)
        index.run("yank", "demo==4.0", "--reason", "broken")
        index.publish()
    with gateway(index.public, index.context, clock=clock) as url:
        yield Site(url, index, tools)


def run(site: Site, tool: str, *command: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run an installer, without settings of this machine's."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "UV_"))}
    environment = {
        **kept,
        "PYTHONPATH": str(site.tools / tool),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "UV_NO_CONFIG": "1",
        "UV_NO_CACHE": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [str(each) for each in command], env=environment, capture_output=True, text=True, check=False, cwd=cwd
    )


class Installer(NamedTuple):
    """Pip in a version, or uv."""

    site: Site
    tool: str

    def install(self, folder: Path, *what: object, at: str = "", answer: int = 0) -> dict[str, str]:
        """Install into a folder; returns the versions that are there, by name."""
        index, uv = f"{self.site.url}{at}/simple/", self.site.tools / UV / "bin/uv"
        command = (
            [uv, "pip", "install", "--python", sys.executable, "--default-index", index]
            if self.tool == UV
            else [sys.executable, "-m", "pip", "install", "--index-url", index]
        )
        done = run(self.site, self.tool, *command, "--target", folder, *what)
        assert (done.returncode == 0) == (answer == 0), done.stdout + done.stderr
        found = [path.name.removesuffix(".dist-info").rpartition("-") for path in folder.glob("*.dist-info")]
        return {name: version for name, _, version in found}


@pytest.fixture(params=[*(f"pip=={version}" for version in PIPS), UV])
def installer(request: pytest.FixtureRequest, site: Site) -> Installer:
    return Installer(site, request.param)


def digest_of(site: Site, filename: str) -> str:
    (path,) = (path for path in site.served.public.rglob(filename))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_yanks_and_python_versions_are_heeded(installer: Installer, tmp_path: Path) -> None:
    assert installer.install(tmp_path / "last", "demo") == {"demo": "2.0"}
    assert installer.install(tmp_path / "yanked", "demo==4.0") == {"demo": "4.0"}
    assert installer.install(tmp_path / "python", "demo==3.0", answer=1) == {}
    assert installer.install(tmp_path / "none", "nonesuch", answer=1) == {}


def test_extras(installer: Installer, tmp_path: Path) -> None:
    assert installer.install(tmp_path / "with", "With.More[more]") == {"demo": "2.0", "with_more": "1.0"}
    assert installer.install(tmp_path / "without", "with_more") == {"with_more": "1.0"}


def test_required_hashes(installer: Installer, tmp_path: Path) -> None:
    digest = digest_of(installer.site, "demo-2.0-py3-none-any.whl")
    for name, wanted, answer in (("right", digest, 0), ("wrong", "0" * 64, 1)):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.txt").write_text(f"demo==2.0 --hash=sha256:{wanted}\n")
        found = installer.install(tmp_path / name, "--require-hashes", "-r", tmp_path / f"{name}.txt", answer=answer)
        assert found == ({} if answer else {"demo": "2.0"})


def test_the_index_as_it_was(installer: Installer, tmp_path: Path) -> None:
    assert installer.install(tmp_path / "number", "demo", at="/at/2") == {"demo": "1.0"}
    assert installer.install(tmp_path / "time", "demo", at=f"/at/{BEFORE}") == {"demo": "1.0"}
    assert installer.install(tmp_path / "later", "demo", at="/at/3") == {"demo": "2.0"}
    assert installer.install(tmp_path / "missing", "with-more", at=f"/at/{BEFORE}", answer=1) == {}
    assert installer.install(tmp_path / "future", "demo", at="/at/2999-01-01T00:00:00Z", answer=1) == {}


@pytest.mark.parametrize("version", PIPS)
def test_pip_downloads(site: Site, tmp_path: Path, version: str) -> None:
    command = [sys.executable, "-m", "pip", "-v", "download", "--index-url", f"{site.url}/simple/", "-d", tmp_path]
    done = run(site, f"pip=={version}", *command, "with-more[more]")
    assert done.returncode == 0, done.stderr
    for path in tmp_path.iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest_of(site, path.name)
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"demo", "with_more"}
    if version != PIPS[0]:
        assert ".metadata" in done.stdout, "what a wheel needs is known without the wheel (PEP 658)"


def locked_files(found: Any) -> dict[str, str]:
    """The digests in a lock, by URL."""
    files = [each for package in found.get("package", found.get("packages", ())) for each in package.get("wheels", ())]
    return {each["url"]: each.get("hash", "").removeprefix("sha256:") or each["hashes"]["sha256"] for each in files}


def test_pip_locks(site: Site, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "lock", "--index-url", f"{site.url}/simple/", "demo", "-o", "pylock.toml"]
    done = run(site, f"pip=={NEWEST}", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    files = locked_files(tomllib.loads((tmp_path / "pylock.toml").read_text()))
    assert list(files.values()) == [digest_of(site, "demo-2.0-py3-none-any.whl")]
    assert all(url.startswith(f"{site.url}/packages/") for url in files)


@pytest.mark.parametrize(("at", "version"), [("", "2.0"), (f"/at/{BEFORE}", "1.0")])
def test_uv_locks_and_syncs(site: Site, tmp_path: Path, at: str, version: str) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "user"\nversion = "1"\nrequires-python = ">=3.11,<3.20"\ndependencies = ["demo"]\n'
    )
    uv = site.tools / UV / "bin/uv"
    for command in (("lock",), ("lock", "--check"), ("sync", "--frozen")):
        done = run(
            site,
            UV,
            uv,
            *command,
            "--python",
            sys.executable,
            "--default-index",
            f"{site.url}{at}/simple/",
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
    files = locked_files(tomllib.loads((tmp_path / "uv.lock").read_text()))
    wheel = f"demo-{version}-py3-none-any.whl"
    assert [digest for url, digest in files.items() if url.endswith(wheel)] == [digest_of(site, wheel)]
    assert len(list(tmp_path.glob(f".venv/lib/python*/site-packages/demo-{version}.dist-info"))) == 1
