from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_contract.event_time import EventTimeBuffer

MS = 1_000_000


def test_nothing_is_released_before_every_source_has_reported():
    buffer = EventTimeBuffer(["a", "b"], max_lateness_ns=500 * MS)
    buffer.push("a", 100 * MS, "a100")
    assert buffer.pop_ready() == []
    buffer.push("b", 150 * MS, "b150")
    assert buffer.pop_ready() == ["a100"]
    buffer.push("a", 200 * MS, "a200")
    assert buffer.pop_ready() == ["b150"]


def test_silent_source_is_given_up_after_the_lateness_and_taken_back():
    buffer = EventTimeBuffer(["a", "b"], max_lateness_ns=500 * MS)
    for t in range(0, 600, 100):
        buffer.push("a", t * MS, t)
    assert buffer.pop_ready() == []
    assert buffer.lost == []
    buffer.push("a", 601 * MS, 601)
    assert buffer.lost == ["b"]
    assert buffer.pop_ready() == [0, 100, 200, 300, 400, 500, 601]
    buffer.push("b", 650 * MS, "b650")
    assert buffer.lost == []
    assert buffer.pop_ready() == []
    buffer.push("a", 700 * MS, 700)
    assert buffer.pop_ready() == ["b650"]


def test_late_record_is_dropped_and_counted():
    buffer = EventTimeBuffer(["a"], max_lateness_ns=500 * MS)
    buffer.push("a", 100 * MS, 1)
    buffer.pop_ready()
    assert not buffer.push("sporadic", 100 * MS, 2)
    assert buffer.dropped == {"sporadic": 1}
    assert buffer.push("sporadic", 101 * MS, 3)
    buffer.push("a", 102 * MS, 4)
    assert buffer.pop_ready() == [3, 4]


def test_flush_releases_the_rest_in_order():
    buffer = EventTimeBuffer(["a", "b"], max_lateness_ns=500 * MS)
    buffer.push("a", 3, "a3")
    buffer.push("a", 4, "a4")
    buffer.push("b", 1, "b1")
    assert buffer.flush() == ["b1", "a3", "a4"]
    assert buffer.flush() == []


def test_lateness_must_be_positive():
    with pytest.raises(ValueError, match="max_lateness_ns must be positive, got 0"):
        EventTimeBuffer(["a"], max_lateness_ns=0)


@given(st.data())
def test_any_arrival_within_the_lateness_gives_the_same_sequence(data):
    """Regular sources, each delivering in order but delayed against one another by less than the lateness."""
    lateness = 500
    periods = data.draw(st.lists(st.integers(20, 100), min_size=1, max_size=4))
    stamped = [(stamp, f"s{i}") for i, period in enumerate(periods) for stamp in range(i, 2000, period)]
    # A delay per source and a jitter per record; in-order delivery per source is what a reliable topic guarantees.
    delays = data.draw(st.lists(st.integers(0, 150), min_size=len(periods), max_size=len(periods)))
    jitter = data.draw(st.lists(st.integers(0, 150), min_size=len(stamped), max_size=len(stamped)))
    arrival: list[tuple[int, int, str]] = []
    last: dict[str, int] = {}
    for (stamp, source), extra in zip(stamped, jitter, strict=True):
        time = max(stamp + delays[int(source[1:])] + extra, last.get(source, 0))
        last[source] = time
        arrival.append((time, stamp, source))
    arrival.sort()
    buffer = EventTimeBuffer([f"s{i}" for i in range(len(periods))], max_lateness_ns=lateness)
    released: list[tuple[int, str]] = []
    for _, stamp, source in arrival:
        buffer.push(source, stamp, (stamp, source))
        released += buffer.pop_ready()
    released += buffer.flush()
    assert released == sorted(stamped)
    assert buffer.dropped == {}


class PlainBuffer:
    """The rule as it is described, written down without any thought of speed."""

    def __init__(self, sources: list[str], lateness: int) -> None:
        self.last: dict[str, int | None] = dict.fromkeys(sources)
        self.lateness = lateness
        self.stamps: list[int] = []
        self.held: list[tuple[int, str, int]] = []
        self.released: int | None = None

    def push(self, source: str, stamp: int) -> bool:
        self.stamps.append(stamp)
        if source in self.last:
            self.last[source] = max(stamp, self.last[source] or 0)
        if self.released is not None and stamp <= self.released:
            return False
        self.held.append((stamp, source, len(self.stamps)))
        return True

    def waited_for(self) -> list[str]:
        since = {source: min(self.stamps) if last is None else last for source, last in self.last.items()}
        return [source for source in self.last if since[source] >= max(self.stamps) - self.lateness]

    def watermark(self) -> int | None:
        waited = [self.last[source] for source in self.waited_for()]
        return None if None in waited else min(waited, default=max(self.stamps))

    def pop_ready(self) -> list[tuple[int, str, int]]:
        until = self.watermark()
        if until is None:
            return []
        self.released = until if self.released is None else max(self.released, until)
        ready = sorted(entry for entry in self.held if entry[0] <= until)
        self.held = [entry for entry in self.held if entry[0] > until]
        return ready


@given(
    sources=st.lists(st.sampled_from("abcd"), unique=True),
    arrivals=st.lists(st.tuples(st.sampled_from("abcdx"), st.integers(0, 400)), min_size=1, max_size=60),
    steps=st.lists(st.integers(0, 30), min_size=60, max_size=60),
)
def test_sources_that_are_lost_and_come_back_late_are_treated_as_described(sources, arrivals, steps):
    """Against the plain rule: stamps that mostly grow, now and then leap ahead or fall far behind."""
    buffer, plain = EventTimeBuffer(sources, max_lateness_ns=100), PlainBuffer(sources, lateness=100)
    now = 0
    for number, ((source, offset), step) in enumerate(zip(arrivals, steps, strict=False), 1):
        now += step
        stamp = max(now + offset - 200 if offset % 3 == 0 else now, 0)
        assert buffer.push(source, stamp, (stamp, source, number)) == plain.push(source, stamp)
        assert buffer.watermark_ns == plain.watermark()
        assert buffer.lost == sorted(set(sources) - set(plain.waited_for()))
        if offset % 4:
            assert buffer.pop_ready() == plain.pop_ready()
