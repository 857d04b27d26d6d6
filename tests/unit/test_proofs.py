"""Proofs of inclusion against RFC 9162, section 2.1.3, as it is written there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.log.merkle import Tree, leaf_hash
from projections.log.proofs import InclusionProof, freeable_leaf, prove, proven_root, tree_root
from tests.factory import digest

LEAVES = [b"leaf %d" % number for number in range(130)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def naive_path(leaf: int, hashes: list[bytes]) -> list[str]:
    """PATH of RFC 9162, 2.1.3.1: "k is the largest power of two smaller than n"."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if leaf < k:
        return [*naive_path(leaf, hashes[:k]), tree_root(hashes[k:])]
    return [*naive_path(leaf - k, hashes[k:]), tree_root(hashes[:k])]


@pytest.mark.parametrize("size", [*range(34), 63, 64, 65, 130])
def test_every_leaf_of_a_tree_is_proven(size: int) -> None:
    root = tree_root(HASHES[:size])
    assert root == Tree().extend(LEAVES[:size]).root_hash()
    for leaf in range(size):
        proof = prove(HASHES[:size], leaf)
        assert proof == InclusionProof(leaf, size, tuple(naive_path(leaf, HASHES[:size])))
        assert proven_root(HASHES[leaf], proof) == root
        assert proven_root(leaf_hash(b"another"), proof) != root


@given(st.integers(1, 130), st.data())
def test_what_is_no_proof_leads_nowhere(size: int, data: st.DataObject) -> None:
    leaf = data.draw(st.integers(0, size - 1))
    root, proof = tree_root(HASHES[:size]), prove(HASHES[:size], leaf)
    other = data.draw(st.integers(0, size))
    wrong = [
        proof._replace(leaf=other) if other != leaf else proof._replace(leaf=size),
        proof._replace(path=(*proof.path, digest("more"))),
        proof._replace(path=proof.path[:-1]) if proof.path else proof._replace(size=0),
        proof._replace(path=(digest("first"), *proof.path[1:])),
    ]
    assert all(proven_root(HASHES[leaf], each) != root for each in wrong)


@pytest.mark.parametrize(
    "proof",
    [InclusionProof(0, 0, ()), InclusionProof(1, 1, ()), InclusionProof(0, 2, ()), InclusionProof(2**53, 1, ())],
)
def test_proofs_without_proper_form_have_no_root(proof: InclusionProof) -> None:
    assert proven_root(HASHES[0], proof) == ""


def test_an_inner_node_is_no_leaf() -> None:
    """Whoever knows the tree could else prove that a node of it is a file."""
    root, lower = tree_root(HASHES[:4]), prove(HASHES[:4], 0)
    node = bytes.fromhex(tree_root(HASHES[:2]))
    assert proven_root(node, InclusionProof(0, 2, lower.path[1:])) == root
    leaf = freeable_leaf(node.hex(), "a", "a-1.zip")
    assert proven_root(leaf, InclusionProof(0, 2, lower.path[1:])) != root


def test_a_leaf_says_which_file() -> None:
    leaf = freeable_leaf(digest("x"), "a", "b-1.zip")
    assert leaf == leaf_hash(bytes.fromhex(digest("x")) + b"a\0b-1.zip")
    assert leaf not in {
        freeable_leaf(digest("y"), "a", "b-1.zip"),
        freeable_leaf(digest("x"), "ab", "-1.zip"),
        freeable_leaf(digest("x"), "a", "b-1.zi"),
    }


def test_a_path_beyond_the_top_of_the_tree_that_it_claims_is_refused() -> None:
    """It would lead to the root of a larger tree."""
    assert proven_root(HASHES[1], InclusionProof(1, 2, (HASHES[0].hex(),))) == tree_root(HASHES[:2])
    assert proven_root(HASHES[1], InclusionProof(0, 1, (HASHES[0].hex(),))) == ""
