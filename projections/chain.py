"""The chain of publications: which records of the `publications` log are valid (docs/rules.md, section 7).

Validity is cheap: it is decided from the record, its predecessor and the prefix of the events at the claim's size,
without folding a single project. Two logs have no mutual order; these rules need none.
"""

from collections.abc import Mapping
from itertools import pairwise

import msgspec

from projections.authority import Authority
from projections.keys import KeysError, RoleKeys, signatures_by_keyid, verify
from projections.outcomes import ACCEPTED, Outcome, rejected
from projections.prefix import Ledger, Prefix
from projections.repository import timestamp_payload, unpack_signatures
from schemas.codec import encode_signed
from schemas.publications import Claim, Publication, Record

MAX_GAP = 1_000_000
"""Numbers run out at 2^53: a stolen key must not take them all at once."""


class LogTooShortError(Exception):
    """A claim that an online key sealed covers more events than the log has: the log lost some, or is another."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The last publication: its number, the digest of its record, its time and how many events it covers.

    Before the first publication the number is 0 and the digest that of record 0 of `events`.
    """

    number: int
    digest: str
    time: str
    size: int


class OpenClaim(msgspec.Struct, frozen=True):
    """A valid claim that nothing has ended yet, with the digest of its record."""

    claim: Claim
    digest: str


def first_head(ledger: Ledger) -> Head:
    """The head before the first publication."""
    return Head(0, ledger.digest, "", 0)


def lowest_number(head: Head, open_claim: OpenClaim | None) -> int:
    """The number that a claim must be above."""
    return open_claim.claim.number if open_claim else head.number


def judge_claim_alone(claim: Claim, ledger: Ledger, head: Head, open_claim: OpenClaim | None) -> Outcome:
    """The checks of a claim that need no events; if they pass, `judge_claim` is next."""
    if claim.origin != ledger.origin:
        return rejected("other-origin", f"it is for {claim.origin}")
    if claim.previous != head.digest:
        return rejected("other-predecessor", f"the last publication is number {head.number}")
    lowest = lowest_number(head, open_claim)
    if claim.number <= lowest:
        return rejected("number", f"number {claim.number} is not above {lowest}")
    if claim.size < head.size or claim.time < head.time:
        return rejected("backwards", f"publication {head.number} has size {head.size} and time {head.time}")
    return ACCEPTED


def judge_claim(record: Record, claim: Claim, prefix: Prefix, lowest: int) -> Outcome:
    """The checks of a claim that need the prefix of the events at its size. Its number is above `lowest`."""
    authority = prefix.authority
    if authority is None:
        return rejected("no-root", f"no root is in force at size {claim.size}")
    floor = authority.settings.floor
    if not floor <= claim.number <= max(floor, lowest) + MAX_GAP:
        return rejected("number", f"root's floor is {floor}, and no number is skipped by more than {MAX_GAP:,}")
    if claim.root_hash != prefix.tree.root_hash():
        return rejected("root-hash", f"the log's root hash at size {claim.size} is {prefix.tree.root_hash()}")
    if not _are_bins(claim.renew, authority):
        return rejected("renew", "`renew` must name bins in force, sorted, each once")
    return _judge_seal(record, authority.online, encode_signed(claim))


def judge_claim_beyond(record: Record, claim: Claim, digest: str, end: Prefix) -> Outcome:
    """Judge a claim whose size lies beyond the end of the log, given the prefix that is the whole log.

    Raises:
        LogTooShortError: a key that was ever an online key sealed it, and no root voids it.
    """
    if end.authority and end.authority.void_for(claim.number, digest) is not None:
        return rejected("void", "a root voids it")
    online = end.authority.online_ever if end.authority else {}
    payload = encode_signed(claim)
    for seal in record.signatures:
        if seal.keyid in online and verify(online[seal.keyid], seal.sig, payload):
            raise LogTooShortError(
                f"claim {claim.number}, sealed by online key {seal.keyid[:16]}…, covers {claim.size} events, and the "
                f"events log has {end.size}. Was it restored from an older backup? If the key was stolen, a root can "
                f"void the claim: {claim.number}:{digest}"
            )
    return rejected("beyond-log", f"the events log has {end.size} records")


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
        KeysError: one key id stands twice.
    """
    return signatures_by_keyid((seal.keyid, seal.sig) for seal in record.signatures)
