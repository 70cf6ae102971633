"""Ordering by event time: the same records give the same sequence, whatever order they arrive in.

A record is released once every live source has reported up to its stamp (a watermark, as in Akidau et al., "The Dataflow Model",
VLDB 2015). Released records come sorted by (stamp, source, arrival number within the source), so a decision can depend on stamps alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class EventTimeBuffer(Generic[T]):
    """Holds records back until all sources have reported up to their stamp.

    Stamps of one source must increase strictly. A source that lags more than ``max_lateness_ns`` behind the newest stamp is counted
    as lost and no longer waited for, until it reports again; what it then says about times already released is dropped and counted
    in ``dropped``. A source that is not in ``sources`` (sporadic: it has no heartbeat) is ordered but never waited for.
    """

    def __init__(self, sources: Iterable[str], max_lateness_ns: int) -> None:
        if max_lateness_ns <= 0:
            raise ValueError(f"max_lateness_ns must be positive, got {max_lateness_ns}")
        self._last: dict[str, int | None] = {source: None for source in sources}
        self._max_lateness_ns = max_lateness_ns
        self._heap: list[tuple[int, str, int, T]] = []
        self._count: dict[str, int] = {}
        self._first_ns: int | None = None
        self._newest_ns: int | None = None
        self._released_ns: int | None = None
        self.dropped: dict[str, int] = {}

    def push(self, source: str, stamp_ns: int, record: T) -> bool:
        """Takes one record; False if it came too late and was dropped."""
        self._first_ns = stamp_ns if self._first_ns is None else min(self._first_ns, stamp_ns)
        self._newest_ns = stamp_ns if self._newest_ns is None else max(self._newest_ns, stamp_ns)
        if source in self._last:
            last = self._last[source]
            self._last[source] = stamp_ns if last is None else max(last, stamp_ns)
        if self._released_ns is not None and stamp_ns <= self._released_ns:
            self.dropped[source] = self.dropped.get(source, 0) + 1
            return False
        number = self._count.get(source, 0)
        self._count[source] = number + 1
        heapq.heappush(self._heap, (stamp_ns, source, number, record))
        return True

    @property
    def lost(self) -> list[str]:
        """Sources that are not waited for at present, sorted."""
        return sorted(source for source in self._last if not self._is_waited_for(source))

    @property
    def watermark_ns(self) -> int | None:
        """Everything up to this stamp can be released; None while nothing can."""
        waited = [self._last[source] for source in self._last if self._is_waited_for(source)]
        if None in waited:
            return None
        return min(waited, default=self._newest_ns)

    def _is_waited_for(self, source: str) -> bool:
        last = self._last[source]
        # One that has never reported has the time from the first record on to do so.
        since = self._first_ns if last is None else last
        return since is None or since >= self._newest_ns - self._max_lateness_ns

    def pop_ready(self) -> list[T]:
        """Records up to the watermark, in order."""
        watermark = self.watermark_ns
        if watermark is None:
            return []
        return self._pop_until(watermark)

    def flush(self) -> list[T]:
        """All records that are still held, in order: for the end of a recording."""
        return self._pop_until(self._newest_ns) if self._newest_ns is not None else []

    def _pop_until(self, until_ns: int) -> list[T]:
        ready = []
        while self._heap and self._heap[0][0] <= until_ns:
            ready.append(heapq.heappop(self._heap)[3])
        self._released_ns = until_ns if self._released_ns is None else max(self._released_ns, until_ns)
        return ready
