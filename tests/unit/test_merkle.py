"""The Merkle tree against RFC 6962, section 2.1, as it is written there."""

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.log.merkle import EMPTY_ROOT, MAX_LEAF_BYTES, Tree, completed_nodes, leaf_hash, nodes_of, root_of
from projections.log.proofs import consistency_path, inclusion_path


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962: "k is the largest power of two smaller than n"."""
    return _naive_root(tuple(leaves))


@cache
def _naive_root(leaves: tuple[bytes, ...]) -> bytes:
    n = len(leaves)
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\x01" + _naive_root(leaves[:k]) + _naive_root(leaves[k:])).digest()


LEAVES = [b"leaf %d" % number for number in range(300)]


@pytest.mark.parametrize("size", range(301))
def test_root_of_every_size(size: int) -> None:
    tree = Tree().extend(LEAVES[:size])
    assert tree.size == size
    assert tree.root_hash() == naive_root(LEAVES[:size]).hex()
    assert len(tree.roots) == size.bit_count()


@given(st.lists(st.lists(st.binary(max_size=4), max_size=20), max_size=10))
def test_appending_in_pieces_is_appending_at_once(pieces: list[list[bytes]]) -> None:
    tree = Tree()
    for piece in pieces:
        tree = tree.extend(piece)
    leaves = [leaf for piece in pieces for leaf in piece]
    assert tree == Tree().extend(leaves)
    assert tree.root_hash() == naive_root(leaves).hex()


def test_extending_leaves_the_tree_as_it_was() -> None:
    tree = Tree().extend(LEAVES[:5])
    before = tree.root_hash()
    tree.extend(LEAVES)
    assert tree.root_hash() == before == naive_root(LEAVES[:5]).hex()


# The inputs and roots of the reference implementation of Certificate Transparency.
VECTOR_LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
VECTOR_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(9))
def test_vectors_of_certificate_transparency(size: int) -> None:
    assert Tree().extend(VECTOR_LEAVES[:size]).root_hash() == VECTOR_ROOTS[size]


def test_the_empty_tree() -> None:
    assert Tree().root_hash() == Tree().extend([]).root_hash() == EMPTY_ROOT == sha256().hexdigest()


def test_null_is_the_empty_leaf() -> None:
    assert leaf_hash(None) == leaf_hash(b"") == sha256(b"\x00").digest()


@pytest.mark.parametrize("length", [0, 1, 65_534, 65_535])
def test_a_leaf_is_the_records_value(length: int) -> None:
    assert MAX_LEAF_BYTES == 65_535
    assert leaf_hash(b"x" * length) == sha256(b"\x00" + b"x" * length).digest()


@pytest.mark.parametrize("length", [65_536, 100_000, 1_048_577])
def test_the_leaf_of_a_longer_record_names_its_length_and_digest(length: int) -> None:
    value = b"x" * length
    leaf = f"oversize {length} {sha256(value).hexdigest()}".encode()
    assert leaf_hash(value) == sha256(b"\x00" + leaf).digest()


def test_leaves_and_nodes_do_not_collide() -> None:
    inner = sha256(b"\x00a").digest() + sha256(b"\x00b").digest()
    assert Tree().extend([b"a", b"b"]).root_hash() != Tree().extend([inner]).root_hash()
    assert Tree().extend([b"a", b"b", b"c"]).root_hash() != Tree().extend([inner, b"c"]).root_hash()


@cache
def many_leaves() -> list[bytes]:
    """More than a node of level 2 has."""
    return [leaf_hash(b"%d" % number) for number in range(66_000)]


@settings(max_examples=10)
@given(st.lists(st.integers(0, 40_000), max_size=4), st.data())
def test_nodes_give_the_roots_of_all_subtrees(pieces: list[int], data: st.DataObject) -> None:
    """However the leaves came, and whatever is to be proven."""
    leaves, tree = many_leaves(), Tree()
    nodes: dict[tuple[int, int], bytes] = {}
    for end in [*sorted(pieces), len(leaves)]:
        some = leaves[tree.size : end]
        for node in completed_nodes(tree, some):
            assert nodes.setdefault((node.level, node.n), node.hash) is node.hash
        tree = tree.append(some)
    assert len(nodes) == len(leaves) // 256 + len(leaves) // 65_536
    second = data.draw(st.integers(1, len(leaves)))
    first = data.draw(st.integers(1, second))
    for start, end in [*inclusion_path(first - 1, second), *consistency_path(first, second), (0, second)]:
        runs = [
            [nodes[each.level, n] if each.level else leaves[n] for n in range(each.first, each.first + each.size)]
            for each in nodes_of(start, end)
        ]
        assert all(len(run) < 256 for run in runs)
        assert root_of(runs) == Tree().append(leaves[start:end]).root_hash()
