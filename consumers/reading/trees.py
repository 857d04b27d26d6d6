"""Reading the metadata of any TUF repository: a folder or a server, a mirror or the cache of a client.

Nothing is verified here, and nothing is trusted: every file is bounded, and so is the number of files. Names of roles
come from the metadata itself, so they are quoted as clients quote them, and name nothing outside.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from ledger.disk.files import StorageError
from ledger.storage import ServedFiles
from projections.metadata.facts import FactsError
from schemas.errors import NegativeAnswerError

MOST_BYTES = 16 * 2**20
"""Length of the longest metadata file that is read; python-tuf's client reads 5 MB at most."""
MOST_ROLES = 2**17
"""Number of roles that a snapshot may list: twice as many as there are bins."""
MOST_ROOTS = 10_000

FOLDERS = ("metadata/", "")
"""Where the metadata of a repository is: in the folder `metadata`, or where the URL points."""

TOP_LEVEL = ("root", "timestamp", "snapshot", "targets")

_NAME = re.compile(r"(?:([0-9]{1,18})\.)?(.+)\.json", re.DOTALL)


class NoMetadataError(NegativeAnswerError):
    """There is no TUF metadata in a place."""


class MetadataFile(NamedTuple):
    """A metadata file: the role and the version that its name states (None: it states none), and its bytes."""

    path: str
    role: str
    version: int | None
    data: bytes


class MetadataTree:
    """The metadata of a repository. Methods block.

    Raises:
        StorageError, FactsError: a file cannot be read, or is no metadata.
    """

    def __init__(self, files: ServedFiles, name: str) -> None:
        self.name = name
        self._files = files
        self._folder = ""
        for folder in FOLDERS:
            if any(files.read(f"{folder}{each}") for each in ("timestamp.json", "1.root.json", "root.json")):
                self._folder = folder
                return
        raise NoMetadataError(f"{name} has no timestamp.json, 1.root.json or root.json, so there is no TUF metadata")

    def find(self, role: str, version: int | None) -> MetadataFile | None:
        """A version of a role: under the name of consistent snapshots, or under its plain name."""
        plain = f"{quote(role, safe='')}.json"
        for name, number in ((f"{version}.{plain}", version), (plain, None)):
            data = self._files.read(f"{self._folder}{name}") if name != f"None.{plain}" else None
            if data is not None:
                if len(data) > MOST_BYTES:
                    raise StorageError(f"{self.name}: {name} is longer than {MOST_BYTES:,} bytes, as no metadata is")
                return MetadataFile(f"{self._folder}{name}", role, number, data)
        return None

    def roots(self) -> Iterator[MetadataFile]:
        """All roots in their order, or the only one that there is."""
        first = self._first_root()
        for version in range(first, first + MOST_ROOTS):
            root = self.find("root", version)
            if root is None:
                return
            yield root
            if root.version is None:
                return

    def _first_root(self) -> int:
        """The version of the first root that is there; 1 where nobody can list files."""
        named = (read_name(path) for path in self._files.paths(self._folder.rstrip("/")) or ())
        return min((each[1] for each in named if each is not None and each[0] == "root" and each[1]), default=1)

    def versions(self) -> dict[str, int]:
        """The versions of the targets roles that the snapshot lists, by role."""
        snapshot = self.current("snapshot")
        meta = {} if snapshot is None else read_signed(snapshot).get("meta")
        if not isinstance(meta, dict) or len(meta) > MOST_ROLES:
            raise FactsError(f"{self.name}: the snapshot lists no roles, or more than {MOST_ROLES:,}")
        return {name.removesuffix(".json"): version_of(each) for name, each in meta.items()}

    def current(self, role: str) -> MetadataFile | None:
        """The newest version of a top-level role, as timestamp and snapshot say."""
        if role == "root":
            return max(self.roots(), key=lambda root: version_of(read_signed(root)), default=None)
        if role == "timestamp":
            return self.find(role, None)
        if role == "snapshot":
            timestamp = self.find("timestamp", None)
            listed = {} if timestamp is None else read_signed(timestamp).get("meta")
            meta = listed.get("snapshot.json") if isinstance(listed, dict) else None
            return self.find(role, None if meta is None else version_of(meta))
        return self.find(role, self.versions().get(role))


def read_name(path: str) -> tuple[str, int | None] | None:
    """The role and the version that the name of a file states; None: it is not the name of metadata."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    return None if found is None else (unquote(found[2]), None if found[1] is None else int(found[1]))


def read_signed(file: MetadataFile) -> dict[str, Any]:
    """What the signatures of a file cover. They are not checked.

    Raises:
        FactsError: the file is no TUF metadata.
    """
    signed = signed_of(file.data)
    if signed is None:
        raise FactsError(f"{file.path} is no TUF metadata")
    return signed


def signed_of(data: bytes) -> dict[str, Any] | None:
    """What the signatures of a file cover; None if it is no TUF metadata."""
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None
    signed = value.get("signed") if isinstance(value, dict) and "signatures" in value else None
    return signed if isinstance(signed, dict) else None


def version_of(said: Any) -> int:
    """The version that metadata, or an entry about it, states.

    Raises:
        FactsError: it states none.
    """
    version = said.get("version") if isinstance(said, dict) else None
    if type(version) is not int or not 0 < version < 2**63:
        raise FactsError(f"a version is {str(version)[:50]!r}, and no number from 1 on")
    return version
