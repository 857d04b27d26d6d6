"""The one oracle: is what is served a TUF repository that real clients accept, today as yesterday?

`check_repository` asks three witnesses that share no code with the ledger:

- python-tuf's own client with a fresh cache, from the first root on: it downloads every page and every file;
- the same client with the cache it kept from the step before;
- an auditor that parses every published metadata file with python-tuf and verifies it against its delegator.
"""

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

import orjson
from tuf.api.exceptions import DownloadHTTPError, UnsignedMetadataError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface
from tuf.ngclient.urllib3_fetcher import Urllib3Fetcher

from tests.fetcher import BASE, Fetcher, from_files, from_folder, new_updater

LIST = "simple/index.json"
TIMESTAMP = "metadata/timestamp.json"
_NUMBERED = re.compile(r"metadata/([0-9]+)\.([^/]+)\.json")
_HEX = re.compile(r"[0-9a-f]{64}")


class Page(NamedTuple):
    """A project's page, as a client got it."""

    status: str
    reason: str
    versions: tuple[str, ...]
    serial: int
    files: dict[str, dict[str, Any]]


class Seen(NamedTuple):
    """What a client came to see: the version of timestamp, that of root, how many events are covered, how many are
    shown, and all pages by project.
    """

    number: int
    root: int
    size: int
    shown: int
    projects: dict[str, Page]
    others: dict[str, str | None]
    """SHA-256 of the other targets that were asked for; None for what is no target."""

    def yanked(self) -> dict[str, str | bool]:
        """The yanked files and why."""
        return {
            name: entry["yanked"]
            for page in self.projects.values()
            for name, entry in page.files.items()
            if entry["yanked"] is not False
        }

    def filenames(self) -> list[str]:
        """All files that pages list."""
        return sorted(name for page in self.projects.values() for name in page.files)


@dataclass
class Cache:
    """What a client and an auditor keep from one step to the next."""

    folder: Path
    verified: dict[str, str] = field(default_factory=dict)
    """SHA-256 of every numbered metadata file that was verified, by path: they never change."""
    snapshots: dict[int, dict[str, int]] = field(default_factory=dict)
    """What each snapshot listed, by its version."""
    expiries: dict[tuple[int, str], datetime] = field(default_factory=dict)
    """When each bin expires, by the version of `bins` that it was verified against and its path."""
    size: int = 0
    shown: int = 0


# --- where a repository is ---------------------------------------------------------------------------------------


class _Files:
    """A repository in a folder, or in memory."""

    base = BASE

    def __init__(self, where: Path | Mapping[str, bytes]) -> None:
        self._where = where
        self.read = from_folder(where) if isinstance(where, Path) else from_files(where)
        self.fetcher: FetcherInterface = Fetcher(self.read)

    def metadata_paths(self) -> list[str] | None:
        if isinstance(self._where, Path):
            return sorted(path.relative_to(self._where).as_posix() for path in self._where.glob("metadata/*.json"))
        return sorted(path for path in self._where if path.startswith("metadata/"))

    def close(self) -> None:
        pass


class _Server:
    """A repository behind a URL, read as python-tuf does by default."""

    def __init__(self, url: str) -> None:
        self.base = url if url.endswith("/") else f"{url}/"
        self.fetcher: FetcherInterface = Urllib3Fetcher()

    def read(self, path: str) -> bytes | None:
        try:
            return self.fetcher.download_bytes(self.base + path, 2**30)
        except DownloadHTTPError as error:
            if error.status_code != 404:
                raise
            return None

    def metadata_paths(self) -> list[str] | None:
        return None

    def close(self) -> None:
        # Left to the garbage collector, its sockets would be reported as leaks.
        for pool in self.fetcher._proxy_env._pool_managers.values():  # type: ignore[attr-defined]
            pool.clear()


Repository = _Files | _Server


# --- the oracle --------------------------------------------------------------------------------------------------


