"""What is served before we know it to be the log's stays as it is, whoever renders what would replace it."""

import json
from collections.abc import Callable, Iterator, MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from consumers.render.outlets import PublicOutlet
from ledger.disk.files import StorageUnavailableError
from ledger.logs import LogConflictError
from ledger.storage.directory import DirectoryStorage
from ledger.storage.memory import MemoryEvidence, MemoryStorage
from projections.metadata.holders import Withholding
from projections.metadata.paths import TIMESTAMP, companion_path, hashed_path, plain_path

KEPT_UP_TO = 5


def role(version: int, note: str = "") -> bytes:
    """A file of metadata, as far as an outlet looks at it."""
    return json.dumps({"signed": {"version": version, "note": note}}).encode()


def put(outlet: PublicOutlet, path: str, data: bytes) -> None:
    """As who renders here."""
    outlet.put(path, data)


def adopt(outlet: PublicOutlet, path: str, data: bytes) -> None:
    """As another process renders."""
    remote = outlet.remote()
    assert remote is not None
    outlet.adopt(path, len(data), sha256(data).hexdigest(), remote.put(path, data))


Put = Callable[[PublicOutlet, str, bytes], None]
puts = pytest.mark.parametrize("put", [put, adopt], ids=["here", "in a process"])


def outlet_over(tmp_path: Path, served: dict[str, bytes]) -> PublicOutlet:
    """An outlet that keeps what is served."""
    for path, data in served.items():
        (tmp_path / "public" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "public" / path).write_bytes(data)
    outlet = PublicOutlet(DirectoryStorage(tmp_path / "public", tmp_path / "staging"))
    outlet.keep(KEPT_UP_TO)
    outlet.begin()
    return outlet


def served(tmp_path: Path) -> dict[str, bytes]:
    """All that is served."""
    public = tmp_path / "public"
    return {str(path.relative_to(public)): path.read_bytes() for path in public.rglob("*") if path.is_file()}


@puts
def test_another_version_than_is_served_is_refused(tmp_path: Path, put: Put) -> None:
    """A bin that clients may have seen is not replaced by other bytes."""
    before = {TIMESTAMP: role(5), "metadata/6.bin-0.json": role(6, "seen by clients")}
    outlet = outlet_over(tmp_path, before)
    put(outlet, "metadata/6.bin-0.json", role(6))
    with pytest.raises(LogConflictError, match=r"6\.bin-0\.json is not served as the log says"):
        outlet.finish(6, role(6))
    assert served(tmp_path) == before


@puts
def test_the_same_version_and_a_damaged_one_are_no_conflict(tmp_path: Path, put: Put) -> None:
    """What is served with the same bytes, or is no metadata any more, is the log's."""
    before = {TIMESTAMP: role(5), "metadata/6.bin-0.json": role(6), "metadata/6.bin-1.json": b"\0\0\0"}
    outlet = outlet_over(tmp_path, before)
    for name in ("bin-0", "bin-1"):
        put(outlet, f"metadata/6.{name}.json", role(6))
    put(outlet, "targets/page", b"page")
    outlet.finish(6, role(6))
    assert served(tmp_path) == {
        TIMESTAMP: role(6),
        "metadata/6.timestamp.json": role(6),
        "metadata/6.bin-0.json": role(6),
        "metadata/6.bin-1.json": role(6),
        "targets/page": b"page",
    }


@puts
def test_an_old_version_that_is_not_served_stays_away(tmp_path: Path, put: Put) -> None:
    """Up to what was served nothing becomes visible; a client that looks for an old version finds what it found."""
    outlet = outlet_over(tmp_path, {TIMESTAMP: role(5)})
    put(outlet, "metadata/4.bin-0.json", role(4))
    outlet.finish(4, role(4))
    assert "metadata/4.bin-0.json" not in served(tmp_path)
    assert served(tmp_path)[TIMESTAMP] == role(5)


