"""A store on disk: ``load_store`` reads and checks the folder that docs/store-format.md describes, ``save_store`` writes it."""

from __future__ import annotations

import csv
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from aisle_store import store_schema as schema
from aisle_store.camera_model import Camera
from aisle_store.store import Gate, Gondola, Plate, PlateKey, Product, Shelf, Store, inside_polygon
from aisle_store.store_documents import Problems, Row, StoreError, read_csv, read_document

__all__ = ["STORE_FILES", "StoreError", "load_store", "save_store"]

STORE_FILES = ("store.yaml", "layout.yaml", "cameras.yaml", "products.csv", "planogram.csv")

#: How far a plate may stick out of its shelf, m: plates overhang a little and positions are measured by hand.
PLATE_TOLERANCE_M = 0.02
#: How far a gate may lie from the floor polygon, m: doors stand in walls.
GATE_TOLERANCE_M = 1.0

PRODUCT_COLUMNS = {
    "product": schema.product_identifier,
    "name": str,
    "weight_kg": schema.positive_number,
    "weight_deviation_kg": schema.non_negative_number,
    "price": schema.price,
}
PLANOGRAM_COLUMNS = {
    "gondola": schema.identifier,
    "shelf": schema.identifier,
    "plate": schema.identifier,
    "product": schema.product_identifier,
}


