"""`log`: events and publications, and the selectors that choose them."""

from tests.client.index import Index
from tests.factory import Make

WHEEL = "one-1.0-py3-none-any.whl"


def indices(index: Index, *arguments: object) -> list[int]:
    """The events that `log` shows."""
    return [each["event"] for each in index.ask_list("log", *arguments)]


def test_newest_first_or_oldest(index: Index) -> None:
    assert indices(index) == [5, 4, 3, 2, 1, 0]
    assert indices(index, "--oldest-first", "--limit", "2") == [0, 1]
    assert indices(index, "one") == [5, 3, 2]
    assert indices(index, WHEEL) == [2]
    assert indices(index, "--type", "file") == [4, 3, 2]
    assert indices(index, "--type", "incident", "--type", "release.yanked") == [5]
    assert "They begin with access, file, " in index.run("log", "--type", "yanked", answer=2)
    assert "yanked one 1.0: broken" in index.run("log", "--limit", "1")


def test_what_is_about_one_release(index: Index) -> None:
    """Events about the release and about its files, also those that were rejected, and no other of the project."""
    make = Make()
    index.append(
        make.file_uploaded("one", "1.1"),  # 6
        make.file_yanked("one", "one-1.0.tar.gz"),
        make.release_yanked("one", "1.1"),
        make.release_yanked("one", "1.0.0"),  # has no effect
        make.release_yanked("one", "7"),  # 10, rejected
        make.file_uploaded("one", "1.00", filename="one-1.00.zip"),
        make.file_removed("one", "one-1.1.tar.gz"),
        make.project_status_changed("one", "archived"),
        make.file_uploaded("one", "1.0", filename="one-1.0.zip"),  # rejected
        make.file_uploaded("two", "1.0"),
    )
    expected = {"one==1.0": [14, 11, 9, 7, 5, 3, 2], "One==1.1.0": [12, 8, 6], "one==7": [10]}
    for name, events in expected.items():
        assert indices(index, name) == events
        assert indices(index, name, "--oldest-first") == events[::-1]
    assert indices(index, "one==1.0", "--limit", "2", "--type", "release") == [9, 5]
    assert indices(index, "one==7", "--type", "file") == []
    assert "no event is about a release one==8" in index.run("log", "one==8", answer=1)
    index.run("log", "none==1", answer=1)
    index.run("log", "==1", answer=2)
    index.run("log", "--story", "one==1.0", answer=1)


def test_rejected_records_have_a_reason(index: Index) -> None:
    index.append(Make().file_removed("one", "one-9.zip"))
    (event,) = index.ask_list("log", "--rejected")
    assert (event["verdict"], event["code"], event["standing"]) == ("rejected", "no-file", "pending")
    assert index.ask_list("log", "one-9.zip") == [event]
    assert "[rejected, no-file" in index.run("log", "--rejected")


def test_publications(index: Index) -> None:
    assert [each["publication"] for each in index.ask_list("log", "--publications")] == [4, 3, 2, 1]
    chosen = index.ask_list("log", "--publications", "--between", "1", "3", "--oldest-first")
    assert [each["publication"] for each in chosen] == [2, 3]
    assert [each["content_size"] for each in chosen] == [4, 5]
    assert "size 4, shows 2 events more, root 1, signed " in index.run("log", "--publications")
    index.run("log", "--publications", "--rejected", answer=2)
    index.run("log", "--publications", "one", answer=2)


def test_between_publications(index: Index) -> None:
    assert indices(index, "--between", "0", "1") == [1, 0]
    assert indices(index, "--between", "2", "4") == [5, 4]
    assert indices(index, "--between", "2", "2") == []
    index.run("log", "--between", "3", "2", answer=2)
    index.run("log", "--between", "3", "9", answer=1)


def test_a_hold_moves_what_publications_are_the_first_to_show(index: Index) -> None:
    index.run("hold", "--unlocked")
    index.upload("three")
    index.publish()
    index.run("unhold")
    index.publish()
    assert indices(index, "--between", "4", "5") == [6]
    assert indices(index, "--between", "5", "6") == [8, 7]
