"""Ceremonies: what is accepted, what python-tuf says of it, and what is in force afterwards (docs/rules.md, 6)."""

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization.json import CanonicalJSONSerializer

from projections.log.prefix import NotALedgerError, Prefix, restore, save
from projections.metadata.repository import RoleEntry, SnapshotTable, signed_file
from projections.publications import Head
from projections.roles.authority import Authority, Settings, UpgradeNeededError, Void, judge_ceremony
from projections.roles.documents import read_document
from projections.roles.layout import Layout
from schemas import canonical
from tests import factory
from tests.factory import Files, Make, Team, authority_of, digest
from tests.unit.test_codes_of_ceremonies import in_another_way

RSA, ECDSA = factory.rsa_signer(), factory.ecdsa_signer("one")
ED25519 = tuple(factory.ed25519_signer(f"another {number}") for number in range(4))


class Ledger:
    """A prefix that grows by ceremonies, with the files of each as they are to be stored."""

    def __init__(self, team: Team | None = None) -> None:
        self.make, self.team = Make(), team or Team()
        self.ceremonies: list[tuple[int, dict[str, bytes]]] = []
        self.prefix = Prefix()
        self.add(factory.beginning(self.make, self.team))
        self.outcome("accepted")

    def add(self, values: Sequence[bytes | None]) -> None:
        self.prefix, self.extension = self.prefix.extend(values)
        for ceremony in self.extension.ceremonies:
            self.ceremonies.append((ceremony.index, {each.role: each.file for each in ceremony.documents}))

    def outcome(self, verdict: str, code: str = "") -> None:
        outcome = self.extension.judged[-1].outcome
        assert outcome[:2] == (verdict, code), outcome

    def sign(self, files: Files) -> "Ledger":
        self.add(factory.encode([self.make.roles_signed(files)]))
        return self

    def change_to(self, team: Team, *, everything: bool = True) -> Authority:
        """A ceremony that must be accepted."""
        self.sign(factory.ceremony(team, self.prefix.authority, self.team, everything=everything)).outcome("accepted")
        self.team = team
        return self.authority

    @property
    def authority(self) -> Authority:
        return authority_of(self.prefix)


def parsed(document_file: bytes) -> Metadata[Any]:
    """A file as python-tuf reads it."""
    return Metadata.from_bytes(document_file)


def check_with_python_tuf(authority: Authority, team: Team) -> None:
    """python-tuf verifies the set from root to bins, and reads it as we do."""
    root, targets, bins = (parsed(document.file) for document in authority.documents)
    assert isinstance(root.signed, Root)
    assert isinstance(targets.signed, Targets)
    assert isinstance(bins.signed, Targets)
    for metadata, document in zip((root, targets, bins), authority.documents, strict=True):
        assert metadata.signed.to_dict() == document.signed
        assert metadata.signed_bytes == document.payload == CanonicalJSONSerializer().serialize(metadata.signed)
        assert metadata.signed.version == document.version
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
    root.signed.verify_delegate("targets", targets.signed_bytes, targets.signatures)
    targets.signed.verify_delegate("bins", bins.signed_bytes, bins.signatures)
    payload = b"{}"
    signatures = {each.keyid: each for each in (signer.sign(payload) for signer in team.online)}
    for index in {0, authority.layout.count - 1, authority.layout.index_of_target("a/b")}:
        bins.signed.verify_delegate(authority.layout.name(index), payload, signatures)
    for role in ("snapshot", "timestamp"):
        root.signed.verify_delegate(role, payload, signatures)
    delegations = targets.signed.delegations
    assert delegations is not None
    for path in ("a", "packages/ab/cd/ef/demo-1.0.tar.gz", "simple/demo/index.json", "a/b/c/d/e/f/g/h"):
        assert [role for role, _ in delegations.get_roles_for_target(path)] == ["bins"]
        delegated = bins.signed.delegations
        assert delegated is not None
        names = [role for role, _ in delegated.get_roles_for_target(path)]
        assert names == [authority.layout.name(authority.layout.index_of_target(path))]


