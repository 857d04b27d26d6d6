"""Everything that each publication served, read naively; shares no code with `consumers.incidents`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.fuzz.plain_answers import Accepted

Signed = dict[str, Any]
Files = Mapping[str, bytes]


class PlainFrozen(NamedTuple):
    """What a client needs to be shown a target: the expiry of each file, the least of these, and who signed what."""

    until: str
    online: dict[str, tuple[int, tuple[str, ...]]]


@dataclass
class PlainTree:
    """What one publication served: targets by path, the pages' files, and the chain of metadata of each target."""

    number: int
    targets: dict[str, tuple[str, int]] = field(default_factory=dict)
    shown: set[tuple[str, str, str]] = field(default_factory=set)
    frozen: dict[str, PlainFrozen] = field(default_factory=dict)


def read_tree(number: int, files: Files, timestamp: bytes, root: Signed) -> PlainTree:
    """What a client finds that starts at the timestamp of a publication: every bin, every page."""
    tree = PlainTree(number)
    snapshot, signers = _load(files[f"metadata/{number}.snapshot.json"])
    stamp, stamp_signers = _load(timestamp)
    versions = {name.removesuffix(".json"): each["version"] for name, each in snapshot["meta"].items()}
    offline = {role: _load(files[f"metadata/{versions[role]}.{role}.json"])[0] for role in ("targets", "bins")}
    expiries = [stamp["expires"], snapshot["expires"], root["expires"], *(each["expires"] for each in offline.values())]
    for role in _bins(offline["bins"]["delegations"]):
        listed, bin_signers = _load(files[f"metadata/{versions[role]}.{role}.json"])
        online = {
            role: (versions[role], bin_signers),
            "snapshot": (number, signers),
            "timestamp": (number, stamp_signers),
        }
        for path, target in listed["targets"].items():
            tree.targets[path] = target["hashes"]["sha256"], target["length"]
            tree.frozen[path] = PlainFrozen(min([*expiries, listed["expires"]]), online)
    for path, (digest, _) in tree.targets.items():
        folder, _, name = path.rpartition("/")
        if name == "index.json" and folder != "simple":
            page = json.loads(files[f"targets/{folder}/{digest}.{name}"])
            tree.shown |= {(page["name"], each["filename"], each["hashes"]["sha256"]) for each in page["files"]}
    return tree


def root_at(size: int, accepted: Iterable[Accepted]) -> Signed:
    """The root in force at a size of the log."""
    ceremonies = [each.document["data"]["roles"] for each in accepted if each.document["type"] == "roles.signed.v1"]
    indices = [each.at for each in accepted if each.document["type"] == "roles.signed.v1"]
    roots = [
        roles["root"]["signed"] for at, roles in zip(indices, ceremonies, strict=True) if at < size and "root" in roles
    ]
    found: Signed = roots[-1]
    return found


def _load(file: bytes) -> tuple[Signed, tuple[str, ...]]:
    document = json.loads(file)
    return document["signed"], tuple(each["keyid"] for each in document["signatures"])


def _bins(delegations: Signed) -> list[str]:
    succinct = delegations.get("succinct_roles")
    if succinct is None:
        return [each["name"] for each in delegations["roles"]]
    count = 1 << succinct["bit_length"]
    digits = len(f"{count - 1:x}")
    return [f"{succinct['name_prefix']}-{index:0{digits}x}" for index in range(count)]
