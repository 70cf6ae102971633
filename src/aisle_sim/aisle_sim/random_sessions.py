"""Shopping sessions made up for any store, in the form of the labelled ones: the hard cases of ``CASES`` by turns, all else by chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.random_streams import random_stream
from aisle_store.store import PlateKey, ShelfKey, Store

#: Products whose weights differ by less than this share are told apart by hardly any plate.
_EQUAL_WEIGHT = 0.03
_WIDEST_PIECE = 2


@dataclass(frozen=True)
class _Place:
    """A product's place: neighbouring plates of one shelf."""

    product: str
    shelf: ShelfKey
    plates: tuple[str, ...]


def shuffled_planogram(store: Store, seed: int) -> Store:
    """The same store with its products in one another's places."""
    standing = sorted({product for products in store.planogram.values() for product in products})
    order = random_stream(seed, "planogram").permutation(len(standing))
    instead = {product: standing[int(i)] for product, i in zip(standing, order, strict=True)}
    planogram = {plate: tuple(instead[product] for product in products) for plate, products in store.planogram.items()}
    return replace(store, planogram=planogram)


def random_sessions(store: Store, count: int, seed: int = 0) -> list[LabelledSession]:
    """``count`` sessions, the same for the same arguments. ValueError for a store without goods on its plates."""
    places = _places(store)
    if not places:
        raise ValueError(f"store '{store.name}': the planogram is empty, expected goods on its plates")
    sessions = []
    for number in range(count):
        name, case = list(CASES.items())[number % len(CASES)]
        author = _Author(store, places, random_stream(seed, "session", str(number)))
        case(author)
        sessions.append(LabelledSession(f"random-{number + 1}-{name}", author.events()))
    return sessions


def _places(store: Store) -> list[_Place]:
    places: list[_Place] = []
    for shelf in store.shelves():
        runs: dict[str, list[str]] = {}
        for plate in shelf.plates.values():
            standing = [product for product in store.planogram.get(plate.key, ()) if product in store.products]
            places += [_Place(product, shelf.key, tuple(runs.pop(product))) for product in list(runs) if product not in standing]
            for product in standing:
                runs.setdefault(product, []).append(plate.plate)
        places += [_Place(product, shelf.key, tuple(run)) for product, run in runs.items()]
    return places


class _Author:
    """Writes one session; ``now_s`` goes on with every label."""

    def __init__(self, store: Store, places: list[_Place], rng: np.random.Generator) -> None:
        self.store, self.places, self.rng = store, places, rng
        self.now_s = 0.0
        self._events: list[LabelledEvent] = []

    def events(self) -> tuple[LabelledEvent, ...]:
        first_s = min(event.t_s for event in self._events)
        return tuple(sorted((replace(event, t_s=event.t_s - first_s) for event in self._events), key=lambda event: event.t_s))

    def pause(self, least_s: float = 3.0, most_s: float = 9.0) -> None:
        # Labels have whole seconds.
        self.now_s += float(self.rng.integers(int(least_s), int(most_s) + 1))

    def some_place(self, away_from: _Place | None = None) -> _Place:
        place = self.places[int(self.rng.integers(len(self.places)))]
        while away_from is not None and place.product == away_from.product and len({p.product for p in self.places}) > 1:
            place = self.places[int(self.rng.integers(len(self.places)))]
        return place

    def near(self, place: _Place, among: list[_Place] | None = None) -> _Place:
        """Another place on the same shelf, or on the same gondola if there is none."""
        others = [p for p in among or self.places if p.product != place.product]
        same = [p for p in others if p.shelf == place.shelf] or [p for p in others if p.shelf[0] == place.shelf[0]] or others or [place]
        return same[int(self.rng.integers(len(same)))]

    def equal(self, place: _Place) -> _Place | None:
        """A place of another product of the same weight."""
        weight = self.store.products[place.product].weight_kg
        equals = [
            p
            for p in self.places
            if p.product != place.product and abs(self.store.products[p.product].weight_kg - weight) <= _EQUAL_WEIGHT * weight
        ]
        return equals[int(self.rng.integers(len(equals)))] if equals else None

    def where(self, place: _Place) -> tuple[PlateKey, ...]:
        """Plates at which one piece of a place stands."""
        width = min(int(self.rng.integers(1, _WIDEST_PIECE + 1)), len(place.plates))
        first = int(self.rng.integers(len(place.plates) - width + 1))
        return tuple((*place.shelf, plate) for plate in place.plates[first : first + width])

    def pick(self, person: str, place: _Place, pieces: int = 1, at: tuple[PlateKey, ...] | None = None) -> tuple[PlateKey, ...]:
        return self._write(person, "pick", at or self.where(place), (place.product,) * pieces)

    def put_back(self, person: str, product: str, place: _Place, at: tuple[PlateKey, ...] | None = None) -> tuple[PlateKey, ...]:
        return self._write(person, "put_back", at or self.where(place), (product,))

    def _write(self, person: str, action: str, plates: tuple[PlateKey, ...], products: tuple[str, ...]) -> tuple[PlateKey, ...]:
        gondola, shelf, _ = plates[0]
        self._events.append(LabelledEvent(self.now_s, person, action, gondola, shelf, tuple(p for _, _, p in plates), products))
        return plates

    def shop(self, person: str, times: int) -> None:
        for _ in range(times):
            self.pick(person, self.some_place())
            self.pause()


