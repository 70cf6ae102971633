"""What the tracker said lately: bounded, by track, to be asked for any interval within it.

Samples are rows of an array for each track: a crowd's minutes are hundreds of thousands of small objects otherwise, which take memory, and
time whenever Python looks for garbage among them.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aisle_contract.records import NANOSECONDS, BodyPoint, Track, Tracks

#: Columns of a row: position and velocity (x, y), deviation of the position; left and right wrist (x, y, z, covariance), NaN if not known.
_POSITION, _VELOCITY, _DEVIATION, _WRISTS = slice(0, 2), slice(2, 4), 4, slice(5, 29)
_COLUMNS = 29
_NO_WRIST, _ONE = np.full(12, math.nan), np.eye(3)
#: A hand vanishes behind goods when it reaches into a shelf: for so long (s) it is thought to be where it was, ever less exactly (m/s).
_HIDDEN_S, _HIDDEN_MPS = 0.6, 0.3
#: So many samples wait at most until they become rows, and an array begins with so many rows.
_WAITING, _FIRST_ROWS = 64, 64


class Sample(NamedTuple):
    """One track at one time: ``position`` and ``velocity`` float64 [2] m, m/s; ``wrists`` float64 [3] m, those known then or just before"""

    position: np.ndarray
    velocity: np.ndarray
    wrists: list[np.ndarray]


class Samples:
    """A track over some time, one row a sample. ``stamps_ns`` int64 [N]."""

    def __init__(self, rows: np.ndarray, stamps_ns: np.ndarray) -> None:
        self._rows = rows
        self.stamps_ns = stamps_ns

    @classmethod
    def joined(cls, parts: Sequence[Samples]) -> Samples:
        if len(parts) == 1:
            return parts[0]
        return cls(np.concatenate([part._rows for part in parts]), np.concatenate([part.stamps_ns for part in parts]))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def positions(self) -> np.ndarray:
        """float64 [N, 2] m."""
        return self._rows[:, _POSITION]

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation [N] m of a position, by axis."""
        return self._rows[:, _DEVIATION]

    def wrists(self) -> tuple[np.ndarray, np.ndarray]:
        """Left and right wrist: positions [N, 2, 3] m and covariances [N, 2, 3, 3] m^2; NaN where not known, nor shortly before."""
        found = self._rows[:, _WRISTS].reshape(-1, 2, 12)
        return found[:, :, :3], found[:, :, 3:].reshape(-1, 2, 3, 3)