def check_repository(
    where: Path | str | Mapping[str, bytes],
    root: bytes,
    *,
    cache: Cache | None = None,
    now: datetime | None = None,
    files: bool = True,
    live: bool = False,
    others: Iterable[str] = (),
) -> Seen:
    """Make sure that clients and auditors accept what is served; return what they see.

    Args:
        where: a folder, an http URL, or files in memory by path, with `metadata/` and `targets/` below it.
        root: the first root.
        cache: what was kept from the step before, and is kept for the next one.
        now: the time on the clients' clocks.
        files: whether every file that a page lists must be there; otherwise it is compared if it is.
        live: the repository is being written to: only the clients look, each for itself.
        others: target paths to look for besides what pages list.
    """
    repository: Repository = _Server(where) if isinstance(where, str) else _Files(where)
    now = now or datetime.now(UTC)
    try:
        with tempfile.TemporaryDirectory() as fresh:
            client = _Client(repository, root, Path(fresh), now, files=files, live=live)
            seen = client.look(others)
        if cache is not None:
            again = _Client(repository, root, cache.folder, now, files=files, live=live).look(others)
            assert live or again == seen, "a client with a cache sees something else"
        if not live:
            _Auditor(repository, root, cache or Cache(Path()), now).audit()
        return seen
    finally:
        repository.close()


def look(
    where: Path | Mapping[str, bytes], root: bytes, folder: Path, now: datetime, others: Iterable[str] = ()
) -> Seen:
    """What one client sees that keeps its cache in a folder; distribution files need not be there.

    It checks the same as `check_repository`, without the other two witnesses: for who asks thousands of times.
    """
    return _Client(_Files(where), root, folder, now, files=False, live=False).look(others)


class _Client:
    """python-tuf's client, as an installer would use it."""

    def __init__(
        self, repository: Repository, root: bytes, folder: Path, now: datetime, *, files: bool, live: bool
    ) -> None:
        self._repository = repository
        self._root = root
        self._folder = folder
        self._now = now
        self._files = files
        self._live = live

    def look(self, others: Iterable[str] = ()) -> Seen:
        """Refresh, and download all that the list of projects leads to, and what else was asked for."""
        repository = self._repository
        self._updater = new_updater(self._folder, self._root, repository.fetcher, base=repository.base, now=self._now)
        self._updater.refresh()
        trusted = self._updater._trusted_set
        settings = trusted.root.unrecognized_fields["x-ledger"]
        pages = self._pages(html=settings["html_pages"], lags=settings["project_list_seconds"] > 0)
        stated = trusted.snapshot.unrecognized_fields["x-ledger"]
        found = {path: self._digest(path) for path in others}
        return Seen(
            trusted.timestamp.version, trusted.root.version, stated["size"], stated["content_size"], pages, found
        )

    def _digest(self, path: str) -> str | None:
        info = self._updater.get_targetinfo(path)
        if info is None:
            return None
        if self._is_elsewhere(path, info.hashes["sha256"]):
            return info.hashes["sha256"]
        return sha256(self._target(path)).hexdigest()

    def _is_elsewhere(self, path: str, digest: str) -> bool:
        """Whether a distribution file, which need not be here, is not."""
        folder, slash, name = path.rpartition("/")
        return not self._files and self._repository.read(f"targets/{folder}{slash}{digest}.{name}") is None

    def _pages(self, *, html: bool, lags: bool) -> dict[str, Page]:
        names = _read_list(self._target(LIST))
        assert (self._find("simple/index.html") is not None) == html, "the HTML list is a target where root says so"
        if html:
            links = _read_links(self._target("simple/index.html"))
            assert [text for text, _ in links] == names
        pages = {}
        for name in names:
            path = f"simple/{name}/index.json"
            if lags and self._find(path) is None:
                continue  # the list may be older than the project's removal
            page = _read_page(name, self._target(path))
            pages[name] = page
            for entry in page.files.values():
                self._check_file(path, entry)
            found = self._find(f"simple/{name}/index.html") is not None
            assert found == html, f"the HTML page of {name} is a target where root says so"
            if html:
                _compare_html(page, _read_links(self._target(f"simple/{name}/index.html")))
        return pages

    def _check_file(self, page: str, entry: Mapping[str, Any]) -> None:
        path = unquote(urljoin(page, entry["url"]))
        info = self._updater.get_targetinfo(path)
        assert info is not None, f"{page} lists {path}, which is no target"
        assert (info.hashes, info.length) == (entry["hashes"], entry["size"]), path
        if self._is_elsewhere(path, entry["hashes"]["sha256"]):
            return
        data = self._target(path)
        if entry["core-metadata"]:
            metadata = self._repository.read(f"targets/{path}.metadata")
            assert metadata is not None, f"{path}.metadata is missing"
            assert sha256(metadata).hexdigest() == entry["core-metadata"]["sha256"]
        assert len(data) == entry["size"]

    def _find(self, path: str) -> object | None:
        return self._updater.get_targetinfo(path)

    def _target(self, path: str) -> bytes:
        """A target, and the same bytes under its plain path."""
        info = self._updater.get_targetinfo(path)
        assert info is not None, f"{path} is no target"
        data = Path(self._updater.download_target(info)).read_bytes()
        if not self._live and path.startswith(("simple/", "packages/")):
            assert self._repository.read(f"targets/{path}") == data, f"the plain {path} is not the target"
        return data