def _plain(author: _Author) -> None:
    author.shop("shopper_1", int(author.rng.integers(3, 7)))


def _several_at_once(author: _Author) -> None:
    for _ in range(3):
        author.pick("shopper_1", author.some_place(), pieces=int(author.rng.integers(2, 4)))
        author.pause()


def _put_back(author: _Author) -> None:
    for _ in range(2):
        place = author.some_place()
        at = author.pick("shopper_1", place)
        author.pause(1, 4)
        author.put_back("shopper_1", place.product, place, at if author.rng.random() < 0.5 else None)
        author.pause()
    author.shop("shopper_1", 2)


def _misplaced_and_bought(author: _Author) -> None:
    """One puts a thing back in another place; another one buys it there."""
    place = author.some_place()
    author.pick("shopper_1", place)
    author.pause()
    author.pick("shopper_2", author.some_place())
    author.pause()
    elsewhere = author.some_place(away_from=place)
    at = author.put_back("shopper_1", place.product, elsewhere)
    author.pause()
    author.pick("shopper_2", place, at=at)
    author.pause()
    author.pick("shopper_1", elsewhere)


def _equal_weights(author: _Author) -> None:
    """Two products that weigh the same; one is put back among the other."""
    pairs = [(place, other) for place in author.places for other in [author.equal(place)] if other is not None]
    place, other = pairs[int(author.rng.integers(len(pairs)))] if pairs else (author.some_place(), author.some_place())
    author.pick("shopper_1", place)
    author.pause()
    at = author.put_back("shopper_1", place.product, other)
    author.pause()
    author.pick("shopper_1", other)
    author.pause()
    author.pick("shopper_2", place, at=at)
    author.pause()
    author.pick("shopper_2", other)


def _two_at_once(author: _Author) -> None:
    """Two reach into one shelf in the same second."""
    for _ in range(3):
        place = author.some_place()
        author.pick("shopper_1", place)
        if author.rng.random() < 0.5:
            author.now_s += 1.0
        author.pick("shopper_2", author.near(place))
        author.pause(4, 8)


def _three_close_together(author: _Author) -> None:
    centre = author.some_place()
    near = [place for place in author.places if place.shelf[0] == centre.shelf[0]]
    for _ in range(3):
        for person in author.rng.permutation(3):
            author.pick(f"shopper_{person + 1}", near[int(author.rng.integers(len(near)))])
            author.pause(1, 3)
        author.pause(1, 4)


def _put_while_another_takes(author: _Author) -> None:
    place = author.some_place()
    at = author.pick("shopper_1", place)
    author.pause()
    other = author.near(place)
    author.put_back("shopper_1", place.product, place, at)
    author.pick("shopper_2", other)
    author.pause()
    author.pick("shopper_2", author.near(other))


def _side_by_side(author: _Author) -> None:
    """Two stand beside each other and take from the same place by turns."""
    place = author.some_place()
    for turn in range(4):
        author.pick(f"shopper_{turn % 2 + 1}", place if turn < 2 else author.near(place))
        author.pause(1, 4)


#: Case -> what writes it.
CASES: dict[str, Callable[[_Author], None]] = {
    "plain": _plain,
    "several-at-once": _several_at_once,
    "put-back": _put_back,
    "misplaced-and-bought": _misplaced_and_bought,
    "equal-weights": _equal_weights,
    "two-at-once": _two_at_once,
    "three-close-together": _three_close_together,
    "put-while-another-takes": _put_while_another_takes,
    "side-by-side": _side_by_side,
}
