"""Ordering by event time: the same records give the same sequence, whatever order they arrive in.

A record is released once every live source has reported up to its stamp (a watermark, as in Akidau et al., "The Dataflow Model",
VLDB 2015). Released records come sorted by (stamp, source, arrival number within the source), so a decision can depend on stamps alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Watermark:
    """Up to which stamp all sources have reported.

    Stamps of one source must increase strictly. A source that lags more than ``max_lateness_ns`` behind the newest stamp is counted
    as lost and no longer waited for, until it reports again; what it then says about times already released is dropped and counted
    in ``dropped``. A source that is not in ``sources`` (sporadic: it has no heartbeat) is never waited for.
    """

    def __init__(self, sources: Iterable[str], max_lateness_ns: int) -> None:
        if max_lateness_ns <= 0:
            raise ValueError(f"max_lateness_ns must be positive, got {max_lateness_ns}")
        self._last: dict[str, int | None] = {source: None for source in sources}
        self._max_lateness_ns = max_lateness_ns
        # The slowest source stands first. An entry may be older than the source's last stamp: it is renewed when it comes first.
        self._slowest: list[tuple[int, str]] = []
        self._unheard = len(self._last)
        self._given_up: set[str] = set()
        self._first_ns: int | None = None
        self._newest_ns: int | None = None
        self._released_ns: int | None = None
        self.dropped: dict[str, int] = {}

    def hear(self, source: str, stamp_ns: int) -> bool:
        """A source has reported; False if that came too late and is dropped."""
        if self._newest_ns is None:
            self._first_ns = self._newest_ns = stamp_ns
        elif stamp_ns > self._newest_ns:
            self._newest_ns = stamp_ns
        elif stamp_ns < self._first_ns:
            self._first_ns = stamp_ns
        if source in self._last:
            self._advance(source, stamp_ns)
        if self._released_ns is not None and stamp_ns <= self._released_ns:
            self.dropped[source] = self.dropped.get(source, 0) + 1
            return False
        return True

    def _advance(self, source: str, stamp_ns: int) -> None:
        last = self._last[source]
        if last is not None and stamp_ns <= last:
            return
        self._last[source] = stamp_ns
        if last is None:
            self._unheard -= 1
        elif source in self._given_up:
            self._given_up.remove(source)
        else:
            return
        heapq.heappush(self._slowest, (stamp_ns, source))

    @property
    def lost(self) -> list[str]:
        """Sources that are not waited for at present, sorted."""
        return sorted(source for source, last in self._last.items() if not self._is_waited_for(last))

    @property
    def watermark_ns(self) -> int | None:
        """Everything up to this stamp can be released; None while nothing can."""
        newest_ns, slowest = self._newest_ns, self._slowest
        if newest_ns is None or (self._unheard and self._is_waited_for(None)):
            return None
        while slowest:
            stamp_ns, source = slowest[0]
            last = self._last[source]
            if last != stamp_ns:
                heapq.heapreplace(slowest, (last, source))
            elif stamp_ns >= newest_ns - self._max_lateness_ns:
                return stamp_ns
            else:
                heapq.heappop(slowest)
                self._given_up.add(source)
        return newest_ns

    def _is_waited_for(self, last: int | None) -> bool:
        # One that has never reported has the time from the first record on to do so.
        since = self._first_ns if last is None else last
        return since is None or since >= self._newest_ns - self._max_lateness_ns

    def release(self, until_ns: int) -> None:
        """From now on, what is not newer than ``until_ns`` comes too late."""
        if self._released_ns is None or until_ns > self._released_ns:
            self._released_ns = until_ns


class EventTimeBuffer(Watermark, Generic[T]):
    """Holds records back until all sources have reported up to their stamp (``Watermark``). Sporadic sources' records are ordered too."""

    def __init__(self, sources: Iterable[str], max_lateness_ns: int) -> None:
        super().__init__(sources, max_lateness_ns)
        self._heap: list[tuple[int, str, int, T]] = []
        self._count: dict[str, int] = {}

    def push(self, source: str, stamp_ns: int, record: T) -> bool:
        """Takes one record; False if it came too late and was dropped."""
        if not self.hear(source, stamp_ns):
            return False
        number = self._count.get(source, 0)
        self._count[source] = number + 1
        heapq.heappush(self._heap, (stamp_ns, source, number, record))
        return True

    def pop_ready(self) -> list[T]:
        """Records up to the watermark, in order."""
        watermark = self.watermark_ns
        if watermark is None:
            return []
        return self._pop_until(watermark)

    def held(self) -> list[T]:
        """Records that are still held back, in order; they stay held."""
        return [record for *_, record in sorted(self._heap, key=lambda entry: entry[:3])]

    def flush(self) -> list[T]:
        """All records that are still held, in order: for the end of a recording."""
        return self._pop_until(self._newest_ns) if self._newest_ns is not None else []

    def _pop_until(self, until_ns: int) -> list[T]:
        ready, heap = [], self._heap
        while heap and heap[0][0] <= until_ns:
            ready.append(heapq.heappop(heap)[3])
        self.release(until_ns)
        return ready
