"""What others than the signer append to `publications`: strangers without a key, and a thief with one."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner

from projections.log.prefix import Prefix
from projections.metadata.repository import pack_signatures
from projections.publications import Head
from projections.roles.authority import Void
from schemas.codec import decode_publication_record, encode_event, encode_record
from schemas.publications import Claim, Publication, Record
from tests import factory
from tests.factory import Make, Team
from tests.simulation.replay import replay

Values = list[bytes | None]
Stranger = Callable[[Values, Values], bytes | None]
"""Makes a record for `publications` from what is on both logs."""

_STRANGER = factory.ed25519_signer("a stranger")


def _null(_events: Values, _publications: Values) -> bytes | None:
    return None


def _noise(_events: Values, publications: Values) -> bytes | None:
    return b"noise %d" % len(publications)


def _repeat_last(_events: Values, publications: Values) -> bytes | None:
    return publications[-1] if publications else b""


def _repeat_first(_events: Values, publications: Values) -> bytes | None:
    return publications[0] if publications else b"{}"


def _other_form(_events: Values, publications: Values) -> bytes | None:
    return (publications[-1] or b"") + b" " if publications else b" "


def _forged_claim(_events: Values, publications: Values) -> bytes | None:
    """The last claim with a higher number, sealed by a stranger's key."""
    for value in reversed(publications):
        record = decode_publication_record(value)
        if isinstance(record, Record) and isinstance(record.signed, Claim):
            claim = Claim(**{**_fields(record.signed), "number": record.signed.number + 1})
            return encode_record(factory.seal_claim(claim, [_STRANGER]))
    return b"[]"


def _first_claim(events_log: Values, _publications: Values) -> bytes | None:
    """A claim on the genesis, sealed by a stranger's key."""
    prefix, _ = Prefix().extend(events_log)
    if prefix.ledger is None:
        return b""
    claim = Claim(
        format=1,
        origin=prefix.ledger.origin,
        number=1_000_000,
        previous=prefix.ledger.digest,
        time="2099-01-01T00:00:00Z",
        size=prefix.size,
        root_hash=prefix.tree.root_hash(),
        renew=(),
    )
    return encode_record(factory.seal_claim(claim, [_STRANGER]))


def _other_signed(_events: Values, publications: Values) -> bytes | None:
    """The last record with its own signatures over something else."""
    record = decode_publication_record(publications[-1]) if publications else None
    if not isinstance(record, Record):
        return b"{}"
    signed = type(record.signed)(**{**_fields(record.signed), "number": record.signed.number + 5})
    return encode_record(Record(signatures=record.signatures, signed=signed))


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def _beyond(events_log: Values, publications: Values) -> bytes | None:
    """A stranger's claim after the last publication, of more events than there are."""
    value = _first_claim(events_log, publications)
    record = decode_publication_record(value)
    assert isinstance(record, Record)
    published = [each for each in publications if b'"type":"publication"' in (each or b"")]
    changes: dict[str, Any] = {"size": len(events_log) + 1}
    if published:
        changes["previous"] = sha256(published[-1] or b"").hexdigest()
    return encode_record(factory.seal_claim(Claim(**{**_fields(record.signed), **changes}), [_STRANGER]))


STRANGERS: tuple[Stranger, ...] = (
    _null,
    _noise,
    _repeat_last,
    _repeat_first,
    _other_form,
    _forged_claim,
    _first_claim,
    _other_signed,
    _beyond,
)


def former_key(keys: Sequence[CryptoSigner], chance: Random) -> Stranger:
    """Claims by a key that left the online role, of any number, size and time; some are right but for that."""

    def make(events_log: Values, publications: Values) -> bytes | None:
        prefix, _ = Prefix().extend(events_log)
        authority = prefix.authority
        if prefix.ledger is None or authority is None:
            return b"no root yet"
        left = [key for key in keys if key.public_key.keyid in authority.online_ever.keys() - authority.online.keyids]
        if not left:
            return b"no key left yet"
        published = [each for each in publications if b'"type":"publication"' in (each or b"")]
        previous = sha256(published[-1] or b"").hexdigest() if published else prefix.ledger.digest
        size = chance.choice([prefix.size // 2, prefix.size, prefix.size + 1, chance.randrange(2**53), 2**53])
        end = Prefix().extend(events_log[:size])[0]
        claim = Claim(
            format=1,
            origin=prefix.ledger.origin,
            number=chance.choice([chance.randint(1, 30), 10**6, chance.randint(1, 2**53), 2**53 - 1, 2**53]),
            previous=previous,
            time=chance.choice(
                ["2000-01-01T00:00:00Z", factory.instant(chance.randint(0, 10**6)), "2999-12-31T23:59:59Z"]
            ),
            size=size,
            root_hash=end.tree.root_hash(),
            renew=(),
        )
        return encode_record(factory.seal_claim(claim, chance.sample(left, chance.randint(1, len(left)))))

    return make


def stolen_claim(signer: CryptoSigner) -> Stranger:
    """A claim on the last publication, of all events, sealed by a key that is or was online."""

    def make(events_log: Values, publications: Values) -> bytes | None:
        prefix, _ = Prefix().extend(events_log)
        head = replay(events_log, publications, skip=False).head
        claim = factory.claim(prefix, head, head.number + 7, time=head.time or factory.instant(0))
        return encode_record(factory.seal_claim(claim, [signer]))

    return make


# --- a thief ---------------------------------------------------------------------------------------------------------


def forgery(events_log: Values, head: Head, keys: Sequence[CryptoSigner]) -> tuple[bytes, bytes] | None:
    """A claim, and a publication under it that its events do not make, both sealed by the online keys in force."""
    prefix, _ = Prefix().extend(events_log)
    authority = prefix.authority
    if authority is None or head.number == 0:
        return None
    signers = [signer for signer in keys if signer.public_key.keyid in authority.online.keyids]
    team = Team(online=tuple(signers))
    number = max(head.number + 10, authority.settings.floor)
    claim = factory.claim(prefix, head, number, time=head.time)
    claimed = factory.seal_claim(claim, signers)
    open_claim = factory.opened(claimed)
    digest = sha256(b"a lie").digest()
    signatures = pack_signatures(authority.online, factory.sign_payload(b"a lie", team))
    publication = Publication(
        format=1,
        number=number,
        claim=open_claim.digest,
        roles=(),
        snapshot=(b64encode(digest).decode(), 5, signatures),
    )
    return encode_record(claimed), encode_record(factory.seal_publication(publication, open_claim, authority, team))


def voiding(events_log: Values, publication: bytes, team: Team, make: Make) -> bytes:
    """The ceremony that voids a publication."""
    prefix, _ = Prefix().extend(events_log)
    record = decode_publication_record(publication)
    assert isinstance(record, Record)
    number = record.signed.number
    settings = msgspec.structs.replace(team.settings, floor=max(team.settings.floor, number + 1))
    voids = team.but(settings=settings, void=Void(number, sha256(publication).hexdigest()))
    return encode_event(make.roles_signed(factory.ceremony(voids, prefix.authority, team)))
