"""Records of a bag sorted while it is read."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from aisle_bags.event_order import EventOrder
from aisle_contract.records import GateEvent, GateEventKind, Record

SECOND = 1_000_000_000


def sorted_by(order: EventOrder) -> list[tuple[int, str, Record]]:
    """All that it gives: stamp (ns), topic, record."""
    return [(stamp_ns, topic, record) for placed in order for stamp_ns, topic, _, _, record in placed]


def gate(stamp_s: float, gate: str = "door") -> GateEvent:
    return GateEvent(round(stamp_s * SECOND), gate, GateEventKind.STATUS)


def logged(*entries: tuple[float, float, str]) -> Iterator[tuple[int, str, Record]]:
    """(log time s, stamp s, topic)."""
    return ((round(log_s * SECOND), topic, gate(stamp_s, topic)) for log_s, stamp_s, topic in entries)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9), st.sampled_from("abc")), max_size=50))
def test_what_is_logged_within_the_look_ahead_comes_as_if_all_had_been_sorted(entries) -> None:
    """Stamps up to 9 s before the log time, a look-ahead of 10 s."""
    entries = sorted(entries, key=lambda entry: entry[0])
    order = EventOrder(logged(*((log_s, log_s - before_s, topic) for log_s, before_s, topic in entries)), 10 * SECOND)
    found = [placed for some in order for placed in some]
    expected = [((log_s - before_s) * SECOND, topic, number) for number, (log_s, before_s, topic) in enumerate(entries)]
    assert [placed[:3] for placed in found] == sorted(expected)
    assert [record.stamp_ns for *_, record in found] == [placed[0] for placed in found]
    assert not order.late
    assert not order.warnings


def test_not_more_than_the_look_ahead_asks_for_is_held() -> None:
    read = []

    def entries() -> Iterator[tuple[int, str, Record]]:
        for entry in logged(*((number, number, "a") for number in range(100))):
            read.append(entry)
            yield entry

    count = 0
    for placed in EventOrder(entries(), 5 * SECOND):
        assert len(read) - count <= 7
        count += len(placed)
    assert count == 100


def test_a_record_that_comes_after_those_behind_it_were_given_is_left_out_and_told() -> None:
    order = EventOrder(logged((0, 0, "a"), (1, 1, "a"), (12, 12, "a"), (24, 0.5, "b"), (25, 25, "a"), (40, 40, "a")), 10 * SECOND)
    assert [stamp_ns / SECOND for stamp_ns, _, _ in sorted_by(order)] == [0, 1, 12, 25, 40]
    assert order.late == {"b": 1}
    (warning,) = order.warnings
    assert warning.startswith("topic 'b': 1 records were logged more than 10 s after others that stand behind them")


def test_a_stamp_far_ahead_comes_last_and_takes_nothing_with_it() -> None:
    order = EventOrder(logged((0, 9999, "a"), *((number, number, "b") for number in range(60))), 10 * SECOND)
    assert [stamp_ns // SECOND for stamp_ns, _, _ in sorted_by(order)] == [*range(60), 9999]
    assert not order.late
