"""`incident window`: from when until when something was offered, and until when a frozen mirror could show it."""

from tests.client.index import Index
from tests.factory import Make

WHEEL, SOURCE = "one-1.0-py3-none-any.whl", "one-1.0.tar.gz"


def test_a_window_of_two_publications(index: Index) -> None:
    index.run("remove", WHEEL, "--reason", "malware")
    index.publish()
    (wheel,) = index.ask_list("incident window", WHEEL)
    (window,) = wheel["windows"]
    assert (wheel["file"], wheel["state"], wheel["event"], window["reach"]) == (WHEEL, "removed", 2, "ended")
    moments = [window[each]["publication"] for each in ("first_offered", "last_offered", "first_without")]
    assert moments == [2, 4, 5]
    assert window["listed"] == [{"from_event": 2, "to_event": 6}]
    assert (window["frozen"]["publication"], window["frozen"]["role"]) == (4, "timestamp")
    signed = {each["role"]: (each["first"], each["last"]) for each in window["carried"]}
    assert (signed["snapshot"], signed["timestamp"], len(signed)) == ((2, 4), (2, 4), 3)
    keyids = {keyid for each in window["carried"] for keyid in each["keyids"]}
    (lost,) = window["lost"]
    assert {lost["keyid"]} == keyids
    assert lost["until"] > window["frozen"]["until"]
    text = index.run("incident window", WHEEL)
    assert "publications 2 to 4, not 5 (listed from event 2 until event 6)" in text
    assert "if an online key counted as lost" in text


def test_all_names_of_a_thing(index: Index) -> None:
    wheel, source = index.ask_list("incident window", "One==1")
    assert (wheel["file"], source["file"]) == (WHEEL, SOURCE)
    assert [wheel["windows"][0]["reach"], wheel["windows"][0]["first_without"]] == ["offered", None]
    for text in (WHEEL, wheel["target"], f"targets/{wheel['target']}", f"sha256:{wheel['sha256']}"):
        assert wheel in index.ask_list("incident window", text)
    assert index.ask_list("incident window", "one==1.0", "--limit", 1) == [wheel]
    assert "until now" in index.run("incident window", WHEEL)


def test_what_no_publication_showed(index: Index) -> None:
    index.upload("three")
    index.run("remove", "three")
    name = "three-1.0-py3-none-any.whl"
    assert "no publication shows it yet" in index.run("incident window", name)
    index.publish()
    assert "never offered: no publication showed it" in index.run("incident window", name)
    index.run("hold", "--unlocked")
    index.upload("four")
    assert "a hold keeps it back" in index.run("incident window", "four==1.0")


def test_what_was_replaced(index: Index) -> None:
    make = Make()
    for content in ("first", "second"):
        index.append(make.target_added("tool", content))
        index.publish()
    first, second = index.ask_list("incident window", "tool")
    assert [(each["kind"], each["state"], each["windows"][0]["reach"]) for each in (first, second)] == [
        ("target", "replaced", "ended"),
        ("target", "listed", "offered"),
    ]


def test_what_there_never_was(index: Index) -> None:
    for text in ("none", "none==1", "packages/none", "ab" * 32):
        assert "there never was" in index.run("incident window", text, answer=1)
    assert "is a page" in index.run("incident window", "simple/one/index.json", answer=1)
