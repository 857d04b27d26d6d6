"""Every code that section 7 of docs/rules.md lists, produced: check by check, in several ways each.

What is valid is in test_chain.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from securesystemslib.signer import CryptoSigner

from projections.log.prefix import Prefix
from projections.metadata.repository import SnapshotTable
from projections.outcomes import Outcome
from projections.publications import (
    OpenClaim,
    first_head,
    judge_claim,
    judge_claim_alone,
    judge_claimant,
    judge_contents,
    judge_publication,
)
from projections.roles.authority import Settings
from schemas.codec import Rejection, decode_publication_record, encode_record
from schemas.publications import MAX_PUBLICATION_BYTES, Claim, Publication, Record, Seal
from tests import factory
from tests.factory import Make, Team, authority_of, digest
from tests.unit.codes import Scenario, Scenarios, cases, check, codes_of


class Scene:
    """A ledger with a publication behind it and a valid claim, which each scenario spoils."""

    def __init__(self, **team: Any) -> None:
        self.make, self.team = Make(), Team(**team)
        self.prefix = factory.ready_prefix(self.make, self.team)
        assert self.prefix.ledger is not None
        self.ledger = self.prefix.ledger
        self.authority = authority_of(self.prefix)
        record = factory.seal_claim(factory.claim(self.prefix, first_head(self.ledger), 5), self.team.online)
        opened = factory.opened(record)
        snapshot = SnapshotTable({}).payload(opened.claim, self.authority, opened.claim.size)
        published = factory.publication(opened, self.authority, {}, snapshot, self.team)
        sealed = factory.seal_publication(published, opened, self.authority, self.team)
        self.head = factory.head_of(sealed, opened, self.authority.time_from)

    def claim(self, **changes: Any) -> Claim:
        return factory.claim(self.prefix, self.head, changes.pop("number", 6), **changes)

    def judge_claim(self, claim: Claim, *, record: Record | None = None, open_number: int = 0) -> Outcome:
        opened = None
        if open_number:
            opened = factory.opened(factory.seal_claim(self.claim(number=open_number), self.team.online))
        record = record or factory.seal_claim(claim, self.team.online)
        outcome = judge_claim_alone(claim, self.ledger, self.head)
        if outcome.verdict == "accepted":
            outcome = judge_claimant(record, claim, self.prefix)
        return self.judge_at(record, claim, opened) if outcome.verdict == "accepted" else outcome

    def judge_at(self, record: Record, claim: Claim, opened: OpenClaim | None = None) -> Outcome:
        """Judge a claim whose signatures are valid."""
        outcome = judge_claim(record, claim, self.prefix, self.head, opened)
        return judge_contents(claim, self.prefix) if outcome.verdict == "accepted" else outcome

    def change_to(self, **team: Any) -> None:
        """Another ceremony."""
        files = factory.ceremony(Team(**team), self.prefix.authority, self.team)
        self.prefix, extension = factory.extend(self.prefix, self.make.roles_signed(files))
        assert extension.judged[-1].outcome.verdict == "accepted"

    def judge_publication(
        self,
        spoil: Callable[[Publication], Publication] = lambda published: published,
        *,
        seal: Callable[[Record], Record] = lambda record: record,
        opened: bool = True,
        other_claim: Claim | None = None,
    ) -> Outcome:
        open_claim = factory.opened(factory.seal_claim(self.claim(), self.team.online))
        payloads = {"bin-1": b"{}", "bin-3": b"{}"}
        published = factory.publication(open_claim, self.authority, payloads, b"{}", self.team)
        published = spoil(published)
        record = seal(factory.seal_publication(published, open_claim, self.authority, self.team))
        if other_claim is not None:
            open_claim = factory.opened(factory.seal_claim(other_claim, self.team.online))
        return judge_publication(record, published, open_claim if opened else None, self.prefix)


def spoilt_claim(**changes: Any) -> Outcome:
    scene = Scene()
    return scene.judge_claim(scene.claim(**changes))


def claim_sealed_by(*signers: CryptoSigner, **team: Any) -> Outcome:
    scene = Scene(**team)
    claim = scene.claim()
    return scene.judge_claim(claim, record=factory.seal_claim(claim, signers))


def claim_with_seal(change: Callable[[tuple[Seal, ...]], tuple[Seal, ...]], **team: Any) -> Outcome:
    scene = Scene(**team)
    claim = scene.claim()
    record = factory.seal_claim(claim, scene.team.online)
    return scene.judge_claim(claim, record=Record(signatures=change(record.signatures), signed=record.signed))


TWO_ONLINE = {"online": (factory.ed25519_signer("online 1"), factory.ed25519_signer("online 2"))}
STRANGER = factory.ed25519_signer("stranger")


def no_root_claim() -> Outcome:
    prefix, _ = Prefix().extend(factory.encode([Make().ledger_created(digest("root"))]))
    assert prefix.ledger is not None
    claim = factory.claim(prefix, first_head(prefix.ledger), 1)
    return judge_claim(factory.seal_claim(claim, Team().online), claim, prefix, first_head(prefix.ledger), None)


def decoded(value: bytes | None) -> Outcome | Rejection:
    record = decode_publication_record(value)
    assert isinstance(record, Rejection)
    return record


def claim_bytes() -> bytes:
    scene = Scene()
    return encode_record(factory.seal_claim(scene.claim(), scene.team.online))


def roles_replaced(*roles: Any) -> Callable[[Publication], Publication]:
    return lambda published: msgspec.structs.replace(published, roles=tuple(roles))


def a_role(name: str, *signatures: str) -> tuple[str, str, tuple[str, ...]]:
    return name, "A" * 43 + "=", signatures


def _reversed(value: bytes) -> bytes:
    before, after = value.split(b',"signed":')
    return b'{"signed":' + after[:-1] + b"," + before[1:] + b"}"


def _after_open(open_number: int, number: int) -> Outcome:
    scene = Scene()
    return scene.judge_claim(scene.claim(number=number), open_number=open_number)


def _below_floor() -> Outcome:
    scene = Scene()
    scene.change_to(settings=Settings(ruleset=0, floor=7))
    return scene.judge_claim(scene.claim(number=6))


def _older_root() -> Outcome:
    scene = Scene()
    claim = scene.claim(number=7)
    record = factory.seal_claim(claim, scene.team.online)
    opened = factory.opened(factory.seal_claim(scene.claim(number=6), scene.team.online), root_version=2)
    return scene.judge_at(record, claim, opened)


def _void() -> Outcome:
    scene = Scene()
    return judge_claim_alone(scene.claim(), scene.ledger, scene.head, scene.prefix.size + 1)


def _beyond(*signers: CryptoSigner, forged_as: CryptoSigner | None = None) -> Outcome:
    scene = Scene()
    claim = scene.claim(size=3)
    record = factory.seal_claim(claim, signers)
    if forged_as is not None:
        seal = factory.seals(b"something else", [forged_as])
        record = Record(signatures=seal, signed=claim)
    return scene.judge_claim(claim, record=record)


def _in_time(time_from: str, time: str) -> Outcome:
    """A claim after a publication under the same `time_from`."""
    scene = Scene(settings=Settings(ruleset=0, time_from=time_from))
    return scene.judge_claim(scene.claim(time=time))


def _in_new_time(time_from: str, time: str) -> Outcome:
    """The first claim in a new time."""
    scene = Scene()
    scene.change_to(online=(factory.ed25519_signer("online 2"),), settings=Settings(ruleset=0, time_from=time_from))
    claim = scene.claim(time=time)
    return scene.judge_claim(claim, record=factory.seal_claim(claim, [factory.ed25519_signer("online 2")]))


def _first_claim_from_long_ago() -> Outcome:
    make, team = Make(), Team(settings=Settings(ruleset=0, time_from=factory.instant(0)))
    prefix = factory.ready_prefix(make, team)
    assert prefix.ledger is not None
    claim = factory.claim(prefix, first_head(prefix.ledger), 1, time="2000-01-01T00:00:00Z")
    return judge_claim(factory.seal_claim(claim, team.online), claim, prefix, first_head(prefix.ledger), None)


def _size_zero() -> Outcome:
    scene = Scene()
    claim = scene.claim(size=0, root_hash=Prefix().tree.root_hash())
    return judge_claim(factory.seal_claim(claim, scene.team.online), claim, scene.prefix, scene.head, None)


def _seal_of_another() -> Outcome:
    scene = Scene()
    other = factory.seal_claim(scene.claim(number=7), scene.team.online)
    return scene.judge_claim(scene.claim(), record=_with_seal(other, other.signatures))


def _with_seal(record: Record, seal: tuple[Seal, ...]) -> Record:
    return Record(signatures=seal, signed=record.signed)


def _break_last(seal: tuple[Seal, ...]) -> tuple[Seal, ...]:
    last = seal[-1]
    return (*seal[:-1], Seal(keyid=last.keyid, sig=last.sig[:-2] + ("00" if last.sig[-2:] != "00" else "01")))


SECTION_7: Scenarios = {
    "null": {"a tombstone": partial(decoded, None)},
    "oversize": {"just": partial(decoded, b" " * (MAX_PUBLICATION_BYTES + 1))},
    "too-deep": {
        "garbage": partial(decoded, b"[" * 9),
        "in a claim": partial(decoded, claim_bytes().replace(b'"renew":[]', b'"renew":' + b"[" * 9 + b"]" * 9)),
        "deeper than parsers stand": partial(decoded, b"[" * 100_000 + b"]" * 100_000),
    },
    "not-json": {
        "empty": partial(decoded, b""),
        "cut": partial(decoded, claim_bytes()[:-1]),
        "ill-formed UTF-8": partial(decoded, claim_bytes().replace(b"ledger.example", b"\xff")),
    },
    "invalid": {
        "nothing": partial(decoded, b"{}"),
        "another type": partial(decoded, claim_bytes().replace(b'"type":"claim"', b'"type":"other"')),
        "no date": partial(decoded, claim_bytes().replace(b'"time":"2030-01-01', b'"time":"2030-02-30')),
        "not canonical either": partial(decoded, claim_bytes().replace(b'"size":2', b'"size": -1')),
    },
    "not-canonical": {
        "space": partial(decoded, claim_bytes() + b" "),
        "newline": partial(decoded, b"\n" + claim_bytes()),
        "members in another order": partial(decoded, _reversed(claim_bytes())),
        "unknown member": partial(decoded, claim_bytes().replace(b'"format":1', b'"format":1,"g":1')),
        "duplicate member": partial(decoded, claim_bytes().replace(b'"format":1', b'"format":1,"format":1')),
        "escape": partial(decoded, claim_bytes().replace(b'"origin":"l', b'"origin":"\\u006c')),
        "slash": partial(decoded, claim_bytes().replace(b"org/index", b"org\\/index")),
        "-0": partial(decoded, claim_bytes().replace(b'"size":2', b'"size":-0')),
    },
    "other-origin": {"another": partial(spoilt_claim, origin="other.example.org")},
    "other-predecessor": {
        "another": partial(spoilt_claim, previous=digest("another")),
        "record 0 of events": partial(spoilt_claim, previous=Scene().ledger.digest),
    },
    "number": {
        "the predecessor's": partial(spoilt_claim, number=5),
        "below": partial(spoilt_claim, number=1),
        "the open claim's": partial(_after_open, 9, 9),
        "below the open claim's": partial(_after_open, 9, 7),
        "below the floor": _below_floor,
        "a million further": partial(spoilt_claim, number=1_000_006),
        "a million beyond the open claim's": partial(_after_open, 9, 1_000_010),
    },
    "backwards": {
        "size": partial(spoilt_claim, size=1),
        "time": partial(spoilt_claim, time=factory.instant(4999)),
        "time, though root's `time_from` is as early": partial(_in_time, factory.instant(0), factory.instant(4999)),
        "time before that of a new time": partial(_in_new_time, factory.instant(9000), factory.instant(8999)),
        "the predecessor's time, before that of a new time": partial(
            _in_new_time, factory.instant(9000), factory.instant(5000)
        ),
        "the first claim, dated 2000": _first_claim_from_long_ago,
    },
    "void": {"below the size of the root that voids": _void},
    "no-root": {"no ceremony yet": no_root_claim, "size 0": _size_zero},
    "older-root": {"than the open claim's": _older_root},
    "root-hash": {
        "another": partial(spoilt_claim, root_hash=digest("another")),
        "of another size": partial(spoilt_claim, root_hash=Prefix().tree.root_hash()),
    },
    "renew": {
        "unsorted": partial(spoilt_claim, renew=("bin-2", "bin-1")),
        "twice": partial(spoilt_claim, renew=("bin-1", "bin-1")),
        "unknown": partial(spoilt_claim, renew=("bin-10",)),
        "longer": partial(spoilt_claim, renew=("bin-01",)),
        "upper case": partial(spoilt_claim, renew=("bin-A",)),
        "another role": partial(spoilt_claim, renew=("snapshot",)),
    },
    "seal": {
        "by nobody": claim_sealed_by,
        "by a stranger": partial(claim_sealed_by, STRANGER),
        "by too few": partial(claim_sealed_by, TWO_ONLINE["online"][0], **TWO_ONLINE, online_threshold=2),
        "by a stranger too": partial(claim_sealed_by, Team().online[0], STRANGER),
        "by an offline key": partial(claim_sealed_by, Team().root[0]),
        "twice": partial(claim_with_seal, lambda seal: seal * 2),
        "in another order": partial(claim_with_seal, lambda seal: tuple(reversed(seal)), **TWO_ONLINE),
        "one of two is wrong": partial(claim_with_seal, _break_last, **TWO_ONLINE),
        "of another claim": _seal_of_another,
        "beyond the log, by a stranger": partial(_beyond, STRANGER),
        "beyond the log, by nobody": _beyond,
        "beyond the log, forged": partial(_beyond, forged_as=Team().online[0]),
        "beyond the log, by an offline key": partial(_beyond, Team().root[0]),
        "before anything of the prefix": lambda: Scene().judge_claim(
            Scene().claim(root_hash=digest("another")), record=factory.seal_claim(Scene().claim(), [STRANGER])
        ),
        "publication by nobody": lambda: Scene().judge_publication(seal=lambda record: _with_seal(record, ())),
        "publication by a stranger": lambda: Scene().judge_publication(
            seal=lambda record: _with_seal(record, factory.seals(b"{}", [STRANGER]))
        ),
        "publication forged": lambda: Scene().judge_publication(
            seal=lambda record: _with_seal(record, _break_last(record.signatures))
        ),
    },
    "no-open-claim": {
        "none": lambda: Scene().judge_publication(opened=False),
        "another claim": lambda: Scene().judge_publication(other_claim=Scene().claim(time=factory.instant(7000))),
        "another number": lambda: Scene().judge_publication(
            lambda published: msgspec.structs.replace(published, number=7)
        ),
        "another digest": lambda: Scene().judge_publication(
            lambda published: msgspec.structs.replace(published, claim=digest("another"))
        ),
    },
    "roles": {
        "unsorted": lambda: Scene().judge_publication(lambda p: roles_replaced(*reversed(p.roles))(p)),
        "twice": lambda: Scene().judge_publication(lambda p: roles_replaced(p.roles[0], p.roles[0])(p)),
        "unknown": lambda: Scene().judge_publication(roles_replaced(a_role("bin-10", ""))),
        "snapshot": lambda: Scene().judge_publication(roles_replaced(a_role("snapshot", ""))),
        "no signature": lambda: Scene().judge_publication(roles_replaced(a_role("bin-1"))),
        "two signatures": lambda: Scene().judge_publication(roles_replaced(a_role("bin-1", "", ""))),
        "no base64": lambda: Scene().judge_publication(roles_replaced(a_role("bin-1", "A"))),
        "snapshot without a signature": lambda: Scene().judge_publication(
            lambda p: msgspec.structs.replace(p, snapshot=(*p.snapshot[:2], ()))
        ),
    },
}


def test_every_code_of_the_page_is_produced_and_no_other() -> None:
    assert set(SECTION_7) == codes_of(7)


@pytest.mark.parametrize(("code", "scenario"), cases(SECTION_7))
def test_code(code: str, scenario: Scenario) -> None:
    check(code, scenario)


def test_what_the_scenarios_spoil_is_valid() -> None:
    scene = Scene()
    assert scene.judge_claim(scene.claim()).verdict == "accepted"
    assert scene.judge_claim(scene.claim(number=10), open_number=9).verdict == "accepted"
    assert scene.judge_publication().verdict == "accepted"
    for time in (factory.instant(1000), factory.instant(1001), "2999-01-01T00:00:00Z"):
        assert _in_new_time(factory.instant(1000), time).verdict == "accepted"
    assert _in_new_time(factory.instant(9000), factory.instant(9000)).verdict == "accepted"
    assert _in_time(factory.instant(0), factory.instant(5000)).verdict == "accepted"
    assert not isinstance(decode_publication_record(claim_bytes()), Rejection)
