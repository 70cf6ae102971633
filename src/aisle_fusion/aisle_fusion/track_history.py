"""What the tracker said lately: bounded, by track, to be asked for any interval within it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from aisle_contract.records import NANOSECONDS, Track, Tracks


@dataclass(slots=True)
class TrackLife:
    """One track's samples and its state at the newest time: ``seen_ns`` is the last time at which a detection supported it."""

    track: str
    first_ns: int
    last_ns: int
    seen_ns: int
    present: bool = True
    stamps: list[int] = field(default_factory=list)
    samples: list[Track] = field(default_factory=list)

    @property
    def newest(self) -> Track:
        return self.samples[-1]

    def between(self, start_ns: int, end_ns: int) -> list[Track]:
        """Samples with start <= stamp <= end."""
        return self.samples[bisect_left(self.stamps, start_ns) : bisect_right(self.stamps, end_ns)]

    def nearest(self, stamp_ns: int) -> tuple[int, Track]:
        """The sample nearest in time to ``stamp_ns`` and its stamp."""
        right = bisect_left(self.stamps, stamp_ns)
        best = min((i for i in (right - 1, right) if 0 <= i < len(self.stamps)), key=lambda i: abs(self.stamps[i] - stamp_ns))
        return self.stamps[best], self.samples[best]

    def forget_before(self, stamp_ns: int) -> None:
        """Drops old samples but the newest one."""
        del self.stamps[: (cut := min(bisect_left(self.stamps, stamp_ns), len(self.stamps) - 1))]
        del self.samples[:cut]


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
        return sum(len(life.samples) for life in self._lives.values())

    def _add_sample(self, now_ns: int, track: Track) -> None:
        seen_ns = now_ns - int(track.unseen_s * NANOSECONDS)
        life = self._lives.get(track.track)
        if life is None:
            life = self._lives[track.track] = TrackLife(track.track, now_ns, now_ns, seen_ns)
        life.last_ns, life.seen_ns, life.present = now_ns, max(life.seen_ns, seen_ns), True
        life.stamps.append(now_ns)
        life.samples.append(track)

    def _forget(self, before_ns: int) -> None:
        for track in [life.track for life in self._lives.values() if not life.present and life.last_ns < before_ns]:
            del self._lives[track]
        for life in self._lives.values():
            # In lumps: cutting a list's head costs its length.
            if life.stamps[0] < before_ns - self._keep_ns // 4:
                life.forget_before(before_ns)
