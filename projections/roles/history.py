"""Who could ever sign: every key of every root on the log, with the roots between which it was in a role.

It answers one question about a signature that the log does not have: whose key made it, and when that key counted.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Literal

import msgspec
from securesystemslib.signer import SSlibKey

from projections.roles.keys import read_keys
from schemas import canonical

Duty = Literal["online", "root", "targets", "bins"]
"""What a key signs: timestamp, snapshot and bins (`online`), or the offline role of that name."""


class PastCeremony(msgspec.Struct, frozen=True):
    """An accepted ceremony: the index of its event, its documents by role, and when it was first published.

    `time` is that of the first publication under the ceremony's roles; empty if there is none, or if it is not known.
    """

    index: int
    documents: Mapping[str, dict[str, Any]]
    time: str = ""


class Stay(msgspec.Struct, frozen=True):
    """A key's time on a duty: the root with which it began, and the root with which it ended (None: it lasts)."""

    duty: Duty
    since: str
    until: str | None = None

    def __str__(self) -> str:
        """Such as `online since root 1 of 2031-01-01T00:00:00Z, until root 2`."""
        what = self.duty if self.duty == "online" else f"signs {self.duty}"
        return f"{what} since {self.since}" + ("" if self.until is None else f", until {self.until}")


class Quorum(msgspec.Struct, frozen=True):
    """A set of keys that was in force for a duty, and how many of them had to sign."""

    duty: Duty
    keyids: frozenset[str]
    threshold: int


class History:
    """All keys of a ledger and their stays, all quorums, and all offline documents that its log put in force."""

    def __init__(self, ceremonies: Iterable[PastCeremony]) -> None:
        self.keys: dict[str, SSlibKey] = {}
        self.stays: dict[str, list[Stay]] = {}
        self.quorums: list[Quorum] = []
        self.documents: dict[str, tuple[str, int]] = {}
        """Role and version of each document by the SHA-256 of what its signatures cover."""
        self.signatures: dict[tuple[str, int], frozenset[str]] = {}
        """The signatures of each document, by role and version."""
        self._current: dict[Duty, frozenset[str]] = {}
        in_force: dict[str, dict[str, Any]] = {}
        for ceremony in ceremonies:
            for role, document in ceremony.documents.items():
                signed = document["signed"]
                version = signed["version"]
                self.documents[sha256(canonical.encode_for_signing(signed)).hexdigest()] = (role, version)
                self.signatures[role, version] = frozenset(each["sig"] for each in document["signatures"])
                in_force[role] = signed
            self._enter(in_force, ceremony.time)

    def _enter(self, in_force: Mapping[str, dict[str, Any]], time: str) -> None:
        root, targets = in_force["root"], in_force["targets"]
        name = f"root {root['version']}" + (f" of {time}" if time else "")
        self.keys.update(read_keys(root["keys"]))
        self.keys.update(read_keys(targets["delegations"]["keys"]))
        roles: dict[Duty, Any] = {
            "online": root["roles"]["timestamp"],
            "root": root["roles"]["root"],
            "targets": root["roles"]["targets"],
            "bins": targets["delegations"]["roles"][0],
        }
        for duty, role in roles.items():
            quorum = Quorum(duty, frozenset(role["keyids"]), role["threshold"])
            if quorum not in self.quorums:
                self.quorums.append(quorum)
            before = self._current.get(duty, frozenset())
            for keyid in sorted(quorum.keyids - before):
                self.stays.setdefault(keyid, []).append(Stay(duty, name))
            for keyid in before - quorum.keyids:
                self.stays[keyid] = [_ended(each, duty, name) for each in self.stays[keyid]]
            self._current[duty] = quorum.keyids

    def is_online(self, keyid: str) -> bool:
        """Whether a key is online now."""
        return keyid in self._current.get("online", frozenset())

    def describe(self, keyid: str) -> str:
        """A key id with all stays of that key."""
        return f"{keyid} ({'; '.join(map(str, self.stays[keyid]))})"


def _ended(stay: Stay, duty: Duty, until: str) -> Stay:
    return Stay(stay.duty, stay.since, until) if stay.duty == duty and stay.until is None else stay
