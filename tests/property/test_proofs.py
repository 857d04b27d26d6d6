"""Proofs of random ledgers hold, whatever stands on the log; proofs of anything else do not (docs/proofs.md).

What the definition of RFC 9162 makes is what `projections.log.proofs` makes. The same proofs are checked by a program
in Go, which shares no line with ours.
"""

from base64 import b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.log.merkle import MAX_LEAF_BYTES, leaf_hash
from projections.log.proof_checking import UnreadableProofError, WrongProofError, check_proof, offer_of, read_proof
from projections.log.proofs import are_consistent, consistency_path, inclusion_path, tree_root
from schemas import events
from schemas.codec import decode_event
from schemas.proof_files import Proof
from tests import factory
from tests.checkproof import GoChecker
from tests.factory import Make, digest
from tests.property.damages import DAMAGES, changed, small, with_other_snapshot_keys
from tests.property.proven import Signed, consistency, encode, inclusion, teams

LEAVES = [leaf_hash(b"leaf %d" % number) for number in range(70)]


# --- trees -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(1, 71))
def test_paths_are_those_of_the_definition(size: int) -> None:
    leaves = LEAVES[:size]

    def roots(subtrees: Any) -> list[str]:
        return [tree_root(leaves[each.start : each.end]) for each in subtrees]

    for leaf in range(size):
        assert roots(inclusion_path(leaf, size)) == inclusion(leaf, leaves)
    for first in range(1, size + 1):
        path = consistency(first, leaves)
        assert roots(consistency_path(first, size)) == path
        assert are_consistent(first, tree_root(leaves[:first]), size, tree_root(leaves), path)


@given(st.integers(1, 70), st.data())
def test_no_other_tree_is_consistent(second: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, second))
    roots = tree_root(LEAVES[:first]), tree_root(LEAVES[:second])
    path, other = consistency(first, LEAVES[:second]), data.draw(st.integers(0, 71))
    wrong: list[tuple[int, str, int, str, list[str]]] = [
        (first, roots[0], second, roots[1], [*path, digest("more")]),
        (first, digest("x"), second, roots[1], path),
        (first, roots[0], second, digest("x"), path),
    ]
    if path:
        wrong.append((first, roots[0], second, roots[1], path[:-1]))
        place = data.draw(st.integers(0, len(path) - 1))
        wrong.append((first, roots[0], second, roots[1], [*path[:place], digest("x"), *path[place + 1 :]]))
    if len(path) > 1:
        wrong.append((first, roots[0], second, roots[1], path[::-1]))
    if other != first:
        wrong.append((other, roots[0], second, roots[1], path))
    assert not any(are_consistent(*each) for each in wrong)


# --- ledgers -----------------------------------------------------------------------------------------------------


@st.composite
def ledgers(draw: st.DrawFn) -> Signed:
    """A ledger of uploads, other events and garbage, with some publications, under one to four roots."""
    signed = Signed(teams(draw(st.sampled_from(["one key", "several keys"]))))
    make = Make()
    for _ in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(0, 9))):
            what = draw(st.sampled_from(["upload", "target", "project", "garbage", "long"]))
            if what == "upload":
                name = draw(st.sampled_from(["one", "two"]))
                version = str(draw(st.integers(1, 9)))
                signed.append(*factory.encode([make.file_uploaded(name, version)]))
            elif what == "target":
                signed.append(*factory.encode([make.target_added(f"tools/{draw(st.integers(1, 9))}")]))
            elif what == "project":
                signed.append(*factory.encode([make.project_created("one")]))
            elif what == "garbage":
                signed.append(draw(st.binary(max_size=20)))
            else:
                signed.append(b"x" * (MAX_LEAF_BYTES + draw(st.integers(0, 2))))
        if draw(st.booleans()) and len(signed.roots) < len(signed.teams):
            signed.replace_keys()
        signed.publish()
    return signed


