"""Who is who after a close encounter: tracks that exchanged their persons are found out by how tall the persons are.

Two people who stand or squeeze past each other nearer than their boxes can be told apart may leave with each other's track. A person's
head keeps its height, so the height of each track's head, where nobody else was near and the person walked upright, is remembered for the
visit, and compared with what the tracks show during and after an encounter. If two visits' heads fit much better to each other's track,
the tracks have been exchanged (a likelihood ratio test). A head may be lower than remembered, for people stoop, but hardly higher.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Track
from aisle_fusion.order_statistics import median, quantile_of

#: A head is used if its height is known to this variance, m^2.
_LEAST_KNOWN_M2 = 0.1**2
#: Who walks so fast (m/s) walks upright.
_UPRIGHT_MPS = 0.3
#: A height counts after so many samples; so many are kept.
_LEAST_SAMPLES, _MEMORY = 10, 100
#: Heights are never thought to scatter less than this, m, and not known if they are less certain than this.
_LEAST_SPREAD_M, _LARGEST_DEVIATION_M = 0.015, 0.03
#: Of a second's heights this quantile counts: people stoop for moments.
_TALL_QUANTILE = 0.75
_WINDOW_NS, _LEAST_WINDOW = NANOSECONDS, 6
#: Half of a second's heights must lie within so many deviations: in a throng heads are mistaken for one another.
_STEADY_DEVIATIONS = 1.5
#: Heights of the last so many seconds are kept, to find out since when tracks have been exchanged.
_KEPT_S = 20.0
#: Errors of successive samples go together: so many of them are worth one.
_SAMPLES_WORTH_ONE = 5
#: How far people stoop, m, and the density (per m) of heights that nothing explains.
_STOOP_M, _ODD_DENSITY = 0.8, 1e-3
#: Each of two visible heads must fit so much better to the other's track, nats.
_LEAST_GAIN = 1.0
#: Of the stooping share this is left for people who walk.
_STOOPING_WALKERS = 0.1


@dataclass(frozen=True)
class IdentityConfig:
    """Parameters of ``VisitIdentities``."""

    contact_m: float = parameter(0.7, "Tracks that come nearer to each other than this may exchange their persons (m)", 0.0, 5.0)
    contact_s: float = parameter(6.0, "For so long after that their persons' heights are compared (s)", 0.0, 60.0)
    head_deviation_m: float = parameter(0.02, "How well the height of a track's head is known over a second (m)", 0.001, 1.0)
    walking_deviation_m: float = parameter(0.015, "The same of somebody who walks with nobody near (m)", 0.001, 1.0)
    stooping_share: float = parameter(0.3, "Share of the time in which people's heads are lower than when they walk", 0.0, 1.0)
    exchange_gain: float = parameter(8.0, "Two heads must fit so much better to each other's track (nats)", 0.0, 1000.0)


@dataclass(slots=True)
class _Height:
    """Of a visit's head, m, as seen while nobody was near, from the last ``samples``."""

    samples: deque[float] = field(default_factory=lambda: deque(maxlen=_MEMORY))
    _known: tuple[float, float] | None = (0.0, math.inf)

    def add(self, heights: Sequence[float]) -> None:
        self.samples.extend(heights)
        if len(self.samples) >= _LEAST_SAMPLES:
            # Worked out when it is asked for: most is learned about people who are far from others.
            self._known = None

    @property
    def known(self) -> tuple[float, float]:
        """The height in the middle, and its deviation."""
        if self._known is None:
            samples = np.array(self.samples)
            middle = float(median(samples))
            # A median's deviation, from the median of the distances, which a few wrong heads do not change.
            spread = 1.4826 * float(median(np.abs(samples - middle)))
            self._known = middle, 1.25 * max(spread, _LEAST_SPREAD_M) * float(np.sqrt(_SAMPLES_WORTH_ONE / len(self.samples)))
        return self._known


#: Stamp (ns), height of a head (m), whether walking with nobody near.
_Sighting = tuple[int, float, bool]


