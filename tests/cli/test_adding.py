"""What `add` and the commands beside it append, and in whose name."""

from pathlib import Path
from typing import Any

import pytest

from tests.client.index import Index
from tests.distributions import build_wheel


def last_event(index: Index) -> dict[str, Any]:
    """The newest event, as `log` shows it."""
    newest: dict[str, Any] = max(index.ask_list("log"), key=lambda each: int(each["event"]))
    return newest


# --- who acts ----------------------------------------------------------------------------------------------------

ACTING: tuple[tuple[str, ...], ...] = (
    ("add", "{folder}/three-1.0-py3-none-any.whl"),
    ("add", "--as", "tools/x", "{folder}/three-1.0-py3-none-any.whl"),
    ("yank", "two==1.0"),
    ("unyank", "one==1.0"),
    ("remove", "two==1.0"),
    ("restore", "two"),
    ("status", "two", "archived"),
)


@pytest.mark.parametrize("command", ACTING, ids=" ".join)
def test_an_event_says_who_acted(index: Index, tmp_path: Path, command: tuple[str, ...]) -> None:
    build_wheel(tmp_path, "three", "1.0")
    options = ("--actor", "trusted-publisher:github:one", "--credential", "token-7", "--incident", "theft")
    index.run(command[0], *(each.format(folder=tmp_path) for each in command[1:]), *options)
    event = last_event(index)
    assert event["actor"] == {"kind": "trusted-publisher", "id": "github:one"}
    assert (event["credential"], event["incident"]) == ("token-7", "theft")


def test_an_actor_without_a_kind_is_an_administrator(index: Index) -> None:
    for actor in ("alice", "pypi:alice"):
        index.run("yank", "two==1.0", "--actor", actor)
        event = last_event(index)
        assert (event["actor"], event.get("credential")) == ({"kind": "administrator", "id": actor}, None)


@pytest.mark.parametrize(
    "options",
    [("--actor", "two words"), ("--actor", "user:"), ("--actor", ""), ("--credential", "é"), ("--incident", "x" * 129)],
)
def test_names_of_actors_that_are_none(index: Index, options: tuple[str, str]) -> None:
    before = index.info()["sizes"]
    assert options[0] in index.run("yank", "two==1.0", *options, answer=2)
    assert index.info()["sizes"] == before
