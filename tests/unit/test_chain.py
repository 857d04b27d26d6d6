"""The chain of publications: what is valid, and what stops a follower (docs/rules.md, section 7)."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Timestamp

from projections.log.prefix import Ledger, Prefix
from projections.metadata.repository import (
    SnapshotTable,
    bin_payload,
    signed_file,
    timestamp_payload,
    unpack_signatures,
)
from projections.outcomes import Outcome
from projections.publications import (
    Head,
    LogTooShortError,
    OpenClaim,
    depends_on_end,
    first_head,
    judge_claim,
    judge_claim_alone,
    judge_claimant,
    judge_contents,
    judge_publication,
)
from projections.roles.authority import Authority, Settings, Void
from projections.roles.layout import Layout
from schemas.codec import decode_publication_record, encode_record, encode_signed
from schemas.publications import Claim, Publication, Record, Seal
from tests import factory
from tests.factory import Make, Team, authority_of, digest

ONLINE = tuple(factory.ed25519_signer(f"online {number}") for number in range(1, 5))
ECDSA, RSA = factory.ecdsa_signer("online"), factory.rsa_signer()


class Chain:
    """A ledger and its publications so far; every record goes through its bytes."""

    def __init__(self, team: Team | None = None) -> None:
        self.make, self.team = Make(), team or Team()
        self.prefix = factory.ready_prefix(self.make, self.team)
        self.prefixes = {self.prefix.size: self.prefix}
        assert self.prefix.ledger is not None
        self.ledger: Ledger = self.prefix.ledger
        self.head = first_head(self.ledger)
        self.open: OpenClaim | None = None

    @property
    def authority(self) -> Authority:
        return authority_of(self.prefix)

    def add(self, *values: bytes | None) -> None:
        self.prefix, _ = self.prefix.extend(values)
        self.prefixes[self.prefix.size] = self.prefix

    def change_to(self, team: Team) -> None:
        files = factory.ceremony(team, self.authority, self.team, everything=True)
        self.add(*factory.encode([self.make.roles_signed(files)]))
        assert self.authority.root.version > 1
        self.team = team

    def claim(self, number: int, **changes: Any) -> Claim:
        return factory.claim(self.prefix, self.head, number, **changes)

    def judge(self, record: Record) -> Outcome:
        """The outcome of a record as a follower comes to it; what is valid has its effect."""
        decoded = decode_publication_record(encode_record(record))
        assert decoded == record
        signed = record.signed
        outcome = (
            self._judge_claim(record, signed) if isinstance(signed, Claim) else self._judge_publication(record, signed)
        )
        if outcome.verdict != "accepted":
            return outcome
        if isinstance(signed, Claim):
            self.open = factory.opened(record, authority_of(self.prefixes[signed.size]).root.version)
        else:
            assert self.open is not None
            authority = authority_of(self.prefixes[self.open.claim.size])
            self.head = factory.head_of(record, self.open, authority.time_from)
            self.open = None
        return outcome

    def _judge_claim(self, record: Record, claim: Claim) -> Outcome:
        outcome = judge_claim_alone(claim, self.ledger, self.head)
        if outcome.verdict != "accepted":
            return outcome
        return self.judge_seal(record, claim)

    def judge_seal(self, record: Record, claim: Claim) -> Outcome:
        """The outcome of a claim that passed the checks without events."""
        outcome = judge_claimant(record, claim, self.prefix)
        if outcome.verdict == "accepted":
            outcome = judge_claim(record, claim, self.prefix, self.head, self.open)
        return judge_contents(claim, self.prefixes[claim.size]) if outcome.verdict == "accepted" else outcome

    def _judge_publication(self, record: Record, publication: Publication) -> Outcome:
        prefix = self.prefixes[self.open.claim.size] if self.open else None
        return judge_publication(record, publication, self.open, prefix)

    def sealed(self, claim: Claim, *signers: CryptoSigner) -> Record:
        return factory.seal_claim(claim, signers or self.team.online)

    def completion(self, open_claim: OpenClaim, names: Sequence[str] = (), team: Team | None = None) -> Record:
        """The publication that completes a claim, by the team of its size."""
        team = team or self.team
        authority = authority_of(self.prefixes[open_claim.claim.size])
        payloads = {name: bin_payload((), open_claim.claim.number, factory.EXPIRES) for name in names}
        snapshot = SnapshotTable({}).payload(open_claim.claim, authority, open_claim.claim.size)
        published = factory.publication(open_claim, authority, payloads, snapshot, team)
        return factory.seal_publication(published, open_claim, authority, team)

    def publish(self, number: int, names: Sequence[str] = (), **changes: Any) -> None:
        """A claim and its publication, which must be valid."""
        record = self.sealed(self.claim(number, **changes))
        assert self.judge(record).verdict == "accepted"
        assert self.judge(self.completion(factory.opened(record), names)).verdict == "accepted"


def record_digest(record: Record) -> str:
    """The SHA-256 of a record as it stands on the log."""
    return sha256(encode_record(record)).hexdigest()


def code(outcome: Outcome) -> str:
    """The code of a rejection; empty for what is valid."""
    assert outcome.verdict == ("rejected" if outcome.code else "accepted")
    return outcome.code


@pytest.mark.parametrize(
    "team",
    [
        Team(),
        Team(online=ONLINE[:3], online_threshold=2),
        Team(online=(RSA,)),
        Team(online=(ECDSA, ONLINE[0])),
        Team(layout=Layout(2, succinct=False)),
    ],
)
def test_a_chain_of_publications(team: Team) -> None:
    chain = Chain(team)
    chain.publish(1)
    chain.add(None)
    chain.publish(2, ["bin-0", "bin-1"])
    chain.publish(1_000, ["bin-3"], renew=("bin-0", "bin-3"))
    chain.publish(1_001_000, time=factory.instant(10**9))
    assert chain.head.number == 1_001_000


def test_the_first_predecessor_is_record_0_of_events() -> None:
    chain = Chain()
    assert chain.head == Head(0, chain.ledger.digest, "", 0)
    assert chain.claim(1).previous == sha256(factory.beginning(Make(), Team())[0]).hexdigest()


def test_the_previous_is_the_digest_of_the_last_publications_record() -> None:
    chain = Chain()
    record = chain.sealed(chain.claim(1))
    chain.judge(record)
    published = chain.completion(factory.opened(record))
    chain.judge(published)
    assert chain.head.digest == sha256(encode_record(published)).hexdigest()
    assert isinstance(published.signed, Publication)
    assert published.signed.claim == sha256(encode_record(record)).hexdigest()


def test_size_and_time_may_stay() -> None:
    chain = Chain()
    chain.publish(1)
    chain.publish(2, time=chain.head.time, size=chain.head.size)


def test_only_the_first_claim_on_a_predecessor_wins() -> None:
    chain = Chain()
    assert code(chain.judge(chain.sealed(chain.claim(5)))) == ""
    assert code(chain.judge(chain.sealed(chain.claim(5, time=factory.instant(9_999))))) == "number"
    assert code(chain.judge(chain.sealed(chain.claim(4)))) == "number"


def test_the_same_claim_again_is_not_valid() -> None:
    chain = Chain()
    record = chain.sealed(chain.claim(5))
    assert code(chain.judge(record)) == ""
    assert code(chain.judge(record)) == "number"


def test_a_claim_with_a_higher_number_voids_the_open_claim() -> None:
    chain = Chain()
    first, second = chain.sealed(chain.claim(5)), chain.sealed(chain.claim(6))
    chain.judge(first)
    assert code(chain.judge(second)) == ""
    assert code(chain.judge(chain.completion(factory.opened(first)))) == "no-open-claim"
    assert code(chain.judge(chain.completion(factory.opened(second)))) == ""
    assert chain.head.number == 6


def test_a_claim_may_take_back_size_and_time_of_the_claim_that_it_voids() -> None:
    chain = Chain()
    chain.add(None, None)
    chain.judge(chain.sealed(chain.claim(5)))
    smaller = chain.prefixes[2]
    claim = factory.claim(smaller, chain.head, 6, time=factory.instant(1))
    assert code(chain.judge(chain.sealed(claim))) == ""


def test_a_claim_under_an_older_root_does_not_void_the_open_claim() -> None:
    """Else a stolen key that was replaced would go on voiding every claim under its successor."""
    chain = Chain(Team(online=ONLINE[:1]))
    old = chain.prefix
    chain.change_to(Team(online=ONLINE[1:2]))
    record = chain.sealed(chain.claim(5))
    chain.judge(record)
    stolen = factory.claim(old, chain.head, 6)
    assert code(chain.judge(chain.sealed(stolen, ONLINE[0]))) == "older-root"
    assert code(chain.judge(chain.completion(factory.opened(record)))) == ""


@pytest.mark.parametrize("number", [1, 5, 6])
def test_a_claim_under_a_newer_root_voids_the_open_claim_whatever_its_number(number: int) -> None:
    """Else a stolen key could take a number from which its successor has to go on."""
    chain = Chain(Team(online=ONLINE[:1]))
    chain.judge(chain.sealed(chain.claim(5)))
    chain.change_to(Team(online=ONLINE[1:2]))
    record = chain.sealed(chain.claim(number))
    assert code(chain.judge(record)) == ""
    assert code(chain.judge(chain.completion(factory.opened(record)))) == ""


def test_any_signer_may_complete_a_claim_once() -> None:
    chain = Chain(Team(online=ONLINE[:3]))
    record = chain.sealed(chain.claim(1), ONLINE[0])
    chain.judge(record)
    team = Team(online=ONLINE[1:3])
    published = chain.completion(factory.opened(record), ["bin-0"], team)
    assert code(chain.judge(published)) == ""
    assert code(chain.judge(published)) == "no-open-claim"


def test_a_rejected_record_leaves_the_open_claim_open() -> None:
    chain = Chain()
    record = chain.sealed(chain.claim(1))
    chain.judge(record)
    chain.judge(chain.sealed(chain.claim(7), ONLINE[3]))
    chain.judge(chain.sealed(chain.claim(7, origin="other.example")))
    assert code(chain.judge(chain.completion(factory.opened(record)))) == ""


# --- keys --------------------------------------------------------------------------------------------------------


def test_the_keys_are_those_in_force_at_the_claims_size() -> None:
    chain = Chain(Team(online=ONLINE[:1]))
    old = chain.prefix
    chain.change_to(Team(online=ONLINE[1:2]))
    for prefix, right, wrong in ((old, ONLINE[0], ONLINE[1]), (chain.prefix, ONLINE[1], ONLINE[0])):
        claim = factory.claim(prefix, chain.head, 1)
        for signer, expected in ((wrong, "seal"), (right, "")):
            assert code(chain.judge_seal(chain.sealed(claim, signer), claim)) == expected


def test_an_open_claim_is_completed_by_the_keys_of_its_size() -> None:
    chain = Chain(Team(online=ONLINE[:1]))
    record = chain.sealed(chain.claim(1))
    chain.judge(record)
    before = chain.team
    chain.change_to(Team(online=ONLINE[1:2]))
    published = chain.completion(factory.opened(record), team=before)
    assert code(chain.judge(published)) == ""


@pytest.mark.parametrize(
    ("signers", "threshold", "valid"),
    [
        ((0,), 1, True),
        ((1,), 1, True),
        ((0, 1), 1, True),
        ((0, 1, 2), 2, True),
        ((0, 2), 2, True),
        ((0,), 2, False),
        ((0, 1), 3, False),
        ((0, 1, 3), 2, False),
        ((), 1, False),
    ],
)
def test_thresholds(signers: tuple[int, ...], threshold: int, valid: bool) -> None:
    chain = Chain(Team(online=ONLINE[:3], online_threshold=threshold))
    claim = chain.claim(1)
    record = factory.seal_claim(claim, [ONLINE[number] for number in signers])
    assert code(chain.judge(record)) == ("" if valid else "seal")


def test_the_signatures_of_a_claims_seal_stand_in_the_order_of_key_ids() -> None:
    chain = Chain(Team(online=ONLINE[:2]))
    record = chain.sealed(chain.claim(1))
    backwards = Record(signatures=tuple(reversed(record.signatures)), signed=record.signed)
    assert code(chain.judge(backwards)) == "seal"
    assert code(chain.judge(record)) == ""


def test_the_signatures_of_a_publications_seal_stand_in_the_order_of_key_ids() -> None:
    chain = Chain(Team(online=ONLINE[:2]))
    claimed = chain.sealed(chain.claim(1))
    chain.judge(claimed)
    record = chain.completion(factory.opened(claimed))
    backwards = Record(signatures=tuple(reversed(record.signatures)), signed=record.signed)
    assert code(chain.judge(backwards)) == "seal"
    assert code(chain.judge(record)) == ""


@pytest.mark.parametrize("signer", [ONLINE[0], ECDSA, RSA], ids=["ed25519", "ecdsa", "rsa"])
def test_python_tuf_verifies_what_seals_a_publication(signer: CryptoSigner) -> None:
    """A publication is sealed by the signatures of its timestamp."""
    chain = Chain(Team(online=(signer,)))
    record = chain.sealed(chain.claim(7))
    chain.judge(record)
    opened = factory.opened(record)
    published = chain.completion(opened, ["bin-0"])
    assert isinstance(published.signed, Publication)
    payload = timestamp_payload(opened.claim, published.signed, chain.authority)
    file = signed_file(payload, {seal.keyid: seal.sig for seal in published.signatures})
    timestamp: Metadata[Timestamp] = Metadata.from_bytes(file)
    root: Metadata[Root] = Metadata.from_bytes(chain.authority.root.file)
    root.signed.verify_delegate("timestamp", timestamp.signed_bytes, timestamp.signatures)
    assert timestamp.signed_bytes == payload
    assert timestamp.signed.version == timestamp.signed.snapshot_meta.version == 7
    assert timestamp.signed.unrecognized_fields == {
        "x-publication": sha256(encode_signed(published.signed)).hexdigest()
    }


# --- beyond the log ----------------------------------------------------------------------------------------------


def test_a_claim_beyond_the_log_that_an_online_key_sealed_stops_followers() -> None:
    chain = Chain()
    with pytest.raises(LogTooShortError, match="covers 3 events"):
        chain.judge(chain.sealed(chain.claim(1, size=3)))


@pytest.mark.parametrize("number", [1, 2, 1_000_001, 2**53 - 1, 2**53])
@pytest.mark.parametrize("size", [9, 2**53])
def test_one_that_a_former_online_key_sealed_stops_nobody(number: int, size: int) -> None:
    """Else the thief of a key that was replaced years ago halts everybody for ever."""
    chain = Chain(Team(online=ONLINE[:1]))
    record = chain.sealed(chain.claim(number, size=size, time="2999-12-31T23:59:59Z"))
    with pytest.raises(LogTooShortError):
        chain.judge(record)
    chain.change_to(Team(online=ONLINE[1:2]))
    assert code(chain.judge(record)) == "seal"
    chain.change_to(Team(online=ONLINE[2:3]))
    claim = chain.claim(number, size=size, time=factory.instant(1))
    for signer in (*ONLINE[:2], ONLINE[3]):
        assert code(chain.judge(chain.sealed(claim, signer))) == "seal"
    with pytest.raises(LogTooShortError):
        chain.judge(chain.sealed(claim))


def test_fewer_keys_than_the_threshold_stop_nobody() -> None:
    chain = Chain(Team(online=ONLINE[:3], online_threshold=2))
    assert code(chain.judge(factory.seal_claim(chain.claim(1, size=9), ONLINE[:1]))) == "seal"
    with pytest.raises(LogTooShortError):
        chain.judge(factory.seal_claim(chain.claim(1, size=9), ONLINE[1:3]))


def test_a_seal_that_is_spoilt_by_a_second_signature_stops_nobody() -> None:
    """Else the seal of one halting record makes any number of them, without a key."""
    chain = Chain()
    record = chain.sealed(chain.claim(1, size=2**53))
    with pytest.raises(LogTooShortError):
        chain.judge(record)
    online = record.signatures[0]
    for seal in (
        (Seal(keyid="0" * 64, sig="00"), online),
        (online, online),
        (Seal(keyid=online.keyid, sig="00"), online),
        tuple(sorted((online, *factory.seals(b"", [ONLINE[3]])), key=lambda each: each.keyid)),
    ):
        assert code(chain.judge(Record(signatures=seal, signed=record.signed))) == "seal"


def test_a_claim_of_the_keys_at_its_size_alone() -> None:
    """A former key beside one in force spoils a seal, wherever the claim's size is."""
    chain = Chain(Team(online=ONLINE[:1]))
    chain.change_to(Team(online=ONLINE[1:2]))
    for size in (chain.prefix.size, 9):
        both = factory.seal_claim(chain.claim(1, size=size), ONLINE[:2])
        assert code(chain.judge(both)) == "seal"


