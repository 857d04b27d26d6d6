"""What a ceremony has begun: noted before anything is appended, so that the same command goes on, whatever ended it."""

from hashlib import sha256
from pathlib import Path

import msgspec

from ledger.config import ConfigError
from ledger.disk.files import writing
from ledger.disk.syncing import sync_file, sync_folder
from projections.roles.authority import Authority

_NAME = "unfinished-ceremony.json"


class Unfinished(msgspec.Struct, frozen=True):
    """A ceremony that was begun.

    `asked` are its options; `online`, the id of the key that it made (empty: none); `roots`, the SHA-256 of each root
    that it has signed, in order, whether or not the log has it.
    """

    asked: dict[str, str]
    online: str = ""
    roots: tuple[str, ...] = ()

    def signed(self, root: bytes) -> "Unfinished":
        """The same, with one more root."""
        return msgspec.structs.replace(self, roots=(*self.roots, sha256(root).hexdigest()))

    def appended(self, end: Authority) -> int:
        """How many of its roots are on the log; 0 also if another root came after them."""
        digest = sha256(end.root.file).hexdigest()
        return self.roots.index(digest) + 1 if digest in self.roots else 0


def load_unfinished(keys: Path) -> Unfinished | None:
    """The ceremony that was begun last with this folder of keys, if it was not finished.

    Raises:
        ConfigError: the note cannot be read.
    """
    path = keys / _NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Unfinished)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read. It says what an interrupted ceremony had begun: compare the last root on the log "
            "(`tuf-ledger info`) with what you wanted, and delete the file"
        ) from error


def note_unfinished(keys: Path, begun: Unfinished | None) -> None:
    """Note what a ceremony has begun, durably, or that it is finished (None).

    Raises:
        StorageError: the note cannot be written; the old one stays.
    """
    path = keys / _NAME
    new = path.with_name(f"{_NAME}.new")
    with writing(path):
        if begun is None:
            path.unlink(missing_ok=True)
            return
        try:
            new.write_bytes(msgspec.json.encode(begun))
            sync_file(new)
            new.replace(path)
            sync_folder(keys)
        finally:
            new.unlink(missing_ok=True)
