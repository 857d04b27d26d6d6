"""Holds: what a naive reading of the rules says, whether they are in memory or rows of a state."""

import random
from hashlib import sha256
from pathlib import Path

import pytest

from consumers.limits import LIMITS
from consumers.reading.tail import Tail
from consumers.state import records
from ledger.logs.memory import MemoryLog, MemoryRecords
from ledger.state import signing as signing_module
from ledger.state.file import StateFile
from ledger.state.signing import LOWEST_HELD, SigningRow, forget_signing_ahead, lowest_held, save_signing
from ledger.state.statements import State
from ledger.state.store import Store
from projections.log.holds import Signing, SigningEvent, lock_of
from projections.log.prefix import Prefix, restore, save
from projections.outcomes import Judged
from projections.roles.authority import Settings
from schemas import events
from schemas.codec import encode_event
from tests import factory
from tests.factory import Make
from tests.fuzz.world import SMALL
from tests.property.holds import Holds
from tests.simulation.ports import InlineWorkers

SECRETS = tuple(f"{number:02x}" * 32 for number in range(3))
NAMES = tuple(f"hold-{number}" for number in range(6))


def history(rng: random.Random, length: int) -> list[events.BaseEvent]:
    """Holds, releases and ceremonies after the beginning of a ledger."""
    make, team = Make(), SMALL
    made: list[events.BaseEvent] = []
    prefix = factory.ready_prefix(make, team)
    for index in range(2, 2 + length):
        chance = rng.random()
        name = rng.choice(NAMES)
        if chance < 0.45:
            lock = rng.choice(["", "", lock_of(rng.choice(SECRETS))]) or None
            size = rng.choice([None, 0, 1, index // 2, index - 1, index + 5])
            event: events.BaseEvent = make.having(id=name).signing_held(size, lock=lock)
        elif chance < 0.9:
            release = make.having(id=rng.choice([f"release-{index}", f"release-{index}", name, "release"]))
            event = release.signing_released(name, secret=rng.choice([None, *SECRETS]))
        else:
            ends = rng.randint(team.settings.holds_end, index)
            wished = team.but(settings=Settings(ruleset=0, project_list_seconds=0, holds_end=ends))
            event = make.roles_signed(factory.ceremony(wished, prefix.authority, team))
            team = wished
        made.append(event)
        prefix, _ = factory.extend(prefix, event)
    return made


def codes(judged: list[Judged]) -> dict[int, str]:
    return {each.index: each.outcome.code for each in judged}


@pytest.mark.parametrize("kept", [1, 3, LIMITS.tail_signing])
@pytest.mark.parametrize("seed", range(30))
async def test_holds_are_what_a_naive_reading_says_in_memory_and_in_rows(tmp_path: Path, seed: int, kept: int) -> None:
    """However many are kept in memory before they are rows ahead of the position, or slices before they are files."""
    rng = random.Random(f"holds {seed}")
    limits = LIMITS._replace(tail_signing=kept, tail_bytes=rng.choice([0, 1_000, LIMITS.tail_bytes]))
    made = history(rng, 40)
    naive = Holds(first_root_size=2)
    expected: list[int | None] = [None, None]
    naive_codes = {}
    for index, event in enumerate(made, 2):
        naive_codes[index] = naive.add(index, encode_event(event))
        expected.append(naive.held_at())
    log = MemoryLog(MemoryRecords("events"), read_records=rng.choice([1, 3, 100]))
    log.records.append(*factory.beginning(Make(), SMALL), *map(encode_event, made))
    await log.open()
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    tail = Tail(log, InlineWorkers(), Prefix(), tmp_path / "spill", store=store, limits=limits)
    found: dict[int, str] = {}
    base, in_memory = Prefix(), Prefix()
    ceremonies: list[tuple[int, dict[str, bytes]]] = []
    while base.size < len(made) + 2:
        if rng.random() < 0.3:
            await tail.read_on()
        size = rng.randint(max(2, base.size + 1), min(len(made) + 2, base.size + 7))
        after = await tail.prefix_at(size)
        async for extension in tail.extensions(size, None):
            found |= codes(extension.judged)
            ceremonies += [(each.index, {d.role: d.file for d in each.documents}) for each in extension.ceremonies]
        assert after.held_at == expected[size - 1]
        await store.run(StateFile.begin)
        if rng.random() < 0.3:
            await tail.read_on()
        await store.run(records.save_signing, after, tail.stored_size)
        await store.run(StateFile.commit)
        base = restore(save(after), ceremonies)
        if rng.random() < 0.3:  # it is started anew
            await store.run(forget_signing_ahead, base.size)
            tail = Tail(log, InlineWorkers(), base, tmp_path / "spill", store=store, limits=limits)
        else:
            tail.advance(after)
        in_memory, _ = in_memory.extend(log.records.values[in_memory.size : size])
        assert in_memory.held_at == expected[size - 1]
        assert in_memory.as_stored() == base
        late = Tail(log, InlineWorkers(), base, store=store)
        assert (await late.read_on()).held_at == expected[-1]
    assert found == {0: "", 1: "", **naive_codes}
    await store.close()


async def test_a_reader_whose_position_is_behind_the_rows_reads_them_as_they_were(tmp_path: Path) -> None:
    """A command reads the position first; meanwhile the consumer goes on."""
    make = Make()
    prefix = factory.ready_prefix(make, SMALL)
    first, second = make.signing_held(1), make.signing_held(2)
    base, _ = factory.extend(prefix, first, second)
    release, third = make.signing_released(first.id), make.signing_held(0)
    later, _ = factory.extend(base, release, third)
    log = MemoryLog(MemoryRecords("events"))
    log.records.append(*[b""] * base.size, *factory.encode([release, third]))
    await log.open()
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    await store.run(StateFile.begin)
    await store.run(records.save_signing, later, 0)
    await store.run(StateFile.commit)
    assert await store.run(lowest_held, 0, base.size, []) == 1
    assert await store.run(lowest_held, 0, base.size, [first.id]) == 2
    assert await store.run(lowest_held, 3, base.size, []) == 2
    assert await store.run(lowest_held, 0, later.size, []) == 0
    tail = Tail(log, InlineWorkers(), base.as_stored(), store=store)
    end = await tail.read_on()
    assert end.held_at == 0
    assert end.signing.get(first.id) == SigningEvent(sha256(encode_event(first)).hexdigest(), 2, 1, "", 4)
    await store.close()


async def test_what_waits_is_read_again_to_its_end_after_a_shorter_slice(tmp_path: Path) -> None:
    """A rendering was abandoned since a hold came: what it had read from the same place on, on disk, is not all."""
    make = Make()
    log = MemoryLog(MemoryRecords("events"))
    log.records.append(*factory.beginning(make, SMALL))
    await log.open()
    tail = Tail(log, InlineWorkers(), Prefix(), tmp_path / "spill", limits=LIMITS._replace(tail_bytes=0))
    await tail.read_on()
    tail.advance(await tail.prefix_at(2))

    async def covered(first: int, last: int) -> list[int]:
        """The indices of the events that a publication of the whole log shows."""
        end = await tail.read_on()
        await tail.read_again(first, last)
        return [item.index async for each in tail.extensions(end.size, (first, last)) for item in each.routed]

    log.records.append(*factory.encode([make.file_uploaded("a")]))
    assert await covered(2, 3) == [2]  # a claim that is voided
    hold = make.signing_held(2)
    log.records.append(*factory.encode([hold, make.file_uploaded("b")]))
    assert await covered(2, 2) == []
    tail.advance(await tail.prefix_at(5))
    log.records.append(*factory.encode([make.signing_released(hold.id), make.file_uploaded("c")]))
    assert await covered(2, 7) == [2, 4, 6]


async def test_what_was_stored_ahead_is_forgotten_if_the_log_goes_on_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The follower ends before its next publication, and the log loses what was read ahead of the position."""
    limits = LIMITS._replace(tail_signing=1)
    monkeypatch.setattr(signing_module, "_FORGOTTEN_TOGETHER", 1)
    make = Make()
    holds = [make.signing_held(number) for number in (1, 2, 3)]
    log = MemoryLog(MemoryRecords("events"))
    log.records.append(*factory.beginning(make, SMALL), *factory.encode(holds[:2]))
    await log.open()
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    tail = Tail(log, InlineWorkers(), Prefix(), tmp_path / "spill", store=store, limits=limits)
    base = await tail.read_on()
    await store.run(StateFile.begin)
    await store.run(records.save_signing, base, tail.stored_size)
    await store.run(StateFile.commit)
    tail.advance(base)
    kept = await rows_of(store)
    log.records.append(*factory.encode([*(make.signing_released(each.id) for each in holds[:2]), holds[2]]))
    assert (await tail.read_on()).held_at == 3
    assert tail.stored_size == 7
    assert len(await rows_of(store)) > len(kept)
    del log.records.values[4:]
    await store.run(forget_signing_ahead, base.size)
    assert await rows_of(store) == kept
    log.records.append(*factory.encode([make.having(id=holds[2].id).signing_held(2)]))
    tail = Tail(log, InlineWorkers(), base.as_stored(), tmp_path / "spill", store=store, limits=limits)
    assert (await tail.read_on()).held_at == 1
    await store.close()


async def rows_of(store: Store) -> list[SigningRow]:
    """All remembered events about signing."""
    return [SigningRow(*row[:-1]) for row in await store.run(State.rows, "SELECT * FROM signing ORDER BY id")]


def test_remembered_events_are_found_in_the_order_of_their_changes() -> None:
    signing, expected = Signing(), dict[str, SigningEvent]()
    rng = random.Random(8)
    for index in range(300):
        name = f"{rng.randrange(100)}"
        known = expected.pop(name, None)
        event = SigningEvent("", index, 5) if known is None else SigningEvent("", known.index, 5, "", index)
        expected[name] = event
        signing = signing.put({name: event})
        assert signing.get(name) == event
        if index % 50 == 0:
            for size in range(index + 2):
                late = [(name, each) for name, each in expected.items() if each.changed_at >= size]
                assert list(signing.since(size)) == late[::-1]
    assert signing == Signing((expected,))
    assert signing != Signing()
    assert signing.get("none") is None


def test_a_million_holds_are_added_without_copying_them_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = 0
    whole = Signing.put

    def counting(self: Signing, changes: dict[str, SigningEvent]) -> Signing:
        nonlocal copied
        after = whole(self, changes)
        copied += len(after._layers[-1])
        return after

    monkeypatch.setattr(Signing, "put", counting)
    signing = Signing()
    for number in range(5000):
        signing = signing.put({str(number): SigningEvent("", number, 1)})
    assert copied < 5000 * 20


@pytest.mark.parametrize("is_released", [False, True])
async def test_the_lowest_of_many_holds_is_found_by_an_index(tmp_path: Path, is_released: bool) -> None:
    store = Store(tmp_path / "state.sqlite")
    await store.open()
    rows = [SigningRow(f"{n:05}", "", n, n % 7, "", n + 20_000 if is_released else None) for n in range(20_000)]
    await store.run(StateFile.begin)
    await store.run(save_signing, [*rows, SigningRow("last", "", 50_000, 9, "", None)])
    await store.run(StateFile.commit)
    assert await store.run(lowest_held, 0, 60_000, []) == (9 if is_released else 0)
    plan = str(await store.run(State.rows, f"EXPLAIN QUERY PLAN {LOWEST_HELD}", 0, 60_000, "[]"))
    assert "SEARCH signing USING INDEX signing_released" in plan
    assert "USING INDEX signing_held" in plan or "USING COVERING INDEX signing_held" in plan
    assert "SCAN signing\n" not in plan
    assert "TEMP B-TREE" not in plan
    await store.close()
