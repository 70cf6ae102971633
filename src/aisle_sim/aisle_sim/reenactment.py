"""Plays a labelled session: when each person comes in, walks, stands, reaches with a hand to the labelled plates, and leaves.

Times are seconds from the start of the simulated session. Labels have whole seconds and say when something was taken, so the hand is
at the plates at the labelled time plus ``lead_in_s``, which makes room for coming in.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from scipy.ndimage import gaussian_filter1d

from aisle_contract.records import GateEventKind
from aisle_sim import body
from aisle_sim.enacted_events import EnactedEvent
from aisle_sim.floor_motion import STEP_S, GatePassage, Itinerary, NoWayError, Stay, WalkableGrid, plan_paths
from aisle_sim.profiles import HandsProfile
from aisle_sim.random_streams import random_stream
from aisle_store.store import GateKind, PlateKey, Store

EMPTY_BEFORE_S = 3.0
EMPTY_AFTER_S = 5.0
#: Several pieces of one label follow one another in the hand.
PIECE_DELAY_S = 0.12
_WALK_SPEED = 1.1
_HURRY_SPEED = 3.0
#: Apart at a gate, s.
_GATE_HEADWAY_S = 1.5
#: A hand needs this long from one plate to the next, and per metre in addition, s.
_HAND_PAUSE_S = 0.6
_HAND_S_PER_M = 0.25
_ARRIVE_EARLY_S = 0.4
_REACH_S = 0.5
_BEND_S = 0.7
_SHORTEST_DWELL_S = 0.15
#: Standing place: distance of the body's middle from the plates' front edge, m; and sideways.
_STANDING_DISTANCES_M = (0.33, 0.43, 0.53)
_SIDEWAYS_M = tuple(np.arange(-6, 7) * 0.1)
_SIDE_BY_SIDE_M = 0.45
_COMFORTABLE_GAP_M = 0.6
_GRID_S = 0.05
#: Action of a reach in which a hand touches goods and leaves them.
TOUCH = "touch"
_GRIDS: WeakKeyDictionary[Store, WalkableGrid] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Reach:
    """One hand at plates. The hand comes to rest there at ``time_s - hold_s``; goods begin to move at ``time_s``, one piece
    PIECE_DELAY_S after the other, and each has moved after ``lift_s``. ``target`` float64 [3] m: where the wrist is then;
    ``facing`` rad: the heading into the shelf; ``approach_s``: how long the hand is on its way there. No products: he only stands there."""

    time_s: float
    hold_s: float
    lift_s: float
    person: str
    action: str
    plates: tuple[PlateKey, ...]
    products: tuple[str, ...]
    target: np.ndarray
    facing: float
    left_hand: bool = False
    squat: float = 0.0
    lean: float = 0.0
    approach_s: float = _REACH_S

    @property
    def start_s(self) -> float:
        """When the hand touches the plates."""
        return self.time_s - self.hold_s

    @property
    def end_s(self) -> float:
        """When the hand leaves."""
        return self.time_s + self.lift_s + PIECE_DELAY_S * max(len(self.products) - 1, 0)

    @property
    def moves_hand(self) -> bool:
        return bool(self.products) or self.action == TOUCH

    def near(self, times: np.ndarray, back_s: float) -> bool:
        """Whether the hand is on its way there, there, or on its way back (which takes ``back_s``) at any of ``times``, increasing."""
        return len(times) > 0 and self.start_s - 2 * self.approach_s <= times[-1] and times[0] <= self.end_s + back_s + 0.2


@dataclass(frozen=True)
class GateCrossing:
    time_s: float
    gate: str
    kind: GateEventKind
    person: str


class ShopperMotion:
    """One person's body over time: defined between ``first_s`` and ``last_s``, when he is in or just outside the store."""

    def __init__(
        self, person: str, stature: float, first_s: float, path: np.ndarray, reaches: Sequence[Reach], stays: Sequence[tuple]
    ) -> None:
        self.person = person
        self.stature = stature
        self.first_s = first_s
        self.last_s = first_s + (len(path) - 1) * STEP_S
        self.reaches = tuple(reaches)
        self._times = np.arange(first_s, self.last_s + _GRID_S / 2, _GRID_S)
        coarse = first_s + STEP_S * np.arange(len(path))
        self._position = np.column_stack([np.interp(self._times, coarse, path[:, axis]) for axis in (0, 1)])
        velocity = np.gradient(self._position, _GRID_S, axis=0)
        self._speed = gaussian_filter1d(np.linalg.norm(velocity, axis=1), 2.0, mode="nearest")
        self._walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self._position, axis=0), axis=1))])
        self._heading = self._headings(velocity, stays)
        self.reaches = tuple(self._bent(reach) for reach in self.reaches)

    def _headings(self, velocity: np.ndarray, stays: Sequence[tuple[float, float, float]]) -> np.ndarray:
        """Unwrapped heading: where he walks; at a shelf, and on the last steps to it, towards the shelf."""
        moving = np.linalg.norm(velocity, axis=1) > 0.35
        known = np.where(moving, np.arange(len(velocity)), -1)
        last_moving = np.maximum.accumulate(known)
        first_moving = int(np.argmax(moving)) if moving.any() else 0
        last_moving = np.where(last_moving < 0, first_moving, last_moving)
        direction = np.arctan2(velocity[last_moving, 1], velocity[last_moving, 0])
        for start, end, facing in stays:
            direction[(self._times >= start - 0.3) & (self._times <= end)] = facing
        turned = gaussian_filter1d(np.exp(1j * direction).view(float).reshape(-1, 2), 0.15 / _GRID_S, axis=0, mode="nearest")
        return np.unwrap(np.arctan2(turned[:, 1], turned[:, 0]))

    def _bent(self, reach: Reach) -> Reach:
        """The reach with the hand on the target's side and the squat and lean it takes."""
        position = self.position(np.array([reach.time_s]))[0]
        heading = float(np.interp(reach.time_s, self._times, self._heading))
        side = (reach.target[:2] - position) @ [-np.sin(heading), np.cos(heading)]
        left_hand = bool(side > 0.05)
        squat, lean = body.bend_to_reach(position, heading, self.stature, reach.target, left_hand)
        return replace(reach, left_hand=left_hand, squat=squat, lean=lean)

    def with_gesture(self, reach: Reach) -> ShopperMotion:
        """The same person who also reaches somewhere without taking anything from a shelf."""
        other = copy.copy(self)
        other.reaches = tuple(sorted((*self.reaches, self._bent(reach)), key=lambda reach: reach.time_s))
        return other

    def present(self, times: np.ndarray) -> np.ndarray:
        """bool [T]."""
        return (times >= self.first_s) & (times <= self.last_s)

    def position(self, times: np.ndarray) -> np.ndarray:
        """Floor positions [T, 2] m."""
        return np.column_stack([np.interp(times, self._times, self._position[:, axis]) for axis in (0, 1)])

    def posture(self, times: np.ndarray) -> body.Posture:
        squat, lean = np.zeros(len(times)), np.full(len(times), 0.04)
        for reach in self.reaches:
            if not reach.near(times, _BEND_S):
                continue
            share = _ramp(times, reach.start_s - reach.approach_s * _BEND_S / _REACH_S, reach.start_s - 0.1, reach.end_s + 0.1, _BEND_S)
            squat, lean = (1 - share) * squat + share * reach.squat, (1 - share) * lean + share * reach.lean
        return body.Posture(
            position=self.position(times),
            heading=np.interp(times, self._times, self._heading),
            squat=squat,
            lean=lean,
            walked=np.interp(times, self._times, self._walked),
            speed=np.interp(times, self._times, self._speed),
        )

    def wrists(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Left and right wrist [T, 3] m."""
        return self._wrists(times, self.posture(times))

    def keypoints(self, times: np.ndarray) -> np.ndarray:
        """COCO-17 keypoints [T, 17, 3] m."""
        posture = self.posture(times)
        return body.keypoints(posture, self.stature, *self._wrists(times, posture))

    def _wrists(self, times: np.ndarray, posture: body.Posture) -> tuple[np.ndarray, np.ndarray]:
        wrists = list(body.hanging_wrists(posture, self.stature))
        for reach in self.reaches:
            if not reach.moves_hand or not reach.near(times, _REACH_S):
                continue
            share = _ramp(times, reach.start_s - reach.approach_s, reach.start_s, reach.end_s, _REACH_S)[:, None]
            hand = 0 if reach.left_hand else 1
            wrists[hand] = (1 - share) * wrists[hand] + share * reach.target
        return wrists[0], wrists[1]


@dataclass(frozen=True, eq=False)
class Reenactment:
    """All that happens in one session. ``lead_in_s``: session time of a label = its ``t_s`` + ``lead_in_s``."""

    shoppers: tuple[ShopperMotion, ...]
    crossings: tuple[GateCrossing, ...]
    lead_in_s: float
    duration_s: float
    warnings: tuple[str, ...]

    @property
    def reaches(self) -> tuple[Reach, ...]:
        """All reaches of all persons by time."""
        return tuple(sorted((reach for shopper in self.shoppers for reach in shopper.reaches), key=lambda r: (r.time_s, r.person)))


def reenact(store: Store, session: str, events: Sequence[EnactedEvent], hands: HandsProfile, seed: int) -> Reenactment:
    """Plans and plays the events of one session (``EnactedEvent``s by time).

    Raises NoWayError where the store's gates, floor and shelves leave no way, and ValueError for a store without a way in or out.
    """
    if not events:
        return Reenactment((), (), EMPTY_BEFORE_S, EMPTY_BEFORE_S + EMPTY_AFTER_S, ())
    rng = random_stream(seed, "reenactment", session)
    return _Planner(store, events, hands, rng).plan()


class _Planner:
    """One planning run; times are relative to the first label until ``plan`` shifts them."""

    def __init__(self, store: Store, events: Sequence[EnactedEvent], hands: HandsProfile, rng: np.random.Generator) -> None:
        self.store = store
        self.grid = walkable_grid(store)
        self.hands = hands
        self.rng = rng
        self.warnings: list[str] = []
        self.entrance, self.exit = entrance_and_exit(store, self.grid)
        self.persons = list(dict.fromkeys(event.person for event in events))
        self.events = {person: [event for event in events if event.person == person] for person in self.persons}
        self.reaches: dict[str, list[Reach]] = {}
        self.cells: dict[str, list[int]] = {}

    def plan(self) -> Reenactment:
        for person in self.persons:
            self.reaches[person] = [self._reach(event) for event in self.events[person]]
        self._choose_places()
        for person in self.persons:
            self._settle_times(person)
        self._shorten_where_others_come()
        entries, exits = self._gate_times()
        lead_in = EMPTY_BEFORE_S - min(entries.values())
        # Whole steps, so that the paths' grid in time starts with the session.
        lead_in = float(np.ceil(lead_in / STEP_S) * STEP_S)
        itineraries = [self._itinerary(person, entries[person] + lead_in, exits[person] + lead_in, lead_in) for person in self.persons]
        paths = plan_paths(self.grid, itineraries)
        shoppers = tuple(
            self._motion(person, itinerary, path, lead_in) for person, itinerary, path in zip(self.persons, itineraries, paths, strict=True)
        )
        crossings = [crossing for shopper in shoppers for crossing in gate_crossings(self.entrance, self.exit, shopper)]
        duration = max(shopper.last_s for shopper in shoppers) + EMPTY_AFTER_S
        return Reenactment(
            shoppers, tuple(sorted(crossings, key=lambda c: (c.time_s, c.person))), lead_in, float(duration), tuple(self.warnings)
        )

    def _reach(self, event: EnactedEvent) -> Reach:
        target, facing = hand_target(self.store, event.plates, self.rng)
        return Reach(
            time_s=event.t_s + self.rng.normal(0.0, 0.05),
            hold_s=0.0,
            lift_s=float(self.rng.uniform(self.hands.quick_lift_min_s, self.hands.quick_lift_max_s)),
            person=event.person,
            action=event.action,
            plates=event.plates,
            products=event.products,
            target=target,
            facing=facing,
        )

    def _choose_places(self) -> None:
        """A standing cell for each reach, in the order of time: in front of the plates, beside whoever else stands there then."""
        taken: list[tuple[float, str, int]] = []
        last: dict[str, tuple[float, int]] = {}
        self.cells = {person: [] for person in self.persons}
        for reach in sorted(
            (r for reaches in self.reaches.values() for r in reaches), key=lambda r: (r.time_s, self.persons.index(r.person))
        ):
            cell = self._place(reach, last.get(reach.person), [c for t, p, c in taken if p != reach.person and abs(t - reach.time_s) < 2.0])
            taken.append((reach.time_s, reach.person, cell))
            last[reach.person] = (reach.time_s, cell)
            self.cells[reach.person].append(cell)

    def _place(self, reach: Reach, previous: tuple[float, int] | None, others: Sequence[int]) -> int:
        forward = np.array([np.cos(reach.facing), np.sin(reach.facing)])
        left = np.array([-forward[1], forward[0]])
        front = self.store.plate(*reach.plates[0]).front[:2]
        front = reach.target[:2] - ((reach.target[:2] - front) @ forward) * forward
        best, best_cost = -1, np.inf
        for distance in _STANDING_DISTANCES_M:
            for sideways in _SIDEWAYS_M:
                cell = self.grid.nearest_free(front - distance * forward + sideways * left)
                at = self.grid.points[cell]
                missed = np.linalg.norm(at - front + _STANDING_DISTANCES_M[0] * forward)
                cost = 6.0 * missed**2 + self.rng.uniform(0.0, 0.1)
                if previous is not None:
                    gap = max(reach.time_s - previous[0], 0.3)
                    cost += 1.5 * np.linalg.norm(at - self.grid.points[previous[1]]) / gap
                for other in others:
                    apart = np.linalg.norm(at - self.grid.points[other])
                    cost += 100.0 * (apart < _SIDE_BY_SIDE_M) + 2.0 * (apart < _COMFORTABLE_GAP_M)
                if cost < best_cost:
                    best, best_cost = cell, cost
        return best

    def _settle_times(self, person: str) -> None:
        """Puts reaches of one person after one another as fast as a hand and legs can, and lets some take longer where there is time."""
        reaches, cells = self.reaches[person], self.cells[person]
        pauses = [0.0]
        for i in range(1, len(reaches)):
            pause = self._least_pause(reaches[i - 1], reaches[i], cells[i - 1], cells[i])
            pauses.append(pause)
            earliest = reaches[i - 1].time_s + pause
            if reaches[i].time_s < earliest:
                late = earliest - self.events[person][i].t_s
                if late > 0.5:
                    self.warnings.append(
                        f"person '{person}': {late:.1f} s late at {'/'.join(reaches[i].plates[0])}: labelled too soon after the last"
                    )
                reaches[i] = replace(reaches[i], time_s=earliest)
        for i, reach in enumerate(reaches):
            before = reach.time_s - reaches[i - 1].end_s - pauses[i] if i else np.inf
            after = reaches[i + 1].time_s - reach.time_s - pauses[i + 1] - 0.3 if i + 1 < len(reaches) else np.inf
            reaches[i] = self._with_patience(reach, before, after, reaches[i].time_s - reaches[i - 1].end_s if i else np.inf)

    def _least_pause(self, reach: Reach, following: Reach, cell: int, next_cell: int) -> float:
        walk = float(self.grid.walking_distances(cell)[next_cell])
        if not np.isfinite(walk):
            raise NoWayError(f"no way from {'/'.join(reach.plates[0])} to {'/'.join(following.plates[0])}")
        hand = float(np.linalg.norm(reach.target - following.target))
        pause = max(_HAND_PAUSE_S + _HAND_S_PER_M * min(hand, 1.0), reach.lift_s + 0.4)
        return pause + (walk / _HURRY_SPEED + 2 * _SHORTEST_DWELL_S if walk > 1e-6 else 0.0)

    def _with_patience(self, reach: Reach, before: float, after: float, gap: float) -> Reach:
        hold = lift = 0.0
        if self.rng.random() < self.hands.held_share:
            hold = min(self.rng.uniform(self.hands.held_min_s, self.hands.held_max_s), before)
        if self.rng.random() < self.hands.slow_share:
            lift = min(self.rng.uniform(self.hands.slow_lift_min_s, self.hands.slow_lift_max_s), after)
        approach = min(_REACH_S, 0.6 * (gap - hold)) if np.isfinite(gap) else _REACH_S
        is_pick = reach.action == "pick" and bool(reach.products)
        return replace(
            reach,
            hold_s=max(hold, 0.0) if is_pick else 0.0,
            lift_s=max(lift, reach.lift_s) if is_pick else reach.lift_s,
            approach_s=max(approach, 0.1),
        )

    def _shorten_where_others_come(self) -> None:
        """Nobody rests his hand or lifts slowly at a place that somebody else needs meanwhile."""
        for person in self.persons:
            for i, reach in enumerate(self.reaches[person]):
                if any(self._in_the_way(reach, self.cells[person][i], other) for other in self.persons if other != person):
                    self.reaches[person][i] = replace(reach, hold_s=0.0, lift_s=min(reach.lift_s, self.hands.quick_lift_max_s))

    def _in_the_way(self, reach: Reach, cell: int, other: str) -> bool:
        margin = 2 * _ARRIVE_EARLY_S
        return any(
            np.linalg.norm(self.grid.points[cell] - self.grid.points[other_cell]) < _COMFORTABLE_GAP_M
            and reach.start_s - margin < theirs.end_s
            and theirs.start_s < reach.end_s + margin
            for theirs, other_cell in zip(self.reaches[other], self.cells[other], strict=True)
        )

    def _gate_times(self) -> tuple[dict[str, float], dict[str, float]]:
        """When each person appears outside the entrance and vanishes outside the exit; apart from one another at the gates."""
        outside_in, outside_out = (self.grid.nearest_free(passage.outside) for passage in (self.entrance, self.exit))
        distance_in, distance_out = self.grid.walking_distances(outside_in), self.grid.walking_distances(outside_out)
        entries, exits = {}, {}
        for person in self.persons:
            way_in, way_out = distance_in[self.cells[person][0]], distance_out[self.cells[person][-1]]
            for way, gate in ((way_in, self.entrance.gate.gate), (way_out, self.exit.gate.gate)):
                if not np.isfinite(way):
                    raise NoWayError(f"no way between gate '{gate}' and the plates that person '{person}' goes to")
            first, last = self.reaches[person][0], self.reaches[person][-1]
            entries[person] = first.start_s - way_in / _WALK_SPEED - 1.0 - self.rng.uniform(0.5, 2.5)
            exits[person] = last.end_s + way_out / _WALK_SPEED + 1.0 + self.rng.uniform(0.5, 2.5)
        _space_out(entries, earlier=True)
        _space_out(exits, earlier=False)
        return entries, exits

    def _itinerary(self, person: str, entry_s: float, exit_s: float, lead_in: float) -> Itinerary:
        outside_in, outside_out = (self.grid.nearest_free(passage.outside) for passage in (self.entrance, self.exit))
        stays = [Stay(outside_in, round(entry_s / STEP_S), round(entry_s / STEP_S))]
        reaches, cells = self.reaches[person], self.cells[person]
        for i, (reach, cell) in enumerate(zip(reaches, cells, strict=True)):
            until_next = reaches[i + 1].start_s - reach.end_s if i + 1 < len(reaches) else np.inf
            since_last = reach.start_s - reaches[i - 1].end_s if i else np.inf
            before = _dwell(self.grid, cells[i - 1] if i else None, cell, since_last)
            after = _dwell(self.grid, cell, cells[i + 1] if i + 1 < len(cells) else None, until_next)
            first = max(int((reach.start_s + lead_in - before) / STEP_S), stays[-1].last)
            last = int(np.ceil((reach.end_s + lead_in + after) / STEP_S))
            if stays[-1].cell == cell and first <= stays[-1].last:
                stays[-1] = Stay(cell, stays[-1].first, last)
            else:
                stays.append(Stay(cell, max(first, stays[-1].last + 1), max(last, stays[-1].last + 1)))
        end = max(round(exit_s / STEP_S), stays[-1].last + 1)
        stays.append(Stay(outside_out, end, end))
        late = tuple(bool(self.rng.random() < 0.3) for _ in stays[1:])
        return Itinerary(tuple(stays), late)

    def _motion(self, person: str, itinerary: Itinerary, path: np.ndarray, lead_in: float) -> ShopperMotion:
        stature = float(np.clip(self.rng.normal(1.72, 0.09), 1.50, 1.98))
        reaches = [replace(reach, time_s=reach.time_s + lead_in) for reach in self.reaches[person]]
        facings = self._looking_times(itinerary, path, reaches)
        # Nobody waits outside: he appears when he sets off and is gone when he gets there.
        away = [np.flatnonzero(np.linalg.norm(path - end, axis=1) > 0.02) for end in (path[0], path[-1])]
        start, end = max(int(away[0][0]) - 1, 0), min(int(away[1][-1]) + 2, len(path))
        return ShopperMotion(person, stature, (itinerary.first + start) * STEP_S, path[start:end], reaches, facings)

    def _looking_times(self, itinerary: Itinerary, path: np.ndarray, reaches: Sequence[Reach]) -> list[tuple[float, float, float]]:
        """(start, end, heading) of facing a shelf: from when he has come close to the standing place until the hand is back."""
        times = STEP_S * (itinerary.first + np.arange(len(path)))
        facings = []
        for reach, cell in zip(reaches, self.cells[reaches[0].person], strict=True):
            away = np.linalg.norm(path - self.grid.points[cell], axis=1) > 0.25
            away &= times < reach.start_s
            arrived = times[np.flatnonzero(away)[-1]] if away.any() else times[0]
            # The body turns to what is beside the standing place.
            offset = reach.target[:2] - self.grid.points[cell]
            towards = np.arctan2(offset[1], offset[0])
            turn = np.clip((towards - reach.facing + np.pi) % (2 * np.pi) - np.pi, -0.6, 0.6)
            facings.append((float(arrived), reach.end_s + 0.25, reach.facing + 0.5 * float(turn)))
        return facings


def hand_target(store: Store, plates: Sequence[PlateKey], rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Where a wrist goes for things on ``plates`` of one shelf, float64 [3] m, and the heading (rad) into the shelf."""
    named = [store.plate(*key) for key in plates]
    into_shelf = np.mean([plate.pose[:2, 1] for plate in named], axis=0)
    into_shelf /= np.linalg.norm(into_shelf)
    front = np.mean([plate.front for plate in named], axis=0)
    nearest = min(named, key=lambda plate: float(np.linalg.norm(plate.front - front)))
    along = np.clip(rng.normal(0.0, 0.02), -0.04, 0.04) * nearest.pose[:3, 0]
    depth = rng.uniform(0.02, 0.14)
    height = rng.uniform(0.02, 0.045)
    # Between two plates the hand is over their common edge; of plates far apart it goes to the one in the middle.
    centre = front if np.linalg.norm(nearest.front - front) <= 0.75 * nearest.width else nearest.front
    return centre + along + np.append(depth * into_shelf, height), float(np.arctan2(into_shelf[1], into_shelf[0]))


def gate_crossings(entrance: GatePassage, way_out: GatePassage, shopper: ShopperMotion) -> list[GateCrossing]:
    """When somebody passes the entrance and, for the last time, the exit."""
    times = np.arange(shopper.first_s, shopper.last_s, 0.01)
    points = shopper.position(times)
    inside = entrance.depth(points) > 0
    entered = times[int(np.argmax(inside))]
    outside = way_out.depth(points) > 0
    left = times[len(outside) - 1 - int(np.argmax(outside[::-1]))]
    return [
        GateCrossing(float(entered), entrance.gate.gate, GateEventKind.ENTRY, shopper.person),
        GateCrossing(float(left), way_out.gate.gate, GateEventKind.EXIT, shopper.person),
    ]


def entrance_and_exit(store: Store, grid: WalkableGrid) -> tuple[GatePassage, GatePassage]:
    """The first gate for coming in and the first for going out. ValueError for a store without them."""
    entrance = _passage(store, grid, (GateKind.ENTRANCE, GateKind.BOTH), "entrance")
    return entrance, _passage(store, grid, (GateKind.EXIT, GateKind.BOTH), "exit")


def _passage(store: Store, grid: WalkableGrid, kinds: tuple[GateKind, ...], purpose: str) -> GatePassage:
    for gate in store.gates.values():
        if gate.kind in kinds:
            return grid.passages[gate.gate]
    raise ValueError(f"store '{store.name}': no gate is an {purpose}, expected one of kind {' or '.join(kind.value for kind in kinds)}")


def walkable_grid(store: Store) -> WalkableGrid:
    """The store's grid, made once per store: sessions and seeds share it."""
    if store not in _GRIDS:
        _GRIDS[store] = WalkableGrid(store)
    return _GRIDS[store]


def _dwell(grid: WalkableGrid, cell: int | None, next_cell: int | None, gap: float) -> float:
    """Seconds to stand at a place before or after a reach, less where the gap to the neighbouring reach is short."""
    if cell is None or next_cell is None or cell == next_cell:
        return _ARRIVE_EARLY_S
    walk = float(np.linalg.norm(grid.points[cell] - grid.points[next_cell])) / _WALK_SPEED
    return float(np.clip((gap - walk) / 2, _SHORTEST_DWELL_S, _ARRIVE_EARLY_S))


def _space_out(times: dict[str, float], earlier: bool) -> None:
    """Moves times earlier (or later) until all are a gate's headway apart."""
    ordered = sorted(times, key=lambda person: times[person], reverse=earlier)
    for previous, person in pairwise(ordered):
        if earlier:
            times[person] = min(times[person], times[previous] - _GATE_HEADWAY_S)
        else:
            times[person] = max(times[person], times[previous] + _GATE_HEADWAY_S)


def _ramp(times: np.ndarray, start: float, full: float, until: float, back_s: float) -> np.ndarray:
    """0 before ``start``, 1 from ``full`` to ``until``, 0 again ``back_s`` later; in between the minimum-jerk profile
    (Flash and Hogan, J. Neuroscience 1985)."""
    rise = np.clip((times - start) / max(full - start, 1e-6), 0, 1)
    fall = np.clip((times - until) / back_s, 0, 1)
    return _minimum_jerk(rise) * (1 - _minimum_jerk(fall))


def _minimum_jerk(x: np.ndarray) -> np.ndarray:
    return x**3 * (10 - 15 * x + 6 * x**2)
