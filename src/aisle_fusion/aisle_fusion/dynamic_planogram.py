"""What stands where now: the planogram as places along each shelf, what picks tell of it, and the pieces that shoppers put elsewhere.

The planogram is what somebody wrote down once. A product of the catalogue that it places nowhere is likely to stand somewhere all the same;
one that it places elsewhere hardly. What is picked at a place (or refilled by staff) is counted there by product, weighted with its
probability, and the counts shift the place's share from the planogram's products and from what is not known to stand there to those (a
Dirichlet posterior per place).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from aisle_contract.config import parameter
from aisle_fusion.item_likelihood import PLACES_PER_PLATE
from aisle_store.store import Plate, Shelf, ShelfKey, Store

#: Goods lean over the edge of their plates (places; a quarter of a plate each).
_MARGIN_PLACES = 1
#: Where a stray piece may be found again, as a spread around the place it was put (places).
_STRAY_SPREAD = 2.0
#: A pick tells about so many places around it.
_PLACES_OF_A_PICK = 2 * PLACES_PER_PLATE
#: Share of a shelf's picks that places have where the planogram has nothing.
_EMPTY_SHARE = 0.3
#: At most so many products stand in the shop without a place in the planogram, for each one that has a place.
_GAPS_PER_PLACED = 0.05
#: What the planogram places nowhere and was found somewhere hardly stands at another place as well: half as likely after so many picks.
_ANOTHER_PLACE_PICKS = 0.3
#: Counts of one product below this are forgotten; no more products than this are counted beside a shelf's own.
_LEAST_COUNT = 0.02
_MOST_FOREIGN = 24


@dataclass(frozen=True)
class PlanogramConfig:
    """Parameters of ``Planogram``."""

    misplaced_share: float = parameter(
        0.0005, "How much of a product whose home is elsewhere stands on a shelf, against one at home", 0.0, 0.5
    )
    unplaced_share: float = parameter(
        2.0, "The same over the whole store for a product in the shop to which the planogram gives no place", 0.0, 10.0
    )
    planogram_picks: float = parameter(1.0, "The planogram weighs as much as so many picks at a place", 0.01, 1000.0)
    remembered_picks: float = parameter(12.0, "Picks at a place that are remembered; older ones fade", 1.0, 1000.0)


class Stray(NamedTuple):
    """One piece that stands away from its product's home: ``place`` is an index of ``ItemLikelihood.places``, put there at ``since_ns``;
    ``felt_kg``: what each plate of the shelf, from left to right, felt then and will feel again when it is taken (empty: not known);
    ``lender``: the visit that put it there and was not known to hold any ("": it was held): a thing of his own, or a hand that rested
    there."""

    gondola: str
    shelf: str
    place: int
    product: str
    since_ns: int = 0
    felt_kg: tuple[float, ...] = ()
    lender: str = ""


class Planogram:
    """The store's planogram, shelf by shelf, over the places of ``ItemLikelihood``, as it is believed to be now."""

    def __init__(self, store: Store, config: PlanogramConfig | None = None) -> None:
        self._config = config or PlanogramConfig()
        self._plates = {shelf.key: ordered_plates(shelf) for shelf in store.shelves()}
        self._homes: dict[ShelfKey, dict[str, np.ndarray]] = {shelf.key: _homes(store, shelf) for shelf in store.shelves()}
        self._placed = {product for homes in self._homes.values() for product in homes}
        filled = sum(1 for plates in self._plates.values() if plates)
        unplaced = sum(1 for product in store.products if product not in self._placed)
        # A catalogue may list far more than the shop sells: the gaps of a planogram are few.
        in_the_shop = min(1.0, _GAPS_PER_PLACED * len(self._placed) / max(unplaced, 1))
        self._unplaced_share = self._config.unplaced_share * in_the_shop / max(filled, 1)
        self._are_placed: tuple[tuple[str, ...], np.ndarray] | None = None
        self._confirmed: dict[ShelfKey, np.ndarray] = {}
        self._foreign: dict[ShelfKey, dict[str, np.ndarray]] = {}
        self._standing: dict[ShelfKey, dict[str, np.ndarray]] = {}
        self._unknown: dict[ShelfKey, np.ndarray] = {}
        #: Product -> its picks on shelves where the planogram does not place it.
        self._found: dict[str, float] = {}

    def plates(self, shelf: ShelfKey) -> tuple[Plate, ...]:
        """A shelf's plates from left to right, the order of all arrays per plate."""
        return self._plates[shelf]

    def homes(self, shelf: ShelfKey) -> dict[str, np.ndarray]:
        """Product -> probability [L] of the place of one of its pieces, for the products whose home is on this shelf."""
        return self._homes[shelf]

    def standing(self, shelf: ShelfKey) -> Mapping[str, np.ndarray]:
        """Product -> weight [L] of a pick at a place: 1 in all for a product at home of which nothing else is known; sorted by product."""
        found = self._standing.get(shelf)
        if found is None:
            found = self._standing[shelf] = self._learned(shelf)
        return found

    def are_placed(self, products: tuple[str, ...]) -> np.ndarray:
        """Whether the planogram gives each of the products a place anywhere, bool [N]."""
        if self._are_placed is None or self._are_placed[0] is not products:
            self._are_placed = products, np.array([product in self._placed for product in products], dtype=bool)
        return self._are_placed[1]

    def elsewhere(self, product: str) -> float:
        """The weight with which a product stands on a shelf where neither the planogram nor a pick has placed it."""
        if product in self._placed:
            return self._config.misplaced_share
        left = _ANOTHER_PLACE_PICKS / (_ANOTHER_PLACE_PICKS + self._found.get(product, 0.0))
        return max(self._unplaced_share * left, min(self._unplaced_share, self._config.misplaced_share))

    def unknown(self, shelf: ShelfKey) -> np.ndarray:
        """The share [L] of picks at each place that is left to what is not known to stand there: the more was picked, the less."""
        share = self._unknown.get(shelf)
        if share is None:
            picks = self._confirmed.get(shelf, 0.0) + sum(self._foreign.get(shelf, {}).values())
            share = self._config.planogram_picks / (self._config.planogram_picks + picks)
            share = self._unknown[shelf] = np.broadcast_to(share, len(self._plates[shelf]) * PLACES_PER_PLATE)
        return share

    def observe(self, shelf: ShelfKey, product: str, places: np.ndarray, probability: float) -> None:
        """Counts a pick (or a refill) of ``product`` on a shelf; ``places`` [L] is the probability of its place there."""
        amount = probability * _PLACES_OF_A_PICK * places
        if product in self._homes[shelf]:
            self._confirmed[shelf] = self._confirmed.get(shelf, 0.0) + amount
        else:
            self._found[product] = self._found.get(product, 0.0) + probability
            foreign = self._foreign.setdefault(shelf, {})
            foreign[product] = foreign.get(product, 0.0) + amount
        self._fade(shelf)
        self._standing.pop(shelf, None)
        self._unknown.pop(shelf, None)

    def near(self, stray: Stray) -> np.ndarray:
        """Probability [L] of the place at which a stray piece is taken from."""
        places = np.arange(len(self._plates[stray.gondola, stray.shelf]) * PLACES_PER_PLATE)
        weight = np.exp(-0.5 * ((places - stray.place) / _STRAY_SPREAD) ** 2)
        return weight / weight.sum()

    def _learned(self, shelf: ShelfKey) -> dict[str, np.ndarray]:
        homes, foreign = self._homes[shelf], self._foreign.get(shelf)
        if not foreign:
            return homes
        planogram = self._config.planogram_picks + self._confirmed.get(shelf, 0.0)
        total = planogram + sum(foreign.values())
        share = sum(homes.values()) + _EMPTY_SHARE / (len(self._plates[shelf]) * PLACES_PER_PLATE)
        found = {product: home * planogram / total for product, home in homes.items()}
        found.update({product: count * share / total for product, count in foreign.items()})
        return dict(sorted(found.items()))

    def _fade(self, shelf: ShelfKey) -> None:
        foreign = self._foreign.get(shelf, {})
        total = self._confirmed.get(shelf, 0.0) + sum(foreign.values())
        keep = np.minimum(1.0, self._config.remembered_picks / np.maximum(total, 1e-9))
        if shelf in self._confirmed:
            self._confirmed[shelf] = self._confirmed[shelf] * keep
        faded = {product: count * keep for product, count in foreign.items()}
        likeliest = sorted(faded, key=lambda product: (-float(faded[product].max()), product))[:_MOST_FOREIGN]
        self._foreign[shelf] = {product: faded[product] for product in sorted(likeliest) if faded[product].max() >= _LEAST_COUNT}


def ordered_plates(shelf: Shelf) -> tuple[Plate, ...]:
    """Plates from left to right as seen from the aisle."""
    into_shelf = np.linalg.inv(shelf.pose)
    return tuple(sorted(shelf.plates.values(), key=lambda plate: float((into_shelf @ [*plate.centre, 1.0])[0])))


def _homes(store: Store, shelf: Shelf) -> dict[str, np.ndarray]:
    plates = ordered_plates(shelf)
    homes: dict[str, np.ndarray] = {}
    for column, plate in enumerate(plates):
        for product in store.planogram.get(plate.key, ()):
            weight = homes.setdefault(product, np.zeros(len(plates) * PLACES_PER_PLATE))
            start, end = column * PLACES_PER_PLATE, (column + 1) * PLACES_PER_PLATE
            weight[max(0, start - _MARGIN_PLACES) : end + _MARGIN_PLACES] = 1.0
    return {product: homes[product] / homes[product].sum() for product in sorted(homes)}
