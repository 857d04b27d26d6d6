"""`rebuild` and `verify` on logs in memory."""

import tempfile
from pathlib import Path
from typing import Any

from consumers.context import Context
from consumers.limits import LIMITS, Limits
from consumers.rebuild.choosing import read_at
from consumers.rebuild.rebuilding import Rebuilt, rebuild
from consumers.verify.interrupted import Resume
from consumers.verify.verifying import Verified, VerifyOptions, verify
from consumers.work.progress import Report, nobody
from ledger.config import Config, VerifierSection
from ledger.logs import Logs
from tests.fuzz.world import World


class MemoryContext(Context):
    """A ledger whose logs are in memory; nothing else of it is used."""

    def __init__(self, world: World) -> None:
        super().__init__(Path("/nowhere"), Config(verifier=VerifierSection(delay_seconds=0.001)))
        self._world = world

    def logs(self) -> Logs:
        return self._world.logs


async def rebuilt(
    world: World, at: str | None = None, *, all_versions: bool = False
) -> tuple[Rebuilt, dict[str, bytes]]:
    """What `tuf-ledger rebuild --at` makes of the logs."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "tree"
        result = await rebuild(
            MemoryContext(world), target, read_at(at), all_versions=all_versions, files=None, report=nobody
        )
        files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        return result, files


async def verified(
    world: World, *, limits: Limits = LIMITS, report: Report = nobody, resume: Resume | None = None, **options: Any
) -> Verified:
    """What `tuf-ledger verify` says of the logs and of what is served. `options` are those of `VerifyOptions`."""
    context = MemoryContext(world)
    context.limits = limits
    wanted = VerifyOptions(None, None, None, world.storage, files=False)._replace(**options)
    return await verify(context, wanted, report, resume)
