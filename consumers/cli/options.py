"""Options that several commands share, and the values of these options."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, get_args

import click

from consumers.cli.logs import configure_logging
from consumers.cli.shared import Usage, open_context, progress, runs_async
from projections.index.names import normalise
from projections.roles.authority import MAX_BITS_PREFIXES, MAX_BITS_SUCCINCT
from projections.roles.layout import Layout
from schemas.events import ActorKind
from schemas.fields import is_event_time, is_instant

P = ParamSpec("P")


class Duration(click.ParamType[timedelta]):
    """A duration as `7d`, `24h`, `30m` or `10s`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read a duration."""
        if isinstance(value, timedelta):
            return value
        units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
        try:
            return timedelta(seconds=float(value[:-1]) * units[value[-1]])
        except (KeyError, ValueError, IndexError, OverflowError):
            self.fail(f"{value!r} is not a duration; write it like 7d, 24h, 30m or 10s", param, ctx)


class Instant(click.ParamType[str]):
    """A UTC time as `2026-11-21T10:00:00Z`, or a day as `2026-11-21`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a time; a day is its first second."""
        text = f"{value}T00:00:00Z" if len(value) == len("2026-11-21") else str(value)
        if not is_instant(text):
            self.fail(f"{value!r} is no UTC time such as 2026-11-21T10:00:00Z or 2026-11-21", param, ctx)
        return text


INSTANT = Instant()


class EventMoment(click.ParamType[str]):
    """A UTC time as an event has it, `2026-11-21T10:00:00.123456Z`; or an instant."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read a time; a day is its first second."""
        return str(value) if is_event_time(str(value)) else INSTANT.convert(value, param, ctx)


EVENT_MOMENT = EventMoment()


def ledger_options(function: Callable[P, Any]) -> Callable[P, Any]:
    """The options that choose the ledger; nearly every command has them."""
    for option in (
        click.option(
            "--log",
            metavar="URL",
            help="Use these logs instead of the configured ones: sqlite:FOLDER or kafka://HOST:PORT/PREFIX.",
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


def on_ledger(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a command on a ledger of a coroutine function, which is called with the ledger as `context`.

    The command has the options `--ledger`, `--log` and `--json`. It logs warnings, unless the ledger is configured to
    log more.
    """

    @functools.wraps(function)
    async def opened(*, folder: Path, log: str | None, **values: Any) -> None:
        context = open_context(folder, log)
        configure_logging(context.config.logging, default_level="warning")
        await function(context=context, **values)

    return ledger_options(json_option(runs_async(opened)))


def on_catalog(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a command on a catalog of a coroutine function, which is called with the open catalog as `asked`, brought up
    to date, and with the ledger as `context`. The command has the options of `on_ledger`.
    """

    @functools.wraps(function)
    async def opened(*, context: Any, **values: Any) -> None:
        async with asking(context) as asked:
            await function(context=context, asked=asked, **values)

    return on_ledger(opened)


@asynccontextmanager
async def asking(context: Any) -> AsyncIterator[Any]:
    """The open catalog of a ledger, brought up to date."""
    from consumers.catalog.asking import open_catalog  # noqa: PLC0415  # SQLAlchemy: imported on demand

    async with AsyncExitStack() as closing:
        with progress("Reading the logs") as advance:
            asked = await closing.enter_async_context(open_catalog(context, advance))
        yield asked


limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many.")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def source_options(function: Callable[P, Any]) -> Callable[P, Any]:
    """How another index is read: `--ca-file` and `--requests`."""
    for option in (
        click.option(
            "--requests",
            default=8,
            show_default=True,
            type=click.IntRange(1, 64),
            metavar="N",
            help="Most requests to the source at a time.",
        ),
        click.option(
            "--ca-file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Trust these certificate authorities, too, in PEM.",
        ),
    ):
        function = option(function)
    return function


anyway_option = click.option(
    "--anyway", is_flag=True, help="Append it, although this machine knows that it will be rejected."
)


def wait_options(function: Callable[P, Any]) -> Callable[P, Any]:
    """`--wait` and `--wait-seconds`."""
    for option in (
        click.option(
            "--wait-seconds",
            default=60.0,
            show_default=True,
            metavar="N",
            help="Longest time that --wait waits.",
            type=float,
        ),
        click.option("--wait", is_flag=True, help="Wait for the publication and show the verdict of each event."),
    ):
        function = option(function)
    return function


class Acting(NamedTuple):
    """Who acts, with which credential, and about which incident, as `make_event` takes it."""

    actor: str
    actor_kind: str
    credential: str | None
    incident: str | None


def acting_options(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """`--actor`, `--credential` and `--incident`; the function gets an `Acting` as `acting`."""

    @functools.wraps(function)
    async def acting(*, actor: str | None, credential: str | None, incident: str | None, **values: Any) -> None:
        kind, name = _read_actor(actor)
        for option, value in (("--actor", name), ("--credential", credential), ("--incident", incident)):
            if value is not None and re.fullmatch(r"[!-~]{1,128}", value) is None:
                raise Usage(f"{option} {value!r}: 1 to 128 printable characters of ASCII without a space are needed")
        await function(acting=Acting(name, kind, credential, incident), **values)

    for option in (
        click.option(
            "--incident",
            metavar="NAME",
            help="It is a measure about this incident: the plan of a recovery takes it back.",
        ),
        click.option("--credential", metavar="ID", help="The credential that the actor used.  [default: none]"),
        click.option(
            "--actor",
            metavar="[KIND:]NAME",
            help=f"Who acts. KIND is {', '.join(_ACTOR_KINDS)}.  [default: administrator:USER, who runs the command]",
        ),
    ):
        acting = option(acting)
    return acting


_ACTOR_KINDS = get_args(ActorKind)


def _read_actor(text: str | None) -> tuple[str, str]:
    """The kind and the name in [KIND:]NAME. A name may have colons of its own."""
    from consumers.produce.appending import actor  # noqa: PLC0415  # commands that only read do not need it

    if text is None:
        return "administrator", actor()
    kind, colon, name = text.partition(":")
    return (kind, name) if colon and kind in _ACTOR_KINDS else ("administrator", text)


def read_release(text: str) -> tuple[str, str] | None:
    """The normalised project and the version in NAME==VERSION; None: the text has another form.

    Raises:
        Usage: the name or the version is missing.
    """
    name, equals, version = text.partition("==")
    if not equals:
        return None
    if not name.strip() or not version.strip():
        raise Usage(f"{text!r} is not of the form NAME==VERSION: name or version is missing")
    return normalise(name.strip()), version.strip()


def read_layout(bins: int, *, succinct: bool) -> Layout:
    """A layout with the given number of bins.

    Raises:
        Usage: the number is not a power of two, or out of range.
    """
    bits = bins.bit_length() - 1
    most = MAX_BITS_SUCCINCT if succinct else MAX_BITS_PREFIXES
    if bins != 1 << max(bits, 0) or not 1 <= bits <= most:
        raise Usage(f"{bins} bins: the number must be a power of two from 2 to {1 << most:,}")
    return Layout(bits, succinct=succinct)


def seconds(duration: timedelta, option: str, *, least: int = 10, most: int = 366) -> int:
    """A duration in seconds.

    Raises:
        Usage: the duration is shorter than `least` seconds or longer than `most` days.
    """
    count = int(duration.total_seconds())
    if not least <= count <= most * 86_400:
        raise Usage(f"{option} must be from {least} seconds to {most} days")
    return count
