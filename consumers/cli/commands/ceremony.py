"""`tuf-ledger ceremony`: new offline roles, signed with the development keys."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from securesystemslib.signer import SSlibKey

from consumers.ceremonies.development import DevelopmentKeys, make_plan, roles_signed, sign_plan
from consumers.cli.logs import configure_logging
from consumers.cli.options import Duration, json_option, ledger_options, read_layout, seconds
from consumers.cli.shared import Usage, open_context, print_json, runs_async
from consumers.context import Context
from consumers.produce.appending import NewEvent, append_all
from consumers.produce.waiting import wait_for
from consumers.reading.end import prefix_at_end
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from consumers.work.processes import WORTH_ROUNDS, start_server
from ledger.clock import SystemClock, from_instant, to_instant
from projections.log.operations import type_of
from projections.roles.authority import Authority, Settings, Void
from projections.roles.layout import Layout
from schemas.codec import encode_event
from schemas.errors import NegativeAnswerError
from schemas.fields import is_instant

WAIT_SECONDS = 600.0
TIME_FROM_WITHIN = timedelta(days=1)


@click.command()
@click.option("--renew", is_flag=True, help="Sign all three offline roles again, with new expiry times.")
@click.option(
    "--rotate-online", is_flag=True, help="Planned rotation: make a new online key, in two roots without a gap."
)
@click.option(
    "--replace-online", is_flag=True, help="Emergency: make a new online key, in one root; the old key stops at once."
)
@click.option("--bins", type=int, metavar="N", help="Change the number of bins.")
@click.option("--delegation", type=click.Choice(["succinct", "prefixes"]), help="How bins are delegated.")
@click.option("--bin-expiry", type=Duration(), help="How long a bin is valid.")
@click.option("--snapshot-expiry", type=Duration(), help="How long a snapshot is valid.")
@click.option("--timestamp-expiry", type=Duration(), help="How long a timestamp is valid.")
@click.option("--html/--no-html", default=None, help="Whether to publish pages as HTML, besides JSON.")
@click.option("--project-list-interval", type=Duration(), help="Shortest time between two lists of all projects.")
@click.option(
    "--end-importing", is_flag=True, help="Refuse filenames and versions of older forms (`legacy`) from now on."
)
@click.option("--floor", type=click.IntRange(min=1), metavar="N", help="Lowest number the next publication may have.")
@click.option(
    "--time-from",
    metavar="TIME",
    help="Start a new time, after a publication from the future: `now`, or a UTC time such as 2026-11-21T10:00:00Z. "
    "Needs --replace-online (docs/operators.md, 'The clock').",
)
@click.option("--void", metavar="NUMBER:SHA256", help="Void a publication that diverges (docs/operators.md).")
@ledger_options
@json_option
@runs_async
async def ceremony(
    *,
    renew: bool,
    rotate_online: bool,
    replace_online: bool,
    bins: int | None,
    delegation: str | None,
    void: str | None,
    folder: Path,
    log: str | None,
    as_json: bool,
    **changes: Any,
) -> None:
    """Change keys, settings or bins by signing new offline roles.

    Signs with the development keys that `tuf-ledger init` made, appends the offline roles as a `roles.signed` event,
    and publishes. A ceremony with keys held elsewhere appends the same event.

    \b
    Example:
      tuf-ledger ceremony --rotate-online
      tuf-ledger ceremony --bins 1024
    """
    context = open_context(folder, log)
    configure_logging(context.config.logging, default_level="warning")
    if rotate_online and replace_online:
        raise Usage("--rotate-online and --replace-online exclude each other: use one of them")
    asked = [renew, rotate_online, replace_online, bins, delegation, void, *changes.values()]
    if not any(each is not None and each is not False for each in asked) and changes["html"] is None:
        raise Usage("no change was asked for; --help lists the options")
    voided = _void(void)
    end = await prefix_at_end(context)
    if end.authority is None:
        raise NegativeAnswerError("this ledger has no root yet: append its first `roles.signed` event")
    changes["time_from"] = _time_from(changes["time_from"], end.authority, replaces=replace_online)
    if voided is not None and changes["floor"] is None:
        changes["floor"] = max(end.authority.settings.floor, voided.number + 1)
    step = _Step(context, end.authority, renew=renew, as_json=as_json)
    layout = _layout(end.authority.layout, bins, delegation)
    settings = _settings(end.authority.settings, changes)
    if (rotate_online or replace_online) and layout.count >= WORTH_ROUNDS:
        start_server()  # all bins will be signed; the processes start while documents are signed and read
    old = end.authority.online.keys
    if not rotate_online and not replace_online:
        await step.sign(old, layout, settings, voided, "new offline roles")
        step.end()
        return
    new = step.keys.create_online()
    if rotate_online:
        # With one root instead of two, clients would fail after the new root appears and before the new timestamp does.
        await step.sign((*old, new), layout, settings, voided, "rotation of the online key, first of two: old and new")
    await step.sign((new,), layout, settings, voided, "rotation of the online key: the new one alone")
    step.end()


class _Step:
    """Appends `roles.signed` events one by one; a publication covers each before the next is signed."""

    def __init__(self, context: Context, authority: Authority, *, renew: bool, as_json: bool) -> None:
        self.keys = DevelopmentKeys(context.path("keys"))
        self._context = context
        self._authority = authority
        self._renew = renew
        self._as_json = as_json
        self.roots = 0

    async def sign(
        self, online: tuple[SSlibKey, ...], layout: Layout, settings: Settings, void: Void | None, comment: str
    ) -> None:
        now = SystemClock().now()
        plan = make_plan(self.keys, online, layout, settings, now=now, void=void)
        documents = sign_plan(self.keys, plan, self._authority, renew=self._renew)
        signed = roles_signed(documents, now, comment)
        number = await self._publish(NewEvent(encode_event(signed), type_of(type(signed)), comment, {}))
        end = await prefix_at_end(self._context)
        if end.authority is None or end.authority.root.version == self._authority.root.version:
            raise NegativeAnswerError("the ceremony was rejected: `tuf-ledger rejected` says why")
        self._authority = end.authority
        version = end.authority.root.version
        self.roots += 1
        if self._as_json:
            print_json({"root": version, "publication": number, "documents": sorted(documents), "comment": comment})
        else:
            click.echo(f"Root {version} ({comment}) is in force from publication {number} on.")

    def end(self) -> None:
        """Report that all roots are signed."""
        if self._as_json:
            print_json({"ok": True, "roots": self.roots})

    async def _publish(self, event: NewEvent) -> int:
        """Append an event, have a publication cover it, and return the number of that publication."""
        appended = await append_all(self._context, [event])
        await self._retire()
        if not self._context.store("signer").is_locked():
            await publish_once(self._context, Schedule(interval_seconds=0, grace_seconds=0))
        (answer,) = await wait_for(self._context, appended, WAIT_SECONDS)
        return answer.publication

    async def _retire(self) -> None:
        """Retire the online keys that root no longer lists, even if the publication fails: a key may be stolen.

        While signing is held below that root, the previous keys still renew what was published.
        """
        end = await prefix_at_end(self._context)
        if end.authority is not None and end.held_at is None:
            for key in self._authority.online.keys:
                if key.keyid not in end.authority.online.keyids:
                    self.keys.retire_online(key.keyid)


def _layout(current: Layout, bins: int | None, delegation: str | None) -> Layout:
    succinct = current.succinct if delegation is None else delegation == "succinct"
    if bins is None and succinct == current.succinct:
        return current
    wished = read_layout(current.count if bins is None else bins, succinct=succinct)
    return Layout(wished.bits, current.prefix, succinct)


def _settings(current: Settings, changes: dict[str, Any]) -> Settings:
    wished: dict[str, Any] = {}
    for option in ("bin_expiry", "snapshot_expiry", "timestamp_expiry"):
        duration: timedelta | None = changes[option]
        if duration is not None:
            wished[f"{option}_seconds"] = seconds(duration, f"--{option.replace('_', '-')}")
    if changes["project_list_interval"] is not None:
        interval = changes["project_list_interval"]
        wished["project_list_seconds"] = seconds(interval, "--project-list-interval", least=0, most=7)
    if changes["html"] is not None:
        wished["html_pages"] = changes["html"]
    if changes["end_importing"]:
        wished["importing"] = False
    for option in ("floor", "time_from"):
        if changes[option] is not None:
            wished[option] = changes[option]
    return msgspec.structs.replace(current, **wished)


def _time_from(text: str | None, authority: Authority, *, replaces: bool) -> str | None:
    if text is None:
        return None
    if not replaces:
        raise Usage("--time-from needs --replace-online: what the old key signed must not stay valid in the new time")
    now = SystemClock().now()
    time = to_instant(now) if text == "now" else text
    if not is_instant(time):
        raise Usage(f"--time-from {text!r}: give `now`, or a UTC time such as 2026-11-21T10:00:00Z")
    if abs(from_instant(time) - now) > TIME_FROM_WITHIN:
        raise Usage(f"--time-from {time} is more than a day from this machine's clock, {to_instant(now)}")
    if time == authority.time_from:
        raise Usage(f"--time-from {time} is in force already, and would start no new time: name another second")
    return time


def _void(text: str | None) -> Void | None:
    if text is None:
        return None
    number, _, digest = text.partition(":")
    try:
        return msgspec.convert({"number": int(number), "digest": digest}, Void)
    except (ValueError, msgspec.ValidationError) as error:
        raise Usage(
            f"--void {text!r}: give the publication's number, a colon, and the SHA-256 of its record"
        ) from error
