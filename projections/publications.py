"""The chain of publications: which records of the `publications` log are valid (docs/rules.md, section 7).

Judging a record is cheap. It takes the record, its predecessor and the prefix of the events at the claim's size; no
project is folded. The two logs have no mutual order, and these rules need none.
"""

from collections.abc import Mapping
from itertools import pairwise

import msgspec

from projections.log.prefix import Ledger, Prefix
from projections.metadata.repository import timestamp_payload, unpack_signatures
from projections.outcomes import ACCEPTED, Outcome, rejected
from projections.roles.authority import Authority
from projections.roles.keys import KeysError, RoleKeys, signatures_by_keyid, verify
from schemas.codec import encode_signed
from schemas.errors import DisagreementError
from schemas.publications import Claim, Publication, Record

MAX_GAP = 1_000_000
"""The most numbers that a claim may skip. Numbers run out at 2^53: a stolen key must not use them all at once."""


class LogTooShortError(DisagreementError):
    """A claim sealed by an online key covers more events than the log has: the log lost some, or is another log."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The last publication: its number, the digest of its record, its time, its size, and the `time_from` of its root.

    Before the first publication, the number is 0, and the digest is that of record 0 of `events`.
    """

    number: int
    digest: str
    time: str
    size: int
    time_from: str = ""


class OpenClaim(msgspec.Struct, frozen=True):
    """A valid claim that is neither completed nor voided yet, with the digest of its record.

    `root_version` is the version of the root in force at the claim's size. `keyids` are the keys that were online under
    this claim, and under the claims on the same predecessor that it voided. These keys may have signed any number up to
    the claim's.
    """

    claim: Claim
    digest: str
    root_version: int = 1
    keyids: frozenset[str] = frozenset()


def first_head(ledger: Ledger) -> Head:
    """The head before the first publication."""
    return Head(0, ledger.digest, "", 0)


def open_claim(claim: Claim, digest: str, authority: Authority, voided: OpenClaim | None) -> OpenClaim:
    """Open a claim that was judged valid, given the authority at its size and the claim that it voids."""
    before = voided.keyids if voided else frozenset()
    return OpenClaim(claim, digest, authority.root.version, before | frozenset(authority.online.keyids))


def lowest_number(head: Head, voided: OpenClaim | None, authority: Authority) -> int:
    """The number that a claim under this authority must be above.

    One key never signs a number twice. The voided claim does not count if all its keys were replaced: the thief of one
    of them could otherwise go on claiming higher numbers for ever.
    """
    is_free = voided is None or voided.keyids.isdisjoint(authority.online.keyids)
    return head.number if is_free or voided is None else voided.claim.number


def earliest_time(head: Head, authority: Authority) -> str:
    """The earliest time that a claim under this authority may have. An empty text: any.

    In a new time this is not the predecessor's: whoever stole the online key may have dated that in the far future.
    """
    return head.time if authority.time_from == head.time_from else authority.time_from


def judge_claim_alone(claim: Claim, ledger: Ledger, head: Head) -> Outcome:
    """Judge a claim by the checks that need no events. If it passes, `judge_claimant` is next."""
    if claim.origin != ledger.origin:
        return rejected("other-origin", f"it is for {claim.origin}")
    if claim.previous != head.digest:
        return rejected("other-predecessor", f"the last publication is number {head.number}")
    if claim.number <= head.number:
        return rejected("number", f"number {claim.number} is not above {head.number}")
    if claim.size < head.size:
        return rejected("backwards", f"publication {head.number} has size {head.size}")
    return ACCEPTED


def judge_claimant(record: Record, claim: Claim, end: Prefix) -> Outcome:
    """Judge whether a claim is sealed by a key that was ever online, given the prefix at the log's end.

    A key was online if an accepted root listed it as online. Strangers' claims end here. They cost one verification for
    each of these keys, and the prefix at the size that they name is not needed. If a claim passes, `judge_claim` is
    next.
    """
    try:
        signatures = seal_signatures(record)
    except KeysError as error:
        return rejected("seal", str(error))
    online = end.authority.online_ever if end.authority else {}
    payload = encode_signed(claim)
    if any(verify(online[keyid], signatures[keyid], payload) for keyid in sorted(online) if keyid in signatures):
        return ACCEPTED
    return rejected("seal", "no key that was ever online sealed it")


