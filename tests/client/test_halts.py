"""What must stop every follower, and how an operator goes on."""

import shutil
from pathlib import Path

import pytest

from schemas.codec import encode_record
from tests import factory
from tests.client.attacker import Attacker, append, sign_root
from tests.client.index import Index, invoke


@pytest.fixture
def filled(index: Index) -> Index:
    """A ledger with two publications."""
    index.upload("one")
    index.publish_and_check()
    return index


# --- rulesets ----------------------------------------------------------------------------------------------------


def test_a_ruleset_of_the_future_stops_every_follower(filled: Index, tmp_path: Path) -> None:
    before = filled.check()
    append(filled, [sign_root(filled, ruleset=1)])
    filled.upload("two")
    for command in (("publish",), ("verify",), ("rebuild", "--to", tmp_path / "rebuilt"), ("ceremony", "--renew")):
        assert "Install a newer version of tuf-ledger" in filled.run(*command, answer=2)
    shutil.rmtree(filled.folder / "state")
    assert "names ruleset 1" in filled.run("publish", answer=2)
    assert not (tmp_path / "rebuilt").exists()
    filled.run("info")
    assert filled.check() == before, "what is served stays as it is"


def test_what_root_never_signed_stops_nobody(filled: Index) -> None:
    value = sign_root(filled, ruleset=1).replace(b'"sig":"', b'"sig":"00', 2)
    append(filled, [value])
    filled.upload("two")
    assert list(filled.publish_and_check().projects) == ["one", "two"]
    assert [each["code"] for each in filled.ask_list("rejected")] == ["roles-signatures"]


# --- divergence --------------------------------------------------------------------------------------------------


def divergence(number: int, digest: str) -> str:
    """What the message must say for the operator to go on."""
    return f"publication {number} (record 5, SHA-256 {digest})"


def test_a_divergent_publication_stops_every_follower(filled: Index, tmp_path: Path) -> None:
    before = filled.check()
    number, digest = Attacker(filled).divergent()
    filled.upload("two")
    for command, answer in ((("publish",), 2), (("verify",), 1), (("rebuild", "--to", tmp_path / "rebuilt"), 2)):
        output = filled.run(*command, answer=answer)
        assert divergence(number, digest) in output.replace("number", "publication")
        assert "A publication diverges" in output
    shutil.rmtree(filled.folder / "state")
    filled.run("publish", answer=2)
    assert filled.check() == before, "nothing of it is served"
    filled.run("rebuild", "--to", tmp_path / "before", "--at", number - 1)


@pytest.mark.parametrize("replaced", ["in the same root", "in a later root"])
def test_an_operator_voids_a_divergent_publication(filled: Index, tmp_path: Path, replaced: str) -> None:
    before = filled.check()
    attacker = Attacker(filled)
    number, digest = attacker.divergent()
    attacker.claim(number=number + 1)
    filled.upload("two")
    filled.run("publish", answer=2)
    void = ("--void", f"{number}:{digest}")
    if replaced == "in the same root":
        filled.run("ceremony", "--replace-online", *void)
    else:
        filled.run("ceremony", *void)
        filled.check()
        filled.run("ceremony", "--replace-online")
    seen = filled.publish_and_check()
    assert seen.number > number > before.number
    assert list(seen.projects) == ["one", "two"]
    assert "void" in [each["code"] for each in filled.ask_list("rejected")]
    filled.verify("--root", filled.public / "metadata/1.root.json")
    filled.check_rebuilt(tmp_path / "rebuilt")
    shutil.rmtree(filled.folder / "state")
    assert filled.publish() == seen.number
    assert filled.check() == seen
    assert filled.run("rejected") == _without_state(filled, tmp_path)


def _without_state(index: Index, tmp_path: Path) -> str:
    """The rejected records as another follower finds them."""
    other = tmp_path / "other"
    shutil.copytree(index.folder, other, ignore=shutil.ignore_patterns("state", "public"))
    invoke("publish", "--ledger", other)
    return invoke("rejected", "--ledger", other).output


def test_what_the_attacker_serves_himself(filled: Index, tmp_path: Path) -> None:
    """The divergent publication is served too, by somebody who can write there: the signer sees it, and asks."""
    attacker = Attacker(filled)
    number, digest = attacker.divergent()
    forged = attacker.forge(tmp_path / "forged", number)
    shutil.copytree(forged, filled.public, dirs_exist_ok=True)
    output = filled.run("verify", "--served", filled.public, answer=1)
    assert "diverges" in output
    void = ("--void", f"{number}:{digest}")
    assert "FORGED" in filled.run("ceremony", "--replace-online", *void, answer=2)
    filled.run("resume", "--above", number, "--forged")
    assert filled.publish() > number
    output = filled.run("verify", "--served", filled.public, answer=1)
    for line in output.splitlines():
        if line.startswith("unknown: "):
            (filled.public / line.split()[1]).unlink()
    filled.verify()
    filled.check()


def test_a_ceremony_that_stops_halfway_retires_the_old_key(filled: Index, tmp_path: Path) -> None:
    attacker = Attacker(filled)
    number, digest = attacker.divergent()
    shutil.copytree(attacker.forge(tmp_path / "forged", number), filled.public, dirs_exist_ok=True)
    filled.run("ceremony", "--replace-online", "--void", f"{number}:{digest}", answer=2)
    filled.run("resume", "--above", number, "--forged")
    filled.publish()
    assert len(list((filled.folder / "keys/online").iterdir())) == 1


def test_garbage_on_both_logs_stops_nobody(filled: Index) -> None:
    garbage = [b"", b"\xff", b"{}", b"[" * 70_000, b'{"type":"file.uploaded.v1"}', b"x" * 70_000]
    append(filled, garbage)
    append(filled, garbage, events=False)
    filled.upload("two")
    assert list(filled.publish_and_check().projects) == ["one", "two"]
    rejected = filled.ask_list("rejected")
    assert [each["log"] for each in rejected] == ["events"] * 6 + ["publications"] * 6
    assert filled.run("rejected").count("\n") == 12
    filled.verify()


def test_strangers_records_change_nothing(filled: Index, tmp_path: Path) -> None:
    """Claims and publications of another ledger, and of somebody without a key."""
    other = Index.create(tmp_path / "other")
    attacker = Attacker(other)
    record = attacker.claim()
    stranger = factory.seal_claim(record.signed, [factory.ed25519_signer("stranger")])  # type: ignore[arg-type]
    append(filled, [encode_record(each) for each in (record, stranger)], events=False)
    filled.upload("two")
    filled.publish_and_check()
    assert {each["code"] for each in filled.ask_list("rejected")} == {"other-origin"}
