"""Where people can walk in a store, and timed paths for several of them that do not pass through one another.

Paths come from dynamic programming on a grid in space and time, one person after the other (prioritised planning: Erdmann and
Lozano-Perez, "On multiple moving objects", Algorithmica 1987), with a second round in which each plans again around all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from aisle_store.store import Gate, Store

CELL_M = 0.1
STEP_S = 0.1
BODY_RADIUS_M = 0.25
#: How far outside a gate people appear and vanish.
OUTSIDE_M = 1.0
_GATE_DEPTH_M = 1.0
_COMFORTABLE_SPEED = 1.2
_HURRIED_SPEED = 2.0
_LARGEST_MOVE_CELLS = 4
_SMOOTHING_S = 0.12
#: Cost per step of standing nearer to another person than the distance (m).
_NEARNESS_COSTS = ((0.75, 0.05), (0.6, 3.0), (0.42, 1000.0))
_UNREACHABLE = np.float32(1e9)


class NoWayError(ValueError):
    """Somebody cannot get where he has to be; the text says from where to where."""


@dataclass(frozen=True)
class GatePassage:
    """How people go through a gate. ``outward`` float64 [2] unit vector; points float64 [2] m."""

    gate: Gate
    outward: np.ndarray

    @property
    def outside(self) -> np.ndarray:
        return self.gate.centre + OUTSIDE_M * self.outward

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Signed distance [N] m of points [N, 2] from the gate's line, positive inside."""
        return -(points - self.gate.centre) @ self.outward


def gate_passage(store: Store, gate: Gate) -> GatePassage:
    """The side of a gate that is not the shop floor is outside."""
    along = gate.ends[1] - gate.ends[0]
    normal = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    probes = np.array([0.2, 0.4, 0.6, 0.8, 1.0])[:, None] * normal
    floor_ahead = np.count_nonzero(store.on_floor(gate.centre + probes))
    floor_behind = np.count_nonzero(store.on_floor(gate.centre - probes))
    if floor_ahead != floor_behind:
        return GatePassage(gate, normal if floor_ahead < floor_behind else -normal)
    towards_floor = store.floor.mean(axis=0) - gate.centre
    return GatePassage(gate, -normal if normal @ towards_floor > 0 else normal)


def rectangle_distance(pose: np.ndarray, width: float, depth: float, points: np.ndarray) -> np.ndarray:
    """Distances [N] m of floor points [N, 2] from the footprint of a box that stands upright at ``pose`` [4, 4]; 0 inside."""
    axes = pose[:2, :2]
    local = np.linalg.solve(axes, (points - pose[:2, 3]).T).T
    nearest = np.clip(local, 0.0, [width, depth])
    return np.linalg.norm((local - nearest) @ axes.T, axis=1)


def obstacle_distance(store: Store, points: np.ndarray) -> np.ndarray:
    """Distances [N] m of floor points [N, 2] from the nearest shelf or gondola; infinite in a store without any."""
    boxes = [*store.gondolas.values(), *store.shelves()]
    distances = [rectangle_distance(box.pose, box.width, box.depth, points) for box in boxes]
    return np.min(distances, axis=0) if distances else np.full(len(points), np.inf)


@dataclass(frozen=True, eq=False)
class Stay:
    """Somebody has to be at ``cell`` from ``first`` to ``last`` (steps, inclusive)."""

    cell: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Itinerary:
    """One person's timed obligations: in at the first stay, out at the last. ``late`` per leg: True = waits before walking."""

    stays: tuple[Stay, ...]
    late: tuple[bool, ...]

    @property
    def first(self) -> int:
        return self.stays[0].first

    @property
    def last(self) -> int:
        return self.stays[-1].last