def load_store(folder: str | os.PathLike[str]) -> Store:
    """Reads a store from ``folder``.

    Raises StoreError that lists every problem found: file, line or row, field, what was found and what was expected.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"{folder}: missing, expected a folder with {', '.join(STORE_FILES)}")
    problems = Problems()
    parts = {}
    for name, model in (("store.yaml", schema.StoreFile), ("layout.yaml", schema.LayoutFile), ("cameras.yaml", schema.CamerasFile)):
        try:
            parts[name] = read_document(folder / name, model)
        except StoreError as error:
            problems.found += error.problems
    tables = {}
    for name, columns in (("products.csv", PRODUCT_COLUMNS), ("planogram.csv", PLANOGRAM_COLUMNS)):
        try:
            tables[name] = read_csv(folder / name, columns, problems)
        except StoreError as error:
            problems.found += error.problems
    problems.raise_if_any()
    floor = parts["store.yaml"]
    gondolas = build_gondolas(parts["layout.yaml"], str(folder / "layout.yaml"), problems)
    products = build_products(tables["products.csv"], problems)
    planogram = build_planogram(tables["planogram.csv"], gondolas, products, problems)
    store = Store(
        name=floor.name,
        currency=floor.currency,
        floor=floor.floor,
        zones=build_zones(floor.zones, str(folder / "store.yaml"), problems),
        gondolas=gondolas,
        cameras=build_cameras(parts["cameras.yaml"].cameras, str(folder / "cameras.yaml"), problems),
        gates=build_gates(floor.gates, floor.floor, str(folder / "store.yaml"), problems),
        products=products,
        planogram=planogram,
    )
    problems.raise_if_any()
    return store


def build_gondolas(layout: schema.LayoutFile, where: str, problems: Problems) -> dict[str, Gondola]:
    """Gondolas with poses in the frame ``store``; complains about duplicate ids and plates off their shelf."""
    gondolas: dict[str, Gondola] = {}
    for entry in layout.gondolas:
        if entry.gondola in gondolas:
            problems.add(where, f"gondola '{entry.gondola}' stands twice, expected unique ids")
        shelves: dict[str, Shelf] = {}
        for shelf_entry in entry.shelves:
            if shelf_entry.shelf in shelves:
                problems.add(where, f"gondola '{entry.gondola}': shelf '{shelf_entry.shelf}' stands twice, expected unique ids")
            shelves[shelf_entry.shelf] = _shelf(entry.gondola, entry.pose, shelf_entry, where, problems)
        gondolas[entry.gondola] = Gondola(entry.gondola, entry.pose, *entry.size, shelves)
    return gondolas


def _shelf(gondola: str, gondola_pose: np.ndarray, entry: schema.ShelfEntry, where: str, problems: Problems) -> Shelf:
    pose = gondola_pose @ entry.pose
    plates: dict[str, Plate] = {}
    for plate in entry.plates:
        path = f"gondola '{gondola}', shelf '{entry.shelf}'"
        if plate.plate in plates:
            problems.add(where, f"{path}: plate '{plate.plate}' stands twice, expected unique ids")
        _check_plate_on_shelf(plate, entry, f"{path}, plate '{plate.plate}'", where, problems)
        plates[plate.plate] = Plate(gondola, entry.shelf, plate.plate, pose @ plate.pose, *plate.size, plate.capacity_kg)
    return Shelf(gondola, entry.shelf, pose, *entry.size, plates)


def _check_plate_on_shelf(plate: schema.PlateEntry, shelf: schema.ShelfEntry, path: str, where: str, problems: Problems) -> None:
    width, depth = plate.size
    corners = np.array([[0, 0, 0], [width, 0, 0], [width, depth, 0], [0, depth, 0]]) @ plate.pose[:3, :3].T + plate.pose[:3, 3]
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (low < -PLATE_TOLERANCE_M).any() or (high > np.array(shelf.size) + PLATE_TOLERANCE_M).any():
        found = ", ".join(f"{axis} {a:.3f} .. {b:.3f}" for axis, a, b in zip("xyz", low, high, strict=True))
        expected = ", ".join(f"{axis} 0 .. {size:.3f}" for axis, size in zip("xyz", shelf.size, strict=True))
        problems.add(where, f"{path}: plate is off its shelf: found {found} m, expected within {expected} m")


def build_cameras(entries: Iterable[schema.CameraEntry], where: str, problems: Problems) -> dict[str, Camera]:
    """Cameras by id; complains about duplicate ids."""
    cameras: dict[str, Camera] = {}
    for entry in entries:
        if entry.camera in cameras:
            problems.add(where, f"camera '{entry.camera}' stands twice, expected unique ids")
        cameras[entry.camera] = Camera(
            entry.camera, entry.width, entry.height, entry.matrix, np.array(entry.distortion), entry.pose, entry.rate_hz
        )
    return cameras


def build_zones(entries: Iterable[schema.ZoneEntry], where: str, problems: Problems) -> dict[str, np.ndarray]:
    """Polygons by zone name; complains about duplicates."""
    zones: dict[str, np.ndarray] = {}
    for entry in entries:
        if entry.zone in zones:
            problems.add(where, f"zone '{entry.zone}' stands twice, expected unique names")
        zones[entry.zone] = entry.polygon
    return zones


def build_gates(entries: Iterable[schema.GateEntry], floor: np.ndarray, where: str, problems: Problems) -> dict[str, Gate]:
    """Gates by id; complains about duplicates, gates without length and gates far from the floor."""
    gates: dict[str, Gate] = {}
    for entry in entries:
        path = f"gate '{entry.gate}'"
        if entry.gate in gates:
            problems.add(where, f"{path} stands twice, expected unique ids")
        ends = np.array(entry.ends)
        if np.hypot(*(ends[1] - ends[0])) < 0.01:
            problems.add(where, f"{path}: ends: found {ends.tolist()}, a segment without length, expected two different points")
        gates[entry.gate] = Gate(entry.gate, entry.kind, ends)
        if not inside_polygon(floor, gates[entry.gate].centre[None], GATE_TOLERANCE_M)[0]:
            problems.add(where, f"{path}: ends: found {ends.tolist()}, expected within {GATE_TOLERANCE_M} m of the floor polygon")
    return gates


def build_products(rows: Iterable[Row], problems: Problems) -> dict[str, Product]:
    """Products by id; complains about duplicate ids."""
    products: dict[str, Product] = {}
    for row in rows:
        product = Product(**row.values)
        if product.product in products:
            problems.add(row.where, f"product: '{product.product}' stands twice, expected unique ids")
        products[product.product] = product
    return products


def build_planogram(
    rows: Iterable[Row], gondolas: Mapping[str, Gondola], products: Mapping[str, Product], problems: Problems
) -> dict[PlateKey, tuple[str, ...]]:
    """Products by plate; complains about plates that the layout lacks, products that the catalogue lacks, and rows that stand twice."""
    planogram: dict[PlateKey, tuple[str, ...]] = {}
    for row in rows:
        key = (row.values["gondola"], row.values["shelf"], row.values["plate"])
        product = row.values["product"]
        missing = _missing_plate(key, gondolas)
        if missing:
            problems.add(row.where, missing)
        if product not in products:
            problems.add(row.where, f"product: found '{product}', expected one of the {len(products)} products of the catalogue")
        if product in planogram.get(key, ()):
            problems.add(row.where, f"found '{product}' on plate {'/'.join(key)} a second time, expected each pair once")
        planogram[key] = (*planogram.get(key, ()), product)
    return planogram


def _missing_plate(key: PlateKey, gondolas: Mapping[str, Gondola]) -> str | None:
    gondola, shelf, plate = key
    if gondola not in gondolas:
        return f"gondola: found '{gondola}', expected one of {', '.join(gondolas)}"
    shelves = gondolas[gondola].shelves
    if shelf not in shelves:
        return f"shelf: found '{shelf}', expected one of gondola {gondola}: {', '.join(shelves)}"
    plates = shelves[shelf].plates
    if plate not in plates:
        return f"plate: found '{plate}', expected one of shelf {gondola}/{shelf}: {', '.join(plates)}"
    return None


def save_store(store: Store, folder: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Writes ``store`` as a folder that ``load_store`` reads back; the folder appears whole or not at all.

    With ``overwrite`` an existing folder's store files are replaced and its other files kept. Raises StoreError where ``folder`` is not
    vacant (without ``overwrite``), where it cannot be written, and where ``store`` would not load.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file, expected a folder")
    if not overwrite and not is_vacant(folder):
        raise StoreError(f"{folder}: exists and is not empty, expected a new folder (or leave to overwrite)")
    fresh = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    replaced = fresh.with_name(f"{fresh.name}.replaced")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
        _write_files(store, fresh)
        try:
            load_store(fresh)
        except StoreError as error:
            raise StoreError([problem.replace(str(fresh), str(folder)) for problem in error.problems]) from None
        if folder.exists():
            _copy_other_files(folder, fresh)
            folder.rename(replaced)
        fresh.rename(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(replaced, ignore_errors=True)


def is_vacant(folder: Path) -> bool:
    """Whether a store may be written there without replacing anything: nothing is there, or an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def _copy_other_files(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        if path.name not in STORE_FILES:
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, target / path.name)


