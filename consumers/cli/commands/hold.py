"""`tuf-ledger hold` and `unhold`: the emergency brake."""

import os
import secrets
from pathlib import Path
from typing import Any

import click

from consumers.cli.answers import wait_and_print
from consumers.cli.options import on_ledger, wait_options
from consumers.cli.shared import plural, print_json
from consumers.context import Context
from consumers.produce.appending import append_hold, append_release
from consumers.reading.end import MOST_HOLDS, Holds, holds_at_end
from ledger.disk.files import StorageError, writing
from projections.log.holds import SigningEvent, lock_of, lower_of, opens
from projections.publications import content_size_of
from schemas.errors import NegativeAnswerError


@click.command()
@click.option(
    "--at",
    "size",
    type=click.IntRange(min=0),
    metavar="SIZE",
    help="Show nothing beyond the first SIZE events.  [default: all events so far]",
)
@click.option("--unlocked", is_flag=True, help="Let everybody who may append events release the hold.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the secret to this new file instead of printing it.",
)
@click.option("--reason", help="Reason, for people.")
@wait_options
@on_ledger
async def hold(
    *,
    size: int | None,
    unlocked: bool,
    secret_file: Path | None,
    reason: str | None,
    context: Context,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Hold events back: no publication shows what was appended later.

    Offline roles, keys and renewals go on, so a stolen online key can be replaced meanwhile. The hold is locked: only
    who has its secret can release it (`tuf-ledger unhold`). The secret is shown once, so keep it.

    \b
    Example:
      tuf-ledger hold --reason "a token was stolen" --secret-file brake.secret
    """
    now = await holds_at_end(context)
    if now.end.authority is None:
        raise NegativeAnswerError("this ledger has no root yet, so nothing is shown that could be held")
    if size is not None and size > now.end.size:
        raise NegativeAnswerError(f"the log has {plural(now.end.size, 'event')}: --at {size} would hold nothing back")
    secret = None if unlocked else secrets.token_hex(32)
    if secret is not None and secret_file is not None:
        _write_secret(secret_file, secret)
    appended, name = await append_hold(context, size, None if secret is None else lock_of(secret), reason)
    held_at = lower_of(now.end.held_at, appended.event if size is None else size)
    shown = content_size_of(now.shown, now.end.first_root_size, appended.event + 1, held_at)
    facts: dict[str, Any] = {"event": appended.event, "hold": name, "held_at": held_at, "content_size": shown}
    if secret is not None and secret_file is None:
        facts["secret"] = secret
    if not as_json:
        click.echo(f"Held at {shown}: no publication shows later events. The hold is {name}.")
        if now.shown > (held_at or 0):
            click.echo(f"Publications already show {plural(now.shown, 'event')}: these stay.")
        if secret is not None:
            where = f"in {secret_file}" if secret_file else secret
            click.echo(f"Its secret, needed to release it, is {where}")
    if wait:
        await wait_and_print(context, [appended], wait_seconds, as_json=as_json)
    if as_json:
        print_json({"ok": True, **facts})


@click.command()
@click.argument("name", metavar="[HOLD]", required=False)
@click.option(
    "--secret-file",
    type=click.File("r"),
    metavar="FILE",
    help="Read the secret from this file; - is standard input.  [default: ask for it]",
)
@click.option("--others-remain", is_flag=True, help="Release the hold although other holds remain.")
@click.option("--reason", help="Reason, for people.")
@wait_options
@on_ledger
async def unhold(
    *,
    name: str | None,
    secret_file: Any,
    others_remain: bool,
    reason: str | None,
    context: Context,
    wait: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Release a hold, so that publications show what waits.

    HOLD is the id that `tuf-ledger hold` printed; it may be left out if there is one hold only. Id and secret are
    checked before anything is appended. A hold whose secret is lost ends by `tuf-ledger ceremony --holds-end`.

    \b
    Example:
      tuf-ledger unhold --secret-file brake.secret --wait
    """
    now = await holds_at_end(context)
    name, chosen = _choose(now, name)
    others = [each for other, each in now.open.items() if other != name]
    lowest = min((each.size for each in others if each.size is not None), default=None)
    shown = content_size_of(now.shown, now.end.first_root_size, now.end.size, lowest)
    if others and not others_remain:
        count = plural(len(others), "other hold") if len(others) < MOST_HOLDS - 1 else "many other holds"
        raise NegativeAnswerError(
            f"nothing was appended: {count} would remain, and content would be shown up to {shown}. Go on with "
            "--others-remain, or end all holds with `tuf-ledger ceremony --holds-end`"
        )
    secret = _read_secret(secret_file) if chosen.lock else None
    if chosen.lock and (secret is None or not opens(chosen.lock, secret)):
        raise NegativeAnswerError(f"nothing was appended: that is not the secret of hold {name}")
    appended = await append_release(context, name, secret, reason)
    if not as_json:
        click.echo(f"Released {name}: the next publication shows {plural(shown, 'event')}.")
    if wait:
        await wait_and_print(context, [appended], wait_seconds, as_json=as_json)
    if as_json:
        print_json({"ok": True, "event": appended.event, "hold": name, "content_size": shown})


def _choose(now: Holds, name: str | None) -> tuple[str, SigningEvent]:
    """The hold to release."""
    if not now.open:
        raise NegativeAnswerError("nothing is held")
    if name is None and len(now.open) > 1:
        some = ", ".join(f"{each} (at {hold.size})" for each, hold in list(now.open.items())[:10])
        more = ", …" if len(now.open) > 10 else ""
        raise NegativeAnswerError(f"{len(now.open)} holds are open; name one of them: {some}{more}")
    name = name or next(iter(now.open))
    if name not in now.open:
        raise NegativeAnswerError(f"nothing was appended: there is no open hold {name}")
    return name, now.open[name]


def _write_secret(path: Path, secret: str) -> None:
    """Write a secret to a new file that only this user can read.

    Raises:
        StorageError: the file is there already: it may have the secret of another hold.
    """
    if path.exists():
        raise StorageError(f"nothing was appended: {path} is there already. Name a new file with --secret-file")
    with writing(path), open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(f"{secret}\n")


def _read_secret(file: Any) -> str:
    """Read a secret.

    Raises:
        NegativeAnswerError: what was read cannot be a secret.
    """
    try:
        text = click.prompt("Secret of the hold", hide_input=True, err=True) if file is None else file.read(1000)
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise NegativeAnswerError(f"nothing was appended: {file.name} cannot be read: {error.strerror}") from error
    secret = str(text).strip().lower()
    if len(secret) != 64 or not set(secret) <= set("0123456789abcdef"):
        raise NegativeAnswerError("nothing was appended: a secret is 64 hexadecimal digits")
    return secret
