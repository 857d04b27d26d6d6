"""What the Kafka log knows of offsets, and what it thinks of settings: the parts that need no broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.logs import LogConflictError
from ledger.logs.kafka.offsets import Offsets
from ledger.logs.kafka.topics import EVENTS_MAX_BYTES, drift, topic_settings

# The offsets of a log: how many markers stand before each record.
LOGS = st.lists(st.integers(0, 3), max_size=30).map(
    lambda gaps: [sum(gaps[: index + 1]) + index for index in range(len(gaps))]
)


def read_forward(offsets: Offsets, log: list[int], start: int, end: int, data: st.DataObject) -> None:
    """Learn as a reader does: from the nearest point known, in chunks of consecutive offsets."""
    index, position = offsets.locate(start)
    assert index <= start
    assert (log[index - 1] if index else -1) < position <= (log[index] if index < len(log) else position)
    while index < end:
        count = 1
        while index + count < end and log[index + count] == log[index] + count:
            count += 1
        count = data.draw(st.integers(1, count))
        offsets.learn(index, log[index], count)
        index += count


@given(LOGS, st.data())
def test_what_was_learned_is_known_whatever_was_read_in_which_order(log: list[int], data: st.DataObject) -> None:
    offsets = Offsets()
    if data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(log)))
        least = log[index - 1] + 1 if index else 0
        offsets.anchor(index, data.draw(st.integers(least, log[index] if index < len(log) else least + 3)))
    known = set()
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(log)))
        end = data.draw(st.integers(start, len(log)))
        first = offsets.locate(start)[0]
        read_forward(offsets, log, start, end, data)
        known |= set(range(first, end))
        for index in known:
            assert offsets.locate(index) == (index, log[index])
            assert offsets.index_of(log[index]) == index
        assert offsets.end[0] >= max(known, default=-1) + 1
    for offset in set(range(200)) - set(log):
        assert offsets.index_of(offset) is None


def test_a_log_without_gaps_is_one_run() -> None:
    offsets = Offsets()
    for index in range(1000):
        offsets.learn(index, index)
    assert len(offsets._indices) == 1
    assert offsets.end == (1000, 1000)


@pytest.mark.parametrize(("index", "offset"), [(5, 4), (2, 3), (0, 1)])
def test_a_point_that_contradicts_what_is_known_is_refused(index: int, offset: int) -> None:
    offsets = Offsets()
    offsets.learn(0, 0, 3)
    with pytest.raises(LogConflictError):
        offsets.anchor(index, offset)
    assert offsets.end == (3, 3)


@pytest.mark.parametrize(("index", "offset"), [(1, 2), (3, 2), (6, 8)])
def test_a_record_that_contradicts_what_is_known_is_refused(index: int, offset: int) -> None:
    offsets = Offsets()
    offsets.learn(0, 0, 3)
    offsets.anchor(6, 9)
    offsets.learn(3, 3, 3)
    with pytest.raises(LogConflictError):
        offsets.learn(index, offset)


def test_the_settings_that_are_made_are_those_that_are_checked() -> None:
    for replicas in (1, 2, 3, 5):
        assert drift(topic_settings(EVENTS_MAX_BYTES, replicas), replicas, EVENTS_MAX_BYTES) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "delete,compact"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "0"),
        ("unclean.leader.election.enable", "true"),
        ("min.insync.replicas", "1"),
        ("max.message.bytes", str(EVENTS_MAX_BYTES - 1)),
    ],
)
def test_a_setting_that_has_drifted_is_named(setting: str, value: str) -> None:
    (problem,) = drift(topic_settings(EVENTS_MAX_BYTES, 3) | {setting: value}, 3, EVENTS_MAX_BYTES)
    assert setting in problem


def test_one_or_two_replicas_cannot_require_two() -> None:
    assert drift(topic_settings(EVENTS_MAX_BYTES, 3) | {"min.insync.replicas": "1"}, 2, EVENTS_MAX_BYTES) == []