def _write_files(store: Store, folder: Path) -> None:
    documents = {"store.yaml": _store_document(store), "layout.yaml": _layout_document(store), "cameras.yaml": _cameras_document(store)}
    for name, document in documents.items():
        text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=150, allow_unicode=True)
        (folder / name).write_text(text, encoding="utf-8")
    products = ((p.product, p.name, p.weight_kg, p.weight_deviation_kg, p.price) for p in store.products.values())
    _write_csv(folder / "products.csv", PRODUCT_COLUMNS, products)
    planogram = ((*key, product) for key, on_plate in store.planogram.items() for product in on_plate)
    _write_csv(folder / "planogram.csv", PLANOGRAM_COLUMNS, planogram)


def _write_csv(path: Path, columns: Iterable[str], rows: Iterable[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


class _Flow(dict):
    """A mapping that is written on one line."""


class _FlowList(list):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Flow, lambda dumper, data: dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True))
_Dumper.add_representer(_FlowList, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True))


def _numbers(values: Any, digits: int = 9) -> Any:
    """Nested lists of rounded numbers, whole ones without a point."""
    if np.ndim(values) == 0:
        value = round(float(values), digits)
        return int(value) if value.is_integer() else value
    return _FlowList(_numbers(value, digits) for value in values)


def _placement(pose: np.ndarray, parent: np.ndarray | None = None) -> dict[str, Any]:
    relative = pose if parent is None else np.linalg.inv(parent) @ pose
    placement = {"translation": _numbers(relative[:3, 3])}
    rotation = _numbers(cv2.Rodrigues(np.ascontiguousarray(relative[:3, :3]))[0].ravel())
    return placement if rotation == [0, 0, 0] else {**placement, "rotation": rotation}


def _store_document(store: Store) -> dict[str, Any]:
    return {
        "format": 1,
        "name": store.name,
        "currency": store.currency,
        "floor": _numbers(store.floor),
        "zones": [_Flow(zone=name, polygon=_numbers(polygon)) for name, polygon in store.zones.items()],
        "gates": [_Flow(gate=g.gate, kind=g.kind.value, ends=_numbers(g.ends)) for g in store.gates.values()],
    }


def _layout_document(store: Store) -> dict[str, Any]:
    return {"gondolas": [_gondola_document(gondola) for gondola in store.gondolas.values()]}


def _gondola_document(gondola: Gondola) -> dict[str, Any]:
    size = _numbers([gondola.width, gondola.depth, gondola.height])
    shelves = [_shelf_document(shelf, gondola.pose) for shelf in gondola.shelves.values()]
    return {"gondola": gondola.gondola, **_placement(gondola.pose), "size": size, "shelves": shelves}


def _shelf_document(shelf: Shelf, gondola_pose: np.ndarray) -> dict[str, Any]:
    plates = [
        _Flow(plate=p.plate, **_placement(p.pose, shelf.pose), size=_numbers([p.width, p.depth]), capacity_kg=_numbers(p.capacity_kg))
        for p in shelf.plates.values()
    ]
    size = _numbers([shelf.width, shelf.depth, shelf.height])
    return {"shelf": shelf.shelf, **_placement(shelf.pose, gondola_pose), "size": size, "plates": plates}


def _cameras_document(store: Store) -> dict[str, Any]:
    cameras = [
        {
            "camera": camera.camera,
            "width": camera.width,
            "height": camera.height,
            "rate_hz": _numbers(camera.rate_hz),
            "matrix": _numbers(camera.matrix),
            "distortion": _numbers(camera.distortion),
            "translation": _numbers(camera.position),
            "rotation": _numbers(camera.pose[:3, :3], 12),
        }
        for camera in store.cameras.values()
    ]
    return {"cameras": cameras}