def test_all_keys_that_were_ever_online_are_known() -> None:
    chain = Chain(Team(online=ONLINE[:1]))
    chain.change_to(Team(online=ONLINE[1:2]))
    assert set(chain.authority.online_ever) == {signer.public_key.keyid for signer in ONLINE[:2]}


def test_a_key_of_a_rejected_root_was_never_online() -> None:
    chain = Chain(Team(online=ONLINE[:1]))
    files = factory.ceremony(Team(online=ONLINE[1:2], root=ONLINE[:3]), chain.authority, everything=True)
    chain.add(*factory.encode([chain.make.roles_signed(files)]))
    assert code(chain.judge(chain.sealed(chain.claim(1, size=99), ONLINE[1]))) == "seal"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"origin": "other.example"}, "other-origin"),
        ({"previous": digest("another")}, "other-predecessor"),
        ({"number": 1}, "number"),
    ],
)
def test_what_is_no_claim_on_the_head_stops_nobody(changes: dict[str, Any], expected: str) -> None:
    chain = Chain()
    chain.publish(1)
    claim = chain.claim(**{"number": 2, "size": 99, **changes})
    assert code(chain.judge(chain.sealed(claim))) == expected


def test_before_the_first_root_nothing_stops_followers() -> None:
    prefix, _ = Prefix().extend(factory.encode([Make().ledger_created(digest("root"))]))
    claim = factory.claim(prefix, Head(0, digest("x"), "", 0), 1, size=9)
    assert code(judge_claimant(factory.seal_claim(claim, ONLINE), claim, prefix)) == "seal"


