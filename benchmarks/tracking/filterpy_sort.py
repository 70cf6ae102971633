"""SORT as its users write it (Bewley et al., Simple Online and Realtime Tracking, ICIP 2016): one filterpy filter per box, in a loop.

Model and constants are the paper's: centre, area and aspect ratio, of which the ratio is constant; Hungarian assignment by IoU.
"""

from __future__ import annotations

import numpy as np
from filterpy.kalman import KalmanFilter
from scipy.optimize import linear_sum_assignment


class FilterpySort:
    """``update(boxes [M, 4], scores [M])`` gives rows (left, top, right, bottom, id) of the boxes that belong to confirmed tracks."""

    def __init__(self, max_age: int = 1, min_hits: int = 3, iou_threshold: float = 0.3) -> None:
        self._max_age, self._min_hits, self._iou_threshold = max_age, min_hits, iou_threshold
        self._tracks: list[_Track] = []
        self._frames = self._numbers = 0

    def update(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        self._frames += 1
        predicted = np.array([track.predict() for track in self._tracks]).reshape(-1, 4)
        usable = np.isfinite(predicted).all(axis=1)
        self._tracks = [track for track, good in zip(self._tracks, usable, strict=True) if good]
        shared = overlap(predicted[usable], boxes)
        rows, columns = linear_sum_assignment(-shared)
        taken = set()
        for row, column in zip(rows, columns, strict=True):
            if shared[row, column] >= self._iou_threshold:
                self._tracks[row].update(boxes[column])
                taken.add(column)
        for column in range(len(boxes)):
            if column not in taken:
                self._numbers += 1
                self._tracks.append(_Track(boxes[column], self._numbers))
        found = [
            np.append(track.box(), track.number)
            for track in self._tracks
            if track.unseen < 1 and (track.streak >= self._min_hits or self._frames <= self._min_hits)
        ]
        self._tracks = [track for track in self._tracks if track.unseen <= self._max_age]
        return np.array(found).reshape(-1, 5)


class _Track:
    def __init__(self, box: np.ndarray, number: int) -> None:
        self.number = number
        self.unseen = self.streak = 0
        self._filter = kalman = KalmanFilter(dim_x=7, dim_z=4)
        kalman.F = np.eye(7) + np.eye(7, k=4)
        kalman.H = np.eye(4, 7)
        kalman.R[2:, 2:] *= 10.0
        kalman.P[4:, 4:] *= 1000.0
        kalman.P *= 10.0
        kalman.Q[-1, -1] *= 0.01
        kalman.Q[4:, 4:] *= 0.01
        kalman.x[:4] = _measurement(box)

    def predict(self) -> np.ndarray:
        if self._filter.x.ravel()[6] + self._filter.x.ravel()[2] <= 0.0:
            self._filter.x[6] = 0.0
        self._filter.predict()
        if self.unseen > 0:
            self.streak = 0
        self.unseen += 1
        return self.box()

    def update(self, box: np.ndarray) -> None:
        self.unseen = 0
        self.streak += 1
        self._filter.update(_measurement(box))

    def box(self) -> np.ndarray:
        x, y, area, ratio = self._filter.x.ravel()[:4]
        width = np.sqrt(area * ratio) if area * ratio > 0.0 else np.nan
        height = area / width
        return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def _measurement(box: np.ndarray) -> np.ndarray:
    width, height = box[2] - box[0], box[3] - box[1]
    return np.array([[box[0] + width / 2], [box[1] + height / 2], [width * height], [width / height]])


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union, float64 [N, M], of boxes [N, 4] and [M, 4] (left, top, right, bottom)."""
    shared = np.minimum(first[:, None, 2:], second[None, :, 2:]) - np.maximum(first[:, None, :2], second[None, :, :2])
    shared = np.clip(shared, 0.0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)
