"""What intruders do behind a ledger's back, so that it can be rehearsed: in the ledger of a story, and there alone."""

import shutil
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from consumers.context import Context
from consumers.incidents.stories.deeds import Tampering
from consumers.incidents.stories.rehearsing import moved
from ledger.clock import from_instant, to_instant
from ledger.keys.keyring import load_key_files, sign
from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.metadata.repository import signed_file
from schemas import canonical

_VALID = timedelta(days=700)
"""A thief wants the own metadata to last."""


def tamper(context: Context, act: Tampering, days: int) -> None:
    """Do what an act says, in the folder of a ledger.

    Args:
        context: the ledger.
        act: what is done.
        days: by how many days the story is moved.
    """
    path = context.folder / act.path
    match act.what:
        case "copy":
            target = context.folder / act.target
            if target.exists():
                shutil.rmtree(target)
            shutil.copytree(path, target)
        case "change":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            _write(path, bytes(data))
        case "place":
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, act.target.encode())
        case "forge":
            _forge(context, path, int(act.target), to_instant(from_instant(moved(act.at, days)) + _VALID))


def _forge(context: Context, served: Path, version: int, expires: str) -> None:
    timestamp = _signed(served / TIMESTAMP)
    snapshot = _signed(served / metadata_path("snapshot", timestamp["version"]))
    changes = {"version": version, "expires": expires}
    file = _sign(context, {**snapshot, **changes})
    _write(served / metadata_path("snapshot", version), file)
    listed = {"hashes": {"sha256": sha256(file).hexdigest()}, "length": len(file), "version": version}
    _write(served / TIMESTAMP, _sign(context, {**timestamp, **changes, "meta": {"snapshot.json": listed}}))


def _signed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())["signed"]
    return found


def _sign(context: Context, signed: dict[str, Any]) -> bytes:
    payload = canonical.encode(signed)
    signers = load_key_files(context.path(context.config.signer.keys))
    return signed_file(payload, {signer.public_key.keyid: sign(signer, payload) for signer in signers})


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # it may be a second name of another file
    path.write_bytes(data)
