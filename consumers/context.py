"""A ledger's folder, opened: logs, state files, storage and keys, as its configuration names them."""

import asyncio
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from consumers.limits import LIMITS
from ledger.config import Config, ConfigError, load_config
from ledger.logs import Logs
from ledger.logs.sqlite import SqliteLog
from ledger.logs.urls import SQLITE_SCHEME, logs_at, read_kafka_url, security_of
from ledger.state.picking import state_path
from ledger.state.store import ReadingStore, Store
from ledger.storage import ServedFiles, Storage
from ledger.storage.directory import DirectoryStorage

# Clients of Kafka, HTTP and key services are imported where they are opened: only some commands need them.
if TYPE_CHECKING:
    from ledger.catalog.database import Database
    from ledger.http.fetching import HttpStorage
    from ledger.keys.keyring import Keyring

log = structlog.get_logger()


class Context:
    """One ledger as a command sees it. `limits` are those of all that is opened for it.

    Args:
        folder: the ledger's folder.
        config: the configuration; by default it is loaded from the folder.
        is_elsewhere: the logs are not those of the folder, so its states do not belong to them.
    """

    limits = LIMITS

    def __init__(self, folder: Path, config: Config | None = None, *, is_elsewhere: bool = False) -> None:
        self.folder = folder
        self.config = load_config(folder) if config is None else config
        self.is_elsewhere = is_elsewhere
        self._warned: set[tuple[str, str]] = set()
        self._fetching: weakref.WeakSet[HttpStorage] = weakref.WeakSet()

    def check_log(self) -> None:
        """Refuse a URL that names no log, before anything is created.

        Raises:
            ConfigError: the URL names no log.
        """
        if not self.config.ledger.log.startswith(SQLITE_SCHEME):
            read_kafka_url(self.config.ledger.log)

    def logs(self) -> Logs:
        """The two logs, not opened.

        Raises:
            ConfigError: the URL names no kind of log.
        """
        return logs_at(self.config.ledger.log, self.folder, self.config.kafka, self._warn_unchecked)

    def _warn_unchecked(self, what: str) -> None:
        """Warn that a setting of a log could not be checked, once for each consumer and setting."""
        consumer = structlog.contextvars.get_contextvars().get("consumer", "")
        if (consumer, what) not in self._warned:
            self._warned.add((consumer, what))
            log.warning("not checked: grant the missing right, or check this from another account", what=what)

    async def missing_logs(self) -> list[str]:
        """The names of the two logs that do not exist.

        Raises:
            LogError: see there.
        """
        logs = self.logs()
        if isinstance(logs.events, SqliteLog) and isinstance(logs.publications, SqliteLog):
            return [each.name for each in (logs.events, logs.publications) if await each.is_missing()]
        from ledger.logs.kafka.topics import missing_topics  # noqa: PLC0415

        topics, kafka = read_kafka_url(self.config.ledger.log), self.config.kafka
        names = {topics.events: logs.events.name, topics.publications: logs.publications.name}
        missing = await missing_topics(topics.servers, names, security_of(kafka), timeout_seconds=kafka.timeout_seconds)
        return [names[topic] for topic in missing]

    async def create_missing_logs(self, replication_factor: int) -> None:
        """Create those of the two logs that do not exist; what is on the other stays.

        Raises:
            LogError: see there.
        """
        logs = self.logs()
        if isinstance(logs.events, SqliteLog) and isinstance(logs.publications, SqliteLog):
            for each in (logs.events, logs.publications):
                if await each.is_missing():
                    await each.create()
                    await each.close()
            return
        await self._create_topics(replication_factor, accepts_used=True)

    async def create_logs(self, replication_factor: int) -> Logs:
        """Create the two logs and leave them open. Existing topics are used if they are empty.

        Raises:
            LogSettingsError: a log exists already and cannot be used.
        """
        logs = self.logs()
        if isinstance(logs.events, SqliteLog) and isinstance(logs.publications, SqliteLog):
            await logs.events.create()
            try:
                await logs.publications.create()
            except BaseException:
                await logs.events.discard()
                raise
            return logs
        await self._create_topics(replication_factor, accepts_used=False)
        await logs.open()
        return logs

    async def _create_topics(self, replication_factor: int, *, accepts_used: bool) -> None:
        from ledger.logs.kafka.topics import create_topics  # noqa: PLC0415

        topics, kafka = read_kafka_url(self.config.ledger.log), self.config.kafka
        await create_topics(
            *topics,
            replication_factor,
            security_of(kafka),
            timeout_seconds=kafka.timeout_seconds,
            accepts_used=accepts_used,
        )

    def path(self, setting: str) -> Path:
        """A path from the configuration."""
        return self.folder / setting

    @property
    def public(self) -> Path:
        """The public folder: its files are served."""
        return self.path(self.config.ledger.public)

    @property
    def evidence(self) -> Path:
        """The folder for what is withheld. It is not served.

        Raises:
            ConfigError: the folder is in the public one, or the other way round.
        """
        public, setting = self.public, self.config.ledger.evidence
        folder = self.path(setting) if setting else public.parent / f"{public.name}-evidence"
        inner, outer = folder.resolve(), public.resolve()
        if inner.is_relative_to(outer) or outer.is_relative_to(inner):
            raise ConfigError(f"[ledger] evidence: {folder} must be apart from {public}, which is served")
        return folder

    @property
    def state(self) -> Path:
        """The folder of state files."""
        return self.path(self.config.ledger.state)

    def may_write_states(self) -> bool:
        """Whether this user may create and change files in the folder of states."""
        folder = self.state if self.state.exists() else self.state.parent
        return os.access(folder, os.W_OK | os.X_OK)

    def store(self, name: str) -> Store:
        """The state of a consumer, not opened."""
        return Store(self._state_file(name))

    def reading_store(self, name: str) -> ReadingStore:
        """The state of a consumer to be read by others, not opened."""
        return ReadingStore(self._state_file(name))

    def _state_file(self, name: str) -> Path:
        return state_path(self.state, name)

    def catalog(self, *, writes: bool) -> "Database":
        """The catalog of the ledger's folder, not opened.

        Raises:
            CatalogError: the configured URL or schema cannot be used.
        """
        from ledger.catalog.database import catalog_of  # noqa: PLC0415

        return catalog_of(self.config.catalog, self.state, writes=writes)

    def private_catalog(self, ledger: str) -> "Database":
        """The catalog that this user keeps of a ledger, given by its identity, for lack of another: not opened."""
        from ledger.catalog.database import sqlite_catalog  # noqa: PLC0415

        folder = self.cache()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return sqlite_catalog(folder / f"{ledger}.sqlite", writes=True)

    def cache(self) -> Path:
        """The folder for what this user keeps and anybody can make again."""
        # Relative or empty, it is ignored: XDG Base Directory Specification, "Basics".
        cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (cache if cache.is_absolute() else Path.home() / ".cache") / "tuf-ledger"

    def storage(self, name: str) -> Storage:
        """What is served: the public folder; beside it are a staging folder for one consumer, and one for evidence."""
        staging = self.public.parent / f".{self.public.name}.staging-{name}"
        return DirectoryStorage(self.public, staging, evidence=self.evidence)

    @property
    def compares_with_own_folder(self) -> bool:
        """Whether the signer compares the log with a folder of this machine instead of the files that clients see."""
        return not is_url(self.config.signer.served)

    def served(self, setting: str) -> ServedFiles:
        """Read access to the served files: by URL, in a folder, or (empty setting) in the public folder."""
        if is_url(setting):
            from ledger.http.fetching import HttpStorage  # noqa: PLC0415

            source = HttpStorage(setting)
            self._fetching.add(source)
            return source
        folder = self.path(setting) if setting else self.public
        return DirectoryStorage(folder, folder)

    def give_up(self) -> None:
        """End all calls that wait for a server of served files. Until then, a thread that reads from one may block."""
        for source in list(self._fetching):
            source.give_up()

    async def read(self, served: ServedFiles, path: str) -> bytes | None:
        """Read a served file in a thread; when this is cancelled, the thread ends too."""
        try:
            return await asyncio.to_thread(served.read, path)
        except asyncio.CancelledError:
            self.give_up()
            raise

    def has_online_keys(self) -> bool:
        """Whether somebody here can sign: a key file is in the folder, or a key elsewhere is configured."""
        signer = self.config.signer
        return bool(signer.uris) or any(self.path(signer.keys).glob("*.pem"))

    def keyring(self) -> "Keyring":
        """The online keys that this machine holds."""
        from ledger.keys.keyring import Keyring  # noqa: PLC0415

        return Keyring(self.path(self.config.signer.keys), self.config.signer.uris)


