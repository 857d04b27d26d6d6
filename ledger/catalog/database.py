"""The database of a catalog: SQLite in a file, or PostgreSQL by URL. Both give the same answers in the same order."""

import asyncio
import fcntl
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Index, Table, event, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from ledger import catalog
from ledger.catalog import CatalogError
from ledger.catalog.tables import metadata, position
from ledger.catalog.views import view_queries
from ledger.config import CatalogSection
from ledger.databases import BUSY_TIMEOUT_SECONDS
from ledger.databases.plain import is_passing, primary_code
from schemas.errors import InUseError, TemporaryError

__all__ = ["Connection", "Database", "Transaction"]

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile("[a-z_][a-z0-9_]{0,40}")
_CACHE_KIB = 131_072
_NO_RIGHTS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_READS, _WRITES = "BEGIN", "BEGIN IMMEDIATE"
"""How transactions begin in SQLite: who reads first and writes later would be refused if another wrote meanwhile."""
_DIALECTS = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_OPTIONS = frozenset({"ssl"})
"""What may stand behind the `?` of a URL: no password, which would be printed with it."""
_PASSING = ("08", "0A", "40", "42P01", "53", "55", "57")
"""Classes of SQLSTATE that a retry may cure: connection, a catalog that was replaced meanwhile (0A, 42P01), rollback,
resources, locks, intervention of an operator."""


class CatalogUnavailableError(CatalogError, TemporaryError):
    """The database of a catalog does not answer, or is locked or full."""


class NoSuchTextError(CatalogError):
    """A text that was asked for is none that a record could have."""


