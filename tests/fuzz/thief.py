"""Who stole an online key and writes to `publications`: claims of their own, and publications that tell lies."""

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from consumers.reading.runs import Shown
from projections.log.prefix import Prefix
from projections.metadata.repository import pack_digest, pack_signatures, signed_file
from projections.publications import Head, OpenClaim, content_size
from projections.roles.authority import Authority
from schemas import canonical
from schemas.codec import encode_record
from schemas.publications import Claim, Publication
from tests import factory
from tests.factory import Team
from tests.fuzz.world import World, following

Payloads = dict[str, bytes]
Signed = dict[str, Any]


class CapturingSealer:
    """Signs like a signer, and remembers what it signed."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self.payloads: Payloads = {}
        self.packed: dict[str, tuple[str, ...]] = {}

    def seal(self, name: str, payload: bytes) -> bytes:
        self.payloads[name] = payload
        return signed_file(payload, factory.sign_payload(payload, self._team))

    def remote(self, _names: Iterable[str]) -> None:
        """The keys are here."""


class Draft(NamedTuple):
    """What an honest signer would publish now: to be changed, signed and appended."""

    team: Team
    authority: Authority
    head: Head
    claim: Claim
    payloads: Payloads
    snapshot: bytes

    @property
    def names(self) -> list[str]:
        """The bins that have to be signed."""
        return sorted(self.payloads)

    def but(self, **changes: Any) -> "Draft":
        return self._replace(**changes)

    def but_bin(self, name: str, change: Callable[[Signed], None]) -> "Draft":
        """Another content of a bin."""
        return self.but(payloads={**self.payloads, name: changed(self.payloads[name], change)})

    def but_snapshot(self, change: Callable[[Signed], None]) -> "Draft":
        return self.but(snapshot=changed(self.snapshot, change))

    def sealed(self, edit: Callable[[Publication], Publication] = lambda each: each) -> tuple[bytes, bytes]:
        """The claim's record and the publication's; `edit` changes the publication before it is sealed."""
        claim = factory.seal_claim(self.claim, self.team.online)
        opened = factory.opened(claim)
        published = edit(factory.publication(opened, self.authority, self.payloads, self.snapshot, self.team))
        record = factory.seal_publication(published, opened, self.authority, self.team)
        return encode_record(claim), encode_record(record)

    def opened(self) -> OpenClaim:
        return factory.opened(factory.seal_claim(self.claim, self.team.online))


def changed(payload: bytes, change: Callable[[Signed], None]) -> bytes:
    """A payload with another content, in canonical form."""
    signed = json.loads(payload)
    change(signed)
    return canonical.encode(signed)


async def draft(world: World, team: Team | None = None, *, shown: int | None = None, **claimed: Any) -> Draft:
    """What comes next: all events that are on the log, unless the claim shall be another; `shown` ignores holds."""
    async with following(world.logs) as followed:
        follower = followed.follower
        await follower.catch_up()
        end = await follower.tail.read_on()
        prefix = Prefix().extend(world.events.values[: claimed.get("size", end.size)])[0]
        taken = follower.open_claim.claim.number if follower.open_claim else follower.head.number
        values = {"time": max(follower.head.time, factory.instant(0)), **claimed}
        claim = factory.claim(prefix, follower.head, values.pop("number", taken + 1), **values)
        sealer = CapturingSealer(team or world.team)
        authority = factory.authority_of(prefix)
        size = content_size(follower.head.content_size, prefix) if shown is None else shown
        edition = follower.edition(Shown(claim, authority, size), prefix)
        work = await follower.prepare(edition, sealer)
        work.seal(sealer)
        snapshot = sealer.payloads.pop("snapshot")
        return Draft(team or world.team, authority, follower.head, claim, sealer.payloads, snapshot)


def digest_of(record: bytes) -> str:
    """What a later root names to void a record."""
    return sha256(record).hexdigest()


def with_role(published: Publication, name: str, payload: bytes, team: Team, authority: Authority) -> Publication:
    """The publication with one more bin, or another content of one."""
    signatures = factory.sign_payload(payload, team)
    entry = (name, pack_digest(signed_file(payload, signatures)), pack_signatures(authority.online, signatures))
    roles = sorted([*(each for each in published.roles if each[0] != name), entry])
    return msgspec.structs.replace(published, roles=tuple(roles))
