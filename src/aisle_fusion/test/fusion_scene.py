"""A small shop and hand-made records for the tests of sessions and carts."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from aisle_contract.records import (
    NANOSECONDS,
    BodyPoint,
    Cart,
    CartStatus,
    GateEvent,
    GateEventKind,
    Record,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)
from aisle_fusion.cart_fusion import CartFusion, CartFusionConfig
from aisle_store.store import Gate, GateKind, Gondola, Plate, Product, Shelf, Store

START_NS = 1_572_609_600 * NANOSECONDS
PLATE = 0.1
#: The floor in front of the shelf's edge (y = 0); the door is at the far side.
FLOOR = np.array([[-1.0, -2.0], [5.0, -2.0], [5.0, 0.0], [-1.0, 0.0]])


def pose(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def small_store() -> Store:
    """One gondola with two shelves of twelve plates (x from 0 to 1.2 m): three plates per product.

    Shelf 1: red and blue (100 g both), green (60 g), jar (250 g). Shelf 2: tin (400 g), box (161 g), bag (30 g), cup (90 g).
    """
    weights = {"red": 0.1, "blue": 0.1, "green": 0.06, "jar": 0.25, "tin": 0.4, "box": 0.161, "bag": 0.03, "cup": 0.09}
    products = {name: Product(name, name.title(), kg, 0.015 * kg, Decimal("1.00")) for name, kg in weights.items()}
    shelves, planogram = {}, {}
    for shelf, names, height in (("1", list(weights)[:4], 1.0), ("2", list(weights)[4:], 1.3)):
        plates = {str(i + 1): Plate("1", shelf, str(i + 1), pose(i * PLATE, 0.0, height), PLATE, 0.4, 20.0) for i in range(12)}
        shelves[shelf] = Shelf("1", shelf, pose(0.0, 0.0, height), 1.2, 0.4, 0.3, plates)
        for i in range(12):
            planogram["1", shelf, str(i + 1)] = (names[i // 3],)
    gondola = Gondola("1", pose(0.0, 0.4, 0.0), 1.2, 0.05, 2.0, shelves)
    gates = {
        "in": Gate("in", GateKind.ENTRANCE, np.array([[3.5, -2.0], [4.5, -2.0]])),
        "out": Gate("out", GateKind.EXIT, np.array([[-0.9, -2.0], [0.1, -2.0]])),
    }
    return Store("small", "USD", FLOOR, {"aisle": FLOOR}, {"1": gondola}, {}, gates, products, planogram)


def at(seconds: float) -> int:
    return START_NS + round(seconds * 1000) * (NANOSECONDS // 1000)


class Walker:
    """A person who stands at places at times, and holds a hand at plates for a while; between them straight lines."""

    def __init__(self, track: str, *way: tuple[float, float, float]) -> None:
        self.track = track
        self.way = np.array(way)
        self.hands: list[tuple[float, float, np.ndarray]] = []
        self.hidden: list[tuple[float, float, str]] = []

    def reach(self, start: float, end: float, shelf: str, plate: float) -> Walker:
        """``plate``: number on the shelf, halves are between two."""
        self.hands.append((start, end, np.array([(plate - 0.5) * PLATE, 0.05, {"1": 1.1, "2": 1.4}[shelf]])))
        return self

    def vanish(self, start: float, end: float, track_after: str) -> Walker:
        """Out of view from start to end; then seen as another track."""
        self.hidden.append((start, end, track_after))
        return self

    def seen(self, t: float) -> Track | None:
        if not self.way[0, 0] <= t <= self.way[-1, 0]:
            return None
        name = self.track
        for start, end, after in self.hidden:
            if start <= t < end:
                return None
            name = after if t >= end else name
        here, soon = self._place(t), self._place(t + 0.1)
        wrists = [None, None]
        hand = next((place for start, end, place in self.hands if start <= t <= end), None)
        resting = np.array([here[0], here[1] + 0.2, 0.9])
        for side, place in enumerate((resting, resting if hand is None else hand)):
            wrists[side] = BodyPoint(place, np.eye(3) * 0.03**2)
        velocity = (soon - here) / 0.1
        return Track(name, here, velocity, np.eye(4) * 0.01, 0.99, 0.0, None, wrists[0], wrists[1])

    def _place(self, t: float) -> np.ndarray:
        return np.array([np.interp(t, self.way[:, 0], self.way[:, k]) for k in (1, 2)])


def enters_and_leaves(track: str, start: float, end: float, x: float) -> Walker:
    """In through the door, 0.5 m in front of the shelf at ``x``, out through the other door."""
    inside = (start + 3.0, x, -0.5), (end - 3.0, x, -0.5)
    return Walker(track, (start, 4.0, -2.0), *inside, (end, -0.4, -2.0), (end + 0.4, -0.4, -2.5))


def tracks_of(walkers: list[Walker], end: float) -> list[Tracks]:
    found = []
    for k in range(int(end * 10) + 1):
        seen = [walker.seen(k / 10) for walker in walkers]
        found.append(Tracks(at(k / 10), tuple(track for track in seen if track is not None)))
    return found


def gate_heartbeats(end: float, *events: tuple[float, str, str]) -> list[GateEvent]:
    """STATUS of both gates at 5 Hz; ``events``: (time, gate, shopper), ENTRY at "in" and EXIT at "out"."""
    found = [GateEvent(at(k / 5) + 1, gate, GateEventKind.STATUS) for k in range(int(end * 5) + 1) for gate in ("in", "out")]
    for t, gate, shopper in events:
        found.append(GateEvent(at(t) + 2, gate, GateEventKind.ENTRY if gate == "in" else GateEventKind.EXIT, "", shopper))
    return sorted(found, key=lambda event: event.stamp_ns)


def shelf_event(
    start: float, end: float, shelf: str, changes: dict[int, float], deviation: float = 0.001, changed: dict[int, float] | None = None
) -> ShelfEvent:
    """``changes``: plate number -> kg; ``changed``: plate number -> s, for all of them or none."""
    plates = tuple(str(plate) for plate in changes)
    change = np.array(list(changes.values()))
    name = f"e_{shelf}_{start:g}_{plates[0]}"
    changed_ns = np.array([at(changed[plate]) for plate in changes] if changed else [], dtype=np.int64)
    deviations = np.full(len(change), deviation)
    return ShelfEvent(name, ShelfEventStatus.FINAL, "1", shelf, at(start), at(end), plates, change, deviations, changed_ns)


def shelf_records(end: float, *events: ShelfEvent) -> list[ShelfEvents]:
    """One record each 0.2 s that knows what ended a second ago."""
    found = []
    for k in range(int(end * 5) + 1):
        low, high = at(k / 5 - 0.2), at(k / 5)
        found.append(ShelfEvents(high, tuple(event for event in events if low <= event.end_ns < high)))
    return found


def in_order(*lists: list[Record]) -> list[Record]:
    return sorted((record for records in lists for record in records), key=lambda record: record.stamp_ns)


def run(records: list[Record], config: CartFusionConfig | None = None, store: Store | None = None) -> list[Record]:
    fusion = CartFusion(store or small_store(), config or CartFusionConfig())
    given = [record for item in records for record in fusion.step(item).records]
    return given + fusion.flush().records


def closed_carts(records: list[Record]) -> list[Cart]:
    return [record for record in records if isinstance(record, Cart) and record.status == CartStatus.CLOSED]


def contents(cart: Cart) -> dict[str, int]:
    return {line.product: line.quantity for line in cart.lines}
