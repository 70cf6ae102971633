"""How well a person's hands and body fit to a change of load: likelihood ratios against "somebody else, anywhere".

A hand is at a plate when its load changes: around the time at which the plate came to its new load, where the event says so. That time may
be wrong, and older recordings do not have it: then it is between shortly before the event begins and its end, and in a long event (a hand
that rested there first, a load that took long to be steady) at any time of it. The wrist's distance is that to the space above a plate
where a hand can be; the body must stand in front of the shelf within an arm's reach. Both ratios have floors, since wrists are now and then
wrong and people reach around others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, ShelfEvent
from aisle_fusion.order_statistics import median, quantile
from aisle_fusion.shopper_sessions import Visit
from aisle_fusion.track_history import Samples, TrackHistory, TrackLife
from aisle_store.store import Plate, ShelfKey, Store

#: A hand over a plate is within this height above it (m); shelves leave 0.2-0.4 m.
_HAND_ROOM = 0.25
_HEIGHT_TOLERANCE = 0.08
#: Of a hand's distances during an event, this quantile counts.
_NEAR_QUANTILE = 0.1
#: But in a long event a hand need not be there longer than for so many samples.
_MOST_NEARER = 3
#: How much of a wrist's own variance shows in that quantile.
_WRIST_SHARE = 0.3
#: A wrist of which it is known to this deviation (m) where it is says half as much as one that is known exactly.
_VAGUE_M = 0.3
#: Of a hand that is not known the body tells so much less than of a body neither of whose hands is.
_UNKNOWN_HAND_SHARE = 0.15
#: Who is farther than this from the shelf (m) before and after has not been there between.
_FAR_M = 4.0
#: Spread of how far a body stands outside the reach (m), and the largest squared misfit of a body whose hands are seen.
_OUTSIDE_M = 0.25
_LARGEST_MISFIT = 14.0
#: Whoever has at least this ratio somewhere is in question. Whether a hand rests is told by so long (s) before and after an event, but for
#: the time next to it.
_IN_QUESTION = 1.0
_IDLE_S, _IDLE_GAP_S = 1.6, 0.4


@dataclass(frozen=True)
class ProximityConfig:
    """Parameters of ``HandProximity``. Ratios and spreads were fitted to simulated shoppers (docs/carts.md)."""

    hand_gain: float = parameter(100.0, "Likelihood ratio of a hand at the plate", 1.0, 100_000.0)
    hand_floor: float = parameter(0.01, "Likelihood ratio of a seen hand that was far away", 1e-6, 1.0)
    hand_deviation_m: float = parameter(
        0.04, "Spread of the hand's distance to the plate it takes from, beside the wrist's own (m)", 0.01, 1.0
    )
    hand_tail: float = parameter(
        2.5, "The ratio falls with the distance to this power, squared: wrists are now and then quite wrong", 0.5, 20.0
    )
    idle_gain: float = parameter(
        20.0,
        "Where several are near: 1 + this is the divisor of the ratio of a hand that is there all the time, before and after, too",
        0.0,
        1000.0,
    )
    body_gain: float = parameter(25.0, "Likelihood ratio of a body in front of the plate whose hands are not seen", 1.0, 1000.0)
    body_floor: float = parameter(0.01, "Likelihood ratio of such a body that stood far away", 1e-9, 1.0)
    body_deviation_m: float = parameter(0.12, "Spread of the body's place along the shelf around the plates it takes from (m)", 0.02, 2.0)
    body_tail: float = parameter(1.4, "As hand_tail", 0.5, 20.0)
    stance_deviation_m: float = parameter(0.6, "The same spread where hands are seen: the body says little then (m)", 0.05, 5.0)
    reach_m: float = parameter(0.7, "How far in front of a shelf's edge a person can stand and still reach it (m)", 0.3, 2.0)
    lead_s: float = parameter(0.25, "The hand comes this long before the load begins to change (s)", 0.0, 5.0)
    trail_s: float = parameter(0.15, "The hand may leave this long after the load was steady again (s)", 0.0, 5.0)
    before_s: float = parameter(0.4, "Where it is known when a plate came to its new load the hand is there so long before (s)", 0.0, 5.0)
    after_s: float = parameter(0.2, "The same, after it (s)", 0.0, 5.0)
    misdated_share: float = parameter(0.1, "How often that time is wrong, and the hand was there at any time of the event", 0.0, 1.0)
    change_s: float = parameter(25.0, "The load goes or comes within this time before it is steady, however long the event (s)", 0.1, 120.0)
    longest_unseen_s: float = parameter(20.0, "A person out of view for longer is not thought to have taken anything (s)", 0.0, 600.0)


@dataclass(frozen=True, slots=True, eq=False)
class Proximity:
    """One visit at one event: ``ratio`` float64 [plates], likelihood ratio; ``distance`` float64 [plates] m, of the hand (or the body)."""

    visit: str
    ratio: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Samples of K people, N of each at the same times, at a shelf of P plates.

    float64 [P, K, N] m: the body's distances along the shelf and before or behind where one stands (``aside``, ``outside``); float64
    [P, K, N, 2]: each wrist's distance to where it is while the hand is at the plate (``hand``, m; NaN where it is not known) and its own
    variance in that direction (``variance``, m^2); float64 [K, N, 2]: how exactly a wrist is known, 1 .. 0 (``exactness``); standard
    deviation of the body [K, N] m; ``stamps_ns`` int64 [N].
    """

    aside: np.ndarray
    outside: np.ndarray
    hand: np.ndarray
    variance: np.ndarray
    exactness: np.ndarray
    deviation: np.ndarray
    stamps_ns: np.ndarray

    def during(self, window: _Window) -> _Seen | None:
        """What of it is about a window's plates and time; None if that is nothing."""
        then = np.flatnonzero((self.stamps_ns >= window.start_ns) & (self.stamps_ns <= window.end_ns))
        if not len(then):
            return None
        then, at = slice(int(then[0]), int(then[-1]) + 1), window.plates
        hands = self.hand[at][:, :, then], self.variance[at][:, :, then], self.exactness[:, then]
        return _Seen(self.aside[at][:, :, then], self.outside[at][:, :, then], *hands, self.deviation[:, then], self.stamps_ns[then])


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """The time in which a hand was at some ``plates`` (columns) if it moved what is there."""

    plates: np.ndarray
    start_ns: int
    end_ns: int


