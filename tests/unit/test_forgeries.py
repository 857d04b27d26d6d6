"""What a served metadata file is that is not the log's: found out from its bytes and from who could ever sign."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from projections.metadata.forgeries import Finding, Logged, classify, expiry_of, numbers_of, older
from projections.metadata.repository import signed_file
from projections.roles.authority import judge_ceremony
from projections.roles.history import History, PastCeremony
from schemas import canonical
from tests import factory
from tests.factory import Team, ecdsa_signer, ed25519_signer, rsa_signer

SINCE = "2031-01-01T00:00:00Z"
OLD, NEW, STRANGER = ed25519_signer("online 1"), ecdsa_signer("online 2"), ed25519_signer("stranger")
TIMESTAMP = "metadata/timestamp.json"


def make_history() -> History:
    """Root 1 has one online key, root 2 another; root 3 has other keys for bins."""
    first = Team(online=(OLD,))
    second = first.but(online=(NEW,))
    third = second.but(bins=(ed25519_signer("bins 3"), ed25519_signer("bins 4")))
    ceremonies, authority, before, digest = [], None, None, ""
    for index, team in enumerate((first, second, third), 1):
        files = factory.ceremony(team, authority, before)
        digest = digest or factory.file_digest(files["root"])
        judged = judge_ceremony(authority, digest, files, index + 1)
        assert judged.outcome.verdict == "accepted", judged.outcome
        authority, before = judged.authority, team
        ceremonies.append(PastCeremony(index, files, SINCE if index == 1 else ""))
    return History(ceremonies)


HISTORY = make_history()


def sign(signed: Mapping[str, Any], *signers: CryptoSigner) -> bytes:
    """A metadata file as the ledger serves it."""
    payload = canonical.encode(signed)
    return signed_file(payload, {signer.public_key.keyid: signer.sign(payload).signature for signer in signers})


def bin_(version: int = 7, **more: Any) -> dict[str, Any]:
    return {"_type": "targets", "expires": SINCE, "spec_version": "1.0.34", "targets": {}, "version": version, **more}


def logged(number: int, role: str, file: bytes) -> dict[int, Logged]:
    """A publication that has this file."""
    signatures = frozenset(each["sig"] for each in json.loads(file)["signatures"])
    return {number: Logged(number, {"snapshot": frozenset({"00"}), role: signatures})}


def find(path: str, file: bytes, log: Mapping[int, Logged] | None = None) -> Finding:
    return classify(path, file, HISTORY, log or {})


# --- forgeries ---------------------------------------------------------------------------------------------------


def test_a_key_that_was_replaced() -> None:
    keyid = OLD.public_key.keyid
    assert find("metadata/7.bin-0.json", sign(bin_(), OLD)) == (
        "forged",
        f"FORGED: signed outside the log by {keyid} (online since root 1 of {SINCE}, until root 2)",
        (keyid,),
    )


def test_a_key_that_is_online() -> None:
    keyid = NEW.public_key.keyid
    found = find(TIMESTAMP, sign({**bin_(), "_type": "timestamp"}, NEW, STRANGER))
    assert found.detail == f"FORGED: signed outside the log by {keyid} (online since root 2)"
    assert HISTORY.is_online(keyid)
    assert not HISTORY.is_online(OLD.public_key.keyid)


@pytest.mark.parametrize("path", ["metadata/evil.json", "metadata/7.bin-0.json", "metadata/9.root.json", TIMESTAMP])
def test_wherever_it_lies_and_however_it_is_written(path: str) -> None:
    value = json.loads(sign(bin_(), OLD))
    value["signatures"] += [{"keyid": OLD.public_key.keyid, "sig": "0g"}, {"keyid": "x", "sig": ""}]
    value["more"] = 1
    for file in (json.dumps(value, indent=2), json.dumps(dict(reversed(value.items())))):
        assert find(path, file.encode()).kind == "forged"


def test_control_characters_are_signed_raw() -> None:
    signed = bin_(evil="a\nb\\n")
    payload = canonical.encode_for_signing(signed)
    file = canonical.encode({"signatures": [OLD.sign(payload).to_dict()], "signed": signed})
    assert find("metadata/7.bin-0.json", file).kind == "forged"


def test_a_forgery_in_a_place_that_the_log_has() -> None:
    true = sign(bin_(), OLD)
    forged = sign(bin_(evil=1), OLD)
    assert find("metadata/7.bin-0.json", forged, logged(7, "bin-0", true)).kind == "forged"
    assert find(TIMESTAMP, sign({**bin_(), "_type": "timestamp"}, OLD), logged(7, "timestamp", true)).kind == "forged"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(values, st.booleans())
def test_whatever_clients_would_read_is_named(value: Any, is_ascii: bool) -> None:
    """A client checks the signature of OLPC's canonical JSON, however the file is written."""
    signed = bin_(thief=value)
    signature = OLD.sign(canonical.encode_for_signing(signed)).to_dict()
    file = json.dumps({"signed": signed, "signatures": [signature]}, ensure_ascii=is_ascii)
    assert find("metadata/7.bin-0.json", file.encode("utf-8", "surrogatepass")).kind == "forged"


