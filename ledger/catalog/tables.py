"""The tables of a catalog, for both databases. docs/catalog.md explains them.

Intervals are in indices of the events log, from `from_idx` (inclusive) to `to_idx` (exclusive). Whatever a publication
shows is what holds at the index before its `content_size`.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    literal_column,
    text,
)
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine

metadata = MetaData()

OUTCOMES = ("accepted", "no effect", "rejected")
THERE, REMOVED, WITHHELD, FREED = range(4)
"""The states of files and of other targets. What is withheld is removed, too."""

# Text is compared by its bytes in both databases, so that both give the same answers in the same order.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
_BIG = BigInteger().with_variant(Integer(), "sqlite")
_SMALL = SmallInteger()
_BYTES = LargeBinary()


def _needed(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _maybe(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _numbered(name: str) -> Column[Any]:
    return Column(name, _BIG, primary_key=True, autoincrement=False)


def _table(name: str, *items: SchemaItem, clustered: bool = False) -> Table:
    """A table; a clustered one is stored in the order of its primary key."""
    return Table(name, metadata, *items, sqlite_with_rowid=not clustered)


# --- where the catalog stands ----------------------------------------------------------------------------------------

position = _table("position", Column("name", _TEXT, primary_key=True), _needed("value", _BYTES), clustered=True)
"""Named values: the format, the ledger's identity, and how far both logs were read."""

fold_aggregates = _table(
    "fold_aggregates", Column("key", _TEXT, primary_key=True), _needed("header", _BYTES), clustered=True
)
fold_chunks = _table(
    "fold_chunks",
    _needed("key", _TEXT),
    _needed("lower", _TEXT),
    _needed("facts", _BYTES),
    PrimaryKeyConstraint("key", "lower"),
    clustered=True,
)
"""What folding the next events needs: `projections.index.chunks`. For nobody else."""

# --- dictionaries ----------------------------------------------------------------------------------------------------

types = _table("types", _numbered("id"), _needed("name", _TEXT))
actors = _table("actors", _numbered("id"), _needed("kind", _TEXT), _needed("name", _TEXT))
credentials = _table("credentials", _numbered("id"), _needed("name", _TEXT))
subjects = _table("subjects", _numbered("id"), _needed("name", _TEXT))

# --- events ----------------------------------------------------------------------------------------------------------

events = _table(
    "events",
    _numbered("idx"),
    _needed("digest", _BYTES),
    _maybe("type", _BIG),
    _maybe("project", _BIG),
    _maybe("subject", _BIG),
    _maybe("time", _TEXT),
    _maybe("actor", _BIG),
    _maybe("credential", _BIG),
    _maybe("event_id", _TEXT),
    _maybe("incident", _TEXT),
    _needed("outcome", _SMALL),
    _maybe("code", _TEXT),
    _maybe("detail", _TEXT),
    _maybe("file", _BIG),
    _needed("remembered", _SMALL),
)
"""Every record. `type` and what follows are NULL where the record is no event. `outcome` is an index of `OUTCOMES`.
`remembered` is 1 where the id counts: plain uploads are idempotent without it.
"""

event_bodies = _table("event_bodies", _numbered("idx"), _needed("value", _BYTES))
"""The records themselves, but for accepted uploads, of which `files` says everything, and records without a value."""

unknown_files = _table("unknown_files", _numbered("idx"), _needed("filename", _TEXT))
"""Names of files that rejected events are about, and that no project ever had."""

tree_nodes = _table(
    "tree_nodes",
    _needed("level", _SMALL),
    _needed("n", _BIG),
    _needed("hash", _BYTES),
    PrimaryKeyConstraint("level", "n"),
    clustered=True,
)
"""Nodes of the Merkle tree of the events log: number `n` of those with 256^`level` leaves each, from level 1 on."""

log_positions = _table("log_positions", _numbered("idx"), _needed("token", _BIG))
"""Where the last record of each node of level 1 is in the events log: a token of the log, for nobody else."""

# --- projects, releases, files ---------------------------------------------------------------------------------------

projects = _table(
    "projects", _numbered("id"), _needed("name", _TEXT), _needed("json_hash", _BIG), _needed("html_hash", _BIG)
)
"""The hashes are those of the paths of the project's pages, as `path_hash` is."""

project_states = _table(
    "project_states",
    _needed("project", _BIG),
    _needed("from_idx", _BIG),
    _needed("to_idx", _BIG),
    _needed("status", _TEXT),
    _needed("reason", _TEXT),
    _needed("removed", _SMALL),
    PrimaryKeyConstraint("project", "from_idx"),
    clustered=True,
)
release_states = _table(
    "release_states",
    _needed("project", _BIG),
    _needed("key", _TEXT),
    _needed("from_idx", _BIG),
    _needed("to_idx", _BIG),
    _maybe("yanked", _TEXT),
    _maybe("quarantined", _TEXT),
    PrimaryKeyConstraint("project", "key", "from_idx"),
    clustered=True,
)
"""The flags of releases, where one is set. NULL: not set."""

