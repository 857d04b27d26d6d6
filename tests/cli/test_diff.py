"""`diff`: what differs between publications, versions, times and events, and who did it."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from consumers.cli.differences import numbered
from tests.client.index import Index
from tests.factory import Make

WHEEL, SDIST = "one-1.0-py3-none-any.whl", "one-1.0.tar.gz"


def changes(index: Index, *arguments: object, section: str = "project") -> list[dict[str, Any]]:
    """The differences that are about projects, or about targets."""
    return [each for each in index.ask_list("diff", *arguments) if section in each]


def test_projects_come_before_targets_and_name_their_events(index: Index) -> None:
    found = changes(index, "1", "4")
    assert [(each["change"], each["project"], each.get("version"), each["events"]) for each in found] == [
        ("added", "one", None, [2]),
        ("added", "one", "1.0", [2, 3]),
        ("yanked", "one", "1.0", [5]),
        ("added", "two", None, [4]),
        ("added", "two", "1.0", [4]),
    ]
    assert found[1]["files"] == [WHEEL, SDIST]
    assert found[2]["reason"] == "broken"
    targets = changes(index, "1", "4", section="target")
    assert {each["change"] for each in targets if "packages/" in each["target"]} == {"added"}
    assert next(each["events"] for each in targets if each["target"].endswith(WHEEL)) == [2]
    output = index.run("diff", "1", "4")
    assert "+ one 1.0 (2 files): " in output
    assert "yanked one 1.0: broken" in output
    assert output.index("Projects") < output.index("Targets")


def test_a_project_comes_with_the_event_that_created_it(index: Index) -> None:
    """And not with a later one that changed its state."""
    make = Make()
    index.append(make.project_created("new"), make.project_status_changed("new", "archived", "unused"))
    index.publish()
    found = changes(index, "4", "5")
    assert [(each["change"], each["events"]) for each in found] == [("added", [6]), ("status", [7])]


def test_backwards_is_the_same_with_what_came_as_what_went(index: Index) -> None:
    forwards, backwards = changes(index, "1", "4", section="target"), changes(index, "4", "1", section="target")
    turned = {"added": "removed", "removed": "added", "changed": "changed"}
    assert [(turned[each["change"]], each["target"]) for each in forwards] == [
        (each["change"], each["target"]) for each in backwards
    ]
    *_, last = index.ask("diff", "4", "1")
    assert last["backwards"] is True
    assert "unyanked one 1.0" in index.run("diff", "4", "3")


def test_sides_are_publications_times_events_and_versions(index: Index) -> None:
    *_, last = index.ask("diff", "0", "#4")
    time = last["to"]["time"]
    assert last["to"]["publication"] == 4
    assert index.ask("diff", "#1", "publication:4") == index.ask("diff", "1", "4")
    *_, by_time = index.ask("diff", "1", time)
    assert by_time["to"]["publication"] == 4
    assert changes(index, "event:1", "event:5") == changes(index, "1", "4")
    *_, last = index.ask("diff", "event:4", "event:5")
    assert (last["changes"], last["settings"]) == (1, 0)
    index.run("remove", "two")
    assert "event 6, pending" in index.run("diff", "4", "event:6")
    assert changes(index, "4", "event:6")[0]["change"] == "removed"


@pytest.mark.parametrize(
    ("side", "answer"),
    [("99", 1), ("event:99", 1), ("2001-01-01", 1), ("root@9", 1), ("bin-0@1", 1), ("nonsense", 2), ("2031-13-01", 2)],
)
def test_what_is_no_side(index: Index, side: str, answer: int) -> None:
    *_, last = index.ask("diff", "1", side, answer=answer)
    assert last["ok"] is False


def test_versions_of_roles(index: Index) -> None:
    index.run("ceremony", "--rotate-online")
    index.publish()
    found = index.ask_list("diff", "root@1", "root@2")
    assert {each["change"] for each in found} >= {"version", "key"}
    (key,) = [each for each in found if each["change"] == "key"]
    assert key["roles"] == ["snapshot", "timestamp"]
    assert key["before"] is None
    assert len(key["events"]) == 1
    signed = json.loads((index.public / "metadata/4.snapshot.json").read_bytes())["signed"]["meta"]
    role, version = next((name, each["version"]) for name, each in signed.items() if each["version"] == 4)
    role = role.removesuffix(".json")
    found = index.ask_list("diff", f"{role}@1", f"{role}@{version}")
    files = [
        json.loads((index.public / f"metadata/{each}.{role}.json").read_bytes())["signed"] for each in (1, version)
    ]
    before, after = ({path: each["hashes"]["sha256"] for path, each in file["targets"].items()} for file in files)
    assert {each["target"] for each in found} == {
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    }
    assert all(each["events"] for each in found)
    assert {each["target"]: each["after"]["sha256"] for each in found if "after" in each}.items() <= after.items()


def test_one_project_alone_counts_and_exit_codes(index: Index) -> None:
    assert {each["project"] for each in changes(index, "1", "4", "--project", "Two")} == {"two"}
    assert index.ask("diff", "1", "4", "--project", "none", answer=1)[-1]["error"] == "negative-answer"
    output = index.run("diff", "1", "4", "--stat")
    assert "5 changes of 2 projects, 0 of keys and settings" in output
    one, two = index.ask_list("diff", "1", "4", "--stat")
    assert (one["project"], two["project"]) == ("one", "two")
    counts = [[each[name] for name in ("added", "removed", "changed", "came_and_went")] for each in (one, two)]
    assert counts == [[3, 0, 1, 0], [2, 0, 0, 0]]
    assert index.ask("diff", "1", "4", "--stat")[-1] == index.ask("diff", "1", "4")[-1]
    assert len(index.ask_list("diff", "1", "4", "--limit", "2")) == 2
    index.run("diff", "1", "1", "--exit-code")
    *_, last = index.ask("diff", "1", "4", "--exit-code", answer=1)
    assert (last["differs"], last["ok"]) == (True, False)


def test_text_of_the_log_is_escaped(index: Index) -> None:
    index.append(Make(also={"id": "evil-1"}).release_yanked("two", "1.0", reason="\x1b[31m\u202eevil"))
    index.publish()
    output = index.run("diff", "4", "5")
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert "evil" in output


def test_events_are_numbered_as_runs_and_summed_up() -> None:
    assert numbered(()) == ""
    assert numbered((7,)) == "event 7"
    assert numbered((1, 2, 3, 7)) == "events 1-3, 7"
    assert numbered(range(0, 2_000, 2)).endswith("20, 22, … (1,000 of them)")


class Page(HTMLParser):
    """What a page loads, links to and names; and whether all elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [tag] * (tag not in {"meta", "link", "img"})
        for name, value in attrs:
            assert name not in {"src", "style", "onclick"}
            self.links += [value or ""] * (name == "href")
            self.ids += [value or ""] * (name == "id")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_loads_nothing_links_to_its_events_and_escapes_everything(index: Index, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script> \"' & \x1b[31m"
    index.append(Make(also={"id": "evil-1", "actorid": "<i>mallory</i>"}).release_yanked("two", "1.0", reason=evil))
    index.run("ceremony", "--rotate-online")
    index.publish()
    for sides in (("1", "6"), ("6", "1"), ("5", "5"), ("root@1", "root@2")):
        index.run("diff", *sides, "--html", tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        page = Page()
        page.feed(text)
        assert not page.open
        assert not {"script", "i", "link", "img"} & set(page.tags)
        assert len(set(page.ids)) == len(page.ids)
        assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
        assert "\x1b" not in text
        assert "url(" not in text
        if sides[0] == "1":
            assert "<script>alert(1)</script>" in page.text
        if sides[0] in {"1", "6"}:
            assert "<i>mallory</i>" in page.text
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["page.html"]
