"""Viewing directions of many cameras' pixels at once: undistortion looked up in a table instead of solved for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aisle_store.camera_model import Camera

#: Between grid points lens distortion is linear to some hundredths of a pixel.
_STEP_PX = 8
#: The table reaches this far beyond the image: boxes and keypoints may stick out a little.
_BORDER_PX = 16


class LensTable:
    """``positions`` float64 [C, 3] and ``rotations`` [C, 3, 3] (optical to store frame) of the cameras, ``focal_px`` [C], and the table."""

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self.positions = np.array([camera.position for camera in cameras]).reshape(-1, 3)
        self.rotations = np.array([camera.pose[:3, :3] for camera in cameras]).reshape(-1, 3, 3)
        self.focal_px = np.array([camera.matrix[0, 0] for camera in cameras])
        self.sizes = np.array([(camera.width, camera.height) for camera in cameras], dtype=float).reshape(-1, 2)
        columns, rows = (np.ceil((self.sizes.max(axis=0, initial=1.0) + 2 * _BORDER_PX) / _STEP_PX).astype(int) + 1).tolist()
        v, u = np.meshgrid(np.arange(rows) * _STEP_PX - _BORDER_PX, np.arange(columns) * _STEP_PX - _BORDER_PX, indexing="ij")
        grid = np.column_stack([u.ravel(), v.ravel()]).astype(float)
        self._limits = np.array([columns, rows]) - 1.001
        #: Rows of the table from one camera, and from one row of the image, to the next.
        self._stride = (rows * columns, columns)
        self._table = np.full((len(cameras) * rows * columns, 2), np.nan)
        for number, camera in enumerate(cameras):
            optical = camera.rays(grid) @ camera.pose[:3, :3]
            self._table[number * rows * columns : (number + 1) * rows * columns] = optical[:, :2] / optical[:, 2:]

    def normalised(self, cameras: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Undistorted image coordinates (x / z, y / z in the optical frame), float64 [..., 2], of ``pixels`` [..., 2] of ``cameras`` int,
        of a shape that broadcasts against [...]; NaN where the lens model says nothing. Pixels beyond the table's border count as on it."""
        place = np.minimum(np.maximum((pixels + _BORDER_PX) / _STEP_PX, 0.0), self._limits)
        cell = place.astype(int)
        right, down = np.split(place - cell, 2, axis=-1)
        corner = cameras * self._stride[0] + cell[..., 1] * self._stride[1] + cell[..., 0]
        left, up = 1 - right, 1 - down
        table, below = self._table, corner + self._stride[1]
        upper = table.take(corner, axis=0) * left + table.take(corner + 1, axis=0) * right
        lower = table.take(below, axis=0) * left + table.take(below + 1, axis=0) * right
        return upper * up + lower * down

    def directions(self, cameras: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Rays in the store frame, float64 [..., 3], of depth 1 (not of length 1)."""
        return self.turned(cameras, self.normalised(cameras, pixels))

    def turned(self, cameras: np.ndarray, normalised: np.ndarray) -> np.ndarray:
        """Rays in the store frame [..., 3] of undistorted image coordinates [..., 2]."""
        rotation = self.rotations[cameras]
        return rotation[..., 2] + normalised[..., :1] * rotation[..., 0] + normalised[..., 1:] * rotation[..., 1]
