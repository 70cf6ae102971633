"""Makes a store from the files of the AiFi NanoStore data set (AutoCheckout competition, CPS-IoT Week 2020).

Its conventions: plates lie relative to their shelf, shelves to their gondola, gondolas to the world, in metres with rotations as
Rodrigues vectors; a camera's ``K`` is normalised by the image's width and height, ``Tw`` is the camera-to-world pose with OpenCV axes
and a translation in inches; weights are grams, prices US dollars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field

from aisle_contract.topics import ID_PATTERN
from aisle_store import store_schema as schema
from aisle_store.camera_model import Camera
from aisle_store.store import Gondola, Store
from aisle_store.store_documents import Problems, Row, StoreError, read_csv, read_document
from aisle_store.store_files import (
    PLANOGRAM_COLUMNS,
    build_gates,
    build_gondolas,
    build_planogram,
    build_products,
    build_zones,
)

METRES_PER_INCH = 0.0254
#: The data set's description names 20 kg per plate.
PLATE_CAPACITY_KG = 20.0

#: What the files do not tell, measured in the videos of January 2020 through their calibration (about 2 cm): the inner faces of the
#: half-height wall at the left end and of the glass wall opposite to the shelves, and the sills of the two doors in that glass wall.
LEFT_WALL_X = 0.0
GLASS_WALL_Y = -1.46
DOOR_Y = -1.47
ENTRANCE_DOOR_X = (3.30, 4.22)
EXIT_DOOR_X = (0.03, 0.98)
#: The middle of a walking person keeps about this far from walls and shelf fronts, m.
WALKING_CLEARANCE_M = 0.2

#: The catalogue gives one weight per product and no spread. Packaged goods are filled to a few per cent: assume 1.5 %, and not less
#: than 1.5 g, which covers rounding and wrapping of the light ones.
WEIGHT_DEVIATION_SHARE = 0.015
LEAST_WEIGHT_DEVIATION_KG = 0.0015

SOURCE_PRODUCT_COLUMNS = {
    "product": schema.product_identifier,
    "name": str,
    "weight_g": schema.positive_number,
    "price_usd": schema.price,
}


def import_nanostore(
    name: str,
    layout: Path,
    products: Path,
    planogram: Path,
    calibration: Path | None = None,
    cameras: Mapping[str, Camera] | None = None,
    floor_file: Path | None = None,
    image_size: tuple[int, int] = (640, 360),
    rate_hz: float = 10.0,
) -> Store:
    """The store of one day.

    ``layout``: folder with gondolas.json, shelves.json, plates.json. ``cameras`` (of another store) stand in where there is no
    ``calibration``. ``floor_file``: YAML with ``floor``, ``zones``, ``gates`` as in store.yaml, each optional, instead of the measured
    ones above. ``image_size``: width and height in pixels of the images. Raises StoreError that lists every problem.
    """
    problems = Problems()
    gondolas = build_gondolas(_read_layout(layout), str(layout / "plates.json"), problems)
    catalogue = build_products(_product_rows(products, problems), problems)
    plates = build_planogram(read_csv(planogram, PLANOGRAM_COLUMNS, problems, extra_columns=True), gondolas, catalogue, problems)
    problems.raise_if_any()
    place = read_document(floor_file, schema.FloorFile) if floor_file else schema.FloorFile()
    where = str(floor_file or layout)
    floor = place.floor if place.floor is not None else floor_between(gondolas, str(layout / "shelves.json"))
    gates = place.gates if place.gates is not None else _measured_gates()
    zones = build_zones(place.zones, where, problems) if place.zones is not None else {"aisle": _shrunk(floor)}
    store = Store(
        name=name,
        currency="USD",
        floor=floor,
        zones=zones,
        gondolas=gondolas,
        cameras=read_calibration(calibration, image_size, rate_hz) if calibration else dict(cameras or {}),
        gates=build_gates(gates, floor, where, problems),
        products=catalogue,
        planogram=plates,
    )
    problems.raise_if_any()
    return store


def read_calibration(path: Path, image_size: tuple[int, int], rate_hz: float) -> dict[str, Camera]:
    """Colour cameras by id. Entries ``<id>-depth`` are the depth lenses of the same devices and are left out. Raises StoreError."""
    width, height = image_size
    problems = Problems()
    cameras: dict[str, Camera] = {}
    for camera, entry in read_document(path, _CalibrationFile).cameras.items():
        if camera.endswith("-depth"):
            continue
        if not ID_PATTERN.fullmatch(camera):
            problems.add(str(path), f"cameras: found id '{camera}', expected letters, digits and underscores")
        matrix = entry.K * [[width], [height], [1]]
        pose = entry.Tw.copy()
        pose[:3, 3] *= METRES_PER_INCH
        cameras[camera] = Camera(camera, width, height, matrix, np.array(entry.dist_coeffs), pose, rate_hz)
    if not cameras:
        problems.add(str(path), "cameras: found none, expected at least one")
    problems.raise_if_any()
    return cameras


def floor_between(gondolas: Mapping[str, Gondola], where: str) -> np.ndarray:
    """float64 [4, 2]: the rectangle between the two walls and the shelf fronts that face them.

    Raises StoreError, beginning with ``where``, where no shelf faces the glass wall or none faces the left wall.
    """
    fronts = [(shelf.pose[:2, :3] @ [0, -1, 0], shelf.pose[:2, 3]) for g in gondolas.values() for shelf in g.shelves.values()]
    top = min((at[1] for facing, at in fronts if facing[1] < -0.9), default=None)
    right = min((at[0] for facing, at in fronts if facing[0] < -0.9), default=None)
    if top is None or right is None:
        raise StoreError(
            f"{where}: expected shelves that face the glass wall and shelves that face the left wall; without them give a floor"
        )
    return np.round([[LEFT_WALL_X, GLASS_WALL_Y], [right, GLASS_WALL_Y], [right, top], [LEFT_WALL_X, top]], 4)


def _shrunk(rectangle: np.ndarray) -> np.ndarray:
    """Of any polygon: the rectangle around it, less the walking clearance."""
    low, high = rectangle.min(axis=0) + WALKING_CLEARANCE_M, rectangle.max(axis=0) - WALKING_CLEARANCE_M
    return np.round([low, [high[0], low[1]], high, [low[0], high[1]]], 4)


def _measured_gates() -> list[schema.GateEntry]:
    doors = (("entrance", ENTRANCE_DOOR_X), ("exit", EXIT_DOOR_X))
    return [schema.GateEntry(gate=name, kind=name, ends=((left, DOOR_Y), (right, DOOR_Y))) for name, (left, right) in doors]


def _product_rows(path: Path, problems: Problems) -> Iterable[Row]:
    for row in read_csv(path, SOURCE_PRODUCT_COLUMNS, problems, extra_columns=True):
        weight_kg = round(row.values["weight_g"] / 1000, 9)
        deviation_kg = round(max(LEAST_WEIGHT_DEVIATION_KG, WEIGHT_DEVIATION_SHARE * weight_kg), 6)
        price: Decimal = row.values["price_usd"]
        product, name = row.values["product"], row.values["name"]
        yield Row(row.where, dict(product=product, name=name, weight_kg=weight_kg, weight_deviation_kg=deviation_kg, price=price))


def _read_layout(folder: Path) -> schema.LayoutFile:
    """The three files nested as ``layout.yaml`` nests them, sorted by id. Raises StoreError."""
    problems = Problems()
    gondolas: dict[int, schema.GondolaEntry] = {}
    shelves: dict[tuple[int, int], schema.ShelfEntry] = {}
    path = folder / "gondolas.json"
    for gondola in sorted(read_document(path, _GondolasFile).gondolas, key=lambda g: g.id.id):
        key = gondola.id.id
        if key in gondolas:
            problems.add(str(path), f"gondola {key} stands twice, expected unique ids")
        gondolas[key] = schema.GondolaEntry(gondola=str(key), **gondola.coordinates.placement(3), shelves=[])
    path = folder / "shelves.json"
    for shelf in sorted(read_document(path, _ShelvesFile).shelves, key=lambda s: s.id.key):
        key = shelf.id.key
        if key in shelves:
            problems.add(str(path), f"shelf {key[0]}/{key[1]} stands twice, expected unique ids")
        if key[0] not in gondolas:
            problems.add(str(path), f"shelf {key[0]}/{key[1]}: found gondola {key[0]}, expected one of {sorted(gondolas)}")
            continue
        shelves[key] = schema.ShelfEntry(shelf=str(key[1]), **shelf.coordinates.placement(3), plates=[])
        gondolas[key[0]].shelves.append(shelves[key])
    path = folder / "plates.json"
    for plate in sorted(read_document(path, _PlatesFile).plates, key=lambda p: p.id.key):
        key = plate.id.key
        if key[:2] not in shelves:
            name = "/".join(map(str, key))
            problems.add(str(path), f"plate {name} is off its shelf: found shelf {key[0]}/{key[1]}, expected one of shelves.json")
            continue
        entry = schema.PlateEntry(plate=str(key[2]), **plate.coordinates.placement(2), capacity_kg=PLATE_CAPACITY_KG)
        shelves[key[:2]].plates.append(entry)
    problems.raise_if_any()
    return schema.LayoutFile(gondolas=list(gondolas.values()))


class _Xyz(BaseModel):
    x: schema.Number
    y: schema.Number
    z: schema.Number

    @property
    def list(self) -> list[float]:
        return [self.x, self.y, self.z]


class _Transform(BaseModel):
    translation: _Xyz
    rotation: _Xyz


class _Coordinates(BaseModel):
    transform: _Transform
    dim_x: schema.Positive
    dim_y: schema.Positive
    dim_z: schema.Number

    def placement(self, dimensions: int) -> dict[str, Any]:
        """Fields of a store format's entry; ``dimensions``: 3 for a box, 2 for a plate. The files hold single-precision numbers."""
        size = [self.dim_x, self.dim_y, self.dim_z][:dimensions]
        translation, rotation = self.transform.translation.list, self.transform.rotation.list
        return {"translation": np.round(translation, 6).tolist(), "rotation": rotation, "size": np.round(size, 6).tolist()}


