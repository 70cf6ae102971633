from __future__ import annotations

import copy
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aisle_store.import_nanostore import import_nanostore
from aisle_store.store import GateKind
from aisle_store.store_files import STORE_FILES, StoreError, load_store, save_store

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = REPOSITORY.parent / "shared"
NANOSTORE = SHARED / "data" / "nanostore"
STORES = REPOSITORY / "config" / "stores"


def placed(x: float, y: float, z: float, dim: tuple[float, float, float], turn: float = 0.0) -> dict[str, Any]:
    transform = {"translation": {"x": x, "y": y, "z": z}, "rotation": {"x": 0, "y": 0, "z": turn}}
    return {"transform": transform, "dim_x": dim[0], "dim_y": dim[1], "dim_z": dim[2]}


def shelf_id(gondola: int, shelf: int) -> dict[str, Any]:
    return {"gondola_id": {"id": gondola}, "shelf_index": shelf}


@pytest.fixture
def source() -> dict[str, Any]:
    """A small shop in the data set's format: two gondolas, one along the aisle and one at its end, with a shelf of two plates each."""
    gondolas = [
        {"id": {"id": 1}, "coordinates": placed(0, 0.5, 0, (0.2032, 0.03, 2.0))},
        {"id": {"id": 2}, "coordinates": placed(3.4, -0.5, 0, (0.2032, 0.03, 2.0), -math.pi / 2)},
    ]
    shelves = [{"id": shelf_id(g, 1), "coordinates": placed(0, -0.4064, 0.5, (0.2032, 0.4064, 0.3))} for g in (2, 1)]
    plates = [
        {"id": {"shelf_id": shelf_id(g, 1), "plate_index": p}, "coordinates": placed(0.1016 * (p - 1), 0, 0, (0.1016, 0.4064, 0))}
        for g in (1, 2)
        for p in (2, 1)
    ]
    camera = {
        "K": [[0.5, 0, 0.5], [0, 0.9, 0.45], [0, 0, 1]],
        "Tw": [[1, 0, 0, 100], [0, -1, 0, 0], [0, 0, -1, 95], [0, 0, 0, 1]],
        "dist_coeffs": [-0.4, 0.1, 0, 0, 0],
        "look_at": [0, 0, 0],
    }
    return {
        "gondolas.json": {"gondolas": gondolas, "header": {"status": None}},
        "shelves.json": {"shelves": shelves},
        "plates.json": {"plates": plates},
        "calibration.json": {"world_ltrb": [0, 0, 1, 1], "cameras": {"7": camera, "7-depth": camera}},
        "products.csv": "product,name,weight_g,price_usd\n001,Crisps,45.5,1.50\nwater,Water,538,2\n",
        "planogram.csv": "gondola,shelf,plate,product\n1,1,1,001\n1,1,2,001\n2,1,1,water\n2,1,1,001\n",
    }