TEAMS = {
    "default": Team(),
    "one key each": Team(
        root=ED25519[:1],
        targets=ED25519[1:2],
        bins=ED25519[2:3],
        root_threshold=1,
        targets_threshold=1,
        bins_threshold=1,
    ),
    "the same keys offline": Team(root=ED25519, targets=ED25519, bins=ED25519),
    "RSA": Team(root=(RSA, *ED25519), root_threshold=5),
    "ECDSA": Team(targets=(ECDSA, ED25519[0])),
    "RSA online": Team(online=(RSA,)),
    "ECDSA online": Team(online=(ECDSA,)),
    "all kinds online": Team(online=(RSA, ECDSA, ED25519[0]), online_threshold=3),
    "RSA of bins": Team(bins=(RSA, ECDSA)),
    "two of three online": Team(online=ED25519[:3], online_threshold=2),
    "another prefix": Team(layout=Layout(3, "b0")),
    **{f"{bits} bits": Team(layout=Layout(bits)) for bits in range(1, 17)},
    **{f"prefixes of {bits} bits": Team(layout=Layout(bits, succinct=False)) for bits in range(1, 9)},
    "least settings": Team(
        settings=Settings(
            ruleset=0,
            bin_expiry_seconds=10,
            snapshot_expiry_seconds=10,
            timestamp_expiry_seconds=10,
            project_list_seconds=0,
        )
    ),
    "greatest settings": Team(
        settings=Settings(
            ruleset=0,
            floor=2**53,
            bin_expiry_seconds=366 * 86_400,
            snapshot_expiry_seconds=366 * 86_400,
            timestamp_expiry_seconds=366 * 86_400,
            html_pages=True,
            project_list_seconds=7 * 86_400,
            importing=True,
        )
    ),
    "void": Team(void=Void(number=3, digest=digest("record")), settings=Settings(ruleset=0, floor=4)),
}


@pytest.mark.parametrize("team", TEAMS.values(), ids=TEAMS)
def test_first_ceremonies_that_are_accepted(team: Team) -> None:
    ledger = Ledger(team)
    authority = ledger.authority
    assert authority.layout == team.layout
    assert authority.settings == team.settings
    assert authority.online.keyids == tuple(sorted(signer.public_key.keyid for signer in team.online))
    assert authority.online.threshold == team.online_threshold
    assert [document.role for document in authority.documents] == ["root", "targets", "bins"]
    assert [document.version for document in authority.documents] == [1, 1, 1]
    check_with_python_tuf(authority, team)


CHANGES = {
    "nothing": Team(),
    "expiry": Team(expires="2041-01-01T00:00:00Z"),
    "root keys": Team(root=ED25519),
    "a root key more": Team(root=(*Team().root, ED25519[0])),
    "root threshold": Team(root_threshold=3),
    "root to RSA": Team(root=(RSA, ECDSA)),
    "targets keys": Team(targets=ED25519[:2]),
    "bins keys": Team(bins=ED25519[:2]),
    "online keys": Team(online=ED25519[:1]),
    "an online key more": Team(online=(*Team().online, ED25519[0])),
    "number of bins": Team(layout=Layout(9)),
    "to prefixes": Team(layout=Layout(4, succinct=False)),
    "everything": Team(
        root=ED25519[:1],
        targets=ED25519[1:2],
        bins=ED25519[2:3],
        online=(ECDSA,),
        root_threshold=1,
        targets_threshold=1,
        bins_threshold=1,
        layout=Layout(2, succinct=False),
        settings=Settings(ruleset=0, html_pages=True, floor=7),
    ),
}


@pytest.mark.parametrize("team", CHANGES.values(), ids=CHANGES)
def test_changes_that_are_accepted(team: Team) -> None:
    ledger = Ledger()
    before = ledger.authority
    after = ledger.change_to(team)
    check_with_python_tuf(after, team)
    # TUF 1.0.34, 5.3.4: root N+1 is signed by a threshold of N.
    old_root, new_root = parsed(before.root.file), parsed(after.root.file)
    old_root.signed.verify_delegate("root", new_root.signed_bytes, new_root.signatures)
    assert [document.version for document in after.documents] == [2, 2, 2]
    # And back, by the new keys and the old ones; online keys that left never return.
    online = Team().online if after.online == before.online else (factory.ed25519_signer("online 2"),)
    back = Team().but(settings=team.settings, online=online)
    again = ledger.change_to(back)
    check_with_python_tuf(again, back)
    assert set(again.online_ever) == {*before.online.keyids, *after.online.keyids, *again.online.keyids}