def test_a_root_that_names_a_claim_as_void_does_not_end_it() -> None:
    """`x-void` is for publications that diverge: the thief has any number of claims, and a root names one."""
    chain = Chain()
    record = chain.sealed(chain.claim(1, size=99))
    chain.change_to(Team(void=Void(number=1, digest=record_digest(record)), settings=Settings(ruleset=0, floor=2)))
    with pytest.raises(LogTooShortError, match="sealed by a key that is online, beyond the end of `events`"):
        chain.judge(record)


def test_whether_a_verdict_depends_on_the_end() -> None:
    chain = Chain(Team(online=ONLINE[:1]))
    chain.change_to(Team(online=ONLINE[1:2]))
    size = chain.prefix.size
    for signer, claimed, expected in (
        (ONLINE[0], size, False),
        (ONLINE[1], size, False),
        (ONLINE[2], size, True),
        (ONLINE[1], size + 1, True),
        (ONLINE[1], 2**53, True),
    ):
        claim = chain.claim(1, size=claimed)
        assert depends_on_end(chain.sealed(claim, signer), claim, chain.prefix) == expected


# --- what a seal covers ------------------------------------------------------------------------------------------

CLAIM_CHANGES: dict[str, Any] = {
    "number": 8,
    "time": factory.instant(8_000),
    "size": 3,
    "renew": ("bin-2",),
    "root_hash": digest("another"),
    "origin": "other.example",
    "previous": digest("another"),
}


