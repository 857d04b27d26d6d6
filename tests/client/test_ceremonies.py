"""Changes of offline roles: no client ever fails, with or without a cache."""

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tuf.api.exceptions import RepositoryError

from consumers.produce.appending import append_all
from ledger.clock import SystemClock, to_instant
from ledger.logs import LogUnavailableError
from tests.client.attacker import Attacker
from tests.client.index import Index
from tests.factory import Make
from tests.oracle import check_repository


def online_keys(index: Index) -> set[str]:
    """The key ids of the signer's folder."""
    return {path.stem for path in (index.folder / "keys/online").glob("*.pem")}


def test_planned_rotation_of_the_online_key(index: Index) -> None:
    index.upload("one")
    index.publish_and_check()
    old = online_keys(index)
    index.run("ceremony", "--rotate-online")
    seen = index.check()
    assert seen.root == 3
    assert len(online_keys(index)) == 1
    assert not old & online_keys(index)
    index.upload("two")
    assert list(index.publish_and_check().projects) == ["one", "two"]


def test_clients_accept_every_step_of_a_planned_rotation(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish_and_check()
    index.run("ceremony", "--rotate-online")
    for number in (2, 3, 4):
        # As it was between the steps: what a client that comes just then sees.
        step = tmp_path / f"step-{number}"
        index.rebuild(step, "--at", number, "--files", index.public)
        seen = check_repository(step, index.root, cache=index.cache)
        assert (seen.number, seen.root) == (number, number - 1)


def test_emergency_replacement_of_the_online_key(index: Index) -> None:
    index.upload("one")
    before = index.publish_and_check()
    old = online_keys(index)
    index.run("ceremony", "--replace-online")
    seen = index.check()
    assert (seen.root, seen.number) == (2, before.number + 1)
    assert not old & online_keys(index)
    index.upload("two")
    index.publish_and_check()


def test_what_the_old_key_claims_no_longer_counts(index: Index) -> None:
    index.upload("one")
    index.publish()
    attacker = Attacker(index)
    index.run("ceremony", "--replace-online")
    before = index.check()
    attacker.claim()
    assert index.publish() == before.number
    assert [(each["code"]) for each in index.ask_list("rejected")] == ["seal"]
    assert index.publish_and_check("--renew").projects == before.projects


def test_clients_that_were_fast_forwarded_recover(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish_and_check()
    forged = Attacker(index).forge(tmp_path / "forged", 1_000_000)
    assert check_repository(forged, index.root, cache=index.cache, live=True).number == 1_000_000
    with pytest.raises(RepositoryError):
        check_repository(index.public, index.root, cache=index.cache, live=True)
    index.run("verify", "--served", forged, answer=1)
    index.run("ceremony", "--replace-online")
    assert index.check().number < 1_000_000
    index.upload("two")
    index.publish_and_check()


def test_a_planned_rotation_is_no_way_out_of_a_fast_forward(index: Index, tmp_path: Path) -> None:
    """The floor is: it lifts every version above what was forged."""
    index.upload("one")
    index.publish_and_check()
    forged = Attacker(index).forge(tmp_path / "forged", 1_000)
    check_repository(forged, index.root, cache=index.cache, live=True)
    index.run("ceremony", "--floor", 1_001)
    # Bins stay below what this client saw, so only those that are signed again help it.
    with pytest.raises(RepositoryError):
        check_repository(index.public, index.root, cache=index.cache, live=True)
    index.run("ceremony", "--replace-online")
    assert index.check().number > 1_000


@pytest.mark.parametrize("delegation", ["succinct", "prefixes"])
@pytest.mark.parametrize("counts", [(16, 64, 16), (32, 64, 32), (2, 256, 2)])
def test_bins_grow_and_shrink_and_names_return(tmp_path: Path, delegation: str, counts: tuple[int, ...]) -> None:
    index = Index.create(tmp_path / "index", "--delegation", delegation, "--bins", counts[0])
    for number in range(4):
        index.upload(f"project-{number}")
    before = index.publish_and_check()
    for count in counts[1:]:
        index.run("ceremony", "--bins", count)
        assert index.check().projects == before.projects
        assert index.info()["bins"] == count
        index.upload(f"in-{count}")
        before = index.publish_and_check()
    index.verify()
    index.check_rebuilt(tmp_path / "rebuilt")


def test_delegation_changes(index: Index) -> None:
    index.upload("one")
    before = index.publish_and_check()
    for delegation in ("prefixes", "succinct"):
        index.run("ceremony", "--delegation", delegation)
        assert index.check().projects == before.projects
        index.upload(f"by-{delegation}")
        before = index.publish_and_check()


def test_the_largest_ceremony_that_prefixes_allow(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "index", "--delegation", "prefixes", "--bins", 256)
    index.upload("one")
    index.publish()
    index.run("ceremony", "--rotate-online", "--renew")
    assert index.check().filenames() == ["one-1.0-py3-none-any.whl"]


def test_everything_at_once(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish_and_check()
    index.run("ceremony", "--replace-online", "--renew", "--bins", 64, "--no-html", "--floor", 1000)
    assert index.check().number == 1000
    index.run(
        "ceremony", "--rotate-online", "--bins", 16, "--html", "--bin-expiry", "1h", "--project-list-interval", "1h"
    )
    index.check()
    index.upload("two")
    assert list(index.publish_and_check().projects) == ["one"], "the list of projects is rendered once an hour"
    index.run("ceremony", "--project-list-interval", "0s")
    assert list(index.check().projects) == ["one", "two"]
    index.check_rebuilt(tmp_path / "rebuilt")


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ((), 2),
        (("--bins", 3), 2),
        (("--bins", 131_072), 2),
        (("--bins", 512, "--delegation", "prefixes"), 2),
        (("--rotate-online", "--replace-online"), 2),
        (("--void", "1"), 2),
        (("--void", "1:xyz"), 2),
        (("--bin-expiry", "1s"), 2),
        (("--bin-expiry", "soon"), 2),
    ],
)
def test_senseless_ceremonies_change_nothing(index: Index, options: tuple[object, ...], answer: int) -> None:
    before = index.info()["sizes"]
    index.run("ceremony", *options, answer=answer)
    assert index.info()["sizes"] == before
    index.check()


def test_old_filenames_until_the_import_ends(tmp_path: Path) -> None:
    index = Index.create(tmp_path / "importing", "--importing")
    make = Make()
    index.append(make.file_uploaded("old", "dev", filename="old-dev ('<1>').exe", legacy=True))
    index.run("publish")
    index.run("ceremony", "--end-importing")
    index.append(make.file_uploaded("old", "dev", filename="old-dev-2.exe", legacy=True))
    index.run("publish")
    assert [each["code"] for each in index.ask_list("rejected")] == ["foreign-filename"]
    assert "old-dev ('<1>').exe" in index.run("status", "old")
    index.check(files=False)


def test_a_ceremony_that_breaks_a_rule_is_rejected_and_says_so(index: Index) -> None:
    index.run("ceremony", "--floor", 100)
    assert "rejected" in index.run("ceremony", "--floor", 99, answer=1)
    assert [each["code"] for each in index.ask_list("rejected")] == ["roles-settings"]
    index.upload("one")
    index.publish_and_check()


# --- ceremonies that were interrupted ------------------------------------------------------------------------------


def retired_keys(index: Index) -> set[str]:
    """The key ids of what is out of the signer's reach."""
    return {path.stem for path in (index.folder / "keys/retired").glob("*.pem")}


def forge(index: Index) -> int:
    """Let a thief serve a timestamp ahead of the log; returns its number."""
    number = index.check().number + 5
    Attacker(index).forge_in_place(index.public, number)
    return number


def test_replacing_the_key_over_a_forgery_goes_on_where_it_stopped(index: Index) -> None:
    index.upload("one")
    index.publish_and_check()
    (old,) = online_keys(index)
    number = forge(index)
    sizes = index.info()["sizes"]["events"]
    for attempt in range(3):
        output = index.run("ceremony", "--replace-online", answer=2)
        assert f"FORGED: signed outside the log by {old} (online since root 1 of " in output
        assert ", until root 2)" in output, "although no publication covers that root"
        assert "Root 2 is on the log, and no publication covers it yet" in output
        assert (f"Key {old} is replaced. It is out of the signer's reach, in " in output) is (attempt == 0)
        assert ("is on the log already" in output) is (attempt > 0)
        assert index.info()["sizes"]["events"] == sizes + 1, "no root twice"
        assert old in retired_keys(index)
        assert len(online_keys(index)) == 1
    (error,) = index.ask("ceremony", "--replace-online", answer=2)
    assert (error["error"], error["root"]) == ("forged", 2)
    index.run("resume", "--above", number, "--forged")
    ((signed), _) = index.ask("ceremony", "--replace-online")
    assert (signed["root"], signed["publication"]) == (2, number + 1)
    assert index.check(live=True).root == 2
    # It is finished. The same command is another ceremony now: the next theft must not be taken for the last one.
    (new,) = online_keys(index)
    ((signed), _) = index.ask("ceremony", "--replace-online")
    assert (signed["root"], signed["retired"]) == (3, [new])
    assert retired_keys(index) == {old, new}
    index.check(live=True)


@pytest.mark.parametrize("options", [("--time-from", "{now}"), ("--holds-end",), ("--void", "{void}")], ids=str)
def test_what_was_asked_for_is_decided_once(index: Index, options: tuple[str, ...]) -> None:
    index.upload("one")
    index.publish_and_check()
    values = {"now": to_instant(SystemClock().now() - timedelta(hours=1)), "void": ""}
    if "--void" in options:
        values["void"] = ":".join(map(str, Attacker(index).divergent()))
        index.run("publish", answer=2)
    number = forge(index)
    asked = ("ceremony", "--replace-online", *(each.format(**values) for each in options))
    assert "Root 2 is on the log" in index.run(*asked, answer=2)
    sizes = index.info()["sizes"]["events"]
    for _ in range(2):
        assert "Root 2 is on the log" in index.run(*asked, answer=2)
    index.run("resume", "--above", number, "--forged")
    index.run(*asked)
    assert index.info()["sizes"]["events"] == sizes
    assert index.check(live=True).root == 2


def test_a_publication_that_came_meanwhile_ends_it_too(index: Index) -> None:
    number = forge(index)
    index.run("ceremony", "--replace-online", answer=2)
    (new,) = online_keys(index)
    index.run("resume", "--above", number, "--forged")
    index.publish()
    ((signed), _) = index.ask("ceremony", "--replace-online")
    assert (signed["root"], signed["retired"]) == (3, [new])


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_rotation_in_two_roots_goes_on_with_the_second(
    index: Index, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    old = online_keys(index)
    calls = []

    async def lose(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2 and lost == "before":
            raise LogUnavailableError("the broker is gone")
        appended = await append_all(*arguments)
        if len(calls) == 2:
            raise LogUnavailableError("the broker is gone")
        return appended

    with monkeypatch.context() as patched:
        patched.setattr("consumers.cli.commands.ceremony.append_all", lose)
        index.run("ceremony", "--rotate-online", answer=75)
    made = online_keys(index)
    assert len(made) == 2
    output = index.run("ceremony", "--rotate-online")
    assert output.count("is on the log already") == (1 if lost == "before" else 2)
    assert index.check(live=True).root == 3
    assert (retired_keys(index), online_keys(index)) == (old, made - old)


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_record_that_may_not_have_come(index: Index, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """Appended or not, the log knows; the key that was made for it is used, and no other."""

    async def fail(*arguments: Any) -> Any:
        if lost == "after":
            await append_all(*arguments)
        raise LogUnavailableError("the broker is gone")

    with monkeypatch.context() as patched:
        patched.setattr("consumers.cli.commands.ceremony.append_all", fail)
        index.run("ceremony", "--replace-online", answer=75)
    made = online_keys(index)
    assert len(made) == 2
    index.run("ceremony", "--replace-online")
    assert index.check(live=True).root == 2
    assert online_keys(index) < made
    assert not (index.folder / "keys/unfinished-ceremony.json").exists()


def test_another_ceremony_does_not_go_on_with_it(index: Index) -> None:
    number = forge(index)
    index.run("ceremony", "--replace-online", answer=2)
    index.run("ceremony", "--html", answer=2)
    assert index.info()["sizes"]["events"] == 4
    index.run("resume", "--above", number, "--forged")
    index.publish()
    assert index.check(live=True).root == 3
    index.run("ceremony", "--bins", 64)
    assert index.check(live=True).root == 4


def test_a_damaged_note_of_a_ceremony_is_named(index: Index) -> None:
    (index.folder / "keys/unfinished-ceremony.json").write_bytes(b"{")
    sizes = index.info()["sizes"]
    assert "unfinished-ceremony.json cannot be read" in index.run("ceremony", "--replace-online", answer=2)
    assert index.info()["sizes"] == sizes
    assert len(online_keys(index)) == 1


def test_a_name_that_a_thief_took_is_freed(index: Index, tmp_path: Path) -> None:
    index.upload("victim")
    bad = index.upload("victim", "2.0", files={"evil.py": b"evil"})
    other = index.upload("victim", "3.0", files={"evil.py": b"evil"})
    index.publish()
    served = [path.relative_to(index.public) for path in index.public.rglob(f"*{bad.name}*")]
    assert len(served) == 3
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in (bad, other)}
    lines = [json.dumps({"project": "victim", "file": name, "sha256": digest}) for name, digest in digests.items()]
    listed = tmp_path / "squatted.ndjson"
    listed.write_text("\n".join(lines), encoding="utf-8")
    index.run("remove", bad.name, "--reason", "malware")
    assert "root does not allow" in index.run("free", bad.name, "--list", listed, answer=1)
    index.run("ceremony", "--freeable", listed)
    assert "stands 0 times" in index.run("free", "victim-4.0.tar.gz", "--list", listed, answer=1)

    index.run("free", bad.name, "--list", listed, "--reason", "stolen token")
    index.publish()
    assert f"{bad.name}  freed" in index.run("status", "victim")
    assert "never come back" in index.run("add", bad, answer=1)
    honest = index.upload("victim", "2.0", files={"good.py": b"good"})
    seen = index.publish_and_check()
    assert honest.name in seen.filenames()
    assert other.name in seen.filenames()
    index.verify()
    index.check_rebuilt(tmp_path / "again")
    assert not any((index.public / path).exists() for path in served), "the bytes of a freed file are withheld"
    index.run("ceremony", "--no-freeable")
    assert "root does not allow" in index.run("free", other.name, "--list", listed, answer=1)


def test_a_list_says_a_file_once_or_twice_but_one_file_only(index: Index, tmp_path: Path) -> None:
    path = index.upload("victim")
    index.publish()
    index.run("remove", path.name)
    line = json.dumps({"project": "victim", "file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()})
    other = line.replace("victim", "other", 1)
    (tmp_path / "one").write_text(f"{line}\n{line}", encoding="utf-8")
    refused = {2: f"{line}\n{other}", 0: other.replace(path.name, "other-1.0.zip")}
    for times, lines in refused.items():
        (tmp_path / "list").write_text(lines, encoding="utf-8")
        index.run("ceremony", "--freeable", tmp_path / "list")
        size = index.info()["sizes"]["events"]
        said = index.run("free", path.name, "--list", tmp_path / "list", answer=1)
        assert f"stands {times} times" in said
        assert index.info()["sizes"]["events"] == size
    index.run("ceremony", "--freeable", tmp_path / "one")
    index.run("free", path.name, "--list", tmp_path / "one")
    index.publish()
    assert f"{path.name}  freed" in index.run("status", "victim")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "lists no file"),
        ("{}", "is no list of files"),
        ('{"project":"a","file":"a-1.zip","sha256":"x"}', "is no list of files"),
        ("[", "is no list of files"),
    ],
)
def test_what_is_no_list_of_files_is_refused(index: Index, tmp_path: Path, content: str, why: str) -> None:
    listed = tmp_path / "list.ndjson"
    listed.write_text(content, encoding="utf-8")
    assert why in index.run("ceremony", "--freeable", listed, answer=1)
    assert why in index.run("free", "a-1.zip", "--list", listed, answer=1)
    for words in (("ceremony", "--freeable"), ("free", "a-1.zip", "--list")):
        assert "cannot be read" in index.run(*words, tmp_path / "none", answer=1)
    index.run("ceremony", "--freeable", listed, "--no-freeable", answer=2)