files = _table(
    "files",
    _numbered("id"),
    _needed("project", _BIG),
    _needed("filename", _TEXT),
    _needed("version", _TEXT),
    _needed("release", _TEXT),
    _needed("length", _BIG),
    _needed("sha256", _BYTES),
    _needed("blake2b_256", _BYTES),
    _needed("time", _TEXT),
    _maybe("requires_python", _TEXT),
    _maybe("core_metadata_sha256", _BYTES),
    _maybe("provenance_sha256", _BYTES),
    _needed("legacy", _SMALL),
    _needed("rank", _BIG),
    _needed("upload_idx", _BIG),
    _needed("path_hash", _BIG),
)
"""Every accepted upload. `path_hash` is the first 4 bytes of the SHA-256 of the path: a bin is a range of it."""

file_states = _table(
    "file_states",
    _needed("file", _BIG),
    _needed("from_idx", _BIG),
    _needed("to_idx", _BIG),
    _needed("state", _SMALL),
    _maybe("yanked", _TEXT),
    PrimaryKeyConstraint("file", "from_idx"),
    clustered=True,
)
"""`state` is one of `THERE`, `REMOVED`, `WITHHELD`, `FREED`. `yanked` is the reason of the file's own yank."""

added_files = _table(
    "added_files",
    _needed("level", _SMALL),
    _needed("upload_idx", _BIG),
    _needed("first_idx", _BIG),
    PrimaryKeyConstraint("level", "upload_idx"),
    clustered=True,
)
"""The uploads that are not the first to their release, with the first one. `level` is the number of bits of how many
events lie in between.
"""

artifact_states = _table(
    "artifact_states",
    _needed("path", _TEXT),
    _needed("from_idx", _BIG),
    _needed("to_idx", _BIG),
    _needed("sha256", _BYTES),
    _needed("length", _BIG),
    _needed("state", _SMALL),
    _needed("path_hash", _BIG),
    PrimaryKeyConstraint("path", "from_idx"),
    clustered=True,
)
"""Targets that are neither pages nor distribution files. They are never freed."""

# --- access, holds, incidents ----------------------------------------------------------------------------------------

access = _table(
    "access",
    _numbered("idx"),
    _needed("act", _TEXT),
    _needed("kind", _TEXT),
    _maybe("account", _TEXT),
    _maybe("role", _TEXT),
    _maybe("credential", _TEXT),
    _maybe("project", _TEXT),
    _maybe("ended_idx", _BIG),
)
"""Accepted events about access, by index. `act` is granted, revoked or noted. A grant ends where one with the same
kind, account, role, credential and project is revoked.
"""

holds = _table(
    "holds",
    Column("event_id", _TEXT, primary_key=True),
    _needed("digest", _BYTES),
    _needed("idx", _BIG),
    _maybe("size", _BIG),
    _needed("lock", _TEXT),
    _maybe("released_idx", _BIG),
    clustered=True,
)
"""Remembered events about signing. `size` is what a hold holds; NULL: the event is a release."""

incidents = _table(
    "incidents",
    _needed("name", _TEXT),
    _needed("from_idx", _BIG),
    _needed("to_idx", _BIG),
    PrimaryKeyConstraint("name", "from_idx"),
    clustered=True,
)
"""When incidents were open."""

# --- roles and publications ------------------------------------------------------------------------------------------

documents = _table(
    "documents",
    _needed("idx", _BIG),
    _needed("role", _TEXT),
    _needed("version", _BIG),
    _needed("sha256", _BYTES),
    _needed("expires", _TEXT),
    _needed("file", _BYTES),
    PrimaryKeyConstraint("idx", "role"),
)
"""The offline roles, by the ceremony's event."""

keys = _table("keys", Column("keyid", _TEXT, primary_key=True), _needed("scheme", _TEXT), _needed("public", _TEXT))
role_keys = _table(
    "role_keys",
    _needed("idx", _BIG),
    _needed("role", _TEXT),
    _needed("keyid", _TEXT),
    _needed("threshold", _BIG),
    PrimaryKeyConstraint("idx", "role", "keyid"),
)
"""Which keys each accepted ceremony lists for which role. `bins` stands for the online roles of all bins."""

chain_records = _table(
    "chain_records",
    _numbered("record"),
    _needed("digest", _BYTES),
    _needed("kind", _TEXT),
    _maybe("number", _BIG),
    _needed("outcome", _SMALL),
    _maybe("code", _TEXT),
    _maybe("detail", _TEXT),
)
"""Every record of the publications log that was judged: claim, publication, or neither (an empty text)."""

