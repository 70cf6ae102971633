"""A crowd in a store: who comes, walks, stands, takes, puts back, hands over, refills. Time goes on in steps of STEP_S.

People decide by themselves, each from random numbers of his own, among those who are there. What comes out are whole visits: the body's
motion, the contacts with shelves, and the truth, what he leaves with. The policy of the truth: a thing belongs to who took it from a
shelf until somebody puts it on a shelf again; handed over or left on the floor it stays with who took it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np

from aisle_contract.records import STAFF_PREFIX
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.floor_motion import STEP_S
from aisle_sim.profiles import SensorProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import (
    PIECE_DELAY_S,
    TOUCH,
    GateCrossing,
    Reach,
    ShopperMotion,
    entrance_and_exit,
    gate_crossings,
    hand_target,
    walkable_grid,
)
from aisle_sim.shelf_contacts import LoadChange, Piece, ShelfContact
from aisle_sim.shelf_stock import Facing, ShelfStock, StandingPiece
from aisle_sim.steering import Steering
from aisle_sim.true_events import TrueEvent, true_event
from aisle_store.store import PlateKey, ShelfKey, Store

#: Standing place: distance of the body's middle from the plates' front edge, and sideways, m.
_STANDING_DISTANCES_M = (0.30, 0.38, 0.48)
_SIDEWAYS_M = tuple(np.arange(-6, 7) * 0.1)
_STANDING_APART_M = 0.5
_COMFORTABLE_GAP_M = 0.8
_ARRIVED_M = 0.1
#: Who has come so near to the place outside the exit is gone, the latter if others are in the way.
_OUT_M, _OUT_HELD_UP_M = 0.15, 0.5
#: One after the other through the entrance.
_GATE_HEADWAY_S = 1.5
_TURN_S = 0.6
#: Who is held up gives others less room, looks for a way around them, and looks again.
_LOOSEN_AFTER_S, _CROWD_AFTER_S = 0.8, 2.5
_AROUND_AFTER_S, _AROUND_AGAIN_S = 1.2, 1.0
_GIVE_UP_AFTER_S = 25.0
_HAND_OVER_M = 0.75
_HAND_OVER_PATIENCE_S = 15.0
_CANDIDATES = 3
#: Who finds no room at a shelf so often walks somewhere else first.
_REFUSALS = 3
#: Weights that no plate tells apart, as a share.
_EQUAL_WEIGHT = 0.02
_MOST_AT_ONCE = 3


@dataclass(frozen=True, eq=False)
class Visit:
    """One person's visit from the entrance to the exit. ``items``: product -> pieces that he leaves with, None for staff."""

    person: str
    motion: ShopperMotion
    crossings: tuple[GateCrossing, ...]
    contacts: tuple[ShelfContact, ...]
    events: tuple[TrueEvent, ...]
    items: dict[str, int] | None


@dataclass(eq=False)
class _Held:
    """A thing in somebody's hands or bag; ``owner`` took it. ``due``: it goes back after so many more decisions, ``wrong``: elsewhere."""

    piece: Piece
    owner: str
    facing: Facing | None
    due: int | None = None
    wrong: bool = False


@dataclass(eq=False)
class _Stop:
    """What somebody is about to do: where he has to stand, and what then."""

    kind: str
    plates: tuple[PlateKey, ...] = ()
    standing: tuple[StandingPiece, ...] = ()
    facing: Facing | None = None
    held: _Held | None = None
    pieces: tuple[Piece, ...] = ()
    place: np.ndarray | None = None
    partner: _Person | None = None


@dataclass(eq=False)
class _Person:
    name: str
    rng: np.random.Generator
    wishes: int
    first_s: float
    place: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    path: list[np.ndarray] = field(default_factory=list)
    reaches: list[Reach] = field(default_factory=list)
    stays: list[tuple[float, float, float]] = field(default_factory=list)
    contacts: list[ShelfContact] = field(default_factory=list)
    events: list[TrueEvent] = field(default_factory=list)
    bag: list[_Held] = field(default_factory=list)
    companion: _Person | None = None
    staff: bool = False
    to_refill: list[Facing] = field(default_factory=list)
    stop: _Stop | None = None
    goal: int | None = None
    busy_until_s: float = 0.0
    waiting_s: float = 0.0
    #: The goal that he goes to on a way around others, when he looked for it, and the distances [cells] to the goal that way.
    around: tuple[int, float, np.ndarray] | None = None
    leaving: bool = False
    stop_since_s: float = 0.0
    refused: int = 0
    items: Counter = field(default_factory=Counter)


