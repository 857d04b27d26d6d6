"""The emergency brake: events beyond a hold are not published, and what is published stays fresh."""

import asyncio
import json
import shutil
from hashlib import blake2b, sha256
from pathlib import Path

import pytest

from consumers.produce.appending import Appended, NewEvent
from consumers.produce.waiting import HeldError, wait_for
from consumers.reading.end import holds_at_end
from consumers.state.furthest import open_furthest
from schemas.codec import encode_event
from schemas.events import Hashes
from tests import factory
from tests.client.attacker import Attacker
from tests.client.break_in import break_in
from tests.client.index import FakeClock, Index
from tests.client.processes import MIB, run_for_memory
from tests.factory import Make, digest


def test_a_hold_and_its_release(index: Index) -> None:
    make = Make()
    index.upload("one")
    before = index.publish_and_check()
    hold = make.signing_held(reason="somebody's token was stolen")
    index.append(hold)
    index.upload("two")
    seen = index.publish_and_check()
    assert seen.number > before.number, "the hold is covered at once"
    assert (seen.shown, seen.projects) == (before.size, before.projects)
    index.append(make.signing_released(hold.id))
    assert list(index.publish_and_check().projects) == ["one", "two"]
    assert index.ask_list("rejected", "--all") == []


def test_a_held_service_renews_what_it_has_published(
    tmp_path_factory: pytest.TempPathFactory, clock: FakeClock
) -> None:
    index = Index.create(tmp_path_factory.mktemp("held") / "index", clock=clock)
    index.upload("one")
    before = index.publish_and_check()
    index.append(Make().signing_held())
    index.upload("two")
    for _ in range(20):
        clock.advance(hours=12)
        index.publish()
        assert index.check()._replace(number=0, size=0) == before._replace(number=0, size=0)


def test_a_hold_at_an_earlier_size_stops_where_the_log_is_published(index: Index) -> None:
    make = Make()
    index.upload("one")
    before = index.publish_and_check()
    index.append(make.signing_held(size=1))
    index.upload("two")
    assert index.publish_and_check("--renew").projects == before.projects


def test_the_lowest_of_several_holds_counts(index: Index) -> None:
    make = Make()
    first = make.signing_held()
    index.append(first)
    index.upload("one")
    second = make.signing_held()
    index.append(second)
    index.upload("two")
    index.publish()
    assert index.check().projects == {}
    index.append(make.signing_released(first.id))
    assert list(index.publish_and_check().projects) == ["one"]
    index.append(make.signing_released(second.id))
    assert list(index.publish_and_check().projects) == ["one", "two"]


def test_an_open_claim_beyond_a_hold_is_voided(index: Index) -> None:
    """A signer claimed and died, then came the hold: nobody completes that claim."""
    make = Make()
    index.upload("one")
    claimed = Attacker(index).claim()  # as the signer would have
    hold = make.signing_held(size=2)
    index.append(hold)
    seen = index.publish_and_check()
    assert seen.number > claimed.signed.number
    assert seen.projects == {}
    index.append(make.signing_released(hold.id))
    assert list(index.publish_and_check().projects) == ["one"]


def test_the_online_key_is_replaced_while_a_hold_lasts(index: Index) -> None:
    """The day after a break-in: held, somebody has the online key, it is replaced, lies are undone, released."""
    index.upload("honest")
    before = index.publish_and_check()
    (held,) = index.ask("hold", "--reason", "a break-in")
    index.upload("lie")
    thief = Attacker(index)
    old = next((index.folder / "keys/online").iterdir()).name
    assert "held at 3: 3 events wait" in index.run("ceremony", "--replace-online").lower()
    assert old not in [path.name for path in (index.folder / "keys/online").iterdir()], "it is retired at once"
    seen = index.check()
    assert seen.root == before.root + 1
    assert (seen.shown, seen.projects) == (before.shown, before.projects)
    thief.claim(number=seen.number + 1)
    index.run("remove", "lie-1.0-py3-none-any.whl")
    index.upload("after")
    assert index.publish_and_check().projects == before.projects
    index.run("unhold", "--secret-file", "-", stdin=held["secret"].encode())
    seen = index.publish_and_check()
    assert list(seen.projects) == ["after", "honest", "lie"]
    assert list(seen.projects["lie"].files) == []
    index.check_rebuilt(index.folder.with_name("rebuilt"))
    index.verify()


def test_info_shows_a_hold(index: Index) -> None:
    make = Make()
    hold = make.signing_held()
    index.append(hold)
    index.upload("one")
    index.publish()
    info = index.info()
    assert (info["held_at"], info["waiting"]) == (2, 2)
    assert (info["last"]["size"], info["last"]["content_size"]) == (4, 2)
    assert "held           at 2: 2 events wait\n" in index.run("info")
    index.append(make.signing_released(hold.id))
    assert index.info()["held_at"] is None


