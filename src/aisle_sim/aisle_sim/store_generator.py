"""Makes a store of any size: rows of gondolas with aisles between them, shelves of weighing plates, goods, prices, cameras, gates.

The floor is a rectangle with its gates in the front wall (y = 0). One row of gondolas stands along the back wall, the others back to
back; all fronts face an aisle that runs along x, and lanes at both ends join the aisles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

import numpy as np

from aisle_contract.config import parameter
from aisle_sim.random_streams import random_stream
from aisle_store.camera_model import Camera
from aisle_store.store import Gate, GateKind, Gondola, Plate, PlateKey, Product, Shelf, Store

PLATE_WIDTH_M, PLATE_DEPTH_M, PLATE_CAPACITY_KG = 0.1016, 0.4064, 20.0
PLATES_PER_SHELF = 12
#: Heights of the boards and of the room above each.
BOARD_HEIGHTS_M = (0.33, 0.60, 0.87, 1.14, 1.41, 1.66)
SHELF_HEIGHT_M = 0.24
_WIDTH_M = PLATES_PER_SHELF * PLATE_WIDTH_M
_PANEL_DEPTH_M, _PANEL_HEIGHT_M = 0.03, 1.95
_ROW_DEPTH_M = PLATE_DEPTH_M + _PANEL_DEPTH_M
_PASSAGE_M = 1.0
_LANE_M, _GATE_WIDTH_M, _GATE_FROM_CORNER_M = 1.3, 0.95, 0.35
_NARROWEST_AISLE_M, _WIDEST_AISLE_M, _FRONT_M = 1.2, 1.6, 1.5
_CAMERA_HEIGHT_M, _CAMERA_FOCAL_PX, _CAMERA_TILT_RAD, _CAMERA_EVERY_M = 2.9, 330.0, np.radians(45.0), 6.0
#: How many plates one facing takes, by chance: 1, 2 or 3.
_FACING_SHARES = (0.5, 0.35, 0.15)
_GOODS = ("biscuits", "crackers", "gummies", "chocolate", "nuts", "crisps", "popcorn", "tea", "coffee", "juice", "water", "soup")
_KINDS = ("salted", "sweet", "dark", "light", "organic", "classic", "roasted", "mild", "spicy", "fine", "crunchy", "fresh")
_COLOURS = ("red", "blue")


@dataclass(frozen=True)
class StoreConfig:
    """What a generated store is like."""

    floor_area_m2: float = parameter(60.0, "Area of the floor, m^2", 6.0, 10_000.0)
    plates: int = parameter(1_000, "Weighing plates", 1, 100_000)
    aspect: float = parameter(1.5, "Length of the front over the depth", 0.5, 4.0)
    weight_median_kg: float = parameter(0.2, "Median weight of a product, kg", 0.02, 2.0)
    weight_log_deviation: float = parameter(0.85, "Deviation of the logarithm of the products' weights", 0.0, 2.0)
    piece_spread: float = parameter(0.012, "Median deviation of a piece's weight as a share of the product's", 0.0, 0.2)
    twin_share: float = parameter(0.1, "Share of products that stand beside another of equal weight and price in a second colour", 0.0, 1.0)
    second_place_share: float = parameter(0.06, "Share of facings that hold a product which also stands elsewhere", 0.0, 0.5)
    camera_rate_hz: float = parameter(10.0, "Frames per second of every camera", 1.0, 60.0)


@dataclass(frozen=True)
class _Row:
    """One row of gondolas: ``front_y`` m of its shelves' edges; they face +y or -y; ``x`` m: left end, ``step`` m to the next."""

    front_y: float
    faces_up: bool
    x: float
    gondolas: int
    step: float


def generate_store(config: StoreConfig, seed: int = 0, name: str | None = None) -> Store:
    """A store with exactly ``config.plates`` plates; the same for the same arguments.

    Raises ValueError where the plates do not fit on the floor, saying how many do.
    """
    length = float(np.sqrt(config.floor_area_m2 * config.aspect))
    depth = config.floor_area_m2 / length
    rng = random_stream(seed, "store")
    rows, aisles = _rows(config, length, depth)
    gondolas = _gondolas(rows, config.plates)
    products, planogram = _assortment(config, gondolas, rng)
    floor = np.array([[0, 0], [length, 0], [length, depth], [0, depth]], dtype=float).round(4)
    inset = 0.15
    return Store(
        name=name or f"synthetic-{config.floor_area_m2:g}m2-{config.plates}-{seed}",
        currency="EUR",
        floor=floor,
        zones={
            "floor": np.array([[inset, inset], [length - inset, inset], [length - inset, depth - inset], [inset, depth - inset]]).round(4)
        },
        gondolas=gondolas,
        cameras=_cameras(config, length, aisles),
        gates=_gates(length),
        products=products,
        planogram=planogram,
    )


