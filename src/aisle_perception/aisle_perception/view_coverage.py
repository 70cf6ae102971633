"""How likely each camera is not to find a person who stands at a place: what absence of a detection is worth as evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import aisle_kernels
from aisle_store.camera_model import Camera

#: Heights of a body that are tried, m.
_HEIGHTS = (0.1, 0.5, 0.9, 1.3, 1.6)
_CELL_M = 0.1
_BORDER_M = 0.5
#: Below the first share of the body in view nothing is found, above the second everything.
_LEAST_SHARE, _FULL_SHARE = 0.2, 0.8
#: Bodies nearer to the camera hide what is behind them within this distance of the line of sight, m.
_BODY_RADIUS = 0.25
_HIDDEN_FACTOR = 0.3


class ViewCoverage:
    """Share of a body in view by camera over a grid on the floor, computed once."""

    def __init__(self, cameras: Mapping[str, Camera], floor: np.ndarray, detection_probability: float) -> None:
        origin = floor.min(axis=0) - _BORDER_M
        cells = np.ceil((floor.max(axis=0) + _BORDER_M - origin) / _CELL_M).astype(int) + 1
        x, y = np.meshgrid(*(origin[i] + _CELL_M * np.arange(cells[i]) for i in (0, 1)), indexing="ij")
        points = np.column_stack([np.tile(np.column_stack([x.ravel(), y.ravel()]), (len(_HEIGHTS), 1)), np.repeat(_HEIGHTS, x.size)])
        shares = np.zeros((len(cameras), *cells), dtype=np.uint8)
        for number, camera in enumerate(cameras.values()):
            shares[number] = camera.in_view(points).reshape(len(_HEIGHTS), *cells).sum(axis=0)
        positions = np.array([camera.position[:2] for camera in cameras.values()], dtype=float).reshape(-1, 2)
        share = np.arange(len(_HEIGHTS) + 1) / len(_HEIGHTS)
        found = detection_probability * np.clip((share - _LEAST_SHARE) / (_FULL_SHARE - _LEAST_SHARE), 0.0, 1.0)
        silence, hidden = np.log1p(-found), np.log1p(-_HIDDEN_FACTOR * found)
        self._cameras = len(cameras)
        self._handle = aisle_kernels.coverage(*cells.tolist(), *origin.tolist(), _CELL_M, _BODY_RADIUS, positions, silence, hidden, shares)

    def silence(self, positions: np.ndarray) -> np.ndarray:
        """Logarithm of how likely each camera is not to find a person, float64 [cameras, N], for persons at ``positions`` [N, 2]; those who
        stand behind another one are more likely not to be found."""
        result = np.empty((self._cameras, len(positions)))
        aisle_kernels.silence(self._handle, np.ascontiguousarray(positions), result)
        return result
