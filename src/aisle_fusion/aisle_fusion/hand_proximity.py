"""How well a person's hands and body fit to a change of load: likelihood ratios against "somebody else, anywhere".

A hand is at the plates at some time between shortly before the load begins to change and its end. The wrist's distance is that to the
space above a plate where a hand can be; the body must stand in front of the shelf within an arm's reach. Both ratios have floors, since
wrists are now and then wrong and people reach around others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, BodyPoint, ShelfEvent, Track
from aisle_fusion.shopper_sessions import Visit
from aisle_fusion.track_history import TrackHistory
from aisle_store.store import Plate, Store

#: A hand over a plate is within this height above it (m); shelves leave 0.2-0.4 m.
_HAND_ROOM = 0.25
#: The wrist follows the fingers at this distance (m), so it may still be in front of the shelf.
_HAND_LENGTH = 0.08
_HEIGHT_TOLERANCE = 0.08


@dataclass(frozen=True)
class ProximityConfig:
    """Parameters of ``HandProximity``."""

    hand_deviation_m: float = parameter(
        0.08, "Spread of the hand's distance to the plate it takes from, beside the wrist's own (m)", 0.01, 1.0
    )
    hand_gain: float = parameter(12.0, "Likelihood ratio of a hand at the plate", 1.0, 1000.0)
    hand_floor: float = parameter(0.03, "Likelihood ratio of a seen hand that was far away", 1e-6, 1.0)
    body_gain: float = parameter(4.0, "Likelihood ratio of a body in front of the plate", 1.0, 1000.0)
    body_floor: float = parameter(0.005, "Likelihood ratio of a body that stood far away", 1e-9, 1.0)
    body_deviation_m: float = parameter(0.3, "Spread of the body's place along the shelf around the plates it takes from (m)", 0.05, 2.0)
    reach_m: float = parameter(0.9, "How far in front of a shelf's edge a person can stand and still reach it (m)", 0.3, 2.0)
    lead_s: float = parameter(0.25, "The hand comes this long before the load begins to change (s)", 0.0, 5.0)
    trail_s: float = parameter(0.15, "The hand may leave this long after the load was steady again (s)", 0.0, 5.0)
    longest_unseen_s: float = parameter(20.0, "A person out of view for longer is not thought to have taken anything (s)", 0.0, 600.0)


@dataclass(frozen=True, slots=True, eq=False)
class Proximity:
    """One visit at one event: ``ratio`` float64 [plates], likelihood ratio; ``distance`` float64 [plates] m, of the hand (or the body)."""

    visit: str
    ratio: np.ndarray
    distance: np.ndarray


class HandProximity:
    def __init__(self, store: Store, config: ProximityConfig, history: TrackHistory) -> None:
        self._store = store
        self._config = config
        self._history = history
        self._into_plate = {plate.key: np.linalg.inv(plate.pose) for plate in store.plates()}

    def measure(self, event: ShelfEvent, plates: Sequence[Plate], visits: Sequence[Visit]) -> list[Proximity]:
        """Proximity of each visit that was inside during the event to each of ``plates``, in the order of ``visits``."""
        start_ns = event.start_ns - int(self._config.lead_s * NANOSECONDS)
        end_ns = event.end_ns + int(self._config.trail_s * NANOSECONDS)
        measured = []
        for visit in visits:
            if visit.entered_ns > end_ns or (visit.left_ns and visit.left_ns < start_ns):
                continue
            samples = self._samples(visit, start_ns, end_ns)
            found = self._seen(samples, plates) if samples else self._unseen(visit, start_ns, plates)
            if found is not None:
                measured.append(Proximity(visit.session, *found))
        return measured

    def _samples(self, visit: Visit, start_ns: int, end_ns: int) -> list[Track]:
        samples: list[Track] = []
        for span in visit.spans:
            life = self._history.get(span.track)
            if life is not None and span.from_ns <= end_ns and (span.to_ns is None or span.to_ns >= start_ns):
                samples += life.between(max(start_ns, span.from_ns), end_ns if span.to_ns is None else min(end_ns, span.to_ns))
        return samples

    def _seen(self, samples: Sequence[Track], plates: Sequence[Plate]) -> tuple[np.ndarray, np.ndarray]:
        ratio, distance = np.empty(len(plates)), np.empty(len(plates))
        body = np.array([[*track.position, 0.0] for track in samples])
        body_deviation = np.array([np.sqrt(max(0.0, float(np.trace(track.covariance[:2, :2])) / 2)) for track in samples])
        wrists, owners, wrist_deviation = _wrists(samples)
        for column, plate in enumerate(plates):
            into = self._into_plate[plate.key]
            body_ratio, body_distance = self._body(_local(into, body), body_deviation, plate)
            per_sample = body_ratio
            if len(wrists):
                reach = _outside_hand_room(_local(into, wrists), plate)
                hand_ratio = np.full(len(samples), np.nan)
                spread = np.hypot(self._config.hand_deviation_m, wrist_deviation)
                single = self._config.hand_gain * np.exp(-0.5 * (reach / spread) ** 2) + self._config.hand_floor
                np.fmax.at(hand_ratio, owners, single)
                # A hand that is seen says most of what the body's place says: counted by half, not twice.
                per_sample = np.where(np.isnan(hand_ratio), body_ratio, np.sqrt(body_ratio) * hand_ratio)
            ratio[column] = _mean_of_best(per_sample)
            distance[column] = float(reach.min()) if len(wrists) else float(body_distance.min())
        return ratio, distance

    def _body(self, local: np.ndarray, deviation: np.ndarray, plate: Plate) -> tuple[np.ndarray, np.ndarray]:
        """Ratios [N] and horizontal distances [N] m for bodies ``local`` [N, 3] in the plate's frame."""
        config = self._config
        aside = np.maximum(np.maximum(-local[:, 0], local[:, 0] - plate.width), 0.0)
        in_front = -local[:, 1]
        too_far = np.maximum(in_front - config.reach_m, 0.0)
        behind = np.maximum(0.0 - in_front, 0.0)
        # The nearer the body stands to the shelf, the further it reaches along it, but never more than an arm.
        fit = (aside**2) / (config.body_deviation_m**2 + deviation**2) + (too_far**2 + behind**2) / (0.2**2 + deviation**2)
        return config.body_gain * np.exp(-0.5 * fit) + config.body_floor, np.hypot(aside, np.maximum(in_front, 0.0))

    def _unseen(self, visit: Visit, at_ns: int, plates: Sequence[Plate]) -> tuple[np.ndarray, np.ndarray] | None:
        """A person out of view may have walked: the further back the last sight lies, the less the place says."""
        unseen_s = abs(at_ns - visit.last_seen_ns) / NANOSECONDS
        if unseen_s > self._config.longest_unseen_s:
            return None
        body = np.array([[*visit.last_position, 0.0]])
        spread = self._config.body_deviation_m + 0.5 * unseen_s
        ratio, distance = np.empty(len(plates)), np.empty(len(plates))
        for column, plate in enumerate(plates):
            body_ratio, body_distance = self._body(_local(self._into_plate[plate.key], body), np.array([0.5 * unseen_s]), plate)
            ratio[column] = body_ratio[0] * self._config.body_deviation_m / spread
            distance[column] = body_distance[0]
        return ratio, distance