class TrackLife:
    """One track's samples and its state at the newest time: ``seen_ns`` is the last time at which a detection supported it."""

    __slots__ = ("_begin", "_rows", "_seen_wrists", "_stamps", "_waiting", "first_ns", "last_ns", "newest", "present", "seen_ns", "track")

    def __init__(self, track: str, first_ns: int) -> None:
        self.track = track
        self.first_ns = self.last_ns = self.seen_ns = first_ns
        self.present = True
        self.newest: Track | None = None
        # The rows of all stamps but the newest ones, which wait to be one: tracks are asked about only where something happens.
        self._stamps: list[int] = []
        self._rows = np.empty((_FIRST_ROWS, _COLUMNS))
        self._begin = 0
        self._waiting: list[Track] = []
        self._seen_wrists: list[tuple[int, BodyPoint] | None] = [None, None]

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest sample that is remembered."""
        return self._stamps[0]

    @property
    def oldest(self) -> Sample:
        return self._sample(0)

    @property
    def oldest_position(self) -> np.ndarray:
        """float64 [2] m."""
        return self._waiting[0].position if len(self._waiting) == len(self._stamps) else self._rows[self._begin, _POSITION]

    def add(self, stamp_ns: int, track: Track) -> None:
        self.last_ns, self.newest, self.present = stamp_ns, track, True
        self._stamps.append(stamp_ns)
        self._waiting.append(track)
        if len(self._waiting) >= _WAITING:
            self._write()

    def between(self, start_ns: int, end_ns: int) -> Samples:
        """Samples with start <= stamp <= end."""
        first, last = bisect_left(self._stamps, start_ns), bisect_right(self._stamps, end_ns)
        self._write_up_to(last)
        return Samples(self._rows[self._begin + first : self._begin + last], np.array(self._stamps[first:last], dtype=np.int64))

    def nearest(self, stamp_ns: int) -> tuple[int, Sample]:
        """The sample nearest in time to ``stamp_ns`` and its stamp."""
        right = bisect_left(self._stamps, stamp_ns)
        best = min((i for i in (right - 1, right) if 0 <= i < len(self._stamps)), key=lambda i: abs(self._stamps[i] - stamp_ns))
        return self._stamps[best], self._sample(best)

    def forget_before(self, stamp_ns: int) -> None:
        """Drops old samples but the newest one."""
        self._write()
        cut = min(bisect_left(self._stamps, stamp_ns), len(self._stamps) - 1)
        del self._stamps[:cut]
        self._begin += cut

    def _sample(self, index: int) -> Sample:
        self._write_up_to(index + 1)
        row = self._rows[self._begin + index]
        return Sample(row[_POSITION], row[_VELOCITY], [wrist[:3] for wrist in row[_WRISTS].reshape(2, 12) if not math.isnan(wrist[0])])

    def _write_up_to(self, count: int) -> None:
        """Makes sure that the oldest ``count`` samples are rows: what is asked about lies seconds back in most cases."""
        if count > len(self._stamps) - len(self._waiting):
            self._write()

    def _write(self) -> None:
        """Makes rows of the samples that wait."""
        if not self._waiting:
            return
        end = self._begin + len(self._stamps)
        if end > len(self._rows):
            # A new array, since somebody may still look at the old one.
            rows = np.empty((max(_FIRST_ROWS, 2 * len(self._stamps)), _COLUMNS))
            kept = self._rows[self._begin : end - len(self._waiting)]
            rows[: len(kept)] = kept
            self._rows, self._begin, end = rows, 0, len(self._stamps)
        parts: list[np.ndarray] = []
        for stamp_ns, track in zip(self._stamps[-len(self._waiting) :], self._waiting, strict=True):
            parts += (track.position, track.velocity, track.covariance)
            parts += self._wrist(0, stamp_ns, track.left_wrist)
            parts += self._wrist(1, stamp_ns, track.right_wrist)
        # Of each the state (4), its covariance (16) and two wrists (24).
        values = in_a_row(parts).reshape(len(self._waiting), -1)
        rows = self._rows[end - len(self._waiting) : end]
        rows[:, :4] = values[:, :4]
        along_x, along_y = values[:, 4], values[:, 9]
        rows[:, _DEVIATION] = np.sqrt(np.maximum(0.0, (along_x + along_y) / 2))
        rows[:, _WRISTS] = values[:, 20:]
        self._waiting.clear()

    def _wrist(self, side: int, stamp_ns: int, wrist: BodyPoint | None) -> Sequence[np.ndarray]:
        """A wrist's columns; of one that is not seen now what was seen last, if that is not too long ago."""
        if wrist is not None:
            self._seen_wrists[side] = stamp_ns, wrist
            return wrist.position, wrist.covariance
        seen_ns, seen = self._seen_wrists[side] or (0, None)
        hidden_s = (stamp_ns - seen_ns) / NANOSECONDS
        if seen is None or hidden_s > _HIDDEN_S:
            return (_NO_WRIST,)
        return seen.position, seen.covariance + (_HIDDEN_MPS * hidden_s) ** 2 * _ONE


def in_a_row(parts: Sequence[np.ndarray]) -> np.ndarray:
    """All numbers of many small float64 arrays, float64 [N]."""
    try:
        # A ninth of what joining them as arrays takes.
        return np.frombuffer(b"".join(parts))
    except (BufferError, TypeError, ValueError):
        # Some are not contiguous.
        return np.frombuffer(b"".join([part.tobytes() for part in parts]))


class TrackHistory:
    """Tracks of the last ``keep_ns`` nanoseconds of event time."""

    def __init__(self, keep_ns: int) -> None:
        self._keep_ns = keep_ns
        self._lives: dict[str, TrackLife] = {}

    def add(self, tracks: Tracks) -> list[TrackLife]:
        """Takes the tracks of one time; returns the lives of those that were present before and are not any more."""
        now_ns = tracks.stamp_ns
        current = {track.track for track in tracks.tracks}
        vanished = [life for life in self._lives.values() if life.present and life.track not in current]
        for life in vanished:
            life.present = False
        for track in tracks.tracks:
            self._add_sample(now_ns, track)
        self._forget(now_ns - self._keep_ns)
        return vanished

    def get(self, track: str) -> TrackLife | None:
        return self._lives.get(track)

    def __iter__(self) -> Iterator[TrackLife]:
        """Lives in the order in which they began."""
        return iter(self._lives.values())

    def __len__(self) -> int:
        return sum(len(life) for life in self._lives.values())

    def _add_sample(self, now_ns: int, track: Track) -> None:
        seen_ns = now_ns - int(track.unseen_s * NANOSECONDS)
        life = self._lives.get(track.track)
        if life is None:
            life = self._lives[track.track] = TrackLife(track.track, now_ns)
            life.seen_ns = seen_ns
        life.seen_ns = max(life.seen_ns, seen_ns)
        life.add(now_ns, track)

    def _forget(self, before_ns: int) -> None:
        for track in [life.track for life in self._lives.values() if not life.present and life.last_ns < before_ns]:
            del self._lives[track]
        for life in self._lives.values():
            # In lumps: cutting a list's head costs its length.
            if life.oldest_ns < before_ns - self._keep_ns // 4:
                life.forget_before(before_ns)
