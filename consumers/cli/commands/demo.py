"""`tuf-ledger demo`: the whole story on real files, in a folder of its own."""

import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple

import click
import orjson
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater

from consumers.cli.shared import translated
from ledger.clock import SystemClock, to_instant
from ledger.config import ConfigError
from ledger.distributions.distribution import Distribution, find_distributions, read_distribution
from projections.metadata.paths import (
    JSON_LIST,
    METADATA,
    PACKAGES,
    TARGETS,
    hashed_path,
    metadata_path,
    package_target,
    page_target,
    plain_path,
)
from schemas.errors import NegativeAnswerError, TemporaryError

DOWNLOADS = ("six==1.17.0", "idna==3.10", "iniconfig==2.1.0", "packaging==25.0")
SOURCE_PACKAGE = "six==1.17.0"


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE…]", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Work in this new folder, and keep it afterwards.",
)
def demo(*, files: tuple[Path, ...], keep: Path | None) -> None:
    """Show what the ledger does, with real distribution files.

    The demonstration takes under two minutes and needs no server. Without FILEs, pip downloads a few small packages.
    Every line that begins with $ is a command that you can try.

    \b
    Example:
      tuf-ledger demo --keep tour
    """
    with translated():
        files = tuple(path.absolute() for path in files)  # commands run in the demonstration's own folder
        if keep is not None:
            if keep.exists() and any(keep.iterdir()):
                raise ConfigError(f"{keep} is not empty; give --keep a new folder")
            keep.mkdir(parents=True, exist_ok=True)
            _Story(keep.resolve()).tell(files)
            click.echo(f"\nEverything is in {keep}: try `tuf-ledger info --ledger {keep}/index`, and docs/auditing.md.")
        else:
            with tempfile.TemporaryDirectory(prefix="tuf-ledger-demo-") as folder:
                _Story(Path(folder)).tell(files)