@st.composite
def proofs(draw: st.DrawFn) -> tuple[Signed, Proof]:
    """A ledger, and a proof about it."""
    signed = draw(ledgers())
    number = draw(st.integers(1, len(signed.published)))
    kind = draw(st.sampled_from(["event", "hash", "target", "page", "consistency"]))
    if kind == "consistency":
        return signed, signed.consistency(draw(st.integers(1, number)), number)
    offers = [(index, offer_of(decode_event(record))) for index, record in enumerate(signed.records)]
    known = [(index, offer.path) for index, offer in offers if offer is not None and index < signed.sizes[-1]]
    about = [
        (index, f"simple/{event.subject}/index.json")
        for index, event in enumerate(map(decode_event, signed.records))
        if isinstance(event, events.ProjectEvent)
    ]
    if kind in {"target", "page"} and (listed := known if kind == "target" else about):
        index, path = draw(st.sampled_from(listed))
        return signed, signed.target(path, draw(st.sampled_from([index, None])))
    index = draw(st.integers(0, signed.sizes[number - 1] - 1))
    return signed, signed.event(number, index, with_record=kind == "event")


def refused(data: bytes, root: bytes) -> str:
    """The step that fails; empty if none does."""
    try:
        check_proof(read_proof(data), root)
    except WrongProofError as error:
        return str(error.facts["step"])
    except UnreadableProofError:
        return "form"
    return ""


SLOWER = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SLOWER
@given(proofs(), st.data())
def test_every_proof_holds_and_none_that_was_changed(made: tuple[Signed, Proof], data: st.DataObject) -> None:
    signed, proof = made
    file = encode(proof)
    version = data.draw(st.integers(1, lowest_root(proof)))
    checked = check_proof(read_proof(file), proof.roots[version - 1].encode())
    assert checked.published.root_hash == tree_root(signed.leaves(checked.published.number))
    if checked.event is not None and checked.event.record is not None:
        assert checked.event.record == signed.records[checked.event.event]
    for other in changes(data, file, signed):
        assert refused(other, proof.roots[0].encode()), other


def lowest_root(proof: Proof) -> int:
    """The version of the root that the earliest timestamp of a proof is under."""
    published = getattr(proof, "earlier", None) or proof.published  # type: ignore[union-attr]  # each has one
    assert isinstance(published.root, int)
    return published.root


def changes(data: st.DataObject, file: bytes, signed: Signed) -> list[bytes]:
    """The file of a proof with something changed, so that it says what is not so.

    (Equal records can have one path. Then the proof of one is a proof of the other.)
    """
    made = []
    for _ in range(5):
        # How long a file is differs: not all signatures repeat.
        place, bit = data.draw(st.integers(0, 2**30)) % len(file), data.draw(st.integers(0, 7))
        made.append(file[:place] + bytes([file[place] ^ 1 << bit]) + file[place + 1 :])
    value = msgspec.json.decode(file)
    event = value.get("event")
    paths = [part["path"] for part in (event, value) if part is not None and "path" in part]
    for path in paths:
        if len(path) > 1 and path[0] != path[1]:
            path[0], path[1] = path[1], path[0]
            made.append(msgspec.json.encode(value))
            path[0], path[1] = path[1], path[0]
        path.append(digest("one more"))
        made.append(msgspec.json.encode(value))
        path.pop()
        if path:
            last = path.pop()
            made.append(msgspec.json.encode(value))
            path.append(last)
    if event is not None:
        index, records = event["index"], signed.records
        other = data.draw(st.integers(0, len(records) + 1))
        if records[index] != (records[other] if other < len(records) else None):
            event["index"] = other
            made.append(msgspec.json.encode(value))
            event["index"] = index
    value["roots"] = value["roots"][:-1] or [""]
    made.append(msgspec.json.encode(value))
    return made


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_named(name: str) -> None:
    signed = small()
    step, damage = DAMAGES[name]
    assert refused(encode(damage(signed)), signed.roots[0].encode()) == step


def test_each_role_has_keys_of_its_own() -> None:
    proof, root = with_other_snapshot_keys(small())
    assert refused(encode(proof), root.encode()) == "snapshot"