def test_publish_and_add_say_what_is_held(index: Index) -> None:
    index.upload("one")
    assert "held" not in index.run("publish").lower()
    index.append(Make().signing_held())
    assert "Held at 3: 1 event waits." in index.run("publish")
    path = index.upload("two")
    assert "Held at 3: 3 events wait." in index.run("add", path)
    assert index.ask("yank", "one==1.0")[-1] == {"ok": True, "events": 1, "held_at": 3, "waiting": 4}
    (made,) = index.ask("publish")
    assert (made["made"], made["size"], made["content_size"], made["held_at"], made["waiting"]) == (True, 7, 3, 3, 4)
    output = index.run("publish")
    assert "Nothing is new since publication 4 (7 events" in output
    assert "Held at 3: 4 events wait." in output


def test_an_event_that_is_held_is_answered_at_once(index: Index) -> None:
    index.upload("one")
    index.publish()
    index.append(Make().signing_held())
    event = factory.encode([Make().project_created("held")])[0]
    output = index.run("append", "--wait", "--wait-seconds", "600", stdin=event, answer=75)
    assert "held at 3: 2 events wait. Already on the log: event 4" in output
    (answer,) = index.ask("append", "--wait", "--wait-seconds", "600", stdin=event, answer=75)
    assert (answer["error"], answer["held_at"], answer["waiting"]) == ("held", 3, 3)
    hold = factory.encode([Make().having(id="second").signing_held()])[0]
    index.publish()
    assert index.ask("append", "--wait", "--wait-seconds", "0.2", stdin=hold, answer=75)[0]["error"] == "not-covered"


def test_an_event_that_is_covered_and_held_is_not_answered(index: Index) -> None:
    """Its verdict is not known before it is folded."""
    index.upload("one")
    index.publish()
    index.append(Make().signing_held())
    (appended, _) = index.ask("append", stdin=factory.encode([Make().project_created("held")])[0])
    index.publish()
    event = NewEvent(b"", appended["type"], "", {})
    with pytest.raises(HeldError, match="held at 3: 2 events wait"):
        asyncio.run(wait_for(index.context, [Appended(appended["event"], "", event)], 600))


def test_without_a_state_an_event_that_is_held_is_answered_too(index: Index) -> None:
    index.append(Make().signing_held())
    event = factory.encode([Make().project_created("held")])[0]
    output = index.run("append", "--wait", "--wait-seconds", "600", stdin=event, answer=75)
    assert "held at 2: 2 events wait. Already on the log: event 3" in output


# --- the commands ------------------------------------------------------------------------------------------------


def test_a_hold_is_locked_and_its_secret_is_printed_once(index: Index, tmp_path: Path) -> None:
    index.upload("one")
    index.publish()
    output = index.run("hold")
    secret = output.split()[-1]
    assert len(secret) == 64
    assert "Held at 3: no publication shows later events." in output
    log = b"".join(path.read_bytes() for path in (index.folder / "log").iterdir())
    assert secret.encode() not in log
    thief = factory.encode([Make().signing_released(held_by(index))])[0]
    index.run("append", stdin=thief)
    index.publish()
    assert [each["code"] for each in index.ask_list("rejected")] == ["locked"]
    assert index.info()["held_at"] == 3


def held_by(index: Index) -> str:
    """The id of the hold that is open."""
    holds = asyncio.run(holds_at_end(index.context)).open
    (name,) = holds
    return name


def test_a_secret_is_written_to_a_new_file(index: Index, tmp_path: Path) -> None:
    path = tmp_path / "brake.secret"
    output = index.run("hold", "--secret-file", path)
    secret = path.read_text().strip()
    assert len(secret) == 64
    assert secret not in output
    assert path.stat().st_mode & 0o777 == 0o600
    assert "brake.secret" in index.run("hold", "--secret-file", path, answer=2), "it is not overwritten"
    assert path.read_text().strip() == secret
    assert len(asyncio.run(holds_at_end(index.context)).open) == 1, "nothing was appended"
    index.run("unhold", "--secret-file", path)
    assert index.info()["held_at"] is None
    (facts,) = index.ask("hold", "--secret-file", tmp_path / "other.secret")
    assert "secret" not in facts


def test_id_and_secret_are_checked_before_anything_is_appended(index: Index) -> None:
    (held,) = index.ask("hold")
    size = index.info()["sizes"]["events"]
    for options, secret, message in (
        (["no-such-hold"], held["secret"], "there is no open hold no-such-hold"),
        ([], "5e" * 32, "that is not the secret"),
        ([], "no secret", "64 hexadecimal digits"),
    ):
        output = index.run("unhold", *options, "--secret-file", "-", stdin=secret.encode(), answer=1)
        assert message in output
        assert index.info()["sizes"]["events"] == size
    (released,) = index.ask("unhold", held["hold"], "--secret-file", "-", stdin=held["secret"].encode())
    assert (released["event"], released["hold"], released["content_size"]) == (3, held["hold"], 3)
    assert "nothing is held" in index.run("unhold", answer=1)


