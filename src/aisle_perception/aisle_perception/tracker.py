"""Persons followed across all cameras of a store: detections in, tracks on the floor with heads and wrists out.

Frames are put in order of their stamps and grouped into time slots; in each slot the detections of all cameras are brought to the floor
with covariance and given to the ``FloorTracker``; then heads and wrists are triangulated for everybody whom it follows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

import aisle_kernels
from aisle_contract.config import parameter
from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel, PersonDetections, StepResult, Tracks
from aisle_perception import existence
from aisle_perception.appearance import unit_rows
from aisle_perception.association import FloorDetections
from aisle_perception.body_points import BodyPointConfig, BodyPointFilter
from aisle_perception.body_updater import BodyUpdater
from aisle_perception.floor_projection import BodyConfig, FloorProjector, Frame
from aisle_perception.floor_tracker import Associator, Deleter, FloorTracker, FloorTrackerConfig, Initiator, Updater
from aisle_perception.lens_table import LensTable
from aisle_perception.packed_tracks import ROW_SIZE, PackedTracks, unpacked
from aisle_perception.view_coverage import ViewCoverage
from aisle_store.store import Gate, GateKind, Store


@dataclass(frozen=True)
class TrackerConfig(BodyConfig, BodyPointConfig, FloorTrackerConfig):
    """Parameters of the tracker; those of its parts are inherited."""

    max_lateness_s: float = parameter(0.5, "A camera that lags more than this is not waited for, s", 0.01, 10.0)
    output_period_s: float = parameter(0.1, "Frames within this time make one step of the tracker and one output, s", 0.01, 2.0)
    least_score: float = parameter(0.3, "Detections with a lower score are not used", 0.0, 1.0)
    entrance_reach_m: float = parameter(1.0, "Persons first seen this near to an entrance have most likely just come in, m", 0.0, 5.0)
    gate_reach_m: float = parameter(0.5, "Persons unseen this near to a gate have most likely left, m", 0.0, 3.0)


@dataclass(frozen=True, eq=False)
class _Lines:
    """Gates on the floor, ``starts`` and ``spans`` float64 [G, 2] m, and what is within ``reach_m`` of them."""

    starts: np.ndarray
    spans: np.ndarray
    reach_m: float

    @classmethod
    def of(cls, gates: Iterable[Gate], reach_m: float) -> _Lines:
        ends = np.array([gate.ends for gate in gates], dtype=float).reshape(-1, 2, 2)
        return cls(ends[:, 0].copy(), ends[:, 1] - ends[:, 0], reach_m)

    def near(self, positions: np.ndarray) -> np.ndarray:
        """bool [N] of positions [N, 2]."""
        near = np.empty(len(positions), dtype=bool)
        aisle_kernels.near_lines(self.reach_m, self.starts, self.spans, positions, near)
        return near


class StoreScene:
    """A store as the tracker sees it: its floor polygon, its gates, its cameras' views."""

    def __init__(self, store: Store, config: TrackerConfig) -> None:
        self._store = store
        self._gates = _Lines.of(store.gates.values(), config.gate_reach_m)
        entrances = [gate for gate in store.gates.values() if gate.kind in (GateKind.ENTRANCE, GateKind.BOTH)]
        self._entrances = _Lines.of(entrances, config.entrance_reach_m)
        self._coverage = ViewCoverage(store.cameras, store.floor, config.detection_probability)

    def on_floor(self, positions: np.ndarray, margin: float = 0.0) -> np.ndarray:
        return self._store.on_floor(positions, margin)

    def at_exit(self, positions: np.ndarray) -> np.ndarray:
        return self._gates.near(positions)

    def at_entrance(self, positions: np.ndarray) -> np.ndarray:
        return self._entrances.near(positions)

    def silence(self, positions: np.ndarray) -> np.ndarray:
        return self._coverage.silence(positions)


class PersonTracker:
    """The tracker's core: ``step`` takes ``PersonDetections`` of all cameras, gives ``Tracks``, one per time slot, also when empty.

    ``for_crossing``: they are given as ``PackedTracks``, which another process unpacks.
    """

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
        for_crossing: bool = False,
    ) -> None:
        self._for_crossing = for_crossing
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
        # As detectors give scores: 0.3 in single precision is not less than 0.3.
        self._least_score = float(np.float32(config.least_score))
        self._period_ns = round(config.output_period_s * NANOSECONDS)
        self._floor_polygon = np.ascontiguousarray(store.floor, dtype=float)
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
        confirmed = int(self._floor.people.confirmed.sum())
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

    def _close_slot(self) -> Tracks | PackedTracks:
        frames, self._slot = list(self._slot.values()), {}
        stamp_ns = frames[-1].stamp_ns
        before_ns = stamp_ns if self._stamp_ns is None else self._stamp_ns
        self._stamp_ns = stamp_ns
        people = self._floor.people
        self._point_filter.predict(people, (stamp_ns - before_ns) / NANOSECONDS, before_ns)
        detections = self._detections(frames, stamp_ns)
        reporting = np.array([self._camera_number[frame.camera] for frame in frames])
        whom = self._floor.step(detections, reporting, stamp_ns)
        if np.count_nonzero(whom >= 0):
            # Heads and wrists of those whom the slot's detections show.
            self._point_filter.update(people, detections, whom, stamp_ns)
        tracks = self._tracks(stamp_ns)
        return tracks if self._for_crossing else unpacked(tracks)

    def _detections(self, frames: list[PersonDetections], stamp_ns: int) -> FloorDetections:
        """The slot's detections on the floor, without those that certainly stand outside."""
        # Most frames of a large store are empty.
        shown = [frame for frame in frames if len(frame.boxes)]
        found = self._projector.usable(
            [self._scaled(frame, stamp_ns) for frame in shown], self._floor_polygon, self._config.floor_margin_m, self._least_score
        )
        embeddings = _embeddings(shown or frames[:1])
        if embeddings is not None:
            embeddings = embeddings[found.numbers]
        return FloorDetections(found.positions, found.covariances, found.ages_s, found.cameras, found.keypoints, embeddings, found.evidence)

    def _scaled(self, frame: PersonDetections, stamp_ns: int) -> Frame:
        camera = self._camera_number[frame.camera]
        size, across, down = self._sizes[camera], 1.0, 1.0
        if (frame.image_width, frame.image_height) != size:
            across, down = _scale(size[0], frame.image_width), _scale(size[1], frame.image_height)
        return camera, (stamp_ns - frame.stamp_ns) / NANOSECONDS, across, down, frame.boxes, frame.scores, frame.keypoints

    def _tracks(self, stamp_ns: int) -> PackedTracks:
        people = self._floor.people
        given = people.confirmed.nonzero()[0]
        existences = existence.probability(people.log_odds[given]).tolist()
        unseen_s = ((stamp_ns - people.seen_ns[given]) / NANOSECONDS).tolist()
        rows = np.empty((len(given), ROW_SIZE))
        states = people.means, people.covariances, people.points_seen_ns, people.point_means, people.point_covariances
        aisle_kernels.track_rows(stamp_ns, self._point_filter.memory_ns, people.confirmed, *states, rows)
        names = [people.tracks[row] for row in given.tolist()]
        return PackedTracks(stamp_ns, list(zip(names, existences, unseen_s, strict=True)), rows)


def _scale(size: float, told: int) -> float:
    """Of an image that tells no size nothing can be used."""
    return size / told if told else math.inf


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
