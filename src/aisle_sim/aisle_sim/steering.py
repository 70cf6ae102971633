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
#: Nobody comes nearer to another than this by his own step, m, middle to middle: first, and after waiting in vain. The latter is where
#: Hall, "The Hidden Dimension" (1966), sees the border of the intimate distance that strangers keep out of, and how wide a body is at the
#: shoulders (Fruin, "Pedestrian Planning and Design", 1971: an ellipse of 0.46 x 0.61 m with clothes and room to sway).
_BODY_APART_M = 0.5
_CROWDED_APART_M = 0.45
#: Who walks around others takes way through where they stand as longer by this, m: they may go, and meanwhile one waits.
_BLOCKED_COST_M = 4.0
_DETOUR_REACH_M = 3.0
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
        return self._finite(self._grid.walking_distances(cell))

    @staticmethod
    def _finite(distances: np.ndarray) -> np.ndarray:
        return np.nan_to_num(distances, posinf=_UNREACHABLE_M).astype(np.float32)

    def around(self, place: np.ndarray, goal: int, others: np.ndarray) -> np.ndarray:
        """Walked metres [cells] to a cell from all others, ways through bodies ``others`` [N, 2] near ``place`` counted as long."""
        near = others[np.linalg.norm(others - place, axis=1) < _DETOUR_REACH_M]
        blocked = np.zeros(len(self._grid.points), dtype=bool)
        for other in near:
            blocked |= np.linalg.norm(self._grid.points - other, axis=1) < _CROWDED_APART_M
        return self._finite(self._grid.walking_distances(goal, _BLOCKED_COST_M * blocked))

    def step(
        self,
        place: np.ndarray,
        velocity: np.ndarray,
        goal: int,
        others: np.ndarray,
        moving: np.ndarray,
        patience: float,
        field: np.ndarray | None = None,
    ) -> np.ndarray:
        """The velocity [2] m/s for the next STEP_S from ``place`` towards the cell ``goal``.

        ``others`` [N, 2]: the other bodies, ``moving`` [N, 2] their velocities. ``patience`` 1 .. 0: how much room others are given.
        ``field`` [cells]: walked metres to the goal, if not the shortest ones (``around``).
        """
        field = self.distances(goal) if field is None else field
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
        # Who is in and not on his way out does not give way through a gate.
        stays = self._grid.inside[self.cells(place)] and self._grid.inside[goal]
        cost = np.where(self._grid.free[cells] & (self._grid.inside[cells] | (not stays)), cost, np.inf)
        best = int(np.argmin(cost))
        return candidates[best] if np.isfinite(cost[best]) else np.zeros(2)

    def _nearness(self, place, candidates, following, others, moving, patience: float) -> np.ndarray:
        now = np.linalg.norm(place - others, axis=1)
        near = now < 2.0
        if not near.any():
            return np.zeros(len(candidates))
        others, moving, now = others[near], moving[near], now[near]
        # Where they are and where they are going: they may stop, too.
        apart = np.minimum(*(np.linalg.norm(following[:, None] - at, axis=2) for at in (others, others + moving * STEP_S)))
        later = place + candidates[:, None] * _LOOK_AHEAD_S - (others + moving * _LOOK_AHEAD_S)
        soon = np.minimum(apart, np.linalg.norm(later, axis=2))
        limit = _CROWDED_APART_M + patience * (_BODY_APART_M - _CROWDED_APART_M)
        # Who is too near already may only get away.
        blocked = (apart < np.minimum(limit, now + 1e-3)).any(axis=1)
        unease = patience * _NEARNESS_COST * (np.maximum(_COMFORT_M - soon, 0.0) ** 2).sum(axis=1)
        return np.where(blocked & (np.linalg.norm(candidates, axis=1) > 0), 1e3, unease)

    def cells(self, points: np.ndarray) -> np.ndarray:
        index = np.round((points - self._low) / CELL_M).astype(int)
        index = np.clip(index, 0, np.array(self._grid.shape) - 1)
        return index[..., 0] * self._grid.shape[1] + index[..., 1]
