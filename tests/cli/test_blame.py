"""`blame`: which events made files what they are, and which publications offered them."""

from tests.client.index import Index
from tests.factory import Make

WHEEL, SOURCE = "one-1.0-py3-none-any.whl", "one-1.0.tar.gz"


def test_the_upload_and_the_yank_of_its_release(index: Index) -> None:
    wheel, source = index.ask_list("blame", "one")
    assert [each["file"] for each in (wheel, source)] == [WHEEL, SOURCE]
    assert [each["event"] for each in wheel["events"]] == [2, 5]
    assert (wheel["state"], wheel["yanked"], wheel["offered"]) == ("listed", "broken", [{"first": 2, "last": None}])
    assert index.ask_list("blame", SOURCE) == [source]
    text = index.run("blame", "one")
    assert f"{WHEEL}  listed, yanked: broken, since publication 2" in text
    assert "event 5  yanked one 1.0: broken (publication 4, by " in text


def test_what_was_undone_is_blamed_on_whoever_undid_it(index: Index) -> None:
    index.run("unyank", "one==1.0")
    index.run("remove", WHEEL)
    index.publish()
    index.run("restore", WHEEL)
    wheel, source = index.ask_list("blame", "one")
    assert [each["event"] for each in wheel["events"]] == [2, 6, 8]
    assert [each["event"] for each in source["events"]] == [3, 6]
    assert (wheel["state"], wheel["yanked"]) == ("listed", None)
    assert wheel["events"][-1]["standing"] == "pending"
    assert wheel["offered"] == [{"first": 2, "last": 4}]
    index.publish()
    assert index.ask_list("blame", WHEEL)[0]["offered"] == [{"first": 2, "last": 4}, {"first": 6, "last": None}]


def test_a_quarantine_hides_all_files(index: Index) -> None:
    index.append(Make().project_status_changed("one", "quarantined", "stolen"))
    index.publish()
    (wheel, _) = index.ask_list("blame", "one")
    assert (wheel["state"], wheel["offered"]) == ("hidden", [{"first": 2, "last": 4}])
    assert [each["event"] for each in wheel["events"]] == [2, 5, 6]


def test_at_most_so_many(index: Index) -> None:
    assert [each["file"] for each in index.ask_list("blame", "one", "--limit", "1")] == [WHEEL]


def test_the_files_of_one_release(index: Index) -> None:
    index.append(Make().file_uploaded("one", "1.1"), Make().file_uploaded("two", "1.0"))
    all_of_it = [WHEEL, SOURCE]
    for name in ("one==1.0", "One == 1.0.0", "one==1"):
        assert [each["file"] for each in index.ask_list("blame", name)] == all_of_it
    assert [each["file"] for each in index.ask_list("blame", "one==1.1")] == ["one-1.1.tar.gz"]
    assert "no file of one==2 was ever uploaded" in index.run("blame", "one==2", answer=1)
    assert "no file of none==1 was ever uploaded" in index.run("blame", "none==1", answer=1)
    index.run("blame", "one==", answer=2)


def test_nothing_to_blame(index: Index) -> None:
    index.append(Make().project_created("empty"))
    for name in ("none", "none-1.0.tar.gz", "empty"):
        assert "was ever uploaded" in index.run("blame", name, answer=1)


def test_text_of_the_log_moves_no_cursor(index: Index) -> None:
    index.run("yank", WHEEL, "--reason", "a\u202eb\x1b[31m")
    assert "\x1b" not in index.run("blame", WHEEL)
    assert "\u202e" not in index.run("blame", WHEEL)
