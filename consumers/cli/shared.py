"""What all commands share: which ledger, how a command runs and ends, and what it prints.

Exit codes are those of `schemas.errors`: 0 done or yes, 1 no, 2 a person is needed, 75 it may pass, 130 and 143 for
signals. With `--json` an error is one JSON object on standard output too.
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
    """What was asked makes no sense: exit code 2."""


def open_context(folder: Path, log: str | None) -> "Context":
    """The ledger that the options name. A relative `sqlite:` folder in `--log` is relative to the working directory.

    Raises:
        ConfigError: there is none, or its configuration cannot be used.
    """
    from consumers.context import Context, absolute_log  # noqa: PLC0415  # what it opens is imported when it is needed
    from ledger.config import Config, ConfigError, LedgerSection, load_config  # noqa: PLC0415

    config = load_config(folder)
    if log is not None:
        section = LedgerSection(log=absolute_log(log), public=config.ledger.public, state=config.ledger.state)
        config = Config(section, config.signer, config.verifier, config.kafka, config.logging)
    elif not (folder / "ledger.toml").exists() and "TUF_LEDGER_LEDGER_LOG" not in os.environ:
        raise ConfigError(
            f"there is no ledger in {folder.resolve()}: no ledger.toml. `tuf-ledger init {folder}` makes one; "
            "--ledger names another folder, --log logs without a folder"
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
        sys.exit(128 + signal.SIGINT)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        _end(error)
        raise


def _end(error: Exception) -> None:
    """End the process with a message, unless the error is unexpected and somebody wants to see where it comes from."""
    if isinstance(error, LedgerError):
        label = "no:" if isinstance(error, NegativeAnswerError) else "error:"
        fail(label, error.name, error, error.exit_code, error.facts)
    if isinstance(error, BrokenPipeError):
        give_up_output()  # whoever read it has enough
        sys.exit(0)
    if isinstance(error, OSError):  # the environment: a folder that is not ours, a full disk
        from ledger.disk.files import advice, may_pass  # noqa: PLC0415  # most never need it

        give_up_output()
        code = TemporaryError.exit_code if may_pass(error) else PERSON_NEEDED
        fail("error:", "environment", explain(error) + advice(error), code)
    if os.environ.get(DEBUG_VARIABLE):
        return
    text = f"unexpected {type(error).__name__}: {error}. This is a defect; {DEBUG_VARIABLE}=1 shows where"
    fail("error:", "defect", text, PERSON_NEEDED)


def fail(label: str, name: str, message: object, code: int, facts: Mapping[str, object] | None = None) -> NoReturn:
    """End with a message for people on standard error, and with `--json` one for machines on standard output."""
    say(label, message, style="bold red")
    if wants_json():
        with suppress(OSError, ValueError):
            print_json({**(facts or {}), "ok": False, "error": name, "message": str(message), "exit": code})
    sys.exit(code)


def end_with_usage(error: click.ClickException, *, as_json: bool) -> NoReturn:
    """End after a message of click's about usage."""
    if as_json:
        with suppress(OSError, ValueError):
            print_json({"ok": False, "error": "usage", "message": error.format_message(), "exit": error.exit_code})
    sys.exit(error.exit_code)


def wants_json() -> bool:
    """Whether the command that runs was asked to print JSON."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))


# --- printing --------------------------------------------------------------------------------------------------------


@functools.cache
def console() -> "Console":
    """Standard error, for people."""
    from rich.console import Console  # noqa: PLC0415  # a command that says nothing need not import it

    return Console(stderr=True, highlight=False)


def say(label: str, text: object, *, style: str = "") -> None:
    """Print a message for people to standard error.

    Its text is often another's: it is no markup, and nothing in it moves the terminal's cursor.
    """
    shown = "".join(each if each.isprintable() or each in "\n\t" else "\ufffd" for each in str(text))
    with suppress(OSError):  # then nobody can be told, and the exit code remains
        if not sys.stderr.isatty():
            click.echo(f"{label} {shown}", err=True)
            return
        from rich.text import Text  # noqa: PLC0415  # for terminals

        console().print(Text.assemble((label, style), " ", shown), soft_wrap=True)


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
