"""What intruders do behind a ledger's back, so that it can be rehearsed: in the ledger of a story, and there alone."""

import shutil
from collections.abc import Callable, Mapping
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from consumers.context import Context
from consumers.incidents.stories.deeds import Tampering
from consumers.incidents.stories.rehearsing import moved
from ledger.clock import from_instant, to_instant
from ledger.keys.keyring import generate_key_file, load_key_files, sign
from projections.metadata.paths import METADATA, TIMESTAMP, metadata_path
from projections.metadata.repository import signed_file
from schemas import canonical

_VALID = timedelta(days=700)
"""A thief wants the own metadata to last."""
_STOLEN = "stolen"
_NEVER_UPLOADED = "packages/00/00/evil/beacon-9.9-py3-none-any.whl"
"""What the thief of an online key lists, and no event added."""


def tamper(context: Context, act: Tampering, days: int) -> None:
    """Do what an act says, in the folder of a ledger.

    Args:
        context: the ledger.
        act: what is done; anything but `append`.
        days: by how many days the story is moved.
    """
    _ACTS[act.what](context, act, days)


def _copy(context: Context, act: Tampering, _days: int) -> None:
    target = context.folder / act.target
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(context.folder / act.path, target)


def _change(context: Context, act: Tampering, _days: int) -> None:
    path = context.folder / act.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    _write(path, bytes(data))


def _place(context: Context, act: Tampering, _days: int) -> None:
    path = context.folder / act.path
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, act.target.encode())


def _steal(context: Context, act: Tampering, _days: int) -> None:
    stolen = context.folder / _STOLEN
    stolen.mkdir()
    for key in sorted((context.folder / act.path).glob("*.pem"))[: int(act.target)]:
        shutil.copy(key, stolen)


def _spare(context: Context, act: Tampering, _days: int) -> None:
    for _ in range(int(act.target)):
        generate_key_file(context.folder / act.path)


def _forge(context: Context, act: Tampering, days: int) -> None:
    served, version = context.folder / act.path, int(act.target)
    expires = to_instant(from_instant(moved(act.at, days)) + _VALID)
    timestamp = _signed(served / TIMESTAMP)
    snapshot = _signed(served / metadata_path("snapshot", timestamp["version"]))
    changes = {"version": version, "expires": expires}
    keys = context.path(context.config.signer.keys)
    name = min(each for each in snapshot["meta"] if each.startswith("bin-"))
    role = name.removesuffix(".json")
    listed = _signed(served / metadata_path(role, snapshot["meta"][name]["version"]))
    evil = {_NEVER_UPLOADED: {"hashes": {"sha256": sha256(b"evil").hexdigest()}, "length": 4}}
    _write(
        served / metadata_path(role, version),
        _sign(keys, {**listed, **changes, "targets": {**listed["targets"], **evil}}),
    )
    file = _sign(keys, {**snapshot, **changes, "meta": {**snapshot["meta"], name: {"version": version}}})
    _write(served / metadata_path("snapshot", version), file)
    meta = {"hashes": {"sha256": sha256(file).hexdigest()}, "length": len(file), "version": version}
    _write(served / TIMESTAMP, _sign(keys, {**timestamp, **changes, "meta": {"snapshot.json": meta}}))


def _forge_root(context: Context, act: Tampering, _days: int) -> None:
    """The next root, in which the thief of the root keys alone is online."""
    served = context.folder / act.path
    version = max(int(path.name.partition(".")[0]) for path in (served / METADATA).glob("*.root.json"))
    root = _signed(served / metadata_path("root", version))
    own = generate_key_file(context.folder / _STOLEN / "own").public_key
    online = {role: {"keyids": [own.keyid], "threshold": 1} for role in ("snapshot", "timestamp")}
    changes = {
        "version": version + 1,
        "keys": {**root["keys"], own.keyid: own.to_dict()},
        "roles": {**root["roles"], **online},
    }
    file = _sign(context.folder / _STOLEN, {**root, **changes})
    _write(served / metadata_path("root", version + 1), file)


def _signed(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(path.read_bytes())["signed"]
    return found


def _sign(keys: Path, signed: dict[str, Any]) -> bytes:
    payload = canonical.encode(signed)
    signers = load_key_files(keys)
    return signed_file(payload, {signer.public_key.keyid: sign(signer, payload) for signer in signers})


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # it may be a second name of another file
    path.write_bytes(data)


_ACTS: Mapping[str, Callable[[Context, Tampering, int], None]] = {
    "copy": _copy,
    "change": _change,
    "place": _place,
    "forge": _forge,
    "forge-root": _forge_root,
    "steal": _steal,
    "spare": _spare,
}
