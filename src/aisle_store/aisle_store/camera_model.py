"""Pinhole camera with Brown-Conrady distortion (OpenCV's model), placed in the store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

import aisle_kernels

#: tan(80 degrees): a pinhole camera says nothing about what is seen wider than this from its axis.
WIDEST_RADIUS = 5.67
NEWTON_STEPS = 8
#: Largest error of an undistorted point, distorted again, in units of depth: less than a thousandth of a pixel.
UNDISTORTION_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera. ``matrix`` float64 [3, 3] px; ``distortion`` float64 [5] (k1, k2, p1, p2, k3);
    ``pose`` float64 [4, 4] maps optical-frame to store coordinates (optical axes per REP 103: x right, y down, z forward).
    """

    camera: str
    width: int
    height: int
    matrix: np.ndarray
    distortion: np.ndarray
    pose: np.ndarray
    rate_hz: float = 10.0

    @property
    def position(self) -> np.ndarray:
        """float64 [3], store frame."""
        return self.pose[:3, 3]

    @cached_property
    def _optical_from_store(self) -> np.ndarray:
        return np.linalg.inv(self.pose)

    def to_optical(self, points: np.ndarray) -> np.ndarray:
        """Store points [N, 3] in the optical frame, [N, 3]; column 2 is the depth in metres."""
        points = np.atleast_2d(np.asarray(points, dtype=float))
        return points @ self._optical_from_store[:3, :3].T + self._optical_from_store[:3, 3]

    @cached_property
    def radius_limit(self) -> float:
        """Distance from the optical axis, in units of depth, up to which the distortion model can be trusted.

        Beyond the first maximum of r (1 + k1 r^2 + k2 r^4 + k3 r^6) the polynomial folds back, and points far outside of the view would
        land inside the image.
        """
        k1, k2, _, _, k3 = self.distortion
        squared = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        maxima = np.sqrt(squared[(np.abs(squared.imag) < 1e-12) & (squared.real > 0)].real)
        return float(min(maxima.min(initial=WIDEST_RADIUS), WIDEST_RADIUS))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] and depths [N] m of store points [N, 3].

        Pixels are NaN for points at or behind the camera and for points outside of ``radius_limit``; others may lie outside the image.
        """
        optical = self.to_optical(points)
        depth = optical[:, 2]
        pixels = np.full((len(optical), 2), np.nan)
        valid = (depth > 1e-6) & (np.hypot(optical[:, 0], optical[:, 1]) < self.radius_limit * depth)
        if valid.any():
            projected, _ = cv2.projectPoints(optical[valid].reshape(-1, 1, 3), np.zeros(3), np.zeros(3), self.matrix, self.distortion)
            pixels[valid] = projected.reshape(-1, 2)
        return pixels, depth

    def in_view(self, points: np.ndarray) -> np.ndarray:
        """bool [N]: which store points [N, 3] lie in the image, as ``project`` places them."""
        seen = np.empty(len(points), dtype=bool)
        model = np.ascontiguousarray(self._optical_from_store), np.ascontiguousarray(self.matrix, dtype=float), self._distortion
        limits = self.radius_limit, self.width, self.height
        aisle_kernels.in_view(*model, *limits, np.ascontiguousarray(points, dtype=float), seen)
        return seen

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit directions [N, 3] in the store frame of pixels [N, 2]; NaN for pixels that no point within ``radius_limit`` projects to.

        With tangential distortion, which folds before the limit on one side, also for some pixels from 0.9 of the limit on.
        """
        pixels = np.asarray(pixels, dtype=float).reshape(-1, 2)
        focal, centre = self.matrix[[0, 1], [0, 1]], self.matrix[:2, 2]
        normalised = self._undistorted((pixels - centre) / focal)
        directions = np.column_stack([normalised, np.ones(len(normalised))]) @ self.pose[:3, :3].T
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def _undistorted(self, distorted: np.ndarray) -> np.ndarray:
        """Normalised image coordinates [N, 2] without their distortion, NaN where there are none. cv2.undistortPoints iterates a fixed
        point, which is pixels off or diverges under strong distortion; Newton's method from a radial table converges up to the limit.
        """
        if not self.distortion.any():
            return distorted
        table_distorted, table_radius = self._radial_table
        radius = np.hypot(distorted[:, 0], distorted[:, 1])
        scale = np.interp(radius, table_distorted, table_radius) / np.maximum(radius, 1e-12)
        points = distorted * scale[:, None]
        limits = self.radius_limit, NEWTON_STEPS, UNDISTORTION_TOLERANCE
        aisle_kernels.undistort(self._distortion, *limits, np.ascontiguousarray(distorted), points)
        return points

    @cached_property
    def _distortion(self) -> np.ndarray:
        return np.ascontiguousarray(self.distortion, dtype=float)

    @cached_property
    def _radial_table(self) -> tuple[np.ndarray, np.ndarray]:
        """Distorted radii, increasing, and the radii they come from."""
        radius = np.linspace(0.0, self.radius_limit, 1024)
        return np.maximum.accumulate(self._distorted(np.column_stack([radius, np.zeros_like(radius)]))[:, 0]), radius

    def _distorted(self, points: np.ndarray) -> np.ndarray:
        """Brown-Conrady distortion of normalised image coordinates [N, 2]: [N, 2]."""
        k1, k2, p1, p2, k3 = self.distortion
        x, y = points[:, 0], points[:, 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.column_stack(
            [
                x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
                y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
            ]
        )

    def on_plane(self, pixels: np.ndarray, height: float = 0.0) -> np.ndarray:
        """Where the rays of pixels [N, 2] meet the plane z = ``height``: [N, 2] m, NaN for rays that do not."""
        directions = self.rays(pixels)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = (height - self.position[2]) / directions[:, 2]
        reach = np.where((reach > 0) & np.isfinite(reach), reach, np.nan)
        return self.position[:2] + reach[:, None] * directions[:, :2]
