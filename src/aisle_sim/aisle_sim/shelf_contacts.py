"""What touches the shelves: hands that take, put, rest or only touch, and the pieces that they move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aisle_sim.profiles import ScaleProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import PIECE_DELAY_S, Reach, Reenactment
from aisle_store.store import PlateKey, Shelf, ShelfKey, Store


@dataclass(frozen=True)
class Piece:
    """One thing with its own weight."""

    product: str
    weight_kg: float


@dataclass(frozen=True, eq=False)
class LoadChange:
    """One piece leaves (``sign`` -1) or reaches (+1) a shelf from ``start_s`` on. ``shares`` float64 [plates] of the shelf, in its
    order, sums to 1."""

    piece: Piece
    sign: int
    start_s: float
    shares: np.ndarray


@dataclass(frozen=True, eq=False)
class ShelfContact:
    """One reach into a shelf. ``shares`` float64 [plates]: where the hand presses; no changes: it only touched."""

    shelf: ShelfKey
    reach: Reach
    shares: np.ndarray
    changes: tuple[LoadChange, ...]

    @property
    def begin_s(self) -> float:
        return self.reach.start_s


def session_contacts(store: Store, reenactment: Reenactment, profile: ScaleProfile, seed: int, session: str) -> list[ShelfContact]:
    """Who moves which piece when: a piece keeps its weight while it is carried about, and lies as it was put until it is taken again."""
    rng = random_stream(seed, "pieces", session)
    carried: dict[str, list[Piece]] = {}
    put: dict[tuple[ShelfKey, str], list[tuple[Piece, np.ndarray]]] = {}
    contacts = []
    for reach in reenactment.reaches:
        if not reach.products:
            continue
        shelf = store.shelf(*reach.plates[0][:2])
        changes = []
        for number, product in enumerate(reach.products):
            own, here = carried.setdefault(reach.person, []), put.setdefault((shelf.key, product), [])
            if reach.action == "pick":
                found = _take_from(here, [list(shelf.plates).index(plate) for _, _, plate in reach.plates])
                piece = found[0] if found else new_piece(store, product, profile, rng)
                shares = found[1] if found else plate_shares(shelf, reach.plates, rng)
                own.append(piece)
            else:
                piece = _take(own, product) or new_piece(store, product, profile, rng)
                shares = plate_shares(shelf, reach.plates, rng)
                here.append((piece, shares))
            changes.append(LoadChange(piece, -1 if reach.action == "pick" else 1, reach.time_s + number * PIECE_DELAY_S, shares))
        contacts.append(ShelfContact(shelf.key, reach, np.mean([change.shares for change in changes], axis=0), tuple(changes)))
    return contacts


def _take(pieces: list[Piece], product: str) -> Piece | None:
    for i in range(len(pieces) - 1, -1, -1):
        if pieces[i].product == product:
            return pieces.pop(i)
    return None


def _take_from(lying: list[tuple[Piece, np.ndarray]], plates: Sequence[int]) -> tuple[Piece, np.ndarray] | None:
    """What was put last of what lies, with its shares, mostly on some plates (columns)."""
    for i in range(len(lying) - 1, -1, -1):
        if lying[i][1][list(plates)].sum() > 0.5:
            return lying.pop(i)
    return None


def new_piece(store: Store, product: str, profile: ScaleProfile, rng: np.random.Generator) -> Piece:
    """A piece of the product's spread, never lighter than a third of it."""
    article = store.products[product]
    weight = article.weight_kg + profile.weight_spread_factor * article.weight_deviation_kg * np.clip(rng.standard_normal(), -3, 3)
    return Piece(product, float(max(weight, 0.3 * article.weight_kg)))


def plate_shares(shelf: Shelf, plates: Sequence[PlateKey], rng: np.random.Generator) -> np.ndarray:
    """Shares [plates of the shelf] in which a thing at ``plates`` loads them: it has a width and does not stand centred."""
    ordered = list(shelf.plates.values())
    centres = along_shelf(shelf)
    widths = np.array([plate.width for plate in ordered])
    named = [list(shelf.plates).index(plate) for _, _, plate in plates]
    middle, span = centres[named].mean(), np.ptp(centres[named]) + widths[named].mean()
    if span > 1.6 * widths[named].sum():
        # Plates far apart cannot hold one thing: it stands on the first of them.
        named, middle, span = named[:1], centres[named[0]], widths[named[0]]
    several = len(named) > 1
    extent = span * rng.uniform(0.65, 0.95 if several else 0.85)
    middle += widths[named].mean() * (np.clip(rng.normal(0, 0.2), -0.45, 0.45) if several else np.clip(rng.normal(0, 0.05), -0.1, 0.1))
    low, high = np.maximum(centres - widths / 2, middle - extent / 2), np.minimum(centres + widths / 2, middle + extent / 2)
    shares = np.maximum(high - low, 0.0)
    return shares / shares.sum()


def along_shelf(shelf: Shelf) -> np.ndarray:
    """Where the middles of a shelf's plates are along it, m [plates]."""
    to_shelf = np.linalg.inv(shelf.pose)
    return np.array([(to_shelf @ np.append(plate.centre, 1))[0] for plate in shelf.plates.values()])


def side_by_side(shelf: Shelf) -> np.ndarray:
    """[plates, plates]: 1 where two plates touch, else 0."""
    middles = along_shelf(shelf)
    widths = np.array([plate.width for plate in shelf.plates.values()])
    apart = np.abs(middles[:, None] - middles)
    touching = apart < 0.75 * (widths[:, None] + widths)
    return (touching & ~np.eye(len(middles), dtype=bool)).astype(float)
