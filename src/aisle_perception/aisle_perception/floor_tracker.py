"""Persons followed on the floor: the tracker's part that comes after the detections have been brought to the floor.

Each slot's detections are assigned to the known persons camera by camera and fused by precision in one Kalman update per person. What is
left over begins new persons; evidence for and against decides who is real and who has gone. The parts can be exchanged (initiator,
associator, updater, deleter, as in Stone Soup's ``tracker.simple``). What the place looks like (where one can stand, where one can leave,
what each camera should see) is asked of a ``Scene``.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

import aisle_kernels
from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS
from aisle_perception import existence, kalman
from aisle_perception.appearance import similarities
from aisle_perception.association import ClusterInitiator, FloorDetections, GlobalNearestNeighbour, Innovations, innovations, nobodys
from aisle_perception.existence import ExistenceConfig, ExistenceJudge
from aisle_perception.people import People
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
    newcomers: float = parameter(0.2, "People who come in through an entrance, per second and m^2 before it", 1e-6, 10.0)
    shadow_gate: float = parameter(30.0, "Within this of a person a detection of a camera that misses him begins no other", 0.0, 400.0)
    vaguest_m: float = parameter(0.5, "Detections with a greater standard deviation begin no person, m", 0.05, 5.0)
    floor_margin_m: float = parameter(0.2, "Persons up to this far outside the floor are still followed, m", 0.0, 2.0)
    outside_s: float = parameter(0.3, "A person who is outside the floor for longer has left, s", 0.0, 10.0)
    duplicate_m: float = parameter(0.6, "Two tracks nearer than this may be one person, m", 0.0, 2.0)
    duplicate_s: float = parameter(1.0, "Two near tracks that no camera has seen apart for this time are one person, s", 0.1, 30.0)
    separate_frames: int = parameter(3, "Frames that must show two persons at once before a new track so near to another counts", 0, 50)


class Scene(Protocol):
    """What is known of the place. ``positions`` float64 [N, 2] m."""

    def on_floor(self, positions: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """bool [N]: where persons can stand, grown by ``margin`` metres."""

    def at_exit(self, positions: np.ndarray) -> np.ndarray:
        """bool [N]: where an unseen person has most likely left."""

    def at_entrance(self, positions: np.ndarray) -> np.ndarray:
        """bool [N]: where a new person is most likely first seen."""

    def silence(self, positions: np.ndarray) -> np.ndarray:
        """float64 [cameras, N]: logarithm of how likely each camera is not to find a person there."""


class Associator(Protocol):
    """Decides which detection belongs to whom: int [M], -1 for nobody, of the persons ``asked`` (bool [N]) and the ``free`` (bool [M])."""

    def assign(self, found: Innovations, detections: FloorDetections, asked: np.ndarray, free: np.ndarray) -> np.ndarray: ...


class Initiator(Protocol):
    """Groups detections that belong to nobody into new persons."""

    def clusters(self, detections: FloorDetections) -> list[np.ndarray]: ...


class Updater(Protocol):
    """Moves persons in time, tells how far detections are from them, and corrects them by these: writes to their means and covariances."""

    def predict(self, people: People, dt_s: float, stamp_ns: int) -> None: ...

    def innovations(self, people: People, detections: FloorDetections) -> Innovations: ...

    def update(self, people: People, detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None: ...


class Deleter(Protocol):
    """Decides who is no longer there: bool [N]."""

    def gone(self, people: People, stamp_ns: int) -> np.ndarray: ...


class FloorUpdater:
    """Constant-velocity Kalman filters; all detections of a slot are fused at once, those far off with less weight (Huber)."""

    _HUBER = 2.0
    #: One missed slot is no occlusion.
    _LEAST_UNSEEN_S = 0.15

    def __init__(self, config: FloorTrackerConfig) -> None:
        self._config = config

    def predict(self, people: People, dt_s: float, stamp_ns: int) -> None:
        if not len(people) or dt_s <= 0.0:
            return
        kalman.move(people.means, people.covariances, dt_s, self._config.acceleration_density)
        patience_ns = int((self._LEAST_UNSEEN_S + dt_s) * NANOSECONDS)
        slowdown = np.exp(-dt_s / self._config.velocity_memory_s)
        aisle_kernels.slow_down(stamp_ns - patience_ns, slowdown, people.seen_ns, people.means)

    def innovations(self, people: People, detections: FloorDetections) -> Innovations:
        """How far each detection lies from where each person is expected."""
        return innovations(people.means, people.covariances, detections)

    def update(self, people: People, detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        used = np.flatnonzero(owner >= 0)
        if not len(used):
            return
        whose = owner[used]
        weight = np.minimum(1.0, self._HUBER / np.maximum(np.sqrt(distance[whose, used]), self._HUBER))
        chosen = detections.subset(used)
        precision = weight[:, None, None] * inverse2(chosen.covariances)
        kalman.fuse(people.means, people.covariances, whose, chosen.positions, chosen.age_s, precision)


class EvidenceDeleter:
    """Ends persons whose existence has become unlikely and those who have left the floor."""

    def __init__(self, config: FloorTrackerConfig) -> None:
        self._config = config
        self._patience_ns = config.outside_s * NANOSECONDS

    def gone(self, people: People, stamp_ns: int) -> np.ndarray:
        gone = existence.ended(self._config, people.log_odds)
        if np.count_nonzero(people.outside_ns):
            gone |= (people.outside_ns != 0) & (stamp_ns - people.outside_ns >= self._patience_ns)
        return gone


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
        self._existence = ExistenceJudge(config)
        self.people = People()
        self._born = self._confirmed = 0
        self._stamp_ns: int | None = None

    def step(self, detections: FloorDetections, reporting: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Takes one slot: its detections and the cameras that have reported in it (int [R]). Afterwards ``people`` holds everybody.

        Returns int [M]: the row in ``people`` of whom each detection was taken for, -1 for nobody and for those who are gone.
        """
        dt_s = 0.0 if self._stamp_ns is None else (stamp_ns - self._stamp_ns) / NANOSECONDS
        self._stamp_ns = stamp_ns
        self._updater.predict(self.people, dt_s, stamp_ns)
        owner, free = self._associate(detections, dt_s)
        some_near = len(self.people) > 0 and self._judge(reporting, detections, owner, dt_s, stamp_ns)
        if np.count_nonzero(free):
            self._begin_people(detections, owner, free.nonzero()[0], stamp_ns)
        self._look(detections, owner)
        owner = self._end_people(owner, some_near, stamp_ns)
        self._confirm()
        return owner

    def _associate(self, detections: FloorDetections, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Person of each detection (-1: none), confirmed persons first, and which of the others are free to begin somebody (bool [M]):
        no shadows of those who are there.

        Also corrects the persons' states.
        """
        people, owner = self.people, nobodys(len(detections))
        if not len(people) or not len(detections):
            return owner, owner < 0
        found = self._updater.innovations(people, detections)
        self._let_in(found, detections, dt_s)
        if detections.embeddings is not None:
            found = dataclasses.replace(found, similarity=similarities(people.appearances, detections.embeddings))
        free = owner < 0
        for group in (people.confirmed, ~people.confirmed):
            if np.count_nonzero(group):
                assigned = self._associator.assign(found, detections, group, free)
                owner = np.where(free, assigned, owner)
                free = owner < 0
        self._updater.update(people, detections, owner, found.distance)
        return owner, free & ~self._shadows(found, detections, owner)

    def _let_in(self, found: Innovations, detections: FloorDetections, dt_s: float) -> None:
        """Takes detections at an entrance from those who have not been seen for so long that a newcomer is likelier: writes infinite
        distances to ``found`` where the density of the person's place there is less than that of newcomers in this slot."""
        entering = self._scene.at_entrance(detections.positions)
        if np.count_nonzero(entering) and dt_s > 0.0:
            least = -2.0 * math.log(2.0 * math.pi * self._config.newcomers * dt_s)
            found.distance[entering & (found.distance + found.log_determinant > least)] = np.inf

    def _shadows(self, found: Innovations, detections: FloorDetections, owner: np.ndarray) -> np.ndarray:
        """bool [M]: near a person whom the detection's frame shows by no other detection: most likely that person, badly placed."""
        shadows = np.empty(len(detections), dtype=bool)
        gate, confirmed = self._config.shadow_gate, self.people.confirmed
        aisle_kernels.shadows(gate, confirmed, detections.cameras, owner, found.distance, shadows)
        return shadows

    def _judge(self, reporting: np.ndarray, detections: FloorDetections, owner: np.ndarray, dt_s: float, stamp_ns: int) -> bool:
        """What this slot says about each person's existence, and about pairs of them; whether any are near each other."""
        people, cameras = self.people, detections.cameras
        positions = people.means[:, :2].copy()
        silence, at_exit = self._scene.silence(positions), self._scene.at_exit(positions)
        self._existence.judge(people, dt_s, stamp_ns, reporting, at_exit, silence, cameras, owner)
        inside = self._scene.on_floor(positions, self._config.floor_margin_m)
        if np.count_nonzero(people.outside_ns) or np.count_nonzero(inside) < len(people):
            people.outside_ns[inside] = 0
            people.outside_ns[~inside & (people.outside_ns == 0)] = stamp_ns
        pairs = people.near_since_ns, people.apart_ns, people.apart_frames
        near = aisle_kernels.compare_neighbours(self._config.duplicate_m, stamp_ns, people.means, len(silence), cameras, owner, *pairs)
        return near > 0

    def _begin_people(self, detections: FloorDetections, owner: np.ndarray, free: np.ndarray, stamp_ns: int) -> None:
        """New persons of what is left over, the detections ``free`` (int [K]); writes to ``owner``."""
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
            mean = np.concatenate([position, [0.0, 0.0]])
            self.people.add(self._born, mean, covariance, stamp_ns, self._config.existence_start + gain)
            owner[members] = len(self.people) - 1

    def _look(self, detections: FloorDetections, owner: np.ndarray) -> None:
        if detections.embeddings is not None:
            for row in np.unique(owner[owner >= 0]):
                self.people.appearances[row].add(detections.embeddings[owner == row])

    def _end_people(self, owner: np.ndarray, some_near: bool, stamp_ns: int) -> np.ndarray:
        """Lets go of those who are gone; ``owner`` in rows of those who stay."""
        gone = self._deleter.gone(self.people, stamp_ns)
        if some_near:
            gone = gone | self._duplicates(gone, stamp_ns)
        if not np.count_nonzero(gone):
            return owner
        self.people.keep(~gone)
        rows = np.append(np.cumsum(~gone) - 1, -1)
        rows[:-1][gone] = -1
        return rows[owner]

    def _duplicates(self, gone: np.ndarray, stamp_ns: int) -> np.ndarray:
        """bool [N]: persons who have long been near another one without any camera seeing the two apart: the less certain one of each pair,
        as far as neither of them is gone already."""
        people = self.people
        duplicates = np.zeros(len(people), dtype=bool)
        together_ns = stamp_ns - np.maximum(people.near_since_ns, people.apart_ns)
        together = (people.near_since_ns >= 0) & (together_ns >= self._config.duplicate_s * NANOSECONDS)
        if not np.count_nonzero(together):
            return duplicates
        pairs = np.argwhere(together).tolist()
        # Of each later one, those first who have been near him for longest.
        for pair in sorted(pairs, key=lambda pair: (pair[0], people.near_since_ns[pair[0], pair[1]], pair[1])):
            if not (gone[pair] | duplicates[pair]).any():
                duplicates[min(pair, key=lambda row: (people.confirmed[row], -people.born_ns[row], -row))] = True
        return duplicates

    def _confirm(self) -> None:
        people = self.people
        if np.count_nonzero(people.confirmed) == len(people):
            return
        likely = existence.confirmed(self._config, people.log_odds) & ~people.confirmed & (people.outside_ns == 0)
        for row in likely.nonzero()[0].tolist():
            rivals = people.confirmed & (people.near_since_ns[row] >= 0)
            if (people.apart_frames[row][rivals] < self._config.separate_frames).any():
                continue
            self._confirmed += 1
            people.tracks[row] = f"t{self._confirmed}"
            people.confirmed[row] = True


def _nearest_neighbour(config: FloorTrackerConfig) -> GlobalNearestNeighbour:
    return GlobalNearestNeighbour(config.gate, config.appearance_weight, config.even_similarity)
