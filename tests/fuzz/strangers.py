"""Who writes to `publications` without a key, or with one that no longer counts."""

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from random import Random
from typing import Any

import msgspec
from securesystemslib.signer import CryptoSigner

from projections.log.prefix import Prefix
from projections.metadata.repository import pack_digest
from schemas import canonical
from schemas.codec import Rejection, decode_publication_record, encode_record, encode_signed
from schemas.publications import Claim, Publication, Record, Seal
from tests import factory
from tests.factory import digest, ed25519_signer
from tests.fuzz.mutating import mutate, rewrite
from tests.fuzz.world import World


class Stranger:
    """Makes records for `publications`; none of them is sealed by a key in force. `old` are keys that were, once."""

    def __init__(self, rng: Random, world: World) -> None:
        self.rng = rng
        self.world = world
        self.old: list[CryptoSigner] = []

    def records(self, count: int) -> Iterable[bytes | None]:
        """So many records."""
        return [self._one() for _ in range(count)]

    def _one(self) -> bytes | None:
        rng = self.rng
        known = [value for value in self.world.publications.values if value is not None]
        made: list[Callable[[], bytes | None]] = [self.claim, self.claim, self.claim, self.publication]
        if known:
            recent = rng.choice(known[-6:])
            made += [
                lambda: recent,
                lambda: rng.choice(known),
                lambda: mutate(rng, recent),
                lambda: mutate(rng, recent),
                lambda: self._changed(recent),
                lambda: self._changed(recent),
                lambda: self._reformed(recent),
            ]
        return rng.choice(made)()

    # --- claims and publications of our own ----------------------------------------------------------------------

    def claim(self) -> bytes:
        """A claim that is right but for its seal, or wrong in other ways too."""
        rng, events = self.rng, self.world.events.values
        number, previous, time = self._head()
        old = bool(self.old) and rng.randrange(3) == 0
        end = len(events)
        size = rng.choice([0, 1, 2, end // 2, end - 1, end, end + 1, end + 7, rng.randrange(2**53), 2**53 - 1, 2**53])
        claimed = Claim(
            format=1,
            origin=rng.choice([factory.ORIGIN] * 5 + ["other.example.org"]),
            number=rng.choice([number + 1, number + 2, 1, number + 10**6, rng.randrange(1, 2**53), 2**53 - 1, 2**53]),
            previous=rng.choice([previous] * 5 + [digest("other")]),
            time=rng.choice([time] * 5 + ["2000-01-01T00:00:00Z", "2999-12-31T23:59:59Z"]),
            size=size,
            root_hash=self._root_hash(size) if rng.randrange(4) else digest("other"),
            renew=rng.choice([(), (), ("bin-0",), ("bin-1", "bin-0"), ("bin-0", "bin-0"), ("x",), ("bin-0",) * 999]),
        )
        return encode_record(self._sealed(claimed, encode_signed(claimed), old=old))

    def publication(self) -> bytes:
        """A publication for whatever is claimed last."""
        rng = self.rng
        record = self._last(Claim)
        claimed = record.signed if record else None
        role: Any = (rng.choice(["bin-0", "bin-1", "x", "bin-00", "root"]), digest64("x"), (rng.choice(["", "AAAA"]),))
        published = Publication(
            format=1,
            number=claimed.number if isinstance(claimed, Claim) else 1,
            claim=sha256(encode_record(record)).hexdigest() if record else digest("none"),
            roles=tuple(rng.choice([[], [role], [role, role], [role] * 5000, [(*role[:2], ("AAAA",) * 50)]])),
            snapshot=(digest64("snapshot"), rng.choice([0, 1000, 2**53]), (rng.choice(["", "AAAA", "A"]),)),
        )
        return encode_record(self._sealed(published, encode_signed(published), old=bool(self.old)))

    def _sealed(self, signed: Claim | Publication, payload: bytes, *, old: bool) -> Record:
        """Sealed by a key that does not count, which may call itself one that does; or not at all."""
        rng = self.rng
        online = [signer.public_key.keyid for signer in self.world.team.online]
        signature = rng.choice(self.old if old else [ed25519_signer("stranger")]).sign(payload)
        own = Seal(keyid=signature.keyid, sig=signature.signature)
        if old:
            return Record(signatures=rng.choice([(own,), (own, own)]), signed=signed)
        false = Seal(keyid=online[0], sig=rng.choice([signature.signature, "00", "00" * 64]))
        return Record(
            signatures=rng.choice([(), (own,), (false,), (false, false), (own, false), (own,) * 99]), signed=signed
        )

    # --- what others wrote, changed ------------------------------------------------------------------------------

    def _changed(self, value: bytes) -> bytes:
        """Another content under the seal of this record."""
        record = decode_publication_record(value)
        if isinstance(record, Rejection):
            return value
        signed = record.signed
        changes: list[dict[str, Any]] = [{"number": signed.number + 1}, {"number": 2**53}]
        if isinstance(signed, Claim):
            number, previous, time = self._head()
            changes += [
                {"number": number + 1, "previous": previous, "time": time},
                {"size": signed.size + 1},
                {"size": 2**53},
                {"renew": ("bin-0",)},
                {"time": "2999-12-31T23:59:59Z"},
                {"previous": previous},
            ]
        else:
            changes += [
                {"roles": signed.roles[1:]},
                {"roles": signed.roles[::-1]},
                {"roles": signed.roles * 2},
                {"snapshot": (signed.snapshot[0], signed.snapshot[1] + 1, signed.snapshot[2])},
                {"claim": digest("other")},
            ]
        return encode_record(Record(signatures=record.signatures, signed=_replaced(signed, self.rng.choice(changes))))

    def _reformed(self, value: bytes) -> bytes:
        """The same record in other bytes."""
        rng = self.rng
        try:
            document = json.loads(value)
            form = rng.randrange(5)
            if form == 0:
                return json.dumps(document).encode()
            if form == 1:
                document["signatures"] = document["signatures"] * 2
            elif form == 2:
                document["x"] = 1
            elif form == 3:
                document["signatures"] = [{**each, "sig": each["sig"].upper()} for each in document["signatures"]]
            else:
                return rewrite(rng, value)
            return canonical.encode(document)
        except (ValueError, KeyError, TypeError, AttributeError):
            return value

    # --- what we know --------------------------------------------------------------------------------------------

    def _head(self) -> tuple[int, str, str]:
        """Number, digest and time of what looks like the last publication, from the log alone."""
        record = self._last(Publication)
        if record is None:
            return 0, sha256(self.world.events.values[0] or b"").hexdigest(), factory.instant(0)
        claimed = self._last(Claim)
        time = claimed.signed.time if claimed and isinstance(claimed.signed, Claim) else factory.instant(0)
        return record.signed.number, sha256(encode_record(record)).hexdigest(), time

    def _last(self, kind: type[Claim | Publication]) -> Record | None:
        for value in reversed(self.world.publications.values):
            record = decode_publication_record(value)
            if not isinstance(record, Rejection) and isinstance(record.signed, kind) and self._by_signer(record):
                return record
        return None

    def _by_signer(self, record: Record) -> bool:
        online = {signer.public_key.keyid for signer in self.world.team.online}
        return any(seal.keyid in online for seal in record.signatures)

    def _root_hash(self, size: int) -> str:
        return Prefix().tree.extend(self.world.events.values[:size]).root_hash()


def digest64(text: str) -> str:
    """A digest as publications hold it."""
    return pack_digest(text.encode())


def _replaced(signed: Claim | Publication, changes: dict[str, Any]) -> Claim | Publication:
    return msgspec.structs.replace(signed, **changes)