class CrowdWorld:
    """Made for one seed; ``step`` goes on and gives the visits that ended. Raises ValueError for a store without gates or goods."""

    def __init__(self, store: Store, config: CrowdConfig, profile: SensorProfile, seed: int) -> None:
        self._store, self._config, self._hands, self._seed = store, config, profile.hands, seed
        self._grid = walkable_grid(store)
        self._steering = Steering(self._grid)
        self.entrance, self.exit = entrance_and_exit(store, self._grid)
        self._outside_in = self._grid.nearest_free(self.entrance.outside)
        self._outside_out = self._grid.nearest_free(self.exit.outside)
        self.stock = ShelfStock(store, profile.scales, seed, (config.least_pieces, max(config.least_pieces, config.most_pieces)))
        if not self.stock.facings:
            raise ValueError(f"store '{store.name}': the planogram is empty, expected goods on its plates")
        self._rng = random_stream(seed, "arrivals")
        self._people: list[_Person] = []
        self._steps = 0
        self._came = self._restocked = 0
        self._next_arrival_s = 0.0
        self._last_entry_s = -np.inf
        self._next_restock_s = float(self._rng.exponential(config.restock_every_s)) if config.restock_every_s else np.inf
        self._equals = self._equal_weights()

    @property
    def now_s(self) -> float:
        return self._steps * STEP_S

    @property
    def people(self) -> int:
        """How many are in the store or at its gates."""
        return len(self._people)

    @property
    def oldest_s(self) -> float:
        """When the one who has been in the longest came; now if nobody is in."""
        return min((person.first_s for person in self._people), default=self.now_s)

    def step(self, open_for_entry: bool) -> list[Visit]:
        """Goes on by STEP_S; gives the visits that ended."""
        now = self.now_s
        if open_for_entry:
            self._let_in(now)
        places = np.array([person.place for person in self._people]).reshape(-1, 2)
        velocities = np.array([person.velocity for person in self._people]).reshape(-1, 2)
        for i, person in enumerate(self._people):
            person.path.append(person.place.copy())
            person.velocity = self._move(person, now, i, places, velocities)
            person.place = person.place + person.velocity * STEP_S
            places[i], velocities[i] = person.place, person.velocity
        self._steps += 1
        gone = [person for person in self._people if person.leaving and self._is_out(person)]
        self._people = [person for person in self._people if person not in gone]
        return [self._visit(person) for person in gone]

    # Coming and going

    def _let_in(self, now: float) -> None:
        rate = self._config.occupancy * self._config.shoppers / self._config.visit_s
        if now >= self._next_arrival_s and self._room_at_entrance():
            self._next_arrival_s = now + float(self._rng.exponential(1 / rate))
            if sum(not person.staff for person in self._people) < self._config.shoppers:
                self._enter(now)
        if now >= self._next_restock_s and self._room_at_entrance():
            self._next_restock_s = now + float(self._rng.exponential(self._config.restock_every_s))
            self._enter_staff(now)

    def _room_at_entrance(self) -> bool:
        if self.now_s - self._last_entry_s < _GATE_HEADWAY_S:
            return False
        start = self._grid.points[self._outside_in]
        return all(np.linalg.norm(person.place - start) > 1.0 for person in self._people)

    def _enter(self, now: float) -> None:
        self._came += 1
        name = f"shopper-{self._came}"
        rng = random_stream(self._seed, "shopper", name)
        wishes = int(rng.poisson(self._config.items))
        person = _Person(name, rng, wishes, now, self._grid.points[self._outside_in].copy())
        alone = [other for other in self._people if other.companion is None and not other.staff and not other.leaving]
        if alone and rng.random() < self._config.in_company and now - alone[-1].first_s < 20.0:
            person.companion, alone[-1].companion = alone[-1], person
        self._people.append(person)
        self._last_entry_s = now

    def _enter_staff(self, now: float) -> None:
        self._restocked += 1
        name = f"{STAFF_PREFIX}restock-{self._restocked}"
        rng = random_stream(self._seed, "shopper", name)
        emptiest = sorted(self.stock.facings, key=lambda facing: len(facing.pieces) - facing.capacity)
        missing = [facing for facing in emptiest[: self._config.restock_facings] if len(facing.pieces) < facing.capacity]
        person = _Person(name, rng, 0, now, self._grid.points[self._outside_in].copy(), staff=True, to_refill=missing)
        self._people.append(person)
        self._last_entry_s = now

    def _is_out(self, person: _Person) -> bool:
        # Two who come there at once would otherwise wait for each other.
        near = _OUT_M if person.waiting_s < _LOOSEN_AFTER_S else _OUT_HELD_UP_M
        return bool(np.linalg.norm(person.place - self._grid.points[self._outside_out]) < near)

    def _visit(self, person: _Person) -> Visit:
        path = np.array([*person.path, person.place])
        motion = ShopperMotion(person.name, self._stature(person), person.first_s, path, person.reaches, person.stays)
        if person.companion is not None:
            person.companion.companion = None
        items = None if person.staff else {product: count for product, count in sorted(person.items.items()) if count > 0}
        crossings = tuple(gate_crossings(self.entrance, self.exit, motion))
        contacts = tuple(replace(contact, reach=reach) for contact, reach in self._with_bent_reaches(person, motion))
        return Visit(person.name, motion, crossings, contacts, tuple(person.events), items)

    @staticmethod
    def _with_bent_reaches(person: _Person, motion: ShopperMotion) -> list[tuple[ShelfContact, Reach]]:
        """Contacts with their reaches as the body makes them."""
        at = {id(reach): bent for reach, bent in zip(person.reaches, motion.reaches, strict=True)}
        return [(contact, at[id(contact.reach)]) for contact in person.contacts]

    @staticmethod
    def _stature(person: _Person) -> float:
        return float(np.clip(person.rng.normal(1.72, 0.09), 1.50, 1.98))

    # Walking

    def _move(self, person: _Person, now: float, own: int, places: np.ndarray, velocities: np.ndarray) -> np.ndarray:
        if now < person.busy_until_s:
            return np.zeros(2)
        if person.stop is None and not person.leaving:
            self._decide(person, now)
        if person.stop is not None and person.stop.partner is not None:
            person.goal = self._beside(person.stop.partner)
        if person.goal is None:
            return np.zeros(2)
        arrived = np.linalg.norm(person.place - self._grid.points[person.goal]) < _ARRIVED_M
        if person.stop is not None and (arrived or self._near_partner(person)):
            self._act(person, now)
            return np.zeros(2)
        if person.stop is not None and now - person.stop_since_s > _GIVE_UP_AFTER_S:
            self._abandon(person)
            return np.zeros(2)
        others = np.arange(len(places)) != own
        patience = float(np.clip(1 - (person.waiting_s - _LOOSEN_AFTER_S) / (_CROWD_AFTER_S - _LOOSEN_AFTER_S), 0, 1))
        field = self._way_around(person, now, places[others])
        velocity = self._steering.step(person.place, person.velocity, person.goal, places[others], velocities[others], patience, field)
        moved = np.linalg.norm(velocity) > 0.15
        person.waiting_s = max(person.waiting_s - 0.3 * STEP_S, 0.0) if moved else person.waiting_s + STEP_S
        return velocity

    def _way_around(self, person: _Person, now: float, others: np.ndarray) -> np.ndarray | None:
        """The field of distances that leads around those who hold somebody up; None while nobody does."""
        if person.waiting_s <= 0.0 or (person.around is not None and person.around[0] != person.goal):
            person.around = None
        looked_s = -np.inf if person.around is None else person.around[1]
        if person.waiting_s > _AROUND_AFTER_S and now - looked_s >= _AROUND_AGAIN_S:
            person.around = person.goal, now, self._steering.around(person.place, person.goal, others)
        return None if person.around is None else person.around[2]

    def _beside(self, partner: _Person) -> int:
        return self._grid.nearest_free(partner.place)

    @staticmethod
    def _near_partner(person: _Person) -> bool:
        partner = person.stop.partner
        return partner is not None and bool(np.linalg.norm(person.place - partner.place) < _HAND_OVER_M)

    # Deciding

    def _decide(self, person: _Person, now: float) -> None:
        stop = self._next_stop(person)
        if stop is None:
            person.leaving, person.goal = True, self._outside_out
            return
        goal = self._goal_of(person, stop)
        if goal is None:
            # No room there now: look around for a moment and think again, or else go somewhere else first.
            self._undo(stop)
            person.refused += 1
            person.busy_until_s = now + 1.0
            if person.refused < _REFUSALS:
                return
            stop = self._stroll(person)
            goal = self._goal_of(person, stop)
        person.refused = 0
        person.stop, person.goal, person.stop_since_s, person.waiting_s = stop, goal, now, 0.0

    def _next_stop(self, person: _Person) -> _Stop | None:
        if person.staff:
            return self._next_staff_stop(person)
        rng, config = person.rng, self._config
        for held in person.bag:
            if held.due is not None:
                held.due -= 1
        due = next((held for held in person.bag if held.due is not None and (held.due < 0 or person.wishes == 0)), None)
        if due is not None:
            return self._put_stop(person, due)
        if person.wishes <= 0:
            return None
        if rng.random() < config.browse:
            return self._look_stop(person, "look")
        if rng.random() < config.touch:
            return self._look_stop(person, TOUCH)
        if person.companion is not None and person.companion.goal is not None and rng.random() < config.hand_over:
            given = [held for held in person.bag if held.due is None and held.owner == person.name]
            if given and not person.companion.leaving:
                return _Stop("hand_over", held=given[-1], partner=person.companion)
        loose = [held for held in person.bag if held.due is None and held.owner == person.name]
        if loose and rng.random() < config.leave_on_floor:
            return _Stop("leave", held=loose[-1], place=person.place.copy())
        person.wishes -= 1
        if self.stock.strays and rng.random() < config.buy_misplaced:
            stray = self.stock.strays.pop(int(rng.integers(len(self.stock.strays))))
            return _Stop("pick", stray.plates, (stray,))
        return self._pick_stop(person)

    def _stroll(self, person: _Person) -> _Stop:
        """To where there is most room of some places before shelves."""
        facings = [self.stock.facings[int(i)] for i in person.rng.integers(len(self.stock.facings), size=_CANDIDATES)]
        plates = [self._store.plate(*facing.plates[0]) for facing in facings]
        places = [plate.front[:2] - 0.6 * plate.pose[:2, 1] for plate in plates]
        others = [self._claim(other) for other in self._people if other is not person]
        room = [min((float(np.linalg.norm(place - other)) for other in others), default=np.inf) for place in places]
        return _Stop("stroll", place=places[int(np.argmax(room))])

    def _candidates(self, person: _Person) -> list[Facing]:
        """Some facings with goods; near the companion's, if he stands at one."""
        beside = person.companion.stop.plates if person.companion is not None and person.companion.stop is not None else ()
        if beside:
            gondola = self._store.gondolas[beside[0][0]]
            column = self._store.plate(*beside[0]).centre
            near = [f for shelf in gondola.shelves for f in self.stock.facings_on.get((gondola.gondola, shelf), ())]
            near = [f for f in near if f.pieces and np.linalg.norm(self._store.plate(*f.plates[0]).centre[:2] - column[:2]) < 0.8]
            if near:
                return [near[int(i)] for i in person.rng.integers(len(near), size=_CANDIDATES)]
        return [self.stock.facings[int(i)] for i in person.rng.integers(len(self.stock.facings), size=_CANDIDATES)]

    def _nearest(self, person: _Person, facings: list[Facing]) -> Facing | None:
        filled = [facing for facing in facings if facing.pieces]
        return min(
            filled, key=lambda facing: float(np.linalg.norm(self._store.plate(*facing.plates[0]).front[:2] - person.place)), default=None
        )

    def _pick_stop(self, person: _Person) -> _Stop | None:
        facing = self._nearest(person, self._candidates(person))
        if facing is None:
            return self._look_stop(person, "look")
        wanted = int(person.rng.integers(2, _MOST_AT_ONCE + 1)) if person.rng.random() < self._config.several else 1
        standing = [facing.pieces.pop(int(person.rng.integers(len(facing.pieces)))) for _ in range(min(wanted, len(facing.pieces)))]
        return _Stop("pick", standing[0].plates, tuple(standing), facing)

    def _look_stop(self, person: _Person, kind: str) -> _Stop:
        facing = self._candidates(person)[0]
        return _Stop(kind, facing.plates[: facing.width], facing=facing)

    def _put_stop(self, person: _Person, held: _Held) -> _Stop:
        homes = self.stock.facings_of.get(held.piece.product, [])
        facing = held.facing or (homes[0] if homes else self.stock.facings[0])
        if held.wrong:
            equals = self._equals.get(held.piece.product, [])
            if equals and person.rng.random() < self._config.misplace_among_equals:
                facing = equals[int(person.rng.integers(len(equals)))]
            else:
                others = [other for other in self._candidates(person) if other.product != held.piece.product]
                facing = others[0] if others else facing
        place = self.stock.stand(held.piece, facing)
        return _Stop("put_back", place.plates, (place,), facing, held)

    def _next_staff_stop(self, person: _Person) -> _Stop | None:
        if person.bag:
            return self._put_stop(person, person.bag[-1])
        while person.to_refill:
            facing = person.to_refill[0]
            missing = facing.capacity - len(facing.pieces)
            if missing <= 0:
                person.to_refill.pop(0)
                continue
            pieces = tuple(self.stock.fresh(facing.product) for _ in range(min(missing, _MOST_AT_ONCE)))
            standing = tuple(self.stock.stand(piece, facing) for piece in pieces)
            return _Stop("put_back", standing[0].plates, standing, facing, pieces=pieces)
        if self.stock.on_floor and person.rng.random() < 0.5:
            piece, place = self.stock.on_floor.pop(0)
            return _Stop("take_up", pieces=(piece,), place=place)
        if self.stock.strays and person.rng.random() < 0.5:
            stray = self.stock.strays.pop(0)
            return _Stop("pick", stray.plates, (stray,))
        return None

    def _equal_weights(self) -> dict[str, list[Facing]]:
        """Product -> facings of other products that weigh the same."""
        products = sorted({facing.product for facing in self.stock.facings}, key=lambda p: (self._store.products[p].weight_kg, p))
        weights = np.array([self._store.products[product].weight_kg for product in products])
        equals: dict[str, list[Facing]] = {}
        for i, product in enumerate(products):
            first, last = np.searchsorted(weights, (weights[i] * (1 - _EQUAL_WEIGHT), weights[i] * (1 + _EQUAL_WEIGHT)))
            equals[product] = [f for other in products[first:last] if other != product for f in self.stock.facings_of[other]]
        return equals

    # Places to stand

    def _goal_of(self, person: _Person, stop: _Stop) -> int | None:
        if stop.partner is not None:
            return self._beside(stop.partner)
        if stop.place is not None:
            return self._grid.nearest_free(stop.place)
        plates = [self._store.plate(*key) for key in stop.plates]
        front = np.mean([plate.front[:2] for plate in plates], axis=0)
        forward = plates[0].pose[:2, 1]
        left = np.array([-forward[1], forward[0]])
        claimed = [self._claim(other) for other in self._people if other is not person]
        spots = np.array([front - d * forward + s * left for d in _STANDING_DISTANCES_M for s in _SIDEWAYS_M])
        cells = self._steering.cells(spots)
        at = self._grid.points[cells]
        reach = self._steering.distances(cells[len(_SIDEWAYS_M) // 2])
        cost = 12.0 * np.linalg.norm(at - front + _STANDING_DISTANCES_M[0] * forward, axis=1) ** 2 + person.rng.uniform(0, 0.1, len(at))
        cost += np.where(self._grid.free[cells] & (reach[cells] < 3.0), 0.0, np.inf)
        if claimed:
            apart = np.linalg.norm(at[:, None] - np.array(claimed), axis=2).min(axis=1)
            cost += np.where(apart < _STANDING_APART_M, np.inf, 0.0) + 2.0 * (apart < _COMFORTABLE_GAP_M)
        best = int(np.argmin(cost))
        return int(cells[best]) if np.isfinite(cost[best]) else None

    def _claim(self, person: _Person) -> np.ndarray:
        """Where somebody stands or is going to stand."""
        standing = person.goal is not None and person.stop is not None and person.stop.partner is None
        return self._grid.points[person.goal] if standing else person.place

    def _undo(self, stop: _Stop) -> None:
        """What was taken out of the stock for a stop that comes to nothing."""
        if stop.kind == "pick":
            for standing in stop.standing:
                (stop.facing.pieces if stop.facing is not None else self.stock.strays).append(standing)
        elif stop.kind == "take_up":
            self.stock.on_floor.append((stop.pieces[0], stop.place))

    def _abandon(self, person: _Person) -> None:
        self._undo(person.stop)
        person.stop, person.goal = None, None

    # Acting

    def _act(self, person: _Person, now: float) -> None:
        stop = person.stop
        acts = {
            "pick": self._pick,
            "put_back": self._put_back,
            "hand_over": self._hand_over,
            "leave": self._to_floor,
            "take_up": self._take_up,
        }
        acts.get(stop.kind, self._look)(person, stop, now)

    def _finish(self, person: _Person, until_s: float) -> None:
        person.stop, person.goal, person.busy_until_s = None, None, until_s

    def _dwell_s(self, person: _Person) -> float:
        return _TURN_S + float(person.rng.uniform(self._config.dwell_min_s, self._config.dwell_max_s)) ** 2 / self._config.dwell_max_s

    def _reach(self, person: _Person, stop: _Stop, now: float, action: str, products: tuple[str, ...]) -> Reach:
        rng, hands = person.rng, self._hands
        dwell = _TURN_S if person.staff else self._dwell_s(person)
        hold = lift = 0.0
        if action in ("pick", TOUCH) and rng.random() < hands.held_share:
            hold = float(rng.uniform(hands.held_min_s, hands.held_max_s))
        if action == "pick" and rng.random() < hands.slow_share:
            lift = float(rng.uniform(hands.slow_lift_min_s, hands.slow_lift_max_s))
        lift = max(lift, float(rng.uniform(hands.quick_lift_min_s, hands.quick_lift_max_s)))
        target, facing = hand_target(self._store, stop.plates, rng)
        reach = Reach(now + dwell + hold, hold, lift, person.name, action, stop.plates, products, target, facing)
        self._stand_and_reach(person, reach, now)
        return reach

    def _stand_and_reach(self, person: _Person, reach: Reach, now: float) -> None:
        offset = reach.target[:2] - person.place
        turn = np.clip((np.arctan2(offset[1], offset[0]) - reach.facing + np.pi) % (2 * np.pi) - np.pi, -0.6, 0.6)
        person.stays.append((now - 0.2, reach.end_s + 0.25, reach.facing + 0.5 * float(turn)))
        person.reaches.append(reach)

    def _touch_shelf(self, person: _Person, reach: Reach, shelf: ShelfKey, changes: list[LoadChange], shares: np.ndarray) -> None:
        person.contacts.append(ShelfContact(shelf, reach, shares, tuple(changes)))
        person.events.append(true_event(reach))
        self._finish(person, reach.end_s + 0.45)

    def _pick(self, person: _Person, stop: _Stop, now: float) -> None:
        reach = self._reach(person, stop, now, "pick", tuple(standing.piece.product for standing in stop.standing))
        changes = []
        for number, standing in enumerate(stop.standing):
            changes.append(LoadChange(standing.piece, -1, reach.time_s + number * PIECE_DELAY_S, standing.shares))
            held = _Held(standing.piece, person.name, stop.facing)
            self._maybe_regret(person, held)
            person.bag.append(held)
            person.items[standing.piece.product] += 1
        self._touch_shelf(person, reach, stop.standing[0].shelf, changes, np.mean([s.shares for s in stop.standing], axis=0))

    def _maybe_regret(self, person: _Person, held: _Held) -> None:
        if person.staff:
            return
        chance = person.rng.random()
        if chance < self._config.put_back + self._config.misplace:
            held.due = int(person.rng.integers(0, 3))
            held.wrong = chance >= self._config.put_back

    def _put_back(self, person: _Person, stop: _Stop, now: float) -> None:
        reach = self._reach(person, stop, now, "put_back", tuple(standing.piece.product for standing in stop.standing))
        changes = []
        for number, standing in enumerate(stop.standing):
            changes.append(LoadChange(standing.piece, 1, reach.time_s + number * PIECE_DELAY_S, standing.shares))
            at_home = stop.facing.product == standing.piece.product
            (stop.facing.pieces if at_home else self.stock.strays).append(standing)
        if stop.held is not None:
            person.bag.remove(stop.held)
            person.items[stop.held.piece.product] -= 1
        self._touch_shelf(person, reach, stop.standing[0].shelf, changes, np.mean([s.shares for s in stop.standing], axis=0))

    def _look(self, person: _Person, stop: _Stop, now: float) -> None:
        if stop.kind == "stroll":
            self._finish(person, now)
            return
        if stop.kind == TOUCH:
            reach = self._reach(person, stop, now, TOUCH, ())
            shelf = self._store.shelf(*stop.plates[0][:2])
            on = np.array([plate.key in stop.plates for plate in shelf.plates.values()], dtype=float)
            self._touch_shelf(person, reach, shelf.key, [], on / on.sum())
            return
        forward = self._store.plate(*stop.plates[0]).pose[:2, 1]
        until = now + self._dwell_s(person) + 1.0
        person.stays.append((now - 0.2, until, float(np.arctan2(forward[1], forward[0]))))
        self._finish(person, until)

    def _hand_over(self, person: _Person, stop: _Stop, now: float) -> None:
        partner = stop.partner
        if now < partner.busy_until_s or partner.leaving:
            if partner.leaving or now - person.stop_since_s > _HAND_OVER_PATIENCE_S:
                self._abandon(person)
            return
        at = now + 1.0
        middle = np.append((person.place + partner.place) / 2, 1.0)
        for who, other in ((person, partner), (partner, person)):
            towards = other.place - who.place
            facing = float(np.arctan2(towards[1], towards[0]))
            reach = Reach(at, 0.0, 0.4, who.name, "hand_over", (), (stop.held.piece.product,), middle, facing)
            self._stand_and_reach(who, reach, now)
            who.busy_until_s = reach.end_s + 0.5
        person.bag.remove(stop.held)
        partner.bag.append(_Held(stop.held.piece, stop.held.owner, stop.held.facing))
        person.events.append(true_event(person.reaches[-1]))
        self._finish(person, person.busy_until_s)

    def _to_floor(self, person: _Person, stop: _Stop, now: float) -> None:
        reach = self._reach_floor(person, "leave", stop.held.piece.product, now)
        person.bag.remove(stop.held)
        self.stock.on_floor.append((stop.held.piece, person.place.copy()))
        person.events.append(true_event(reach))
        self._finish(person, reach.end_s + 0.5)

    def _take_up(self, person: _Person, stop: _Stop, now: float) -> None:
        reach = self._reach_floor(person, "take_up", stop.pieces[0].product, now)
        person.bag.append(_Held(stop.pieces[0], person.name, None))
        person.events.append(true_event(reach))
        self._finish(person, reach.end_s + 0.5)

    def _reach_floor(self, person: _Person, action: str, product: str, now: float) -> Reach:
        facing = float(person.rng.uniform(-np.pi, np.pi))
        target = np.append(person.place + 0.4 * np.array([np.cos(facing), np.sin(facing)]), 0.08)
        reach = Reach(now + 1.2, 0.0, 0.5, person.name, action, (), (product,), target, facing)
        self._stand_and_reach(person, reach, now)
        return reach
