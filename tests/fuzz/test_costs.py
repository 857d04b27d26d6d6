"""What an event may cost: no more than in proportion to its length, whatever it holds.

Calls and stored bytes are counted. Where there is nothing to count, the processor times of two inputs are compared, and
what is told apart differs by a factor of ten or more.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import product
from time import process_time
from typing import Any

import msgspec
import pytest

from consumers.context import Context
from consumers.limits import LIMITS
from consumers.work import spill as partitions
from ledger.state.position import load_position
from projections.index.chunks import Aggregate, Change, ChunkedMap
from projections.index.distributions import rows_read_by
from projections.index.fold import Folded, fold_events
from projections.index.names import check_filename, release_key
from projections.index.upload_times import Bracket, UploadTimes, pack_brackets
from projections.log.reading import Routed
from projections.outcomes import rejected
from projections.roles.authority import Terms
from schemas.codec import Rejection, decode_event, decode_publication_record
from schemas.events import MAX_EVENT_BYTES, ProjectStatus
from tests import factory
from tests.factory import Make
from tests.fuzz import oracle
from tests.fuzz.world import SMALL, World

# --- batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [1, 5])
async def test_a_batch_that_is_spilled(world: World, monkeypatch: pytest.MonkeyPatch, items: int) -> None:
    """More than 20,000 events in one publication, or since the position that a follower skips from."""
    monkeypatch.setattr(Context, "limits", LIMITS._replace(items_per_partition=items, buffered_items=1))
    async with world.signing() as signing:
        make = world.make
        made = [make.file_uploaded(name, version) for name in ("a", "b", "c") for version in ("1", "2")]
        assert await signing.publish(*made, make.file_removed("a", "a-1.tar.gz"), make.target_added("t"))
    await oracle.check(world)


def routed(*values: bytes) -> list[Routed]:
    prefix = factory.ready_prefix(Make(), SMALL)
    return prefix.extend(values)[1].routed


def stuffed() -> dict[str, bytes]:
    """Events of the greatest length that do very little."""
    make = Make()
    erased = factory.encode([make.opening_erased("x", ["ab"] * 12_900)])
    noted = factory.encode([make.access("noted", note="x" * 64_000)])
    incident = factory.encode([make.incident_noted(note="x", events=tuple([1] * 32_000))])
    commitments = {f"{number}": "0" * 64 for number in range(880)}
    upload = factory.encode([make.file_uploaded("a", commitments=commitments)])
    yank = factory.encode([make.file_yanked("a", "a-1.0.tar.gz", "x" * 64_000)])
    return {"erased": erased[0], "noted": noted[0], "incident": incident[0], "upload": upload[0], "yank": yank[0]}


@pytest.mark.parametrize("name", stuffed())
def test_an_event_on_its_way_to_its_aggregate_is_small(name: str) -> None:
    """A partition holds 20,000 of them decoded: of `erased` that is 1.3 GB of log and 15 GB of memory."""
    value = stuffed()[name]
    assert 50_000 < len(value) <= MAX_EVENT_BYTES
    (item,) = routed(value)
    assert len(msgspec.msgpack.encode(item)) < 5_000


async def test_nobody_chooses_the_partition(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition is in memory as a whole: no hash that can be computed beforehand decides what falls into it."""
    taken = []
    take = partitions.Partitions.take

    def counting(self: Any, index: int) -> Any:
        items = take(self, index)
        taken.append(sum(isinstance(each, Routed) for each in items))
        return items

    monkeypatch.setattr(Context, "limits", LIMITS._replace(items_per_partition=100))
    monkeypatch.setattr(partitions.Partitions, "take", counting)
    count = 1002 // 100 + 1
    names = (f"n{number}" for number in range(100_000))
    chosen = [name for name in names if hash(f"project:{name}") % count == 0][:1000]
    assert len(chosen) == 1000
    world.add(*(world.make.project_created(name) for name in chosen))
    async with world.signing() as signing:
        assert await signing.publish()
    assert sum(taken) == 1000
    assert max(taken) < 500


