"""`incident open`, `amend`, `list`, `show`, `note`: the list of an incident is frozen, whatever happens meanwhile."""

from typing import Any

import pytest

from consumers.cli.options import asking
from consumers.incidents.known_incidents import load_incident
from consumers.incidents.recording import incident_event, list_records, read_back
from consumers.incidents.suspects import freeze
from consumers.produce.appending import append_all
from schemas import events
from schemas.errors import NegativeAnswerError
from tests.client.index import Index
from tests.factory import Make


def shown(index: Index, name: str = "theft", *options: object) -> tuple[list[Any], dict[str, Any]]:
    """The events that `incident show` lists, and what it says at its end."""
    *items, last = index.ask("incident show", name, *options)
    return items, last


def listed(index: Index, name: str = "theft") -> list[int]:
    """The events in the list of an incident."""
    return [each["event"] for each in shown(index, name)[0] if each["selected"]]


def size_of(index: Index) -> int:
    return int(index.info()["sizes"]["events"])


def test_a_preview_writes_nothing(index: Index) -> None:
    before = size_of(index)
    *items, last = index.ask("incident open", "theft", "--project", "one", "--preview", "--limit", 2)
    assert [each["event"] for each in items] == [2, 3]
    assert (last["count"], last["by_project"], last["unknown"]) == (3, {"one": 3}, [])
    assert last["by_type"] == {"file.uploaded.v1": 2, "release.yanked.v1": 1}
    text = index.run("incident open", "theft", "--project", "one", "--preview", "--limit", 1)
    assert "3 events of 6 would be in the list of theft. Nothing was written." in text
    assert "… and 2 more" in text
    assert size_of(index) == before
    assert index.ask_list("incident list") == []
    assert index.run("incident list") == "No incident was ever opened.\n"


def test_the_list_is_frozen_and_the_question_asked_again(index: Index) -> None:
    (opened,) = index.ask("incident open", "theft", "--project", "one", "--since", "2020-01-01", "--reason", "a token")
    assert (opened["version"], opened["count"], opened["event"], opened["records"]) == (1, 3, 6, 2)
    index.append(Make().project_created("three"), Make().release_unyanked("one", "1.0"))
    items, last = shown(index)
    assert [(each["event"], each["selected"], each["matches"]) for each in items] == [
        (9, False, True),
        *((event, True, True) for event in (2, 3, 5)),
    ]
    assert (last["title"], last["state"], last["only_now"], last["no_longer"]) == ("a token", "open", 1, 0)
    assert (last["made_of"], last["made_at"], last["selection"]) == (6, 4, opened["selection"])
    assert last["selectors"] == ["since=2020-01-01T00:00:00Z", "project=one"]
    text = index.run("incident show", "theft")
    assert "Its selectors also find 1 event that the list does not have:\nevent 9" in text
    (amended,) = index.ask("incident amend", "theft")
    assert (amended["version"], amended["count"], amended["added"], amended["removed"]) == (2, 4, 1, 0)
    assert listed(index) == [2, 3, 5, 9]


def test_adding_and_taking_away(index: Index) -> None:
    index.run("incident open", "theft", "--project", "one", "--not", "events=5")
    index.run("incident amend", "theft", "--project", "two", "--preview")
    assert listed(index) == [2, 3]
    index.run("incident amend", "theft", "--project", "two", "--reason", "more")
    assert listed(index) == [2, 3, 4]
    index.run("incident amend", "theft", "--take-away", "--events", "3..4", "--reason", "that was alice")
    assert listed(index) == [2]
    items, last = shown(index)
    assert [each["what"].partition(": ")[2] for each in last["noted"]] == [
        "version 2 of the list: added 1 event found by project=two: more",
        "version 3 of the list: took 2 events away found by events=3..4: that was alice",
    ]
    assert [each["event"] for each in items if not each["selected"]] == [3], "it was taken away, and is found still"
    for options in (("--project", "one", "--not", "events=3", "--not", "events=5"), ("--take-away", "--events", "4")):
        assert "the list stays as it is" in index.run("incident amend", "theft", *options, answer=1)
    index.run("incident amend", "theft", "--take-away", answer=2)
    assert "no event is selected" in index.run("incident amend", "theft", "--take-away", "--events", "2", answer=1)
    index.run("incident amend", "theft", "--take-away", "--events", "2", "--empty")
    assert listed(index) == []
    assert "The list is empty." in index.run("incident show", "theft")


def test_the_answer_may_be_none(index: Index) -> None:
    before = size_of(index)
    refused = index.run("incident open", "leak", "--credential", "token:ci", answer=1)
    assert "note: no event was made with credential token:ci" in refused
    assert "no event is selected" in refused
    index.run("incident open", "leak", answer=2)
    assert size_of(index) == before
    (opened,) = index.ask("incident open", "leak", "--credential", "token:ci", "--empty")
    assert (opened["count"], opened["unknown"]) == (0, ["no event was made with credential token:ci"])
    index.run("incident open", "question", "--empty")
    assert (listed(index, "leak"), listed(index, "question")) == ([], [])
    assert "name at least one selector" in index.run("incident amend", "question", answer=2)


def test_names_that_the_log_does_not_have_are_said(index: Index) -> None:
    options = ("--actor", "mallory", "--publisher", "x", "--project", "five", "--sha256", "ab" * 32, "--key", "abcdef")
    _, *unknown = index.ask("incident open", "theft", *options, "--events", "3..99", "--preview", "--empty")[-1].items()
    said = dict(unknown)["unknown"]
    assert len(said) == 6
    assert "there are 6 events, so not all of 3..99" in said
    (_, last) = index.ask("incident open", "theft", "--project", "one", "--project", "onne", "--preview", "--limit", 1)
    assert (last["count"], last["unknown"]) == (3, ["no event is about project onne"])


