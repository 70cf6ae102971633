"""What a shop is: immutable data that the rest of the graph asks. ``load_store`` (in ``store_files``) reads it from a folder.

All coordinates are metres in the frame ``store``: z up, floor at z = 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import cached_property

import numpy as np

import aisle_kernels
from aisle_store.camera_model import Camera


@dataclass(frozen=True, slots=True)
class Product:
    """One article of the catalogue. ``weight_deviation_kg`` is the spread from piece to piece (one standard deviation)."""

    product: str
    name: str
    weight_kg: float
    weight_deviation_kg: float
    price: Decimal


@dataclass(frozen=True, eq=False)
class Plate:
    """One weighing plate. ``pose`` float64 [4, 4] maps plate to store coordinates; the plate spans (0..width, 0..depth) in its own x, y."""

    gondola: str
    shelf: str
    plate: str
    pose: np.ndarray
    width: float
    depth: float
    capacity_kg: float

    @property
    def key(self) -> PlateKey:
        return (self.gondola, self.shelf, self.plate)

    @cached_property
    def centre(self) -> np.ndarray:
        """float64 [3], store frame."""
        return (self.pose @ [self.width / 2, self.depth / 2, 0.0, 1.0])[:3]

    @cached_property
    def front(self) -> np.ndarray:
        """float64 [3]: middle of the edge towards the aisle (the plate's y = 0), where hands come in."""
        return (self.pose @ [self.width / 2, 0.0, 0.0, 1.0])[:3]

    @cached_property
    def corners(self) -> np.ndarray:
        """float64 [4, 3], store frame, counter-clockwise from the plate's origin."""
        w, d = self.width, self.depth
        return (self.pose @ np.array([[0, 0, 0, 1], [w, 0, 0, 1], [w, d, 0, 1], [0, d, 0, 1]], dtype=float).T).T[:, :3]


PlateKey = tuple[str, str, str]
ShelfKey = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Shelf:
    """One board of plates. ``pose`` float64 [4, 4] to store; it spans (0..width, 0..depth, 0..height) in its own frame."""

    gondola: str
    shelf: str
    pose: np.ndarray
    width: float
    depth: float
    height: float
    plates: Mapping[str, Plate]

    @property
    def key(self) -> ShelfKey:
        return (self.gondola, self.shelf)


@dataclass(frozen=True, eq=False)
class Gondola:
    """One rack. ``pose`` float64 [4, 4] to store; its back panel spans (0..width, 0..depth, 0..height) in its own frame."""

    gondola: str
    pose: np.ndarray
    width: float
    depth: float
    height: float
    shelves: Mapping[str, Shelf]


class GateKind(str, Enum):
    ENTRANCE = "entrance"
    EXIT = "exit"
    BOTH = "both"


@dataclass(frozen=True, eq=False)
class Gate:
    """A door: the segment ``ends`` float64 [2, 2] (x, y) on the floor that people cross."""

    gate: str
    kind: GateKind
    ends: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        """float64 [2]."""
        return self.ends.mean(axis=0)


@dataclass(frozen=True, eq=False)
class Store:
    """The shop. Mappings keep the order of the files. ``floor`` float64 [K, 2]: polygon on which people are shoppers.

    ``zones``: named polygons on the floor (for example ``aisle``, where shoppers walk). ``planogram``: what stands on each plate.
    """

    name: str
    currency: str
    floor: np.ndarray
    zones: Mapping[str, np.ndarray]
    gondolas: Mapping[str, Gondola]
    cameras: Mapping[str, Camera]
    gates: Mapping[str, Gate]
    products: Mapping[str, Product]
    planogram: Mapping[PlateKey, tuple[str, ...]]

    def shelves(self) -> Iterator[Shelf]:
        for gondola in self.gondolas.values():
            yield from gondola.shelves.values()

    def plates(self) -> Iterator[Plate]:
        for shelf in self.shelves():
            yield from shelf.plates.values()

    def shelf(self, gondola: str, shelf: str) -> Shelf:
        return self.gondolas[gondola].shelves[shelf]

    def plate(self, gondola: str, shelf: str, plate: str) -> Plate:
        return self.shelf(gondola, shelf).plates[plate]

    def product_plates(self, product: str) -> tuple[PlateKey, ...]:
        """Where a product stands by the planogram, in the planogram's order."""
        return tuple(key for key, products in self.planogram.items() if product in products)

    def on_floor(self, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """bool [N]: which of ``points`` [N, 2] lie on the floor polygon grown by ``margin`` metres (negative: shrunk)."""
        return inside_polygon(self.floor, np.atleast_2d(points), margin)

    def in_zone(self, zone: str, points: np.ndarray, margin: float = 0.0) -> np.ndarray:
        """As ``on_floor`` for a named zone. KeyError for an unknown one."""
        return inside_polygon(self.zones[zone], np.atleast_2d(points), margin)


def inside_polygon(polygon: np.ndarray, points: np.ndarray, margin: float | np.ndarray) -> np.ndarray:
    """bool [N]: which of ``points`` [N, 2] lie in the simple ``polygon`` [K, 2] grown by ``margin`` metres (one, or [N]).

    Signed distance by the crossing number and the nearest edge (O'Rourke, Computational Geometry in C, 7.4).
    """
    inside, margins = np.empty(len(points), dtype=bool), np.empty(len(points))
    margins[...] = margin
    aisle_kernels.inside_polygon(_contiguous(polygon), _contiguous(points), margins, inside)
    return inside


def _contiguous(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points, dtype=float)