class Database:
    """One catalog. Make it with `sqlite_catalog` or `postgresql_catalog`; then `open` it.

    Attributes:
        name: for messages.
        path: the file; None: it is in PostgreSQL.
        schema: the schema in PostgreSQL.
    """

    def __init__(self, url: URL, name: str, *, path: Path | None, schema: str, writes: bool) -> None:
        self.name = name
        self.path = path
        self.schema = schema
        self._url = url
        self._writes = writes
        self._engine: AsyncEngine | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether the catalog is a file."""
        return self.path is not None

    def beside(self, what: str = "new") -> "Database":
        """The place for another catalog of the same ledger, not opened. `what` says for what: `new` replaces this."""
        path = None if self.path is None else self.path.with_name(f"{self.path.name}.{what}")
        if path is not None:
            return sqlite_catalog(path, writes=True)
        return Database(self._url, f"{self.name}, {what}", path=None, schema=f"{self.schema}_{what}", writes=True)

    async def open(self) -> None:
        """Make the engine; nothing is read yet.

        Raises:
            CatalogError: the driver is not installed.
        """
        try:
            if self.is_sqlite:
                self._engine = create_async_engine(self._url, pool_size=1)
                event.listen(self._engine.sync_engine, "connect", self._connected)
                event.listen(self._engine.sync_engine, "begin", _begun)
            else:
                settings = {"search_path": self.schema, "TimeZone": "UTC"}
                self._engine = create_async_engine(
                    self._url,
                    pool_size=1,
                    isolation_level="REPEATABLE READ",
                    connect_args={"server_settings": settings, "timeout": BUSY_TIMEOUT_SECONDS},
                )
        except ModuleNotFoundError as error:
            raise CatalogError(
                f"{self.name}: the driver of PostgreSQL is not installed: pip install 'tuf-ledger[postgresql]'"
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def reserved(self) -> AsyncIterator[None]:
        """Hold the place of this catalog for who makes one there, until the end. The catalog need not be open.

        Raises:
            InUseError: somebody else holds it.
            CatalogError: errors of the database.
        """
        async with AsyncExitStack() as closing:
            if self.path is None:
                is_held = await self._hold_schema(closing)
            else:
                is_held = await asyncio.to_thread(_hold_file, closing, self.path.with_name(f"{self.path.name}.lock"))
            if not is_held:
                raise InUseError(f"another process makes a catalog in {self.name}: wait until it has ended")
            yield

    async def _hold_schema(self, closing: AsyncExitStack) -> bool:
        """Take a lock that lasts as long as a connection of its own; False: somebody else has it."""
        other = Database(self._url, self.name, path=None, schema=self.schema, writes=True)
        await other.open()
        closing.push_async_callback(other.close)
        if other._engine is None:
            raise AssertionError("it was opened")
        with self._translated():
            connection = await closing.enter_async_context(other._engine.connect())
            await connection.execution_options(isolation_level="AUTOCOMMIT")  # no transaction lasts as long
            return bool(await connection.scalar(select(func.pg_try_advisory_lock(self._lock_of("place")))))

    async def run(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that reads, in a transaction that sees one state of the catalog. It waits for nobody.

        Raises:
            CatalogError: errors of the database.
        """
        async with self._transaction(_READS) as transaction:
            return await transaction.run(function, *args, **kwargs)

    def transaction(self) -> AbstractAsyncContextManager["Transaction"]:
        """One transaction that writes: committed at the end, or undone by an exception. It waits for others that write.

        Raises:
            CatalogError: errors of the database.
        """
        return self._transaction(_WRITES)

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator["Transaction"]:
        if self._engine is None:
            raise RuntimeError("the catalog is not open")
        with self._translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(begin=begin)
                waits = begin == _WRITES and not self.is_sqlite
                if waits:  # with a snapshot of its own for each statement, so that the next one sees what others wrote
                    await connection.execution_options(isolation_level="READ COMMITTED")
                async with connection.begin():
                    if waits:
                        await connection.execute(select(func.pg_advisory_xact_lock(self._lock_of("catalog"))))
                    yield Transaction(self, connection)

    def _lock_of(self, what: str) -> int:
        """The number of a lock in one PostgreSQL database: `catalog` is held by who writes into the schema, `place` by
        who makes a catalog there.
        """
        return int.from_bytes(sha256(f"tuf-ledger {what} {self.schema}".encode()).digest()[:8], "big", signed=True)

    def _connected(self, connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says so, also those that only read
        cursor = connection.cursor()
        pragmas = [f"busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}", f"cache_size = -{_CACHE_KIB}", "temp_store = FILE"]
        if self._writes:
            pragmas += ["journal_mode = WAL", f"synchronous = {catalog.SYNCHRONOUS}"]
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def _translated(self) -> "_Translated":
        return _Translated(self.name, self.path)


def _hold_file(closing: AsyncExitStack, path: Path) -> bool:
    """Take a lock on a file, which is created and stays; False: somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    closing.callback(os.close, file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Transaction:
    """What can be done in one transaction."""

    def __init__(self, database: Database, connection: AsyncConnection) -> None:
        self._database = database
        self._connection = connection

    async def run(self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function over the connection."""
        return await self._connection.run_sync(function, *args, **kwargs)

    async def insert(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, each with the values of all columns in the order of the table: as fast as the database can."""
        if not rows:
            return
        if self._database.is_sqlite:
            await self._execute_many("INSERT", table, rows)
        else:
            await (await self._driver()).copy_records_to_table(
                table.name,
                schema_name=self._database.schema,
                records=rows,
                columns=[each.name for each in table.columns],
            )

    async def upsert(self, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows as `insert` does, but replace those with the same primary key."""
        if not rows:
            return
        if self._database.is_sqlite:
            await self._execute_many("INSERT OR REPLACE", table, rows)
            return
        keys = [column.name for column in table.primary_key]
        marks = ", ".join(f"${place}" for place in range(1, len(table.columns) + 1))
        changed = ", ".join(f"{each.name} = EXCLUDED.{each.name}" for each in table.columns if each.name not in keys)
        statement = f"INSERT INTO {table.name} VALUES ({marks}) ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"  # noqa: S608
        await (await self._driver()).executemany(statement, rows)

    async def _execute_many(self, verb: str, table: Table, rows: Sequence[Sequence[Any]]) -> None:
        statement = f"{verb} INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"
        async with (await self._driver()).executemany(statement, rows):
            pass

    async def _driver(self) -> Any:
        driver = (await self._connection.get_raw_connection()).driver_connection
        if driver is None:
            raise RuntimeError("the connection is closed")
        return driver


class _Translated:
    """Turns errors of databases into errors for people."""

    def __init__(self, name: str, path: Path | None) -> None:
        self._name = name
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, CatalogError) or error is None:
            return
        found = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if _is_about_text(found):
            raise NoSuchTextError(
                f"{self._name}: it has no text with a NUL or with bytes that are not UTF-8, as was asked for"
            ) from error
        if isinstance(found, sqlite3.Error):
            passing = self._path is not None and is_passing(self._path, found)
        elif type(found).__module__.partition(".")[0] in {"asyncpg", "sqlalchemy"} or isinstance(found, OSError):
            passing = _is_disconnect(found) or _sqlstate(found).startswith(_PASSING)
        else:
            return
        # The driver's message may repeat the statement with its values, never the URL with its password.
        why = f"{self._name}: {str(found).splitlines()[0]}"
        if isinstance(found, sqlite3.Error) and not passing and primary_code(found) not in _NO_RIGHTS:
            why = f"{why}. A catalog holds nothing but what the logs say: delete this file, and it is made again"
        elif _sqlstate(found) == "42501":
            why = f"{why}. Who may only read asks while `tuf-ledger run catalog` keeps it up to date"
        raise (CatalogUnavailableError if passing else CatalogError)(why) from error


def _is_about_text(error: BaseException) -> bool:
    """Whether a text could not be handed to a database: only arguments can be so, and files that somebody found."""
    is_unencoded = isinstance(error, UnicodeEncodeError) or "surrogates not allowed" in str(error)
    return is_unencoded or _sqlstate(error) == "22021"


def _is_disconnect(error: BaseException) -> bool:
    """Whether the connection is gone, as the driver says it: without a SQLSTATE."""
    return isinstance(error, OSError) or (type(error).__name__ == "InterfaceError" and "closed" in str(error))


def _sqlstate(error: BaseException) -> str:
    return f"{getattr(error, 'sqlstate', '')}"


def _begun(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["begin"])


def catalog_of(section: CatalogSection, states: Path, *, writes: bool) -> Database:
    """The catalog of a ledger, not opened: in a database, or in a file in the folder of states.

    Raises:
        CatalogError: the URL or the name of the schema cannot be used.
    """
    if section.url:
        return postgresql_catalog(section.url, section.schema, writes=writes)
    return sqlite_catalog(states / catalog.FILE, writes=writes)


def sqlite_catalog(path: Path, *, writes: bool) -> Database:
    """The catalog in a file, not opened."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if writes else 'ro'}"
    # Not as text: parsing would decode it, and a path with % or # in it would change.
    url = URL.create("sqlite+aiosqlite", database=uri, query={"uri": "true"})
    return Database(url, str(path), path=path, schema="", writes=writes)


def postgresql_catalog(text_url: str, schema: str, *, writes: bool) -> Database:
    """The catalog in a schema of a PostgreSQL database, not opened.

    Raises:
        CatalogError: the URL or the name of the schema cannot be used.
    """
    try:
        url = make_url(text_url)
        url = url.set(drivername=_DIALECTS[url.drivername])
        if "@" in (url.host or "") or not 0 < (url.port or 1) < 2**16 or not url.query.keys() <= _OPTIONS:
            raise ValueError(text_url)
    except (ArgumentError, KeyError, ValueError):
        # Nothing of it is repeated, nor is the cause shown: it may hold a password.
        raise CatalogError(
            "[catalog] url must be `postgresql://USER@HOST:PORT/DATABASE`, or empty for a file. In a password, write @ "
            f"as %40. Behind a ? may stand {', '.join(sorted(_OPTIONS))}"
        ) from None
    if not _NAME.fullmatch(schema):
        raise CatalogError(f"[catalog] schema: {schema!r} must be of a-z, 0-9 and _, at most 41 of them")
    name = f"{url.set(password=None).render_as_string(hide_password=True)} (schema {schema})"
    return Database(url, name.replace("+asyncpg", ""), path=None, schema=schema, writes=writes)


async def replace(old: Database, new: Database) -> None:
    """Put one catalog in the place of another one, which others may have open; the first is gone afterwards. Neither
    is open here.

    Whoever fills the old one finds out with his next transaction. Whoever asks sees one of the two.

    Raises:
        CatalogError: errors of the database.
    """
    if old.path is not None and new.path is not None:
        if await asyncio.to_thread(_copy_over, new.path, old):
            await discard(new)
            return
        await discard(old)
        await asyncio.to_thread(new.path.replace, old.path)
        return
    await new.open()
    try:
        async with new.transaction() as transaction:
            await transaction.run(_rename_schema, new.schema, old.schema)
    finally:
        await new.close()


def _copy_over(source: Path, target: Database) -> bool:
    """Write one file over another with SQLite's own locks. To rename the file would leave others with one that nobody
    sees, and the old write-ahead log beside the new file. False if the other file is damaged, or no database.
    """
    if target.path is None:
        raise AssertionError("a file is copied over a file")
    with (
        _Translated(target.name, target.path),
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as one,
        closing(sqlite3.connect(target.path)) as other,
    ):
        try:
            other.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
            one.backup(other, pages=4096)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise
            return False
    return True


def _rename_schema(connection: Connection, new: str, old: str) -> None:
    connection.execute(text(f'DROP SCHEMA IF EXISTS "{old}" CASCADE'))
    connection.execute(text(f'ALTER SCHEMA "{new}" RENAME TO "{old}"'))


async def discard(database: Database) -> None:
    """Delete a catalog that is not open and that nobody else uses."""
    if database.path is not None:
        for name in ("", "-wal", "-shm", "-journal"):
            database.path.with_name(f"{database.path.name}{name}").unlink(missing_ok=True)
        return
    await database.open()
    try:
        async with database.transaction() as transaction:
            await transaction.run(_drop_schema, database.schema)
    finally:
        await database.close()


def _drop_schema(connection: Connection, schema: str) -> None:
    connection.execute(text(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'))


# --- the schema ------------------------------------------------------------------------------------------------------


def create_tables(connection: Connection, schema: str) -> None:
    """Create all tables and views, without their indexes; in PostgreSQL also their schema, if there is none."""
    if schema:
        connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table))
    for name, query in view_queries(connection.dialect.name).items():
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {query}")


def create_indexes(connection: Connection, indexes: Iterable[Index]) -> None:
    """Create indexes."""
    for index in indexes:
        connection.execute(CreateIndex(index))


def has_tables(connection: Connection) -> bool:
    """Whether the catalog was created."""
    return connection.dialect.has_table(connection, position.name)
