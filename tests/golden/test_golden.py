"""The same log gives the same bytes: today, on every machine, for ever (`python -m tests.golden.make` explains)."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from ledger.clock import SystemClock, from_instant
from projections.log.prefix import Prefix
from projections.roles.authority import Authority
from schemas.codec import EVENT_TYPES, decode_event
from tests import unsynced
from tests.client.index import silence
from tests.factory import authority_of
from tests.golden.driver import Driver, online
from tests.golden.make import tell
from tests.golden.positions import read_state, skip_from, step_all
from tests.golden.records import Golden, load
from tests.golden.replay import context_of, rebuild_tree, replay
from tests.oracle import check_repository

ROOT = Path(__file__).resolve().parents[2]
NO_EFFECT = {
    *("already-closed", "already-freed", "already-open", "already-released", "already-removed", "already-uploaded"),
    *("already-withheld", "ended", "exists"),
    *("not-quarantined", "not-removed", "not-yanked", "repeated", "same"),
}
REJECTED_EVENTS = {
    *(
        "bad-version",
        "duplicate-member",
        "file-removed",
        "filename-taken",
        "foreign-filename",
        "id-conflict",
        "invalid",
        "locked",
    ),
    *("closed", "equivalent-filename", "expects", "file-freed", "not-freeable", "not-removed"),
    *("no-file", "no-hold", "no-incident", "no-project", "no-release", "no-root", "no-target", "not-first", "not-json"),
    *("null", "other-bytes", "oversize", "project-archived", "project-quarantined", "project-removed"),
    *("release-quarantined", "reserved-path", "roles-delegation", "roles-incomplete", "roles-keys", "roles-malformed"),
    *("roles-online", "roles-settings", "roles-signatures", "roles-used", "roles-version", "too-deep", "unknown-type"),
}
REJECTED_PUBLICATIONS = {
    *("backwards", "invalid", "no-open-claim", "no-root", "not-canonical", "not-json", "null", "number"),
    *("other-origin", "other-predecessor", "renew", "roles", "root-hash", "seal", "too-deep", "void"),
}


@pytest.fixture(autouse=True)
def _silent() -> None:
    silence()


@pytest.fixture(scope="module")
def golden() -> Golden:
    """The committed files."""
    return load()


@pytest.fixture
def _no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def now(_: SystemClock) -> NoReturn:
        raise AssertionError("the clock was read")

    monkeypatch.setattr(SystemClock, "now", now)


@pytest.fixture
def context(golden: Golden, tmp_path: Path) -> Context:
    """A folder with the golden log and nothing else."""
    return context_of(tmp_path / "ledger", golden.events, golden.publications)


# --- what is in it -----------------------------------------------------------------------------------------------


def test_every_type_of_event_is_accepted_somewhere(golden: Golden) -> None:
    without_effect = {index for log, index, *_ in golden.digests["judged"] if log == "events"}
    decoded = [decode_event(value) for index, value in enumerate(golden.events) if index not in without_effect]
    assert {type(event) for event in decoded} == set(EVENT_TYPES.values())


def test_every_code_that_is_easily_produced(golden: Golden) -> None:
    codes: dict[tuple[str, str], set[str]] = {}
    for log, _, _, verdict, code in golden.digests["judged"]:
        codes.setdefault((log, verdict), set()).add(code)
    assert codes == {
        ("events", "no effect"): NO_EFFECT,
        ("events", "rejected"): REJECTED_EVENTS,
        ("publications", "rejected"): REJECTED_PUBLICATIONS,
    }


def test_making_it_anew_gives_the_committed_logs(golden: Golden, tmp_path: Path) -> None:
    events, publications = tell(tmp_path)
    assert events == golden.events
    assert publications == golden.publications


# --- replay ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_clock")
def test_the_log_gives_these_bytes(golden: Golden, tmp_path: Path) -> None:
    _compare(replay(tmp_path, golden.events, golden.publications), golden.digests)


def _compare(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["judged"] == expected["judged"]
    assert found["publications"] == expected["publications"]
    different = {path for path in {*found["files"], *expected["files"]} if _differs(path, found, expected)}
    assert not different, f"{len(different)} files differ, among them {min(different)}"


def _differs(path: str, found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return bool(found["files"].get(path) != expected["files"].get(path))


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "tr_TR.UTF-8"},
        {"PYTHONHASHSEED": "4242", "TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ],
    ids=["east", "west"],
)
def test_whatever_the_machine_is_set_to(golden: Golden, tmp_path: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.golden.replay", str(tmp_path / "replayed")],
        env={**os.environ, "PYTHONPATH": unsynced.path(), **environment},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    _compare(json.loads(done.stdout), golden.digests)


def _numbers(golden: Golden) -> list[int]:
    return [number for number, *_ in golden.digests["publications"]]


def _turns(golden: Golden) -> set[int]:
    """The first and the last publication, and those before and after each ceremony and each hold."""
    found, before, done = {_numbers(golden)[0], _numbers(golden)[-1]}, 0, 0
    for number, _, size, _ in golden.digests["publications"]:
        if any(b'"roles.signed' in value or b'"signing.' in value for value in golden.events[done:size] if value):
            found |= {before, number} - {0}
        before, done = number, size
    return found


def test_some_stand_for_every_position(golden: Golden) -> None:
    """What is tested quickly is where something changes, and less than half of all."""
    assert 20 < len(_turns(golden)) < len(_numbers(golden)) * 2 // 3


@pytest.mark.usefixtures("_no_clock")
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 9], ids=["each", "some"])
def test_as_of_a_publication(golden: Golden, context: Context, tmp_path: Path, every: int) -> None:
    """What is rebuilt as of a publication is part of what was ever published, and is complete for clients."""
    files = golden.digests["files"]
    mutable = {path for path in files if _is_mutable(path)}
    for number in {*_numbers(golden)[::every], _numbers(golden)[-1]}:
        found = rebuild_tree(context, tmp_path / str(number), at=number)
        assert found["metadata/timestamp.json"] == files[f"metadata/{number}.timestamp.json"]
        for path, digest in found.items():
            if path not in mutable and not _is_mutable(path):
                assert files[path] == digest, f"{path} as of {number}"


def _is_mutable(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in {"timestamp.json", "index.json", "index.html"}


class Stepped(NamedTuple):
    """A state after each publication, made one by one: `NUMBER.sqlite` in a folder."""

    context: Context
    folder: Path
    numbers: list[int]


@pytest.fixture(scope="module")
def stepped(golden: Golden, tmp_path_factory: pytest.TempPathFactory) -> Stepped:
    silence()
    folder = tmp_path_factory.mktemp("stepped")
    context = context_of(folder / "ledger", golden.events, golden.publications)
    return Stepped(context, folder / "positions", step_all(context, folder / "positions"))


KEPT = pytest.mark.parametrize("kept_from", [None, 0, 900], ids=["usual", "all pages in files", "some pages in files"])


@pytest.mark.slow
@pytest.mark.usefixtures("_no_clock")
@KEPT
def test_skipping_from_every_position_equals_stepping(
    stepped: Stepped, monkeypatch: pytest.MonkeyPatch, kept_from: int | None
) -> None:
    _compare_skipping(stepped, stepped.numbers, monkeypatch, kept_from)


@pytest.mark.usefixtures("_no_clock")
@KEPT
def test_skipping_from_some_positions_equals_stepping(
    golden: Golden, stepped: Stepped, monkeypatch: pytest.MonkeyPatch, kept_from: int | None
) -> None:
    """From all around ceremonies and holds, where pages are kept as usual; elsewhere from one in so many."""
    turns = sorted(_turns(golden) & set(stepped.numbers)) if kept_from is None else []
    _compare_skipping(stepped, [*turns, *stepped.numbers[::9], stepped.numbers[-1]], monkeypatch, kept_from)


def _compare_skipping(
    stepped: Stepped, numbers: Iterable[int], monkeypatch: pytest.MonkeyPatch, kept_from: int | None
) -> None:
    if kept_from is not None:
        monkeypatch.setattr(Context, "limits", LIMITS._replace(page_bytes=kept_from))
    expected = read_state(stepped.folder / f"{stepped.numbers[-1]}.sqlite")
    for number in sorted(set(numbers)):
        found = skip_from(stepped.context, stepped.folder / f"{number}.sqlite")
        different = [table for table in expected if found[table] != expected[table]]
        assert not different, f"from publication {number} on, these differ: {different}"


def test_clients_accept_it(golden: Golden, context: Context, tmp_path: Path) -> None:
    rebuild_tree(context, tmp_path / "tree", all_versions=True)
    root = (tmp_path / "tree/metadata/1.root.json").read_bytes()
    now = from_instant(golden.digests["publications"][-1][1]) + timedelta(minutes=1)
    seen = check_repository(tmp_path / "tree", root, now=now, files=False)
    assert seen.number == golden.digests["publications"][-1][0]
    assert seen.size == len(golden.events)


# --- publications of other sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_borders_of_publications_shape_versions_and_upload_times_alone(
    golden: Golden, tmp_path: Path, seed: int
) -> None:
    """The same events, signed with the same keys in other batches."""
    expected = rebuild_tree(
        context_of(tmp_path / "golden", golden.events, golden.publications), tmp_path / "golden-tree"
    )
    driver = Driver(tmp_path / "other")
    driver.use_keys(*map(online, range(1, 29)))
    chance, done = random.Random(seed), 0
    sizes = {1: lambda: len(golden.events), 2: lambda: chance.randint(5, 12), 3: lambda: chance.choice([1, 60])}
    while done < len(golden.events):
        # A ledger can publish nothing before it has a root.
        batch = golden.events[done : max(7, done + sizes[seed]())]
        driver.append(*batch)
        done += len(batch)
        time_from = authority_of(Prefix().extend(golden.events[:done])[0]).time_from
        if time_from:
            driver.clock.at = max(driver.clock.at, from_instant(time_from))
        driver.publish()
    found = rebuild_tree(driver.context, tmp_path / "other-tree")
    assert _pages(tmp_path / "other-tree", found) == _pages(tmp_path / "golden-tree", expected)
    assert _targets(tmp_path / "other-tree") == _targets(tmp_path / "golden-tree")


def _pages(tree: Path, files: dict[str, str]) -> dict[str, Any]:
    """The plain pages, without upload times: those in HTML as bytes, the others decoded."""
    pages: dict[str, Any] = {}
    for path in files:
        if path.startswith("targets/") and _is_mutable(path):
            content = (tree / path).read_bytes()
            pages[path] = content if path.endswith(".html") else json.loads(content)
            for file in pages[path].get("files", []) if isinstance(pages[path], dict) else []:
                del file["upload-time"]
    return pages


def _targets(tree: Path) -> dict[str, dict[str, Any]]:
    """All targets by bin, as the snapshot lists the bins; of pages only their paths."""
    number = json.loads((tree / "metadata/timestamp.json").read_bytes())["signed"]["version"]
    listed = json.loads((tree / f"metadata/{number}.snapshot.json").read_bytes())["signed"]["meta"]
    found = {}
    for name, meta in listed.items():
        path = tree / f"metadata/{meta['version']}.{name}"
        if path.exists():  # not so of bins that were retired
            targets = json.loads(path.read_bytes())["signed"]["targets"]
            found[name] = {each: None if each.startswith("simple/") else targets[each] for each in targets}
    assert len(found) == 16 + 2
    return found


def test_the_last_offline_roles_are_those_of_the_story(golden: Golden) -> None:
    authority: Authority = authority_of(Prefix().extend(golden.events)[0])
    assert (authority.root.version, authority.layout.count, authority.settings.floor) == (22, 16, 2001)
    assert len(authority.online_ever) == 9
