"""The chain of publications: which records of the `publications` log are valid (docs/rules.md, section 7).

Judging a record is cheap. It takes the record, its predecessor and the prefix of the events at the claim's size; no
project is folded. The two logs have no mutual order, and these rules need none.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

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
"""The most numbers that a claim may skip. A stolen key must not use them all at once."""

_NOT_SEALED = rejected("seal", "not sealed by a threshold of the online keys in force")

MAX_NUMBER = 2**53
"""The last number (`schemas.fields.Number`)."""


class LogTooShortError(DisagreementError):
    """Keys that are online sealed a claim of more events than the log has: the log lost some, or a key was stolen."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """The last publication: its number, the digest of its record, its time and its size, the `time_from` of its root,
    and its content size.

    Before the first publication, the number is 0, and the digest is that of record 0 of `events`.
    """

    number: int
    digest: str
    time: str
    size: int
    time_from: str = ""
    content_size: int = 0


class OpenClaim(msgspec.Struct, frozen=True, array_like=True):
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


class Held(NamedTuple):
    """What a hold does: content is shown up to `size`, and so many events behind that wait."""

    size: int
    waiting: int


def content_size(shown: int, prefix: Prefix) -> int:
    """The size up to which a publication shows content (docs/rules.md, section 5).

    A hold stops content, not authority: the publication covers the offline roles and the holds up to its own size.

    Args:
        shown: the content size of its predecessor; 0 for the first publication.
        prefix: the prefix at its size.
    """
    return content_size_of(shown, prefix.first_root_size, prefix.size, prefix.held_at)


def content_size_of(shown: int, first_root_size: int, size: int, held_at: int | None) -> int:
    """`content_size`, given the size and the lowest size held instead of the prefix that has them."""
    return max(shown, first_root_size, size if held_at is None else min(size, held_at))


def held(shown: int, end: Prefix) -> Held | None:
    """What is held at the end of the log, given the content size of the last publication; None if nothing is."""
    if end.held_at is None:
        return None
    size = content_size(shown, end)
    return Held(size, end.size - size)


def only_waits(head: Head, end: Prefix) -> bool:
    """Whether everything after the last publication waits: no content that may be shown, no offline role, no hold.

    Args:
        head: the last publication.
        end: the prefix at the end of the log.
    """
    return end.decided_at <= head.size and content_size(head.content_size, end) == head.content_size


def lowest_number(head: Head, voided: OpenClaim | None, online: RoleKeys) -> int:
    """The number that a claim under these online keys must be above.

    One key never signs a number twice. The voided claim does not count if all its keys were replaced: the thief of one
    of them could otherwise go on claiming higher numbers for ever.
    """
    is_free = voided is None or voided.keyids.isdisjoint(online.keyids)
    return head.number if is_free or voided is None else voided.claim.number


def earliest_time(head: Head, time_from: str) -> str:
    """The earliest time of a claim where a root with this `time_from` is in force. An empty text: any.

    In a new time this is not the predecessor's: whoever stole the online key may have dated that in the far future.
    """
    return head.time if time_from == head.time_from else time_from


def highest_number(lowest: int, floor: int) -> int:
    """The highest number that a claim may have, given `lowest_number` and root's floor."""
    return min(max(floor, lowest) + MAX_GAP, MAX_NUMBER)


VOIDED = rejected("void", "a later root voids it")
"""The outcome of what follows a voided publication, up to the first claim that covers the root."""


def judge_claim_alone(claim: Claim, ledger: Ledger, head: Head, void_before_size: int | None = None) -> Outcome:
    """Judge a claim by the checks that need no events. If it passes, `judge_claimant` is next.

    Args:
        claim: the claim.
        ledger: the ledger's identity.
        head: the last publication.
        void_before_size: the size of the root that voids what follows the head; None: no void is pending.
    """
    if void_before_size is not None and claim.size < void_before_size:
        return VOIDED
    if claim.origin != ledger.origin:
        return rejected("other-origin", f"it is for {claim.origin}")
    if claim.previous != head.digest:
        return rejected("other-predecessor", f"the last publication is number {head.number}")
    if claim.number <= head.number:
        return rejected("number", f"number {claim.number} is not above {head.number}")
    if claim.size < head.size:
        return rejected("backwards", f"publication {head.number} has size {head.size}")
    return ACCEPTED


def depends_on_end(record: Record, claim: Claim, end: Prefix) -> bool:
    """Whether the verdict on a claim could be another if `events` were longer, given the prefix at its end."""
    known = end.authority.online_ever if end.authority else {}
    return claim.size > end.size or any(seal.keyid not in known for seal in record.signatures)