def judge_claim(record: Record, claim: Claim, prefix: Prefix, head: Head, voided: OpenClaim | None) -> Outcome:
    """Judge a claim by the checks that need the prefix at its size, given the claim that it would void."""
    authority = prefix.authority
    if authority is None:
        return rejected("no-root", f"no root is in force at size {claim.size}")
    earliest = earliest_time(head, authority)
    if claim.time < earliest:
        return rejected("backwards", f"after publication {head.number}, the earliest time is {earliest}")
    if voided is not None and authority.root.version < voided.root_version:
        # A stolen key that was replaced must not go on voiding every claim under its successor.
        return rejected("older-root", f"the open claim was made under root version {voided.root_version}")
    lowest = lowest_number(head, voided, authority)
    if claim.number <= lowest:
        return rejected("number", f"number {claim.number} is not above {lowest}")
    floor = authority.settings.floor
    if not floor <= claim.number <= max(floor, lowest) + MAX_GAP:
        return rejected("number", f"root's floor is {floor}, and no number is skipped by more than {MAX_GAP:,}")
    if claim.root_hash != prefix.tree.root_hash():
        return rejected("root-hash", f"the log's root hash at size {claim.size} is {prefix.tree.root_hash()}")
    if not _are_bins(claim.renew, authority):
        return rejected("renew", "`renew` must name bins in force, sorted, each once")
    return _judge_seal(record, authority.online, encode_signed(claim))


def judge_claim_beyond(claim: Claim, digest: str, end: Prefix) -> Outcome:
    """Judge a claim that an online key sealed, and whose size is beyond the end of the log.

    `end` is the prefix of the whole log.

    Raises:
        LogTooShortError: no root voids the claim.
    """
    if end.authority and end.authority.void_for(claim.number, digest) is not None:
        return rejected("void", "a root voids it")
    raise LogTooShortError(
        f"claim {claim.number}, sealed by an online key, covers {claim.size} events, and the log has {end.size}. "
        "Was it restored from an older backup? If the key was stolen, a root can void the claim: "
        f"{claim.number}:{digest}"
    )


def judge_publication(
    record: Record, publication: Publication, open_claim: OpenClaim | None, prefix: Prefix | None
) -> Outcome:
    """Judge a publication, given the open claim and the prefix at that claim's size."""
    if open_claim is None or prefix is None or prefix.authority is None:
        return rejected("no-open-claim", "no claim is open")
    if (publication.claim, publication.number) != (open_claim.digest, open_claim.claim.number):
        return rejected("no-open-claim", f"the open claim is number {open_claim.claim.number}")
    authority = prefix.authority
    if not _are_bins([name for name, _, _ in publication.roles], authority):
        return rejected("roles", "`roles` must name bins in force, sorted, each once")
    try:
        for _, _, signatures in publication.roles:
            unpack_signatures(authority.online, signatures)
        unpack_signatures(authority.online, publication.snapshot[2])
    except ValueError as error:
        return rejected("roles", f"each role has one signature, or none, for each key: {error}")
    return _judge_seal(record, authority.online, timestamp_payload(open_claim.claim, publication, authority))


def _are_bins(names: tuple[str, ...] | list[str], authority: Authority) -> bool:
    if any(first >= second for first, second in pairwise(names)):
        return False
    return all(authority.layout.index(name) is not None for name in names)


def _judge_seal(record: Record, online: RoleKeys, payload: bytes) -> Outcome:
    try:
        signatures = seal_signatures(record)
    except KeysError as error:
        return rejected("seal", str(error))
    if list(signatures) != sorted(signatures) or not online.accept_all(signatures, payload):
        return rejected("seal", f"not sealed by {online.threshold} of the online keys in force")
    return ACCEPTED


def seal_signatures(record: Record) -> Mapping[str, str]:
    """The signatures of a record's seal, hexadecimal, by key id.

    Raises:
        KeysError: a key id occurs twice.
    """
    return signatures_by_keyid((seal.keyid, seal.sig) for seal in record.signatures)