def test_a_name_is_used_once(index: Index) -> None:
    index.run("incident open", "theft", "--project", "one")
    refused = index.ask("incident open", "theft", "--project", "two", answer=1)[-1]
    assert refused["message"].startswith("incident theft is open since event 6.")
    index.append(Make().incident_closed("theft"))
    assert "was closed by event 8" in index.run("incident open", "theft", "--project", "two", answer=1)
    assert "is closed" in index.run("incident amend", "theft", "--project", "two", answer=1)
    index.run("incident note", "theft", "one more thing")
    assert (listed(index), shown(index)[1]["state"]) == ([2, 3, 5], "closed")
    (again,) = index.ask("incident open", "theft", "--project", "two", "--again", "--reason", "it goes on")
    assert (again["version"], listed(index)) == (2, [4])
    assert (shown(index)[1]["state"], shown(index)[1]["title"]) == ("open", "it goes on")


def test_incidents_may_overlap_and_be_about_each_other(index: Index) -> None:
    """What answers to an incident is no part of it; it may be part of another one."""
    index.run("incident open", "theft", "--project", "one")
    index.append(Make().having(incident="theft").release_quarantined("one", "1.0"))
    index.run("incident open", "mistake", "--project", "one", "--since", "2020-01-01")
    assert listed(index, "mistake") == [2, 3, 5, 8]
    items, last = shown(index)
    assert ([each["event"] for each in items], last["measures"]) == ([2, 3, 5], 1)
    assert [each["incident"] for each in index.ask_list("incident list")] == ["theft", "mistake"]
    assert len(index.ask_list("incident list", "--limit", 1)) == 1
    assert "opened by event 6 of" in index.run("incident list")


def test_an_incident_is_opened_while_held(index: Index) -> None:
    index.run("hold", "--unlocked")
    index.upload("three")
    index.run("incident open", "theft", "--project", "three")
    index.run("incident note", "theft", "held in time", "--event", 7, "--publication", 4)
    assert listed(index) == [7]
    (item,), _ = shown(index)
    assert item["standing"] == "held"


def test_notes_are_about_what_there_is(index: Index) -> None:
    index.run("incident open", "theft", "--project", "one")
    before = size_of(index)
    for options in (("--event", 99), ("--publication", 99)):
        assert "nothing was appended" in index.run("incident note", "theft", "text", *options, answer=1)
    assert "there are theft" in index.run("incident note", "thief", "text", answer=1)
    assert size_of(index) == before
    index.run("incident note", "theft", "\x1b[2Jgone")
    assert "\x1b" not in index.run("incident show", "theft")


def test_lists_that_do_not_count_are_counted(index: Index) -> None:
    """Somebody who may append cannot end an incident, nor take its list away with a wrong one."""
    index.run("incident open", "theft", "--project", "one")
    make = Make()
    wrong = {"selection": "ab" * 32, "size": 6, "count": 1, "runs": ((4, 5),)}
    index.append(
        make.incident_selected("theft", version=2, **wrong),
        make.incident_selected("theft", version=2**53, **wrong),
        make.incident_selected("theft", version=2, parts=2, **wrong),
    )
    assert listed(index) == [2, 3, 5]
    assert "3 lists on the log that do not count" in index.run("incident show", "theft")
    index.run("incident amend", "theft", "--project", "two")
    assert (listed(index), shown(index)[1]["version"]) == ([2, 3, 4, 5], 2)


def test_selectors_that_nobody_can_read(index: Index) -> None:
    """Other programs may open incidents."""
    data = events.IncidentOpenedData(title="\u202e", selectors=("everything", "actor=\u202e"))
    index.append(Make().event(events.IncidentOpened, "odd", data))
    assert "'everything' is no selector" in index.run("incident show", "odd")
    assert "It has no list." in index.run("incident show", "odd")
    index.run("incident amend", "odd", "--project", "one")
    assert listed(index, "odd") == [2, 3, 5]


async def test_two_responders_at_once(index: Index) -> None:
    """The first list that is complete is in force. Whose list is not is told so."""
    context = index.context
    drafts = []
    async with asking(context) as asked:
        for runs in (((2, 4),), ((4, 5),)):
            selected = await asked.database.run(freeze, runs)
            opened = incident_event("opened", "theft", {"title": f"{runs}"})
            drafts.append((selected, [opened, *await list_records(context, asked, "theft", selected, 1)]))
    (first, records), (second, others) = drafts
    await append_all(context, [records[0], *others, *records[1:]])
    async with asking(context) as asked:
        known = await read_back(asked, "theft", second, 1)
        assert (known.ignored, known.title) == (1, "((2, 4),)")
        with pytest.raises(NegativeAnswerError, match="another list is in force: somebody else amended"):
            await read_back(asked, "theft", first, 1)
        with pytest.raises(NegativeAnswerError, match="does not count"):
            await read_back(asked, "theft", first, 2)
        with pytest.raises(NegativeAnswerError, match="was not accepted"):
            await read_back(asked, "other", first, 1)
        found = await asked.database.run(load_incident, asked, "theft")
        assert found == known


@pytest.mark.parametrize("name", ["a stolen token", "", "é", "x\x1b[2J", "a" * 129])
def test_a_name_has_no_spaces(index: Index, name: str) -> None:
    said = index.run("incident open", name, "--project", "one", "--preview", answer=2)
    assert "printable ASCII, without spaces" in " ".join(said.split())
