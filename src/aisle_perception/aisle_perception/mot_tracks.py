"""MOTChallenge detections in, tracks out, by the image-plane tracker.

A file is a whole recording, so by default it is judged with hindsight: a track has rows from its first detection on, not from the one that
confirmed it, and short gaps in which it was hidden are filled along the straight way between the two sightings. Without hindsight each
frame is judged by those up to it, as a live camera is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS
from aisle_perception.image_tracker import BoxDetections, ImageTracker, ImageTrackerConfig
from aisle_perception.mot_files import MotBoxes, as_probabilities, read_boxes, write_tracks


@dataclass(frozen=True)
class MotTracksConfig(ImageTrackerConfig):
    """The tracker's parameters, and how far hindsight goes."""

    hindsight: bool = parameter(True, "Tracks begin at their first detection and short gaps are filled")
    longest_gap_s: float = parameter(0.8, "Longer gaps between two sightings stay open, s", 0.0, 60.0)


@dataclass(frozen=True, eq=False)
class BoxRow:
    """One row of a result: ``box`` float64 [4] (left, top, right, bottom, px); ``seen``: there is a detection of this very frame."""

    frame: int
    track: int
    box: np.ndarray
    score: float
    seen: bool = True


@dataclass(frozen=True, eq=False)
class MotRun:
    """What ``run_mot`` has done: frames stepped through (with the empty ones), detections read, rows written."""

    frames: int
    detections: int
    rows: tuple[BoxRow, ...]

    def paths(self) -> dict[str, np.ndarray]:
        """Each track's boxes, float64 [N, 4] (left, top, width, height, px), by its number."""
        by_track: dict[int, list[np.ndarray]] = {}
        for row in self.rows:
            by_track.setdefault(row.track, []).append(np.append(row.box[:2], row.box[2:] - row.box[:2]))
        return {str(track): np.array(boxes) for track, boxes in sorted(by_track.items())}


def run_mot(detections: Path, tracks: Path, rate_hz: float, config: MotTracksConfig | None = None) -> MotRun:
    """Reads a det.txt, follows everybody and writes the tracks, whole or not at all.

    Raises MotFileError for a file that holds no boxes, ValueError for an impossible rate, OSError if reading or writing fails.
    """
    boxes = read_boxes(detections)
    run = track_boxes(boxes, rate_hz, config)
    write_tracks(tracks, [(row.frame, row.track, row.box, row.score) for row in run.rows])
    return run


def track_boxes(
    boxes: MotBoxes, rate_hz: float, config: MotTracksConfig | None = None, advance: Callable[[int], object] = lambda frames: None
) -> MotRun:
    """Rows ordered by frame, then track. ``advance(1)`` is called after each frame."""
    if not (np.isfinite(rate_hz) and rate_hz > 0.0):
        raise ValueError(f"the rate is {rate_hz} Hz, expected more than 0")
    config = MotTracksConfig() if config is None else config
    tracker, scores = ImageTracker(config), as_probabilities(boxes.scores)
    sightings: dict[int, list[BoxRow]] = {}
    names: dict[int, int] = {}
    for frame, rows in boxes.by_frame().items():
        detections = BoxDetections(boxes.boxes[rows], scores[rows])
        tracks = tracker.step(round(frame * NANOSECONDS / rate_hz), detections, unconfirmed=config.hindsight)
        for number, birth, box, own in zip(tracks.ids.tolist(), tracks.births.tolist(), tracks.boxes, tracks.detections, strict=True):
            names[birth] = number
            sighting = BoxRow(frame, number, box, float(detections.scores[own]) if own >= 0 else 0.0, bool(own >= 0))
            sightings.setdefault(birth, []).append(sighting)
        advance(1)
    result = []
    for birth, track in names.items():
        if track:
            named = [BoxRow(row.frame, track, row.box, row.score, row.seen) for row in sightings[birth]]
            result += _filled(named, round(config.longest_gap_s * rate_hz)) if config.hindsight else named
    return MotRun(boxes.last_frame, len(boxes), tuple(sorted(result, key=lambda row: (row.frame, row.track))))


def _filled(rows: list[BoxRow], longest_gap: int) -> list[BoxRow]:
    """The track without predictions, and with a row for each frame of its short gaps."""
    rows = [row for row in rows if row.seen]
    filled = rows[:1]
    for before, after in itertools.pairwise(rows):
        gap = after.frame - before.frame
        if 1 < gap <= longest_gap + 1:
            for frame in range(before.frame + 1, after.frame):
                share = (frame - before.frame) / gap
                box = (1.0 - share) * before.box + share * after.box
                filled.append(BoxRow(frame, before.track, box, min(before.score, after.score), False))
        filled.append(after)
    return filled