def _rows(config: StoreConfig, length: float, depth: float) -> tuple[list[_Row], list[tuple[float, float]]]:
    """Rows of gondolas, and the aisles as (y of the middle, width), the front zone being the last."""
    per_row = int((length - 2 * _LANE_M) / _WIDTH_M + 1e-9)
    doubles = max(int((depth - _ROW_DEPTH_M - _FRONT_M + 1e-9) / (2 * _ROW_DEPTH_M + _NARROWEST_AISLE_M)), 0)
    room = (1 + 2 * doubles) * per_row * len(BOARD_HEIGHTS_M) * PLATES_PER_SHELF
    if per_row < 1 or depth < _ROW_DEPTH_M + _FRONT_M or config.plates > room:
        raise ValueError(f"{config.plates} plates do not fit on {config.floor_area_m2:g} m^2, expected at most {max(per_row, 0) and room}")
    needed = -(-config.plates // (len(BOARD_HEIGHTS_M) * PLATES_PER_SHELF))
    doubles = min(doubles, needed // 2)
    free = depth - _ROW_DEPTH_M * (1 + 2 * doubles) - _FRONT_M
    width = float(np.clip(free / max(doubles, 1), _NARROWEST_AISLE_M, _WIDEST_AISLE_M)) if doubles else 0.0
    y, rows, aisles = depth - _ROW_DEPTH_M, [(depth - _ROW_DEPTH_M, False)], []
    for _ in range(doubles):
        aisles.append((y - width / 2, width))
        rows += [(y - width, True), (y - width - 2 * _ROW_DEPTH_M, False)]
        y -= width + 2 * _ROW_DEPTH_M
    aisles.append((y / 2, y))
    counts = [needed // len(rows) + (i < needed % len(rows)) for i in range(len(rows))]
    # Where there is room, people can walk through between the gondolas of a row.
    gap = (length - 2 * _LANE_M - max(counts) * _WIDTH_M) / max(max(counts) - 1, 1)
    gap = gap if gap >= _PASSAGE_M else 0.0
    start = (length - max(counts) * (_WIDTH_M + gap) + gap) / 2
    return [_Row(front, up, start, count, _WIDTH_M + gap) for (front, up), count in zip(rows, counts, strict=True)], aisles


def _gondolas(rows: list[_Row], plates: int) -> dict[str, Gondola]:
    gondolas: dict[str, Gondola] = {}
    left = plates
    for row in rows:
        for place in range(row.gondolas):
            name = str(len(gondolas) + 1)
            pose = np.eye(4)
            if row.faces_up:
                # Seen from the aisle its x runs to the left in the store: turned by half a turn.
                pose[:2, :2] = -np.eye(2)
                pose[:2, 3] = row.x + place * row.step + _WIDTH_M, row.front_y - PLATE_DEPTH_M
            else:
                pose[:2, 3] = row.x + place * row.step, row.front_y + PLATE_DEPTH_M
            pose[:3, 3] = pose[:3, 3].round(4)
            here = min(left, len(BOARD_HEIGHTS_M) * PLATES_PER_SHELF)
            left -= here
            gondolas[name] = Gondola(name, pose, round(_WIDTH_M, 4), _PANEL_DEPTH_M, _PANEL_HEIGHT_M, _shelves(name, pose, here))
    return gondolas


def _shelves(gondola: str, gondola_pose: np.ndarray, plates: int) -> dict[str, Shelf]:
    shelves: dict[str, Shelf] = {}
    for number, height in enumerate(BOARD_HEIGHTS_M, 1):
        count = min(max(plates - (number - 1) * PLATES_PER_SHELF, 0), PLATES_PER_SHELF)
        if not count:
            break
        pose = gondola_pose.copy()
        pose[:3, 3] = (gondola_pose @ [0.0, -PLATE_DEPTH_M, height, 1.0])[:3]
        shelf = str(number)
        on_it: dict[str, Plate] = {}
        for i in range(count):
            place = pose.copy()
            place[:3, 3] = (pose @ [i * PLATE_WIDTH_M, 0.0, 0.0, 1.0])[:3]
            on_it[str(i + 1)] = Plate(gondola, shelf, str(i + 1), place, PLATE_WIDTH_M, PLATE_DEPTH_M, PLATE_CAPACITY_KG)
        shelves[shelf] = Shelf(gondola, shelf, pose, round(_WIDTH_M, 4), PLATE_DEPTH_M, SHELF_HEIGHT_M, on_it)
    return shelves


def _assortment(
    config: StoreConfig, gondolas: dict[str, Gondola], rng: np.random.Generator
) -> tuple[dict[str, Product], dict[PlateKey, tuple[str, ...]]]:
    """Products shelf by shelf in facings of one to three plates."""
    products: dict[str, Product] = {}
    planogram: dict[PlateKey, tuple[str, ...]] = {}
    for gondola in gondolas.values():
        for shelf in gondola.shelves.values():
            free = list(shelf.plates)
            twin_of: Product | None = None
            while free:
                width = min(1 + int(rng.choice(len(_FACING_SHARES), p=_FACING_SHARES)), len(free))
                if twin_of is not None:
                    product, twin_of = _twin(twin_of, len(products)), None
                elif products and rng.random() < config.second_place_share:
                    product = list(products.values())[int(rng.integers(len(products)))]
                else:
                    product = _product(config, width, len(products), rng)
                    if rng.random() < config.twin_share and len(free) > width:
                        product = replace(product, name=f"{product.name}, {_COLOURS[0]}")
                        twin_of = product
                products[product.product] = product
                for plate in free[:width]:
                    planogram[gondola.gondola, shelf.shelf, plate] = (product.product,)
                free = free[width:]
    return products, planogram


def _product(config: StoreConfig, width: int, number: int, rng: np.random.Generator) -> Product:
    # Wide things are heavier.
    median = config.weight_median_kg * (0.7, 1.3, 2.0)[width - 1]
    weight = float(np.clip(median * np.exp(rng.normal(0, config.weight_log_deviation)), 0.02, 2.0))
    spread = weight * config.piece_spread * float(np.exp(rng.normal(0, 0.5)))
    cents = int(np.clip(round(150 * weight**0.5 * np.exp(rng.normal(0.6, 0.4)) / 10), 5, 200)) * 10 - 1
    name = f"{_KINDS[int(rng.integers(len(_KINDS)))]} {_GOODS[int(rng.integers(len(_GOODS)))]} {1000 * weight:.0f} g".capitalize()
    return Product(_article(number), name, round(weight, 5), round(spread, 6), Decimal(cents) / 100)


def _twin(product: Product, number: int) -> Product:
    return replace(product, product=_article(number), name=product.name.replace(_COLOURS[0], _COLOURS[1]))


def _article(number: int) -> str:
    """An EAN-13 of the range for use within a shop (GS1 General Specifications, prefix 20), with its check digit."""
    digits = f"20{number:010d}"
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10
    return digits + str(check)


def _cameras(config: StoreConfig, length: float, aisles: list[tuple[float, float]]) -> dict[str, Camera]:
    """Pairs that look at each other along every aisle, and one pair along each end lane."""
    matrix = np.array([[_CAMERA_FOCAL_PX, 0, 320], [0, _CAMERA_FOCAL_PX, 240], [0, 0, 1]])
    cameras: dict[str, Camera] = {}

    def add(x: float, y: float, heading: float) -> None:
        name = str(len(cameras) + 1)
        pose = _looking(np.array([x, y, _CAMERA_HEIGHT_M]), heading, _CAMERA_TILT_RAD)
        cameras[name] = Camera(name, 640, 480, matrix, np.zeros(5), pose.round(9), config.camera_rate_hz)

    for middle, _ in aisles:
        pairs = max(1, int(np.ceil((length - 0.4) / _CAMERA_EVERY_M)))
        edges = np.linspace(0.2, length - 0.2, pairs + 1)
        for start, end in pairwise(edges):
            add(start, middle, 0.0)
            add(end, middle, np.pi)
    for x in (0.65, length - 0.65):
        # Along the end lanes, over the ends of the rows.
        lowest, highest = 0.2, aisles[0][0] + aisles[0][1] / 2
        pairs = max(1, int(np.ceil((highest - lowest) / _CAMERA_EVERY_M)))
        edges = np.linspace(lowest, highest, pairs + 1)
        for start, end in pairwise(edges):
            add(x, start, np.pi / 2)
            add(x, end, -np.pi / 2)
    return cameras


def _looking(position: np.ndarray, heading: float, tilt: float) -> np.ndarray:
    """Pose [4, 4] of an optical frame (x right, y down, z forward) that looks along ``heading``, ``tilt`` below the horizon."""
    forward = np.array([np.cos(heading) * np.cos(tilt), np.sin(heading) * np.cos(tilt), -np.sin(tilt)])
    right = np.array([np.sin(heading), -np.cos(heading), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = position
    return pose


def _gates(length: float) -> dict[str, Gate]:
    near, far = _GATE_FROM_CORNER_M, _GATE_FROM_CORNER_M + _GATE_WIDTH_M
    entrance = np.array([[length - far, -0.01], [length - near, -0.01]]).round(4)
    way_out = np.array([[near, -0.01], [far, -0.01]]).round(4)
    return {"entrance": Gate("entrance", GateKind.ENTRANCE, entrance), "exit": Gate("exit", GateKind.EXIT, way_out)}