@pytest.mark.parametrize("field", sorted(CLAIM_CHANGES))
def test_a_claims_seal_covers_every_field(field: str) -> None:
    chain = Chain()
    chain.add(None)
    record = chain.sealed(chain.claim(7, size=2, root_hash=chain.prefixes[2].tree.root_hash()))
    assert isinstance(record.signed, Claim)
    spoilt = msgspec.structs.replace(record.signed, **{field: CLAIM_CHANGES[field]})
    outcome = chain.judge(Record(signatures=record.signatures, signed=spoilt))
    assert outcome.verdict == "rejected"
    if field in {"number", "time", "renew"}:
        assert outcome.code == "seal"


def test_claims_change_every_field() -> None:
    assert set(CLAIM_CHANGES) == set(Claim.__struct_fields__) - {"format"}


@given(st.data())
def test_a_publications_seal_covers_every_byte(data: st.DataObject) -> None:
    """Sealed by the signatures of the timestamp payload, which is a function of both records."""
    chain = Chain()
    record = chain.sealed(chain.claim(7))
    chain.judge(record)
    published = chain.completion(factory.opened(record), ["bin-0", "bin-2"])
    value = encode_record(published)
    place = data.draw(st.integers(value.index(b'"signed"'), len(value) - 1))
    spoilt = value[:place] + data.draw(st.binary(min_size=1, max_size=1)) + value[place + 1 :]
    decoded = decode_publication_record(spoilt)
    if spoilt != value and isinstance(decoded, Record):
        assert chain.judge(decoded).verdict == "rejected"