# --- pages -------------------------------------------------------------------------------------------------------


def _load(data: bytes) -> Any:
    page = orjson.loads(data)
    assert orjson.dumps(page, option=orjson.OPT_SORT_KEYS) == data, "a page is in canonical form"
    assert page["meta"]["api-version"] == "1.4"
    assert isinstance(page["meta"]["_last-serial"], int)
    return page


def _read_list(data: bytes) -> list[str]:
    """The names in the list of all projects (PEP 691)."""
    page = _load(data)
    assert set(page) == {"meta", "projects"}
    names = [project["name"] for project in page["projects"]]
    assert names == sorted(set(names))
    return names


def _read_page(name: str, data: bytes) -> Page:
    """A project's page, of the form that PEPs 691, 700, 714, 740 and 792 want."""
    page = _load(data)
    assert set(page) == {"meta", "name", "project-status", "versions", "files"}
    assert page["name"] == name == re.sub(r"[-_.]+", "-", name).lower()
    status = page["project-status"]
    assert status["status"] in {"active", "archived", "quarantined", "deprecated"}
    assert set(status) <= {"status", "reason"}
    assert "reason" not in status or _is_text(status["reason"])
    assert page["versions"] == sorted(set(page["versions"]))
    files = {entry["filename"]: entry for entry in page["files"]}
    assert list(files) == sorted(files)
    assert len(files) == len(page["files"])
    for entry in files.values():
        _check_entry(entry)
    assert not (files and status["status"] == "quarantined"), "a quarantined project lists no files"
    serial = page["meta"]["_last-serial"]
    return Page(status["status"], status.get("reason", ""), tuple(page["versions"]), serial, files)