def test_a_key_that_was_replaced_proves_nothing_to_whoever_trusts_a_later_root() -> None:
    signed = small()
    first, second = (root.encode() for root in signed.roots)
    assert refused(encode(signed.event(2, 1)), second) == ""
    assert refused(encode(signed.event(1, 1)), second) == "roots"
    assert refused(encode(signed.consistency(1, 2)), first) == ""
    assert refused(encode(signed.consistency(1, 2)), second) == "timestamp"
    old = changed(signed.event(1, 1), roots=tuple(signed.roots))
    assert [refused(encode(old), root) for root in (first, second)] == ["", "timestamp"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"format":2,"type":"event"}',
        b'{"format":1,"type":"event","roots":[],"published":{},"event":{}}',
    ],
)
def test_garbage_is_no_proof(data: bytes) -> None:
    with pytest.raises(UnreadableProofError, match="is not a proof"):
        read_proof(data)


@pytest.mark.parametrize("root", [b"", b"{}", b"[" * 100_000, b'{"signatures":[],"signed":{"_type":"root"}}'])
def test_garbage_is_no_root(root: bytes) -> None:
    signed = Signed(teams("one key"))
    signed.publish()
    with pytest.raises(UnreadableProofError, match="is no root"):
        check_proof(signed.event(1, 0), root)


NO_METADATA = [
    "",
    "{}",
    "[" * 100_000,
    '{"signatures":[],"signed":{}}',
    "\u00e9",
    '{"signatures":[],"signed":{"a":1.5}}',
]


@pytest.mark.parametrize("file", NO_METADATA)
@pytest.mark.parametrize("step", ["roots", "timestamp", "snapshot", "targets", "bins", "bin"])
def test_garbage_is_no_metadata(step: str, file: str) -> None:
    signed = Signed(teams("one key"))
    signed.append(*factory.encode([signed.make.file_uploaded("one")]))
    signed.publish()
    proof = signed.target("simple/one/index.json", 2)
    if step == "roots":
        proof = msgspec.structs.replace(proof, roots=(file,))
    elif step in {"timestamp", "snapshot"}:
        part = msgspec.structs.replace(proof.published, **{step: file})
        proof = msgspec.structs.replace(proof, published=part)
    else:
        proof = msgspec.structs.replace(proof, target=msgspec.structs.replace(proof.target, **{step: file}))
    assert refused(encode(proof), signed.roots[0].encode()) == step


def test_the_record_has_one_form() -> None:
    signed = Signed(teams("one key"))
    signed.append(b"1")
    signed.publish()
    proof = signed.event(1, 2)
    assert (proof.event.record, b64encode(b"1")) == ("MQ==", b"MQ==")
    for record in ("MR==", "MQ=", "MQ", "M", "===="):
        event = msgspec.structs.replace(proof.event, record=record)
        data = encode(msgspec.structs.replace(proof, event=event))
        assert refused(data, signed.roots[0].encode()) in {"event", "form"}


# --- Go ----------------------------------------------------------------------------------------------------------


@pytest.mark.go
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(proofs(), st.data())
def test_another_implementation_says_the_same(
    go_checker: GoChecker, made: tuple[Signed, Proof], data: st.DataObject
) -> None:
    signed, proof = made
    file, root = encode(proof), proof.roots[0].encode()
    answer, *others = go_checker.check(root, [file, *changes(data, file, signed)])
    checked = check_proof(proof, root)
    assert answer.pop("ok"), answer
    expected: dict[str, Any] = {"publication": checked.published.number}
    if checked.earlier is not None:
        expected["earlier"] = checked.earlier.number
    if checked.event is not None:
        expected["event"] = checked.event.event
    if checked.target is not None:
        expected |= {"target": checked.target.path, "sha256": checked.target.sha256}
    assert answer == expected
    assert not any(each["ok"] for each in others)


@pytest.mark.go
def test_both_implementations_name_the_same_step(go_checker: GoChecker) -> None:
    for name, (step, damage) in DAMAGES.items():
        signed = small()
        (answer,) = go_checker.check(signed.roots[0].encode(), [encode(damage(signed))])
        assert (name, answer["ok"], answer.get("step")) == (name, False, step)
    proof, root = with_other_snapshot_keys(small())
    assert go_checker.check(root.encode(), [encode(proof)])[0]["step"] == "snapshot"