class _Story:
    """The steps, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = folder / "index"
        self._public = self._index / "public"
        self._step = 0

    def tell(self, files: tuple[Path, ...]) -> None:
        self._title("Some real distribution files")
        downloads = files or _download(self._folder / "downloads")
        found = next(find_distributions(downloads), None)
        if found is None:
            raise NegativeAnswerError("no wheels or source distributions (*.whl, *.tar.gz, *.zip) were found there")
        chosen = read_distribution(found)

        self._title("A new ledger: two logs, a first root, and its first publication")
        self._run("init", "index", "--origin", "demo.localhost/index", "--timestamp-expiry", "1h")

        self._title("The index uploads the files: each upload is an event; one publication covers all")
        self._run("add", "--ledger", "index", *(str(path) for path in downloads))
        self._run("publish", "--ledger", "index")

        with _serve(self._public) as url:
            client = _Client(self._folder / "client", self._public, url)
            self._title("python-tuf's own client checks every signature from the first root on")
            click.echo(client.check())

            self._title("A release turns out to be broken: the index yanks it, and every client sees that")
            release = f"{chosen.project}=={chosen.version}"
            self._run("yank", "--ledger", "index", release, "--reason", "breaks on leap days")
            self._run("publish", "--ledger", "index")
            click.echo(client.check())
            self._run("diff", "--ledger", "index", "2", "3")

            self._title("The online key is rotated, in two steps, so that no client ever fails")
            self._run("ceremony", "--ledger", "index", "--rotate-online")
            click.echo(client.check())

        self._title("A third party rebuilds everything from a copy of the logs, without any key")
        shutil.copytree(self._index / "log", self._folder / "elsewhere" / "log")
        self._run(
            "rebuild",
            "--log",
            "sqlite:elsewhere/log",
            "--to",
            "elsewhere/public",
            "--all-versions",
            "--files",
            "index/public",
        )
        click.echo(_compare(self._public, self._folder / "elsewhere" / "public"))

        self._title("From the same copy, the third party learns what happened, and who did it")
        self._run("log", "--log", "sqlite:elsewhere/log", "--limit", "3")
        self._run("blame", "--log", "sqlite:elsewhere/log", chosen.project)

        practice = self._folder / "practice"
        shutil.copytree(self._index, practice)
        self._title("An attacker changes one byte of a served file: verification names the file")
        changed = next(
            path for path in sorted(self._public.glob(f"{plain_path(PACKAGES)}*/*/*/*")) if path.suffix == ".whl"
        )
        data = bytearray(changed.read_bytes())
        data[len(data) // 2] ^= 1
        changed.write_bytes(data)
        self._run(
            "verify",
            "--ledger",
            "index",
            "--root",
            f"elsewhere/public/{metadata_path('root', 1)}",
            "--served",
            "index/public",
            answer=1,
        )
        self._respond(chosen)
        click.echo(SUMMARY)

    def _respond(self, chosen: Distribution) -> None:
        """An incident, from the theft to the proof that clients have the clean state, on a copy of the ledger."""
        ledger, practice = ("--ledger", "practice"), self._folder / "practice"
        self._title("On a copy of the ledger: a thief uploads with a stolen token, and yanks an honest release")
        theft = _Theft(chosen)
        theft.store(practice / "public")
        (self._folder / "theft.ndjson").write_text(theft.events(), encoding="utf-8")
        self._run("append", *ledger, "theft.ndjson")
        self._run("publish", *ledger)

        self._title("The responder freezes what the token did, and sees whom it reached, and until when")
        self._run("incident", "open", *ledger, "theft", "--credential", theft.credential, "--title", "a stolen token")
        self._run("incident", "window", *ledger, theft.filename)

        self._title("A plan leads to the clean state; a person reads it before anything is appended")
        self._run("incident", "plan", *ledger, "theft", "--to", "plan.jsonl")
        recover = ("incident", "recover", *ledger, "theft", "--plan", "plan.jsonl")
        self._run(*recover, "--wait-seconds", "0", answer=TemporaryError.exit_code)
        self._run("publish", *ledger)

        self._title("It is proven: the publication is the clean state, and TUF clients old and new are shown it")
        self._run(*recover)
        self._run("incident", "close", *ledger, "theft", "--plan", "plan.jsonl")

    def _title(self, text: str) -> None:
        self._step += 1
        click.secho(f"\n{self._step}. {text}", bold=True)

    def _run(self, *arguments: str, answer: int = 0) -> None:
        """Run a `tuf-ledger` command as a user would, and show the command and its output."""
        shown = " ".join(_shorten(each) for each in arguments)
        click.secho(f"$ tuf-ledger {shown}", fg="cyan")
        command = [sys.executable, "-m", "consumers.cli.main", *arguments]
        environment = {
            **os.environ,
            "TUF_LEDGER_LOGGING_LEVEL": "error",  # hides the warning of a local `served` folder
            "XDG_CACHE_HOME": str(self._folder / "cache"),  # leaves nothing in the user's own
        }
        done = subprocess.run(command, cwd=self._folder, env=environment, capture_output=True, text=True, check=False)
        click.echo(_indent(done.stdout + done.stderr))
        if done.returncode != answer:
            raise NegativeAnswerError(f"that command ended with exit code {done.returncode}, but {answer} was expected")


SUMMARY = """
What happened
  Every upload, yank and key rotation is an event on a log that only grows. The metadata that installers check
  is computed from these events. The signatures are on a second log. So anyone with a copy of the two logs can
  rebuild every byte that was ever published, without a key. Everything else is detected at once: a changed file,
  or metadata that was signed with a stolen key. And what a thief did as somebody else is found, undone, and proven
  undone, without deleting anything."""


class _Theft:
    """What a thief does with a stolen token: a release with other contents, and the yank of an honest one."""

    credential = "token-stolen"

    def __init__(self, honest: Distribution) -> None:
        self._honest = honest
        self._data = b"This stands for malware.\n"
        self.filename = f"{honest.project.replace('-', '_')}-{_VERSION}.tar.gz"
        self._digests = sha256(self._data).hexdigest(), blake2b(self._data, digest_size=32).hexdigest()

    def store(self, public: Path) -> None:
        """Put the bytes where the index puts them."""
        sha256_hex, blake2b_hex = self._digests
        target = package_target(blake2b_hex, self.filename)
        for path in (hashed_path(target, sha256_hex), plain_path(target)):
            (public / path).parent.mkdir(parents=True, exist_ok=True)
            (public / path).write_bytes(self._data)

    def events(self) -> str:
        """The events that the index appends for them."""
        sha256_hex, blake2b_hex = self._digests
        hashes = {"sha256": sha256_hex, "blake2b_256": blake2b_hex}
        upload = {"filename": self.filename, "version": _VERSION, "length": len(self._data), "hashes": hashes}
        yank = {"version": self._honest.version, "reason": f"insecure, use {_VERSION}"}
        return self._event("file.uploaded.v1", upload) + self._event("release.yanked.v1", yank)

    def _event(self, kind: str, data: Mapping[str, object]) -> str:
        event = {
            "specversion": "1.0",
            "id": f"theft-{kind}",
            "source": "https://index.demo.localhost",
            "type": kind,
            "subject": self._honest.project,
            "time": to_instant(SystemClock().now()),
            "actorkind": "user",
            "actorid": "alice",
            "actorcredential": self.credential,
            "data": data,
        }
        return orjson.dumps(event).decode() + "\n"


_VERSION = "99.0"


class _Client:
    """A TUF client as an installer has it: a first root, a cache, and a repository's URL."""

    def __init__(self, folder: Path, public: Path, url: str) -> None:
        self._cache = folder / "metadata"
        self._targets = folder / "targets"
        self._targets.mkdir(parents=True)
        self._root = (public / metadata_path("root", 1)).read_bytes()
        self._url = url

    def check(self) -> str:
        """Refresh, and download the page and the files of every listed project."""
        updater = Updater(
            str(self._cache),
            f"{self._url}/{METADATA}/",
            str(self._targets),
            f"{self._url}/{TARGETS}/",
            bootstrap=self._root,
        )
        try:
            updater.refresh()
            names = self._projects(updater)
            files = [file for name in names for file in self._files(updater, name)]
        except (RepositoryError, DownloadError) as error:
            raise NegativeAnswerError(f"the client refused: {error}") from error
        roots = len(list((self._cache / "root_history").glob("*.root.json")))
        yanked = [file.name for file in files if file.yanked]
        text = f"  accepted: {len(names)} projects, {len(files)} files, {roots} root{'s' * (roots != 1)} in the chain"
        return text + (f"; yanked: {', '.join(yanked)}" if yanked else "")

    def _projects(self, updater: Updater) -> list[str]:
        page = orjson.loads(self._get(updater, JSON_LIST))
        return [project["name"] for project in page["projects"]]

    def _files(self, updater: Updater, project: str) -> list["_File"]:
        page = orjson.loads(self._get(updater, page_target(project)))
        files = []
        for entry in page["files"]:
            data = self._get(updater, entry["url"].removeprefix("../../"))
            if sha256(data).hexdigest() != entry["hashes"]["sha256"]:
                raise NegativeAnswerError(f"{entry['filename']} has another SHA-256 than its page says")
            files.append(_File(entry["filename"], bool(entry["yanked"])))
        return files

    def _get(self, updater: Updater, path: str) -> bytes:
        info = updater.get_targetinfo(path)
        if info is None:
            raise NegativeAnswerError(f"the client finds no target {path}")
        return Path(updater.download_target(info)).read_bytes()