publications = _table(
    "publications",
    _numbered("number"),
    _needed("record", _BIG),
    _needed("digest", _BYTES),
    _needed("claim_record", _BIG),
    _needed("time", _TEXT),
    _needed("effective_time", _TEXT),
    _needed("time_from", _TEXT),
    _needed("size", _BIG),
    _needed("root_hash", _TEXT),
    _needed("content_size", _BIG),
    _needed("roles_idx", _BIG),
    _needed("list_size", _BIG),
    _needed("list_time", _TEXT),
    _needed("signed", _BIG),
    _needed("signed_sha256", _BYTES),
    _needed("snapshot_length", _BIG),
)
"""Valid publications. The effective time is the least of a publication's own time and of all later ones. `time_from` is
that of its root, and `roles_idx` the ceremony in force. `list_size` is the content size of the list of projects that it
shows, and `list_time` when that list was made. `signed` bins were signed. `signed_sha256` is that of the signed part.
"""

roles = _table("roles", _numbered("id"), _needed("name", _TEXT))
role_versions = _table(
    "role_versions",
    _needed("role", _BIG),
    _needed("number", _BIG),
    _needed("sha256", _BYTES),
    _needed("signatures", _BYTES),
    PrimaryKeyConstraint("role", "number"),
    clustered=True,
)
"""What publications signed: bins and snapshots by the digest of the file; the signatures are packed as in the log."""

# --- indexes ---------------------------------------------------------------------------------------------------------


def _of_acts(*names: str) -> list[Column[Any]]:
    """What is counted of acts: an index that has it saves a look at the row of each of them."""
    return [events.c[name] for name in (*names, "type", "outcome")]


def beginning(digest: ColumnElement[bytes]) -> ColumnElement[bytes]:
    """The first bytes of a digest, as indexes have them: these are enough to find it, and take a fourth of the room."""
    return func.substr(digest, literal_column("1"), literal_column("8"))


INDEXES_TO_FILL = [
    Index("types_name", types.c.name, unique=True),
    Index("actors_name", actors.c.name, actors.c.kind, unique=True),
    Index("credentials_name", credentials.c.name, unique=True),
    Index("subjects_name", subjects.c.name, unique=True),
    Index("roles_name", roles.c.name, unique=True),
    Index("projects_name", projects.c.name, unique=True),
    Index("project_states_from", project_states.c.from_idx),
    Index("events_id", events.c.event_id),
    Index("files_project", files.c.project, files.c.filename),
    Index("files_name", files.c.filename),
    Index("publications_shown", publications.c.content_size, publications.c.number),
    Index("publications_roles", publications.c.roles_idx, publications.c.number),
    Index("publications_size", publications.c.size, publications.c.number),
    Index("chain_records_digest", chain_records.c.digest),
]
"""Those that filling itself needs."""

INDEXES = [
    Index("projects_json_hash", projects.c.json_hash),
    Index("projects_html_hash", projects.c.html_hash),
    Index("events_project", events.c.project, events.c.idx, *_of_acts("actor", "credential")),
    Index("events_subject", events.c.subject, events.c.idx, sqlite_where=text("subject IS NOT NULL")),
    Index("events_type", events.c.type, events.c.idx),
    Index("events_actor", events.c.actor, events.c.idx, *_of_acts("credential")),
    Index("events_credential", events.c.credential, events.c.idx, *_of_acts("actor")),
    Index("events_file", events.c.file, events.c.idx),
    Index(
        "events_odd",
        events.c.outcome,
        events.c.idx,
        sqlite_where=text("outcome > 0"),
        postgresql_where=text("outcome > 0"),
    ),
    Index(
        "events_incident",
        events.c.incident,
        events.c.idx,
        sqlite_where=text("incident IS NOT NULL"),
        postgresql_where=text("incident IS NOT NULL"),
    ),
    Index("events_digest", events.c.digest),
    Index("unknown_files_name", unknown_files.c.filename),
    Index("files_release", files.c.project, files.c.release, files.c.upload_idx),
    Index(
        "files_attested",
        files.c.project,
        files.c.upload_idx,
        sqlite_where=text("provenance_sha256 IS NOT NULL"),
        postgresql_where=text("provenance_sha256 IS NOT NULL"),
    ),
    Index("files_sha256", files.c.sha256),
    *[
        Index(
            f"files_{name}",
            beginning(files.c[name]),
            sqlite_where=text(f"{name} IS NOT NULL"),
            postgresql_where=text(f"{name} IS NOT NULL"),
        )
        for name in ("core_metadata_sha256", "provenance_sha256")
    ],
    Index("files_upload", files.c.upload_idx),
    Index("files_path_hash", files.c.path_hash),
    Index("artifact_states_hash", artifact_states.c.path_hash),
    Index("artifact_states_from", artifact_states.c.from_idx),
    Index("artifact_states_sha256", artifact_states.c.sha256),
    Index("file_states_from", file_states.c.from_idx),
    Index("access_account", access.c.account),
    Index("access_credential", access.c.credential),
    Index("access_project", access.c.project),
    Index("holds_size", holds.c.size),
    Index("documents_role", documents.c.role, documents.c.version),
    Index("publications_effective", publications.c.effective_time, publications.c.number),
    Index("role_versions_sha256", role_versions.c.sha256),
]
"""The others: they are made when a catalog that is made from nothing has reached the end of the log."""