@dataclass(slots=True)
class _Watched:
    """One visit: the heights (stamp, m, whether walking with nobody near) of its track's head lately, those up to ``learned_ns`` being
    part of ``own``, the later ones ``fresh``; and with whom it was in contact, since and until when."""

    own: _Height = field(default_factory=_Height)
    learned_ns: int = 0
    heights: deque[_Sighting] = field(default_factory=deque)
    fresh: deque[_Sighting] = field(default_factory=deque)
    contacts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def see(self, sighting: _Sighting) -> None:
        self.heights.append(sighting)
        self.fresh.append(sighting)

    def forget_before(self, oldest_ns: int) -> None:
        for sightings in (self.heights, self.fresh):
            while sightings and sightings[0][0] < oldest_ns:
                sightings.popleft()

    def replace(self, heights: list[_Sighting]) -> None:
        self.heights = deque(heights)
        self.fresh = deque(sighting for sighting in heights if sighting[0] > self.learned_ns)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Two visits whose persons have been under each other's track since ``from_ns``."""

    first: str
    second: str
    from_ns: int


class VisitIdentities:
    """Call ``take`` with the tracks of each time, by visit, and exchange the tracks of the visits that it names."""

    def __init__(self, config: IdentityConfig) -> None:
        self._config = config
        self._watched: dict[str, _Watched] = {}

    def take(self, stamp_ns: int, tracks: Mapping[str, Track]) -> Exchange | None:
        """``tracks``: visit -> its track at ``stamp_ns``. Visits that were in it before and are not closed have lost theirs."""
        near = self._note_contacts(stamp_ns, tracks)
        for visit, track in tracks.items():
            watched, height = self._watched[visit], _height(track)
            if height is not None:
                watched.see((stamp_ns, height, visit not in near and math.hypot(*track.velocity.tolist()) > _UPRIGHT_MPS))
            self._learn(watched, stamp_ns)
        self._forget(stamp_ns, tracks)
        pair = self._likeliest(tracks, stamp_ns)
        if pair is None:
            return None
        exchange = Exchange(*pair, self._since(pair))
        if exchange.from_ns < self._watched[pair[0]].contacts[pair[1]][0]:
            # The heads never fitted: something else is wrong.
            return None
        self._exchange(*pair, exchange.from_ns)
        return exchange

    def _forget(self, stamp_ns: int, tracks: Mapping[str, Track]) -> None:
        oldest_ns = stamp_ns - int(_KEPT_S * NANOSECONDS)
        for visit, watched in self._watched.items():
            if watched.heights and watched.heights[0][0] < oldest_ns:
                watched.forget_before(oldest_ns)
            if not watched.contacts:
                continue
            # Whose track was lost in a contact may have any of the others' since.
            is_seen = visit in tracks
            over = [
                other
                for other, (_, until_ns) in watched.contacts.items()
                if (is_seen and until_ns < stamp_ns and other in tracks) or other not in self._watched
            ]
            for other in over:
                del watched.contacts[other]

    def close(self, visit: str) -> None:
        """The shopper has left."""
        self._watched.pop(visit, None)

    def _note_contacts(self, stamp_ns: int, tracks: Mapping[str, Track]) -> set[str]:
        """Notes who is near to whom; returns all who are near to anybody."""
        for visit in tracks:
            if visit not in self._watched:
                self._watched[visit] = _Watched()
        reach = self._config.contact_m
        until_ns = stamp_ns + int(self._config.contact_s * NANOSECONDS)
        places = [(visit, *track.position.tolist()) for visit, track in tracks.items()]
        pairs = [(one, other) for (one, x, y), (other, u, v) in combinations(places, 2) if abs(x - u) < reach > math.hypot(x - u, y - v)]
        for first, second in pairs:
            since_ns, _ = self._watched[first].contacts.get(second, (stamp_ns, 0))
            self._watched[first].contacts[second] = self._watched[second].contacts[first] = since_ns, until_ns
        return {visit for pair in pairs for visit in pair}

    def _learn(self, watched: _Watched, stamp_ns: int) -> None:
        """What a track showed soon after a contact is believed once no exchange has been found for a while."""
        until_ns = stamp_ns - (int(self._config.contact_s * NANOSECONDS) if watched.contacts else 0)
        new: list[float] = []
        while watched.fresh and watched.fresh[0][0] <= until_ns:
            at_ns, height, upright = watched.fresh.popleft()
            if upright and at_ns > watched.learned_ns:
                new.append(height)
        if new:
            watched.own.add(new)
        watched.learned_ns = max(watched.learned_ns, until_ns)

    def _likeliest(self, tracks: Mapping[str, Track], stamp_ns: int) -> tuple[str, str] | None:
        """The pair of visits that were in contact and gain most by exchanging their tracks, if that is enough. One of them may have lost
        its track since."""
        known = [visit for visit, watched in self._watched.items() if watched.contacts and watched.own.known[1] <= _LARGEST_DEVIATION_M]
        pairs = [(first, second) for first, second in combinations(known, 2) if second in self._watched[first].contacts]
        # Of each who is asked about: height, whether upright, and how well that fits to the own head.
        seen: dict[str, tuple[float, bool, float] | None] = {}
        best, likeliest = self._config.exchange_gain, None
        for pair in pairs:
            gain = 0.0
            for visit, other in (pair, pair[::-1]):
                if visit not in tracks:
                    continue
                if visit not in seen:
                    shown = self._seen(visit, stamp_ns)
                    seen[visit] = None if shown is None else (*shown, self._log_density(visit, *shown))
                # Whose track shows nothing at this moment is left alone. Both must say so: one alone may be somebody else.
                if seen[visit] is None:
                    break
                height, upright, fits = seen[visit]
                gained = self._log_density(other, height, upright) - fits
                if gained <= _LEAST_GAIN:
                    break
                gain += gained
            else:
                if gain > best:
                    best, likeliest = gain, pair
        return likeliest

    def _seen(self, visit: str, stamp_ns: int) -> tuple[float, bool] | None:
        """Height (m) of the head that a visit's track shows now, and whether it walked upright; None if it is not seen well."""
        since_ns = stamp_ns - _WINDOW_NS
        every: list[float] = []
        walking: list[float] = []
        for at_ns, height, upright in reversed(self._watched[visit].heights):
            if at_ns <= since_ns:
                break
            every.append(height)
            if upright:
                walking.append(height)
        walks = len(walking) >= _LEAST_WINDOW
        heights = sorted(walking if walks else every)
        if len(heights) < _LEAST_WINDOW:
            return None
        if quantile_of(heights, 0.75) - quantile_of(heights, 0.25) > _STEADY_DEVIATIONS * self._config.head_deviation_m:
            return None
        return quantile_of(heights, 0.5 if walks else _TALL_QUANTILE), walks

    def _log_density(self, visit: str, height: float, upright: bool = False) -> float:
        """Log density (per m) of a head's ``height`` (m) if it were this visit's."""
        config, (own_m, own_deviation) = self._config, self._watched[visit].own.known
        known = config.walking_deviation_m if upright else config.head_deviation_m
        deviation = math.hypot(known, own_deviation)
        stooping_share = config.stooping_share * (_STOOPING_WALKERS if upright else 1.0)
        normal = math.exp(-0.5 * ((height - own_m) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
        stooping = (own_m - _STOOP_M < height < own_m) / _STOOP_M
        return math.log((1.0 - stooping_share) * normal + stooping_share * stooping + _ODD_DENSITY)

    def _since(self, pair: tuple[str, str]) -> int:
        """When the tracks were exchanged: the time from which on the heads fit best to the other's track, and before to their own."""
        samples: list[tuple[int, float]] = []
        for visit, other in (pair, pair[::-1]):
            for stamp_ns, height, _ in self._watched[visit].heights:
                samples.append((stamp_ns, self._log_density(other, height) - self._log_density(visit, height)))
        samples.sort()
        after = np.cumsum([gain for _, gain in reversed(samples)])[::-1]
        return samples[int(np.argmax(after))][0]

    def _exchange(self, first: str, second: str, from_ns: int) -> None:
        """The heights that tracks have shown since go with the tracks."""
        one, two = self._watched[first], self._watched[second]
        kept = [[entry for entry in watched.heights if entry[0] < from_ns] for watched in (one, two)]
        moved = [[entry for entry in watched.heights if entry[0] >= from_ns] for watched in (one, two)]
        one.replace(kept[0] + moved[1])
        two.replace(kept[1] + moved[0])


def _height(track: Track) -> float | None:
    """Of a track's head above the floor, m, if it is known well enough."""
    head = track.head
    if head is None or track.unseen_s > 0.0 or head.covariance.item(2, 2) > _LEAST_KNOWN_M2:
        return None
    return head.position.item(2)
