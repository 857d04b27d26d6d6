"""Ledgers signed in memory, and proofs about them, made by the definitions of RFC 9162 alone."""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner

from projections.log.merkle import leaf_hash
from projections.log.prefix import Prefix
from projections.log.proof_checking import offer_of
from projections.log.proofs import tree_root
from projections.metadata.repository import RoleEntry, SnapshotTable, bin_payload, signed_file, timestamp_payload
from projections.metadata.targets import target_entry
from projections.publications import Head, first_head, seal_signatures
from projections.roles.layout import Layout
from schemas import canonical, events
from schemas.codec import decode_event
from schemas.proof_files import ConsistencyProof, EventPart, EventProof, Proof, PublishedProof, TargetPart, TargetProof
from tests import factory
from tests.factory import Make, Team, authority_of, ecdsa_signer, ed25519_signer, instant

EXPIRES = instant(10**7)


def split(count: int) -> int:
    """The largest power of two below a number of leaves."""
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def inclusion(leaf: int, leaves: Sequence[bytes]) -> list[str]:
    """PATH of RFC 9162, 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if leaf < k:
        return [*inclusion(leaf, leaves[:k]), tree_root(leaves[k:])]
    return [*inclusion(leaf - k, leaves[k:]), tree_root(leaves[:k])]


def consistency(first: int, leaves: Sequence[bytes], *, is_known: bool = True) -> list[str]:
    """SUBPROOF of RFC 9162, 2.1.4.1."""
    if first == len(leaves):
        return [] if is_known else [tree_root(leaves)]
    k = split(len(leaves))
    if first <= k:
        return [*consistency(first, leaves[:k], is_known=is_known), tree_root(leaves[k:])]
    return [*consistency(first - k, leaves[k:], is_known=False), tree_root(leaves[:k])]


def teams(kind: str) -> list[Team]:
    """Who signs one root after another."""
    team = Team(layout=Layout(2))
    if kind == "several keys":
        signers = ed25519_signer("root 1"), ecdsa_signer("root 2"), factory.rsa_signer()
        online = tuple(ed25519_signer(f"online {number}") for number in range(3))
        team = team.but(root=signers, online=online, online_threshold=2)
    single = team.but(online_threshold=1)
    following = [
        single.but(online=(ed25519_signer("another online"),)),
        single.but(online=(ed25519_signer("a third online"),), root=(*team.root[1:], ed25519_signer("root 4"))),
        single.but(online=(ed25519_signer("a fourth online"),), layout=Layout(3, succinct=False)),
    ]
    return [team, *following]


@dataclass(repr=False)
class Signed:
    """A ledger: its records, and what was signed of them."""

    teams: list[Team]
    make: Make = field(default_factory=Make)
    records: list[bytes] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    published: list[PublishedProof] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    bins: list[dict[str, str]] = field(default_factory=list)

    def __repr__(self) -> str:
        """Short: hypothesis prints it."""
        return f"<{len(self.records)} records, publications of {self.sizes}>"

    def __post_init__(self) -> None:
        self.team = self.teams[0]
        self.prefix = Prefix()
        self.append(*factory.beginning(self.make, self.team))
        self._head: Head | None = None
        self._keep_root()

    def append(self, *records: bytes) -> None:
        """Append records, whatever they are."""
        self.records += records
        self.prefix, _ = self.prefix.extend(records)

    def replace_keys(self) -> None:
        """The next team's ceremony."""
        before, self.team = self.team, self.teams[len(self.roots)]
        files = factory.ceremony(self.team, self.prefix.authority, before)
        self.append(*factory.encode([self.make.roles_signed(files)]))
        assert authority_of(self.prefix).root.version == len(self.roots) + 1
        self._keep_root()

    def _keep_root(self) -> None:
        self.roots.append(authority_of(self.prefix).root.file.decode())

    def publish(self, **claimed: str) -> None:
        """Sign what stands on the log: bins list everything that was ever offered, and a page for each project.

        Args:
            claimed: what the claim says instead of what is right.
        """
        authority, number = authority_of(self.prefix), len(self.published) + 1
        assert self.prefix.ledger is not None
        head = self._head or first_head(self.prefix.ledger)
        entries: dict[str, bytes] = {}
        for record in self.records:
            event = decode_event(record)
            offer = offer_of(event)
            if offer is not None:
                entries[offer.path] = target_entry(*offer)
            if isinstance(event, events.ProjectEvent):
                page = f"simple/{event.subject}/index.json"
                entries[page] = target_entry(page, 3, sha256(event.subject.encode()).hexdigest())
        claim = factory.claim(self.prefix, head, number, **claimed)
        opened = factory.opened(factory.seal_claim(claim, self.team.online))
        files: dict[str, bytes] = {}
        payloads = self._payloads(entries, number)
        for name, payload in payloads.items():
            files[name] = signed_file(payload, factory.sign_payload(payload, self.team))
        table = SnapshotTable({name: RoleEntry(number, EXPIRES, len(file)) for name, file in files.items()})
        payload = table.payload(claim, authority, self.prefix.size)
        snapshot = signed_file(payload, factory.sign_payload(payload, self.team))
        published = factory.publication(opened, authority, payloads, payload, self.team)
        sealed = factory.seal_publication(published, opened, authority, self.team)
        timestamp = signed_file(timestamp_payload(claim, published, authority), seal_signatures(sealed))
        self._head = factory.head_of(sealed, opened)
        part = PublishedProof(root=len(self.roots), timestamp=timestamp.decode(), snapshot=snapshot.decode())
        self.published.append(part)
        self.sizes.append(self.prefix.size)
        self.bins.append({name: file.decode() for name, file in files.items()})

    def _payloads(self, entries: Mapping[str, bytes], number: int) -> dict[str, bytes]:
        layout = authority_of(self.prefix).layout
        rendered = {}
        for index in range(layout.count):
            listed = [entry for path, entry in sorted(entries.items()) if layout.index_of_target(path) == index]
            rendered[layout.name(index)] = bin_payload(listed, number, EXPIRES)
        return rendered

    def leaves(self, number: int) -> list[bytes]:
        """The leaves of a publication's tree."""
        return [leaf_hash(record) for record in self.records[: self.sizes[number - 1]]]

    def event_part(self, number: int, index: int, *, with_record: bool = True) -> EventPart:
        """The proof of an event in a publication's tree."""
        leaves = self.leaves(number)
        path = tuple(inclusion(index, leaves))
        if with_record:
            return EventPart(index=index, path=path, record=b64encode(self.records[index]).decode())
        return EventPart(index=index, path=path, leaf_hash=leaves[index].hex())

    def event(self, number: int, index: int, *, with_record: bool = True) -> EventProof:
        """The proof that a publication covers an event."""
        part = self.published[number - 1]
        roots = tuple(self.roots[: part.root])
        return EventProof(roots=roots, published=part, event=self.event_part(number, index, with_record=with_record))

    def target(self, path: str, index: int | None = None) -> TargetProof:
        """The proof that the last publication offers a target, by the event of this index."""
        authority, number = authority_of(self.prefix), len(self.published)
        name = authority.layout.name(authority.layout.index_of_target(path))
        part = TargetPart(
            path=path,
            targets=authority.targets.file.decode(),
            bins=authority.bins.file.decode(),
            bin=self.bins[-1][name],
        )
        event = msgspec.UNSET if index is None else self.event_part(number, index)
        return TargetProof(roots=tuple(self.roots), published=self.published[-1], target=part, event=event)

    def consistency(self, first: int, second: int) -> ConsistencyProof:
        """The proof that a publication begins with the events of another."""
        later = self.published[second - 1]
        return ConsistencyProof(
            roots=tuple(self.roots[: later.root]),
            earlier=self.published[first - 1],
            later=later,
            path=tuple(consistency(self.sizes[first - 1], self.leaves(second))),
        )


def sign_again(file: str, signers: Iterable[CryptoSigner], **changes: Any) -> str:
    """A metadata file with other members in what is signed, signed by these keys."""
    signed = {**json.loads(file)["signed"], **changes}
    return canonical.encode(factory.sign(signed, signers)).decode()


def encode(proof: Proof) -> bytes:
    """A proof as a file."""
    return msgspec.json.encode(proof)