def found_files(setting: str) -> tuple[ServedFiles, str]:
    """Read access to files of any repository, by URL or in a folder; and the name of the only one that is meant, if the
    text names a file. Nothing about them is trusted.

    Raises:
        ConfigError: there is no such folder or file.
    """
    path = Path(setting)
    if is_url(setting):
        from ledger.http.fetching import HttpStorage  # noqa: PLC0415

        above, _, name = setting.rpartition("/")
        return (HttpStorage(above), name) if name.endswith(".json") else (HttpStorage(setting), "")
    if not path.exists():
        raise ConfigError(f"{setting} is no URL, and no such folder or file exists")
    from ledger.storage.folder import FolderFiles  # noqa: PLC0415  # rarely needed

    return (FolderFiles(path), "") if path.is_dir() else (FolderFiles(path.parent), path.name)


def give_up(files: ServedFiles) -> None:
    """End all calls that wait for a server, so that no thread blocks. Nothing is read from it afterwards."""
    end = getattr(files, "give_up", None)
    if end is not None:
        end()


def working_storage(folder: Path) -> Storage:
    """Storage in a folder that is thrown away after a failure: the served files are in `folder / "tree"`."""
    return DirectoryStorage(folder / "tree", folder / "staging", durable=False)


def is_url(setting: str) -> bool:
    """Whether a setting names a server, and not a folder."""
    return setting.startswith(("http://", "https://"))
