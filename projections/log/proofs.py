"""Proofs of inclusion in a Merkle tree (RFC 6962, section 2.1; RFC 9162, sections 2.1.3.1 and 2.1.3.2).

A list of files that may be freed is such a tree: root names the tree, and each event proves that its file is in the
list. So an offline key signs a few bytes, however long the list is.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from projections.log.merkle import EMPTY_ROOT, leaf_hash


class InclusionProof(NamedTuple):
    """A leaf's index, the number of leaves, and the hashes that lead to the root, from below, in hexadecimal."""

    leaf: int
    size: int
    path: tuple[str, ...]


def freeable_leaf(digest: str, project: str, filename: str) -> bytes:
    """The leaf of a file that may be freed: its SHA-256, its project, a null byte, and its name."""
    return leaf_hash(bytes.fromhex(digest) + project.encode() + b"\0" + filename.encode())


def tree_root(leaves: Sequence[bytes]) -> str:
    """The Merkle root over leaves, as `leaf_hash` gives them, in hexadecimal."""
    return _root(leaves).hex() if leaves else EMPTY_ROOT


def prove(leaves: Sequence[bytes], leaf: int) -> InclusionProof:
    """The proof that a leaf, given by its index, is one of these leaves."""
    return InclusionProof(leaf, len(leaves), tuple(each.hex() for each in _path(leaves, leaf)))


def proven_root(leaf_hashed: bytes, proof: InclusionProof) -> str:
    """The root of the tree that a proof is about, given its leaf; empty if the proof has no proper form."""
    left, last, node = proof.leaf, proof.size - 1, leaf_hashed
    if left > last:
        return ""
    for text in proof.path:
        if last == 0:
            return ""
        other = bytes.fromhex(text)
        if left & 1 or left == last:
            node = _parent(other, node)
            while not left & 1 and left:
                left, last = left >> 1, last >> 1
        else:
            node = _parent(node, other)
        left, last = left >> 1, last >> 1
    return node.hex() if last == 0 else ""


def _root(leaves: Sequence[bytes]) -> bytes:
    """The root over one leaf or more."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _path(leaves: Sequence[bytes], leaf: int) -> list[bytes]:
    path: list[bytes] = []
    level = leaves
    while len(level) > 1:
        if leaf ^ 1 < len(level):
            path.append(level[leaf ^ 1])
        level, leaf = _above(level), leaf >> 1
    return path


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The nodes above some nodes. The last one of an odd number goes up as it is."""
    pairs = [_parent(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, *level[len(level) & ~1 :]]


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
