"""`rebuild` and `verify` on logs in memory."""

import tempfile
from pathlib import Path

from consumers.context import Context
from consumers.rebuild.choosing import read_at
from consumers.rebuild.rebuilding import Rebuilt, rebuild
from consumers.verify.verifying import Verified, Wanted, verify
from ledger.config import Config
from ledger.logs import Logs
from tests.fuzz.world import World


class MemoryContext(Context):
    """A ledger whose logs are in memory; nothing else of it is used."""

    def __init__(self, world: World) -> None:
        super().__init__(Path("/nowhere"), Config())
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
            MemoryContext(world), target, read_at(at), all_versions=all_versions, files=None, report=_ignore
        )
        files = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
        return result, files


async def verified(world: World) -> Verified:
    """What `tuf-ledger verify` says of the logs and of what is served."""
    wanted = Wanted(None, None, None, world.storage, files=False)
    return await verify(MemoryContext(world), wanted, _ignore)


def _ignore(done: int, total: int) -> None:
    """Nobody watches."""
