"""The Merkle tree of a log (RFC 6962, section 2.1), as a compact range: the roots of its perfect subtrees.

Appending a leaf costs two hashes on average, and the state of a log of any size is at most 53 digests.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

MAX_LEAF_BYTES = 65_535
"""Length of the longest entry that a C2SP tlog-tiles entry bundle can contain."""

LEAF_BYTES = 32
"""Length of a leaf's hash."""

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
        if not self.roots:
            return EMPTY_ROOT
        node = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node.hex()


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
