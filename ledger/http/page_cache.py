"""Pages of other servers, kept with what it takes to ask whether they have changed (RFC 9110, section 13)."""

import hashlib
import zlib
from pathlib import Path

import msgspec

from ledger.disk.files import new_path, writing


class KeptPage(msgspec.Struct, frozen=True):
    """A page as it was answered: its address after redirects, its media type, and by what to know it again."""

    url: str
    content_type: str
    etag: str
    last_modified: str
    body: bytes = b""


_decoder = msgspec.msgpack.Decoder(KeptPage)


class PageCache:
    """Pages in a folder, one file each, by the address that was asked for and what was accepted.

    What cannot be read is not there: it is fetched again. The folder is for this user alone: a page may be private.

    Raises:
        StorageError: a page cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str, accept: str) -> KeptPage | None:
        """A kept page; None if there is none."""
        path = self._path(url, accept)
        try:
            return _decoder.decode(zlib.decompress(path.read_bytes()))
        except (OSError, zlib.error, msgspec.MsgspecError):
            return None

    def put(self, url: str, accept: str, page: KeptPage) -> None:
        """Keep a page, over an older one."""
        path = self._path(url, accept)
        with writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = Path(new_path(path.parent))
            new.write_bytes(zlib.compress(msgspec.msgpack.encode(page), 1))
            new.replace(path)

    def _path(self, url: str, accept: str) -> Path:
        name = hashlib.sha256(f"{accept}\n{url}".encode()).hexdigest()
        return self._folder / name[:2] / name[2:]
