"""Pinhole camera with Brown-Conrady distortion (OpenCV's model), placed in the store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np


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

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [N, 2] and depths [N] m of store points [N, 3]; pixels of points at or behind the camera are NaN."""
        optical = self.to_optical(points)
        depth = optical[:, 2]
        pixels = np.full((len(optical), 2), np.nan)
        ahead = depth > 1e-6
        if ahead.any():
            projected, _ = cv2.projectPoints(optical[ahead].reshape(-1, 1, 3), np.zeros(3), np.zeros(3), self.matrix, self.distortion)
            pixels[ahead] = projected.reshape(-1, 2)
        return pixels, depth

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Unit directions [N, 3] in the store frame of pixels [N, 2]."""
        pixels = np.asarray(pixels, dtype=float).reshape(-1, 1, 2)
        if not len(pixels):
            return np.zeros((0, 3))
        normalised = cv2.undistortPoints(pixels, self.matrix, self.distortion).reshape(-1, 2)
        directions = np.column_stack([normalised, np.ones(len(normalised))]) @ self.pose[:3, :3].T
        return directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def on_plane(self, pixels: np.ndarray, height: float = 0.0) -> np.ndarray:
        """Where the rays of pixels [N, 2] meet the plane z = ``height``: [N, 2] m, NaN for rays that do not."""
        directions = self.rays(pixels)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = (height - self.position[2]) / directions[:, 2]
        reach = np.where((reach > 0) & np.isfinite(reach), reach, np.nan)
        return self.position[:2] + reach[:, None] * directions[:, :2]
