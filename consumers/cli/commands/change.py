"""`tuf-ledger yank`, `unyank`, `remove`, `restore` and `status`: changes of what is published."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, NamedTuple, ParamSpec

import click

from consumers.cli.answers import find_rejected, refuse, report
from consumers.cli.options import Acting, acting_options, anyway_option, on_ledger, read_release, wait_options
from consumers.cli.shared import Usage, print_json, progress
from consumers.context import Context
from consumers.follow.known import open_known
from consumers.produce.appending import NewEvent, append_all, make_event
from consumers.produce.lookup import KnownProject, look_up
from ledger.clock import SystemClock
from ledger.simple.files_source import project_in
from ledger.simple.source_pages import ENDINGS
from projections.index.names import normalise, release_key, split_filename
from projections.index.pages import FileFacts, ProjectHeader
from schemas.errors import NegativeAnswerError

P = ParamSpec("P")

STATUSES = ("active", "archived", "quarantined", "deprecated")
_STATES = {"lists": "listed", "withholds": "withheld"}


class Target(NamedTuple):
    """The subject of a command: a project, one of its releases, or one of its files."""

    project: str
    version: str | None = None
    filename: str | None = None


def read_target(text: str) -> Target:
    """Read FILENAME, NAME==VERSION or NAME.

    Raises:
        Usage: the text is none of the three.
    """
    release = read_release(text)
    if release is not None:
        return Target(*release)
    if text.endswith(ENDINGS):
        project = project_in(text) or (split_filename(text) or (None,))[0]
        if project is not None:
            return Target(project, filename=text)
    return Target(normalise(text.strip()))


def change_command(function: Callable[P, Awaitable[list[tuple[str, dict[str, Any]]]]]) -> click.Command:
    """Make a command that appends the events that a function returns.

    The function takes the context, the target and the reason, and returns types and data of events about the project.
    """

    @click.argument("target", metavar="TARGET")
    @click.option("--reason", help="Reason, shown to users.")
    @anyway_option
    @wait_options
    @on_ledger
    @acting_options
    async def command(
        *,
        target: str,
        reason: str | None,
        anyway: bool,
        acting: Acting,
        context: Context,
        wait: bool,
        wait_seconds: float,
        as_json: bool,
        **options: Any,
    ) -> None:
        found = read_target(target)
        changes = await function(context, found, reason, **options)  # type: ignore[arg-type]
        now = SystemClock().now()
        events = [_event(kind, found, data, now, acting) for kind, data in changes]
        await _append(context, events, anyway=anyway, wait=wait, wait_seconds=wait_seconds, as_json=as_json)

    command.__doc__ = function.__doc__
    return click.command(function.__name__)(command)


def _event(kind: str, target: Target, data: dict[str, Any], now: datetime, acting: Acting) -> NewEvent:
    about = data.get("filename") or (f"{target.project}=={data['version']}" if "version" in data else target.project)
    names = {"project": target.project, "version": data.get("version"), "file": data.get("filename")}
    return NewEvent(
        make_event(kind, target.project, data, now=now, **acting._asdict()),
        kind,
        f"{kind.removesuffix('.v1')} {about}",
        {name: value for name, value in names.items() if value is not None},
    )


async def _append(
    context: Context, events: list[NewEvent], *, anyway: bool, wait: bool, wait_seconds: float, as_json: bool
) -> None:
    found = [] if anyway else await find_rejected(context, events)
    if found:
        refuse(found, events=0, as_json=as_json)
    appended = await append_all(context, events)
    await report(context, appended, wait=wait, wait_seconds=wait_seconds, as_json=as_json)


def _file_or_release(target: Target, verb: str, reason: str | None) -> list[tuple[str, dict[str, Any]]]:
    if target.filename is not None:
        return [(f"file.{verb}.v1", {"filename": target.filename, "reason": reason})]
    if target.version is not None:
        return [(f"release.{verb}.v1", {"version": target.version, "reason": reason})]
    raise Usage(f"name a file or a release ({target.project}==VERSION): a whole project cannot be yanked (PEP 592)")


@change_command
async def yank(context: Context, target: Target, reason: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Yank a file or a release (PEP 592).

    Installers ignore a yanked file unless its exact version is asked for. TARGET is FILENAME or NAME==VERSION. The
    yank of a release also covers files that are added later.

    \b
    Example:
      tuf-ledger yank six==1.16.0 --reason "broken metadata" --wait
      tuf-ledger yank six==1.16.0 --actor user:alice --credential token-7
    """
    return _file_or_release(target, "yanked", reason)


