"""Names and paths: what is served stays below what is served, and one project's names are no other's."""

import json
import re
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from consumers.rebuild.choosing import At
from consumers.rebuild.rebuilding import rebuild
from consumers.render.outlets import FileListOutlet, served_version
from consumers.verify.verifier import Patience, Verifier
from ledger.logs import Logs
from ledger.logs.sqlite import SqliteLog
from ledger.state.comparisons import count_differences
from ledger.storage.directory import DirectoryStorage
from projections.index.names import check_filename
from projections.metadata.paths import hashed_path, is_plain_page
from schemas.codec import Rejection, decode_event
from schemas.events import Hashes
from schemas.fields import FILENAME_PATTERN, PROJECT_PATTERN, TARGET_PATTERN
from tests import factory
from tests.factory import Make, digest
from tests.fuzz import oracle
from tests.fuzz.budget import examples
from tests.fuzz.commands import MemoryContext, verified
from tests.fuzz.mutating import TEXTS
from tests.fuzz.world import World, following
from tests.simulation.ports import InlineWorkers

NAME_MAX = 255
"""Longest name of a file in bytes, on the usual file systems."""

hostile_text = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=40),
    st.text("aA0-_./\\ ~\n\x00", max_size=40),
    st.lists(st.sampled_from(["a", "..", ".", "", "con", "a b", "x" * 190, "0" * 64 + ".a"]), max_size=10).map(
        "/".join
    ),
)


def is_safe(path: str) -> bool:
    """Whether any file system takes this path, below the folder where it belongs, and any URL shows it."""
    segments = path.split("/")
    return all(
        segment not in {"", ".", ".."}
        and not segment.startswith(".")
        and not re.search(r'[^ -~]|[\\%?#"]', segment)
        and segment == segment.strip()
        and len(segment) <= NAME_MAX
        for segment in segments
    )


def accepted(value: dict[str, object]) -> bool:
    return not isinstance(decode_event(json.dumps(value).encode()), Rejection)


@given(hostile_text)
@settings(max_examples=examples(300))
@example("a\n")
@example("a/" * 8 + "a")
def test_every_target_path_is_safe(path: str) -> None:
    event = json.loads(factory.encode([Make().target_added("a")])[0]) | {"subject": path}
    if accepted(event):
        assert is_safe(path)
        assert is_safe(hashed_path(path, "0" * 64))
        assert len(path.split("/")) <= 8
        assert not is_plain_page(f"targets/{path}") or path.startswith("simple/")


@given(hostile_text, hostile_text)
@settings(max_examples=examples(300))
@example("a", "a-1.tar.gz\n")
@example("a", "../a-1.tar.gz")
@example("a", "a-" + "x" * 188)
def test_every_file_is_safe_and_its_projects_own(project: str, filename: str) -> None:
    event = json.loads(factory.encode([Make().file_uploaded("a")])[0]) | {"subject": project}
    event["data"] |= {"filename": filename, "legacy": True}
    if accepted(event):
        assert is_safe(f"simple/{project}/{'0' * 64}.index.json")
        assert is_safe(f"packages/00/00/{'0' * 60}/{'0' * 64}.{filename}")
        assert is_safe(f"packages/00/00/{'0' * 60}/{filename}.provenance")
        for legacy in (True, False):
            if not check_filename(project, filename, "1", legacy=legacy):
                assert re.sub(r"[-_.]+", "-", filename).lower().startswith(f"{project}-")


@given(st.from_regex(PROJECT_PATTERN), st.from_regex(FILENAME_PATTERN), st.from_regex(TARGET_PATTERN))
@settings(max_examples=examples(100))
def test_whatever_the_patterns_take_is_safe(project: str, filename: str, path: str) -> None:
    assert is_safe(f"{project}/{filename}/{path}") or max(map(len, (project, filename, path))) > 190


@given(st.sampled_from([PROJECT_PATTERN, FILENAME_PATTERN, TARGET_PATTERN]), st.text("aA0-_./ ~", max_size=200))
@settings(max_examples=examples(200))
def test_the_patterns_do_not_go_back_and_forth(pattern: str, text: str) -> None:
    """It returns: a pattern that goes back and forth takes for ever over a few dozen characters."""
    re.search(pattern, text * 3 + "\n")


# --- long names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [185, 186, 190])
async def test_files_with_long_names_are_rebuilt(world: World, tmp_path: Path, length: int) -> None:
    project, content = "x" * (length - len("-1.0.tar.gz")), b"content"
    filename = f"{project}-1.0.tar.gz"
    hashes = Hashes(sha256=sha256(content).hexdigest(), blake2b_256=digest("blake"))
    upload = world.make.file_uploaded(project, "1.0", filename=filename, hashes=hashes, length=len(content))
    async with world.signing() as signing:
        await signing.publish(upload)
    blake = hashes.blake2b_256
    path = f"targets/packages/{blake[:2]}/{blake[2:4]}/{blake[4:]}/{hashes.sha256}.{filename}"
    served = tmp_path / "served" / path
    served.parent.mkdir(parents=True)
    served.write_bytes(content)
    result = await rebuild(
        MemoryContext(world),
        tmp_path / "tree",
        At(),
        all_versions=False,
        files=tmp_path / "served",
        report=lambda done, total: None,
    )
    assert result.missing == []
    assert (tmp_path / "tree" / path).read_bytes() == content


