"""Where the hashes of Merkle trees come from: the catalog has every 256th node, the log the leaves below."""

from collections.abc import Sequence

from consumers.catalog.asking import Asked
from ledger.catalog import CatalogError
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import position_before, tree_nodes_from
from ledger.logs import Log, record_is_gone
from projections.log.merkle import Nodes, leaf_hash, nodes_of, root_of
from projections.log.proofs import Subtree


async def subtree_roots(asked: Asked, log: Log, subtrees: Sequence[Subtree]) -> tuple[str, ...]:
    """The roots of subtrees of the Merkle tree of the events, in hexadecimal.

    Args:
        asked: the catalog, which has all their leaves.
        log: the log of events, open.
        subtrees: subtrees as RFC 9162 defines them.

    Raises:
        LogConflictError: the log is shorter than the catalog.
        CatalogError: the catalog lacks nodes.
    """
    wanted = {nodes for each in subtrees for nodes in nodes_of(*each)}
    known, positions = await asked.database.run(_load, sorted(wanted))
    for index, token in sorted(positions):
        log.resume(index, token)
    leaves = _Leaves(log)
    for nodes in sorted(wanted - known.keys()):
        known[nodes] = await leaves.read(nodes.first, nodes.size)
    return tuple(root_of([known[nodes] for nodes in nodes_of(*each)]) for each in subtrees)


def _load(connection: Connection, wanted: Sequence[Nodes]) -> tuple[dict[Nodes, list[bytes]], set[tuple[int, int]]]:
    """The nodes above leaves, and tokens of records near the leaves: a log need not be read from its beginning."""
    found = {nodes: tree_nodes_from(connection, *nodes) for nodes in wanted if nodes.level}
    nearest = (position_before(connection, nodes.first) for nodes in wanted if not nodes.level)
    if any(len(hashes) != nodes.size for nodes, hashes in found.items()):
        raise CatalogError("the catalog lacks nodes of the Merkle tree. Make it anew with `tuf-ledger catalog rebuild`")
    return found, {each for each in nearest if each is not None}


class _Leaves:
    """The leaves of a log, read in order. What was read last is kept: many subtrees are neighbours."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._first = 0
        self._values: list[bytes | None] = []

    async def read(self, first: int, count: int) -> list[bytes]:
        """The hashes of consecutive leaves."""
        leaves: list[bytes] = []
        while len(leaves) < count:
            at = first + len(leaves)
            if not self._first <= at < self._first + len(self._values):
                self._first, self._values = at, await self._log.read(at)
            some = self._values[at - self._first : first + count - self._first]
            if not some:
                raise record_is_gone(self._log.name, at)
            leaves += map(leaf_hash, some)
        return leaves
