"""Outlets: sinks for one edition after another.

NoOutlet         writes nothing: for a signer that runs apart from storage, and for replays
PublicOutlet     puts files, then places them in an order that keeps every client's view complete
FileListOutlet   lists digests of everything ever published, to compare them with the served files
"""

import json
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

import structlog

from consumers.render.sinks import RemoteSink, Sink
from consumers.render.withholding import bring_back, withhold
from ledger.disk.syncing import Synced
from ledger.logs import LogConflictError
from ledger.state.comparisons import FileRow, save_files
from ledger.state.statements import State
from ledger.storage import RemoteStorage, Storage
from projections.metadata.holders import Withholding
from projections.metadata.paths import TIMESTAMP, MetadataPlace, TargetPlace, metadata_path, read_path
from projections.roles.documents import Document

log = structlog.get_logger()

MAX_TIMESTAMP_BYTES = 2**14
"""Longest timestamp that clients read (python-tuf's `timestamp_max_length`)."""

MAX_VERSION = 2**53
"""No honest server serves a higher version. A higher one is read as this one, which no log reaches."""


class Outlet(Sink, Protocol):
    """A sink for one edition after another. All methods block; `put` is called from several threads."""

    def begin(self) -> None:
        """Begin a new edition, and forget the files of an unfinished one."""

    def finish(self, number: int, timestamp: bytes) -> Synced | None:
        """Finish an edition whose record was read from the log; return what was synced besides the edition's files.

        The next edition has begun then.
        """

    def save(self, state: State, window: Sequence[FileRow] | None) -> None:
        """Save what a state shall know of a finished edition's files, in the transaction that commits it.

        Args:
            state: the state.
            window: the files of all publications of a window, if the edition is the end of one.
        """


class Nowhere:
    """Writes nothing, in other processes. Contract: `RemoteSink`."""

    def put(self, _path: str, _data: bytes, _copy_of: str | None = None) -> str:
        """Nothing."""
        return ""

    def show(self, _path: str, _source: str) -> None:
        """Nothing."""


class NoOutlet:
    """Writes nothing."""

    def remote(self) -> RemoteSink:
        """Write nothing in other processes, either."""
        return Nowhere()

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """Nothing."""

    def begin(self) -> None:
        """Nothing to forget."""

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Nothing."""

    def show(self, path: str, source: str | None) -> None:
        """Nothing."""

    def withhold(self, withholdings: Iterable[Withholding]) -> None:
        """Nothing."""

    def put_document(self, document: Document) -> None:
        """Nothing."""

    def finish(self, number: int, timestamp: bytes) -> None:
        """Nothing."""

    def save(self, _state: State, _window: Sequence[FileRow] | None) -> None:
        """Nothing."""


class PublicOutlet:
    """Writes the served files.

    The order is that of PEP 458 and TUF 1.0.34, section 6.2: targets, bins and snapshot first, then new roots, then
    the timestamp, which makes everything visible at once; plain pages last, for clients without TUF. Nothing is written
    between a new root and the timestamp, because clients that see one without the other fail.

    An older timestamp never replaces a newer one: a publisher that starts anew catches up without lowering the served
    version.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage  # untouched until an edition begins: another process may put files there until then
        self._visible = _Visible({}, {}, {}, {})
        self._edition = _Visible({}, {}, {}, {})
        self._keeps = False
        self._kept_up_to = 0

    def keep(self, version: int) -> None:
        """Replace no served metadata, since it may not be on the log and clients may have seen it.

        Publications up to this version do not become visible. Later ones do (docs/operators.md, "A log was rolled
        back"), unless they need a version that is served with other bytes.
        """
        self._keeps, self._kept_up_to = True, version

    def begin(self) -> None:
        """Forget what was put."""
        self._storage.discard()
        self._edition = _Visible({}, {}, {}, {})

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """Put an immutable file."""
        if not (self._keeps and self._is_kept(path, sha256(data).hexdigest())):
            self._storage.put(path, data, copy_of)

    def remote(self) -> "_RemoteOutlet | None":
        """Put immutable files from other processes, too, if they can."""
        remote = self._storage.remote()
        return None if remote is None else _RemoteOutlet(remote)

    def adopt(self, path: str, length: int, digest: str, token: str) -> None:
        """Adopt an immutable file that another process put."""
        if not (self._keeps and self._is_kept(path, digest)):
            self._storage.adopt(path, length, token)

    def show(self, path: str, source: str | None) -> None:
        """Remember the file that a plain page will show."""
        self._edition.pages[path] = source

    def withhold(self, withholdings: Iterable[Withholding]) -> None:
        """Remember what leaves what is served, and what comes back."""
        self._edition.withholdings.update({each.path: each for each in withholdings})

    def withhold_again(self, number: int, withholdings: Iterable[Withholding]) -> bool:
        """Make sure of what a state remembers. Does nothing if what is served is not this publication."""
        changes = {each.path: each for each in withholdings}
        with self._storage.lock():
            if served_version(self._storage.read(TIMESTAMP)) != number:
                return False
            bring_back(self._storage, changes)
            withhold(self._storage, changes)
        return True

    def put_document(self, document: Document) -> None:
        """Put an offline role; roots are written at the end."""
        path = metadata_path(document.role, document.version)
        if self._keeps and self._is_kept(path, sha256(document.file).hexdigest(), is_new=True):
            return
        if document.role == "root":
            self._edition.roots[document.version] = document.file
        else:
            self._storage.put(path, document.file)

    def finish(self, number: int, timestamp: bytes) -> Synced | None:
        """Place everything.

        Raises:
            LogConflictError: the edition needs a version that is served with other bytes.
        """
        with self._storage.lock():
            synced = self._place(number, timestamp)
            if number <= self._kept_up_to or served_version(self._storage.read(TIMESTAMP)) > number:
                log.debug("a newer publication is served", publication=number)
            else:
                self._make_visible(timestamp)
        self.begin()
        return synced

    def save(self, _state: State, _window: Sequence[FileRow] | None) -> None:
        """Nothing."""

    def _place(self, number: int, timestamp: bytes) -> Synced | None:
        """Place the immutable files."""
        self.put(metadata_path("timestamp", number), timestamp)
        self._visible.kept.update(self._edition.kept)
        if number > self._kept_up_to:
            self._refuse_kept()
        placed = self._storage.place()
        for path in placed.replaced:
            log.error("a served file had other bytes than the log says, and was replaced", path=path)
        self._visible.pages.update(self._edition.pages)
        self._visible.roots.update(self._edition.roots)
        self._visible.withholdings.update(self._edition.withholdings)
        return placed.synced

    def _make_visible(self, timestamp: bytes) -> None:
        """Change what clients see, in the order that they need."""
        bring_back(self._storage, self._visible.withholdings)
        for version, root in sorted(self._visible.roots.items()):
            self._storage.replace(metadata_path("root", version), root)
        self._storage.replace(TIMESTAMP, timestamp)
        withhold(self._storage, self._visible.withholdings)
        self._storage.show(dict(sorted(self._visible.pages.items())))
        self._visible = _Visible({}, {}, {}, {})
        self._keeps, self._kept_up_to = False, 0

    def _is_kept(self, path: str, digest: str, *, is_new: bool | None = None) -> bool:
        """Whether metadata stays as it is served: with other bytes; or missing, if the file is not new.

        Damaged files are replaced. A file is new if its version is above the version given to `keep`.
        """
        place = read_path(path)
        if not isinstance(place, MetadataPlace) or place.version is None:
            return False
        if is_new is None:
            is_new = place.version > self._kept_up_to
        found = self._storage.read(path)
        differs = found is not None and sha256(found).hexdigest() != digest
        stays = not is_new if found is None else differs and served_version(found) > 0
        # Only the last version of a role counts, but every root.
        self._edition.kept[path if place.is_root else place.role] = path if stays else ""
        return stays

    def _refuse_kept(self) -> None:
        kept = sorted(filter(None, self._visible.kept.values()))
        if kept:
            others = f" (nor are {len(kept) - 1} more)" if len(kept) > 1 else ""
            raise LogConflictError(
                f"{kept[0]} is not served as the log says{others}. Was a backup restored and appended to? See "
                "docs/operators.md, 'A log was rolled back'. If not, `tuf-ledger verify --served` names it: "
                "delete it if it is damaged; if it is forged, see 'Something is forged'"
            )


