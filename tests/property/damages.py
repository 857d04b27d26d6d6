"""Proofs with one thing wrong, signed by whoever signs such files, and the step that sees it."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace
from securesystemslib.signer import CryptoSigner

from projections.log.proof_checking import offer_of
from schemas.codec import decode_event
from schemas.proof_files import EventProof, Proof
from tests import factory
from tests.factory import Counter, Make, change, digest, ed25519_signer
from tests.property.proven import Signed, sign_again, teams

PAGE = "simple/one/index.json"
Damage = Callable[[Signed], Proof]


def small() -> Signed:
    """A ledger with two uploads (events 2 and 3) and two publications under two roots."""
    signed = Signed(teams("one key"))
    signed.append(*factory.encode([signed.make.file_uploaded("one"), signed.make.file_uploaded("two")]))
    signed.publish()
    signed.replace_keys()
    signed.publish()
    return signed


def changed(proof: Any, **parts: Any) -> Any:
    """A proof, or a part of one, with other members; those of its parts by names such as `event__index`."""
    for name, value in parts.items():
        part, _, rest = name.partition("__")
        proof = replace(proof, **{part: changed(getattr(proof, part), **{rest: value}) if rest else value})
    return proof


def event(**parts: Any) -> Damage:
    """The proof of event 2 in the last publication, with other members. A function gets the ledger."""
    return lambda signed: changed(signed.event(2, 2), **_made(signed, parts))


def target(index: int | None = 2, **parts: Any) -> Damage:
    """The proof of a page by an event, with other members."""
    return lambda signed: changed(signed.target(PAGE, index), **_made(signed, parts))


def consistency(**parts: Any) -> Damage:
    """The proof of consistency between both publications, with other members."""
    return lambda signed: changed(signed.consistency(1, 2), **_made(signed, parts))


def _made(signed: Signed, parts: dict[str, Any]) -> dict[str, Any]:
    return {name: part(signed) if callable(part) else part for name, part in parts.items()}


def again(part: str, who: Callable[[Signed], tuple[CryptoSigner, ...]], **changes: Any) -> Callable[[Signed], str]:
    """A file of a target's proof, signed again with changes."""
    return lambda signed: sign_again(getattr(signed.target(PAGE).target, part), who(signed), **changes)


def stating(**changes: Any) -> Callable[[Signed], str]:
    """A timestamp that states something else of the snapshot."""

    def made(signed: Signed) -> str:
        file = signed.published[-1].timestamp
        meta = msgspec.json.decode(file)["signed"]["meta"]
        meta["snapshot.json"] |= changes
        return sign_again(file, signed.team.online, meta=meta)

    return made


def unlike(_: Signed) -> str:
    """The snapshot of a ledger by the same keys whose last event is another one."""
    other = Signed(teams("one key"))
    other.append(*factory.encode([other.make.file_uploaded("one"), other.make.file_uploaded("three")]))
    other.publish()
    other.replace_keys()
    other.publish()
    return other.published[1].snapshot


def with_own_version(signed: Signed) -> Proof:
    """A snapshot that the timestamp states, and that says another version itself."""
    snapshot = sign_again(signed.published[1].snapshot, signed.team.online, version=9)
    found = stating(length=len(snapshot), hashes={"sha256": digest(snapshot)})(signed)
    return event(published__snapshot=snapshot, published__timestamp=found)(signed)


def with_other_snapshot_keys(signed: Signed) -> tuple[EventProof, str]:
    """A proof under a root with keys for the snapshot that did not sign it, and that root."""
    team, other = signed.teams[0], ed25519_signer("another snapshot")
    body = msgspec.json.decode(signed.roots[0])["signed"]
    keys = {**body["keys"], other.public_key.keyid: other.public_key.to_dict()}
    roles = {**body["roles"], "snapshot": {"keyids": [other.public_key.keyid], "threshold": 1}}
    root = sign_again(signed.roots[0], team.root, keys=keys, roles=roles)
    return changed(signed.event(1, 2), roots=(root,)), root


def skipping(signed: Signed) -> Proof:
    """Without the root between two others."""
    signed.replace_keys()
    signed.publish()
    return changed(signed.event(3, 2), roots=(signed.roots[0], signed.roots[2]), published__root=2)  # type: ignore[no-any-return]


def of_two_ledgers(signed: Signed) -> Proof:
    """By the same keys."""
    signed.publish(origin="other.example.org")
    return signed.consistency(2, 3)


