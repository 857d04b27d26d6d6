"""Reading offline roles: their versions, and the keys that they list."""

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from ledger.catalog.selecting import first_of, rows_of
from ledger.catalog.tables import documents, keys, publications, role_keys, role_versions, roles

FOUND_KEYS = 100
"""Number of keys that are looked at for the beginning of an id."""


class DocumentVersion(NamedTuple):
    """A version of an offline role, with the index of the ceremony that brought it into force."""

    idx: int
    role: str
    version: int
    sha256: bytes
    expires: str
    file: bytes


class KeyRow(NamedTuple):
    """A public key."""

    keyid: str
    scheme: str
    public: str


class KeyListing(NamedTuple):
    """That a ceremony lists a key for a role."""

    idx: int
    role: str
    keyid: str
    threshold: int


class SignedUnder(NamedTuple):
    """How much was signed under the roles of one ceremony: numbers of publications, and of versions of bins."""

    roles_idx: int
    publications: int
    bins: int


def document_version(connection: Connection, role: str, version: int) -> DocumentVersion | None:
    """A version of an offline role."""
    query = select(documents).where(documents.c.role == role, documents.c.version == version)
    return first_of(connection, DocumentVersion, query)


def documents_up_to(connection: Connection, size: int) -> list[DocumentVersion]:
    """The versions of offline roles of all accepted ceremonies up to a size, in order."""
    query = select(documents).where(documents.c.idx < size)
    return rows_of(connection, DocumentVersion, query.order_by(documents.c.idx, documents.c.role))


def document_in_force(connection: Connection, role: str, index: int) -> DocumentVersion | None:
    """The version of an offline role that is in force after the ceremony at an index."""
    query = select(documents).where(documents.c.role == role, documents.c.idx <= index)
    return first_of(connection, DocumentVersion, query.order_by(documents.c.idx.desc()))


def documents_of(connection: Connection, role: str) -> list[DocumentVersion]:
    """All versions of an offline role, in order."""
    query = select(documents).where(documents.c.role == role).order_by(documents.c.idx)
    return rows_of(connection, DocumentVersion, query)


def document_with_digest(connection: Connection, sha256: bytes) -> DocumentVersion | None:
    """The version of an offline role whose file has a digest."""
    return first_of(connection, DocumentVersion, select(documents).where(documents.c.sha256 == sha256))


def keys_beginning(connection: Connection, text: str) -> list[KeyRow]:
    """The keys whose id begins with a text, in order."""
    query = select(keys).where(keys.c.keyid >= text, keys.c.keyid < f"{text}g")  # ids are hexadecimal
    return rows_of(connection, KeyRow, query.order_by(keys.c.keyid).limit(FOUND_KEYS))


def listings_of(connection: Connection, keyid: str) -> list[KeyListing]:
    """The ceremonies that list a key, in order."""
    query = select(role_keys.c.idx, role_keys.c.role, role_keys.c.keyid, role_keys.c.threshold)
    return rows_of(
        connection, KeyListing, query.where(role_keys.c.keyid == keyid).order_by(role_keys.c.idx, role_keys.c.role)
    )


def ceremonies_with(connection: Connection, role: str) -> list[int]:
    """The indices of the ceremonies that brought a version of an offline role, in order."""
    query = select(documents.c.idx).where(documents.c.role == role).order_by(documents.c.idx)
    return list(connection.execute(query).scalars())


def signed_under(connection: Connection) -> list[SignedUnder]:
    """How much was signed under each ceremony's roles, in order."""
    table = publications
    query = select(table.c.roles_idx, func.count(), func.sum(table.c.signed)).group_by(table.c.roles_idx)
    return [SignedUnder(*map(int, row)) for row in connection.execute(query.order_by(table.c.roles_idx))]


def signed_roles(connection: Connection) -> list[tuple[int, str]]:
    """The roles of which publications signed versions: number and name."""
    return [(row.id, row.name) for row in connection.execute(select(roles.c.id, roles.c.name).order_by(roles.c.id))]


def signatures_of(connection: Connection, role: int, first: int, end: int) -> list[bytes]:
    """The packed signatures of a role, given by its number, in the publications from one number to below another."""
    table = role_versions
    query = select(table.c.signatures).where(table.c.role == role, table.c.number >= first, table.c.number < end)
    return list(connection.execute(query).scalars())


def publications_under(connection: Connection, roles_idx: int) -> tuple[int, int]:
    """The first and the last publication under the roles of a ceremony."""
    table = publications
    query = select(func.min(table.c.number), func.max(table.c.number)).where(table.c.roles_idx == roles_idx)
    first, last = connection.execute(query).one()
    return first, last


def keys_touched(connection: Connection, index: int) -> set[str]:
    """The keys that the ceremony at an index lists, and those that the one before listed: whom it may concern."""
    before = select(func.max(role_keys.c.idx)).where(role_keys.c.idx < index).scalar_subquery()
    query = select(role_keys.c.keyid).where((role_keys.c.idx == index) | (role_keys.c.idx == before))
    return set(connection.execute(query).scalars())
