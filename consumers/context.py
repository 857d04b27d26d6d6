"""A ledger's folder, opened: logs, state files, storage and keys as its configuration says."""

from pathlib import Path

from ledger.config import Config, ConfigError, load_config
from ledger.http import HttpStorage
from ledger.logs import Logs
from ledger.logs.sqlite import SqliteLog
from ledger.signers import Keyring
from ledger.storage import DirectoryStorage
from ledger.store import Store

KAFKA_SCHEME = "kafka://"
SQLITE_SCHEME = "sqlite:"


class Context:
    """What a command needs to know of one ledger."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        self.folder = folder
        self.config = load_config(folder) if config is None else config

    def logs(self) -> Logs:
        """The two logs, not opened.

        Raises:
            ConfigError: the URL names no kind of log.
        """
        url = self.config.ledger.log
        if url.startswith(SQLITE_SCHEME):
            base = self.folder / (url.removeprefix(SQLITE_SCHEME).removeprefix("//") or "log")
            return Logs(SqliteLog(base / "events.sqlite"), SqliteLog(base / "publications.sqlite"))
        raise ConfigError(f"[ledger] log is {url!r}; it must be `sqlite:FOLDER` or `kafka://HOST:PORT/PREFIX`")

    def path(self, setting: str) -> Path:
        """A path from the configuration."""
        return self.folder / setting

    @property
    def public(self) -> Path:
        """What is served."""
        return self.path(self.config.ledger.public)

    @property
    def state(self) -> Path:
        """The folder of state files."""
        return self.path(self.config.ledger.state)

    def store(self, name: str, *, read_only: bool = False) -> Store:
        """The state file of a consumer, not opened."""
        return Store(self.state / f"{name}.sqlite", read_only=read_only)

    def storage(self, name: str) -> DirectoryStorage:
        """The public folder, with a staging folder for one consumer beside it."""
        return DirectoryStorage(self.public, self.public.parent / f".{self.public.name}.staging-{name}")

    def served(self, setting: str) -> DirectoryStorage | HttpStorage:
        """Read access to what is served: a URL, a folder, or (empty) the public folder."""
        if setting.startswith(("http://", "https://")):
            return HttpStorage(setting)
        folder = self.path(setting) if setting else self.public
        return DirectoryStorage(folder, folder)

    def keyring(self) -> Keyring:
        """The online keys that we hold."""
        return Keyring(self.path(self.config.signer.keys), self.config.signer.uris)
