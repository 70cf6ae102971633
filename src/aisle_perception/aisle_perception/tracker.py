"""Persons followed across all cameras of a store: detections in, tracks on the floor with heads and wrists out.

Frames are put in order of their stamps and grouped into time slots; in each slot the detections of all cameras are brought to the floor
with covariance, assigned to the known persons camera by camera, and fused by precision in one Kalman update per person. What is left over
begins new persons. The parts can be exchanged (initiator, associator, updater, deleter, as in Stone Soup's ``tracker.simple``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import COCO_KEYPOINTS, NANOSECONDS, Diagnostic, DiagnosticLevel, PersonDetections, StepResult, Track, Tracks
from aisle_perception import existence, kalman
from aisle_perception.association import ClusterInitiator, FloorDetections, GlobalNearestNeighbour, Innovations, innovations
from aisle_perception.body_points import POINTS, BodyPointConfig, BodyPointFilter, PointState, Rays, pixel_deviation, point_pixels
from aisle_perception.existence import ExistenceConfig
from aisle_perception.floor_projection import BodyConfig, FloorProjector
from aisle_perception.lens_table import LensTable
from aisle_perception.view_coverage import ViewCoverage
from aisle_store.store import Store


@dataclass(frozen=True)
class TrackerConfig(BodyConfig, BodyPointConfig, ExistenceConfig):
    """Parameters of the tracker; those of its parts are inherited."""

    max_lateness_s: float = parameter(0.5, "A camera that lags more than this is not waited for, s", 0.01, 10.0)
    output_period_s: float = parameter(0.1, "Frames within this time make one step of the tracker and one output, s", 0.01, 2.0)
    least_score: float = parameter(0.3, "Detections with a lower score are not used", 0.0, 1.0)
    acceleration_density: float = parameter(1.0, "Spectral density of a person's acceleration, m^2/s^3", 0.01, 100.0)
    velocity_memory_s: float = parameter(1.0, "A person whom nobody sees is thought to slow down with this time constant, s", 0.1, 60.0)
    gate: float = parameter(11.8, "Squared Mahalanobis distance within which a detection may belong to a person (11.8: 99.7 %)", 1.0, 100.0)
    cluster_gate: float = parameter(9.2, "The same between two cameras' detections of a new person (9.2: 99 %)", 1.0, 100.0)
    shadow_gate: float = parameter(30.0, "Within this of a person a detection of a camera that misses him begins no other", 1.0, 400.0)
    vaguest_m: float = parameter(0.5, "Detections with a greater standard deviation begin no person, m", 0.05, 5.0)
    floor_margin_m: float = parameter(0.2, "Persons up to this far outside the floor are still followed, m", 0.0, 2.0)
    outside_s: float = parameter(0.3, "A person who is outside the floor for longer has left, s", 0.0, 10.0)
    gate_reach_m: float = parameter(0.5, "Persons unseen this near to a gate have most likely left, m", 0.0, 3.0)
    duplicate_m: float = parameter(0.6, "Two tracks nearer than this may be one person, m", 0.0, 2.0)
    duplicate_s: float = parameter(1.0, "Two near tracks that no camera has seen apart for this time are one person, s", 0.1, 30.0)
    separate_frames: int = parameter(3, "Frames that must show two persons at once before a new track so near to another counts", 1, 50)


@dataclass(eq=False)
class Person:
    """One followed person, confirmed (``track`` given) or not. ``mean`` float64 [4] (x, y, vx, vy) and ``covariance`` [4, 4]."""

    number: int
    mean: np.ndarray
    covariance: np.ndarray
    born_ns: int
    seen_ns: int
    log_odds: float
    track: str = ""
    outside_ns: int = 0
    points: PointState = field(default_factory=PointState.unknown)
    #: Of persons near this one, by their numbers: since when they are near, when a camera last saw both apart, in how many frames.
    near_since_ns: dict[int, int] = field(default_factory=dict)
    apart_ns: dict[int, int] = field(default_factory=dict)
    apart_frames: dict[int, int] = field(default_factory=dict)


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

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config

    def predict(self, people: Sequence[Person], dt_s: float, stamp_ns: int) -> None:
        if not people or dt_s <= 0.0:
            return
        transition, noise = kalman.constant_velocity(dt_s, 2, self._config.acceleration_density)
        means, covariances = kalman.predict(*_stacked(people), transition, noise)
        unseen = np.array([stamp_ns - p.seen_ns > (self._LEAST_UNSEEN_S + dt_s) * NANOSECONDS for p in people])
        means[unseen, 2:] *= np.exp(-dt_s / self._config.velocity_memory_s)
        _spread(people, means, covariances)

    def update(self, people: Sequence[Person], detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        used = np.flatnonzero(owner >= 0)
        if not len(used):
            return
        off = np.sqrt(distance[owner[used], used])
        weight = np.minimum(1.0, self._HUBER / np.maximum(off, self._HUBER))
        precision = weight[:, None, None] * np.linalg.inv(detections.covariances[used])
        means, covariances = kalman.fuse(
            *_stacked(people), owner[used], detections.positions[used], detections.observation()[used], precision
        )
        _spread(people, means, covariances)


class EvidenceDeleter:
    """Ends persons whose existence has become unlikely and those who have left the floor."""

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config

    def gone(self, people: Sequence[Person], stamp_ns: int) -> list[Person]:
        patience = self._config.outside_s * NANOSECONDS
        return [p for p in people if p.log_odds < self._config.delete_log_odds or (p.outside_ns and stamp_ns - p.outside_ns >= patience)]


def _stacked(people: Sequence[Person]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([p.mean for p in people]), np.stack([p.covariance for p in people])


def _spread(people: Sequence[Person], means: np.ndarray, covariances: np.ndarray) -> None:
    for person, mean, covariance in zip(people, means, covariances, strict=True):
        person.mean, person.covariance = mean, covariance


class PersonTracker:
    """The tracker's core: ``step`` takes ``PersonDetections`` of all cameras, gives ``Tracks``, one per time slot, also when empty."""

    #: A camera that reports again begins the next slot only after this share of the period, so that jitter splits no slot.
    _SLOT_SHARE = 0.75
    _START_VELOCITY_DEVIATION = 0.7

    def __init__(
        self,
        store: Store,
        config: TrackerConfig | None = None,
        *,
        initiator: Initiator | None = None,
        associator: Associator | None = None,
        updater: Updater | None = None,
        deleter: Deleter | None = None,
    ) -> None:
        self._store = store
        self._config = config = TrackerConfig() if config is None else config
        self._cameras = tuple(store.cameras)
        self._camera_number = {camera: number for number, camera in enumerate(self._cameras)}
        self._lenses = LensTable(list(store.cameras.values()))
        self._projector = FloorProjector(self._lenses, config)
        self._coverage = ViewCoverage(store.cameras, store.floor, config.detection_probability)
        self._buffer: EventTimeBuffer[PersonDetections] = EventTimeBuffer(self._cameras, round(config.max_lateness_s * NANOSECONDS))
        self._period_ns = round(config.output_period_s * NANOSECONDS)
        self._initiator = ClusterInitiator(config.cluster_gate) if initiator is None else initiator
        self._associator = GlobalNearestNeighbour(config.gate) if associator is None else associator
        self._updater = FloorUpdater(config) if updater is None else updater
        self._deleter = EvidenceDeleter(config) if deleter is None else deleter
        self._point_filter = BodyPointFilter(config)
        self._slot: list[PersonDetections] = []
        self._slot_start_ns = 0
        self._people: list[Person] = []
        self._found: Innovations | None = None
        self._stamp_ns: int | None = None
        self._born = self._confirmed = 0
        self._superseded: dict[str, int] = {}
        self._unknown: dict[str, int] = {}

    def step(self, record: PersonDetections) -> StepResult:
        """Takes one camera's detections; gives the ``Tracks`` of the slots that are now complete."""
        if record.camera not in self._camera_number:
            first = record.camera not in self._unknown
            self._unknown[record.camera] = self._unknown.get(record.camera, 0) + 1
            warning = f"detections of unknown camera '{record.camera}' are ignored, the store has {', '.join(self._cameras)}"
            return StepResult(warnings=[warning] if first else [])
        result = StepResult()
        if not self._buffer.push(record.camera, record.stamp_ns, record):
            result.warnings.append(f"camera {record.camera}: a frame came more than {self._config.max_lateness_s} s late and was dropped")
        self._take(self._buffer.pop_ready(), result)
        return result

    def flush(self) -> StepResult:
        """The end of a recording: gives the tracks of all frames that are still held."""
        result = StepResult()
        self._take(self._buffer.flush(), result)
        if self._slot:
            result.records.append(self._close_slot())
        return result

    def diagnostics(self) -> list[Diagnostic]:
        """One entry for each camera (silent, dropping or well) and one for the tracker."""
        lost = set(self._buffer.lost)
        entries = []
        for camera in self._cameras:
            dropped, superseded = self._buffer.dropped.get(camera, 0), self._superseded.get(camera, 0)
            level, message = DiagnosticLevel.OK, "detections arrive"
            if camera in lost:
                level, message = DiagnosticLevel.WARN, f"no detections for more than {self._config.max_lateness_s} s"
            elif dropped:
                message = "detections arrive, some came too late"
            values = (("dropped_late", str(dropped)), ("superseded", str(superseded)))
            entries.append(Diagnostic(f"tracker/camera_{camera}", level, message, values))
        if self._cameras and len(lost) == len(self._cameras):
            level, message = DiagnosticLevel.ERROR, "no camera delivers detections"
        elif self._unknown:
            level, message = DiagnosticLevel.WARN, f"detections of unknown cameras: {', '.join(sorted(self._unknown))}"
        else:
            level, message = DiagnosticLevel.OK, "tracking"
        confirmed = sum(1 for p in self._people if p.track)
        values = (("tracks", str(confirmed)), ("candidates", str(len(self._people) - confirmed)), ("cameras_lost", str(len(lost))))
        entries.append(Diagnostic("tracker", level, message, values))
        return entries

    def _take(self, frames: list[PersonDetections], result: StepResult) -> None:
        for frame in frames:
            if self._slot and self._begins_slot(frame):
                result.records.append(self._close_slot())
            if not self._slot:
                self._slot_start_ns = frame.stamp_ns
            earlier = [f for f in self._slot if f.camera == frame.camera]
            if earlier:
                self._slot.remove(earlier[0])
                self._superseded[frame.camera] = self._superseded.get(frame.camera, 0) + 1
            self._slot.append(frame)

    def _begins_slot(self, frame: PersonDetections) -> bool:
        """By stamps alone: a period has passed, or most of it and this camera has already reported in it."""
        passed = frame.stamp_ns - self._slot_start_ns
        return passed >= self._period_ns or (
            passed >= self._SLOT_SHARE * self._period_ns and any(f.camera == frame.camera for f in self._slot)
        )

    def _close_slot(self) -> Tracks:
        frames, self._slot = self._slot, []
        stamp_ns = frames[-1].stamp_ns
        before_ns = stamp_ns if self._stamp_ns is None else self._stamp_ns
        dt_s = (stamp_ns - before_ns) / NANOSECONDS
        self._stamp_ns = stamp_ns
        self._updater.predict(self._people, dt_s, stamp_ns)
        self._point_filter.predict([p.points for p in self._people], dt_s, before_ns)
        detections = self._detections(frames, stamp_ns)
        owner = self._associate(detections)
        self._judge(frames, detections, owner, dt_s, stamp_ns)
        self._begin_people(detections, owner, stamp_ns)
        self._locate_points(detections, owner, stamp_ns)
        self._end_people(stamp_ns)
        self._confirm()
        return self._tracks(stamp_ns)

    def _detections(self, frames: list[PersonDetections], stamp_ns: int) -> FloorDetections:
        """The slot's detections on the floor, without those that certainly stand outside."""
        counts = [len(frame.boxes) for frame in frames]
        numbers = [self._camera_number[frame.camera] for frame in frames]
        cameras = np.repeat(np.array(numbers, dtype=int), counts)
        ages = np.repeat([(stamp_ns - frame.stamp_ns) / NANOSECONDS for frame in frames], counts)
        scales = [
            self._lenses.sizes[number] / (frame.image_width, frame.image_height) for number, frame in zip(numbers, frames, strict=True)
        ]
        scale = np.repeat(scales, counts, axis=0)
        boxes = np.concatenate([frame.boxes for frame in frames]) * np.tile(scale, 2)
        keypoints = np.concatenate([_keypoints(frame) for frame in frames]).astype(float)
        keypoints[:, :, :2] *= scale[:, None]
        floor = self._projector.project(cameras, boxes, keypoints)
        scores = np.concatenate([frame.scores for frame in frames])
        slack = self._config.floor_margin_m + 2.0 * np.sqrt(np.linalg.eigvalsh(floor.covariances)[:, 1])
        wanted = floor.valid & (scores >= self._config.least_score) & self._store.on_floor(floor.positions, slack)
        return FloorDetections(floor.positions, floor.covariances, ages, cameras, keypoints).subset(wanted)

    def _associate(self, detections: FloorDetections) -> np.ndarray:
        """Person of each detection (-1: none), confirmed persons first; also corrects the persons' states."""
        owner = np.full(len(detections), -1)
        self._found = None
        if not self._people or not len(detections):
            return owner
        self._found = innovations(*_stacked(self._people), detections)
        confirmed = np.array([bool(p.track) for p in self._people])
        for group in (np.flatnonzero(confirmed), np.flatnonzero(~confirmed)):
            assigned = self._associator.assign(self._found, detections, group, owner < 0)
            owner = np.where(assigned >= 0, assigned, owner)
        self._updater.update(self._people, detections, owner, self._found.distance)
        return owner

    def _judge(self, frames: list[PersonDetections], detections: FloorDetections, owner: np.ndarray, dt_s: float, stamp_ns: int) -> None:
        """What this slot says about each person's existence, and about pairs of them."""
        if not self._people:
            return
        positions = np.stack([p.mean[:2] for p in self._people])
        seen = np.zeros((len(self._cameras), len(self._people)), dtype=bool)
        used = owner >= 0
        seen[detections.cameras[used], owner[used]] = True
        probability = np.zeros(seen.shape)
        reporting = [self._camera_number[f.camera] for f in frames]
        probability[reporting] = self._coverage.detection_probability(positions)[reporting]
        gain = existence.evidence(self._config, seen, probability, dt_s, self._at_gate(positions))
        inside = self._store.on_floor(positions, self._config.floor_margin_m)
        for number, person in enumerate(self._people):
            person.log_odds = min(person.log_odds + float(gain[number]), self._config.greatest_log_odds)
            if seen[:, number].any():
                person.seen_ns = stamp_ns
            if inside[number]:
                person.outside_ns = 0
            elif not person.outside_ns:
                person.outside_ns = stamp_ns
        self._compare_neighbours(positions, seen, stamp_ns)

    def _at_gate(self, positions: np.ndarray) -> np.ndarray:
        near = np.zeros(len(positions), dtype=bool)
        for gate in self._store.gates.values():
            along = gate.ends[1] - gate.ends[0]
            share = np.clip((positions - gate.ends[0]) @ along / max(float(along @ along), 1e-12), 0.0, 1.0)
            near |= np.linalg.norm(positions - gate.ends[0] - share[:, None] * along, axis=1) <= self._config.gate_reach_m
        return near

    def _compare_neighbours(self, positions: np.ndarray, seen: np.ndarray, stamp_ns: int) -> None:
        for later, person in enumerate(self._people):
            for earlier, other in enumerate(self._people[:later]):
                if np.linalg.norm(positions[later] - positions[earlier]) > self._config.duplicate_m:
                    person.near_since_ns.pop(other.number, None)
                    continue
                person.near_since_ns.setdefault(other.number, stamp_ns)
                both = int((seen[:, later] & seen[:, earlier]).sum())
                if both:
                    person.apart_ns[other.number] = stamp_ns
                    person.apart_frames[other.number] = person.apart_frames.get(other.number, 0) + both

    def _begin_people(self, detections: FloorDetections, owner: np.ndarray, stamp_ns: int) -> None:
        deviation = np.sqrt(np.linalg.eigvalsh(detections.covariances)[:, 1])
        free = np.flatnonzero((owner < 0) & ~self._shadowed(detections, owner) & (deviation <= self._config.vaguest_m))
        for cluster in self._initiator.clusters(detections.subset(free)):
            members = free[cluster]
            precision = np.linalg.inv(detections.covariances[members])
            spread = np.linalg.inv(precision.sum(axis=0))
            position = spread @ np.einsum("kij,kj->i", precision, detections.positions[members])
            if not self._store.on_floor(position)[0]:
                continue
            covariance = np.zeros((4, 4))
            covariance[:2, :2] = spread
            covariance[2:, 2:] = self._START_VELOCITY_DEVIATION**2 * np.eye(2)
            gain = min(self._config.hit_gain * len(members), self._config.greatest_slot_gain)
            self._born += 1
            self._people.append(
                Person(
                    number=self._born,
                    mean=np.concatenate([position, [0.0, 0.0]]),
                    covariance=covariance,
                    born_ns=stamp_ns,
                    seen_ns=stamp_ns,
                    log_odds=self._config.existence_start + gain,
                )
            )
            owner[members] = len(self._people) - 1

    def _shadowed(self, detections: FloorDetections, owner: np.ndarray) -> np.ndarray:
        """bool [M]: near a person whom the detection's frame shows by no other detection: most likely that person, badly placed."""
        shadowed = np.zeros(len(detections), dtype=bool)
        if self._found is None:
            return shadowed
        for number, person in enumerate(self._people[: len(self._found.distance)]):
            if not person.track:
                continue
            near = self._found.distance[number] <= self._config.shadow_gate
            shadowed |= near & ~np.isin(detections.cameras, detections.cameras[owner == number])
        return shadowed

    def _locate_points(self, detections: FloorDetections, owner: np.ndarray, stamp_ns: int) -> None:
        """Heads and wrists; one ray per point and camera, moved to the slot's stamp with the point's velocity."""
        used = np.flatnonzero((owner >= 0) & (detections.keypoints[:, :, 2] > 0.0).any(axis=1))
        if not len(used):
            return
        who, cameras = owner[used], detections.cameras[used]
        pixels, confidence = point_pixels(detections.keypoints[used], self._config.keypoint_threshold)
        directions = self._lenses.directions(np.repeat(cameras[:, None], len(POINTS), axis=1), pixels)
        seen = (confidence > 0.0) & np.isfinite(directions).all(axis=-1)
        shape = (len(self._people), len(POINTS), len(self._cameras))
        rays = Rays.none(shape)
        velocities = np.stack([p.points.means[:, 3:] for p in self._people])
        directions = np.where(seen[..., None], directions, [0.0, 0.0, 1.0])
        rays.directions[who, :, cameras] = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
        rays.origins[who, :, cameras] = self._lenses.positions[cameras, None] + velocities[who] * detections.age_s[used, None, None]
        rays.angular_deviation[who, :, cameras] = pixel_deviation(self._config, confidence) / self._lenses.focal_px[cameras, None]
        rays.weights[who, :, cameras] = seen
        bodies = np.stack([p.mean[:2] for p in self._people])
        self._point_filter.update([p.points for p in self._people], bodies, rays, stamp_ns)

    def _end_people(self, stamp_ns: int) -> None:
        ended = {p.number for p in self._deleter.gone(self._people, stamp_ns)}
        ended |= self._duplicates(ended, stamp_ns)
        if ended:
            self._people = [p for p in self._people if p.number not in ended]
            for person in self._people:
                for memory in (person.near_since_ns, person.apart_ns, person.apart_frames):
                    for number in ended & memory.keys():
                        del memory[number]

    def _duplicates(self, ended: set[int], stamp_ns: int) -> set[int]:
        """Persons who have long been near another one without any camera seeing the two apart: the less certain one of each pair."""
        patience = self._config.duplicate_s * NANOSECONDS
        duplicates: set[int] = set()
        by_number = {p.number: p for p in self._people}
        for person in self._people:
            for number, since_ns in person.near_since_ns.items():
                if number not in by_number or {number, person.number} & (ended | duplicates):
                    continue
                if stamp_ns - max(since_ns, person.apart_ns.get(number, 0)) < patience:
                    continue
                pair = (by_number[number], person)
                duplicates.add(min(pair, key=lambda p: (bool(p.track), -p.born_ns, -p.number)).number)
        return duplicates

    def _confirm(self) -> None:
        for person in self._people:
            if person.track or person.log_odds < self._config.confirm_log_odds:
                continue
            rivals = [p for p in self._people if p.track and p.number in person.near_since_ns]
            if any(person.apart_frames.get(p.number, 0) < self._config.separate_frames for p in rivals):
                continue
            self._confirmed += 1
            person.track = f"t{self._confirmed}"

    def _tracks(self, stamp_ns: int) -> Tracks:
        tracks = []
        for person in self._people:
            if not person.track:
                continue
            head, left, right = person.points.at(stamp_ns, self._config.point_memory_s)
            tracks.append(
                Track(
                    track=person.track,
                    position=person.mean[:2].copy(),
                    velocity=person.mean[2:].copy(),
                    covariance=person.covariance.copy(),
                    existence=existence.probability(person.log_odds),
                    unseen_s=(stamp_ns - person.seen_ns) / NANOSECONDS,
                    head=head,
                    left_wrist=left,
                    right_wrist=right,
                )
            )
        return Tracks(stamp_ns, tuple(tracks))


def _keypoints(frame: PersonDetections) -> np.ndarray:
    return np.zeros((len(frame.boxes), len(COCO_KEYPOINTS), 3)) if frame.keypoints is None else frame.keypoints
