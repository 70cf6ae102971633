"""Viewing directions of many cameras' pixels at once: undistortion looked up in a table instead of solved for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import aisle_kernels
from aisle_store.camera_model import Camera

#: Between grid points lens distortion is linear to some hundredths of a pixel.
_STEP_PX = 8
#: The table reaches this far beyond the image: boxes and keypoints may stick out a little.
_BORDER_PX = 16


class LensTable:
    """``positions`` float64 [C, 3] and ``rotations`` [C, 3, 3] (optical to store frame) of the cameras, ``focal_px`` [C], ``sizes`` [C, 2]
    px, and the table: undistorted image coordinates (x / z, y / z in the optical frame) of a grid of pixels, NaN where the lens model says
    nothing. Pixels beyond the table's border count as on it.
    """

    def __init__(self, cameras: Sequence[Camera]) -> None:
        self.positions = np.array([camera.position for camera in cameras], dtype=float).reshape(-1, 3)
        self.rotations = np.array([camera.pose[:3, :3] for camera in cameras], dtype=float).reshape(-1, 3, 3)
        self.focal_px = np.array([camera.matrix[0, 0] for camera in cameras], dtype=float)
        self.sizes = np.array([(camera.width, camera.height) for camera in cameras], dtype=float).reshape(-1, 2)
        columns, rows = (np.ceil((self.sizes.max(axis=0, initial=1.0) + 2 * _BORDER_PX) / _STEP_PX).astype(int) + 1).tolist()
        v, u = np.meshgrid(np.arange(rows) * _STEP_PX - _BORDER_PX, np.arange(columns) * _STEP_PX - _BORDER_PX, indexing="ij")
        grid = np.column_stack([u.ravel(), v.ravel()]).astype(float)
        table = np.full((len(cameras) * rows * columns, 2), np.nan)
        for number, camera in enumerate(cameras):
            optical = camera.rays(grid) @ camera.pose[:3, :3]
            table[number * rows * columns : (number + 1) * rows * columns] = optical[:, :2] / optical[:, 2:]
        #: For the compiled functions of ``aisle_kernels``.
        self.handle = aisle_kernels.lenses(
            rows, columns, _STEP_PX, _BORDER_PX, self.positions, self.rotations, self.sizes, self.focal_px, table
        )

    def directions(self, cameras: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        """Rays in the store frame, float64 [M, 3], of depth 1 (not of length 1), of ``pixels`` [M, 2] of ``cameras`` int [M]."""
        rays = np.empty((len(cameras), 3))
        aisle_kernels.directions(self.handle, cameras, pixels, rays)
        return rays