def judge_claimant(record: Record, claim: Claim, end: Prefix) -> Outcome:
    """Judge whether all signatures of a claim are by keys that were ever online, given the prefix at the log's end.

    A key was online if an accepted root listed it as online. Strangers' claims end here. They cost at most one
    verification for each of these keys, and the prefix at the size that they name is not needed. If a claim passes,
    `judge_claim` is next.
    """
    online = end.authority.online_ever if end.authority else {}
    keyids = [seal.keyid for seal in record.signatures]
    if any(first >= second for first, second in pairwise(keyids)):
        return rejected("seal", "its signatures are not in the order of key ids, each key once")
    if strangers := [keyid for keyid in keyids if keyid not in online]:
        return rejected("seal", f"key {strangers[0][:16]}… was never online")
    if keyids:
        payload = encode_signed(claim)
        for seal in record.signatures:
            if not verify(online[seal.keyid], seal.sig, payload):
                return rejected("seal", f"the signature of key {seal.keyid[:16]}… is not valid")
    return ACCEPTED


def judge_claim(record: Record, claim: Claim, end: Prefix, head: Head, voided: OpenClaim | None) -> Outcome:
    """Judge a claim whose signatures are valid by the roots that are on the log.

    Args:
        record: the record of the claim.
        claim: the claim.
        end: the prefix at the end of the log, read after the claim was.
        head: the last publication.
        voided: the open claim that this one would void.

    Returns:
        The outcome. If the claim passes, `judge_contents` is next.

    Raises:
        LogTooShortError: keys that are online sealed it, and its size is beyond the end.
    """
    authority = end.authority
    if claim.size > end.size:
        return _judge_claim_beyond(record, claim, end)
    root = authority.root_at(claim.size) if authority else None
    if root is None:
        return rejected("no-root", f"no root is in force at size {claim.size}")
    if not _is_sealed_by(record, root.online):
        return _NOT_SEALED
    earliest = earliest_time(head, root.time_from)
    if claim.time < earliest:
        return rejected("backwards", f"after publication {head.number}, the earliest time is {earliest}")
    if voided is not None and root.version < voided.root_version:
        # A stolen key that was replaced must not go on voiding every claim under its successor.
        return rejected("older-root", f"the open claim was made under root version {voided.root_version}")
    lowest = lowest_number(head, voided, root.online)
    if claim.number <= lowest:
        return rejected("number", f"number {claim.number} is not above {lowest}")
    if not root.floor <= claim.number <= highest_number(lowest, root.floor):
        return rejected("number", f"root's floor is {root.floor}, and no number is skipped by more than {MAX_GAP:,}")
    return ACCEPTED


def _judge_claim_beyond(record: Record, claim: Claim, end: Prefix) -> Outcome:
    """Judge a claim whose size is beyond the end of the log. One replacement of a stolen key ends all its claims."""
    online = end.authority.online if end.authority else None
    if online is None or not _is_sealed_by(record, online):
        return _NOT_SEALED
    raise LogTooShortError(
        f"claim {claim.number} is sealed by a key that is online, beyond the end of `events`: it covers {claim.size} "
        f"events, and the log has {end.size}. Was the log restored from an older copy? If not, treat the key as "
        "stolen. See docs/operators.md, 'A claim beyond the end'"
    )


def judge_contents(claim: Claim, prefix: Prefix) -> Outcome:
    """Judge what a claim says about the events, given the prefix at its size."""
    if claim.root_hash != prefix.tree.root_hash():
        return rejected("root-hash", f"the log's root hash at size {claim.size} is {prefix.tree.root_hash()}")
    if prefix.authority is None or not _are_bins(claim.renew, prefix.authority):
        return rejected("renew", "`renew` must name bins in force, sorted, each once")
    return ACCEPTED


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
        return _NOT_SEALED
    return ACCEPTED


def _is_sealed_by(record: Record, online: RoleKeys) -> bool:
    """Whether signatures, all of which are valid, are by keys of a role alone, and meet its threshold."""
    return all(seal.keyid in online.keyids for seal in record.signatures) and len(record.signatures) >= online.threshold


def seal_signatures(record: Record) -> Mapping[str, str]:
    """The signatures of a record's seal, hexadecimal, by key id.

    Raises:
        KeysError: a key id occurs twice.
    """
    return signatures_by_keyid((seal.keyid, seal.sig) for seal in record.signatures)