# --- one project -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["release", "status"])
async def test_a_batch_costs_files_plus_events(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A project has 46,724 files, and 100,000 such events are 30 MB: an hour for each follower."""
    files, count = 300, 300
    make = world.make
    world.add(*(make.file_uploaded("a", f"{version}") for version in range(files)))
    looked = []
    items = ChunkedMap.items

    def counting(self: Any) -> Any:
        for each in items(self):
            looked.append(each[0])
            yield each

    monkeypatch.setattr(ChunkedMap, "items", counting)
    async with world.signing() as signing:
        await signing.publish()
        del looked[:]
        if kind == "release":
            await signing.publish(*(make.release_yanked("a", "7", f"{number}") for number in range(count)))
        else:
            states: list[ProjectStatus] = ["quarantined", "active"]
            await signing.publish(*(make.project_status_changed("a", states[number % 2]) for number in range(count)))
    assert len(looked) <= 4 * (files + count)


@pytest.mark.parametrize("released", [True, False])
async def test_holds_leave_one_number_in_the_position(world: World, released: bool) -> None:
    """A hundred thousand holds are 55 MB of log. Every publication writes the position."""
    holds = [world.make.signing_held(3) for _ in range(1000)]
    async with world.signing() as signing:
        await signing.publish()
        before = await signing.followed.store.run(load_position)
        world.add(*holds)
        if released:
            world.add(*(world.make.signing_released(hold.id) for hold in holds))
        await signing.publish(world.make.project_created("demo"))
        after = await signing.followed.store.run(load_position)
    assert before is not None
    assert after is not None
    assert len(after.prefix) < len(before.prefix) + 100 + 34 * 20  # of a Merkle tree with at most 20 more roots


AT_ANY_TIME = UploadTimes(pack_brackets([Bracket(2**53, "", "9999-12-31T23:59:59Z")]))


def wheels(count: int) -> list[Routed]:
    """Wheels of one release: the python tag is the same for all, and so are the others for many."""
    tags = (f"py3-{'abi3' if number % 2 else 'none'}-p{number}.q{number}" for number in range(count))
    return routed(*factory.encode(Make().file_uploaded("a", filename=f"a-1.0-{tag}.whl") for tag in tags))


def test_many_uploads_to_one_release_cost_their_number() -> None:
    """If each was compared with those before, 16 times as many would cost 256 times as much."""
    terms = factory.authority_of(factory.ready_prefix(Make(), SMALL)).terms

    def fold(items: list[Routed]) -> Folded:
        folded = fold_events({}, {}, items, html=False, terms=terms, times=AT_ANY_TIME)
        assert folded.judged == []
        return folded

    few, many = wheels(500), wheels(8_000)
    assert min(_seconds(fold, many) for _ in range(2)) < 60 * min(_seconds(fold, few) for _ in range(3))


def test_an_upload_reads_and_writes_what_is_taken_of_its_own_release() -> None:
    terms = factory.authority_of(factory.ready_prefix(Make(), SMALL)).terms
    stored = {
        each.key: Aggregate(each.key, each.header or b"", each.put) for each in _changes(wheels(2_000), {}, terms)
    }
    assert sum(len(state.header) for key, state in stored.items() if key.startswith("taken:")) > 40_000
    (other,) = routed(*factory.encode([Make().file_uploaded("a", "2.0", filename="a-2.0-py3-none-any.whl")]))
    assert rows_read_by([other]) == ["taken:a:wheel:0!2:"]
    changed = _changes([other], {"project:a": stored["project:a"]}, terms)
    assert [each.key for each in changed] == ["project:a", "taken:a:wheel:0!2:"]
    assert len(changed[1].header or b"") < 100
    yank = routed(*factory.encode([Make().release_yanked("a")]))
    assert rows_read_by(yank) == []


def _changes(items: list[Routed], states: dict[str, Aggregate], terms: Sequence[Terms]) -> list[Change]:
    return fold_events(states, {}, items, html=False, terms=terms, times=AT_ANY_TIME).changes


# --- one record --------------------------------------------------------------------------------------------------


def seconds(function: Any, value: Any) -> float:
    """The least of three."""
    return min(_seconds(function, value) for _ in range(3))


def _seconds(function: Any, value: Any) -> float:
    started = process_time()
    function(value)
    return process_time() - started


def padded(value: dict[str, Any], length: int) -> bytes:
    return json.dumps(value).encode().ljust(length)


def test_members_that_stand_twice_are_found_at_once() -> None:
    characters = [chr(code) for code in range(0x20, 0x7F) if chr(code) not in '"\\']
    names = ["".join(pair) for pair in product(characters, repeat=2)][:8000]
    distinct = ("{" + ",".join(f'"{name}":0' for name in names) + "}").encode()
    double = distinct[:-1] + f',"{names[-1]}":0}}'.encode()
    assert len(double) <= MAX_EVENT_BYTES
    assert seconds(decode_event, double) < 20 * seconds(decode_event, distinct)


def brackets(count: int) -> bytes:
    return b"x" + b"[]" * count


def strings(count: int) -> bytes:
    return b"x" + b'"",' * count + b"[" * 40


def backslashes(count: int) -> bytes:
    return b'"' + b"\\" * count + b"[" * 40


def quotes(count: int) -> bytes:
    return b'"' * count + b"[" * 40


def openings(count: int) -> bytes:
    return b"[" * count


def closings_first(count: int) -> bytes:
    return b"]" * count + b"[" * count


def empty_seals(count: int) -> bytes:
    return b'{"signatures":[' + b"[]," * count + b"[]]}"


def surrogates(count: int) -> bytes:
    return b'{"x":"' + b"\\ud800" * count + b'"}'


def one_long_name(count: int) -> bytes:
    return b'{"' + b"x" * count + b'":0,"' + b"x" * count + b'":1}'


PATTERNS = [brackets, strings, backslashes, quotes, openings, closings_first, empty_seals, surrogates, one_long_name]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("decode", [decode_event, decode_publication_record])
def test_garbage_costs_as_much_as_its_length(pattern: Callable[[int], bytes], decode: Callable[[bytes], Any]) -> None:
    """Sixteen times as long is not 256 times as dear."""
    short, long = pattern(600), pattern(9600)
    assert seconds(decode, long) < 100 * seconds(decode, short) + 0.01


def test_garbage_costs_a_small_multiple_of_its_hash() -> None:
    value = brackets(250_000)
    assert seconds(decode_publication_record, value) < 300 * seconds(lambda data: sha256(data).digest(), value)


@pytest.mark.parametrize(
    "text",
    ["1" * 128, "1." * 63 + "1", "1+" + "a." * 62 + "a", "1!" * 64, "1-" * 64, "1rc" * 42, "v" * 128, "1" + "_" * 127],
)
def test_versions_do_not_make_patterns_go_back_and_forth(text: str) -> None:
    for version in (text[:128], text[:127] + "!"):
        release_key(version)
        for filename in (f"a-{version}.tar.gz", f"a-{version}-py3-none-any.whl", "a" + "-" * 100, "-" * 190):
            check_filename("a", filename[:190], version, legacy=False)
            check_filename("a", filename[:190], version, legacy=True)


# --- what is listed ----------------------------------------------------------------------------------------------


def rejections() -> dict[str, str]:
    """What is said of records that a stranger words."""
    upload = json.loads(factory.encode([Make().file_uploaded("a")])[0])
    said = {}
    for name, value in {
        "long": json.dumps({**upload, "actorkind": "x" * 60_000}),
        "long type": json.dumps({"type": "x" * 60_000}),
        "terminal": json.dumps({**upload, "actorkind": "\x1b]0;owned\x07"}),
    }.items():
        said[f"event {name}"] = stored(decode_event(value.encode()))
    for name, kind in {"long": "x" * 1_000_000, "terminal": "\x1b]0;owned\x07", "lines": "a\nb"}.items():
        value = json.dumps({"signatures": [], "signed": {"type": kind}})
        said[f"publication {name}"] = stored(decode_publication_record(value.encode()))
    return said


def stored(rejection: object) -> str:
    """What is kept of it."""
    return rejected(*rejection).detail if isinstance(rejection, Rejection) else ""


@pytest.mark.parametrize("name", rejections())
def test_what_is_said_of_a_record_is_short_and_printable(name: str) -> None:
    """It is stored in the state of every follower, written to its log of messages, and printed by `rejected`."""
    detail = rejections()[name]
    assert detail.isprintable()
    assert len(detail) <= 1000
