"""Head and wrists of tracked persons: triangulated from the cameras that see them, then filtered in 3-D.

Triangulation is weighted least squares of the distances to the rays (Hartley & Zisserman, Multiple View Geometry, 12.2, in its ray form),
repeated with the weights of the true depths and Cauchy's robust weights: as distances to fixed rays are linear in the point, each round is
a Gauss-Newton step on the angular errors. A prior (where a head or wrist can be, given the body) makes the answer honest when one camera
alone sees the point: on the ray, uncertain along it. The arithmetic, with what is known of heads and wrists, is in
``aisle_kernels/src/body_points.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import aisle_kernels
from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, BodyPoint
from aisle_perception import kalman
from aisle_perception.association import FloorDetections
from aisle_perception.lens_table import LensTable

#: The points in the order used throughout.
POINTS = ("head", "left_wrist", "right_wrist")
#: Time constant with which an unseen point comes to rest: hands slow down where they vanish into a shelf.
_REST_S = 0.1


@dataclass(frozen=True)
class BodyPointConfig:
    """How head and wrists are followed."""

    keypoint_threshold: float = parameter(0.3, "Keypoints below this confidence count as not seen", 0.01, 1.0)
    keypoint_deviation_px: float = parameter(4.0, "Standard deviation of a confident keypoint, px", 0.5, 50.0)
    point_deviation: float = parameter(0.05, "How far the cameras' idea of the same point of the body differs, m", 0.0, 0.2)
    point_acceleration_density: float = parameter(10.0, "Spectral density of a wrist's acceleration, m^2/s^3", 0.01, 1000.0)
    point_memory_s: float = parameter(0.3, "A point not seen for longer is unknown, s", 0.0, 5.0)
    point_gate: float = parameter(16.0, "Squared Mahalanobis distance beyond which a new place of a point is doubted", 1.0, 100.0)


@dataclass(eq=False)
class PointState:
    """Filtered points of one person: ``means`` float64 [3, 6], ``covariances`` [3, 6, 6], ``seen_ns`` int64 [3] (-1: unknown).

    The arrays are replaced and never written to: what has been given out keeps parts of them."""

    means: np.ndarray
    covariances: np.ndarray
    seen_ns: np.ndarray

    @classmethod
    def unknown(cls) -> PointState:
        return cls(np.zeros((3, 6)), np.tile(np.eye(6), (3, 1, 1)), np.full(3, -1, dtype=np.int64))


class BodyPointFilter:
    """Follows the points of all persons at once."""

    def __init__(self, lenses: LensTable, config: BodyPointConfig) -> None:
        self._lenses = lenses
        self._config = config
        self._memory_ns = config.point_memory_s * NANOSECONDS
        self._parameters = np.array(
            [config.keypoint_threshold, config.keypoint_deviation_px, config.point_deviation, config.point_memory_s, config.point_gate]
        )

    def predict(self, states: list[PointState], dt_s: float, from_ns: int) -> None:
        """Moves the points ``dt_s`` seconds ahead of the slot at ``from_ns``. What was not seen there is thought to come to rest."""
        if not states or dt_s <= 0.0:
            return
        means = np.concatenate([s.means for s in states])
        unseen = np.flatnonzero(np.concatenate([s.seen_ns for s in states]) < from_ns)
        if len(unseen):
            means[unseen, 3:] *= np.exp(-dt_s / _REST_S)
        covariances = np.concatenate([s.covariances for s in states])
        self._store(states, *kalman.moved(means, covariances, dt_s, self._config.point_acceleration_density))

    def update(self, states: list[PointState], bodies: np.ndarray, detections: FloorDetections, whom: np.ndarray, stamp_ns: int) -> None:
        """Corrects the points by the keypoints of a slot's detections, each of ``whom`` (int [M], -1: nobody); ``bodies`` float64 [N, 2]:
        where the persons stand. Rays are moved to the slot's stamp with the point's velocity."""
        means, covariances = np.concatenate([s.means for s in states]), np.concatenate([s.covariances for s in states])
        seen_ns = np.concatenate([s.seen_ns for s in states])
        points = (bodies, means, covariances, seen_ns)
        rays = (detections.cameras, whom, detections.age_s, detections.keypoints)
        aisle_kernels.update_points(self._lenses.handle, self._parameters, stamp_ns, *points, *rays)
        self._store(states, means, covariances)
        for number, state in enumerate(states):
            state.seen_ns = seen_ns[3 * number : 3 * number + 3]

    def known(self, states: list[PointState], stamp_ns: int) -> list[list[BodyPoint | None]]:
        """Head, left and right wrist of each as far as known at ``stamp_ns``."""
        if not states:
            return []
        seen = np.concatenate([s.seen_ns for s in states]).tolist()
        means, covariances = np.concatenate([s.means for s in states]), np.concatenate([s.covariances for s in states])
        # Iterating over an array is the quickest way to the arrays in it.
        points = [
            BodyPoint(position, covariance) if seen_ns >= 0 and stamp_ns - seen_ns <= self._memory_ns else None
            for seen_ns, position, covariance in zip(seen, means[:, :3], covariances[:, :3, :3], strict=True)
        ]
        return [points[first : first + len(POINTS)] for first in range(0, len(points), len(POINTS))]

    @staticmethod
    def _store(states: list[PointState], means: np.ndarray, covariances: np.ndarray) -> None:
        for number, state in enumerate(states):
            state.means, state.covariances = means[3 * number : 3 * number + 3], covariances[3 * number : 3 * number + 3]