def test_every_name_that_is_served_can_be_written(tmp_path: Path) -> None:
    """Pages of the longest project, in a folder that is a real one."""
    storage = DirectoryStorage(tmp_path / "public", tmp_path / "staging")
    hashed = f"targets/simple/{'x' * 200}/{'0' * 64}.index.json"
    storage.put(hashed, b"page")
    assert storage.place().replaced == []
    storage.show({f"targets/simple/{'x' * 200}/index.json": hashed})
    assert storage.read(f"targets/simple/{'x' * 200}/index.json") == b"page"


# --- one path, several owners ------------------------------------------------------------------------------------

VICTIM = "a-b-1.0.tar.gz"


def claim_to(make: Make, project: str, sha256: str, *, legacy: bool) -> bytes:
    hashes = Hashes(sha256=sha256, blake2b_256=digest("blake"))
    version = "1.0" if project == "a-b" else "b-1.0"
    event = make.file_uploaded(project, version, filename=VICTIM, hashes=hashes, legacy=legacy)
    return factory.encode([event])[0]


async def test_a_legacy_name_takes_no_other_projects_file_away(world: World) -> None:
    """`a-b` has the file, by a name that can be no other project's; `a` says, in an older way, that it is its own."""
    world.append(claim_to(world.make, "a-b", "f" * 64, legacy=False))
    async with world.signing() as signing:
        await signing.publish()
        world.append(claim_to(world.make, "a", "0" * 64, legacy=True))
        await signing.publish()
    view = await oracle.follow(world, skipping=False)
    (path,) = (path for path in oracle.served_targets(view) if path.endswith(VICTIM))
    assert oracle.served_targets(view)[path][1] == "f" * 64


async def test_many_claims_about_one_path_cost_little(world: World) -> None:
    """A name of 190 characters can be claimed by 94 projects, each in the older way."""
    filename = "-".join(["a"] * 93) + ".zip"
    projects = ["-".join(["a"] * count) for count in range(1, 93)]
    hashes = {name: Hashes(sha256=digest(name), blake2b_256=digest("blake")) for name in projects}
    async with world.signing() as signing:
        await signing.publish(
            *(
                world.make.file_uploaded(name, "x", filename=filename, hashes=hashes[name], legacy=True)
                for name in projects
            )
        )
        await signing.publish(*(world.make.project_removed(name) for name in projects[1:]))
    view = await oracle.check(world)
    (path,) = (path for path in oracle.served_targets(view) if path.endswith(filename))
    assert oracle.served_targets(view)[path][1] == digest("a")


# --- what is served and compared ---------------------------------------------------------------------------------


async def test_verify_finds_nothing_where_nothing_is_wrong(world: World) -> None:
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"), world.make.target_added("t"))
        await signing.publish(world.make.project_removed("a"))
    assert (await verified(world)).differences == []


SERVED = {
    "deep": b"[" * 100_000,
    "deep object": b'{"signed":' * 100_000,
    "a great version": b'{"signed":{"version":1' + b"0" * 30 + b"}}",
    "a negative version": b'{"signed":{"version":-1}}',
    "a version that is no number": b'{"signed":{"version":true}}',
    "no JSON": b"\xff\x00",
    "a list": b"[]",
    "text": b'"signed"',
}


@pytest.mark.parametrize("name", SERVED)
async def test_nothing_that_is_served_stops_the_verifier(world: World, name: str) -> None:
    """It exists to disagree: with whoever controls the web server, too."""
    async with world.signing() as signing:
        await signing.publish(world.make.file_uploaded("a"))
    world.storage.tree.files["metadata/timestamp.json"] = SERVED[name]
    async with following(world.logs, outlet=FileListOutlet()) as followed:
        verifier = Verifier(
            world.storage,
            patience=Patience(0, 1000),
            follower=followed.follower,
            store=followed.store,
            workers=InlineWorkers(),
        )
        while await verifier.step(0):
            pass
        await verifier.step(1)
        assert await followed.store.run(count_differences) == (1, 1)
    assert (await verified(world)).differences != []


def test_a_version_is_a_number() -> None:
    assert served_version(None) == 0


# --- SQLite ------------------------------------------------------------------------------------------------------

VALUES = {
    "text": "'text'",
    "text with a null": "CAST(x'610062' AS TEXT)",
    "text that is no UTF-8": "CAST(x'ff00fe' AS TEXT)",
    "a surrogate": "CAST(x'eda080' AS TEXT)",
    "an integer": "9223372036854775807",
    "a float": "1e300",
    "infinity": "9e999",
    "nothing": "NULL",
    "zeros": "zeroblob(3)",
}


@pytest.mark.parametrize("name", VALUES)
async def test_whatever_type_a_record_has_in_sqlite(world: World, tmp_path: Path, name: str) -> None:
    """SQLite stores any type anywhere; who may append to the file may append this."""
    logs = Logs(SqliteLog(tmp_path / "events.sqlite"), SqliteLog(tmp_path / "publications.sqlite"))
    for log, source in zip((logs.events, logs.publications), world.logs, strict=True):
        assert isinstance(log, SqliteLog)
        await log.create()
        await log.append([value or b"" for value in source.values])  # type: ignore[attr-defined]  # in memory
        with sqlite3.connect(log.name) as connection:
            connection.execute(f"INSERT INTO records SELECT count(*), {VALUES[name]} FROM records")
        connection.close()
    try:
        async with following(logs) as followed:
            await followed.follower.catch_up()
            await followed.follower.tail.read_on()
            assert followed.follower.tail.end.size == 3
            assert [row.log for row in await followed.judged()] == ["publications"]
    finally:
        await logs.close()
