"""What cameras and readers saw in people's hands around a shelf event, as likelihood ratios of who holds which product.

A sighting of an item belongs to a hand by its distance (with the rest of the chance for somebody else's, or nobody's); it speaks of an
event if it was made while the item was in the hand: shortly after a pick, shortly before a put-back. Its ratio for a product is the
sensor's likelihood against the mean over the catalogue. Looks of one sensor that follow one another have their errors in common: their mean
counts, as if it were a few looks at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, ItemObservation, ShelfEvent
from aisle_fusion.shopper_sessions import Visit
from aisle_fusion.track_history import TrackHistory, TrackLife

#: Likelihoods below this share of the mean are not believed: sensors are surer than they should be.
_LEAST_RATIO = 0.02


@dataclass(frozen=True)
class SightingConfig:
    """Parameters of ``ItemSightings``."""

    sighting_s: float = parameter(1.5, "An item is seen in the hand within this time after a pick or before a put-back (s)", 0.0, 30.0)
    sighting_spread_m: float = parameter(0.12, "An item's distance from the wrist, beside the sensor's own deviation (m)", 0.01, 2.0)
    sighting_trust: float = parameter(0.9, "Share of sightings that are of what the nearest hand holds", 0.0, 1.0)
    independent_sightings: float = parameter(2.0, "Looks of one sensor that count apart, at most", 0.1, 100.0)


@dataclass(frozen=True, eq=False)
class _Look:
    """``belongs``: visit -> probability that the item is in that visit's hand; ``ratios``: product -> likelihood against the mean."""

    source: str
    belongs: Mapping[str, float]
    ratios: Mapping[str, float]
    unlisted: float


class EventSights:
    """Log-likelihood ratios at one event."""

    def __init__(self, looks: Iterable[_Look] = (), independent: float = 1.0) -> None:
        self._by_source: dict[str, list[_Look]] = {}
        for look in looks:
            self._by_source.setdefault(look.source, []).append(look)
        self._independent = independent

    def __bool__(self) -> bool:
        return bool(self._by_source)

    def ratio(self, visit: str, product: str) -> float:
        """Log-likelihood ratio of ``visit`` having had ``product`` in hand, against something unknown in somebody's hand."""
        total = 0.0
        for looks in self._by_source.values():
            logs = [np.log(1.0 + look.belongs.get(visit, 0.0) * (look.ratios.get(product, look.unlisted) - 1.0)) for look in looks]
            total += min(len(logs), self._independent) * float(np.mean(logs))
        return total


class ItemSightings:
    """Keeps the observations of the last ``keep_ns``; asks ``history`` where hands were."""

    def __init__(self, config: SightingConfig, history: TrackHistory, catalogue: int, keep_ns: int) -> None:
        self._config = config
        self._history = history
        self._catalogue = max(catalogue, 1)
        self._keep_ns = keep_ns
        self._seen: list[ItemObservation] = []

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, observation: ItemObservation) -> None:
        self._seen.append(observation)

    def forget(self, now_ns: int) -> None:
        if self._seen and self._seen[0].stamp_ns < now_ns - self._keep_ns:
            self._seen = [seen for seen in self._seen if seen.stamp_ns >= now_ns - self._keep_ns]

    def at(
        self, event: ShelfEvent, visits: Sequence[Visit], newer: Mapping[str, TrackLife] | None = None, more: Sequence[ItemObservation] = ()
    ) -> EventSights:
        """What was seen that may speak of ``event``. ``newer``, ``more``: tracks and observations that are not in the history yet."""
        margin, window = NANOSECONDS // 5, int(self._config.sighting_s * NANOSECONDS)
        taken = float(np.sum(event.change)) < 0
        low = event.end_ns - NANOSECONDS // 2 if taken else event.start_ns - window
        high = event.end_ns + window if taken else event.start_ns + NANOSECONDS // 2
        seen = [look for look in (*self._seen, *more) if low - margin <= look.stamp_ns <= high + margin]
        return EventSights([self._look(one, visits, newer or {}) for one in seen], self._config.independent_sightings)

    def _look(self, seen: ItemObservation, visits: Sequence[Visit], newer: Mapping[str, TrackLife]) -> _Look:
        spread = float(np.hypot(self._config.sighting_spread_m, seen.position_deviation))
        near: dict[str, float] = {}
        for visit in visits:
            distance = self._hand_distance(visit, seen, newer)
            if distance is not None:
                near[visit.session] = float(np.exp(-0.5 * (distance / spread) ** 2))
        # What lies three deviations from every hand is nobody's.
        total = math.fsum(near.values()) + float(np.exp(-4.5))
        belongs = {visit: self._config.sighting_trust * weight / total for visit, weight in near.items()}
        likelihoods = np.asarray(seen.likelihoods, dtype=float)
        mean = float(likelihoods.sum()) / self._catalogue
        if mean <= 0:
            return _Look(seen.source, {}, {}, 1.0)
        ratios = {product: max(float(value) / mean, _LEAST_RATIO) for product, value in zip(seen.products, likelihoods, strict=True)}
        return _Look(seen.source, belongs, ratios, _LEAST_RATIO)

    def _hand_distance(self, visit: Visit, seen: ItemObservation, newer: Mapping[str, TrackLife]) -> float | None:
        """Distance (m) of the nearer wrist of a visit to what was seen; of the body, as if arms hung, where no wrist is known."""
        for span in visit.spans:
            if span.from_ns > seen.stamp_ns or (span.to_ns is not None and span.to_ns < seen.stamp_ns):
                continue
            lives = [life for life in (newer.get(span.track), self._history.get(span.track)) if life is not None]
            if not lives:
                continue
            stamp_ns, sample = min((life.nearest(seen.stamp_ns) for life in lives), key=lambda found: abs(found[0] - seen.stamp_ns))
            if abs(stamp_ns - seen.stamp_ns) > NANOSECONDS // 2:
                continue
            if sample.wrists:
                return min(float(np.linalg.norm(wrist - seen.position)) for wrist in sample.wrists)
            # An arm's length around the body is as good as at the hand.
            return max(0.0, float(np.linalg.norm(sample.position - seen.position[:2])) - 0.6)
        return None
