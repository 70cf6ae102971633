"""Persons followed on the floor: the tracker's part that comes after the detections have been brought to the floor.

Each slot's detections are assigned to the known persons camera by camera and fused by precision in one Kalman update per person. What is
left over begins new persons; evidence for and against decides who is real and who has gone. The parts can be exchanged (initiator,
associator, updater, deleter, as in Stone Soup's ``tracker.simple``). What the place looks like (where one can stand, where one can leave,
what each camera should see) is asked of a ``Scene``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS
from aisle_perception import existence, kalman
from aisle_perception.appearance import Appearance, similarities
from aisle_perception.association import ClusterInitiator, FloorDetections, GlobalNearestNeighbour, Innovations, innovations
from aisle_perception.body_points import PointState
from aisle_perception.existence import ExistenceConfig
from aisle_perception.small_matrices import greatest_deviation2, inverse2


@dataclass(frozen=True)
class FloorTrackerConfig(ExistenceConfig):
    """How persons are followed on the floor."""

    acceleration_density: float = parameter(1.0, "Spectral density of a person's acceleration, m^2/s^3", 0.01, 100.0)
    velocity_memory_s: float = parameter(1.0, "A person whom nobody sees is thought to slow down with this time constant, s", 0.1, 60.0)
    start_speed_deviation: float = parameter(0.7, "Standard deviation of a new person's velocity along each axis, m/s", 0.05, 5.0)
    gate: float = parameter(11.8, "Squared Mahalanobis distance within which a detection may belong to a person (11.8: 99.7 %)", 1.0, 100.0)
    appearance_weight: float = parameter(10.0, "What a cosine of 1 between two embeddings says, as -2 log-likelihood", 0.0, 100.0)
    even_similarity: float = parameter(0.5, "Cosine of embeddings that speaks neither for the same person nor for another", -1.0, 1.0)
    cluster_gate: float = parameter(9.2, "The same between two cameras' detections of a new person (9.2: 99 %)", 1.0, 100.0)
    shadow_gate: float = parameter(30.0, "Within this of a person a detection of a camera that misses him begins no other", 0.0, 400.0)
    vaguest_m: float = parameter(0.5, "Detections with a greater standard deviation begin no person, m", 0.05, 5.0)
    floor_margin_m: float = parameter(0.2, "Persons up to this far outside the floor are still followed, m", 0.0, 2.0)
    outside_s: float = parameter(0.3, "A person who is outside the floor for longer has left, s", 0.0, 10.0)
    duplicate_m: float = parameter(0.6, "Two tracks nearer than this may be one person, m", 0.0, 2.0)
    duplicate_s: float = parameter(1.0, "Two near tracks that no camera has seen apart for this time are one person, s", 0.1, 30.0)
    separate_frames: int = parameter(3, "Frames that must show two persons at once before a new track so near to another counts", 0, 50)


@dataclass(eq=False)
class Person:
    """One followed person, confirmed (``track`` given) or not. ``mean`` float64 [4] (x, y, vx, vy) and ``covariance`` [4, 4] are replaced
    and never written to."""

    number: int
    mean: np.ndarray
    covariance: np.ndarray
    born_ns: int
    seen_ns: int
    log_odds: float
    track: str = ""
    outside_ns: int = 0
    points: PointState = field(default_factory=PointState.unknown)
    appearance: Appearance = field(default_factory=Appearance)
    #: Of persons near this one, by their numbers: since when they are near, when a camera last saw both apart, in how many frames.
    near_since_ns: dict[int, int] = field(default_factory=dict)
    apart_ns: dict[int, int] = field(default_factory=dict)
    apart_frames: dict[int, int] = field(default_factory=dict)


class Scene(Protocol):
    """What is known of the place. ``positions`` float64 [N, 2] m."""

    def on_floor(self, positions: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """bool [N]: where persons can stand, grown by ``margin`` metres."""

    def at_exit(self, positions: np.ndarray) -> np.ndarray:
        """bool [N]: where an unseen person has most likely left."""

    def detection_probability(self, positions: np.ndarray) -> np.ndarray:
        """float64 [cameras, N]: how likely each camera is to find a person there."""


class Associator(Protocol):
    """Decides which detection belongs to whom."""

    def assign(self, found: Innovations, detections: FloorDetections, candidates: np.ndarray, free: np.ndarray) -> np.ndarray: ...


class Initiator(Protocol):
    """Groups detections that belong to nobody into new persons."""

    def clusters(self, detections: FloorDetections) -> list[np.ndarray]: ...


class Updater(Protocol):
    """Moves persons in time and corrects them by detections."""

    def predict(self, people: Sequence[Person], dt_s: float, stamp_ns: int) -> None: ...

    def update(self, people: Sequence[Person], detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None: ...


class Deleter(Protocol):
    """Decides who is no longer there."""

    def gone(self, people: Sequence[Person], stamp_ns: int) -> list[Person]: ...


class FloorUpdater:
    """Constant-velocity Kalman filters; all detections of a slot are fused at once, those far off with less weight (Huber)."""

    _HUBER = 2.0
    #: One missed slot is no occlusion.
    _LEAST_UNSEEN_S = 0.15

    def __init__(self, config: FloorTrackerConfig) -> None:
        self._config = config

    def predict(self, people: Sequence[Person], dt_s: float, stamp_ns: int) -> None:
        if not people or dt_s <= 0.0:
            return
        means, covariances = kalman.moved(*stacked(people), dt_s, self._config.acceleration_density)
        patience_ns = (self._LEAST_UNSEEN_S + dt_s) * NANOSECONDS
        unseen = [number for number, p in enumerate(people) if stamp_ns - p.seen_ns > patience_ns]
        if unseen:
            means[unseen, 2:] *= np.exp(-dt_s / self._config.velocity_memory_s)
        spread(people, means, covariances)

    def update(self, people: Sequence[Person], detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        used = np.flatnonzero(owner >= 0)
        if not len(used):
            return
        self._fuse(people, *stacked(people), detections.subset(used), owner[used], distance[owner[used], used])

    def _fuse(
        self,
        people: Sequence[Person],
        means: np.ndarray,
        covariances: np.ndarray,
        detections: FloorDetections,
        whose: np.ndarray,
        squared_distance: np.ndarray,
    ) -> None:
        """Corrects ``people``, with ``means`` [N, 4] and ``covariances`` [N, 4, 4], by detections [K] of persons ``whose`` (int [K])."""
        weight = np.minimum(1.0, self._HUBER / np.maximum(np.sqrt(squared_distance), self._HUBER))
        precision = weight[:, None, None] * inverse2(detections.covariances)
        spread(people, *kalman.fuse(means, covariances, whose, detections.positions, detections.age_s, precision))


class EvidenceDeleter:
    """Ends persons whose existence has become unlikely and those who have left the floor."""

    def __init__(self, config: FloorTrackerConfig) -> None:
        self._config = config

    def gone(self, people: Sequence[Person], stamp_ns: int) -> list[Person]:
        patience = self._config.outside_s * NANOSECONDS
        unlikely = existence.ended(self._config, _log_odds(people))
        return [p for p, gone in zip(people, unlikely, strict=True) if gone or (p.outside_ns and stamp_ns - p.outside_ns >= patience)]


def stacked(people: Sequence[Person]) -> tuple[np.ndarray, np.ndarray]:
    """Means [N, 4] and covariances [N, 4, 4] of N persons, copied."""
    return _means(people), np.concatenate([p.covariance for p in people]).reshape(-1, 4, 4) if people else np.zeros((0, 4, 4))


def _means(people: Sequence[Person]) -> np.ndarray:
    # Much faster than making an array of a list of arrays.
    return np.concatenate([p.mean for p in people]).reshape(-1, 4) if people else np.zeros((0, 4))


def _log_odds(people: Sequence[Person]) -> np.ndarray:
    return np.array([p.log_odds for p in people], dtype=float)


def spread(people: Sequence[Person], means: np.ndarray, covariances: np.ndarray) -> None:
    """The other way round: each person gets his mean and covariance."""
    for person, mean, covariance in zip(people, means, covariances, strict=True):
        person.mean, person.covariance = mean, covariance


class FloorTracker:
    """All persons of one place. ``step`` is called once per time slot, also when it is empty."""

    def __init__(
        self,
        scene: Scene,
        config: FloorTrackerConfig,
        *,
        initiator: Initiator | None = None,
        associator: Associator | None = None,
        updater: Updater | None = None,
        deleter: Deleter | None = None,
    ) -> None:
        self._scene = scene
        self._config = config
        self._initiator = ClusterInitiator(config.cluster_gate) if initiator is None else initiator
        self._associator = _nearest_neighbour(config) if associator is None else associator
        self._updater = FloorUpdater(config) if updater is None else updater
        self._deleter = EvidenceDeleter(config) if deleter is None else deleter
        self.people: list[Person] = []
        self._born = self._confirmed = 0
        self._stamp_ns: int | None = None

    def step(self, detections: FloorDetections, reporting: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Takes one slot: its detections and the cameras that have reported in it (int [R]). Afterwards ``people`` holds everybody.

        Returns int [M]: the number (``Person.number``) of whom each detection was taken for, -1 for nobody.
        """
        dt_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NANOSECONDS
        self._stamp_ns = stamp_ns
        self._updater.predict(self.people, dt_s, stamp_ns)
        owner, shadowed = self._associate(detections)
        self._judge(reporting, detections, owner, dt_s, stamp_ns)
        self._begin_people(detections, owner, shadowed, stamp_ns)
        self._look(detections, owner)
        numbers = np.array([p.number for p in self.people] + [-1])[owner]
        self._end_people(stamp_ns)
        self._confirm()
        return numbers

    def _associate(self, detections: FloorDetections) -> tuple[np.ndarray, np.ndarray]:
        """Person of each detection (-1: none), confirmed persons first, and which of the others are shadows (bool [M]) of somebody.

        Also corrects the persons' states.
        """
        owner = np.full(len(detections), -1)
        if not self.people or not len(detections):
            return owner, np.zeros(len(detections), dtype=bool)
        found = innovations(*stacked(self.people), detections)
        if detections.embeddings is not None:
            looks = similarities([p.appearance for p in self.people], detections.embeddings)
            found = dataclasses.replace(found, similarity=looks)
        confirmed = np.array([bool(p.track) for p in self.people])
        for group in (np.flatnonzero(confirmed), np.flatnonzero(~confirmed)):
            assigned = self._associator.assign(found, detections, group, owner < 0)
            owner = np.where(assigned >= 0, assigned, owner)
        self._updater.update(self.people, detections, owner, found.distance)
        return owner, self._shadowed(found, confirmed, detections, owner)

    def _shadowed(self, found: Innovations, confirmed: np.ndarray, detections: FloorDetections, owner: np.ndarray) -> np.ndarray:
        """bool [M]: near a person whom the detection's frame shows by no other detection: most likely that person, badly placed."""
        seen = _seen(len(confirmed), int(detections.cameras.max()) + 1, detections, owner)
        near = found.distance <= self._config.shadow_gate
        return (confirmed[:, None] & near & ~seen[detections.cameras].T).any(axis=0)

    def _judge(self, reporting: np.ndarray, detections: FloorDetections, owner: np.ndarray, dt_s: float, stamp_ns: int) -> None:
        """What this slot says about each person's existence, and about pairs of them."""
        if not self.people:
            return
        positions = _means(self.people)[:, :2]
        expected = self._scene.detection_probability(positions)
        probability = np.zeros(expected.shape)
        probability[reporting] = expected[reporting]
        seen = _seen(len(self.people), len(expected), detections, owner)
        found = seen.any(axis=0)
        at_exit = np.zeros(len(found), dtype=bool)
        missed = np.flatnonzero(~found)
        if len(missed):
            at_exit[missed] = self._scene.at_exit(positions[missed])
        gain = existence.evidence(self._config, seen, probability, dt_s, at_exit)
        log_odds = existence.added(self._config, _log_odds(self.people), gain)
        inside = self._scene.on_floor(positions, self._config.floor_margin_m)
        for person, odds, is_found, is_inside in zip(self.people, log_odds.tolist(), found.tolist(), inside.tolist(), strict=True):
            person.log_odds = odds
            if is_found:
                person.seen_ns = stamp_ns
            if is_inside:
                person.outside_ns = 0
            elif not person.outside_ns:
                person.outside_ns = stamp_ns
        self._compare_neighbours(positions, seen, stamp_ns)

    def _compare_neighbours(self, positions: np.ndarray, seen: np.ndarray, stamp_ns: int) -> None:
        x, y = positions.T
        near = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2 <= self._config.duplicate_m**2
        neighbours_of: list[list[int]] = [[] for _ in self.people]
        # Everybody is near to himself.
        if np.count_nonzero(near) > len(near):
            for later, earlier in zip(*(numbers.tolist() for numbers in np.nonzero(near)), strict=True):
                if earlier < later:
                    neighbours_of[later].append(earlier)
        for later, (person, neighbours) in enumerate(zip(self.people, neighbours_of, strict=True)):
            if not neighbours and not person.near_since_ns:
                continue
            numbers = {self.people[earlier].number for earlier in neighbours}
            person.near_since_ns = {number: since for number, since in person.near_since_ns.items() if number in numbers}
            for earlier in neighbours:
                number = self.people[earlier].number
                person.near_since_ns.setdefault(number, stamp_ns)
                both = int((seen[:, later] & seen[:, earlier]).sum())
                if both:
                    person.apart_ns[number] = stamp_ns
                    person.apart_frames[number] = person.apart_frames.get(number, 0) + both

    def _begin_people(self, detections: FloorDetections, owner: np.ndarray, shadowed: np.ndarray, stamp_ns: int) -> None:
        free = np.flatnonzero((owner < 0) & ~shadowed)
        if not len(free):
            return
        free = free[greatest_deviation2(detections.covariances[free]) <= self._config.vaguest_m]
        for cluster in self._initiator.clusters(detections.subset(free)):
            members = free[cluster]
            position, spread = detections.fused(members)
            if not self._scene.on_floor(position)[0]:
                continue
            covariance = np.zeros((4, 4))
            covariance[:2, :2] = spread
            covariance[2:, 2:] = self._config.start_speed_deviation**2 * np.eye(2)
            gain = min(self._config.hit_gain * len(members), self._config.greatest_slot_gain)
            self._born += 1
            self.people.append(
                Person(
                    number=self._born,
                    mean=np.concatenate([position, [0.0, 0.0]]),
                    covariance=covariance,
                    born_ns=stamp_ns,
                    seen_ns=stamp_ns,
                    log_odds=self._config.existence_start + gain,
                )
            )
            owner[members] = len(self.people) - 1

    def _look(self, detections: FloorDetections, owner: np.ndarray) -> None:
        if detections.embeddings is not None:
            for number in np.unique(owner[owner >= 0]):
                self.people[number].appearance.add(detections.embeddings[owner == number])

    def _end_people(self, stamp_ns: int) -> None:
        ended = {p.number for p in self._deleter.gone(self.people, stamp_ns)}
        ended |= self._duplicates(ended, stamp_ns)
        if ended:
            self.people = [p for p in self.people if p.number not in ended]
            for person in self.people:
                for memory in (person.near_since_ns, person.apart_ns, person.apart_frames):
                    for number in ended & memory.keys():
                        del memory[number]

    def _duplicates(self, ended: set[int], stamp_ns: int) -> set[int]:
        """Persons who have long been near another one without any camera seeing the two apart: the less certain one of each pair."""
        patience = self._config.duplicate_s * NANOSECONDS
        duplicates: set[int] = set()
        by_number = {p.number: p for p in self.people}
        for person in self.people:
            for number, since_ns in person.near_since_ns.items():
                if number not in by_number or {number, person.number} & (ended | duplicates):
                    continue
                if stamp_ns - max(since_ns, person.apart_ns.get(number, 0)) < patience:
                    continue
                pair = (by_number[number], person)
                duplicates.add(min(pair, key=lambda p: (bool(p.track), -p.born_ns, -p.number)).number)
        return duplicates

    def _confirm(self) -> None:
        sure = existence.confirmed(self._config, _log_odds(self.people))
        for person, likely in zip(self.people, sure, strict=True):
            if person.track or person.outside_ns or not likely:
                continue
            rivals = [p for p in self.people if p.track and p.number in person.near_since_ns]
            if any(person.apart_frames.get(p.number, 0) < self._config.separate_frames for p in rivals):
                continue
            self._confirmed += 1
            person.track = f"t{self._confirmed}"


def _nearest_neighbour(config: FloorTrackerConfig) -> GlobalNearestNeighbour:
    return GlobalNearestNeighbour(config.gate, config.appearance_weight, config.even_similarity)


def _seen(people: int, cameras: int, detections: FloorDetections, owner: np.ndarray) -> np.ndarray:
    """bool [cameras, people]: which camera's detection was taken for whom."""
    seen = np.zeros((cameras, people), dtype=bool)
    used = owner >= 0
    seen[detections.cameras[used], owner[used]] = True
    return seen
