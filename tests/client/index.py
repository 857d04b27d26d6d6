"""A ledger's folder, used as people use it, and the clients that follow it."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import click.testing
import structlog

from consumers.cli.main import main
from consumers.context import Context
from schemas.codec import encode_event
from schemas.events import BaseEvent
from tests.distributions import build_sdist, build_wheel
from tests.oracle import Cache, Seen, check_repository


class FakeClock:
    """A clock that stands still until it is told to go on."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime(2031, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The time it shows."""
        return self.at

    def advance(self, **duration: float) -> None:
        """Let time pass: `advance(hours=1)`."""
        self.at += timedelta(**duration)


def invoke(*arguments: object, answer: int | None = 0, stdin: bytes | None = None) -> click.testing.Result:
    """Run a command in this process. It must end with this exit code (None: any), and never shows its insides."""
    try:
        result = click.testing.CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)
    finally:
        silence()
    check_output(result.output)
    assert not isinstance(result.exception, Exception), repr(result.exception)
    assert answer is None or result.exit_code == answer, f"{arguments} ended with {result.exit_code}:\n{result.output}"
    return result


def check_output(output: str) -> None:
    """What no command may ever print."""
    assert "Traceback" not in output, output
    assert "This is a defect" not in output, output


def silence() -> None:
    """Forget where a command sent its logs: that stream may be closed."""
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger("critical"),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )


class Index:
    """A ledger in a folder, with a client that keeps its cache from one check to the next."""

    def __init__(self, folder: Path, *, clients: Path | None = None, clock: FakeClock | None = None) -> None:
        self.folder = folder
        self.public = folder / "public"
        self.clock = clock
        self.cache = Cache(clients or folder.with_name(f"{folder.name}-client"))
        self.root = (self.public / "metadata/1.root.json").read_bytes()

    @classmethod
    def create(cls, folder: Path, *options: object, clock: FakeClock | None = None) -> "Index":
        """`tuf-ledger init`."""
        invoke("init", folder, *options)
        return cls(folder, clock=clock)

    @property
    def context(self) -> Context:
        """The folder, opened as a command does."""
        return Context(self.folder)

    def run(self, command: str, *arguments: object, answer: int | None = 0, stdin: bytes | None = None) -> str:
        """Run a command on this ledger, such as `log` or `incident window`; returns what it printed."""
        return invoke(*command.split(), "--ledger", self.folder, *arguments, answer=answer, stdin=stdin).output

    def ask(self, command: str, *arguments: object, answer: int = 0, stdin: bytes | None = None) -> list[Any]:
        """Run a command with `--json`; returns the values it printed."""
        result = invoke(*command.split(), "--ledger", self.folder, "--json", *arguments, answer=answer, stdin=stdin)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def ask_list(self, command: str, *arguments: object, answer: int = 0, stdin: bytes | None = None) -> list[Any]:
        """As `ask`, for a command that prints a list; without the object that ends it."""
        *items, end = self.ask(command, *arguments, answer=answer, stdin=stdin)
        assert end["ok"] is (answer == 0)
        assert not any("ok" in item for item in items)
        return items

    def info(self) -> dict[str, Any]:
        """`tuf-ledger info`."""
        (facts,) = self.ask("info")
        assert isinstance(facts, dict)
        return facts

    def append(self, *made: BaseEvent, answer: int = 0) -> None:
        """Append events from standard input."""
        self.run("append", stdin=b"\n".join(map(encode_event, made)), answer=answer)

    def publish(self, *options: object) -> int:
        """Make a publication; returns the number of the last one."""
        ((made),) = self.ask("publish", *options)
        return int(made["publication"])

    def upload(self, name: str, version: str = "1.0", *, anyway: bool = False, **options: Any) -> Path:
        """Build a wheel, or a source distribution (`suffix`), and add it (`anyway`: even what will be rejected)."""
        folder = self.folder.with_name(f"{self.folder.name}-files")
        folder.mkdir(exist_ok=True)
        build = build_sdist if "suffix" in options else build_wheel
        path = build(folder, name, version, **options)
        self.run("add", path, *(["--anyway"] if anyway else []))
        return path

    def check(self, *, others: Iterable[str] = (), files: bool = True, live: bool = False) -> Seen:
        """Ask the oracle."""
        now = self.clock.now() if self.clock else None
        return check_repository(
            self.public, self.root, cache=self.cache, now=now, files=files, live=live, others=others
        )

    def publish_and_check(self, *options: object, others: Iterable[str] = (), files: bool = True) -> Seen:
        """Publish, and make sure that clients see it."""
        number = self.publish(*options)
        seen = self.check(files=files, others=others)
        assert seen.number == number
        return seen

    def verify(self, *options: object, answer: int = 0) -> str:
        """`tuf-ledger verify` against what is served."""
        return self.run("verify", "--served", self.public, *options, answer=answer)

    def rebuild(self, target: Path, *options: object) -> dict[str, str]:
        """`tuf-ledger rebuild` from the logs alone; returns the tree."""
        configured = self.context.config.ledger.log
        log = f"sqlite:{self.folder.resolve() / 'log'}" if configured.startswith("sqlite:") else configured
        invoke("rebuild", "--log", log, "--ledger", target.parent, "--to", target, *options)
        return tree(target)

    def check_rebuilt(self, target: Path) -> None:
        """Make sure that the logs alone give what is served, byte for byte."""
        assert self.rebuild(target, "--all-versions", "--files", self.public) == tree(self.public)


def tree(folder: Path) -> dict[str, str]:
    """All files of a folder with their SHA-256."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(events: Iterable[BaseEvent | Mapping[str, Any]]) -> bytes:
    """Events as a file for `tuf-ledger append`."""
    encoded = (encode_event(each) if isinstance(each, BaseEvent) else json.dumps(each).encode() for each in events)
    return b"".join(line + b"\n" for line in encoded)