# --- what the log has ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [OLD, NEW], ids=["Ed25519", "ECDSA, whose signatures do not repeat"])
def test_what_was_published_and_is_written_otherwise(signer: CryptoSigner) -> None:
    true = sign(bin_(), signer)
    for file in (true + b" ", json.dumps(json.loads(true), indent=1).encode(), sign(bin_(), signer) + b"\n"):
        found = find("metadata/7.bin-0.json", file, logged(7, "bin-0", true))
        assert found == ("published", "published as number 7, altered", ())


def test_another_signature_of_a_stranger_forges_nothing() -> None:
    found = find("metadata/7.bin-0.json", sign(bin_(), OLD, STRANGER), logged(7, "bin-0", sign(bin_(), OLD)))
    assert found.detail == "published as number 7, altered"


def test_the_same_content_under_another_name() -> None:
    true = sign(bin_(), OLD)
    for path in ("metadata/8.bin-0.json", "metadata/7.bin-1.json", "metadata/evil.json", TIMESTAMP):
        found = find(path, true, logged(7, "bin-0", true))
        assert found.detail == "published as number 7, here under another name"


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff", b'{"signatures":[],"signed":[]}'])
def test_damage_in_a_place_that_the_log_has(damage: bytes) -> None:
    true = sign(bin_(), OLD)
    assert find("metadata/7.bin-0.json", damage, logged(7, "bin-0", true)).detail == "published as number 7, altered"
    assert find("metadata/2.root.json", damage).detail == "published as root 2, altered"


def test_a_timestamp_with_a_bit_changed() -> None:
    true = sign({**bin_(), "_type": "timestamp"}, OLD)
    file = true.replace(b"2031", b"2032")
    assert find(TIMESTAMP, file, logged(7, "timestamp", true)).detail == "published as number 7, altered"


def test_an_offline_role_that_is_written_otherwise() -> None:
    team = Team(online=(OLD,))
    file = json.dumps(factory.ceremony(team)["root"]).encode()
    assert find("metadata/1.root.json", file).detail == "published as root 1, altered"
    assert find("metadata/4.root.json", file).detail == "published as root 1, here under another name"


# --- offline keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["root", "targets", "bins"])
def test_an_offline_role_that_is_not_on_the_log(role: str) -> None:
    team = Team(online=(STRANGER,))
    document = factory.ceremony(team)[role]
    document = factory.sign({**document["signed"], "version": 9}, getattr(team, role))
    found = find(f"metadata/9.{role}.json", canonical.encode(document))
    assert found.kind == "offline"
    assert found.detail.startswith(f"NOT ON THE LOG, and signed by a threshold of the offline keys of {role}: by ")
    assert f"(signs {role} since root 1 of {SINCE}" in found.detail
    assert set(found.keyids) == {signer.public_key.keyid for signer in getattr(team, role)}
    assert (", until root 3)" in found.detail) is (role == "bins")


def test_fewer_offline_keys_than_a_threshold() -> None:
    found = find("metadata/9.root.json", sign({**bin_(), "_type": "root"}, Team().root[0]))
    assert found.kind == "offline"
    assert "threshold" not in found.detail
    assert found.detail.endswith("by fewer keys than clients ask for")


