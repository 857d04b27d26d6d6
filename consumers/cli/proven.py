"""Answers about proofs, for people and for machines: the same whoever made the proof, and whoever checks it.

Everything that is printed of a record or a proof has a form that allows no control characters.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from consumers.cli.shared import plural
from ledger.clock import from_instant
from projections.log.merkle import record_digest
from projections.log.operations import type_of
from projections.log.proof_checking import CheckedEvent, CheckedProof, CheckedPublication
from schemas.codec import Rejection, decode_event


def facts_of(checked: CheckedProof, now: datetime) -> dict[str, Any]:
    """What was proven, for machines; what has expired now is listed."""
    published, event, target, earlier = checked
    expires = {**published.expires, **(target.expires if target else {})}
    facts: dict[str, Any] = {
        "proof": "consistency" if earlier else "target" if target else "event",
        **_publication(published),
        "origin": published.origin,
        "root": published.root,
        "expires": expires,
        "expired": expired(expires, now),
    }
    if earlier is not None:
        facts["earlier"] = _publication(earlier)
    if target is not None:
        facts |= {"target": target.path, "sha256": target.sha256, "length": target.length}
    if event is not None:
        facts |= _event(event)
    return facts


def expired(expires: dict[str, str], now: datetime) -> list[str]:
    """The roles whose files have expired, sorted."""
    return sorted(role for role, instant in expires.items() if from_instant(instant) <= now)


def sentences_of(checked: CheckedProof, now: datetime) -> Iterator[str]:
    """What was proven, for people."""
    published, event, target, earlier = checked
    if earlier is not None:
        yield (
            f"Publication {published.number} ({plural(published.size, 'event')}) begins with the events of publication "
            f"{earlier.number} ({plural(earlier.size, 'event')}), unchanged."
        )
    if target is not None:
        yield (
            f"Publication {published.number} offers {target.path}: {plural(target.length, 'byte')}, SHA-256 "
            f"{target.sha256}."
        )
    if event is not None:
        yield f"Event {event.event} of {plural(published.size, 'event')} is {_describe(event)}."
        if event.event >= published.content_size:
            yield f"Publication {published.number} covers it and shows events up to {published.content_size} only."
    yield (
        f"The ledger is {published.origin}; publication {published.number} is signed under root version "
        f"{published.root}."
    )
    expires = {**published.expires, **(target.expires if target else {})}
    if passed := expired(expires, now):
        yield "Expired since: " + ", ".join(f"{role} ({expires[role]})" for role in passed) + "."


def _publication(published: CheckedPublication) -> dict[str, Any]:
    return {
        "publication": published.number,
        "size": published.size,
        "content_size": published.content_size,
        "root_hash": published.root_hash,
    }


def _event(event: CheckedEvent) -> dict[str, Any]:
    facts: dict[str, Any] = {"event": event.event, "leaf_hash": event.leaf_hash}
    if event.record is not None:
        decoded = decode_event(event.record)
        facts["digest"] = record_digest(event.record)
        facts |= {"code": decoded.code} if isinstance(decoded, Rejection) else {"type": type_of(type(decoded))}
    return facts


def _describe(event: CheckedEvent) -> str:
    if event.record is None:
        return f"one whose leaf has the hash {event.leaf_hash}"
    decoded = decode_event(event.record)
    digest = f"SHA-256 {record_digest(event.record)}"
    if isinstance(decoded, Rejection):
        return f"a record that is no event ({decoded.code}, {digest})"
    who = f"{decoded.actorkind} {decoded.actorid}"
    return f"{type_of(type(decoded))} about {decoded.subject}, by {who} ({digest})"