class _RemoteOutlet(NamedTuple):
    """Puts files into storage from another process. Contract: `RemoteSink`."""

    storage: RemoteStorage

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> str:
        """Put an immutable file."""
        return self.storage.put(path, data, copy_of)

    def show(self, _path: str, _source: str) -> None:
        """Nothing: a plain page changes when what it shows is placed."""


class _Visible(NamedTuple):
    """Changes besides immutable files: plain pages by path, each with the file it shows; roots by version; `kept`: by
    role, the served file that stays although the log says otherwise (empty: none); and what is withheld since, or no
    longer, by path.
    """

    pages: dict[str, str | None]
    roots: dict[int, bytes]
    kept: dict[str, str]
    withholdings: dict[str, Withholding]


def served_version(timestamp: bytes | None) -> int:
    """The version of a served timestamp; 0 if it is missing, cannot be read, or is longer than clients accept."""
    if timestamp is not None and len(timestamp) > MAX_TIMESTAMP_BYTES:
        return 0
    try:
        version = json.loads(timestamp or b"{}")["signed"]["version"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return min(max(version, 0), MAX_VERSION) if type(version) is int else 0


class FileListOutlet:
    """Lists digests of all files in the state, instead of writing them.

    Args:
        save: saves the list, in the transaction that commits the publication that made the files.
    """

    def __init__(self, save: Callable[[State, Sequence[FileRow]], None] = save_files) -> None:
        self._save = save
        self._edition: dict[str, str] = {}
        self._finished: list[FileRow] = []

    def begin(self) -> None:
        """Forget the files of an edition that was not committed."""
        self._edition, self._finished = {}, []

    def put(self, path: str, data: bytes, copy_of: str | None = None) -> None:
        """List a file."""
        self._edition[path] = sha256(data).hexdigest()

    def remote(self) -> Nowhere:
        """Write nothing in other processes: digests are enough."""
        return Nowhere()

    def adopt(self, path: str, _length: int, digest: str, _token: str) -> None:
        """List a file."""
        self._edition[path] = digest

    def show(self, path: str, source: str | None) -> None:
        """List a plain page, with the digest from the name of the file that it shows."""
        shown = None if source is None else read_path(source)
        self._edition[path] = (shown.sha256 or "") if isinstance(shown, TargetPlace) else ""

    def withhold(self, withholdings: Iterable[Withholding]) -> None:
        """Nothing: the state has what is withheld."""

    def put_document(self, document: Document) -> None:
        """List an offline role's file."""
        self.put(metadata_path(document.role, document.version), document.file)

    def finish(self, number: int, timestamp: bytes) -> None:
        """Note that the edition's files are published."""
        self.put(metadata_path("timestamp", number), timestamp)
        self._finished = [(path, digest, number) for path, digest in self._edition.items()]
        self._edition = {}

    def save(self, state: State, window: Sequence[FileRow] | None) -> None:
        """Save the list of files: those of the edition, or of the window that it ends."""
        self._save(state, self._finished if window is None else window)