def test_a_publication_does_not_complete_a_claim_with_the_same_number_on_another_log() -> None:
    first, second = Chain(), Chain()
    second.add(None)
    records = [chain.sealed(chain.claim(1)) for chain in (first, second)]
    for chain, record in zip((first, second), records, strict=True):
        chain.judge(record)
    published = first.completion(factory.opened(records[0]))
    assert code(second.judge(published)) == "no-open-claim"


def test_signatures_are_packed_in_the_order_of_key_ids() -> None:
    chain = Chain(Team(online=ONLINE[:3]))
    record = chain.sealed(chain.claim(1))
    chain.judge(record)
    published = chain.completion(factory.opened(record), ["bin-1"], Team(online=ONLINE[1:3]))
    assert isinstance(published.signed, Publication)
    (name, _, packed), keys = published.signed.roles[0], chain.authority.online
    assert name == "bin-1"
    assert [bool(text) for text in packed] == [keyid != ONLINE[0].public_key.keyid for keyid in keys.keyids]
    signatures = unpack_signatures(keys, packed)
    payload = bin_payload((), 1, factory.EXPIRES)
    assert keys.verified(signatures, payload) == 2
    assert list(keys.keyids) == sorted(keys.keyids)


# --- floors and layouts ------------------------------------------------------------------------------------------


