"""What stands where, piece by piece: facings with their stock, things put down in the wrong place, things on the floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from aisle_sim.profiles import ScaleProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.shelf_contacts import Piece, new_piece, plate_shares
from aisle_store.store import PlateKey, ShelfKey, Store

_OFFSET_KG = (-0.5, 2.0)


@dataclass(frozen=True, eq=False)
class StandingPiece:
    """A piece on a shelf: on ``plates``, which it loads by ``shares`` [plates of the shelf]."""

    piece: Piece
    shelf: ShelfKey
    plates: tuple[PlateKey, ...]
    shares: np.ndarray


@dataclass(eq=False)
class Facing:
    """A product's place on a shelf: plates side by side, each piece on ``width`` of them; ``capacity`` pieces."""

    product: str
    shelf: ShelfKey
    plates: tuple[PlateKey, ...]
    width: int
    capacity: int
    pieces: list[StandingPiece] = field(default_factory=list)


class ShelfStock:
    """All pieces of a store; drawn from the seed."""

    def __init__(self, store: Store, profile: ScaleProfile, seed: int, pieces: tuple[int, int]) -> None:
        self._store, self._profile = store, profile
        self._rng = random_stream(seed, "stock")
        self.facings: list[Facing] = _facings(store, self._rng, pieces)
        self.facings_of: dict[str, list[Facing]] = {}
        self.facings_on: dict[ShelfKey, list[Facing]] = {}
        for facing in self.facings:
            self.facings_of.setdefault(facing.product, []).append(facing)
            self.facings_on.setdefault(facing.shelf, []).append(facing)
            for _ in range(facing.capacity):
                facing.pieces.append(self.stand(new_piece(store, facing.product, profile, self._rng), facing))
        self.strays: list[StandingPiece] = []
        #: Things on the floor and where, [2] m.
        self.on_floor: list[tuple[Piece, np.ndarray]] = []
        self.initial_kg = self._readings()

    def stand(self, piece: Piece, facing: Facing) -> StandingPiece:
        """Where a piece of a facing, or one that does not belong there, comes to stand; it is not yet counted in."""
        first = int(self._rng.integers(len(facing.plates) - facing.width + 1))
        plates = facing.plates[first : first + facing.width]
        return StandingPiece(piece, facing.shelf, plates, plate_shares(self._store.shelf(*facing.shelf), plates, self._rng))

    def fresh(self, product: str) -> Piece:
        """A new piece from the storeroom."""
        return new_piece(self._store, product, self._profile, self._rng)

    def _readings(self) -> Mapping[ShelfKey, np.ndarray]:
        """What the plates read, kg [plates] by shelf, with the offset that nobody zeroed."""
        readings = {shelf.key: self._rng.uniform(*_OFFSET_KG, len(shelf.plates)) for shelf in self._store.shelves() if shelf.plates}
        for facing in self.facings:
            for standing in facing.pieces:
                readings[facing.shelf] += standing.piece.weight_kg * standing.shares
        return readings


def _facings(store: Store, rng: np.random.Generator, pieces: tuple[int, int]) -> list[Facing]:
    """Runs of neighbouring plates that hold the same product."""
    facings: list[Facing] = []
    for shelf in store.shelves():
        open_runs: dict[str, list[PlateKey]] = {}
        for plate in shelf.plates.values():
            standing = [product for product in store.planogram.get(plate.key, ()) if product in store.products]
            for product in [product for product in open_runs if product not in standing]:
                facings.append(_facing(product, open_runs.pop(product), rng, pieces))
            for product in standing:
                open_runs.setdefault(product, []).append(plate.key)
        facings += [_facing(product, run, rng, pieces) for product, run in open_runs.items()]
    return facings


def _facing(product: str, plates: list[PlateKey], rng: np.random.Generator, pieces: tuple[int, int]) -> Facing:
    width = min(int(rng.integers(1, 4)), len(plates)) if len(plates) != 2 else int(rng.integers(1, 3))
    return Facing(product, plates[0][:2], tuple(plates), width, int(rng.integers(pieces[0], pieces[1] + 1)))
