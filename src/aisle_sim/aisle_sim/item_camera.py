"""A camera that looks at things in hands and says which product it takes them for; it errs by a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from aisle_contract.records import NANOSECONDS, ItemObservation
from aisle_sim.profiles import ItemCameraProfile
from aisle_sim.reenactment import Reach, ShopperMotion
from aisle_store.store import Store

SOURCE = "item_camera"
#: A thing is seen well a moment after it was lifted out, or before it is put in.
_AWAY_S = 0.35


def confusion(products: int, accuracy: float) -> np.ndarray:
    """float64 [seen as, product]: right with ``accuracy``, else any other product alike; columns sum to 1."""
    if products == 1:
        return np.ones((1, 1))
    matrix = np.full((products, products), (1 - accuracy) / (products - 1))
    np.fill_diagonal(matrix, accuracy)
    return matrix


class ItemCamera:
    """Sees the hands of shoppers in one store."""

    def __init__(self, store: Store, profile: ItemCameraProfile, rng: np.random.Generator, start_ns: int) -> None:
        self._profile, self._rng, self._start_ns = profile, rng, start_ns
        self._products = tuple(store.products)
        self._number = {product: number for number, product in enumerate(self._products)}
        self._confusion = confusion(len(self._products), profile.accuracy)

    def records(self, shoppers: Iterable[ShopperMotion]) -> list[ItemObservation]:
        """One observation of each thing that a shopper takes from a shelf or puts on one, if it is seen at all; by stamp."""
        records = [
            record
            for shopper in shoppers
            for reach in shopper.reaches
            if reach.plates
            for product in dict.fromkeys(reach.products)
            for record in self._observed(shopper, reach, product)
        ]
        return sorted(records, key=lambda record: record.stamp_ns)

    def _observed(self, shopper: ShopperMotion, reach: Reach, product: str) -> list[ItemObservation]:
        rng, deviation = self._rng, self._profile.position_deviation_m
        time_s = reach.end_s + _AWAY_S if reach.action == "pick" else reach.start_s - _AWAY_S
        wrist = shopper.wrists(np.array([time_s]))[0 if reach.left_hand else 1][0]
        place = wrist + deviation * rng.standard_normal(3)
        seen_as = int(rng.choice(len(self._products), p=self._confusion[:, self._number[product]]))
        if rng.random() < self._profile.unseen_share:
            return []
        stamp_ns = self._start_ns + round(max(time_s, 0.0) * NANOSECONDS)
        return [ItemObservation(stamp_ns, SOURCE, place, deviation, self._products, self._confusion[seen_as])]
