"""Proofs about Merkle trees (RFC 6962, section 2.1): that a leaf is in a tree, and that one tree is the beginning of
another (RFC 9162, sections 2.1.3 and 2.1.4).

A log is such a tree: a snapshot states its root, so that a few hashes prove that a record is on the log. A list of
files that may be freed is one, too: root names the tree, and each event proves that its file is in the list. So an
offline key signs a few bytes, however long the list is.
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


class Subtree(NamedTuple):
    """A subtree of a Merkle tree: its leaves, from one index (inclusive) to another (exclusive)."""

    start: int
    end: int


def freeable_leaf(digest: str, project: str, filename: str) -> bytes:
    """The leaf of a file that may be freed: its SHA-256, its project, a null byte, and its name."""
    return leaf_hash(bytes.fromhex(digest) + project.encode() + b"\0" + filename.encode())


def tree_root(leaves: Sequence[bytes]) -> str:
    """The Merkle root over leaves, as `leaf_hash` gives them, in hexadecimal."""
    return _root(leaves).hex() if leaves else EMPTY_ROOT


def inclusion_path(leaf: int, size: int) -> list[Subtree]:
    """The subtrees whose roots prove that a leaf, given by its index, is in a tree (RFC 9162, section 2.1.3.1).

    Together with the leaf they are the whole tree.
    """
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _left_size(end - start)
        if leaf < middle:
            path.append(Subtree(middle, end))
            end = middle
        else:
            path.append(Subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_path(first: int, second: int) -> list[Subtree]:
    """The subtrees whose roots prove that a tree of `first` leaves, at least one, is the beginning of one of `second`
    leaves (RFC 9162, section 2.1.4.1).
    """
    path, start, end = [], 0, second
    while end != first:
        middle = start + _left_size(end - start)
        if first <= middle:
            path.append(Subtree(middle, end))
            end = middle
        else:
            path.append(Subtree(start, middle))
            start = middle
    # Whoever checks has the root of the first tree already.
    return [*([Subtree(start, end)] if start else []), *path[::-1]]


def prove(leaves: Sequence[bytes], leaf: int) -> InclusionProof:
    """The proof that a leaf, given by its index, is one of these leaves."""
    path = inclusion_path(leaf, len(leaves))
    return InclusionProof(leaf, len(leaves), tuple(tree_root(leaves[each.start : each.end]) for each in path))


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


def are_consistent(first: int, first_root: str, second: int, second_root: str, path: Sequence[str]) -> bool:
    """Whether a path proves that one tree is the beginning of another (RFC 9162, section 2.1.4.2).

    Args:
        first: the number of leaves of the first tree, at least one.
        first_root: its root, in hexadecimal.
        second: the number of leaves of the second tree.
        second_root: its root, in hexadecimal.
        path: the hashes of the proof, in hexadecimal.
    """
    if not 1 <= first <= second:
        return False
    if first == second:
        return not path and first_root == second_root
    hashes = [bytes.fromhex(text) for text in path]
    if first & (first - 1) == 0:  # the first tree is a subtree of the second one
        hashes.insert(0, bytes.fromhex(first_root))
    if not hashes:
        return False
    left, last = first - 1, second - 1
    while left & 1:
        left, last = left >> 1, last >> 1
    in_first = in_second = hashes[0]
    for other in hashes[1:]:
        if last == 0:
            return False
        if left & 1 or left == last:
            in_first, in_second = _parent(other, in_first), _parent(other, in_second)
            while not left & 1 and left:
                left, last = left >> 1, last >> 1
        else:
            in_second = _parent(in_second, other)
        left, last = left >> 1, last >> 1
    return last == 0 and (in_first.hex(), in_second.hex()) == (first_root, second_root)


def _left_size(size: int) -> int:
    """The number of leaves in the left subtree of a tree of two leaves or more: the largest power of two below it."""
    return 1 << (size - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    """The root over one leaf or more."""
    level = leaves
    while len(level) > 1:
        level = _above(level)
    return level[0]


def _above(level: Sequence[bytes]) -> list[bytes]:
    """The nodes above some nodes. The last one of an odd number goes up as it is."""
    pairs = [_parent(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    return [*pairs, *level[len(level) & ~1 :]]


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()
