"""Paths and doors on the floor."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: Distances computed in different ways agree to this (m).
_ROUNDING_M = 1e-9


@dataclass(frozen=True, eq=False)
class Doorway:
    """A gate's segment ``ends`` [2, 2]: from ``start`` along ``edge`` (m), for asking about one place at a time; ``low`` and ``high``: the
    corners of the box around it."""

    ends: np.ndarray
    start: tuple[float, float]
    edge: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]

    @classmethod
    def of(cls, ends: np.ndarray) -> Doorway:
        corners = (ends[0], ends[1] - ends[0], ends.min(axis=0), ends.max(axis=0))
        return cls(ends, *(tuple(corner.tolist()) for corner in corners))

    def is_within(self, distance: float, position: np.ndarray) -> bool:
        """Whether a place [2] is at most ``distance`` (m) from the segment, as ``segment_distance`` has it, at a tenth of its cost."""
        x, y = position.tolist()
        reach = distance + 2 * _ROUNDING_M
        if x < self.low[0] - reach or x > self.high[0] + reach or y < self.low[1] - reach or y > self.high[1] + reach:
            return False
        x, y = x - self.start[0], y - self.start[1]
        edge_x, edge_y = self.edge
        along = min(max((x * edge_x + y * edge_y) / max(edge_x * edge_x + edge_y * edge_y, 1e-12), 0.0), 1.0)
        found = math.hypot(x - along * edge_x, y - along * edge_y)
        if abs(found - distance) < _ROUNDING_M:
            found = segment_distance(position, self.ends)[0]
        return bool(found <= distance)


def path_crosses(path: np.ndarray, ends: np.ndarray) -> bool:
    """Whether any leg of ``path`` [N, 2] crosses the segment ``ends`` [2, 2] (orientation test; touching counts)."""
    if len(path) < 2:
        return False
    beside = _side_of(ends, path)
    # Most paths stay on one side.
    if beside.min() > 0 or beside.max() < 0:
        return False
    start, end = path[:-1], path[1:]
    return bool(np.any((_side(start, end, ends[0]) * _side(start, end, ends[1]) <= 0) & (beside[:-1] * beside[1:] <= 0)))


def segment_distance(points: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Distances [N] m of ``points`` [N, 2] to the segment ``ends`` [2, 2]."""
    points = np.atleast_2d(points)
    edge = ends[1] - ends[0]
    along = np.clip((points - ends[0]) @ edge / max(float(edge @ edge), 1e-12), 0.0, 1.0)
    return np.linalg.norm(points - (ends[0] + along[:, None] * edge), axis=1)


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    leg = end - start
    return leg[:, 0] * (point[1] - start[:, 1]) - leg[:, 1] * (point[0] - start[:, 0])


def _side_of(ends: np.ndarray, points: np.ndarray) -> np.ndarray:
    edge = ends[1] - ends[0]
    return edge[0] * (points[:, 1] - ends[0, 1]) - edge[1] * (points[:, 0] - ends[0, 0])