def test_online_and_offline_keys_together() -> None:
    assert find("metadata/9.root.json", sign(bin_(), OLD, *Team().root)).kind == "offline"
    assert find("metadata/9.root.json", sign(bin_(), OLD, Team().root[0])).kind == "forged"


# --- garbage -------------------------------------------------------------------------------------------------------

GARBAGE = {
    "empty": b"",
    "no JSON": b"garbage",
    "nested": b'{"signed":' + b"[" * 100_000,
    "deep": b'{"signatures":[],"signed":{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
    "no text": b'{"signatures":[],"signed":{"x":"\xff"}}',
    "a large number": b'{"signatures":[],"signed":{"version":' + b"9" * 5_000 + b"}}",
    "surrogates": b'{"signatures":[],"signed":{"x":"\\ud800"}}',
    "a stranger's": sign(bin_(), STRANGER),
    "another's content": sign(bin_(), OLD).replace(b'"version":7', b'"version":8'),
    "a fraction": b'{"signatures":[{"keyid":"%s","sig":"00"}],"signed":{"x":1.5,"y":"\\n"}}'
    % OLD.public_key.keyid.encode(),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(garbage: str) -> None:
    for path in ("metadata/99.bin-0.json", "metadata/evil", TIMESTAMP):
        assert numbers_of(path, GARBAGE[garbage]) <= {7, 8, 99}
        assert find(path, GARBAGE[garbage]) == ("unsigned", "not signed by any key of this ledger", ())


@given(st.binary(max_size=200))
def test_any_bytes_are_garbage(data: bytes) -> None:
    assert find("metadata/99.bin-0.json", data).kind == "unsigned"


def test_many_signatures_of_one_key_do_not_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("projections.metadata.forgeries.verify", lambda *each: asked.append(each[1]))
    each = b'{"keyid":"%s","sig":"00"}' % OLD.public_key.keyid.encode()
    find("metadata/99.bin-0.json", b'{"signatures":[' + b",".join([each] * 10_000) + b'],"signed":{}}')
    assert 0 < len(asked) < 100


# --- words ---------------------------------------------------------------------------------------------------------


def test_an_old_timestamp() -> None:
    assert older(1, SINCE).detail == f"older than the newest by 1 publication, valid until {SINCE}"
    assert older(1_000, SINCE).detail == f"older than the newest by 1,000 publications, valid until {SINCE}"
    assert expiry_of(sign(bin_(), OLD)) == SINCE
    assert expiry_of(b'{"signatures":[],"signed":{"expires":1}}') == expiry_of(b"") == ""


def test_which_publications_are_asked_for() -> None:
    assert numbers_of("metadata/7.bin-0.json", sign(bin_(8), OLD)) == {7, 8}
    assert numbers_of(TIMESTAMP, sign(bin_(8), OLD)) == {8}
    assert numbers_of("metadata/evil", b'{"signatures":[],"signed":{"version":true}}') == set()
    assert numbers_of("metadata/evil", b'{"signatures":[],"signed":{"version":9007199254740993}}') == set()


def test_an_rsa_key_and_a_threshold_of_two() -> None:
    team = Team(online=(OLD, rsa_signer()), online_threshold=2)
    history = History([PastCeremony(1, factory.ceremony(team))])
    few = classify(TIMESTAMP, sign(bin_(), rsa_signer()), history, {})
    assert few.kind == "forged"
    assert few.detail.endswith("(online since root 1), by fewer keys than clients ask for")
    enough = classify(TIMESTAMP, sign(bin_(), *team.online), history, {})
    assert enough.detail.count("(online since root 1)") == 2
    assert "fewer" not in enough.detail


def test_a_key_that_comes_back() -> None:
    """Two stays of one key are both said."""
    team = Team(online=(OLD,))
    ceremonies, authority, before, digest = [], None, None, ""
    for index, online in enumerate(((OLD,), (NEW,), (OLD,)), 1):
        now = team.but(online=online)
        files = factory.ceremony(now, authority, before)
        digest = digest or factory.file_digest(files["root"])
        authority, before = judge_ceremony(authority, digest, files, index + 1).authority, now
        ceremonies.append(PastCeremony(index, files))
    history = History(ceremonies)
    said = history.describe(OLD.public_key.keyid)
    assert said.endswith("(online since root 1, until root 2; online since root 3)")
