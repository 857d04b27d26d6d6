"""A ledger comes back from a backup: what the backup has, what clients saw after it, and where keys and settings go.

Records come back by `consumers.backup.moving`, so an older log never comes over a newer one.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from securesystemslib.signer import SSlibKey

from consumers.backup.backing_up import FIRST_ROOT, LOG_FOLDER, LOGS
from consumers.backup.sums import check_sums
from consumers.context import Context, is_url
from consumers.render.outlets import served_version
from consumers.state.furthest import open_furthest
from ledger.config import FILENAME, Config, ConfigError, LedgerSection, load_config, log_line, write_config
from ledger.disk.files import StorageError, reading, write_file, writing
from ledger.disk.syncing import sync_file, sync_folder
from ledger.keys.keyring import Keyring
from ledger.logs.urls import SQLITE_SCHEME
from ledger.state.picking import STATES
from projections.metadata.paths import TIMESTAMP, metadata_path
from schemas.errors import InUseError, NegativeAnswerError

MOST_ROOTS = 100
"""How many roots are looked for that a backup does not have: a server may have any number of them."""

_LOG_LINE = re.compile(r"^[ \t]*log[ \t]*=.*$", re.MULTILINE)
_LEDGER_TABLE = re.compile(r"^[ \t]*\[ledger\][ \t]*(?:#.*)?$", re.MULTILINE)


class OlderBackupError(NegativeAnswerError):
    """Clients, or this machine, have seen publications that a backup does not have."""


class Backup(NamedTuple):
    """A backup, as `back_up` wrote it: its folder, its logs, and its first root and configuration if it has them."""

    folder: Path
    context: Context
    root: bytes | None
    text: str | None
    config: Config


class NewestSeen(NamedTuple):
    """The newest publication that somebody has seen, and where; `root` is the version of the newest root there."""

    number: int
    where: str
    root: int = 0


async def read_backup(folder: Path) -> Backup:
    """Read what `tuf-ledger backup` wrote.

    Raises:
        ConfigError: the folder is no backup, or its configuration cannot be used.
        NegativeAnswerError: a file is not what it was when the backup was made.
    """
    absent = [name for name in LOGS if not (folder / name).is_file()]
    if absent:
        raise ConfigError(
            f"{folder} is no backup: {' and '.join(absent)} is missing. Name what `tuf-ledger backup` wrote"
        )
    await check_sums(folder, [*LOGS, FIRST_ROOT, FILENAME])
    section = LedgerSection(log=f"{SQLITE_SCHEME}{(folder / LOG_FOLDER).absolute()}")
    root, text = folder / FIRST_ROOT, folder / FILENAME
    config = load_config(folder)  # first: it says what is wrong with a text that cannot be read
    return Backup(
        folder,
        Context(folder, Config(section), is_elsewhere=True),
        root.read_bytes() if root.exists() else None,
        text.read_text(encoding="utf-8") if text.exists() else None,
        config,
    )


def choose_log(backup: Backup, target: Path, wished: str | None) -> str:
    """Where the logs go: as it is wished, or where the target's or the backup's configuration has them.

    Raises:
        ConfigError: they were on Kafka, and nobody said where they go; or the target's configuration says otherwise.
    """
    path = target / FILENAME
    config = load_config(target) if path.exists() else backup.config
    if wished is not None:
        if path.exists() and config.ledger.log != wished:
            raise ConfigError(
                f"{path} names the log {config.ledger.log}, and not {wished}: correct it, and give the same command "
                "again"
            )
        return wished
    if path.exists():
        return config.ledger.log
    if not config.ledger.log.startswith(SQLITE_SCHEME):
        raise ConfigError(
            f"the ledger was on Kafka. Say where it goes: --log sqlite:{LOG_FOLDER}, or --log kafka://HOST:PORT/PREFIX"
        )
    return config.ledger.log


async def newest_seen(context: Context, served: str, root: int) -> NewestSeen:
    """The newest publication that clients or the consumers of this folder have seen.

    Args:
        context: the ledger as it will be.
        served: where clients get it: a URL, or a folder (empty: the public folder).
        root: the version of the backup's last root: later ones are looked for, `MOST_ROOTS` at most.

    Raises:
        StorageError: what is served cannot be read, or nothing is served where it was named.
    """
    files = context.served(served)
    try:
        seen = NewestSeen(served_version(await context.read(files, TIMESTAMP)), served or str(context.public))
        is_own = not served or Path(served).absolute() == context.public.absolute()
        if not is_own and not seen.number:  # a mistyped place must not pass for clients that have seen nothing
            raise StorageError(f"{served} has no {TIMESTAMP} that can be read: nothing is served there")
        most = root + MOST_ROOTS
        while root < most and await context.read(files, metadata_path("root", root + 1)) is not None:
            root += 1
    except StorageError as error:
        more = (
            "It is asked what clients have seen. If it is gone, too, name something else with --served: a mirror, or a "
            f"folder with what was served last; or {context.public} if nobody has that any more"
        )
        error.args = (f"{error}. {more}",)
        raise
    async with open_furthest(context) as furthest:
        if furthest is not None and furthest.position.number > seen.number:
            seen = NewestSeen(furthest.position.number, f"the state of the {furthest.name} in {context.state}")
    return seen._replace(root=root)


def check_stopped(context: Context) -> None:
    """Check that no consumer of the folder runs: it may append to the logs that it has open, and these may be gone.

    Raises:
        InUseError: one runs.
    """
    if running := [name for name in STATES if context.reading_store(name).is_locked()]:
        raise InUseError(
            f"the {' and the '.join(running)} of {context.folder} run{'s' * (len(running) == 1)}. Stop everything that "
            "appends and signs, and give the same command again. Nothing was written"
        )


def refuse_older(seen: NewestSeen, last: int, root: int) -> None:
    """Refuse a backup that ends before what was seen.

    Args:
        seen: what was seen.
        last: the last publication of the backup.
        root: the version of the last root of the backup.

    Raises:
        OlderBackupError: it does.
    """
    if seen.number <= last and seen.root <= root:
        return
    lost = []
    if seen.number > last + 1:
        lost.append(f"publications {last + 1} to {seen.number} with their events")
    elif seen.number > last:
        lost.append(f"publication {seen.number} with its events")
    if seen.root > root:
        lost.append(f"the ceremonies of the roots after {root} (up to {seen.root})")
    raise OlderBackupError(
        f"{seen.where} has publication {seen.number}, and the backup ends with {last}. What came after it is lost: "
        f"{', and '.join(lost)}. Look for a newer copy first: another backup, a follower's machine, an auditor's copy. "
        "If there is none, say --lost. Nothing was written",
        publication=last,
        last=seen.number,
    )


def choose_settings(backup: Backup, target: Path, log: str) -> str | None:
    """The text of the configuration that the target lacks, with the place of the log; None if it lacks none, or the
    backup has none.

    Raises:
        ConfigError: it is written in a way in which the place cannot be exchanged.
    """
    line = log_line(log)
    if backup.text is None or (target / FILENAME).exists():
        return None
    before = tomllib.loads(backup.text)
    wanted = {**before, "ledger": {**before.get("ledger", {}), "log": log}}
    text = (
        backup.text if before.get("ledger", {}).get("log", LedgerSection().log) == log else _naming(backup.text, line)
    )
    with suppress(tomllib.TOMLDecodeError):
        if text == backup.text or tomllib.loads(text) == wanted:
            return text
    raise ConfigError(
        f"{backup.folder / FILENAME} cannot be made to name the log {log}: its section [ledger] is written in another "
        f"way than usual. Write {target / FILENAME} yourself, and give the same command again. Nothing was written"
    )


def write_settings(text: str | None, folder: Path, log: str) -> None:
    """Write a configuration into the folder, unless there is one; None: one that names the log alone.

    Raises:
        StorageError: it cannot be written.
    """
    path = folder / FILENAME
    if path.exists():
        return
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        if text is None:
            write_config(folder, log)
        else:
            new = folder / f".{FILENAME}.new"
            write_file(str(new), text.encode(), mode=0o600)  # it may hold a password
            sync_file(new)
            new.replace(path)
    sync_folder(folder)


def _naming(text: str, line: str) -> str:
    """A configuration that names another log, and says the rest as before, if it is written as usual."""
    table = _LEDGER_TABLE.search(text)
    if table is None:
        return f"{text.rstrip()}\n\n[ledger]\n{line}\n"
    end = text.find("\n[", table.end())
    end = len(text) if end < 0 else end
    within = text[table.end() : end]
    within = _LOG_LINE.sub(lambda _: line, within, count=1) if _LOG_LINE.search(within) else f"\n{line}{within}"
    return text[: table.end()] + within + text[end:]


def find_keys(source: Path, keys: Iterable[SSlibKey]) -> list[str]:
    """The ids of those keys that a folder has as `KEYID.pem`.

    Raises:
        SignerError: a file is not the key that its name says, or cannot be read.
    """
    return [signer.public_key.keyid for signer in Keyring(source).find(keys)]


def take_keys(source: Path | None, folder: Path, keys: Sequence[SSlibKey]) -> list[str]:
    """Copy online keys, as their owner only may read them; return the ids of those that are not there.

    Args:
        source: a folder with `KEYID.pem`; None: only look at what is there.
        folder: where the signer looks for them.
        keys: the public keys that the root in force lists.

    Raises:
        SignerError: a file is not the key that its name says. Nothing was copied.
        StorageError: a key cannot be copied.
    """
    paths = {key.keyid: folder / f"{key.keyid}.pem" for key in keys}
    if source is not None:
        for keyid in find_keys(source, [key for key in keys if not paths[key.keyid].exists()]):
            _copy_key(source, paths[keyid])
    return sorted(keyid for keyid, path in paths.items() if not path.exists())


def _copy_key(source: Path, path: Path) -> None:
    with reading(source / path.name):
        content = (source / path.name).read_bytes()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)  # of a run that was killed: its mode may be another
        write_file(str(new), content, is_new=True, mode=0o600)
        sync_file(new)
        new.replace(path)
    sync_folder(path.parent)


def served_setting(backup: Backup, wished: str | None) -> str:
    """Where clients get the ledger: as it is wished, or the public URL of the configuration; empty: the new folder."""
    if wished is not None:
        return wished if is_url(wished) else str(Path(wished).absolute())
    return backup.config.signer.served if is_url(backup.config.signer.served) else ""
