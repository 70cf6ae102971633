"""Walking among others: each step goes down the field of walking distances to the goal and keeps away from other bodies.

A sampled-velocity scheme in the manner of Fiorini and Shiller, "Motion planning in dynamic environments using velocity obstacles"
(Int. J. Robotics Research 1998), with distances to the goal in place of straight lines: rough, but nobody walks through shelves.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from aisle_sim.floor_motion import CELL_M, STEP_S, WalkableGrid

_SPEEDS = (1.2, 0.7, 0.3)
_DIRECTIONS = 16
_LOOK_AHEAD_S = 0.4
#: Nobody comes nearer to another than this by his own step, m; after waiting in vain people turn sideways and squeeze past.
_BODY_APART_M = 0.5
_SQUEEZED_APART_M = 0.27
_COMFORT_M = 0.9
_NEARNESS_COST = 2.0
_TURNING_COST = 0.03
_UNREACHABLE_M = 1e6
_FIELDS_KEPT = 512


class Steering:
    """Steps on one store's grid."""

    def __init__(self, grid: WalkableGrid) -> None:
        self._grid = grid
        angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        circle = np.column_stack([np.cos(angles), np.sin(angles)])
        self._velocities = np.vstack([[[0.0, 0.0]], *(speed * circle for speed in _SPEEDS)])
        self._low = grid.points[0]
        self.distances = lru_cache(maxsize=_FIELDS_KEPT)(self._distances)

    def _distances(self, cell: int) -> np.ndarray:
        """Walked metres [cells] to a cell from all others."""
        return np.nan_to_num(self._grid.walking_distances(cell), posinf=_UNREACHABLE_M).astype(np.float32)

    def step(
        self, place: np.ndarray, velocity: np.ndarray, goal: int, others: np.ndarray, moving: np.ndarray, patience: float
    ) -> np.ndarray:
        """The velocity [2] m/s for the next STEP_S from ``place`` towards the cell ``goal``.

        ``others`` [N, 2]: the other bodies, ``moving`` [N, 2] their velocities. ``patience`` 1 .. 0: how much room others are given.
        """
        field = self.distances(goal)
        candidates = self._velocities
        arrival = self._grid.points[goal] - place
        if np.linalg.norm(arrival) < _SPEEDS[0] * STEP_S * 2:
            candidates = np.vstack([candidates, arrival / max(np.linalg.norm(arrival) / 0.8, STEP_S)])
        following = place + candidates * STEP_S
        ahead = place + candidates * _LOOK_AHEAD_S
        cells, cells_ahead = self.cells(following), self.cells(ahead)
        to_go = np.minimum(field[cells_ahead] + 0.02, field[cells] + 0.3 * (field[cells_ahead] >= _UNREACHABLE_M))
        cost = to_go + _TURNING_COST * np.linalg.norm(candidates - velocity, axis=1)
        if len(others):
            cost = cost + self._nearness(place, candidates, following, others, moving, patience)
        cost = np.where(self._grid.free[cells], cost, np.inf)
        best = int(np.argmin(cost))
        return candidates[best] if np.isfinite(cost[best]) else np.zeros(2)

    def _nearness(self, place, candidates, following, others, moving, patience: float) -> np.ndarray:
        now = np.linalg.norm(place - others, axis=1)
        near = now < 2.0
        if not near.any():
            return np.zeros(len(candidates))
        others, moving, now = others[near], moving[near], now[near]
        apart = np.linalg.norm(following[:, None] - (others + moving * STEP_S), axis=2)
        later = place + candidates[:, None] * _LOOK_AHEAD_S - (others + moving * _LOOK_AHEAD_S)
        soon = np.minimum(apart, np.linalg.norm(later, axis=2))
        limit = _SQUEEZED_APART_M + patience * (_BODY_APART_M - _SQUEEZED_APART_M)
        # Who is too near already may only get away.
        blocked = (apart < np.minimum(limit, now + 1e-3)).any(axis=1)
        unease = patience * _NEARNESS_COST * (np.maximum(_COMFORT_M - soon, 0.0) ** 2).sum(axis=1)
        return np.where(blocked & (np.linalg.norm(candidates, axis=1) > 0), 1e3, unease)

    def cells(self, points: np.ndarray) -> np.ndarray:
        index = np.round((points - self._low) / CELL_M).astype(int)
        index = np.clip(index, 0, np.array(self._grid.shape) - 1)
        return index[:, 0] * self._grid.shape[1] + index[:, 1]