def test_bytes_come_back_before_the_timestamp_and_go_after_it(tmp_path: Path) -> None:
    """Whoever has the old timestamp, or the new one, finds what it lists. Plain names show a name with a SHA-256."""
    digest = sha256(b"bytes").hexdigest()
    back, gone = (f"packages/aa/bb/{'c' * 60}/{name}-1.0.zip" for name in ("back", "gone"))
    first = [hashed_path(back, digest), companion_path(back, "metadata")]
    later = [plain_path(back)]
    taken = [hashed_path(gone, digest), plain_path(gone)]
    seen: set[str] = set()

    class Watched(DirectoryStorage):
        def replace(self, path: str, data: bytes) -> None:
            super().replace(path, data)
            if path == TIMESTAMP:
                seen.update(served(tmp_path))

    storage = Watched(tmp_path / "public", tmp_path / "staging", evidence=tmp_path / "evidence")
    for folder, paths in (("evidence", [*first, *later]), ("public", taken)):
        for path in paths:
            (tmp_path / folder / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / path).write_bytes(b"bytes")
    outlet = PublicOutlet(storage)
    outlet.begin()
    outlet.withhold(Withholding(path, False, digest) for path in (first[0], *later))
    outlet.withhold([Withholding(first[1], False), *(Withholding(path, True, digest) for path in taken)])
    outlet.finish(6, role(6))
    assert seen >= {*first, *taken}
    assert seen.isdisjoint(later)
    assert served(tmp_path).keys() >= {*first, *later}
    assert served(tmp_path).keys().isdisjoint(taken)


@pytest.fixture
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged, whatever other tests have set."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as logs:
        yield logs
    structlog.configure(**before)


def test_bytes_that_should_come_back_and_are_nowhere_are_named(
    tmp_path: Path, logs: list[MutableMapping[str, Any]]
) -> None:
    """The timestamp does not wait for them. What stands beside a file need not be there."""
    target, digest = f"packages/aa/bb/{'c' * 60}/back-1.0.zip", sha256(b"bytes").hexdigest()
    outlet = PublicOutlet(DirectoryStorage(tmp_path / "public", tmp_path / "staging", evidence=tmp_path / "evidence"))
    outlet.begin()
    outlet.withhold([Withholding(hashed_path(target, digest), False, digest)])
    outlet.withhold([Withholding(companion_path(target, "metadata"), False)])
    outlet.finish(6, role(6))
    assert [each["path"] for each in logs if each["log_level"] == "error"] == [hashed_path(target, digest)]
    assert TIMESTAMP in served(tmp_path)


@pytest.mark.parametrize("found", [{}, {"hashed": b"others"}], ids=["no bytes", "other bytes"])
def test_a_plain_name_shows_no_other_bytes(tmp_path: Path, found: dict[str, bytes]) -> None:
    target, digest = f"packages/aa/bb/{'c' * 60}/back-1.0.zip", sha256(b"bytes").hexdigest()
    before = {hashed_path(target, digest): data for data in found.values()}
    outlet = outlet_over(tmp_path, before)
    outlet.withhold([Withholding(plain_path(target), False, digest)])
    outlet.finish(6, role(6))
    assert served(tmp_path).keys() == {TIMESTAMP, "metadata/6.timestamp.json", *before}


@pytest.mark.parametrize("is_withheld", [True, False])
def test_what_cannot_be_moved_now_is_tried_again(is_withheld: bool) -> None:
    """A full disk, say: whoever publishes begins anew."""

    class Full(MemoryEvidence):
        def take(self, path: str) -> None:
            raise StorageUnavailableError(path)

        def give_back(self, path: str, _sha256: str) -> bool:
            raise StorageUnavailableError(path)

    class Storage(MemoryStorage):
        @property
        def evidence(self) -> Full:
            return Full(self)

    outlet = PublicOutlet(Storage())
    outlet.begin()
    path = hashed_path(f"packages/aa/bb/{'c' * 60}/back-1.0.zip", "00" * 32)
    outlet.withhold([Withholding(path, is_withheld, "00" * 32)])
    with pytest.raises(StorageUnavailableError):
        outlet.finish(6, role(6))
