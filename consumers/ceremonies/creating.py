"""Creating a ledger: keys, logs with their first two records, and the configuration."""

import shutil
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from consumers.ceremonies.development import DevelopmentKeys, ledger_created, make_plan, roles_signed, sign_plan
from consumers.context import Context
from ledger.clock import Clock, SystemClock, to_instant
from ledger.config import FILENAME, ConfigError, load_config, log_line, write_config
from ledger.disk.files import writing
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas.codec import encode_event


class Wish(NamedTuple):
    """The properties of a new ledger."""

    origin: str
    layout: Layout
    settings: Settings
    replication_factor: int


def prepare(folder: Path, log: str | None) -> Context:
    """Check the folder of a new ledger, and load settings from the environment; `log` wins over the environment.

    Raises:
        ConfigError: the folder is not empty, or the settings cannot be used.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; a ledger needs its own folder, so name a new one")
    config = load_config(folder)
    if log is not None:
        config = replace(config, ledger=replace(config.ledger, log=log))
    log_line(config.ledger.log)  # it can be written
    context = Context(folder, config)
    if context.path(config.signer.keys) != DevelopmentKeys(folder / "keys").online:
        raise ConfigError(
            "[signer] keys (TUF_LEDGER_SIGNER_KEYS) must be keys/online during `tuf-ledger init`: the command leaves "
            "the online key there and signs with it. Leave the setting out now, and move the key afterwards"
        )
    return context


async def create(context: Context, wish: Wish, clock: Clock | None = None) -> None:
    """Create keys, logs with their first two records, and the configuration, which is written last."""
    folder = context.folder
    existed = folder.exists()
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        keys, now = DevelopmentKeys(folder / "keys"), (clock or SystemClock()).now()
        keys.create()
        # No claim is older than the ledger.
        settings = replace(wish.settings, time_from=to_instant(now))
        plan = make_plan(keys, keys.online_keys(), wish.layout, settings, now=now)
        documents = sign_plan(keys, plan, None)
        logs = await context.create_logs(wish.replication_factor)
        first = ledger_created(wish.origin, documents, now)
        ceremony = roles_signed(documents, now, "development ceremony of `tuf-ledger init`")
        try:
            await logs.events.append([encode_event(first), encode_event(ceremony)])
        finally:
            await logs.close()
        with writing(folder / FILENAME):
            write_config(folder, context.config.ledger.log)
    except BaseException:
        # Half a ledger is useless, and everything in the folder was created here.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not existed:
            folder.rmdir()
        raise
