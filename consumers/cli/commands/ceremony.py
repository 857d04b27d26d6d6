"""`tuf-ledger ceremony`: new offline roles, signed with the development keys."""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec
from securesystemslib.signer import SSlibKey

from consumers.ceremonies.development import DevelopmentKeys, make_plan, roles_signed, sign_plan
from consumers.ceremonies.unfinished import Unfinished, load_unfinished, note_unfinished
from consumers.ceremonies.voiding import check_diverges
from consumers.cli.answers import tell_held
from consumers.cli.ceremony_files import append_signed
from consumers.cli.options import Duration, on_ledger, read_layout, seconds
from consumers.cli.shared import Usage, print_json
from consumers.context import Context
from consumers.follow.known import open_known
from consumers.produce.appending import Appended, NewEvent, append_all, append_hold
from consumers.produce.freeing import freeable_root, read_freeable
from consumers.produce.waiting import wait_for
from consumers.reading.end import holds_at_end, prefix_at_end
from consumers.service.publishing import publish_once
from consumers.sign.schedule import Schedule
from consumers.state import records
from consumers.work.processes import WORTH_ROUNDS, start_server
from ledger.clock import SystemClock, from_instant, to_instant
from projections.log.holds import lock_of
from projections.log.operations import type_of
from projections.log.prefix import Prefix
from projections.publications import content_size
from projections.roles.authority import MOST_FREEABLE, Authority, Settings, Void
from projections.roles.layout import Layout
from schemas import canonical
from schemas.codec import encode_event
from schemas.errors import LedgerError, NegativeAnswerError
from schemas.events import RolesSigned
from schemas.fields import is_instant

WAIT_SECONDS = 600.0
TIME_FROM_WITHIN = timedelta(days=1)

