"""Everywhere that something occurs: a digest, a filename, a key, an actor, a credential, an event's id."""

import re
from collections.abc import AsyncIterator
from typing import NamedTuple

from consumers.catalog.asking import Asked
from consumers.catalog.event_answers import EventAnswer, find_events, merged
from consumers.catalog.keys import KeyAnswer, answer_key, find_key
from consumers.catalog.showing import RoleAnswer, TargetAnswer, find_targets, load_role
from consumers.catalog.standing import path_of
from ledger.catalog import ceremonies, publication_rows, states
from ledger.catalog.database import Connection
from ledger.catalog.event_rows import Wanted
from ledger.catalog.publication_rows import ChainRow
from ledger.catalog.states import UploadRow

_SHA256 = re.compile("(?:sha256:)?([0-9a-f]{64})")
_KEYID = re.compile("[0-9a-f]{8,64}")


class Beside(NamedTuple):
    """Files beside which something with a digest is served: core metadata (PEP 658) or provenance (PEP 740)."""

    what: str
    file: TargetAnswer


Found = KeyAnswer | RoleAnswer | ChainRow | TargetAnswer | Beside


def read_digest(text: str) -> bytes | None:
    """The SHA-256 that a text is, with or without `sha256:` before it."""
    found = _SHA256.fullmatch(text)
    return None if found is None else bytes.fromhex(found[1])


def find_things(connection: Connection, asked: Asked, text: str) -> list[Found]:
    """The keys, versions of roles, records of `publications`, and targets that a text names; no events."""
    found: list[Found] = []
    digest = read_digest(text)
    if _KEYID.fullmatch(text):
        found += [answer_key(connection, key) for key in find_key(connection, text)]
    if digest is not None:
        found += _with_digest(connection, asked, digest)
    for upload in states.uploads_named(connection, text):
        found += _of_upload(connection, asked, upload)
    return found


def _with_digest(connection: Connection, asked: Asked, digest: bytes) -> list[Found]:
    found: list[Found] = [*publication_rows.chain_records_with_digest(connection, digest)]
    document = ceremonies.document_with_digest(connection, digest)
    versions = [] if document is None else [(document.role, document.version)]
    versions += [(each.role, each.number) for each in publication_rows.versions_with_digest(connection, digest)]
    for role, version in versions:
        answer = load_role(connection, asked, role, version)
        if answer is not None:
            found.append(answer)
    for upload in states.uploads_of_bytes(connection, digest):
        found += _of_upload(connection, asked, upload)
    paths = {each.path for each in states.artifacts_of_bytes(connection, digest)}
    for path in sorted(paths):
        found += find_targets(connection, asked, path, digest.hex())
    return found


def _of_upload(connection: Connection, asked: Asked, upload: UploadRow) -> list[TargetAnswer]:
    return [each for each in find_targets(connection, asked, path_of(upload)) if each.event == upload.upload_idx]


def find_beside(connection: Connection, asked: Asked, digest: bytes) -> list[Beside]:
    """The files whose core metadata or provenance has a digest."""
    found = []
    for what, upload in states.uploads_beside(connection, digest):
        found += [Beside(what, each) for each in _of_upload(connection, asked, upload)]
    return found


async def find_mentions(
    asked: Asked, text: str, wanted: Wanted, *, late_days: float | None = None
) -> AsyncIterator[EventAnswer]:
    """The events that mention a text, the newest first, among those that are wanted: as their id or digest, as their
    actor or credential, as a file that they are about, or as an account or credential that they grant or revoke.
    """
    ways = [
        wanted._replace(event_id=text),
        wanted._replace(named=text),
        wanted._replace(actors=(text,)),
        wanted._replace(credentials=(text,)),
        wanted._replace(filename=text),
    ]
    digest = read_digest(text)
    if digest is not None:
        ways.append(wanted._replace(digest=digest))
        ways.append(wanted._replace(bytes_of_file=digest))
    streams = [
        find_events(asked, way, late_days=late_days)
        for way in ways
        if (wanted.actors in {(), way.actors}) and (wanted.credentials in {(), way.credentials})
    ]
    async for each in merged(streams):
        yield each
