"""The chain of publications as docs/rules.md, section 7, has it, judged naively: one record after another, by somebody
who knows both logs to their ends, with the prefix of every size in memory.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise

from projections import publications as chain
from projections.log.prefix import Prefix
from projections.publications import OpenClaim
from projections.roles.authority import Authority
from projections.roles.keys import verify
from schemas.codec import Rejection, decode_publication_record, encode_signed
from schemas.publications import Claim, Publication, Record

Value = bytes | None


class HaltError(Exception):
    """A record stops everybody."""


class PlainChain:
    """What is known after some records. `lies` are the digests of records that diverge."""

    def __init__(self, events: Sequence[Value], lies: Iterable[str] = ()) -> None:
        self._at = [Prefix()]
        for value in events:
            self._at.append(self._at[-1].extend([value])[0])
        self._ever = {key.keyid: key for prefix in self._at if prefix.authority for key in prefix.authority.online.keys}
        self._lies = frozenset(lies)
        self._number, self._size, self._time = 0, 0, ""
        self._previous = sha256(events[0] or b"").hexdigest()
        self._open: OpenClaim | None = None
        self._void_before = 0

    def codes(self, values: Iterable[Value]) -> list[tuple[int, str]]:
        """The records that are rejected, each with its code."""
        judged = [(index, self._judge(value)) for index, value in enumerate(values)]
        return [(index, code) for index, code in judged if code]

    def _judge(self, value: Value) -> str:
        digest = sha256(value or b"").hexdigest()
        record = decode_publication_record(value)
        if isinstance(record, Rejection):
            return record.code
        if isinstance(record.signed, Claim):
            return self._judge_claim(record, record.signed, digest)
        return self._judge_publication(record, record.signed, digest)

    def _judge_claim(self, record: Record, claim: Claim, digest: str) -> str:
        if claim.size < self._void_before:
            return "void"
        code = self._claim_alone(claim) or self._signatures(record, claim) or self._at_its_size(record, claim)
        if code:
            return code
        authority = self._authority(claim.size)
        keyids = self._open.keyids if self._open else frozenset()
        self._open = OpenClaim(claim, digest, authority.root.version, keyids | set(authority.online.keyids))
        self._void_before = 0
        return ""

    def _claim_alone(self, claim: Claim) -> str:
        ledger = self._at[1].ledger
        if ledger is None or claim.origin != ledger.origin:
            return "other-origin"
        if claim.previous != self._previous:
            return "other-predecessor"
        if claim.number <= self._number:
            return "number"
        return "backwards" if claim.size < self._size else ""

    def _signatures(self, record: Record, claim: Claim) -> str:
        keyids = [seal.keyid for seal in record.signatures]
        if keyids != sorted(set(keyids)) or set(keyids) - set(self._ever):
            return "seal"
        payload = encode_signed(claim)
        if not all(verify(self._ever[seal.keyid], seal.sig, payload) for seal in record.signatures):
            return "seal"
        end = self._at[-1]
        if claim.size <= end.size:
            return ""
        online = end.authority.online if end.authority else None
        if online and set(keyids) <= set(online.keyids) and len(keyids) >= online.threshold:
            raise HaltError(claim)
        return "seal"

    def _at_its_size(self, record: Record, claim: Claim) -> str:
        prefix = self._at[claim.size]
        authority = prefix.authority
        if authority is None:
            return "no-root"
        keyids = {seal.keyid for seal in record.signatures}
        if not keyids <= set(authority.online.keyids) or len(keyids) < authority.online.threshold:
            return "seal"
        before = self._at[self._size].authority if self._number else None
        since = before.time_from if before else ""
        if claim.time < (self._time if authority.time_from == since else authority.time_from):
            return "backwards"
        voided = self._open
        if voided and authority.root.version < voided.root_version:
            return "older-root"
        lowest = self._number
        if voided and set(voided.keyids) & set(authority.online.keyids):
            lowest = voided.claim.number
        floor = authority.settings.floor
        if not max(lowest + 1, floor) <= claim.number <= max(lowest, floor) + 1_000_000:
            return "number"
        if claim.root_hash != prefix.tree.root_hash():
            return "root-hash"
        layout = authority.layout
        ordered = all(first < second for first, second in pairwise(claim.renew))
        return "" if ordered and all(layout.index(name) is not None for name in claim.renew) else "renew"

    def _judge_publication(self, record: Record, publication: Publication, digest: str) -> str:
        if self._void_before:
            return "void"
        prefix = self._at[self._open.claim.size] if self._open else None
        outcome = chain.judge_publication(record, publication, self._open, prefix)
        if outcome.verdict != "accepted" or self._open is None:
            return outcome.code
        claim, self._open = self._open.claim, None
        if digest in self._lies:
            sizes = (size for size, prefix in enumerate(self._at) if self._voids(prefix, claim.number, digest))
            self._void_before = next(sizes)
            return "void"
        self._number, self._size, self._time, self._previous = claim.number, claim.size, claim.time, digest
        return ""

    @staticmethod
    def _voids(prefix: Prefix, number: int, digest: str) -> bool:
        return prefix.authority is not None and prefix.authority.void_for(number, digest) is not None

    def _authority(self, size: int) -> Authority:
        authority = self._at[size].authority
        assert authority is not None
        return authority
