"""Persons followed across all cameras of a store: detections in, tracks on the floor with heads and wrists out.

Frames are put in order of their stamps and grouped into time slots; in each slot the detections of all cameras are brought to the floor
with covariance and given to the ``FloorTracker``; then heads and wrists are triangulated for everybody whom it follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import COCO_KEYPOINTS, NANOSECONDS, Diagnostic, DiagnosticLevel, PersonDetections, StepResult, Track, Tracks
from aisle_perception import existence
from aisle_perception.appearance import unit_rows
from aisle_perception.association import FloorDetections
from aisle_perception.body_points import BodyPointConfig, BodyPointFilter
from aisle_perception.body_updater import BodyUpdater
from aisle_perception.floor_projection import BodyConfig, FloorProjector
from aisle_perception.floor_tracker import Associator, Deleter, FloorTracker, FloorTrackerConfig, Initiator, Updater
from aisle_perception.lens_table import LensTable
from aisle_perception.small_matrices import greatest_deviation2
from aisle_perception.view_coverage import ViewCoverage
from aisle_store.store import Store


@dataclass(frozen=True)
class TrackerConfig(BodyConfig, BodyPointConfig, FloorTrackerConfig):
    """Parameters of the tracker; those of its parts are inherited."""

    max_lateness_s: float = parameter(0.5, "A camera that lags more than this is not waited for, s", 0.01, 10.0)
    output_period_s: float = parameter(0.1, "Frames within this time make one step of the tracker and one output, s", 0.01, 2.0)
    least_score: float = parameter(0.3, "Detections with a lower score are not used", 0.0, 1.0)
    gate_reach_m: float = parameter(0.5, "Persons unseen this near to a gate have most likely left, m", 0.0, 3.0)


class StoreScene:
    """A store as the tracker sees it: its floor polygon, its gates, its cameras' views."""

    def __init__(self, store: Store, config: TrackerConfig) -> None:
        self._store = store
        self._gate_reach_m = config.gate_reach_m
        ends = np.array([gate.ends for gate in store.gates.values()], dtype=float).reshape(-1, 2, 2)
        self._gate_starts, self._gate_spans = ends[:, 0], ends[:, 1] - ends[:, 0]
        self._gate_squared_widths = np.maximum((self._gate_spans**2).sum(axis=1), 1e-12)
        self._coverage = ViewCoverage(store.cameras, store.floor, config.detection_probability)

    def on_floor(self, positions: np.ndarray, margin: float = 0.0) -> np.ndarray:
        return self._store.on_floor(positions, margin)

    def at_exit(self, positions: np.ndarray) -> np.ndarray:
        off = positions[:, None] - self._gate_starts
        share = np.minimum(np.maximum((off * self._gate_spans).sum(axis=2) / self._gate_squared_widths, 0.0), 1.0)
        off -= share[:, :, None] * self._gate_spans
        return ((off**2).sum(axis=2) <= self._gate_reach_m**2).any(axis=1)

    def detection_probability(self, positions: np.ndarray) -> np.ndarray:
        return self._coverage.detection_probability(positions)


