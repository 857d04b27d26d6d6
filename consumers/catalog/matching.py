"""Metadata that was found somewhere, held against the log: is it what was published, and if not, what is it?"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import msgspec

from consumers.catalog.asking import Asked
from consumers.catalog.remaking import Remaking
from consumers.reading.trees import TOP_LEVEL, signed_of
from ledger.catalog import publication_rows
from ledger.catalog.ceremonies import (
    document_in_force,
    document_version,
    document_with_digest,
    documents_of,
    documents_up_to,
)
from ledger.catalog.database import Connection
from projections.metadata.forgeries import OLDER, Finding, Logged, classify, expiry_of, numbers_of, older
from projections.metadata.paths import TIMESTAMP, metadata_path
from projections.roles.history import History, PastCeremony

_MOST_KEPT = 16
"""How many publications are kept in memory. One of 65,536 bins takes some tens of megabytes."""

Named = tuple[str, int | None]
"""The role and the version that the name of a metadata file states; None: it states no version."""

_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class Match(NamedTuple):
    """What a metadata file is. `role` and `version` are those that the log has it as (empty, 0: it has not).

    `finding` is None if it is what the log has, and no newer version is in force.
    """

    role: str
    version: int
    finding: Finding | None


class Matcher:
    """Holds files against a catalog. Used by one task."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._history: History | None = None
        self._logged: dict[int, Logged | None] = {}
        self._known: dict[str, bool] = {}

    async def history(self) -> History:
        """Who could ever sign, by the whole log."""
        if self._history is None:
            self._history = History(await self._asked.database.run(_past_ceremonies))
        return self._history

    async def knows(self, role: str) -> bool:
        """Whether the log has a role of this name."""
        if role not in self._known:
            self._known[role] = await self._asked.database.run(_has_role, role)
        return self._known[role]

    async def match(self, role: str, version: int | None, data: bytes) -> Match:
        """Find out what a file is.

        Args:
            role: the role that its name states; empty: its name says nothing.
            version: the version that its name states; None: none.
            data: its bytes.
        """
        digest = sha256(data).digest()
        known = await self._asked.database.run(_with_digest, digest)
        same = [each for each in known if role in {"", each[0]} and version in {None, each[1]}]
        if same:
            name, number = same[-1]
            newest = version is None and role != ""
            finding = await self._asked.database.run(self._age, (name, number), data) if newest else None
            return Match(name, number, finding)
        if known:
            name, number = known[-1]
            which = f"number {number}" if await self._asked.database.run(_is_online, name) else f"{name} {number}"
            return Match(name, number, Finding("published", f"published as {which}, here under another name"))
        return Match("", 0, await self._classify(role, version, data))

    async def needed(self, number: int) -> set[Named]:
        """The metadata files that clients need of a publication."""
        return await self._asked.database.run(_needed, number)

    async def _classify(self, role: str, version: int | None, data: bytes) -> Finding:
        number = version if version is not None else min(numbers_of("", data), default=0)
        kind = (signed_of(data) or {}).get("_type")
        role = role or (kind if kind in TOP_LEVEL[:3] else "unknown")  # `targets` may be any role with targets
        path = TIMESTAMP if role == "timestamp" and version is None else metadata_path(role, number)
        logged = {}
        for each in numbers_of(path, data):
            if each not in self._logged:
                if len(self._logged) >= _MOST_KEPT:
                    self._logged.clear()
                self._logged[each] = await self._asked.database.run(_logged, each)
            found = self._logged[each]
            if found is not None:
                logged[each] = found
        return classify(path, data, await self.history(), logged)

    def _age(self, connection: Connection, name: tuple[str, int], data: bytes) -> Finding | None:
        """How old a version is that is served as the newest; None: it is the newest."""
        role, version = name
        if document_version(connection, role, version) is not None:
            newest = document_in_force(connection, role, self._asked.size)
            if newest is None or newest.version == version:
                return None
            return Finding("older", f"{OLDER}, which is {role} {newest.version}; valid until {expiry_of(data)}")
        following = publication_rows.version_after(connection, role, version)
        if following is None:
            return None
        return older(publication_rows.count_from(connection, following), expiry_of(data))


def _with_digest(connection: Connection, digest: bytes) -> list[tuple[str, int]]:
    """The roles and versions that the log has with a SHA-256."""
    found = [(each.role, each.number) for each in publication_rows.versions_with_digest(connection, digest)]
    document = document_with_digest(connection, digest)
    return found if document is None else [*found, (document.role, document.version)]


def _needed(connection: Connection, number: int) -> set[Named]:
    row, snapshot = publication_rows.load_publication(connection, number), None
    if row is not None:
        snapshot = Remaking(connection).role_file("snapshot", number)
    if row is None or snapshot is None:
        return set()
    listed = msgspec.json.decode(snapshot.data)["signed"]["meta"]
    roots = [each for each in documents_of(connection, "root") if each.idx <= row.roles_idx]
    return {
        ("timestamp", None),
        ("snapshot", number),
        *((name.removesuffix(".json"), each["version"]) for name, each in listed.items()),
        *(("root", each.version) for each in roots),
    }


def _has_role(connection: Connection, role: str) -> bool:
    return _is_online(connection, role) or document_version(connection, role, 1) is not None


def _is_online(connection: Connection, role: str) -> bool:
    return publication_rows.version_after(connection, role, 0) is not None


def _logged(connection: Connection, number: int) -> Logged | None:
    rows = publication_rows.signed_versions(connection, number)
    if not rows:
        return None
    return Logged(number, {row.role: frozenset(each.hex() for each in _unpack(row.signatures) if each) for row in rows})


def _past_ceremonies(connection: Connection) -> Sequence[PastCeremony]:
    ceremonies: dict[int, dict[str, dict[str, object]]] = {}
    for each in documents_up_to(connection, 2**62):
        ceremonies.setdefault(each.idx, {})[each.role] = msgspec.json.decode(each.file)
    found = []
    for index, documents in sorted(ceremonies.items()):
        first = publication_rows.first_covering(connection, index)
        found.append(PastCeremony(index, documents, "" if first is None else first.time))
    return found