class WalkableGrid:
    """Cells of CELL_M on which a body's middle may be (``free``): the floor without what stands on it, and the ways through the gates.

    ``inside`` bool [cells]: on the shop floor.
    """

    def __init__(self, store: Store) -> None:
        self.passages = {gate.gate: gate_passage(store, gate) for gate in store.gates.values()}
        corners = np.vstack([store.floor, *(p.outside[None] for p in self.passages.values())])
        self._low = np.floor(corners.min(axis=0) / CELL_M - 3) * CELL_M
        self.shape = tuple(int(n) for n in np.ceil((corners.max(axis=0) - self._low) / CELL_M + 3))
        rows, columns = np.indices(self.shape)
        self.points = self._low + CELL_M * np.column_stack([rows.ravel(), columns.ravel()])
        free = store.on_floor(self.points, margin=-BODY_RADIUS_M)
        for passage in self.passages.values():
            free |= self._in_passage(passage)
        self.free = free & (obstacle_distance(store, self.points) >= BODY_RADIUS_M)
        self.inside = store.on_floor(self.points)

    def _in_passage(self, passage: GatePassage) -> np.ndarray:
        half = np.linalg.norm(passage.gate.ends[1] - passage.gate.ends[0]) / 2
        offset = self.points - passage.gate.centre
        along = np.abs(offset @ np.array([-passage.outward[1], passage.outward[0]]))
        depth = passage.depth(self.points)
        return (along <= max(half - 0.2, CELL_M)) & (depth >= -OUTSIDE_M - CELL_M) & (depth <= _GATE_DEPTH_M)

    def nearest_free(self, point: np.ndarray) -> int:
        """The free cell nearest to a point [2]."""
        distances = np.where(self.free, np.linalg.norm(self.points - point, axis=1), np.inf)
        return int(np.argmin(distances))

    def walking_distances(self, cell: int, extra: np.ndarray | None = None) -> np.ndarray:
        """Walked metres [cells] from a cell to all others, infinite where no way leads; ``extra`` [cells]: added to a step into a cell."""
        if extra is None or not extra.any():
            return dijkstra(self._graph, directed=False, indices=cell)
        starts, ends = self._graph.nonzero()
        longer = self._graph.copy()
        longer.data = longer.data + (extra[starts] + extra[ends]) / 2
        return dijkstra(longer, directed=False, indices=cell)

    @cached_property
    def _graph(self) -> coo_matrix:
        numbers = np.arange(len(self.points)).reshape(self.shape)
        free = self.free.reshape(self.shape)
        starts, ends, lengths = [], [], []
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            here = (slice(0, -dx or None), slice(max(-dy, 0), -dy if dy > 0 else None))
            there = (slice(dx, None), slice(max(dy, 0), dy if dy < 0 else None))
            linked = free[here] & free[there]
            starts.append(numbers[here][linked])
            ends.append(numbers[there][linked])
            lengths.append(np.full(np.count_nonzero(linked), CELL_M * np.hypot(dx, dy)))
        size = len(self.points)
        return coo_matrix((np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))), shape=(size, size)).tocsr()


def plan_paths(grid: WalkableGrid, itineraries: Sequence[Itinerary]) -> list[np.ndarray]:
    """Positions float64 [steps, 2] m of each person at every STEP_S from its first to its last stay.

    Raises NoWayError where an itinerary cannot be walked at any speed up to 4 m/s.
    """
    paths: list[np.ndarray | None] = [None] * len(itineraries)
    rounds = 2 if len(itineraries) > 1 else 1
    for _ in range(rounds):
        for i, itinerary in enumerate(itineraries):
            others = [(other, paths[j]) for j, other in enumerate(itineraries) if j != i]
            paths[i] = _plan_one(grid, itinerary, others)
    return [gaussian_filter1d(grid.points[path], _SMOOTHING_S / STEP_S, axis=0, mode="nearest") for path in paths]


def _moves() -> tuple[np.ndarray, np.ndarray]:
    """Shifts int [M, 2] in cells per step and their costs [M]: cheapest per metre at a comfortable speed, free to wait."""
    reach = np.arange(-_LARGEST_MOVE_CELLS, _LARGEST_MOVE_CELLS + 1)
    shifts = np.array([(x, y) for x in reach for y in reach if x * x + y * y <= _LARGEST_MOVE_CELLS**2])
    speeds = np.linalg.norm(shifts, axis=1) * CELL_M / STEP_S
    costs = np.where(speeds > 0, 1 + (speeds / _COMFORTABLE_SPEED) ** 2, 0.0) + 5 * np.maximum(speeds - _HURRIED_SPEED, 0) ** 2
    return shifts, costs