class PersonTracker:
    """The tracker's core: ``step`` takes ``PersonDetections`` of all cameras, gives ``Tracks``, one per time slot, also when empty."""

    #: A camera that reports again begins the next slot only after this share of the period, so that jitter splits no slot.
    _SLOT_SHARE = 0.75

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
        self._sizes = [tuple(size) for size in self._lenses.sizes.tolist()]
        self._projector = FloorProjector(self._lenses, config)
        updater = BodyUpdater(config, config) if updater is None else updater
        parts = {"initiator": initiator, "associator": associator, "updater": updater, "deleter": deleter}
        self._floor = FloorTracker(StoreScene(store, config), config, **parts)
        self._buffer: EventTimeBuffer[PersonDetections] = EventTimeBuffer(self._cameras, round(config.max_lateness_s * NANOSECONDS))
        self._period_ns = round(config.output_period_s * NANOSECONDS)
        self._point_filter = BodyPointFilter(self._lenses, config)
        self._slot: dict[str, PersonDetections] = {}
        self._slot_start_ns = 0
        self._stamp_ns: int | None = None
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
        confirmed = sum(1 for p in self._floor.people if p.track)
        values = (("tracks", str(confirmed)), ("candidates", str(len(self._floor.people) - confirmed)), ("cameras_lost", str(len(lost))))
        entries.append(Diagnostic("tracker", level, message, values))
        return entries

    def _take(self, frames: list[PersonDetections], result: StepResult) -> None:
        for frame in frames:
            if self._slot and self._begins_slot(frame):
                result.records.append(self._close_slot())
            if not self._slot:
                self._slot_start_ns = frame.stamp_ns
            if self._slot.pop(frame.camera, None) is not None:
                self._superseded[frame.camera] = self._superseded.get(frame.camera, 0) + 1
            self._slot[frame.camera] = frame

    def _begins_slot(self, frame: PersonDetections) -> bool:
        """By stamps alone: a period has passed, or most of it and this camera has already reported in it."""
        passed = frame.stamp_ns - self._slot_start_ns
        return passed >= self._period_ns or (passed >= self._SLOT_SHARE * self._period_ns and frame.camera in self._slot)

    def _close_slot(self) -> Tracks:
        frames, self._slot = list(self._slot.values()), {}
        stamp_ns = frames[-1].stamp_ns
        before_ns = stamp_ns if self._stamp_ns is None else self._stamp_ns
        self._stamp_ns = stamp_ns
        self._point_filter.predict([p.points for p in self._floor.people], (stamp_ns - before_ns) / NANOSECONDS, before_ns)
        detections = self._detections(frames, stamp_ns)
        reporting = np.array([self._camera_number[frame.camera] for frame in frames])
        owner = self._floor.step(detections, reporting, stamp_ns)
        self._locate_points(detections, owner, stamp_ns)
        return self._tracks(stamp_ns)

    def _detections(self, frames: list[PersonDetections], stamp_ns: int) -> FloorDetections:
        """The slot's detections on the floor, without those that certainly stand outside."""
        # Most frames of a large store are empty.
        shown = [frame for frame in frames if len(frame.boxes)] or frames[:1]
        counts = [len(frame.boxes) for frame in shown]
        numbers = [self._camera_number[frame.camera] for frame in shown]
        cameras = np.repeat(np.array(numbers, dtype=int), counts)
        ages = np.repeat([(stamp_ns - frame.stamp_ns) / NANOSECONDS for frame in shown], counts)
        boxes = np.concatenate([frame.boxes for frame in shown], dtype=float)
        keypoints = np.concatenate([_keypoints(frame) for frame in shown], dtype=float)
        if any((frame.image_width, frame.image_height) != self._sizes[number] for frame, number in zip(shown, numbers, strict=True)):
            scales = self._lenses.sizes[numbers] / [(frame.image_width, frame.image_height) for frame in shown]
            scale = np.repeat(scales, counts, axis=0)
            boxes *= scale[:, [0, 1, 0, 1]]
            keypoints[:, :, :2] *= scale[:, None]
        floor = self._projector.project(cameras, boxes, keypoints)
        scores = np.concatenate([frame.scores for frame in shown])
        slack = self._config.floor_margin_m + 2.0 * greatest_deviation2(floor.covariances)
        wanted = floor.valid & (scores >= self._config.least_score) & self._store.on_floor(floor.positions, slack)
        found = FloorDetections(floor.positions, floor.covariances, ages, cameras, keypoints, _embeddings(shown), floor.evidence)
        return found if wanted.all() else found.subset(np.flatnonzero(wanted))

    def _locate_points(self, detections: FloorDetections, owner: np.ndarray, stamp_ns: int) -> None:
        """Heads and wrists of those whom the slot's detections show."""
        people = self._floor.people
        place = {person.number: number for number, person in enumerate(people)}
        whom = np.array([place.get(number, -1) for number in owner.tolist()], dtype=int)
        if (whom >= 0).any():
            bodies = np.concatenate([p.mean[:2] for p in people]).reshape(-1, 2)
            self._point_filter.update([p.points for p in people], bodies, detections, whom, stamp_ns)

    def _tracks(self, stamp_ns: int) -> Tracks:
        tracks = []
        people = [person for person in self._floor.people if person.track]
        sure = existence.probability(np.array([person.log_odds for person in people])).tolist()
        points = self._point_filter.known([person.points for person in people], stamp_ns)
        for person, probability, (head, left, right) in zip(people, sure, points, strict=True):
            tracks.append(
                Track(
                    track=person.track,
                    position=person.mean[:2],
                    velocity=person.mean[2:],
                    covariance=person.covariance,
                    existence=probability,
                    unseen_s=(stamp_ns - person.seen_ns) / NANOSECONDS,
                    head=head,
                    left_wrist=left,
                    right_wrist=right,
                )
            )
        return Tracks(stamp_ns, tuple(tracks))


def _keypoints(frame: PersonDetections) -> np.ndarray:
    return np.zeros((len(frame.boxes), len(COCO_KEYPOINTS), 3)) if frame.keypoints is None else frame.keypoints


def _embeddings(frames: list[PersonDetections]) -> np.ndarray | None:
    """Unit embeddings [M, E] of the frames' detections, zero for cameras that give none or some of another length than the first's."""
    length = next((frame.embeddings.shape[1] for frame in frames if frame.embeddings is not None), 0)
    if not length:
        return None
    return np.concatenate(
        [
            unit_rows(frame.embeddings)
            if frame.embeddings is not None and frame.embeddings.shape[1] == length
            else np.zeros((len(frame.boxes), length))
            for frame in frames
        ]
    )