def _check_entry(entry: Mapping[str, Any]) -> None:
    assert set(entry) == {
        "core-metadata",
        "data-dist-info-metadata",
        "filename",
        "hashes",
        "provenance",
        "requires-python",
        "size",
        "upload-time",
        "url",
        "yanked",
    }
    assert set(entry["hashes"]) == {"sha256"}
    assert _HEX.fullmatch(entry["hashes"]["sha256"])
    assert entry["url"].startswith("../../packages/")
    assert unquote(entry["url"].rpartition("/")[2]) == entry["filename"]
    assert isinstance(entry["size"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", entry["upload-time"])  # PEP 700
    assert isinstance(entry["yanked"], bool) or _is_text(entry["yanked"])
    assert entry["requires-python"] is None or _is_text(entry["requires-python"])
    metadata = entry["core-metadata"]
    assert metadata is False or _HEX.fullmatch(metadata["sha256"])
    assert entry["data-dist-info-metadata"] == metadata
    assert entry["provenance"] in {None, f"{entry['url']}.provenance"}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != "" and not re.search("[\x00-\x1f\x7f-\x9f\ud800-\udfff]", value)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.append(("", dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.lasttag == "a" and not self.found[-1][0]:
            self.found[-1] = (data, self.found[-1][1])


def _read_links(data: bytes) -> list[tuple[str, dict[str, str | None]]]:
    """Text and attributes of all links (PEP 503)."""
    links = _Links()
    links.feed(data.decode())
    links.close()
    return links.found


def _compare_html(page: Page, links: list[tuple[str, dict[str, str | None]]]) -> None:
    """Make sure that the HTML page says what the JSON page does."""
    assert [text for text, _ in links] == list(page.files)
    for name, attributes in links:
        entry = page.files[name]
        assert attributes["href"] == f"{entry['url']}#sha256={entry['hashes']['sha256']}"
        assert attributes.get("data-requires-python") == entry["requires-python"]
        assert ("data-yanked" in attributes) == (entry["yanked"] is not False)
        assert (attributes.get("data-yanked") or True) == (entry["yanked"] or True)


# --- metadata ----------------------------------------------------------------------------------------------------


class _Auditor:
    """Parses and verifies every metadata file, and compares with what was there in the step before."""

    def __init__(self, repository: Repository, root: bytes, cache: Cache, now: datetime) -> None:
        self._repository = repository
        self._root = root
        self._cache = cache
        self._now = now

    def audit(self) -> None:
        """Verify everything; every file in the folder of metadata must be part of it."""
        self._roots = self._read_roots()
        paths = self._repository.metadata_paths()
        timestamp = self._read(TIMESTAMP)
        current = int(json.loads(timestamp)["signed"]["version"])
        assert timestamp == self._read(f"metadata/{current}.timestamp.json"), "timestamp.json is the numbered one"
        numbers = {current} if paths is None else {number for number, role in map(_split, paths) if role == "timestamp"}
        assert max(numbers) == current, "the served timestamp is the last one"
        for number in sorted(numbers):
            if number == current or number not in self._cache.snapshots:
                self._verify_publication(number, is_current=number == current)
        self._compare_snapshots()
        for path in paths or []:
            self._check_known(path)

    def _read(self, path: str) -> bytes:
        data = self._repository.read(path)
        assert data is not None, f"{path} is missing"
        known = self._cache.verified.get(path)
        assert known in {None, sha256(data).hexdigest()}, f"{path} has other bytes than before"
        return data

    def _remember(self, path: str, data: bytes) -> None:
        self._cache.verified[path] = sha256(data).hexdigest()

    def _read_roots(self) -> list[Root]:
        """All roots, each signed as the one before it and it itself require (TUF 1.0.34, 5.3)."""
        roots: list[Root] = []
        while (data := self._repository.read(f"metadata/{len(roots) + 1}.root.json")) is not None:
            version = len(roots) + 1
            assert version > 1 or data == self._root, "the first root is another"
            metadata = Metadata[Root].from_bytes(data)
            assert metadata.signed.version == version
            for signer in (metadata.signed, *roots[-1:]):
                signer.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
            self._read(f"metadata/{version}.root.json")
            self._remember(f"metadata/{version}.root.json", data)
            roots.append(metadata.signed)
        assert roots, "there is no root"
        return roots

    def _verify_publication(self, number: int, *, is_current: bool) -> None:
        timestamp, data = self._parse(f"metadata/{number}.timestamp.json", Timestamp)
        assert timestamp.signed.version == number
        self._remember(f"metadata/{number}.timestamp.json", data)
        snapshot, data = self._parse(f"metadata/{number}.snapshot.json", Snapshot)
        timestamp.signed.snapshot_meta.verify_length_and_hashes(data)
        top = self._root_of(timestamp, snapshot.signed)
        top.verify_delegate("snapshot", snapshot.signed_bytes, snapshot.signatures)
        assert snapshot.signed.version == number
        self._remember(f"metadata/{number}.snapshot.json", data)
        self._cache.snapshots[number] = {name: meta.version for name, meta in snapshot.signed.meta.items()}
        assert all(meta.hashes is None for meta in snapshot.signed.meta.values())
        targets = self._verify("targets", snapshot.signed, top)
        bins = self._verify("bins", snapshot.signed, targets)
        for name in _bin_names(bins):
            expires = self._verify_bin(name, snapshot.signed, bins)
            assert not is_current or expires > self._now, f"{name} has expired"
        if is_current:
            assert min(timestamp.signed.expires, snapshot.signed.expires) > self._now
            stated = snapshot.signed.unrecognized_fields["x-ledger"]
            assert stated["size"] >= self._cache.size, "a snapshot covers fewer events than before"
            assert self._cache.shown <= stated["content_size"] <= stated["size"], "a snapshot shows fewer than before"
            self._cache.size, self._cache.shown = stated["size"], stated["content_size"]

    def _root_of(self, timestamp: Metadata[Any], snapshot: Snapshot) -> Root:
        """The last root whose keys signed this timestamp and the targets that came with it."""
        path = f"metadata/{snapshot.meta['targets.json'].version}.targets.json"
        targets, _ = self._parse(path, Targets)
        for root in reversed(self._roots):
            if _is_signed(root, "timestamp", timestamp) and _is_signed(root, "targets", targets):
                return root
        raise AssertionError(f"timestamp {timestamp.signed.version} and {path} are signed by no root's keys")

    def _verify_bin(self, name: str, snapshot: Snapshot, bins: Targets) -> datetime:
        """Verify a bin and its targets; returns when it expires."""
        version = snapshot.meta[f"{name}.json"].version
        assert version <= snapshot.version
        key = bins.version, f"metadata/{version}.{name}.json"
        if key not in self._cache.expiries:
            role = self._verify(name, snapshot, bins)
            for path in role.targets:
                assert _belongs(bins, name, path), f"{path} is not of bin {name}"
            self._cache.expiries[key] = role.expires
        return self._cache.expiries[key]

    def _parse(self, path: str, kind: type[Any]) -> tuple[Metadata[Any], bytes]:
        data = self._read(path)
        metadata = Metadata[Any].from_bytes(data)
        assert isinstance(metadata.signed, kind)
        return metadata, data

    def _verify(self, name: str, snapshot: Snapshot, delegator: Root | Targets) -> Targets:
        """A role in the version that the snapshot lists, verified against its delegator."""
        meta = snapshot.meta[f"{name}.json"]
        path = f"metadata/{meta.version}.{name}.json"
        metadata, data = self._parse(path, Targets)
        delegator.verify_delegate(name, metadata.signed_bytes, metadata.signatures)
        assert metadata.signed.version == meta.version
        assert meta.length in {None, len(data)}
        self._remember(path, data)
        return metadata.signed  # type: ignore[no-any-return]  # Metadata[Any]

    def _compare_snapshots(self) -> None:
        """No snapshot drops a name or lowers a version (TUF 1.0.34, 5.5.5)."""
        before: dict[str, int] = {}
        for number, listed in sorted(self._cache.snapshots.items()):
            for name, version in before.items():
                assert listed.get(name, 0) >= version, f"snapshot {number} drops or lowers {name}"
            before = listed

    def _check_known(self, path: str) -> None:
        """A file that no publication leads to is an offline role whose turn passed, or should not be there."""
        if path == TIMESTAMP:
            return
        if path in self._cache.verified:
            self._read(path)
            return
        version, role = _split(path)
        assert role in {"targets", "bins"}, f"{path} belongs to no publication"
        metadata, data = self._parse(path, Targets)
        assert metadata.signed.version == version
        if role == "targets":
            assert any(_is_signed(root, role, metadata) for root in self._roots), path
        self._remember(path, data)


def _split(path: str) -> tuple[int, str]:
    match = _NUMBERED.fullmatch(path)
    assert match or path == TIMESTAMP, f"{path} is no name of metadata"
    return (int(match[1]), match[2]) if match else (0, "")


def _is_signed(delegator: Root, role: str, metadata: Metadata[Any]) -> bool:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except UnsignedMetadataError:
        return False
    return True


def _bin_names(bins: Targets) -> list[str]:
    delegations = bins.delegations
    assert delegations is not None
    if delegations.succinct_roles is not None:
        return list(delegations.succinct_roles.get_roles())
    return list(delegations.roles or {})


def _belongs(bins: Targets, name: str, path: str) -> bool:
    delegations = bins.delegations
    assert delegations is not None
    return [role for role, _ in delegations.get_roles_for_target(path)] == [name]