def _wrists(samples: Sequence[Track]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All known wrists: positions [W, 3] m, index of the sample [W], standard deviation [W] m."""
    found: list[tuple[BodyPoint, int]] = []
    for index, track in enumerate(samples):
        found += [(wrist, index) for wrist in (track.left_wrist, track.right_wrist) if wrist is not None]
    positions = np.array([wrist.position for wrist, _ in found]).reshape(-1, 3)
    deviations = np.array([np.sqrt(max(0.0, float(np.trace(wrist.covariance)) / 3)) for wrist, _ in found])
    return positions, np.array([index for _, index in found], dtype=int), deviations


def _local(into: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ into[:3, :3].T + into[:3, 3]


def _outside_hand_room(local: np.ndarray, plate: Plate) -> np.ndarray:
    """Distance [N] m of points [N, 3] in the plate's frame to the space where a wrist is while its hand is at the plate."""
    low = np.array([0.0, -_HAND_LENGTH, -_HEIGHT_TOLERANCE])
    high = np.array([plate.width, plate.depth, _HAND_ROOM])
    return np.linalg.norm(np.maximum(np.maximum(low - local, local - high), 0.0), axis=1)


def _mean_of_best(ratios: np.ndarray) -> float:
    """Mean of the best half, two samples at least: one wrong wrist decides nothing, and a hand need not stay all the time."""
    count = min(len(ratios), max(2, (len(ratios) + 1) // 2))
    return float(np.sort(ratios)[-count:].mean())