def write(source: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Writes the files; gives the arguments of the importer."""
    for name, content in source.items():
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        (folder / name).write_text(text, encoding="utf-8")
    return {
        "name": "small",
        "layout": folder,
        "products": folder / "products.csv",
        "planogram": folder / "planogram.csv",
        "calibration": folder / "calibration.json",
    }


def test_units_frames_and_ids(source, tmp_path):
    store = import_nanostore(**write(source, tmp_path))
    assert [plate.key for plate in store.plates()] == [("1", "1", "1"), ("1", "1", "2"), ("2", "1", "1"), ("2", "1", "2")]
    np.testing.assert_allclose(store.plate("1", "1", "2").front, [0.1524, 0.0936, 0.5], atol=1e-6)
    # Gondola 2 is turned by -90 degrees: its x runs towards -y, its shelf lies towards -x.
    np.testing.assert_allclose(store.plate("2", "1", "1").front, [3.4 - 0.4064, -0.5508, 0.5], atol=1e-6)
    water = store.products["water"]
    assert (water.weight_kg, water.weight_deviation_kg, water.price) == (0.538, 0.00807, Decimal("2"))
    assert store.products["001"].weight_deviation_kg == 0.0015
    assert store.planogram["2", "1", "1"] == ("water", "001")
    assert list(store.cameras) == ["7"]
    camera = store.cameras["7"]
    np.testing.assert_allclose(camera.matrix, [[320, 0, 320], [0, 324, 162], [0, 0, 1]])
    np.testing.assert_allclose(camera.position, [2.54, 0.0, 2.413])
    assert (camera.width, camera.height, camera.rate_hz) == (640, 360, 10.0)


def test_the_floor_lies_between_walls_and_shelf_fronts(source, tmp_path):
    store = import_nanostore(**write(source, tmp_path))
    np.testing.assert_allclose(store.floor.min(axis=0), [0.0, -1.46])
    np.testing.assert_allclose(store.floor.max(axis=0), [3.4 - 0.4064, 0.0936], atol=1e-6)
    assert store.gates["entrance"].kind is GateKind.ENTRANCE
    assert store.gates["exit"].kind is GateKind.EXIT
    assert store.on_floor(store.zones["aisle"], margin=-0.19).all()


def test_image_size_scales_the_calibration(source, tmp_path):
    arguments = write(source, tmp_path)
    small = import_nanostore(**arguments).cameras["7"]
    large = import_nanostore(**arguments, image_size=(1280, 720)).cameras["7"]
    np.testing.assert_allclose(large.matrix[:2], 2 * small.matrix[:2])
    assert (large.width, large.height) == (1280, 720)


def test_gates_floor_and_zones_of_a_file(source, tmp_path):
    (tmp_path / "gates.yaml").write_text(
        "gates:\n- {gate: door, kind: both, ends: [[0, -1], [0, 0]]}\nfloor: [[0, -1], [2, -1], [2, 0]]\n"
        "zones:\n- {zone: corner, polygon: [[0, -1], [1, -1], [1, -0.5]]}\n",
        encoding="utf-8",
    )
    store = import_nanostore(**write(source, tmp_path), floor_file=tmp_path / "gates.yaml")
    assert list(store.gates) == ["door"]
    assert list(store.zones) == ["corner"]
    np.testing.assert_allclose(store.floor, [[0, -1], [2, -1], [2, 0]])


def test_without_a_calibration_the_cameras_of_another_store_or_none(source, tmp_path):
    arguments = write(source, tmp_path)
    cameras = import_nanostore(**arguments).cameras
    del arguments["calibration"]
    assert import_nanostore(**arguments, cameras=cameras).cameras == cameras
    store = import_nanostore(**arguments)
    assert not store.cameras
    save_store(store, tmp_path / "dark")
    assert not load_store(tmp_path / "dark").cameras


def spoil(source: dict[str, Any], mistake: str) -> None:
    plates, shelves = source["plates.json"]["plates"], source["shelves.json"]["shelves"]
    camera = source["calibration.json"]["cameras"]["7"] = copy.deepcopy(source["calibration.json"]["cameras"]["7"])
    match mistake:
        case "plate off its shelf":
            plates[0]["coordinates"]["transform"]["translation"]["x"] = 0.3
        case "plate without shelf":
            plates[0]["id"]["shelf_id"]["shelf_index"] = 9
        case "shelf without gondola":
            shelves[0]["id"]["gondola_id"]["id"] = 9
        case "duplicate plate":
            plates[0]["id"]["plate_index"] = 1
        case "duplicate gondola":
            source["gondolas.json"]["gondolas"][1]["id"]["id"] = 1
        case "plate without place":
            del plates[0]["coordinates"]["transform"]["translation"]["x"]
        case "singular matrix":
            camera["K"][0][0] = 0
        case "no rotation":
            camera["Tw"][0][0] = 2
        case "no number":
            camera["Tw"][0][3] = None
        case "matrix of two rows":
            camera["K"].pop()
        case "four coefficients":
            camera["dist_coeffs"].pop()
        case "camera id":
            source["calibration.json"]["cameras"]["front door"] = camera
        case "no cameras":
            source["calibration.json"]["cameras"] = {}
        case "cut file":
            source["plates.json"] = json.dumps(source["plates.json"], indent=1)[:200]
        case "negative weight":
            source["products.csv"] = source["products.csv"].replace("45.5", "-45.5")
        case "no price":
            source["products.csv"] = source["products.csv"].replace(",price_usd", "").replace(",1.50", "").replace(",2\n", "\n")
        case "unknown product":
            source["planogram.csv"] += "2,1,2,ghost\n"
        case "unknown plate":
            source["planogram.csv"] += "2,1,5,water\n"


@pytest.mark.parametrize(
    ("mistake", "complaint"),
    [
        ("plate off its shelf", r"plates\.json: gondola '1', shelf '1', plate '2': plate is off its shelf: found x 0\.300 \.\. 0\.402"),
        ("plate without shelf", r"plates\.json: plate 1/9/2 is off its shelf: found shelf 1/9, expected one of shelves\.json"),
        ("shelf without gondola", r"shelves\.json: shelf 9/1: found gondola 9, expected one of \[1, 2\]"),
        ("duplicate plate", r"plates\.json: gondola '1', shelf '1': plate '1' stands twice"),
        ("duplicate gondola", r"gondolas\.json: gondola 1 stands twice"),
        ("plate without place", r"plates\.json:\d+: plates\[0\]\.coordinates\.transform\.translation\.x: missing"),
        ("singular matrix", r"calibration\.json:\d+: cameras\.7\.K: found .*, expected a camera matrix that is not singular"),
        ("no rotation", r"calibration\.json:\d+: cameras\.7\.Tw: found .*, expected a rotation"),
        ("no number", r"calibration\.json:\d+: cameras\.7\.Tw: found .*, expected a pose of 4 x 4 numbers"),
        ("matrix of two rows", r"calibration\.json:\d+: cameras\.7\.K: found .*, expected a matrix of 3 x 3 numbers"),
        ("four coefficients", r"calibration\.json:\d+: cameras\.7\.dist_coeffs"),
        ("camera id", r"calibration\.json: cameras: found id 'front door', expected letters, digits and underscores"),
        ("no cameras", r"calibration\.json: cameras: found none"),
        ("cut file", r"plates\.json:\d+: .*, expected JSON"),
        ("negative weight", r"products\.csv:2: weight_g: found '-45\.5', expected a number > 0"),
        ("no price", r"products\.csv:1: missing column 'price_usd'"),
        ("unknown product", r"planogram\.csv:6: product: found 'ghost', expected one of the 2 products"),
        ("unknown plate", r"planogram\.csv:6: plate: found '5', expected one of shelf 2/1: 1, 2"),
    ],
)
def test_mistakes_in_the_source_files(source, tmp_path, mistake, complaint):
    spoil(source, mistake)
    with pytest.raises(StoreError, match=complaint):
        import_nanostore(**write(source, tmp_path))


@pytest.mark.parametrize("name", ["gondolas.json", "shelves.json", "plates.json", "calibration.json", "products.csv", "planogram.csv"])
def test_missing_source_files(source, tmp_path, name):
    arguments = write(source, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StoreError, match=f"{name}: missing, expected a file"):
        import_nanostore(**arguments)


@pytest.mark.skipif(not NANOSTORE.is_dir(), reason="the data set's files are not there (../shared/data/nanostore)")
@pytest.mark.parametrize(
    ("day", "calibration"),
    [("2019-11", NANOSTORE / "2019-11" / "calibration.json"), ("2020-01", SHARED / "calibration" / "nanostore_2020-01.json")],
)
def test_the_shipped_stores_are_what_the_importer_makes(tmp_path, day, calibration):
    folder = NANOSTORE / day
    store = import_nanostore(f"nanostore-{day}", NANOSTORE / "layout", folder / "products.csv", folder / "planogram.csv", calibration)
    save_store(store, tmp_path / "store")
    for name in STORE_FILES:
        assert (tmp_path / "store" / name).read_text() == (STORES / f"nanostore-{day}" / name).read_text(), name
