"""Trackers of boxes side by side: time per frame on synthetic scenes, and scores on labelled sequences, each by py-motmetrics."""

from __future__ import annotations

import configparser
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import motmetrics
import numpy as np
from filterpy_sort import overlap
from peers import Track, all_peers
from scenes import RATE_HZ, Scene, crossing_people

from aisle_contract.records import NANOSECONDS
from aisle_perception.image_tracker import BoxDetections, ImageTracker
from aisle_perception.mot_files import MotBoxes, as_probabilities, read_boxes
from aisle_perception.mot_tracks import MotRun, track_boxes

TARGETS = (10, 50, 200)
#: Frames measured after those in which the tracks begin; a run that takes longer than this in all stops there.
WARM_UP, FRAMES, LONGEST_S = 15, 60, 20.0
REPEATS = 7
_FARTHEST = 0.5
#: Frames per second of MOTChallenge 2015's sequences by the beginning of their names, where no seqinfo.ini tells; others: 25.
_RATES_HZ = {"ADL": 30.0, "AVG": 7.0, "ETH": 14.0, "KITTI": 10.0, "PETS": 7.0, "TUD": 25.0, "Venice": 30.0}


def trackers(rate_hz: float = RATE_HZ) -> dict[str, Callable[[], Track]]:
    """Ours first, which alone asks for the frames per second; the others count frames."""
    return {"aisle": lambda: _ours(rate_hz), **all_peers()}


def milliseconds(targets: int, advance: Callable[..., object]) -> dict[str, float]:
    """Mean time of a frame by tracker, of each frame the best of several runs on the same scene: others' use of the machine only adds.

    The trackers take turns, so that all of them meet the machine in the same state.
    """
    scene = crossing_people(targets, WARM_UP + FRAMES, seed=targets)
    best: dict[str, np.ndarray] = {}
    slow = set()
    for _ in range(REPEATS):
        for name, make in trackers().items():
            if name not in slow:
                began = time.perf_counter()
                taken = _one_run(scene, make(), began)
                # A run that took too long has fewer frames.
                known = best.get(name, taken)[: len(taken)]
                best[name] = np.minimum(known, taken[: len(known)])
                if best[name].sum() > LONGEST_S / 2:
                    slow.add(name)
            advance(1, note=f"{name}, {targets} targets")
    return {name: 1e3 * float(taken.mean()) for name, taken in best.items()}


def _one_run(scene: Scene, track: Track, began: float) -> np.ndarray:
    """Seconds of each frame after the first ones, float64 [F]."""
    taken = []
    for number, (boxes, scores) in enumerate(zip(scene.boxes, scene.scores, strict=True)):
        start = time.perf_counter()
        track(boxes, scores)
        end = time.perf_counter()
        if number >= WARM_UP:
            taken.append(end - start)
        if taken and end - began > LONGEST_S:
            break
    return np.array(taken)


@dataclass(frozen=True, eq=False)
class Sequence:
    """A MOTChallenge folder: detections and labels, frames per second."""

    name: str
    detections: MotBoxes
    labels: MotBoxes
    rate_hz: float

    @classmethod
    def read(cls, folder: Path) -> Sequence:
        """Raises MotFileError or OSError."""
        labels = read_boxes(folder / "gt" / "gt.txt")
        return cls(folder.name, read_boxes(folder / "det" / "det.txt"), _counted(labels), _rate_hz(folder))


def scores(sequence: Sequence) -> dict[str, dict[str, float]]:
    """IDF1, MOTA and identity switches of every tracker; ``aisle_hindsight`` is ours on the whole file, as ./aisle track --mot does it."""
    results = {name: _score(sequence, _followed(sequence, make())) for name, make in trackers(sequence.rate_hz).items()}
    results["aisle_hindsight"] = _score(sequence, _by_frame(track_boxes(sequence.detections, sequence.rate_hz)))
    return results


def _ours(rate_hz: float) -> Track:
    tracker, frame = ImageTracker(), 0

    def track(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal frame
        frame += 1
        tracks = tracker.step(round(frame * NANOSECONDS / rate_hz), BoxDetections(boxes, scores))
        return tracks.ids, tracks.boxes

    return track


def _rate_hz(folder: Path) -> float:
    """What the folder's seqinfo.ini says, otherwise what is known of MOTChallenge's sequences."""
    described = configparser.ConfigParser()
    described.read(folder / "seqinfo.ini", encoding="utf-8")
    known = next((rate for name, rate in _RATES_HZ.items() if folder.name.startswith(name)), RATE_HZ)
    return described.getfloat("Sequence", "frameRate", fallback=known)


def _counted(labels: MotBoxes) -> MotBoxes:
    """Without the labels that a benchmark's rules leave out (a confidence of 0)."""
    counted = labels.scores != 0.0
    return MotBoxes(labels.frames[counted], labels.ids[counted], labels.boxes[counted], labels.scores[counted])


def _followed(sequence: Sequence, track: Track) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    boxes, probabilities = sequence.detections.boxes, as_probabilities(sequence.detections.scores)
    return {frame: track(boxes[rows], probabilities[rows]) for frame, rows in sequence.detections.by_frame().items()}


def _by_frame(run: MotRun) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    rows: dict[int, list] = {}
    for row in run.rows:
        rows.setdefault(row.frame, []).append(row)
    return {frame: (np.array([r.track for r in some]), np.array([r.box for r in some])) for frame, some in rows.items()}


def _score(sequence: Sequence, found: dict[int, tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    accumulator = motmetrics.MOTAccumulator()
    nothing = np.zeros(0, dtype=int), np.zeros((0, 4))
    labelled = sequence.labels.by_frame()
    for frame in range(1, max(sequence.labels.last_frame, sequence.detections.last_frame) + 1):
        rows = labelled.get(frame, slice(0, 0))
        ids, boxes = found.get(frame, nothing)
        # motmetrics' own box distance needs a NumPy before 2.
        distance = 1.0 - overlap(sequence.labels.boxes[rows], boxes)
        accumulator.update(sequence.labels.ids[rows], ids, np.where(distance > _FARTHEST, np.nan, distance), frameid=frame)
    table = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "mota", "num_switches"], name=sequence.name)
    idf1, mota, switches = table.iloc[0]
    return {"idf1": float(idf1), "mota": float(mota), "switches": int(switches)}
