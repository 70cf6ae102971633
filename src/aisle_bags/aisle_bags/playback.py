"""When each message of a bag is due: recorded time that runs, stands still, jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from aisle_bags.stored_messages import RawMessage
from aisle_contract.records import NANOSECONDS


class Playback:
    """Releases messages (in the order of their log times) at the pace they were logged with, times ``rate``.

    ``messages(time_ns)`` gives those from a log time on; the bag holds ``start_ns`` .. ``end_ns``. It begins at ``begin_ns`` when it is
    resumed for the first time. ``now_s`` is that of any steady clock.
    """

    def __init__(
        self, messages: Callable[[int], Iterator[RawMessage]], start_ns: int, end_ns: int, rate: float = 1.0, begin_ns: int | None = None
    ) -> None:
        if not rate > 0:
            raise ValueError(f"rate is {rate:g}, expected more than 0")
        self._messages, self._start_ns, self._end_ns, self._rate = messages, start_ns, end_ns, rate
        self._paused = True
        self._anchor_s, self._anchor_ns = 0.0, start_ns if begin_ns is None else begin_ns
        self._until_ns: int | None = None
        self._go_to(self._anchor_ns)

    @property
    def rate(self) -> float:
        return self._rate

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be sent."""
        return self._next is None or (self._until_ns is not None and self._next.log_time_ns > self._until_ns)

    def holds(self, time_ns: int) -> bool:
        """Whether a time lies in the recording."""
        return self._start_ns <= time_ns <= self._end_ns

    def time_ns(self, now_s: float) -> int:
        """The recording's time. It waits for messages that could not be sent in time."""
        if self._paused:
            return self._anchor_ns
        time_ns = self._anchor_ns + round((now_s - self._anchor_s) * self._rate * NANOSECONDS)
        return time_ns if self.finished else min(time_ns, max(self._next.log_time_ns, self._anchor_ns))

    def due(self, now_s: float, most: int = 1000) -> list[RawMessage]:
        """What is to be sent by now and has not been yet, at most ``most`` messages; the others follow at the next call."""
        if self._paused:
            return []
        now_ns = self._anchor_ns + round((now_s - self._anchor_s) * self._rate * NANOSECONDS)
        ready: list[RawMessage] = []
        while not self.finished and self._next.log_time_ns <= now_ns and len(ready) < most:
            ready.append(self._taken())
        return ready

    def pause(self, now_s: float) -> None:
        self._anchor_ns = self.time_ns(now_s)
        self._paused = True

    def resume(self, now_s: float) -> None:
        if self._paused:
            self._paused, self._anchor_s = False, now_s

    def set_rate(self, now_s: float, rate: float) -> None:
        """Raises ValueError for a rate that is not more than 0."""
        if not rate > 0:
            raise ValueError(f"rate is {rate:g}, expected more than 0")
        self._anchor_ns, self._anchor_s = self.time_ns(now_s), now_s
        self._rate = rate

    def seek(self, now_s: float, time_ns: int, until_ns: int | None = None) -> None:
        """Goes on from a time of the recording, to ``until_ns`` or its end. ValueError for a time outside of the recording."""
        if not self.holds(time_ns):
            raise ValueError(f"time is {time_ns} ns, expected {self._start_ns} .. {self._end_ns}")
        self._anchor_s, self._anchor_ns, self._until_ns = now_s, time_ns, until_ns
        self._go_to(time_ns)

    def take_next(self) -> RawMessage | None:
        """While it stands still: the next message, whose time it then is; None at the end."""
        if self.finished:
            return None
        message = self._taken()
        self._anchor_ns = max(self._anchor_ns, message.log_time_ns)
        return message

    def _go_to(self, time_ns: int) -> None:
        self._iterator = self._messages(time_ns)
        self._next: RawMessage | None = next(self._iterator, None)

    def _taken(self) -> RawMessage:
        message, self._next = self._next, next(self._iterator, None)
        return message
