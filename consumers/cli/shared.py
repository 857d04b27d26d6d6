"""What all commands share: options, errors and exit codes, logging, progress, output.

Exit codes: 0, it is done, or the answer is yes; 1, the answer is no (verification failed, an event was rejected); 2,
usage or environment.
"""

import asyncio
import functools
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

import click
import msgspec
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from consumers.context import Context
from consumers.follow.served import ServedAheadError
from consumers.render.edition import DivergenceError
from consumers.sign.schedule import ClockError
from consumers.work.processes import ProcessKilledError
from consumers.work.spill import SpillError
from ledger.config import Config, ConfigError, LedgerSection, LoggingSection, load_config
from ledger.disk.files import StorageError
from ledger.distributions.reading import DistributionError
from ledger.keys.keyring import SignerError
from ledger.logs import LogConflictError, LogError
from ledger.state.errors import StoreError
from projections.log.prefix import NotALedgerError
from projections.publications import LogTooShortError
from projections.roles.authority import UpgradeNeededError

P = ParamSpec("P")

DISAGREEMENTS = (DivergenceError, LogConflictError, LogTooShortError, ServedAheadError)
PROBLEMS = (
    ClockError,
    ConfigError,
    DistributionError,
    LogError,
    NotALedgerError,
    ProcessKilledError,
    SignerError,
    SpillError,
    StorageError,
    StoreError,
    UpgradeNeededError,
)
STATE_DAMAGE = (UnicodeDecodeError, msgspec.MsgspecError)
"""What is on the logs is judged when it is decoded; nothing but a state fails to be what we wrote ourselves."""
DEBUG_VARIABLE = "TUF_LEDGER_DEBUG"

console = Console(stderr=True, highlight=False)


class No(Exception):  # noqa: N818  # an answer, not an error
    """The answer is no: exit code 1, with a message."""


class Usage(click.UsageError):
    """What was asked makes no sense: exit code 2."""


class Duration(click.ParamType[timedelta]):
    """A duration as `7d`, `24h`, `30m` or `10s`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
        try:
            return timedelta(seconds=float(value[:-1]) * units[value[-1]])
        except (KeyError, ValueError, IndexError, OverflowError):
            self.fail(f"{value!r} is no duration such as 7d, 24h, 30m or 10s", param, ctx)


def ledger_options(function: Callable[P, Any]) -> Callable[P, Any]:
    """The options that every command has: which ledger."""
    for option in (
        click.option(
            "--log",
            metavar="URL",
            help="Logs to use instead of the configured ones: sqlite:FOLDER or kafka://HOST:PORT/PREFIX.",
        ),
        click.option(
            "--ledger",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path(),
            metavar="DIR",
            help="The ledger's folder.  [default: the working directory]",
        ),
    ):
        function = option(function)
    return function


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def open_context(folder: Path, log: str | None) -> Context:
    """The ledger that the options name.

    Raises:
        ConfigError: there is none, or its configuration cannot be used.
    """
    config = load_config(folder)
    if log is not None:
        section = LedgerSection(log=log, public=config.ledger.public, state=config.ledger.state)
        config = Config(section, config.signer, config.verifier, config.kafka, config.logging)
    elif not (folder / "ledger.toml").exists() and "TUF_LEDGER_LEDGER_LOG" not in os.environ:
        raise ConfigError(
            f"there is no ledger in {folder.resolve()}: no ledger.toml. `tuf-ledger init {folder}` makes one; "
            "--ledger names another folder, --log logs without a folder"
        )
    context = Context(folder, config)
    context.logs()  # a URL that names none is refused before anything is made
    return context


def plural(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {what}{'s' * (count != 1)}"


def runs_async(function: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a command of a coroutine function, with errors turned into messages and exit codes."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        with translated():
            asyncio.run(_until_terminated(function(*args, **kwargs)))

    return command


async def _until_terminated(operation: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM end a command as Ctrl-C does: what was begun is given up in order, and nobody is told of signals."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    was_terminated = False

    def terminate() -> None:
        nonlocal was_terminated
        was_terminated = True
        if task is not None:
            task.cancel()

    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        await operation
    except asyncio.CancelledError:
        if was_terminated:
            sys.exit(128 + signal.SIGTERM)
        raise


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors into messages and exit codes. No traceback reaches a user, unless one asks."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        _end(error)
        raise


def _end(error: Exception) -> None:
    """End the process with a message, unless the error is unexpected and somebody wants to see where it comes from."""
    if isinstance(error, No):
        if str(error):
            say("no:", error, style="bold red")
        sys.exit(1)
    if isinstance(error, BrokenPipeError):
        give_up_output()  # whoever read it has enough
        sys.exit(0)
    if isinstance(error, DISAGREEMENTS):
        _fail(error, 1)
    if isinstance(error, PROBLEMS):
        _fail(error, 2)
    if isinstance(error, OSError):  # the environment: a folder that is not ours, a full disk
        give_up_output()
        _fail(explain(error), 2)
    if os.environ.get(DEBUG_VARIABLE):
        return
    if isinstance(error, STATE_DAMAGE):
        _fail(
            f"a state file is damaged ({error}). Stop the consumers and delete what is in the state folder; it is "
            f"rebuilt from the logs. {DEBUG_VARIABLE}=1 shows where",
            2,
        )
    _fail(f"unexpected {type(error).__name__}: {error}. This is a defect; {DEBUG_VARIABLE}=1 shows where", 2)


def _fail(error: object, code: int) -> NoReturn:
    say("error:", error, style="bold red")
    sys.exit(code)


def say(label: str, text: object, *, style: str = "") -> None:
    """Print a message for people to standard error.

    Its text is often another's: it is no markup, and nothing in it moves the terminal's cursor.
    """
    shown = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in str(text))
    with suppress(OSError):  # then nobody can be told, and the exit code remains
        console.print(Text.assemble((label, style), " ", shown), soft_wrap=True)


def explain(error: OSError) -> str:
    """What the system could not do, and with what."""
    why = error.strerror or type(error).__name__
    names = [str(each) for each in (error.filename, error.filename2) if each is not None]
    return f"{', '.join(names)}: {why}" if names else why


def give_up_output() -> None:
    """Discard what could not be printed. Python would complain about it when it flushes at exit."""
    with suppress(OSError, ValueError):
        number = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII: it is the same whatever the terminal's encoding."""
    click.echo(json.dumps(value, sort_keys=True))


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on a terminal, nothing elsewhere. Gives a function that sets how much is done, of how much."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def configure_logging(section: LoggingSection, *, default_level: str | None = None) -> None:
    """Send logs to standard error: for people on a terminal, as JSON otherwise."""
    level = default_level if default_level and section.level == "info" else section.level
    human = section.format == "console" or (section.format == "auto" and sys.stderr.isatty())
    # Libraries log through the standard library; what matters of it reaches us as an exception.
    logging.getLogger().addHandler(logging.NullHandler())
    for name in ("aiokafka", "securesystemslib", "tuf", "httpx"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if human else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
