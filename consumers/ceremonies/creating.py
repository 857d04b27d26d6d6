"""Creating a ledger: keys, logs with their first two records, and the configuration."""

import shutil
from pathlib import Path
from typing import NamedTuple

from consumers.ceremonies.development import DevelopmentKeys, ledger_created, make_plan, roles_signed, sign_plan
from consumers.context import Context
from ledger.clock import SystemClock
from ledger.config import Config, ConfigError, LedgerSection, write_config
from projections.roles.authority import Settings
from projections.roles.layout import Layout
from schemas.codec import encode_event


class Wish(NamedTuple):
    """What the new ledger is to be."""

    folder: Path
    origin: str
    log: str
    layout: Layout
    settings: Settings
    replication_factor: int


async def create(wish: Wish) -> Context:
    """Keys, logs with their first two records, and the configuration, which is written last."""
    folder = wish.folder
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; a ledger needs a folder of its own")
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(folder, Config(ledger=LedgerSection(log=wish.log)))
    try:
        keys, now = DevelopmentKeys(folder / "keys"), SystemClock().now()
        keys.create()
        plan = make_plan(keys, keys.online_keys(), wish.layout, wish.settings, now=now)
        documents = sign_plan(keys, plan, None)
        logs = await context.create_logs(wish.replication_factor)
        first = ledger_created(wish.origin, documents, now)
        ceremony = roles_signed(documents, now, "development ceremony of `tuf-ledger init`")
        try:
            await logs.events.append([encode_event(first), encode_event(ceremony)])
        finally:
            await logs.close()
        write_config(folder, wish.log)
    except BaseException:
        # Half a ledger is of no use, and what is in the folder is all ours.
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not existed:
            folder.rmdir()
        raise
    return context
