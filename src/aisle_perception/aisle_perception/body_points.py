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
from aisle_contract.records import NANOSECONDS
from aisle_perception import kalman
from aisle_perception.association import FloorDetections
from aisle_perception.lens_table import LensTable
from aisle_perception.people import People

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


class BodyPointFilter:
    """Follows the points of all persons at once."""

    def __init__(self, lenses: LensTable, config: BodyPointConfig) -> None:
        self._lenses = lenses
        self._config = config
        #: A point that was seen longer ago is unknown, ns.
        self.memory_ns = config.point_memory_s * NANOSECONDS
        self._parameters = np.array(
            [config.keypoint_threshold, config.keypoint_deviation_px, config.point_deviation, config.point_memory_s, config.point_gate]
        )

    def predict(self, people: People, dt_s: float, from_ns: int) -> None:
        """Moves the points ``dt_s`` seconds ahead of the slot at ``from_ns``. What was not seen there is thought to come to rest."""
        if not len(people) or dt_s <= 0.0:
            return
        aisle_kernels.slow_down(from_ns, np.exp(-dt_s / _REST_S), people.points_seen_ns, people.point_means)
        kalman.move(people.point_means, people.point_covariances, dt_s, self._config.point_acceleration_density)

    def update(self, people: People, detections: FloorDetections, whom: np.ndarray, stamp_ns: int) -> None:
        """Corrects the points by the keypoints of a slot's detections, each of ``whom`` (int [M], -1: nobody). Rays are moved to the slot's
        stamp with the point's velocity."""
        points = (people.means, people.point_means, people.point_covariances, people.points_seen_ns)
        rays = (detections.cameras, whom, detections.age_s, detections.keypoints)
        aisle_kernels.update_points(self._lenses.handle, self._parameters, stamp_ns, *points, *rays)