def of_another_length(signed: Signed) -> Proof:
    """An upload of the same path and bytes that says another length."""
    signed.append(*factory.encode([change(Make(Counter(50)).file_uploaded("one"), data_length=7)]))
    signed.append(*factory.encode([signed.make.file_uploaded("one")]))
    signed.publish()
    return signed.target(path_of(signed, 2), len(signed.records) - 2)


def path_of(signed: Signed, index: int) -> str:
    """The path that an event offers."""
    offer = offer_of(decode_event(signed.records[index]))
    assert offer is not None
    return offer.path


def bin_before(signed: Signed) -> str:
    """The bin of a page as of the publication before the last."""
    layout = factory.authority_of(signed.prefix).layout
    return signed.bins[-2][layout.name(layout.index_of_target(PAGE))]


DAMAGES: dict[str, tuple[str, Damage]] = {
    "roots of another ledger": ("roots", event(roots=lambda _: tuple(Signed(teams("several keys")).roots))),
    "roots with spaces": ("roots", event(roots=lambda signed: (f"{signed.roots[0]} ", signed.roots[1]))),
    "a root is skipped": ("roots", skipping),
    "a root is missing": ("timestamp", event(roots=lambda signed: tuple(signed.roots[:1]))),
    "a timestamp under the root before": ("timestamp", event(published__root=1)),
    "a timestamp by a replaced key": (
        "timestamp",
        event(published__timestamp=lambda each: each.published[0].timestamp),
    ),
    "a timestamp with spaces": (
        "timestamp",
        event(published__timestamp=lambda each: f"{each.published[1].timestamp} "),
    ),
    "a snapshot of another tree": ("snapshot", event(published__snapshot=unlike)),
    "a snapshot of another length": ("snapshot", event(published__timestamp=stating(length=5))),
    "a snapshot of another digest": ("snapshot", event(published__timestamp=stating(hashes={"sha256": digest("x")}))),
    "a snapshot of another version": ("snapshot", event(published__timestamp=stating(version=3))),
    "a timestamp of another version": (
        "snapshot",
        event(published__timestamp=lambda each: sign_again(each.published[1].timestamp, each.team.online, version=3)),
    ),
    "a snapshot that says another version": ("snapshot", with_own_version),
    "a timestamp without snapshot": (
        "snapshot",
        event(published__timestamp=lambda each: sign_again(each.published[1].timestamp, each.team.online, meta={})),
    ),
    "the path of another event": ("event", event(event__path=lambda signed: signed.event(2, 3).event.path)),
    "the record of another event": ("event", event(event__record=lambda signed: signed.event(2, 3).event.record)),
    "a record and a hash": ("event", event(event__leaf_hash=lambda signed: signed.leaves(2)[2].hex())),
    "no record and no hash": ("event", event(event__record=msgspec.UNSET)),
    "an event beyond the tree": ("event", event(event__index=5)),
    "targets for bins": ("bins", target(target__bins=lambda signed: signed.target(PAGE).target.targets)),
    "bins for targets": ("targets", target(target__targets=lambda signed: signed.target(PAGE).target.bins)),
    "targets of another version": (
        "targets",
        target(target__targets=again("targets", lambda signed: signed.team.targets, version=9)),
    ),
    "bins of another version": ("bins", target(target__bins=again("bins", lambda signed: signed.team.bins, version=9))),
    "targets by too few": ("targets", target(target__targets=again("targets", lambda each: each.team.targets[:1]))),
    "bins by too few": ("bins", target(target__bins=again("bins", lambda signed: signed.team.bins[:1]))),
    "a bin of the publication before": (
        "bin",
        target(target__bin=lambda signed: sign_again(bin_before(signed), signed.team.online)),
    ),
    "a bin by a replaced key": (
        "bin",
        target(target__bin=lambda signed: sign_again(bin_before(signed), signed.teams[0].online, version=2)),
    ),
    "a path that the bin does not list": ("bin", target(target__path="simple/none/index.json")),
    "the upload of another file": ("about", lambda signed: signed.target(path_of(signed, 2), 3)),
    "an event of another project": ("about", target(3)),
    "an event that says another length": ("about", of_another_length),
    "a target without a record": ("about", target(event=lambda each: each.event_part(2, 2, with_record=False))),
    "another path between trees": ("consistency", consistency(path=(digest("x"),))),
    "no path between trees": ("consistency", consistency(path=())),
    "trees in the wrong order": (
        "consistency",
        consistency(earlier=lambda signed: signed.published[1], later=lambda signed: signed.published[0]),
    ),
    "two ledgers": ("consistency", of_two_ledgers),
}
