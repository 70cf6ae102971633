"""Trackers that a Python user can install instead, behind one function: ``track(boxes [M, 4], scores [M]) -> (ids [K], boxes [K, 4])``.

All run with their own defaults; norfair, which has none for its distance, with overlap and the threshold of its demonstrations.
"""

from __future__ import annotations

from collections.abc import Callable

import norfair
import numpy as np
import supervision
import trackers
from filterpy_sort import FilterpySort

Track = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def all_peers() -> dict[str, Callable[[], Track]]:
    """Names and makers of fresh trackers."""
    return {
        "trackers_sort": lambda: _supervised(trackers.SORTTracker()),
        "trackers_bytetrack": lambda: _supervised(trackers.ByteTrackTracker()),
        "norfair": _norfair,
        "filterpy_sort": _filterpy_sort,
    }


def _supervised(tracker: trackers.SORTTracker | trackers.ByteTrackTracker) -> Track:
    def track(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = tracker.update(supervision.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), dtype=int)))
        known = found.tracker_id >= 0
        return found.tracker_id[known], found.xyxy[known]

    return track


def _norfair() -> Track:
    tracker = norfair.Tracker(distance_function="iou", distance_threshold=0.7)

    def track(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        detections = [
            norfair.Detection(points=box.reshape(2, 2), scores=np.full(2, score)) for box, score in zip(boxes, scores, strict=True)
        ]
        found = tracker.update(detections=detections)
        ids = np.array([person.id for person in found], dtype=int)
        return ids, np.array([person.estimate.ravel() for person in found]).reshape(-1, 4)

    return track


def _filterpy_sort() -> Track:
    tracker = FilterpySort()

    def track(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = tracker.update(boxes, scores)
        return found[:, 4].astype(int), found[:, :4]

    return track
