"""`incident rehearse`: stories are listed, played in a folder of their own, and the answer stays sealed."""

import json
from pathlib import Path

import pytest

from consumers.incidents.stories.shelf import STORIES
from tests.client.index import invoke

NAME = "unused-tokens"


def test_the_answer_is_sealed(tmp_path: Path) -> None:
    folder, story = tmp_path / "night", STORIES[NAME]()
    played = invoke("incident", "rehearse", NAME, "--to", folder).output
    assert story.question in played
    assert f"incident rehearse --answer --to {folder}" in played
    assert not any(text in played for text in (*(line.why for line in story.lines), *story.answer.elsewhere))
    answer = invoke("incident", "rehearse", "--answer", "--to", folder).output
    assert "Suspect events: none." in answer
    assert all(f"\n  {line.whole.partition(' --since')[0]}" in answer for line in story.lines)
    assert "2025-09-0" not in played + answer, "dates are moved"
    assert "2025-09-02" in invoke("incident", "rehearse", NAME, "--answer").output
    assert "is a rehearsal of" in invoke("incident", "rehearse", "worm", "--answer", "--to", folder, answer=2).output


def test_rehearsing_for_machines(tmp_path: Path) -> None:
    output = invoke("incident", "rehearse", NAME, "--json", "--to", tmp_path / "night").output
    played = json.loads(output)
    assert (played["ok"], played["story"], played["to"]) == (True, NAME, str(tmp_path / "night"))
    *lines, last = invoke("incident", "rehearse", "--answer", "--json", "--to", tmp_path / "night").output.splitlines()
    assert [json.loads(line)["exit"] for line in lines] == [line.exit_code for line in STORIES[NAME]().lines]
    assert json.loads(last)["suspects"] == []


def test_the_own_incident_is_compared_with_the_answer(tmp_path: Path) -> None:
    folder, suspects = tmp_path / "night", STORIES["late-file"]().suspects
    invoke("incident", "rehearse", "late-file", "--to", folder)

    def answer() -> tuple[str, dict[str, list[int]]]:
        *_, last = invoke("incident", "rehearse", "--answer", "--json", "--to", folder).output.splitlines()
        return invoke("incident", "rehearse", "--answer", "--to", folder).output, json.loads(last)

    text, facts = answer()
    assert "Your incident" not in text
    assert "overlooked" not in facts
    for name, events, (beyond, overlooked) in (("first", "28", ([28], suspects)), ("second", "29", ([28], []))):
        invoke("incident", "open", name, "--events", events, "--ledger", folder)
        text, facts = answer()
        assert (facts["beyond"], facts["overlooked"]) == (beyond, overlooked)
        assert "events that do not belong to it: 28" in text
        assert ("events that it lacks: 29" in text) == bool(overlooked)
    invoke("incident", "amend", "first", "--take-away", "--events", "28", "--empty", "--ledger", folder)
    assert "Your incidents (first, second): exactly these events." in answer()[0]


def test_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    output = invoke("incident", "rehearse", NAME).output
    (folder,) = tmp_path.iterdir()
    assert f"The ledger is in {folder}" in output


def test_bad_rehearsals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no story" in invoke("incident", "rehearse", "night", answer=2).output
    assert "say which story" in invoke("incident", "rehearse", "--to", tmp_path / "new", answer=2).output
    assert "say whose answer" in invoke("incident", "rehearse", "--answer", answer=2).output
    assert "is no rehearsal" in invoke("incident", "rehearse", "--answer", "--to", tmp_path, answer=1).output
    (tmp_path / "rehearsal.json").write_text("[]")
    assert "cannot be read" in invoke("incident", "rehearse", "--answer", "--to", tmp_path, answer=1).output
    assert "is not empty" in invoke("incident", "rehearse", NAME, "--to", tmp_path, answer=2).output
    monkeypatch.setenv("TUF_LEDGER_LEDGER_LOG", "kafka://broker:9092/index")
    refused = invoke("incident", "rehearse", NAME, "--to", tmp_path / "new", answer=2).output
    assert "unset the variables TUF_LEDGER_" in refused
    assert not (tmp_path / "new").exists()
