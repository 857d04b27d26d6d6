"""The stories of incidents: each is played, its commands are run as its page has them, and its answer is compared."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from consumers.incidents.stories import changed_files, name_taken
from consumers.incidents.stories.deeds import Story
from consumers.incidents.stories.rehearsing import load_rehearsal, moved
from consumers.incidents.stories.shelf import STORIES
from consumers.incidents.visiting import visit
from projections.metadata.paths import package_target
from schemas.events import Hashes
from tests.client.index import Index, invoke
from tests.factory import Make

PAGES = Path(__file__).resolve().parents[2] / "docs" / "incidents"


@pytest.mark.parametrize("name", STORIES)
def test_the_story_ends_well(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = STORIES[name]()
    assert story.name == name
    output = invoke("incident", "rehearse", name, "--to", tmp_path / "index").output
    index, days = Index(tmp_path / "index"), load_rehearsal(tmp_path / "index").days
    assert moved(story.told, days) in output
    monkeypatch.chdir(index.folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compare_reaches(story, index, days)
    remembered = memory(index)
    if name == "stolen-online-key":
        victim = visit("a victim", index.context.served(""), index.root, {}, [])
        assert (victim.version, victim.error) == (9000, "")
    for file, content in story.written.items():
        Path(file).write_text(moved(content, days))
    for line in story.lines:
        text = moved(line.text, days)
        if line.is_shell:
            subprocess.run(text, shell=True, check=True)
        else:
            invoke(*shlex.split(text), answer=line.exit_code)
    assert suspects_of(index) == story.suspects
    index.publish()  # what a signer does in the hours between the story and this test
    if story.answer.clean:
        seen = index.check()
        assert {name: tuple(seen.projects[name].files) for name in story.answer.clean} == story.answer.clean
    plan = index.folder / "plan.jsonl"
    residuals = json.loads(plan.read_bytes().splitlines()[0])["residuals"] if plan.exists() else []
    assert tuple((each["about"], each["name"], each["code"]) for each in residuals) == story.answer.residuals
    index.verify()
    check_clients(index, remembered)
    if name in AFTERWARDS:
        AFTERWARDS[name](index)


def memory(index: Index) -> dict[str, bytes]:
    """What a client remembers that has seen what is served."""
    metadata = index.public / "metadata"
    timestamp = (metadata / "timestamp.json").read_bytes()
    version = json.loads(timestamp)["signed"]["version"]
    return {"timestamp.json": timestamp, "snapshot.json": (metadata / f"{version}.snapshot.json").read_bytes()}


def check_clients(index: Index, remembered: dict[str, bytes]) -> None:
    """A client that saw what was served when the team was told, and a new one, are shown the log's last publication."""
    for known in (remembered, {}):
        shown = visit("a client", index.context.served(""), index.root, known, [])
        assert (shown.version, shown.error) == (index.info()["last"]["publication"], "")


def compare_reaches(story: Story, index: Index, days: int) -> None:
    for reach in story.answer.reaches:
        (found,) = index.ask_list("incident window", reach.file)
        (window,) = found["windows"]
        assert time_of(window["first_offered"]) == moved(reach.first, days)
        assert time_of(window["first_without"]) == moved(reach.gone, days)


def time_of(moment: dict[str, Any] | None) -> str:
    return "" if moment is None else str(moment["time"])


def the_maker_uploads_again(index: Index) -> None:
    facts = name_taken.MAKER.uploads("lanterns", "2.0").data
    hashes = Hashes(**facts["hashes"])
    index.append(Make().file_uploaded("lanterns", **{**facts, "hashes": hashes}))
    index.publish()
    page = json.loads((index.public / "targets/simple/lanterns/index.json").read_bytes())
    files = {each["filename"]: each["hashes"]["sha256"] for each in page["files"]}
    assert files[facts["filename"]] == hashes.sha256


def the_mirrors_are_believed_in_nothing_new(index: Index) -> None:
    """The first one shows an older publication, until its timestamp expires; nobody takes the second one's file."""
    last = index.info()["last"]["publication"]
    assert visit("behind it", index.context.served("mirror-1"), index.root, {}, []).version < last
    changed = changed_files.SECOND.data
    wanted = package_target(changed["hashes"]["blake2b_256"], changed["filename"])
    assert visit("behind it", index.context.served("mirror-2"), index.root, {}, [wanted]).error
    assert visit("beside it", index.context.served(""), index.root, {}, [wanted]).error == ""


def who_took_the_root_of_the_thief_is_out_of_reach(index: Index) -> None:
    lost = (index.folder / "offered/metadata/2.root.json").read_bytes()
    assert "UnsignedMetadataError" in visit("a lost one", index.context.served(""), lost, {}, []).error


AFTERWARDS: dict[str, Callable[[Index], None]] = {
    "name-taken": the_maker_uploads_again,
    "mirrors": the_mirrors_are_believed_in_nothing_new,
    "threshold-lost": who_took_the_root_of_the_thief_is_out_of_reach,
}
"""What a page says beyond its commands."""


def suspects_of(index: Index) -> list[int]:
    """The events in the lists of all incidents."""
    names = [each["incident"] for each in index.ask_list("incident list")]
    items = [item for name in names for item in index.ask_list("incident show", name)]
    return sorted(item["event"] for item in items if item["selected"])


@pytest.mark.parametrize("name", STORIES)
def test_the_page_has_the_commands_of_the_story(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.+?)\n```$", page, flags=re.MULTILINE | re.DOTALL)
    story = STORIES[name]()
    assert [text for kind, text in blocks if not kind] == [line.whole for line in story.lines]
    assert [f"{text}\n" for kind, text in blocks if kind] == [*story.written.values()]
    words = " ".join(re.sub("^- ", "", page, flags=re.MULTILINE).split())
    for text in (
        story.told,
        story.question,
        story.answer.text,
        *story.answer.elsewhere,
        *(line.why for line in story.lines),
    ):
        assert " ".join(text.split()) in words
