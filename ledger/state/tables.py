"""The tables of a state file, and the version of their layout."""

from ledger.state.disk import Connection

FORMAT = 9
"""Version of the file's layout and sizes. A state file with another version is deleted and rebuilt."""

SCHEMA = """
CREATE TABLE format (number INTEGER NOT NULL);
CREATE TABLE position (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    number INTEGER NOT NULL, digest TEXT NOT NULL, time TEXT NOT NULL, size INTEGER NOT NULL,
    content_size INTEGER NOT NULL, content_token INTEGER NOT NULL, last_event TEXT NOT NULL,
    events_token INTEGER NOT NULL,
    next_record INTEGER NOT NULL, publications_token INTEGER NOT NULL,
    prefix BLOB NOT NULL, crc32 INTEGER NOT NULL
);
CREATE TABLE reading (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    next_record INTEGER NOT NULL, digest TEXT NOT NULL, publications_token INTEGER NOT NULL, state BLOB NOT NULL,
    crc32 INTEGER NOT NULL
);
CREATE TABLE ceremonies (idx INTEGER NOT NULL, role TEXT NOT NULL, version INTEGER NOT NULL, file BLOB NOT NULL,
    PRIMARY KEY (idx, role)) WITHOUT ROWID;
CREATE TABLE aggregates (key TEXT PRIMARY KEY, header BLOB NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE chunks (key TEXT NOT NULL, lower TEXT NOT NULL, facts BLOB NOT NULL, body BLOB NOT NULL,
    html BLOB NOT NULL, crc32 INTEGER NOT NULL, PRIMARY KEY (key, lower));
CREATE TABLE pages (key TEXT PRIMARY KEY, file TEXT NOT NULL, mark BLOB NOT NULL, chunks BLOB NOT NULL,
    crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE seen (key TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE signing (id TEXT PRIMARY KEY, digest TEXT NOT NULL, idx INTEGER NOT NULL, size INTEGER, lock TEXT NOT NULL,
    released INTEGER, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX signing_held ON signing (size, idx) WHERE size IS NOT NULL AND released IS NULL;
CREATE INDEX signing_released ON signing (released) WHERE released IS NOT NULL;
CREATE TABLE waiting (name TEXT PRIMARY KEY, came INTEGER NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE withheld (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE roles (name TEXT PRIMARY KEY, version INTEGER NOT NULL, expires TEXT NOT NULL, length INTEGER NOT NULL,
    sha256 TEXT NOT NULL, mark BLOB NOT NULL, crc32 INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE publications (number INTEGER PRIMARY KEY, idx INTEGER NOT NULL, digest TEXT NOT NULL,
    time TEXT NOT NULL, size INTEGER NOT NULL, content_size INTEGER NOT NULL, signed INTEGER NOT NULL,
    snapshot_sha256 TEXT NOT NULL, timestamp_sha256 TEXT NOT NULL, stepped INTEGER NOT NULL);
CREATE INDEX publications_by_size ON publications (size);
CREATE INDEX publications_by_content_size ON publications (content_size);
CREATE TABLE judged (log TEXT NOT NULL, idx INTEGER NOT NULL, digest TEXT NOT NULL, kind TEXT NOT NULL,
    verdict TEXT NOT NULL, code TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (log, idx)) WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, number INTEGER NOT NULL,
    checked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE INDEX files_unchecked ON files (number) WHERE checked = 0;
CREATE TABLE differences (path TEXT PRIMARY KEY, sha256 TEXT NOT NULL, number INTEGER NOT NULL, problem TEXT NOT NULL,
    detail TEXT NOT NULL, is_now INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX differences_now ON differences (path) WHERE is_now = 1;
CREATE TABLE shown (path TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (path, sha256)) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
"""Statements that make the tables, each followed by a semicolon at the end of its line."""


def is_current(connection: Connection) -> bool:
    """Whether a file has this layout.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'format'").fetchall():
        return False
    return connection.execute("SELECT number FROM format").fetchall() == [(FORMAT,)]


def create(connection: Connection) -> None:
    """Create the tables in an empty file, in the transaction that is open.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute("INSERT INTO format VALUES (?)", (FORMAT,))


def copy(before: Connection, after: Connection) -> None:
    """Copy all rows into a file whose tables are empty, in the transaction that is open.

    Raises:
        sqlite3.DatabaseError: SQLite's errors.
    """
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'format'"
    for (table,) in before.execute(names).fetchall():
        rows = before.execute(f"SELECT * FROM {table}")  # noqa: S608
        marks = ", ".join("?" for _ in rows.description)
        after.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
