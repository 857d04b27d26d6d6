"""The Merkle tree of a log (RFC 6962, section 2.1), as a compact range: the roots of its perfect subtrees.

Appending a leaf costs two hashes on average, and the state of a log of any size is at most 53 digests.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

MAX_LEAF_BYTES = 65_535
"""Length of the longest entry that a C2SP tlog-tiles entry bundle can contain."""

LEAF_BYTES = 32
"""Length of a leaf's hash."""

NODE_BITS = 8
NODE_WIDTH = 1 << NODE_BITS
"""Number of nodes below a `Node`."""

EMPTY_ROOT = sha256(b"").hexdigest()


class Tree(NamedTuple):
    """The tree of the first `size` records: roots of its perfect subtrees, from the largest to the smallest."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def extend(self, values: Iterable[bytes | None]) -> "Tree":
        """The tree with these records appended."""
        return self.append(map(leaf_hash, values))

    def append(self, leaves: Iterable[bytes]) -> "Tree":
        """The tree with these leaves appended, as `leaf_hash` gives them."""
        size, roots = self.size, list(self.roots)
        for leaf in leaves:
            node, rest = leaf, size
            while rest & 1:
                node = sha256(b"\x01" + roots.pop() + node).digest()
                rest >>= 1
            roots.append(node)
            size += 1
        return Tree(size, tuple(roots))

    def root_hash(self) -> str:
        """The Merkle root in hexadecimal."""
        return _joined(self.roots)


def _joined(roots: Sequence[bytes]) -> str:
    """The root above those of perfect subtrees, from the largest to the smallest, in hexadecimal."""
    if not roots:
        return EMPTY_ROOT
    node = roots[-1]
    for left in reversed(roots[:-1]):
        node = sha256(b"\x01" + left + node).digest()
    return node.hex()


class Node(NamedTuple):
    """A node of the tree of a log: the root of the subtree of 256^`level` leaves that is number `n` of its kind. So
    these are the hashes of the C2SP tiles of that level.
    """

    level: int
    n: int
    hash: bytes


class Nodes(NamedTuple):
    """Consecutive nodes of a level. Those of level 0 are leaves."""

    level: int
    first: int
    size: int


def completed_nodes(tree: Tree, leaves: Sequence[bytes]) -> list[Node]:
    """The nodes above the leaves that are complete when leaves are appended to a tree, as `leaf_hash` gives them."""
    found: list[Node] = []
    level, first, below = 0, tree.size, leaves
    while below:
        part, above = _part(tree, level), []
        at = 0
        while at < len(below):
            some = below[at : at + NODE_WIDTH - part.size]
            part, at = part.append(some), at + len(some)
            if part.size == NODE_WIDTH:
                above.append(part.roots[0])
                part = Tree()
        level, first, below = level + 1, first // NODE_WIDTH, above
        found += [Node(level, n, node) for n, node in enumerate(above, first)]
    return found


def _part(tree: Tree, level: int) -> Tree:
    """The last node of the level above that is not complete, as a tree of nodes of this level."""
    size = tree.size >> NODE_BITS * level
    size, above = size % NODE_WIDTH, (size // NODE_WIDTH).bit_count()
    return Tree(size, tree.roots[above : above + size.bit_count()])


def nodes_of(start: int, end: int) -> list[Nodes]:
    """The nodes that a subtree consists of, given its leaves from one index (inclusive) to another (exclusive)."""
    found: list[Nodes] = []
    level = max(0, (end - start).bit_length() - 1) // NODE_BITS
    for each in range(level, -1, -1):
        size = (end - start) >> NODE_BITS * each
        if size:
            found.append(Nodes(each, start >> NODE_BITS * each, size))
            start += size << NODE_BITS * each
    return found


def root_of(runs: Sequence[Sequence[bytes]]) -> str:
    """The root of a subtree, in hexadecimal, given its nodes as `nodes_of` lists them."""
    return _joined([root for nodes in runs for root in Tree().append(nodes).roots])


def split_leaves(leaves: bytes) -> list[bytes]:
    """Split joined leaves."""
    return [leaves[at : at + LEAF_BYTES] for at in range(0, len(leaves), LEAF_BYTES)]


def record_digest(value: bytes | None) -> str:
    """The SHA-256 of a record, which identifies it; null counts as empty."""
    return sha256(value or b"").hexdigest()


def leaf_hash(value: bytes | None) -> bytes:
    """The hash of a record's leaf.

    The leaf of a record is its value. The leaf of null is empty. A value too long for a tile has the leaf
    `oversize LENGTH SHA256`.
    """
    if value is None:
        value = b""
    elif len(value) > MAX_LEAF_BYTES:
        value = b"oversize %d %s" % (len(value), sha256(value).hexdigest().encode())
    return sha256(b"\x00" + value).digest()