def test_a_number_is_at_least_the_floor() -> None:
    chain = Chain(Team(settings=Settings(ruleset=0, floor=10)))
    assert code(chain.judge(chain.sealed(chain.claim(9)))) == "number"
    assert code(chain.judge(chain.sealed(chain.claim(10)))) == ""


def test_the_floor_is_that_of_the_root_at_the_claims_size() -> None:
    chain = Chain()
    old = chain.prefix
    chain.change_to(Team(settings=Settings(ruleset=0, floor=10)))
    claim = factory.claim(old, chain.head, 9)
    assert code(chain.judge_seal(chain.sealed(claim), claim)) == ""
    assert code(chain.judge(chain.sealed(chain.claim(9)))) == "number"


def test_a_number_is_at_most_a_million_above_the_predecessors() -> None:
    """Else one claim by a stolen key would take all numbers at once."""
    chain = Chain()
    chain.publish(10)
    assert code(chain.judge(chain.sealed(chain.claim(1_000_011)))) == "number"
    assert code(chain.judge(chain.sealed(chain.claim(1_000_010)))) == ""


def test_a_number_is_at_most_a_million_above_the_open_claims() -> None:
    chain = Chain()
    chain.judge(chain.sealed(chain.claim(10)))
    assert code(chain.judge(chain.sealed(chain.claim(1_000_011)))) == "number"
    assert code(chain.judge(chain.sealed(chain.claim(1_000_010)))) == ""