def _plan_one(grid: WalkableGrid, itinerary: Itinerary, others: Sequence[tuple[Itinerary, np.ndarray | None]]) -> np.ndarray:
    """Cells [steps] of the cheapest timed path: cost-to-go backwards over time, then followed forwards."""
    steps = itinerary.last - itinerary.first + 1
    shifts, move_costs = _moves()
    nearness = _nearness_costs(grid, itinerary, others)
    allowed = _allowed_cells(grid, itinerary)
    eagerness = _eagerness(itinerary)
    pad = _LARGEST_MOVE_CELLS
    padded = np.full((grid.shape[0] + 2 * pad, grid.shape[1] + 2 * pad), _UNREACHABLE, dtype=np.float32)
    inner = (slice(pad, pad + grid.shape[0]), slice(pad, pad + grid.shape[1]))
    to_go = np.empty((steps, *grid.shape), dtype=np.float32)
    for step in range(steps - 1, -1, -1):
        if step == steps - 1:
            best = np.zeros(grid.shape, dtype=np.float32)
        else:
            padded[inner] = to_go[step + 1]
            best = np.full(grid.shape, _UNREACHABLE, dtype=np.float32)
            for (dx, dy), cost in zip(shifts, move_costs * eagerness[step], strict=True):
                window = padded[pad + dx : pad + dx + grid.shape[0], pad + dy : pad + dy + grid.shape[1]]
                np.minimum(best, window + np.float32(cost), out=best)
        best = best + nearness[step].reshape(grid.shape)
        cell = allowed.get(step)
        free = grid.free if cell is None else np.arange(len(grid.points)) == cell
        to_go[step] = np.where(free.reshape(grid.shape), np.minimum(best, _UNREACHABLE), _UNREACHABLE)
    return _follow(grid, itinerary, to_go, shifts, move_costs, eagerness)


def _follow(grid, itinerary, to_go, shifts, move_costs, eagerness) -> np.ndarray:
    start = itinerary.stays[0].cell
    if to_go[0].ravel()[start] >= _UNREACHABLE:
        stops = " -> ".join(f"({x:.1f}, {y:.1f})" for x, y in grid.points[[stay.cell for stay in itinerary.stays]])
        raise NoWayError(f"no way in time through {stops}")
    here = np.array(np.unravel_index(start, grid.shape))
    cells = [start]
    for step in range(1, len(to_go)):
        ahead = here + shifts
        inside = ((ahead >= 0) & (ahead < grid.shape)).all(axis=1)
        costs = np.full(len(shifts), np.inf)
        costs[inside] = move_costs[inside] * eagerness[step - 1] + to_go[step][tuple(ahead[inside].T)]
        here = ahead[int(np.argmin(costs))]
        cells.append(int(np.ravel_multi_index(tuple(here), grid.shape)))
    return np.array(cells)


def _allowed_cells(grid: WalkableGrid, itinerary: Itinerary) -> dict[int, int]:
    """Step (from the itinerary's first) -> the one cell allowed then."""
    return {step - itinerary.first: stay.cell for stay in itinerary.stays for step in range(stay.first, stay.last + 1)}


def _eagerness(itinerary: Itinerary) -> np.ndarray:
    """Factor [steps] on the cost of moving, which grows over a leg for those who walk first and look then, or shrinks."""
    factors = np.ones(itinerary.last - itinerary.first + 1)
    for (left, reached), late in zip(pairwise(itinerary.stays), itinerary.late, strict=True):
        first, last = left.last - itinerary.first, reached.first - itinerary.first
        ramp = np.linspace(1.0, 1.4, max(last - first, 0))
        factors[first:last] = ramp[::-1] if late else ramp
    return factors


def _nearness_costs(grid: WalkableGrid, itinerary: Itinerary, others: Sequence[tuple[Itinerary, np.ndarray | None]]) -> np.ndarray:
    """Cost [steps, cells] of being near others: along their paths where planned, else at their stays. Looks one step around."""
    costs = np.zeros((itinerary.last - itinerary.first + 1, len(grid.points)), dtype=np.float32)
    around: dict[int, np.ndarray] = {}
    for other, path in others:
        for step in range(max(other.first, itinerary.first), min(other.last, itinerary.last) + 1):
            for cell in _cells_around(other, path, step):
                if cell not in around:
                    distance = np.linalg.norm(grid.points - grid.points[cell], axis=1)
                    around[cell] = sum(np.float32(cost) * (distance < limit) for limit, cost in _NEARNESS_COSTS)
                costs[step - itinerary.first] += around[cell]
    return costs


def _cells_around(itinerary: Itinerary, path: np.ndarray | None, step: int) -> list[int]:
    around = range(step - 1, step + 2)
    if path is not None:
        return sorted({int(path[s - itinerary.first]) for s in around if itinerary.first <= s <= itinerary.last})
    return sorted({stay.cell for stay in itinerary.stays if stay.first <= step + 1 and stay.last >= step - 1})