_NOT_ASKED = frozenset({"folder", "log", "as_json"})
"""Options that say where and how, and not what."""


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
    "--begin-importing",
    is_flag=True,
    help="Allow filenames and versions of older forms (`legacy`), and show upload times as uploads say them, until "
    "--end-importing.",
)
@click.option(
    "--end-importing", is_flag=True, help="Refuse filenames and versions of older forms (`legacy`) from now on."
)
@click.option(
    "--freeable",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Allow the files listed in FILE, and no others, to be freed: a JSON object a line, with project, file and "
    "sha256. Give it again for each list.",
)
@click.option("--no-freeable", is_flag=True, help="Allow no file to be freed from now on.")
@click.option("--floor", type=click.IntRange(min=1), metavar="N", help="Lowest number the next publication may have.")
@click.option(
    "--time-from",
    metavar="TIME",
    help="Start a new time, after a publication from the future: `now`, or a UTC time such as 2026-11-21T10:00:00Z. "
    "Needs --replace-online (docs/operators.md, 'The clock').",
)
@click.option(
    "--holds-end",
    is_flag=False,
    flag_value="own",
    metavar="[SIZE]",
    help="End the holds whose event has an index below SIZE. Without SIZE: hold anew, and end all other holds.",
)
@click.option("--void", metavar="NUMBER:SHA256", help="Void a publication that diverges (docs/operators.md).")
@click.option(
    "--append",
    "appends",
    is_flag=True,
    help="Append the documents of one ceremony that was held elsewhere, or that the log has lost: FILES, named as they "
    "are served (2.root.json).",
)
@click.option("--comment", metavar="TEXT", help="What the ceremony was for. Needs --append.")
@click.argument("files", nargs=-1, metavar="[FILES]...", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@on_ledger
async def ceremony(
    *,
    appends: bool,
    comment: str | None,
    files: tuple[Path, ...],
    renew: bool,
    rotate_online: bool,
    replace_online: bool,
    bins: int | None,
    delegation: str | None,
    void: str | None,
    context: Context,
    as_json: bool,
    **changes: Any,
) -> None:
    """Change keys, settings or bins by signing new offline roles.

    Signs with the development keys that `tuf-ledger init` made, appends the offline roles as a `roles.signed` event,
    and publishes. With --append, nothing is signed: the documents were signed elsewhere. They are judged by the rules
    first, appended as one event if these accept them, and covered by the next publication.

    \b
    Example:
      tuf-ledger ceremony --rotate-online
      tuf-ledger ceremony --bins 1024
      tuf-ledger ceremony --append signed/3.root.json signed/2.bins.json
    """
    if rotate_online and replace_online:
        raise Usage("--rotate-online and --replace-online exclude each other: use one of them")
    if changes["begin_importing"] and changes["end_importing"]:
        raise Usage("--begin-importing and --end-importing exclude each other: use one of them")
    asked = [renew, rotate_online, replace_online, bins, delegation, void, *changes.values()]
    is_change = any(each not in {None, False, ()} for each in asked) or changes["html"] is not None
    _check_usage(files, comment, appends=appends, is_change=is_change)
    if appends:
        await append_signed(context, files, comment, as_json=as_json)
        return
    voided = _void(void)
    end = await prefix_at_end(context)
    if end.authority is None:
        raise NegativeAnswerError("this ledger has no root yet: append its first `roles.signed` event")
    step = _Step(context, end.authority, renew=renew, as_json=as_json)
    await step.begin(click.get_current_context().params, steps=2 if rotate_online else 1)
    if step.goes_on:  # its root is on the log, and with it what was asked for
        changes["time_from"] = changes["holds_end"] = None
    else:
        changes["time_from"] = _time_from(changes["time_from"], end.authority, replaces=replace_online)
        await _check_void(context, voided)
        changes["holds_end"] = await _holds_end(context, end, changes["holds_end"], as_json=as_json)
    if voided is not None and changes["floor"] is None:
        changes["floor"] = max(end.authority.settings.floor, voided.number + 1)
    layout = _layout(end.authority.layout, bins, delegation)
    settings = _settings(end.authority.settings, changes)
    if (rotate_online or replace_online) and layout.count >= WORTH_ROUNDS:
        start_server()  # all bins will be signed; the processes start while documents are signed and read
    old = end.authority.online.keys
    if not rotate_online and not replace_online:
        await step.sign(old, layout, settings, voided, "new offline roles")
        await step.end()
        return
    new = step.new_key()
    if rotate_online:
        # With one root instead of two, clients would fail after the new root appears and before the new timestamp does.
        await step.sign((*old, new), layout, settings, voided, "rotation of the online key, first of two: old and new")
    await step.sign((new,), layout, settings, voided, "rotation of the online key: the new one alone")
    await step.end()


def _check_usage(files: Sequence[Path], comment: str | None, *, appends: bool, is_change: bool) -> None:
    if appends and (is_change or not files):
        raise Usage("--append needs the FILES of one ceremony, and goes with no other change")
    if not appends and (files or comment is not None):
        raise Usage("FILES and --comment need --append")
    if not appends and not is_change:
        raise Usage("no change was asked for; --help lists the options")


class _Step:
    """Appends `roles.signed` events one by one; a publication covers each before the next is signed.

    A ceremony that was interrupted, or that could not publish, goes on when the same command is run again: what is on
    the log is not signed again.
    """

    def __init__(self, context: Context, authority: Authority, *, renew: bool, as_json: bool) -> None:
        self.keys = DevelopmentKeys(context.path("keys"))
        self._context = context
        self._authority = authority
        self._renew = renew
        self._as_json = as_json
        self._begun = Unfinished({})
        self._appended = 0
        self._retired: dict[str, Path] = {}
        self.roots = 0

    @property
    def goes_on(self) -> bool:
        """Whether a root of this ceremony is on the log already."""
        return self._appended > 0

    async def begin(self, options: dict[str, Any], steps: int) -> None:
        """Find out whether this ceremony was begun before and is not finished.

        Args:
            options: those of the command, before anything is computed from them.
            steps: how many roots it signs.
        """
        asked = {name: str(value) for name, value in options.items() if name not in _NOT_ASKED}
        begun = load_unfinished(self.keys.folder)
        if begun is not None and begun.asked == asked and await self._is_unfinished(begun, steps):
            self._appended = begun.appended(self._authority)
            # A root that was signed and is not on the log is signed again.
            self._begun = msgspec.structs.replace(begun, roots=begun.roots[: self._appended])
            return
        self._begun = Unfinished(asked)

    def new_key(self) -> SSlibKey:
        """The new online key of this ceremony: made now, or when it was begun."""
        key = self.keys.find_online(self._begun.online)
        if key is None:
            key = self.keys.create_online()
            self._begun = Unfinished(self._begun.asked, key.keyid)
            note_unfinished(self.keys.folder, self._begun)
        return key

    async def _is_unfinished(self, begun: Unfinished, steps: int) -> bool:
        """Whether a ceremony that was begun has steps left: roots to sign, or one that no publication covers."""
        if begun.online and self.keys.find_online(begun.online) is None:
            return False
        appended = begun.appended(self._authority)
        if appended == 0:
            # Its key may have been made for nothing. If it is online, another ceremony came after this one.
            return bool(begun.online) and begun.online not in self._authority.online_ever
        if appended < steps:
            return True
        async with open_known(self._context) as known:
            prefix = await known.store.run(records.load_prefix, known.position.prefix)
        return prefix.authority is None or prefix.authority.root.version < self._authority.root.version

    async def sign(
        self, online: tuple[SSlibKey, ...], layout: Layout, settings: Settings, void: Void | None, comment: str
    ) -> None:
        """Put a root on the log, unless it is there already, and have a publication cover it.

        Raises:
            NegativeAnswerError: the ceremony was rejected.
        """
        documents: list[str] = []
        if self.roots < self._appended:
            end, is_accepted = await prefix_at_end(self._context), True
            # Whatever the last event is: a publication that covers it covers the root.
            covered = [Appended(end.size - 1, end.last_digest, NewEvent(b"", type_of(RolesSigned), comment, {}))]
            if not self._as_json:
                click.echo(f"A root ({comment}) is on the log already; going on from there.")
        else:
            now = SystemClock().now()
            plan = make_plan(self.keys, online, layout, settings, now=now, void=void)
            signed = sign_plan(self.keys, plan, self._authority, renew=self._renew)
            documents = sorted(signed)
            self._begun = self._begun.signed(canonical.encode(signed["root"]))
            note_unfinished(self.keys.folder, self._begun)
            event = roles_signed(signed, now, comment)
            of = NewEvent(encode_event(event), type_of(type(event)), comment, {})
            covered = await append_all(self._context, [of])
            end = await prefix_at_end(self._context)
            is_accepted = end.authority is not None and end.authority.root.version > self._authority.root.version
            if not is_accepted:
                note_unfinished(self.keys.folder, None)
        number = await self._publish(covered, end, is_accepted=is_accepted)
        if end.authority is None or not is_accepted:
            raise NegativeAnswerError("the ceremony was rejected: `tuf-ledger rejected` says why")
        self._authority = end.authority
        version = end.authority.root.version
        self.roots += 1
        if self._as_json:
            facts = {"root": version, "publication": number, "documents": documents, "comment": comment}
            print_json({**facts, "retired": list(self._retired)})
        else:
            click.echo(f"Root {version} ({comment}) is in force from publication {number} on.")
        self._retired = {}

    async def end(self) -> None:
        """Report that all roots are signed."""
        note_unfinished(self.keys.folder, None)
        facts = await tell_held(self._context, as_json=self._as_json)
        if self._as_json:
            print_json({"ok": True, "roots": self.roots, **facts})

    async def _publish(self, covered: Sequence[Appended], end: Prefix, *, is_accepted: bool) -> int:
        """Have a publication cover events, and return its number."""
        try:
            self._retire(end)
            if not self._context.reading_store("signer").is_locked():
                await publish_once(self._context, Schedule(interval_seconds=0, grace_seconds=0))
            (answer,) = await wait_for(self._context, covered, WAIT_SECONDS)
        except LedgerError as error:
            if end.authority is not None and is_accepted:
                version = end.authority.root.version
                error.facts |= {"root": version, "retired": list(self._retired)}
                left = (
                    f"Root {version} is on the log, and no publication covers it yet. When that is mended, run the "
                    "same command again: it goes on from here and signs no root twice"
                )
                error.args = (f"{error}. {left}",)
            raise
        return answer.publication

    def _retire(self, end: Prefix) -> None:
        """Retire the online keys that root no longer lists, even if the publication fails: a key may be stolen."""
        if end.authority is None:
            return
        self._retired = self.keys.retire_online(end.authority)
        for keyid, path in self._retired.items():
            if not self._as_json:
                click.echo(f"Key {keyid} is replaced. It is out of the signer's reach, in {path}.")


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
    if changes["begin_importing"] or changes["end_importing"]:
        wished["importing"] = not changes["end_importing"]
    if changes["freeable"] or changes["no_freeable"]:
        wished["freeable"] = _freeable(changes["freeable"], allows_none=changes["no_freeable"])
    for option in ("floor", "time_from", "holds_end"):
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


async def _check_void(context: Context, voided: Void | None) -> None:
    if voided is not None:
        await check_diverges(context, voided)


async def _holds_end(context: Context, end: Prefix, text: str | None, *, as_json: bool) -> int | None:
    """The index below which holds end. A hold of our own comes first: what it holds stays held."""
    if text is None:
        return None
    if text != "own":
        if not text.isascii() or not text.isdigit():
            raise Usage(f"--holds-end {text!r}: give an index of the events log, or nothing")
        if not end.holds_end <= int(text) <= end.size:
            raise Usage(f"--holds-end {text}: it never goes down ({end.holds_end}), and the log has {end.size} events")
        return int(text)
    secret = secrets.token_hex(32)
    now = await holds_at_end(context)
    held, name = await append_hold(context, content_size(now.shown, now.end), lock_of(secret), "all others end")
    if as_json:
        print_json({"event": held.event, "hold": name, "secret": secret})
    else:
        click.echo(f"The hold {name} stays in force. Its secret, needed to release it, is {secret}")
    return held.event


def _freeable(lists: tuple[Path, ...], *, allows_none: bool) -> tuple[str, ...]:
    if lists and allows_none:
        raise Usage("--freeable and --no-freeable exclude each other: use one of them")
    if len(lists) > MOST_FREEABLE:
        raise Usage(f"root names at most {MOST_FREEABLE} lists: join some of them")
    return tuple(freeable_root(read_freeable(path)) for path in lists)


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
