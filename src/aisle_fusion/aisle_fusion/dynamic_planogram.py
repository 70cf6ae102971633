"""What stands where: the planogram as places along each shelf, and the pieces that shoppers put elsewhere since."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle_fusion.item_likelihood import PLACES_PER_PLATE
from aisle_store.store import Plate, Shelf, ShelfKey, Store

#: Goods lean over the edge of their plates (places; a quarter of a plate each).
_MARGIN_PLACES = 1
#: Where a stray piece may be found again, as a spread around the place it was put (places).
_STRAY_SPREAD = 2.0


@dataclass(frozen=True, slots=True, order=True)
class Stray:
    """One piece that stands away from its product's home: ``place`` is an index of ``ItemLikelihood.places``."""

    gondola: str
    shelf: str
    place: int
    product: str


class Planogram:
    """The store's planogram, shelf by shelf, over the places of ``ItemLikelihood``."""

    def __init__(self, store: Store) -> None:
        self._plates = {shelf.key: ordered_plates(shelf) for shelf in store.shelves()}
        self._homes: dict[ShelfKey, dict[str, np.ndarray]] = {shelf.key: _homes(store, shelf) for shelf in store.shelves()}

    def plates(self, shelf: ShelfKey) -> tuple[Plate, ...]:
        """A shelf's plates from left to right, the order of all arrays per plate."""
        return self._plates[shelf]

    def homes(self, shelf: ShelfKey) -> dict[str, np.ndarray]:
        """Product -> probability [L] of the place of one of its pieces, for the products whose home is on this shelf."""
        return self._homes[shelf]

    def near(self, stray: Stray) -> np.ndarray:
        """Probability [L] of the place at which a stray piece is taken from."""
        places = np.arange(len(self._plates[stray.gondola, stray.shelf]) * PLACES_PER_PLATE)
        weight = np.exp(-0.5 * ((places - stray.place) / _STRAY_SPREAD) ** 2)
        return weight / weight.sum()


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
    return {product: weight / weight.sum() for product, weight in homes.items()}
