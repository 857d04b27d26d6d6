"""`incident report`: the command's renderings, and what it refuses."""

import json
from pathlib import Path

import pytest

from tests.client.index import Index


@pytest.fixture
def reported(index: Index) -> Index:
    """An incident about the project `one`, of which one file was removed since."""
    index.run("incident open", "theft", "--project", "one", "--reason", "A | stolen token")
    index.run("remove", "one-1.0-py3-none-any.whl")
    index.publish()
    return index


def test_the_same_bytes_again(reported: Index) -> None:
    for options in ((), ("--markdown",), ("--osv",), ("--json",)):
        first = reported.run("incident report", "theft", *options)
        assert first == reported.run("incident report", "theft", *options)
    reported.run("incident note", "theft", "seen")
    assert json.loads(reported.run("incident report", "theft", "--json"))["head"]["size"] == 10


def test_a_list_of_burnt_names_is_one_that_root_can_allow(reported: Index, tmp_path: Path) -> None:
    (found,) = reported.ask("incident report", "theft")
    burnt = [{name: each[name] for name in ("project", "file", "sha256")} for each in found["burnt"]]
    assert {each["file"] for each in burnt} == {"one-1.0-py3-none-any.whl", "one-1.0.tar.gz"}
    listed = tmp_path / "list"
    listed.write_text("".join(f"{json.dumps(each)}\n" for each in burnt))
    reported.run("ceremony", "--freeable", listed)
    reported.publish()
    root = json.loads(max((reported.public / "metadata").glob("*.root.json")).read_bytes())
    assert found["freeable"] in root["signed"]["x-ledger"]["freeable"]


def test_a_page_and_other_forms(reported: Index, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert "Wrote" in reported.run("incident report", "theft", "--html", page)
    assert "<svg" in page.read_text()
    assert "# Incident theft: A \\| stolen token" in reported.run("incident report", "theft", "--markdown")
    (record,) = [json.loads(line) for line in reported.run("incident report", "theft", "--osv").splitlines()]
    assert record["affected"][0]["versions"] == ["1.0"]
    text = reported.run("incident report", "theft", "--url", "https://files.example.org/")
    assert "https://files.example.org/targets/packages/" in text
    assert "  targets/packages/" in reported.run("incident report", "theft")


def test_what_it_refuses(reported: Index, tmp_path: Path) -> None:
    assert "only one of them" in reported.run("incident report", "theft", "--osv", "--markdown", answer=2)
    assert "cannot" in reported.run("incident report", "theft", "--html", tmp_path / "none/report.html", answer=2)
