"""Hands out the records of simulated sessions when they are due, while the next session is being simulated."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from aisle_contract.records import NANOSECONDS
from aisle_sim.simulator import SensorRecord, SimulatedSession


class LiveSchedule:
    """Plays sessions in sequence against a clock that the caller reads: ``due(now_s)`` with any steady clock in seconds.

    Played time stands still while the next session is not ready; it never jumps. ``close`` ends the background thread.
    """

    def __init__(self, sessions: Iterator[SimulatedSession], speed: float) -> None:
        if not speed > 0:
            raise ValueError(f"speed is {speed}, expected more than 0")
        self._sessions = sessions
        self._speed = speed
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulation")
        self._coming: Future | None = self._pool.submit(next, sessions, None)
        self._playing: SimulatedSession | None = None
        self._sent = 0
        self._position_ns: int | None = None
        self._last_s: float | None = None
        #: Sessions that began since the caller last emptied the list.
        self.begun: list[SimulatedSession] = []

    @property
    def ready(self) -> bool:
        """Whether playing can begin."""
        return self._playing is not None or (self._coming is not None and self._coming.done())

    @property
    def finished(self) -> bool:
        """Whether all records of all sessions were handed out."""
        return self._coming is None and (self._playing is None or self._sent == len(self._playing.records))

    @property
    def position_ns(self) -> int | None:
        """Played time; None before the first session began."""
        return self._position_ns

    @property
    def behind_s(self) -> float:
        """How late the next record is, s of played time."""
        if self._playing is None or self._sent == len(self._playing.records):
            return 0.0
        return max(0.0, (self._position_ns - self._playing.records[self._sent].stamp_ns) / NANOSECONDS)

    def due(self, now_s: float, limit: int = 1_000) -> list[SensorRecord]:
        """The next records by stamp up to the played time of now, at most ``limit``. Raises what the simulation raised."""
        passed_s = 0.0 if self._last_s is None or self._playing is None else max(0.0, now_s - self._last_s)
        self._last_s = now_s
        if self._position_ns is not None:
            self._position_ns += round(passed_s * self._speed * NANOSECONDS)
        records: list[SensorRecord] = []
        while len(records) < limit:
            if (self._playing is None or self._sent == len(self._playing.records)) and not self._begin_next():
                break
            record = self._playing.records[self._sent]
            if record.stamp_ns > self._position_ns:
                break
            records.append(record)
            self._sent += 1
        return records

    def close(self) -> None:
        """Gives up the sessions that are still to come."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin_next(self) -> bool:
        """Goes on to the next session if it is ready; holds played time at the end of this one if it is not."""
        if self._playing is not None and self._position_ns < self._playing.end_ns:
            return False
        if self._coming is None or not self._coming.done():
            if self._playing is not None:
                self._position_ns = self._playing.end_ns
            return False
        following = self._coming.result()
        if following is None:
            self._coming = None
            return False
        self._coming = self._pool.submit(next, self._sessions, None)
        self._playing, self._sent = following, 0
        self._position_ns = following.start_ns if self._position_ns is None else max(self._position_ns, following.start_ns)
        self.begun.append(following)
        return True
