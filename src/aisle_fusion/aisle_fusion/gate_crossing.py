"""Paths and doors on the floor."""

from __future__ import annotations

import numpy as np


def path_crosses(path: np.ndarray, ends: np.ndarray) -> bool:
    """Whether any leg of ``path`` [N, 2] crosses the segment ``ends`` [2, 2] (orientation test; touching counts)."""
    if len(path) < 2:
        return False
    start, end = path[:-1], path[1:]
    return bool(np.any((_side(start, end, ends[0]) * _side(start, end, ends[1]) <= 0) & (_side_of(ends, start) * _side_of(ends, end) <= 0)))


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