def test_a_number_is_at_most_a_million_above_the_floor() -> None:
    chain = Chain(Team(settings=Settings(ruleset=0, floor=5_000_000)))
    assert code(chain.judge(chain.sealed(chain.claim(6_000_001)))) == "number"
    assert code(chain.judge(chain.sealed(chain.claim(6_000_000)))) == ""


def test_the_last_number_can_be_reached() -> None:
    chain = Chain(Team(settings=Settings(ruleset=0, floor=2**53)))
    chain.publish(2**53, time=factory.instant(1))
    assert chain.head.number == 2**53


def test_bins_are_those_in_force_at_the_claims_size() -> None:
    chain = Chain()
    chain.change_to(Team(layout=Layout(8)))
    assert code(chain.judge(chain.sealed(chain.claim(1, renew=("bin-0",))))) == "renew"
    record = chain.sealed(chain.claim(1, renew=("bin-00", "bin-ff")))
    assert code(chain.judge(record)) == ""
    opened = factory.opened(record)
    assert code(chain.judge(chain.completion(opened, ["bin-0"]))) == "roles"
    assert code(chain.judge(chain.completion(opened, ["bin-0a"]))) == ""


@given(
    st.builds(
        Claim,
        format=st.just(1),
        origin=st.sampled_from([factory.ORIGIN, "other"]),
        number=st.integers(1, 12),
        previous=st.sampled_from([digest("x"), "head"]),
        time=st.integers(0, 9_000).map(factory.instant),
        size=st.integers(0, 2),
        root_hash=st.sampled_from([digest("x"), "right"]),
        renew=st.lists(st.sampled_from(["bin-0", "bin-1", "bin-10", "targets"]), max_size=3).map(tuple),
    ),
    st.lists(st.sampled_from(ONLINE), max_size=2, unique=True),
)
def test_any_claim_is_judged(claim: Claim, signers: list[CryptoSigner]) -> None:
    """A record that is not valid is rejected; none within the log stops a follower."""
    chain = Chain()
    chain.publish(5)
    previous = chain.head.digest if claim.previous == "head" else claim.previous
    chain.prefixes |= {size: Prefix().extend(factory.beginning(Make(), Team())[:size])[0] for size in (0, 1)}
    root_hash = chain.prefixes[claim.size].tree.root_hash() if claim.root_hash == "right" else claim.root_hash
    claim = msgspec.structs.replace(claim, previous=previous, root_hash=root_hash)
    record = Record(signatures=factory.seals(encode_signed(claim), signers), signed=claim)
    valid = (
        claim.origin == factory.ORIGIN
        and claim.previous == chain.head.digest
        and claim.number > 5
        and claim.size == 2
        and claim.time >= chain.head.time
        and claim.root_hash == chain.prefix.tree.root_hash()
        and list(claim.renew) == sorted(set(claim.renew) & {"bin-0", "bin-1"})
        and signers == [ONLINE[0]]
    )
    assert (chain.judge(record).verdict == "accepted") == valid


def test_a_seal_with_a_key_twice_is_not_valid() -> None:
    chain = Chain(Team(online=ONLINE[:2], online_threshold=2))
    claim = chain.claim(1)
    seal: tuple[Seal, ...] = factory.seals(encode_signed(claim), ONLINE[:1])
    assert code(chain.judge(Record(signatures=seal * 2, signed=claim))) == "seal"