RESIGNED = {"targets keys": "targets", "bins keys": "bins"}
"""Changes after which a document says what it said, and others must sign it."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_draft_holds_what_differs(name: str) -> None:
    ledger, team = Ledger(), CHANGES[name]
    made = factory.drafts(team, ledger.authority)
    assert "root" in made
    for role, body in made.items():
        before = next(document for document in ledger.authority.documents if document.role == role)
        assert body["version"] == before.version + 1
        if role not in {"root", RESIGNED.get(name)}:
            assert {**body, "version": 1, "expires": before.expires} != before.signed
    ledger.change_to(team, everything=False)


@pytest.mark.parametrize("name", RESIGNED)
def test_a_draft_holds_what_must_be_signed_by_other_keys(name: str) -> None:
    ledger = Ledger()
    assert RESIGNED[name] in factory.drafts(CHANGES[name], ledger.authority)
    check_with_python_tuf(ledger.change_to(CHANGES[name], everything=False), CHANGES[name])


def test_a_planned_rotation_takes_two_roots() -> None:
    ledger = Ledger()
    both = Team(online=(*Team().online, ED25519[0]))
    ledger.change_to(both, everything=False)
    assert set(ledger.authority.online.keyids) == {signer.public_key.keyid for signer in both.online}
    after = Team(online=ED25519[:1])
    ledger.change_to(after, everything=False)
    check_with_python_tuf(ledger.authority, after)
    assert ledger.authority.root.version == 3


def test_a_document_equal_to_the_one_in_force_is_skipped() -> None:
    ledger = Ledger()
    files = factory.ceremony(Team())
    later = factory.ceremony(Team(expires="2041-01-01T00:00:00Z"), ledger.authority, Team(), everything=True)
    ledger.sign({"root": files["root"], "targets": later["targets"], "bins": files["bins"]}).outcome("accepted")
    assert [document.version for document in ledger.authority.documents] == [1, 2, 1]
    assert list(ledger.ceremonies[-1][1]) == ["targets"]


@pytest.mark.parametrize("role", ["targets", "bins"])
def test_one_document_alone(role: str) -> None:
    ledger = Ledger()
    later = factory.ceremony(Team(expires="2041-01-01T00:00:00Z"), ledger.authority, Team(), everything=True)
    ledger.sign({role: later[role]}).outcome("accepted")
    check_with_python_tuf(ledger.authority, Team())


@pytest.mark.parametrize("version", [2, 3, 1_000, 2**53])
def test_versions_of_targets_and_bins_may_have_gaps(version: int) -> None:
    ledger = Ledger()
    made = factory.drafts(Team(), ledger.authority, everything=True)
    made["bins"]["version"] = version
    ledger.sign({"bins": factory.sign(made["bins"], Team().bins)}).outcome("accepted")
    assert ledger.authority.bins.version == version


def test_a_rejected_ceremony_leaves_all_as_it_was() -> None:
    ledger = Ledger()
    before = ledger.authority
    files = factory.ceremony(Team(root=ED25519), before, Team(), everything=True)
    files["bins"]["signatures"] = []
    ledger.sign(files).outcome("rejected", "roles-signatures")
    # Its root was signed by those who may: such a root is used up.
    assert ledger.authority == msgspec.structs.replace(before, used=ledger.authority.used)
    assert len(ledger.ceremonies) == 1


def test_a_rejected_ceremony_that_owners_of_keys_did_not_sign_is_not_remembered() -> None:
    ledger = Ledger()
    before = ledger.authority
    files = factory.ceremony(Team(root=ED25519), before, Team(), everything=True)
    next_but_one = factory.drafts(Team(), before)
    next_but_one["root"]["version"] += 1
    roots: tuple[dict[str, Any], ...] = (
        {**files["root"], "signatures": []},
        {**files["root"], "signatures": files["root"]["signatures"][:1]},
        factory.sign(files["root"]["signed"], ED25519),
        factory.sign(next_but_one["root"], Team().root),
        {"signed": {}},
    )
    for root in roots:
        ledger.sign({"root": root, "bins": {}})
        assert ledger.extension.judged[-1].outcome.verdict == "rejected"
        assert ledger.authority is before


# --- roots that were rejected, keys that left --------------------------------------------------------------------


def test_a_root_of_a_rejected_ceremony_is_never_accepted() -> None:
    """Whoever reads the log has its bytes, and could append it when it suits them."""
    ledger = Ledger()
    made = factory.drafts(Team(online=ED25519[:1]), ledger.authority, everything=True)
    good = factory.sign_all(made, Team(), Team())
    ledger.sign({**good, "bins": {**good["bins"], "signatures": []}}).outcome("rejected", "roles-signatures")
    # Neither with its targets and bins, nor under other or fewer signatures, nor after others.
    ledger.sign(good).outcome("rejected", "roles-used")
    again = {**good, "root": {**good["root"], "signatures": good["root"]["signatures"][:2]}}
    ledger.sign(again).outcome("rejected", "roles-used")
    restored = restore(save(ledger.prefix), ledger.ceremonies)
    assert restored == ledger.prefix
    other = Team(online=ED25519[:1], expires="2041-01-01T00:00:00Z")
    ledger.change_to(other)
    assert ledger.authority.used == authority_of(restored).used != frozenset()


def test_a_root_is_used_up_whatever_the_ceremony_was_rejected_for() -> None:
    for spoil, code in (
        ({"bins": {}}, "roles-malformed"),
        ({"targets": factory.ceremony(Team(expires="2039-01-01T00:00:00Z"))["targets"]}, "roles-version"),
        ({"bins": factory.ceremony(Team(expires="2039-01-01T00:00:00Z"))["bins"]}, "roles-version"),
    ):
        ledger = Ledger()
        good = factory.ceremony(Team(), ledger.authority, Team(), everything=True)
        ledger.sign({**good, **spoil}).outcome("rejected", code)
        ledger.sign(good).outcome("rejected", "roles-used")


def test_a_root_with_an_invalid_signature_too_many_is_used_up() -> None:
    ledger = Ledger()
    good = factory.ceremony(Team(), ledger.authority, Team(), everything=True)
    spoilt = deepcopy(good)
    spoilt["root"]["signatures"].append({"keyid": digest("stranger"), "sig": "00"})
    ledger.sign(spoilt).outcome("rejected", "roles-signatures")
    ledger.sign(good).outcome("rejected", "roles-used")


def test_documents_in_force_may_be_appended_again() -> None:
    ledger = Ledger()
    files = factory.ceremony(Team(), ledger.authority, Team(), everything=True)
    ledger.sign(files).outcome("accepted")
    ledger.sign(files).outcome("no effect", "same")
    assert ledger.authority.used == frozenset()


@pytest.mark.parametrize("key", [*ED25519[:1], ECDSA, RSA], ids=["ed25519", "ecdsa", "rsa"])
def test_an_online_key_that_left_never_returns(key: CryptoSigner) -> None:
    ledger = Ledger(Team(online=(key,)))
    both = Team(online=(key, ED25519[1]))
    ledger.change_to(both)
    ledger.change_to(Team(online=ED25519[1:2]))
    for online in ((key,), (key, ED25519[1]), (key, ED25519[2])):
        files = factory.ceremony(
            Team(online=online, expires=f"2041-01-0{len(online)}T00:00:00Z"), ledger.authority, Team(), everything=True
        )
        ledger.sign(files).outcome("rejected", "roles-online")
    ledger.change_to(Team(online=ED25519[2:3]))
    with pytest.raises(AssertionError, match="left: no key returns"):
        ledger.change_to(Team(online=ED25519[1:2]))


def test_a_key_that_left_does_not_return_in_another_form() -> None:
    """A PEM with another line break is another key id, and the same key."""
    ledger = Ledger(Team(online=(ECDSA,)))
    ledger.change_to(Team(online=ED25519[:1]))
    keyid, written = in_another_way(ECDSA.public_key)
    files = factory.ceremony(Team(online=(ECDSA,)), ledger.authority, Team(), everything=True)
    text = json.dumps({role: file["signed"] for role, file in files.items()})
    made = json.loads(text.replace(ECDSA.public_key.keyid, keyid))
    for keys in (made["root"]["keys"], made["bins"]["delegations"]["keys"]):
        keys[keyid] = written
    ledger.sign(factory.sign_all(made, Team(online=(ECDSA,)), Team())).outcome("rejected", "roles-online")


def test_a_root_in_force_is_known_for_every_size() -> None:
    ledger = Ledger(Team(online=ED25519[:1]))
    ledger.add([None, None])
    ledger.change_to(Team(online=ED25519[:1], settings=Settings(ruleset=0, floor=7)))
    ledger.add([None])
    ledger.change_to(Team(online=ED25519[:2], online_threshold=2, settings=Settings(ruleset=0, floor=7)))
    known = [ledger.authority.root_at(size) for size in range(8)]
    assert [root and (root.version, root.floor, len(root.online.keyids)) for root in known] == [
        None,
        None,
        (1, 1, 1),
        (1, 1, 1),
        (1, 1, 1),
        (2, 7, 1),
        (2, 7, 1),
        (3, 7, 2),
    ]
    assert ledger.authority.online_since == 3
    ledger.change_to(Team(online=ED25519[:2], online_threshold=1, settings=Settings(ruleset=0, floor=8)))
    assert ledger.authority.online_since == 4
    ledger.change_to(Team(online=ED25519[:2], online_threshold=1, settings=Settings(ruleset=0, floor=9)))
    assert (ledger.authority.root.version, ledger.authority.online_since) == (5, 4)


def test_all_keys_of_a_role_may_sign() -> None:
    ledger = Ledger(Team(root_threshold=1, targets_threshold=1, bins_threshold=1))
    for document in ledger.authority.documents:
        assert len(document.signatures) > 1
    check_with_python_tuf(ledger.authority, ledger.team)


@pytest.mark.parametrize("role", ["root", "targets", "bins"])
def test_nobody_signs_beside_the_keys_of_a_role(role: str) -> None:
    ledger = Ledger()
    made = factory.drafts(Team(), ledger.authority, everything=True)
    files = factory.sign_all(made, Team())
    files[role] = factory.sign(made[role], (*getattr(Team(), role), ED25519[0]))
    ledger.sign(files).outcome("rejected", "roles-signatures")


def test_a_key_that_root_drops_signs_root_a_last_time_and_nothing_else() -> None:
    ledger = Ledger()
    fewer = Team(root=Team().root[:2], targets=Team().targets[:1], targets_threshold=1)
    made = factory.drafts(fewer, ledger.authority)
    files = factory.sign_all(made, fewer, Team())
    assert len(files["root"]["signatures"]) == 3
    ledger.sign({**files, "targets": factory.sign(made["targets"], Team().targets)})
    ledger.outcome("rejected", "roles-signatures")
    fewer = fewer.but(expires="2041-01-01T00:00:00Z")  # the rejected root is used up
    ledger.sign(factory.sign_all(factory.drafts(fewer, ledger.authority), fewer, Team())).outcome("accepted")
    check_with_python_tuf(ledger.authority, fewer)


# A signature may not be any text: clients that decode it as they read could not read the root.
@pytest.mark.parametrize("sig", ["zz", "0", "a b", "\n", "0x", "AA", ""])
def test_a_signature_is_hexadecimal(sig: str) -> None:
    files = factory.ceremony(Team())
    files["root"]["signatures"].append({"keyid": digest("stranger"), "sig": sig})
    make = Make()
    values = [make.ledger_created(factory.file_digest(files["root"])), make.roles_signed(files)]
    _, extension = Prefix().extend(factory.encode(values))
    assert extension.judged[-1].outcome[:2] == ("rejected", "roles-malformed")


@pytest.mark.parametrize("role", ["root", "targets", "bins"])
def test_a_wrong_signature_beside_enough_right_ones_is_refused(role: str) -> None:
    team = Team(root_threshold=1, targets_threshold=1, bins_threshold=1)
    ledger = Ledger(team)
    files = factory.ceremony(team, ledger.authority, team, everything=True)
    files[role]["signatures"][1]["sig"] = "00" * 64
    ledger.sign(files).outcome("rejected", "roles-signatures")


# --- names of bins -----------------------------------------------------------------------------------------------


def by_prefixes_named(prefix: str) -> Authority | None:
    team = Team(layout=Layout(2, prefix, succinct=False))
    files = factory.ceremony(team)
    return judge_ceremony(None, factory.file_digest(files["root"]), files, 2).authority


@pytest.mark.parametrize("prefix", ["bin", "b", "b0", "b" * 16])
def test_names_of_bins_by_prefixes(prefix: str) -> None:
    assert by_prefixes_named(prefix) is not None


@pytest.mark.parametrize("prefix", ['b"', "../b", "a/b", "b\n", "", "b c", "b\\", "Bin", "0b", "b" * 17])
def test_names_of_bins_by_prefixes_are_as_those_of_succinct_bins(prefix: str) -> None:
    assert by_prefixes_named(prefix) is None


@pytest.mark.parametrize("prefix", ["bin", "b0"])
def test_a_snapshot_of_bins_by_prefixes_is_json(prefix: str) -> None:
    authority = by_prefixes_named(prefix)
    assert authority is not None
    snapshot_payload(authority)


def snapshot_payload(authority: Authority) -> bytes:
    """The payload of a snapshot of all bins, checked."""
    entries = {authority.layout.name(index): RoleEntry(1, factory.EXPIRES) for index in range(authority.layout.count)}
    prefix = Prefix()
    head = Head(0, digest("record 0"), "", 0)
    payload = SnapshotTable(entries).payload(factory.claim(prefix, head, 1), authority, 3)
    assert encode_canonical(json.loads(payload)) == payload.decode()
    metadata = Metadata.from_bytes(signed_file(payload, {}))
    assert metadata.signed_bytes == payload
    return payload


# --- settings, voids, rulesets -----------------------------------------------------------------------------------


def test_settings_have_defaults() -> None:
    ledger = Ledger()
    made = factory.drafts(Team(), ledger.authority)
    made["root"]["x-ledger"] = {"ruleset": 0}
    ledger.sign(factory.sign_all(made, Team(), Team())).outcome("accepted")
    assert ledger.authority.settings == Settings(ruleset=0)


def test_the_floor_may_stay_and_rise() -> None:
    ledger = Ledger(Team(settings=Settings(ruleset=0, floor=5)))
    for floor in (5, 6, 2**53):
        ledger.change_to(Team(settings=Settings(ruleset=0, floor=floor)))
        assert ledger.authority.settings.floor == floor


def test_a_new_time() -> None:
    """`time_from` may go down, and comes with new online keys; a root without it leaves it as it is."""
    first, earlier, later = (factory.instant(seconds) for seconds in (1000, 0, 9000))
    keys = [(factory.ed25519_signer(f"online {number}"),) for number in range(1, 7)]
    ledger = Ledger(Team(online=keys[0], settings=Settings(ruleset=0)))
    assert ledger.authority.time_from == ""
    for online, settings, expected in (
        (keys[1], Settings(ruleset=0, time_from=first), first),
        (keys[1], Settings(ruleset=0, time_from=first, html_pages=True), first),
        (keys[1], Settings(ruleset=0), first),
        (keys[2], Settings(ruleset=0), first),
        (keys[2] + keys[3], Settings(ruleset=0), first),
        (keys[3], Settings(ruleset=0, time_from=first), first),
        (keys[4], Settings(ruleset=0, time_from=earlier), earlier),
        (keys[5], Settings(ruleset=0, time_from=later), later),
    ):
        ledger.change_to(Team(online=online, settings=settings))
        assert ledger.authority.time_from == expected
    assert restore(save(ledger.prefix), ledger.ceremonies).authority == ledger.authority


VOID = Void(number=3, digest=digest("record"))
ANOTHER_VOID = Void(number=4, digest=digest("record"))


def test_a_root_voids_a_publication_from_its_own_size_on() -> None:
    ledger = Ledger()
    assert ledger.authority.void_for(3, digest("record")) is None
    ledger.add([None, None])
    size = ledger.prefix.size
    voiding = Team(void=VOID, settings=Settings(ruleset=0, floor=5))
    ledger.change_to(voiding)
    assert ledger.authority.void_for(3, digest("record")) == size + 1
    assert ledger.authority.void_for(4, digest("record")) is None
    assert ledger.authority.void_for(3, digest("another")) is None
    # A later root that repeats the setting does not void again; one without it takes nothing back.
    ledger.change_to(voiding.but(expires="2041-01-01T00:00:00Z"))
    assert ledger.authority.void_for(3, digest("record")) == size + 1
    ledger.change_to(voiding.but(void=ANOTHER_VOID))
    ledger.change_to(voiding.but(void=None))
    assert ledger.authority.void_for(3, digest("record")) == size + 1
    assert ledger.authority.void_for(4, digest("record")) == size + 3
    assert ledger.authority.voids == ((size + 1, VOID), (size + 3, ANOTHER_VOID))


def ceremony_with(ruleset: object, sign: Callable[[Files], Files]) -> None:
    make = Make()
    made = factory.drafts(Team())
    made["root"]["x-ledger"]["ruleset"] = ruleset
    files = sign(made)
    values = [make.ledger_created(factory.file_digest(files["root"])), make.roles_signed(files)]
    _, extension = Prefix().extend(factory.encode(values))
    assert extension.judged[-1].outcome.verdict == "rejected"


@pytest.mark.parametrize("ruleset", [1, 2, 2**53])
def test_a_root_with_an_unknown_ruleset_stops_every_follower(ruleset: int) -> None:
    with pytest.raises(UpgradeNeededError, match=f"ruleset {ruleset}"):
        ceremony_with(ruleset, lambda made: factory.sign_all(made, Team()))


def test_only_the_keys_of_root_stop_followers() -> None:
    strangers = Team(root=ED25519[:3])
    ceremony_with(1, lambda made: factory.sign_all(made, strangers))
    ledger = Ledger()
    made = factory.drafts(Team(root=ED25519), ledger.authority)
    made["root"]["x-ledger"]["ruleset"] = 1
    ledger.sign({"root": factory.sign(made["root"], ED25519)}).outcome("rejected", "roles-signatures")


def test_a_ruleset_that_is_no_number_stops_nobody() -> None:
    ceremony_with(True, lambda made: factory.sign_all(made, Team()))


# --- whatever stands in a ceremony -------------------------------------------------------------------------------

small_json: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 20)
    | st.sampled_from([2**53, 2**53 + 1, 2**63, 2**64 - 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from([digest("x"), "root", "bins", "bin-0", "2040-02-30T00:00:00Z", "*", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a value, but for itself."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for name, each in items for place in [(*path, name), *places(each, (*path, name))]]


def at(value: Any, path: Sequence[Any]) -> Any:
    for step in path:
        value = value[step]
    return value


FUZZED_TEAMS = [Team(), Team(layout=Layout(1, succinct=False)), Team(online=(ECDSA,)), Team(root=(RSA, *ED25519[:2]))]


@given(st.sampled_from(FUZZED_TEAMS), st.booleans(), st.data())
def test_a_spoilt_ceremony_is_judged_and_what_is_accepted_is_tuf(team: Team, resign: bool, data: st.DataObject) -> None:
    """No record stops a follower; and what is accepted verifies from root to bins, in python-tuf too."""
    files = deepcopy(factory.drafts(team) if resign else factory.ceremony(team))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(files)))
        parent = at(files, place[:-1])
        act = data.draw(st.sampled_from(["set", "set", "delete", "add", "copy"]))
        if act == "delete" and len(place) > 1:
            del parent[place[-1]]
        elif act == "add" and isinstance(parent, dict):
            parent[data.draw(st.text(max_size=3))] = data.draw(small_json)
        elif act == "copy" and len(place) > 1:
            parent[place[-1]] = deepcopy(at(files, data.draw(st.sampled_from(places(files)))))
        elif len(place) > 1:
            parent[place[-1]] = data.draw(small_json)
    try:
        files = factory.sign_all(files, team) if resign else files
        root_sha256 = factory.file_digest(files["root"])
    except Exception:  # noqa: BLE001  # not even JSON: no event can carry it
        return
    try:
        ceremony = judge_ceremony(None, root_sha256, files, 2)
    except UpgradeNeededError:
        assert resign
        return
    if ceremony.outcome.verdict == "accepted":
        assert ceremony.authority is not None
        check_with_python_tuf(ceremony.authority, team)
        snapshot_payload(ceremony.authority)
    else:
        assert ceremony.outcome.code.startswith("roles-")
        assert ceremony.authority is None


def test_a_document_is_its_canonical_json() -> None:
    files = factory.ceremony(Team(root=(RSA, ECDSA)))
    document = read_document("root", dict(reversed(files["root"].items())))
    assert document.file == canonical.encode(files["root"])
    # A newline of a PEM key is written as it is where signatures cover it, and escaped where it is served.
    assert b"\\n" in document.file
    assert b"\n" not in document.file
    assert b"\n" in document.payload
    assert b"\\n" not in document.payload


# --- prefixes ----------------------------------------------------------------------------------------------------


def grown() -> tuple[Ledger, list[Prefix]]:
    """A ledger with ceremonies, holds and all else, and its prefix at every size."""
    ledger = Ledger()
    prefixes = [Prefix(), ledger.prefix]
    hold = ledger.make.signing_held(reason="Look")
    steps: list[Any] = [
        ledger.make.file_uploaded("demo"),
        hold,
        None,
        Team(online=ED25519[:1]),
        ledger.make.signing_held(0),
        ledger.make.signing_released(hold.id),
        Team(online=ED25519[:1], void=VOID, settings=Settings(ruleset=0, floor=9)),
        ledger.make.signing_released("nothing"),
        Team(online=(ECDSA,), root=(RSA, *ED25519[:3]), settings=Settings(ruleset=0, floor=9), layout=Layout(6)),
    ]
    for step in steps:
        if isinstance(step, Team):
            ledger.change_to(step)
        else:
            ledger.add([None if step is None else factory.encode([step])[0]])
        prefixes.append(ledger.prefix)
    return ledger, prefixes


def test_a_prefix_is_restored_from_what_was_saved() -> None:
    ledger, prefixes = grown()
    for prefix in prefixes:
        ceremonies = [(index, files) for index, files in ledger.ceremonies if index < prefix.size]
        assert restore(save(prefix), ceremonies) == prefix.as_stored()
        assert restore(save(prefix), ledger.ceremonies) == prefix.as_stored(), "later ceremonies do not count"
    assert ledger.authority.void_for(3, digest("record")) is not None
    assert len(ledger.authority.online_ever) == 3


def test_a_prefix_is_not_restored_from_other_ceremonies() -> None:
    ledger, _ = grown()
    saved = save(ledger.prefix)
    with pytest.raises(ValueError, match="not acceptable"):
        restore(saved, ledger.ceremonies[1:])
    with pytest.raises(ValueError, match="not acceptable"):
        restore(saved, [ledger.ceremonies[0], *ledger.ceremonies])
    with pytest.raises(ValueError, match="not acceptable"):
        restore(saved, [ledger.ceremonies[0], ledger.ceremonies[2]])


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_prefix_is_not_restored_without_its_last_ceremonies(missing: int) -> None:
    ledger, _ = grown()
    with pytest.raises(ValueError, match="do not lead to the offline roles that were in force"):
        restore(save(ledger.prefix), ledger.ceremonies[:-missing])


def test_extending_in_pieces_is_extending_at_once() -> None:
    make = Make()
    files = factory.ceremony(Team())
    values: list[bytes | None] = [
        *factory.encode(make.one_of_each(factory.file_digest(files["root"]), files)),
        None,
        b"{",
    ]
    at_once, extension = Prefix().extend(values)
    for cut in range(len(values)):
        first, first_extension = Prefix().extend(values[:cut])
        second, second_extension = first.extend(values[cut:])
        assert second == at_once
        assert first_extension.routed + second_extension.routed == extension.routed
        assert first_extension.judged + second_extension.judged == extension.judged
        assert first_extension.ceremonies + second_extension.ceremonies == extension.ceremonies


def test_a_prefix_is_a_value() -> None:
    ledger, prefixes = grown()
    for prefix in prefixes[1:]:
        before = save(prefix)
        hold = ledger.make.signing_held()
        extended, _ = factory.extend(prefix, hold)
        again, _ = factory.extend(extended, ledger.make.signing_released(hold.id))
        assert save(prefix) == before
        assert len({before, save(extended), save(again)}) == 3
    assert not Prefix().signing


@pytest.mark.parametrize("value", [None, b"", b"{}", factory.encode([Make().project_created("demo")])[0]])
def test_a_log_whose_record_0_is_anything_else_is_not_a_ledger(value: bytes | None) -> None:
    with pytest.raises(NotALedgerError):
        Prefix().extend([value])


def test_a_signer_of_root_alone_can_not_be_online() -> None:
    """The same key under the ids of two roles is one key."""
    team = Team(online=(Team().root[0],))
    files = factory.ceremony(team)
    assert judge_ceremony(None, factory.file_digest(files["root"]), files, 2).outcome.code == "roles-online"


def pem_twice(signer: CryptoSigner) -> list[dict[str, Any]]:
    """Two documents of one key, which differ in space at the end of the PEM."""
    document = signer.public_key.to_dict()
    return [document, {**document, "keyval": {"public": document["keyval"]["public"] + "\n"}}]


def test_a_key_counts_once_however_it_is_written() -> None:
    """Else one signer would reach a threshold of two."""
    first, second = pem_twice(RSA)
    ids = [sha256(canonical.encode_for_signing(document)).hexdigest() for document in (first, second)]
    made = factory.drafts(Team(root=(RSA, *ED25519[:2]), root_threshold=2))
    made["root"]["keys"] |= dict(zip(ids, (first, second), strict=True))
    made["root"]["roles"]["root"] = {"keyids": ids, "threshold": 2}
    files = factory.sign_all(made, Team())
    sig = RSA.sign(canonical.encode_for_signing(made["root"])).signature
    files["root"]["signatures"] = [{"keyid": keyid, "sig": sig} for keyid in sorted(ids)]
    assert judge_ceremony(None, factory.file_digest(files["root"]), files, 2).outcome.code == "roles-keys"