@dataclass(frozen=True, eq=False)
class _ShelfFront:
    """A shelf's plates from left to right: ``into`` float64 [P, 4, 4] maps the store to each plate; ``width``, ``depth`` [P] m;
    ``fronts`` float64 [P, 2] m: the middles of their front edges on the floor."""

    into: np.ndarray
    width: np.ndarray
    depth: np.ndarray
    fronts: np.ndarray

    @classmethod
    def of(cls, plates: Sequence[Plate]) -> _ShelfFront:
        into = np.array([np.linalg.inv(plate.pose) for plate in plates])
        fronts = np.array([plate.front[:2] for plate in plates])
        return cls(into, np.array([plate.width for plate in plates]), np.array([plate.depth for plate in plates]), fronts)

    @cached_property
    def _out_of(self) -> np.ndarray:
        """float64 [P, 3, 3]: turns row vectors of each plate into those of the store."""
        return np.linalg.inv(self.into[:, :3, :3]).transpose(0, 2, 1)

    def distance(self, positions: np.ndarray) -> np.ndarray:
        """Of places [..., 2] on the floor to the nearest plate's front, m."""
        return np.sqrt(np.square(self.fronts - positions[..., None, :]).sum(axis=-1).min(axis=-1))

    def seen(self, samples: Sequence[Samples], reach: float) -> Iterator[tuple[list[int], _Seen]]:
        """How people were seen who were not far away, those seen at the same times together; with their numbers in ``samples``."""
        if not samples:
            return
        ends = np.array([(found.positions[0], found.positions[-1]) for found in samples])
        near = np.flatnonzero(~(self.distance(ends) > _FAR_M).all(axis=1)).tolist()
        if not near:
            return
        everybody = Samples.joined([samples[number] for number in near])
        body = np.zeros((len(everybody), 3))
        body[:, :2] = everybody.positions
        aside, outside = self.standing(self.local(body), reach)
        wrists, covariances = everybody.wrists()
        hand, variance = self.hands(wrists, covariances)
        exactness = _VAGUE_M**2 / (_VAGUE_M**2 + np.trace(covariances, axis1=-2, axis2=-1) / 3)
        alike: dict[bytes, list[tuple[int, int]]] = {}
        start = 0
        for number in near:
            alike.setdefault(samples[number].stamps_ns.tobytes(), []).append((number, start))
            start += len(samples[number])
        for group in alike.values():
            stamps_ns = samples[group[0][0]].stamps_ns
            rows = np.array([start for _, start in group])[:, None] + np.arange(len(stamps_ns))
            hands = hand[:, rows], variance[:, rows], exactness[rows]
            yield [number for number, _ in group], _Seen(aside[:, rows], outside[:, rows], *hands, everybody.deviations[rows], stamps_ns)

    def local(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the store in every plate's coordinates [P, N, 3]."""
        return points @ self.into[:, :3, :3].transpose(0, 2, 1) + self.into[:, None, :3, 3]

    def hands(self, wrists: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances m and variances m^2 [P, N, 2], in the direction of the distance, of wrists [N, 2, 3] with covariances [N, 2, 3, 3]."""
        shape = (len(self.width), *wrists.shape[:2])
        away = self.outside_hand_room(self.local(wrists.reshape(-1, 3)))
        distance = np.sqrt(np.square(away).sum(axis=-1))
        # One who looks along a line knows little of where on it the hand is: what counts is how well its distance to the plate is known.
        direction = (away / np.maximum(distance, 1e-9)[..., None]) @ self._out_of
        variance = np.einsum("pni,nij,pnj->pn", direction, covariances.reshape(-1, 3, 3), direction)
        return distance.reshape(shape), variance.reshape(shape)

    def outside_hand_room(self, local: np.ndarray) -> np.ndarray:
        """How far [P, N, 3] m, by axis, points [P, N, 3] are outside the space where a wrist is while its hand is at the plate."""
        # From the shelf's edge on: idle hands hang just before it.
        low = np.array([0.0, 0.0, -_HEIGHT_TOLERANCE])
        high = np.stack([self.width, self.depth, np.full(len(self.width), _HAND_ROOM)], axis=-1)[:, None, :]
        return np.maximum(local - high, 0.0) - np.maximum(low - local, 0.0)

    def standing(self, local: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Distances [P, N] m of bodies [P, N, 3] on the floor: along the shelf, and before or behind where one stands to take something."""
        aside = np.maximum(np.maximum(-local[..., 0], local[..., 0] - self.width[:, None]), 0.0)
        in_front = -local[..., 1]
        return aside, np.maximum(np.maximum(in_front - reach, -in_front), 0.0)


class HandProximity:
    """Asks ``history`` where everybody's hands were."""

    def __init__(self, store: Store, config: ProximityConfig, history: TrackHistory) -> None:
        self._config = config
        self._history = history
        self._fronts: dict[ShelfKey, _ShelfFront] = {}

    def measure(
        self, event: ShelfEvent, plates: Sequence[Plate], visits: Sequence[Visit], newer: Mapping[str, TrackLife] | None = None
    ) -> list[Proximity]:
        """Proximity to each of ``plates`` of each visit that was inside during the event and not far away, in the order of ``visits``.

        ``newer``: what tracks did after what the history has, by track.
        """
        front = self._front(event, plates)
        from_ns = max(event.start_ns, event.end_ns - int(self._config.change_s * NANOSECONDS))
        start_ns = from_ns - int(self._config.lead_s * NANOSECONDS)
        end_ns = event.end_ns + int(self._config.trail_s * NANOSECONDS)
        present = [visit for visit in visits if visit.entered_ns <= end_ns and not (visit.left_ns and visit.left_ns < start_ns)]
        samples = {visit.session: self._samples(visit, start_ns, end_ns, newer or {}) for visit in present}
        found = {visit.session: self._unseen(visit, start_ns, front) for visit in present if samples[visit.session] is None}
        in_view = [session for session, its in samples.items() if its is not None]
        windows = self._windows(event, plates, start_ns, end_ns)
        for numbers, seen in front.seen([samples[session] for session in in_view], self._config.reach_m):
            found |= {in_view[number]: measured for number, *measured in zip(numbers, *self._seen(seen, windows), strict=True)}
        found = {session: measured for session, measured in found.items() if measured is not None}
        near = [visit for visit in present if visit.session in found and found[visit.session][0].max() >= _IN_QUESTION]
        if len(near) > 1 and self._config.idle_gain > 0.0:
            for session, idle in self._idle(near, start_ns, end_ns, front, newer or {}).items():
                ratio, distance = found[session]
                found[session] = ratio / (1.0 + self._config.idle_gain * idle), distance
        return [Proximity(visit.session, *found[visit.session]) for visit in present if visit.session in found]

    def _windows(self, event: ShelfEvent, plates: Sequence[Plate], start_ns: int, end_ns: int) -> list[_Window]:
        """By the times at which the event's plates changed; what is beside them goes with the strongest of them."""
        if not len(event.changed_ns):
            return []
        strongest = int(event.changed_ns[np.argmax(np.abs(event.change))])
        changed = dict(zip(event.plates, event.changed_ns.tolist(), strict=True))
        times = np.array([changed.get(plate.plate, strongest) for plate in plates])
        before_ns, after_ns = int(self._config.before_s * NANOSECONDS), int(self._config.after_s * NANOSECONDS)
        return [
            _Window(np.flatnonzero(times == time), max(start_ns, time - before_ns), min(end_ns, time + after_ns))
            for time in dict.fromkeys(times.tolist())
        ]

    def _idle(
        self, visits: Sequence[Visit], start_ns: int, end_ns: int, front: _ShelfFront, newer: Mapping[str, TrackLife]
    ) -> dict[str, np.ndarray]:
        """How much of the time before ``start_ns`` and after ``end_ns`` each one's hand was at each plate, share [P] by visit: the lesser
        of the two. A hand that comes when something is taken has come for that; one that was there all the while may rest."""
        gap_ns, long_ns = int(_IDLE_GAP_S * NANOSECONDS), int(_IDLE_S * NANOSECONDS)
        samples = {visit.session: self._samples(visit, start_ns - long_ns, end_ns + long_ns, newer) for visit in visits}
        in_view = [session for session, its in samples.items() if its is not None]
        every = np.arange(len(front.width))
        before, after = _Window(every, start_ns - long_ns, start_ns - gap_ns), _Window(every, end_ns + gap_ns, end_ns + long_ns)
        found = {}
        for numbers, seen in front.seen([samples[session] for session in in_view], self._config.reach_m):
            parts = [part for window in (before, after) if (part := seen.during(window)) is not None]
            if len(parts) == 2:
                shares = np.minimum(*(np.nan_to_num(self._nearness(part)).max(axis=-1).mean(axis=-1) for part in parts))
                found |= dict(zip([in_view[number] for number in numbers], shares.T, strict=True))
        return found

    def _nearness(self, seen: _Seen) -> np.ndarray:
        """Of each hand at each time, 1 at the plate .. 0, [P, K, N, 2]; NaN where it is not known."""
        config = self._config
        near = _falling(seen.hand / np.sqrt(config.hand_deviation_m**2 + _WRIST_SHARE * seen.variance), config.hand_tail)
        return seen.exactness * near

    def _front(self, event: ShelfEvent, plates: Sequence[Plate]) -> _ShelfFront:
        key = (event.gondola, event.shelf)
        if key not in self._fronts:
            self._fronts[key] = _ShelfFront.of(plates)
        return self._fronts[key]

    def _samples(self, visit: Visit, start_ns: int, end_ns: int, newer: Mapping[str, TrackLife]) -> Samples | None:
        parts: list[Samples] = []
        for span in visit.spans:
            if span.from_ns > end_ns or (span.to_ns is not None and span.to_ns < start_ns):
                continue
            until_ns = end_ns if span.to_ns is None else min(end_ns, span.to_ns)
            for life in (self._history.get(span.track), newer.get(span.track)):
                if life is not None:
                    parts.append(life.between(max(start_ns, span.from_ns), until_ns))
        parts = [part for part in parts if len(part)]
        return Samples.joined(parts) if parts else None

    def _seen(self, seen: _Seen, windows: Sequence[_Window]) -> tuple[np.ndarray, np.ndarray]:
        """Ratios and distances [K, P]: around the time at which each plate changed or, as that may be wrong, at any time."""
        ratio, distance = self._near(seen)
        misdated = self._config.misdated_share
        for window in windows:
            then = seen.during(window)
            if then is not None:
                ratio_then, distance_then = self._near(then)
                ratio[window.plates] = misdated * ratio[window.plates] + (1.0 - misdated) * ratio_then
                distance[window.plates] = distance_then
        return np.ascontiguousarray(ratio.T), np.ascontiguousarray(distance.T)

    def _near(self, seen: _Seen) -> tuple[np.ndarray, np.ndarray]:
        """Ratios and distances [P, K]."""
        config = self._config
        aside, outside = median(seen.aside), median(seen.outside)
        body = self._body(aside, outside, median(seen.deviation))
        known = ~np.isnan(seen.hand[0])
        near = np.where(known, self._nearness(seen), _UNKNOWN_HAND_SHARE * (body / config.hand_gain)[:, :, None, None]).max(axis=-1)
        # Not the very nearest: one wrong wrist decides nothing.
        last = near.shape[-1] - 1
        nearness = quantile(near, 1.0 - min(_NEAR_QUANTILE * last, _MOST_NEARER) / max(last, 1))
        hand = config.hand_gain * nearness + config.hand_floor
        stance = (aside / config.stance_deviation_m) ** 2 + (outside / _OUTSIDE_M) ** 2
        # Where hands are seen the body's place says little that they do not: its ratio counts by a third.
        ratio, distance = hand * np.exp(-0.5 * np.minimum(stance, _LARGEST_MISFIT) / 3), np.fmin.reduce(seen.hand, axis=(2, 3))
        with_hands = known.any(axis=(1, 2))
        if not with_hands.all():
            ratio, distance = np.where(with_hands, ratio, body), np.where(with_hands, distance, np.hypot(aside, outside))
        return ratio, distance

    def _body(self, aside: np.ndarray, outside: np.ndarray, deviation: np.ndarray | float) -> np.ndarray:
        """Ratios [P, ...] of bodies of which only the place is known, to the ``deviation`` [...] (m)."""
        config = self._config
        along = _falling(aside / np.hypot(config.body_deviation_m, deviation), config.body_tail)
        before = np.exp(-0.5 * outside**2 / (_OUTSIDE_M**2 + deviation**2))
        return config.body_gain * along * before + config.body_floor

    def _unseen(self, visit: Visit, at_ns: int, front: _ShelfFront) -> tuple[np.ndarray, np.ndarray] | None:
        """A person out of view may have walked: the further back the last sight lies, the less the place says."""
        unseen_s = abs(at_ns - visit.last_seen_ns) / NANOSECONDS
        if unseen_s > self._config.longest_unseen_s:
            return None
        body = front.local(np.array([[*visit.last_position, 0.0]]))
        aside, outside = (distance[:, 0] for distance in front.standing(body, self._config.reach_m))
        spread = self._config.body_deviation_m + 0.5 * unseen_s
        return self._body(aside, outside, 0.5 * unseen_s) * self._config.body_deviation_m / spread, np.hypot(aside, outside)


def _falling(distance: np.ndarray, power: float) -> np.ndarray:
    """From 1 at distance 0, in spreads, with the tail of Student's t."""
    return (1.0 + distance**2) ** -power
