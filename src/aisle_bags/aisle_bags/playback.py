"""When each message of a bag is due."""

from __future__ import annotations

from collections.abc import Iterable

from aisle_bags.bag_reader import RawMessage

NANOSECONDS = 1_000_000_000


class Playback:
    """Releases messages (in the order of their log times) at the pace they were logged with, times ``rate``."""

    def __init__(self, messages: Iterable[RawMessage], rate: float) -> None:
        if not rate > 0:
            raise ValueError(f"rate is {rate:g}, expected more than 0")
        self._messages = iter(messages)
        self._rate = rate
        self._next = next(self._messages, None)
        self._start_ns = self._next.log_time_ns if self._next else 0

    @property
    def finished(self) -> bool:
        return self._next is None

    def time_ns(self, elapsed_s: float) -> int:
        """The recording's time ``elapsed_s`` seconds after the start."""
        return self._start_ns + round(elapsed_s * self._rate * NANOSECONDS)

    def due(self, elapsed_s: float, most: int = 1000) -> list[RawMessage]:
        """What is to be sent by now and has not been yet, at most ``most`` messages; the others follow at the next call."""
        now_ns = self.time_ns(elapsed_s)
        ready: list[RawMessage] = []
        while self._next is not None and self._next.log_time_ns <= now_ns and len(ready) < most:
            ready.append(self._next)
            self._next = next(self._messages, None)
        return ready