@change_command
async def unyank(context: Context, target: Target, reason: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Undo the yank of a file or a release.

    TARGET is FILENAME or NAME==VERSION. Undoing the yank of a release does not undo yanks of its single files.

    \b
    Example:
      tuf-ledger unyank six==1.16.0
    """
    return _file_or_release(target, "unyanked", reason)


@change_command
async def remove(
    context: Context, target: Target, reason: str | None, *, withhold: bool
) -> list[tuple[str, dict[str, Any]]]:
    """Remove a file, a release or a project from the index.

    TARGET is FILENAME, NAME==VERSION or NAME. Removed filenames stay taken, and their history stays on the log. Without
    --withhold, whoever knows the URL of a removed file can still download it. What is already removed can be withheld
    later.

    \b
    Example:
      tuf-ledger remove six-1.16.0-py2.py3-none-any.whl --withhold --reason malware
    """
    if target.filename is None and target.version is None:
        kind, data = "project.removed.v1", {"reason": reason}
    else:
        ((kind, data),) = _file_or_release(target, "removed", reason)
    return [(kind, {**data, "withhold": True} if withhold else data)]


remove.params.insert(
    2, click.Option(["--withhold"], is_flag=True, help="Take the bytes out of what is served, too.")
)  # after --reason


@change_command
async def restore(context: Context, target: Target, reason: str | None) -> list[tuple[str, dict[str, Any]]]:
    """Restore removed files, or a removed project without its files.

    TARGET is FILENAME, NAME==VERSION (all removed files of a release) or NAME. A restored file has the same bytes as
    before.

    \b
    Example:
      tuf-ledger restore six==1.16.0
    """
    project = await _known(context, target)
    if target.filename is None and target.version is None:
        return [("project.created.v1", {})]
    chosen = [
        facts
        for name, facts in sorted(project.files.items())
        if facts.removed
        and not facts.freed
        and target.filename in {None, name}
        and (target.version is None or release_key(target.version) == facts.release)
    ]
    if not chosen:
        raise NegativeAnswerError(
            f"nothing to restore: there is no removed file "
            f"{target.filename or f'of {target.project}=={target.version}'}"
        )
    return [
        ("file.restored.v1", {"filename": facts.filename, "sha256": facts.sha256, "reason": reason}) for facts in chosen
    ]


async def _known(context: Context, target: Target) -> KnownProject:
    with progress("Replaying") as advance:
        async with open_known(context, advance) as known:
            found = await look_up(known.store, [target.project])
    if target.project not in found:
        raise NegativeAnswerError(f"there is no project {target.project} as of publication {known.position.number}")
    return found[target.project]


@click.command()
@click.argument("target", metavar="TARGET")
@click.argument("new", metavar="[STATUS]", required=False, type=click.Choice(STATUSES))
@click.option("--reason", help="Reason, shown to users.")
@anyway_option
@wait_options
@on_ledger
@acting_options
async def status(
    *,
    target: str,
    new: str | None,
    reason: str | None,
    anyway: bool,
    acting: Acting,
    context: Context,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Show the status of TARGET, or set that of a project (PEP 792).

    TARGET is FILENAME, NAME==VERSION or NAME. STATUS is active, archived, quarantined or deprecated. Archived and
    quarantined projects accept no uploads. Files of a quarantined project are not listed.

    \b
    Example:
      tuf-ledger status six
      tuf-ledger status six archived --reason "no longer maintained"
    """
    found = read_target(target)
    if new is None:
        _show(await _known(context, found), found, as_json=as_json)
        return
    if found.version is not None or found.filename is not None:
        raise Usage("only a project has a status; yank, remove or restore a release or a file instead")
    kind, data = "project.status_changed.v1", {"status": new, "reason": reason}
    event = _event(kind, found, data, SystemClock().now(), acting)
    await _append(context, [event], anyway=anyway, wait=wait, wait_seconds=wait_seconds, as_json=as_json)


def _state(header: ProjectHeader, facts: FileFacts) -> str:
    if facts.freed:
        return "freed"
    return _STATES.get(header.standing(facts)) or ("removed" if facts.removed else "hidden")


def _show(project: KnownProject, target: Target, *, as_json: bool) -> None:
    header = project.header
    files = [
        {
            "file": facts.filename,
            "version": facts.version,
            "sha256": facts.sha256,
            "length": facts.length,
            "uploaded_at": facts.uploaded_at,
            "state": _state(header, facts),
            "yanked": facts.yanked if facts.yanked is not None else header.releases[facts.release].yanked,
        }
        for name, facts in sorted(project.files.items())
        if target.filename in {None, name} and (target.version is None or release_key(target.version) == facts.release)
    ]
    if not files and (target.filename or target.version):
        raise NegativeAnswerError(f"{project.name} has no {target.filename or f'release {target.version}'}")
    overall = "removed" if header.removed else header.status
    if as_json:
        print_json({"ok": True, "project": project.name, "status": overall, "reason": header.reason, "files": files})
        return
    click.echo(f"{project.name}: {overall}{f' ({header.reason})' if header.reason else ''}")
    for each in files:
        yanked = "" if each["yanked"] is None else f", yanked{': ' + str(each['yanked']) if each['yanked'] else ''}"
        click.echo(f"  {each['file']}  {each['state']}{yanked}")
