"""Where the hashes of Merkle trees come from: the log is read and hashed."""

from collections.abc import Sequence

from consumers.work.workers import Workers
from ledger.logs import Log, LogConflictError
from projections.log.merkle import Tree
from projections.log.proofs import Subtree


async def subtree_roots(log: Log, subtrees: Sequence[Subtree], workers: Workers) -> tuple[str, ...]:
    """The roots of subtrees of a log's Merkle tree, in hexadecimal.

    Args:
        log: the log, open.
        subtrees: the subtrees, none of which has leaves of another.
        workers: for hashing.

    Raises:
        LogConflictError: the log is shorter.
    """
    roots: dict[Subtree, str] = {}
    first: int = 0
    values: list[bytes | None] = []
    for each in sorted(subtrees):
        tree, at = Tree(), each.start
        while at < each.end:
            if not first <= at < first + len(values):
                first, values = at, await log.read(at)
            some = values[at - first : each.end - first]
            if not some:
                raise LogConflictError(
                    f"{log.name} is shorter than it was: record {at} is gone. Was a backup restored? See "
                    "docs/operators.md, 'A log was rolled back'"
                )
            tree = await workers.run(tree.extend, some)
            at += len(some)
        roots[each] = tree.root_hash()
    return tuple(roots[each] for each in subtrees)