@pytest.mark.parametrize("secret", ["5e" * 31, "5e" * 33, "5g" * 32, "\u0665e" * 32, ""])
def test_what_cannot_be_a_secret_is_said_to_be_none(index: Index, secret: str) -> None:
    index.run("hold", "--secret-file", index.folder / "brake.secret")
    output = index.run("unhold", "--secret-file", "-", stdin=secret.encode(), answer=1)
    assert "a secret is 64 hexadecimal digits" in output
    assert index.info()["held_at"] == 2


def test_a_file_that_has_no_secret_is_said_to_have_none(index: Index, tmp_path: Path) -> None:
    index.run("hold", "--secret-file", tmp_path / "brake.secret")
    (tmp_path / "other").write_bytes(b"\xff\xfe")
    assert "a secret is 64 hexadecimal digits" in index.run("unhold", "--secret-file", tmp_path / "other", answer=1)
    assert "cannot be read: Input/output error" in index.run("unhold", "--secret-file", "/proc/self/mem", answer=1)
    (tmp_path / "other").write_bytes((tmp_path / "brake.secret").read_bytes().strip().upper() + b"\r\n")
    index.run("unhold", "--secret-file", tmp_path / "other")


def test_a_ledger_whose_first_ceremony_is_missing_has_nothing_to_hold_or_to_free(index: Index, tmp_path: Path) -> None:
    path = index.upload("one")
    asyncio.run(begin_again(index))
    assert "this ledger has no root yet" in index.run("hold", answer=1)
    line = json.dumps({"project": "one", "file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()})
    (tmp_path / "list").write_text(line, encoding="utf-8")
    assert "root does not allow" in index.run("free", path.name, "--list", tmp_path / "list", answer=1)
    assert "nothing is held" in index.run("unhold", answer=1)


async def begin_again(index: Index) -> None:
    """Make the log anew, with the record that began the ledger alone."""
    logs = index.context.logs()
    await logs.open()
    (first, *_) = await logs.events.read(0)
    await logs.close()
    for folder in ("log", "state"):
        shutil.rmtree(index.folder / folder)
    logs = await index.context.create_logs(1)
    assert first is not None
    await logs.events.append([first])
    await logs.close()


def test_an_unlocked_hold_needs_no_secret(index: Index) -> None:
    assert "secret" not in index.run("hold", "--unlocked").lower()
    assert "Released" in index.run("unhold")


def test_the_first_of_two_holds_is_released_only_if_told(index: Index) -> None:
    index.upload("one")
    index.publish()
    (first,) = index.ask("hold", "--unlocked")
    index.upload("two")
    (second,) = index.ask("hold", "--unlocked")
    index.upload("three")
    assert "2 holds are open; name one of them" in index.run("unhold", answer=1)
    output = index.run("unhold", first["hold"], answer=1)
    assert "1 other hold would remain, and content would be shown up to 5" in output
    assert "up to 3" in index.run("unhold", second["hold"], answer=1)
    index.run("unhold", first["hold"], "--others-remain")
    assert list(index.publish_and_check().projects) == ["one", "two"]
    index.run("unhold", second["hold"])
    assert list(index.publish_and_check().projects) == ["one", "three", "two"]


def test_a_hold_at_an_earlier_size_says_what_is_shown_already(index: Index) -> None:
    index.upload("one")
    index.publish()
    output = index.run("hold", "--at", "2", "--unlocked")
    assert "Held at 3" in output
    assert "Publications already show 3 events: these stay." in output
    assert "--at 9 would hold nothing back" in index.run("hold", "--at", "9", answer=1)


def test_a_thiefs_holds_end_with_the_next_root_and_ours_stays(index: Index) -> None:
    index.upload("one")
    index.publish()
    locked = [Make().having(id=f"thief-{number}").signing_held(number, lock="0" * 64) for number in range(3)]
    index.append(*locked)
    index.upload("two")
    assert list(index.publish_and_check().projects) == ["one"]
    *_, ours, root, end = index.ask("ceremony", "--holds-end")
    assert (root["root"], end["held_at"]) == (2, 3)
    index.upload("three")
    assert list(index.publish_and_check().projects) == ["one"]
    index.run("unhold", ours["hold"], "--secret-file", "-", stdin=ours["secret"].encode())
    assert list(index.publish_and_check().projects) == ["one", "three", "two"]
    assert "it never goes down (7)" in index.run("ceremony", "--holds-end", "6", answer=2)


def test_holds_end_at_an_index_that_is_given(index: Index) -> None:
    index.append(Make().signing_held(0))
    index.upload("one")
    assert index.publish_and_check().projects == {}
    index.run("ceremony", "--holds-end", "3")
    assert list(index.check().projects) == ["one"]


@pytest.mark.parametrize("change", [["--bins", "8"], ["--html"], ["--renew"]], ids=" ".join)
def test_a_ceremony_says_what_is_held(index: Index, change: list[str]) -> None:
    index.upload("one")
    before = index.publish_and_check()
    index.append(Make().signing_held())
    index.upload("two")
    assert "Held at 3: 3 events wait." in index.run("ceremony", *change)
    assert index.check().projects == before.projects


# --- a million of them -------------------------------------------------------------------------------------------


async def append_holds(index: Index, name: str, size: int, count: int) -> None:
    """Append so many holds of one size."""
    first = f"{name}-0000000"
    event = encode_event(Make().having(id=first).signing_held(size))
    logs = index.context.logs()
    await logs.open()
    for start in range(0, count, 10_000):
        names = (f"{name}-{number:07}" for number in range(start, min(start + 10_000, count)))
        await logs.events.append([event.replace(first.encode(), each.encode()) for each in names])
    await logs.close()


async def length_of_prefix(index: Index) -> int:
    """How many bytes of the position are about the events."""
    async with open_furthest(index.context) as furthest:
        assert furthest is not None
        return len(furthest.position.prefix)


@pytest.mark.slow
def test_a_million_holds_leave_one_number_and_take_little_memory(tmp_path: Path) -> None:
    """A hundred thousand that ended, and a million that did not, read by a follower that begins with nothing."""
    index = Index.create(tmp_path / "index", "--bins", "2")
    index.upload("one")
    index.publish()
    before = asyncio.run(length_of_prefix(index))
    _, _, usual = run_for_memory("publish", "--ledger", index.folder, "--renew")
    asyncio.run(append_holds(index, "ended", 0, 100_000))
    index.run("ceremony", "--holds-end", f"{100_003}")
    index.upload("two")
    asyncio.run(append_holds(index, "low", 100_004, 1))
    asyncio.run(append_holds(index, "open", 100_005, 1_000_000))
    index.upload("three")
    shutil.rmtree(index.folder / "state")
    code, said, peak = run_for_memory("publish", "--ledger", index.folder)
    assert code == 0, said
    assert list(index.check().projects) == ["one"]
    assert asyncio.run(length_of_prefix(index)) < before + 100 + 34 * 20  # of a Merkle tree with at most 20 more roots
    assert peak - usual < 600 * MIB  # whatever their number: slices of the log, and what SQLite keeps in memory
    index.run("unhold", "low-0000000", "--others-remain")
    assert list(index.publish_and_check().projects) == ["one", "two"]


# --- the day after a break-in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("signers", [1, 2])
def test_a_break_in_while_clients_poll(index: Index, tmp_path: Path, signers: int) -> None:
    folder = tmp_path / "break-in"
    folder.mkdir()
    break_in(index, folder, signers=signers)


def test_files_that_wait_are_no_difference(index: Index, tmp_path: Path) -> None:
    """An index stores a file before its event is published. What a hold must not hide is still named."""
    index.upload("one")
    index.publish_and_check()
    index.run("hold", "--unlocked")
    wheel = index.upload("two")
    (tmp_path / "tool").write_bytes(b"tool")
    index.run("add", "--as", "tools/tool", tmp_path / "tool")
    make = Make()
    index.append(make.target_added("simple/one/index.json", "evil"))
    taken = make.file_uploaded("two", filename=wheel.name)  # rejected when it is shown
    blake = blake2b(wheel.read_bytes(), digest_size=32).hexdigest()
    index.append(factory.change(taken, data_hashes=Hashes(sha256=digest("evil"), blake2b_256=blake)))
    assert "complete and unchanged" in index.verify(), "not covered yet"
    index.publish_and_check()
    index.upload("three")
    assert "complete and unchanged" in index.verify()
    path = next(index.public.glob(f"targets/packages/*/*/*/{wheel.name}"))
    spoiled = [path, index.public / "targets/simple/one" / f"{digest('evil')}.index.json", path.with_name("stranger")]
    for each in spoiled:
        each.unlink(missing_ok=True)
        each.write_bytes(b"evil")
    (facts,) = index.ask("verify", "--served", index.public, answer=1)
    problems = {each["path"]: each["problem"] for each in facts["differences"]}
    kinds = ["differs", "unknown", "unknown"]
    assert problems == {
        each.relative_to(index.public).as_posix(): kind for each, kind in zip(spoiled, kinds, strict=True)
    }
