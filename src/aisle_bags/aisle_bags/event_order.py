"""Records of a bag in the order of their stamps, without holding more than the newest part of the bag.

A bag's messages come in the order in which they were logged. That is nearly the order of their stamps: a batch of weights is logged
when it is complete, a frame's detections when the detector is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from aisle_contract.records import NANOSECONDS, Record

#: (stamp ns, full topic name, number among the topic's records): where a record stands in a recording. No two are equal.
Key = tuple[int, str, int]
Keyed = tuple[Key, Record]
#: Log time (ns), full topic name, record: as a bag has them.
Logged = tuple[int, str, Record]
#: The parts of a key, log time, record: sorted several times faster than with a key in it.
_Held = tuple[int, str, int, int, Record]

#: Far more than any core waits for a record.
LOOK_AHEAD_NS = 30 * NANOSECONDS


class EventOrder:
    """Iterates over (key, record), sorted; ``entries``: (log time ns, topic name, record) in the order of log times.

    A record waits until at least ``look_ahead_ns`` more has been logged, at most twice that. One that turns up when others behind it
    have already been given is left out and counted in ``late``, by topic: that depends on log times and stamps alone.
    """

    def __init__(self, entries: Iterable[Logged], look_ahead_ns: int = LOOK_AHEAD_NS) -> None:
        self._entries = entries
        self._look_ahead_ns = look_ahead_ns
        self._last: Key | None = None
        self.late: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Keyed]:
        numbers: Counter[str] = Counter()
        held: list[_Held] = []
        window_start_ns: int | None = None
        for log_time_ns, topic, record in self._entries:
            if window_start_ns is None:
                window_start_ns = log_time_ns
            elif log_time_ns >= window_start_ns + self._look_ahead_ns:
                yield from self._released(held, window_start_ns)
                window_start_ns = log_time_ns
            number = numbers[topic]
            numbers[topic] = number + 1
            held.append((record.stamp_ns, topic, number, log_time_ns, record))
        yield from self._released(held, None)

    @property
    def warnings(self) -> list[str]:
        """What is to be told about records that were left out."""
        after = f"logged more than {self._look_ahead_ns / NANOSECONDS:g} s after others that stand behind them by their stamps"
        return [f"topic '{topic}': {count} records were {after}: left out" for topic, count in sorted(self.late.items())]

    def _released(self, held: list[_Held], logged_before_ns: int | None) -> Iterator[Keyed]:
        """The first ones of ``held`` up to one that was not logged before that time, and takes them out of it."""
        # No two keys are equal, so that what stands behind them is never compared.
        held.sort()
        count = len(held)
        if logged_before_ns is not None:
            count = next((place for place, (_, _, _, log_time_ns, _) in enumerate(held) if log_time_ns >= logged_before_ns), count)
        for stamp_ns, topic, number, _, record in held[:count]:
            key = stamp_ns, topic, number
            if self._last is None or key > self._last:
                self._last = key
                yield key, record
            else:
                self.late[topic] += 1
        del held[:count]