class _GondolaId(BaseModel):
    id: Annotated[int, Field(ge=0)]


class _ShelfId(BaseModel):
    gondola_id: _GondolaId
    shelf_index: Annotated[int, Field(ge=0)]

    @property
    def key(self) -> tuple[int, int]:
        return (self.gondola_id.id, self.shelf_index)


class _PlateId(BaseModel):
    shelf_id: _ShelfId
    plate_index: Annotated[int, Field(ge=0)]

    @property
    def key(self) -> tuple[int, int, int]:
        return (*self.shelf_id.key, self.plate_index)


class _Gondola(BaseModel):
    id: _GondolaId
    coordinates: _Coordinates


class _Shelf(BaseModel):
    id: _ShelfId
    coordinates: _Coordinates


class _Plate(BaseModel):
    id: _PlateId
    coordinates: _Coordinates


class _GondolasFile(BaseModel):
    gondolas: list[_Gondola]


class _ShelvesFile(BaseModel):
    shelves: list[_Shelf]


class _PlatesFile(BaseModel):
    plates: list[_Plate]


class _CameraEntry(BaseModel):
    K: Annotated[Any, BeforeValidator(schema.camera_matrix)]
    Tw: Annotated[Any, BeforeValidator(schema.pose_matrix)]
    dist_coeffs: tuple[schema.Number, schema.Number, schema.Number, schema.Number, schema.Number]


class _CalibrationFile(BaseModel):
    cameras: dict[str, _CameraEntry]
