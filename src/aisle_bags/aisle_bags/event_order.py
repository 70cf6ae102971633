"""Records of a bag in the order of their stamps, without holding more than the newest part of the bag.

A bag's messages come in the order in which they were logged. That is nearly the order of their stamps: a batch of weights is logged
when it is complete, a frame's detections when the detector is done.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from aisle_contract.records import NANOSECONDS, Record

#: Log time (ns), full topic name, record: as a bag has them.
Logged = tuple[int, str, Record]
#: Stamp (ns), full topic name, number among all entries, log time (ns), record. The first three say where it stands, no two the same.
Placed = tuple[int, str, int, int, Record]

#: Far more than any core waits for a record.
LOOK_AHEAD_NS = 30 * NANOSECONDS
#: Records are given so many times while the look-ahead passes. More often costs more time, less often more memory.
_STEPS = 8


class EventOrder:
    """Iterates over lists of records with their places, sorted; ``entries``: (log time ns, topic name, record) in the order of log times.

    A record waits until at least ``look_ahead_ns`` more has been logged, at most an eighth more than that. One that turns up when others
    behind it have already been given is left out and counted in ``late``, by topic: that depends on log times and stamps alone.
    """

    def __init__(self, entries: Iterable[Logged], look_ahead_ns: int = LOOK_AHEAD_NS) -> None:
        self._entries = entries
        self._look_ahead_ns = look_ahead_ns
        self._last: Placed | None = None
        self.late: Counter[str] = Counter()

    def __iter__(self) -> Iterator[list[Placed]]:
        held: list[Placed] = []
        fresh: list[Placed] = []
        next_ns: int | None = None
        for number, (log_time_ns, topic, record) in enumerate(self._entries):
            if next_ns is None:
                next_ns = log_time_ns + self._look_ahead_ns
            elif log_time_ns >= next_ns:
                _sort_in(held, fresh)
                yield self._released(held, log_time_ns - self._look_ahead_ns)
                next_ns = log_time_ns + self._look_ahead_ns // _STEPS
            fresh.append((record.stamp_ns, topic, number, log_time_ns, record))
        _sort_in(held, fresh)
        yield self._in_time(held)

    @property
    def warnings(self) -> list[str]:
        """What is to be told about records that were left out."""
        after = f"logged more than {self._look_ahead_ns / NANOSECONDS:g} s after others that stand behind them by their stamps"
        return [f"topic '{topic}': {count} records were {after}: left out" for topic, count in sorted(self.late.items())]

    def _released(self, held: list[Placed], logged_until_ns: int) -> list[Placed]:
        """The first ones of ``held`` up to one that was logged after that time; takes them out of it."""
        count = len(held)
        for number, (_, _, _, log_time_ns, _) in enumerate(held):
            if log_time_ns > logged_until_ns:
                count = number
                break
        released = held[:count]
        del held[:count]
        return self._in_time(released)

    def _in_time(self, released: list[Placed]) -> list[Placed]:
        """Without those that stand before what was given already."""
        late = bisect_left(released, self._last) if self._last is not None else 0
        self.late.update(topic for _, topic, *_ in released[:late])
        del released[:late]
        if released:
            self._last = released[-1]
        return released


def _sort_in(held: list[Placed], fresh: list[Placed]) -> None:
    """Moves what is fresh to its places in ``held``, which is sorted: nearly all of it stands behind the rest."""
    if fresh:
        # No two places are equal, so that what stands behind them is never compared.
        behind = bisect_left(held, min(fresh))
        fresh += held[behind:]
        fresh.sort()
        held[behind:] = fresh
        fresh.clear()
