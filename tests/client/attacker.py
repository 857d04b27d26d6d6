"""What somebody with a stolen online key can do: forge what is served, and append records of their own."""

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from securesystemslib.signer import CryptoSigner

from consumers.context import Context
from consumers.reading.end import prefix_at_end
from ledger.keys.keyring import load_key_files
from ledger.state import StoreError
from ledger.state.position import load_position
from ledger.state.store import ReadingStore
from projections.log.prefix import Prefix
from projections.metadata.repository import SnapshotTable, bin_payload, expires_at, signed_file
from projections.publications import Head, OpenClaim, first_head
from schemas import canonical
from schemas.codec import encode_record
from schemas.publications import Claim, Record
from tests import factory
from tests.factory import Team, authority_of


class Ledger(Protocol):
    """A ledger's folder."""

    folder: Path
    public: Path

    @property
    def context(self) -> Context:
        """The folder, opened."""


class Attacker:
    """Holds a copy of the online keys that a ledger had when this was made, and may append to its logs."""

    def __init__(self, index: Ledger) -> None:
        self._index = index
        self.online = tuple(load_key_files(index.folder / "keys/online"))
        self._team = Team(online=self.online)

    # --- what is served ------------------------------------------------------------------------------------------

    def forge(self, target: Path, version: int) -> Path:
        """A copy of what is served, in which every online role has a version far ahead (TUF 1.0.34, 5.3.11)."""
        shutil.copytree(self._index.public, target)
        self.forge_in_place(target, version)
        return target

    def forge_in_place(self, public: Path, version: int, *, bins: bool = True) -> None:
        """Sign a timestamp and a snapshot of this version, and (if wished) all bins, beside what is served."""
        metadata = public / "metadata"
        timestamp = json.loads((metadata / "timestamp.json").read_bytes())["signed"]
        snapshot = json.loads((metadata / f"{timestamp['version']}.snapshot.json").read_bytes())["signed"]
        for name, listed in snapshot["meta"].items():
            if bins and name.startswith("bin-"):
                bin_ = json.loads((metadata / f"{listed['version']}.{name}").read_bytes())["signed"]
                self._write(metadata / f"{version}.{name}", {**bin_, "version": version})
                listed["version"] = version
        file = self._write(metadata / f"{version}.snapshot.json", {**snapshot, "version": version, "x-thief": True})
        listed = {"hashes": {"sha256": sha256(file).hexdigest()}, "length": len(file), "version": version}
        forged = {**timestamp, "meta": {"snapshot.json": listed}, "version": version}
        self._write(metadata / "timestamp.json", forged)

    def _write(self, path: Path, signed: Mapping[str, Any]) -> bytes:
        payload = canonical.encode(signed)
        file = signed_file(payload, factory.sign_payload(payload, self._team))
        path.unlink(missing_ok=True)  # it may be a second name of a file that a state keeps
        path.write_bytes(file)
        return file

    # --- the log -------------------------------------------------------------------------------------------------

    def claim(self, **changes: Any) -> Record:
        """Append a claim on the last publication."""
        record = factory.seal_claim(self.drafted(**changes), self.online)
        self.append(encode_record(record))
        return record

    def drafted(self, **changes: Any) -> Claim:
        """A claim on the last publication."""
        prefix = self._end()
        head = load_head(self._index, prefix)
        values = {"origin": _ledger(prefix), "time": head.time, "number": head.number + 1, **changes}
        return factory.claim(prefix, head, **values)

    def divergent(self, name: str = "bin-0", **changes: Any) -> tuple[int, str]:
        """Append a claim and a valid publication, whose bin of this name has a target that no event added.

        Returns its number and the digest of its record.
        """
        record = self.claim(**changes)
        lie = b'"packages/00/00/0/evil-1.0.tar.gz":{"hashes":{"sha256":"%s"},"length":1}' % factory.digest("e").encode()
        return self.complete(factory.opened(record), {name: lie})

    def complete(self, open_claim: OpenClaim, targets: Mapping[str, bytes]) -> tuple[int, str]:
        """Append the publication of a claim, with these targets in these bins."""
        authority, claim = authority_of(self._end()), open_claim.claim
        expires = expires_at(claim.time, authority.settings.bin_expiry_seconds)
        payloads = {name: bin_payload([body], claim.number, expires) for name, body in targets.items()}
        snapshot = SnapshotTable({}).payload(claim, authority, claim.size)
        published = factory.publication(open_claim, authority, payloads, snapshot, self._team)
        value = encode_record(factory.seal_publication(published, open_claim, authority, self._team))
        self.append(value)
        return claim.number, sha256(value).hexdigest()

    def append(self, *values: bytes) -> None:
        """Append records to the log of publications."""
        append(self._index, values, events=False)

    def _end(self) -> Prefix:
        return asyncio.run(prefix_at_end(self._index.context))


def append(index: Ledger, values: Sequence[bytes], *, events: bool = True) -> None:
    """Append records as they are to one of the logs."""

    async def run() -> None:
        logs = index.context.logs()
        await logs.open()
        try:
            await (logs.events if events else logs.publications).append(values)
        finally:
            await logs.close()

    asyncio.run(run())


def offline_signers(index: Ledger, role: str) -> list[CryptoSigner]:
    """The development keys of an offline role."""
    return load_key_files(index.folder / "keys" / role)


def sign_root(index: Ledger, **settings: Any) -> bytes:
    """A `roles.signed` event with the next root, in which `x-ledger` has other settings."""
    authority = authority_of(asyncio.run(prefix_at_end(index.context)))
    signed = authority.root.signed
    root = {**signed, "version": signed["version"] + 1, "x-ledger": {**signed["x-ledger"], **settings}}
    files = {"root": factory.sign(root, offline_signers(index, "root"))}
    return factory.encode([factory.Make().roles_signed(files)])[0]


def load_head(index: Ledger, prefix: Prefix) -> Head:
    """The last publication that the signer has applied."""
    assert prefix.ledger is not None
    return asyncio.run(_load_head(index.context.reading_store("signer"))) or first_head(prefix.ledger)


async def _load_head(store: ReadingStore) -> Head | None:
    try:
        await store.open()
        position = await store.run(load_position)
    except StoreError:
        return None
    finally:
        await store.close()
    return position and Head(
        position.number, position.digest, position.time, position.size, content_size=position.content_size
    )


def _ledger(prefix: Prefix) -> str:
    assert prefix.ledger is not None
    return prefix.ledger.origin
