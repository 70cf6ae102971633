"""How likely each camera is to find a person who stands at a place: what absence of a detection is worth as evidence."""

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
        self._origin = floor.min(axis=0) - _BORDER_M
        cells = np.ceil((floor.max(axis=0) + _BORDER_M - self._origin) / _CELL_M).astype(int) + 1
        self._cells = cells
        x, y = np.meshgrid(*(self._origin[i] + _CELL_M * np.arange(cells[i]) for i in (0, 1)), indexing="ij")
        points = np.column_stack([np.tile(np.column_stack([x.ravel(), y.ravel()]), (len(_HEIGHTS), 1)), np.repeat(_HEIGHTS, x.size)])
        self._probability = np.zeros((len(cameras), *cells))
        self._positions = np.array([camera.position[:2] for camera in cameras.values()]).reshape(-1, 2)
        for number, camera in enumerate(cameras.values()):
            share = in_view(camera, points).reshape(len(_HEIGHTS), *cells).mean(axis=0)
            self._probability[number] = detection_probability * np.clip((share - _LEAST_SHARE) / (_FULL_SHARE - _LEAST_SHARE), 0.0, 1.0)

    def detection_probability(self, positions: np.ndarray) -> np.ndarray:
        """float64 [cameras, N] for persons at ``positions`` [N, 2]; those who stand behind another one are less likely to be found."""
        cell = np.rint((positions - self._origin) / _CELL_M).astype(int)
        np.minimum(np.maximum(cell, 0, out=cell), self._cells - 1, out=cell)
        probability = self._probability[:, cell[:, 0], cell[:, 1]]
        if len(positions) < 2:
            return probability
        return np.where(self._hidden(positions), _HIDDEN_FACTOR * probability, probability)

    def _hidden(self, positions: np.ndarray) -> np.ndarray:
        """bool [cameras, N]: another person stands between the camera and this one."""
        hidden = np.empty((len(self._positions), len(positions)), dtype=bool)
        aisle_kernels.hidden(_BODY_RADIUS, self._positions, np.ascontiguousarray(positions), hidden)
        return hidden


def in_view(camera: Camera, points: np.ndarray) -> np.ndarray:
    """bool [N]: whether ``points`` [N, 3] lie in the camera's image."""
    pixels, depth = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (pixels >= -0.5).all(axis=1) & (pixels[:, 0] < camera.width - 0.5) & (pixels[:, 1] < camera.height - 0.5)
    return inside & (depth > 0)