class _File(NamedTuple):
    name: str
    yanked: bool


def _download(folder: Path) -> tuple[Path, ...]:
    """Download a few small packages with pip: wheels, and one source distribution."""
    common = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--disable-pip-version-check",
        "-d",
        str(folder),
    ]
    for arguments in (DOWNLOADS, ("--no-binary", ":all:", SOURCE_PACKAGE)):
        click.secho(f"$ pip download --no-deps {' '.join(arguments)}", fg="cyan")
        done = subprocess.run([*common, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ConfigError(f"pip could not download: {last}. Use your own files: `tuf-ledger demo FILE…`")
    for path in sorted(folder.iterdir()):
        click.echo(f"  {path.name}")
    return (folder,)


@contextmanager
def _serve(public: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine, as any web server would."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(public))  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _compare(first: Path, second: Path) -> str:
    """Compare two folders file by file, byte by byte."""
    trees = [
        {
            path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest()
            for path in root.rglob("*")
            if path.is_file()
        }
        for root in (first, second)
    ]
    if trees[0] != trees[1]:
        differing = sorted(set(trees[0].items()) ^ set(trees[1].items()))
        raise NegativeAnswerError(f"the two folders differ, first in {differing[0][0]}")
    return f"  identical: {len(trees[0])} files, byte for byte, signatures included"


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.rstrip().splitlines())


def _shorten(argument: str) -> str:
    return f'"{argument}"' if " " in argument else Path(argument).name if argument.startswith("/") else argument
