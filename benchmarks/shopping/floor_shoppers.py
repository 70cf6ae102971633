"""Shoppers on the floor as fusion sees them: tracks, weights or shelf events, and gates; cheap enough for crowds and whole days.

People walk straight from the entrance to plates and to the exit; nothing hides them and walls do not stop them. That is too easy to say
anything about accuracy, and what fusion computes is the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aisle_contract.records import (
    NANOSECONDS,
    BodyPoint,
    GateEvent,
    GateEventKind,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)
from aisle_store.store import PlateKey, Store

START_NS = 1_700_000_000 * NANOSECONDS
_STEP_NS = NANOSECONDS // 10
_REPORT_NS = NANOSECONDS // 5
_SPEED_MPS, _STANDOFF_M = 1.2, 0.4
_BROWSE_S, _LIFT_S, _HAND_S = (2.0, 8.0), 0.3, 1.0
_SETTLED_NS = int(0.6 * NANOSECONDS)
_WRIST_M, _BODY_M, _SCALE_KG = 0.03, 0.04, 0.0008
_SAMPLES, _PERIOD_NS = 12, NANOSECONDS // 60


@dataclass(frozen=True)
class Pick:
    """A piece leaves a plate at ``stamp_ns`` (or comes back: ``kg`` > 0); the wrist is at ``hand`` float64 [3] m then."""

    stamp_ns: int
    plate: PlateKey
    kg: float
    hand: np.ndarray


@dataclass(frozen=True)
class Shopper:
    """``way``: (stamp, x, y) rows float64 [N, 3] between which he walks straight; stamps in seconds from the start."""

    name: str
    way: np.ndarray
    picks: tuple[Pick, ...]


class FloorShoppers:
    """``inside`` people at once, ``visits`` in all; the same for the same arguments."""

    def __init__(self, store: Store, inside: int, visits: int, seed: int = 0) -> None:
        self.store = store
        self._rng = np.random.default_rng(seed)
        self._filled = sorted(key for key, products in store.planogram.items() if products)
        self.shoppers: list[Shopper] = []
        free = [0.5 + 2.0 * number for number in range(inside)]
        for number in range(visits):
            place = int(np.argmin(free))
            shopper = self._shopper(f"shopper{number:05d}", free[place])
            self.shoppers.append(shopper)
            free[place] = float(shopper.way[-1, 0]) + 3.0
        self.end_s = max(shopper.way[-1, 0] for shopper in self.shoppers) + 8.0

    def _shopper(self, name: str, start_s: float) -> Shopper:
        rng = self._rng
        gates = {gate.kind.value: gate for gate in self.store.gates.values()}
        here, now = gates["entrance"].centre, start_s
        way, picks = [(now, *here)], []
        for _ in range(int(rng.integers(2, 7))):
            key = self._filled[int(rng.integers(len(self._filled)))]
            plate = self.store.plate(*key)
            outward = -plate.pose[:2, 1]
            there = plate.front[:2] + _STANDOFF_M * outward
            now += float(np.linalg.norm(there - here)) / _SPEED_MPS
            stay = float(rng.uniform(*_BROWSE_S))
            way += [(now, *there), (now + stay, *there)]
            products = self.store.planogram[key]
            product = self.store.products[products[int(rng.integers(len(products)))]]
            taken = now + stay / 2
            kg = max(0.3 * product.weight_kg, product.weight_kg + product.weight_deviation_kg * rng.standard_normal())
            hand = plate.centre + np.array([0.0, 0.0, 0.05])
            picks.append(Pick(START_NS + round(taken * NANOSECONDS), key, -kg, hand))
            if rng.random() < 0.1:
                back = picks[-1].stamp_ns + round(1.5 * _HAND_S * NANOSECONDS)
                picks.append(Pick(back, key, kg, hand))
            here, now = there, now + stay
        gate = gates["exit"].centre
        now += float(np.linalg.norm(gate - here)) / _SPEED_MPS
        outside = gate + np.array([0.0, -0.6])
        way += [(now, *gate), (now + 0.5, *outside), (now + 1.5, *outside)]
        return Shopper(name, np.array(way), tuple(picks))

    def tracks(self) -> Iterator[Tracks]:
        """10 Hz."""
        for step in range(int(self.end_s * 10)):
            now_s = step / 10
            present = [s for s in self.shoppers if s.way[0, 0] <= now_s <= s.way[-1, 0]]
            yield Tracks(START_NS + step * _STEP_NS, tuple(self._track(shopper, now_s) for shopper in present))

    def _track(self, shopper: Shopper, now_s: float) -> Track:
        rng = self._rng
        here, soon = (np.array([np.interp(t, shopper.way[:, 0], shopper.way[:, k]) for k in (1, 2)]) for t in (now_s, now_s + 0.1))
        stamp_ns = START_NS + round(now_s * NANOSECONDS)
        reaching = next((pick.hand for pick in shopper.picks if abs(stamp_ns - pick.stamp_ns) < _HAND_S * NANOSECONDS / 2), None)
        resting = np.array([*here, 0.9])
        wrists = [
            BodyPoint(place + rng.normal(0, _WRIST_M, 3), np.eye(3) * _WRIST_M**2)
            for place in (resting, resting if reaching is None else reaching)
        ]
        return Track(shopper.name, here + rng.normal(0, _BODY_M, 2), (soon - here) * 10, np.eye(4) * _BODY_M**2, 0.99, 0.0, None, *wrists)

    def gates(self) -> Iterator[GateEvent]:
        """Heartbeats at 5 Hz with entries and exits, by stamp."""
        kinds = {gate.kind.value: name for name, gate in self.store.gates.items()}
        found = [
            GateEvent(START_NS + step * _REPORT_NS + 1, gate, GateEventKind.STATUS)
            for step in range(int(self.end_s * 5))
            for gate in self.store.gates
        ]
        for shopper in self.shoppers:
            entered, left = (START_NS + round(t * NANOSECONDS) + 2 for t in (shopper.way[0, 0], shopper.way[-3, 0]))
            found.append(GateEvent(entered, kinds["entrance"], GateEventKind.ENTRY, "", shopper.name))
            found.append(GateEvent(left, kinds["exit"], GateEventKind.EXIT))
        yield from sorted(found, key=lambda event: (event.stamp_ns, event.gate))

    def events(self) -> Iterator[ShelfEvents]:
        """What a shelf monitor would say, a second after it happened, at 5 Hz."""
        picks = sorted((pick for shopper in self.shoppers for pick in shopper.picks), key=lambda pick: (pick.stamp_ns, pick.plate))
        position = 0
        for step in range(int(self.end_s * 5)):
            stamp_ns, found = START_NS + step * _REPORT_NS, []
            while position < len(picks) and picks[position].stamp_ns + _SETTLED_NS < stamp_ns:
                found.append(self._event(position, picks[position]))
                position += 1
            yield ShelfEvents(stamp_ns, tuple(found))

    def _event(self, number: int, pick: Pick) -> ShelfEvent:
        gondola, shelf, plate = pick.plate
        kg = pick.kg * (1 + self._rng.normal(0, 0.025))
        end_ns = pick.stamp_ns + _SETTLED_NS
        deviation = np.array([_SCALE_KG])
        start_ns = pick.stamp_ns - _REPORT_NS
        return ShelfEvent(f"e{number}", ShelfEventStatus.FINAL, gondola, shelf, start_ns, end_ns, (plate,), np.array([kg]), deviation)

    def readings(self) -> Iterator[ScaleReading]:
        """60 Hz in batches of 12 of all shelves, by stamp."""
        moves: dict[tuple[str, str], list[Pick]] = {}
        for shopper in self.shoppers:
            for pick in shopper.picks:
                moves.setdefault(pick.plate[:2], []).append(pick)
        shelves = [(shelf.key, tuple(shelf.plates)) for shelf in self.store.shelves() if shelf.plates]
        within = np.arange(_SAMPLES) * _PERIOD_NS
        for step in range(int(self.end_s * 5)):
            stamp_ns = START_NS + step * _REPORT_NS
            for key, plates in shelves:
                weights = 5.0 + _SCALE_KG * self._rng.standard_normal((_SAMPLES, len(plates)))
                for pick in moves.get(key, ()):
                    moved = np.clip((stamp_ns + within - pick.stamp_ns) / (_LIFT_S * NANOSECONDS), 0.0, 1.0)
                    weights[:, plates.index(pick.plate[2])] += pick.kg * moved
                yield ScaleReading(stamp_ns, *key, _PERIOD_NS, plates, weights.astype(np.float32))
