"""Code that all commands share: opening the ledger, running and ending a command, and printing.

Exit codes are those of `schemas.errors`: 0 done or yes, 1 no, 2 a person is needed, 75 temporary failure, 130 and 143
ended by a signal. With `--json` an error is also printed as one JSON object on standard output.
"""

import asyncio
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import click

from schemas.errors import LedgerError, NegativeAnswerError, TemporaryError

if TYPE_CHECKING:
    from rich.console import Console

    from consumers.context import Context

P = ParamSpec("P")

DEBUG_VARIABLE = "TUF_LEDGER_DEBUG"
PERSON_NEEDED = LedgerError.exit_code


class Usage(click.UsageError):
    """The arguments make no sense: exit code 2."""


def open_context(folder: Path, log: str | None) -> "Context":
    """The ledger that the options name. A relative `sqlite:` folder in `--log` is relative to the working directory.

    Raises:
        ConfigError: no ledger is there, or its configuration cannot be used.
    """
    from msgspec.structs import replace  # noqa: PLC0415  # imported on demand

    from consumers.context import Context  # noqa: PLC0415
    from ledger.config import ConfigError, LedgerSection, load_config  # noqa: PLC0415
    from ledger.logs.urls import absolute_log  # noqa: PLC0415

    config = load_config(folder)
    if log is not None:
        section = LedgerSection(log=absolute_log(log), public=config.ledger.public, state=config.ledger.state)
        config = replace(config, ledger=section)
    elif not (folder / "ledger.toml").exists() and "TUF_LEDGER_LEDGER_LOG" not in os.environ:
        raise ConfigError(
            f"there is no ledger in {folder.resolve()}: ledger.toml is missing. Create a ledger with "
            f"`tuf-ledger init {folder}`, name another folder with --ledger, or name logs without a folder with --log"
        )
    context = Context(folder, config, is_elsewhere=log is not None)
    context.check_log()
    return context


def plural(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


# --- running ---------------------------------------------------------------------------------------------------------


def runs_async(function: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Make a command of a coroutine function, with errors turned into messages and exit codes."""

    @functools.wraps(function)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        with translated():
            asyncio.run(_until_terminated(function(*args, **kwargs)))

    return command


async def _until_terminated(operation: Coroutine[Any, Any, None]) -> None:
    """Let SIGTERM end a command as Ctrl-C does: work in progress is cancelled in order, without a message."""
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
    """Turn errors into messages and exit codes. Tracebacks are only shown on request."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        _end(error)
        raise


def _end(error: Exception) -> None:
    """End the process with a message; return if the error is unexpected and its traceback was asked for."""
    if isinstance(error, LedgerError):
        label = "no:" if isinstance(error, NegativeAnswerError) else "error:"
        fail(label, error.name, error, error.exit_code, error.facts)
    if isinstance(error, BrokenPipeError):
        give_up_output()  # the reader of the output has closed it
        sys.exit(0)
    if isinstance(error, OSError):  # the environment: no rights in a folder, a full disk
        from ledger.disk.files import advice, may_pass  # noqa: PLC0415  # rarely needed

        give_up_output()
        code = TemporaryError.exit_code if may_pass(error) else PERSON_NEEDED
        fail("error:", "environment", explain(error) + advice(error), code)
    if os.environ.get(DEBUG_VARIABLE):
        return
    text = f"unexpected {type(error).__name__}: {error}. This is a defect; set {DEBUG_VARIABLE}=1 to see its traceback"
    fail("error:", "defect", text, PERSON_NEEDED)


def fail(label: str, name: str, message: object, code: int, facts: Mapping[str, object] | None = None) -> NoReturn:
    """End with a message on standard error; with `--json`, also print it as JSON on standard output."""
    say(label, message, style="bold red")
    if wants_json():
        with suppress(OSError, ValueError):
            print_json({**(facts or {}), "ok": False, "error": name, "message": str(message), "exit": code})
    sys.exit(code)


def end_with_usage(error: click.ClickException, *, as_json: bool) -> NoReturn:
    """End after click has printed a message about usage."""
    if as_json:
        with suppress(OSError, ValueError):
            print_json({"ok": False, "error": "usage", "message": error.format_message(), "exit": error.exit_code})
    sys.exit(error.exit_code)


def wants_json() -> bool:
    """Whether the running command was asked to print JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))


# --- printing --------------------------------------------------------------------------------------------------------


@functools.cache
def console() -> "Console":
    """Standard error, for people."""
    from rich.console import Console  # noqa: PLC0415  # not needed by a command that prints no message

    return Console(stderr=True, highlight=False)


def say(label: str, text: object, *, style: str = "") -> None:
    """Print a message for people to standard error.

    The text often comes from elsewhere. So it is never read as markup, and unprintable characters are replaced: they
    could move the terminal's cursor.
    """
    shown = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in str(text))
    with suppress(OSError):  # if standard error is gone, the exit code remains
        if not sys.stderr.isatty():
            click.echo(f"{label} {shown}", err=True)
            return
        from rich.text import Text  # noqa: PLC0415  # for terminals

        console().print(Text.assemble((label, style), " ", shown), soft_wrap=True)


def explain(error: OSError) -> str:
    """The system's reason for an error, with the files that it concerns."""
    why = error.strerror or type(error).__name__
    names = [str(each) for each in (error.filename, error.filename2) if each is not None]
    return f"{', '.join(names)}: {why}" if names else why


def give_up_output() -> None:
    """Discard output that could not be printed. Otherwise Python reports an error when it flushes at exit."""
    with suppress(OSError, ValueError):
        number = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON, in ASCII: the same in every terminal encoding."""
    click.echo(json.dumps(value, sort_keys=True))


@contextmanager
def progress(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on a terminal, nothing elsewhere. Yields a function that takes the done and total counts."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich import progress as bars  # noqa: PLC0415  # for terminals

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
