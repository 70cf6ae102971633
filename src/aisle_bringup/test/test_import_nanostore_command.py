"""``./aisle import nanostore`` on a store's files turned back into the data set's format."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_bringup.command import CommandError
from aisle_bringup.commands import import_nanostore as command
from aisle_store.store import Store
from aisle_store.store_files import load_store

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"


def coordinates(pose: np.ndarray, parent: np.ndarray, size: tuple[float, float, float]) -> dict:
    relative = np.linalg.inv(parent) @ pose
    rotation = cv2.Rodrigues(relative[:3, :3])[0].ravel()
    transform = {"translation": dict(zip("xyz", relative[:3, 3], strict=True)), "rotation": dict(zip("xyz", rotation, strict=True))}
    return {"transform": transform, **dict(zip(("dim_x", "dim_y", "dim_z"), size, strict=True))}


def write_source(store: Store, folder: Path) -> list[str]:
    """Writes ``store`` as the data set's files; gives the arguments that import them."""
    gondolas, shelves, plates = [], [], []
    for gondola in store.gondolas.values():
        size = (gondola.width, gondola.depth, gondola.height)
        gondola_id = {"id": int(gondola.gondola)}
        gondolas.append({"id": gondola_id, "coordinates": coordinates(gondola.pose, np.eye(4), size)})
        for shelf in gondola.shelves.values():
            shelf_id = {"gondola_id": gondola_id, "shelf_index": int(shelf.shelf)}
            size = (shelf.width, shelf.depth, shelf.height)
            shelves.append({"id": shelf_id, "coordinates": coordinates(shelf.pose, gondola.pose, size)})
            for plate in shelf.plates.values():
                plate_id = {"shelf_id": shelf_id, "plate_index": int(plate.plate)}
                plates.append({"id": plate_id, "coordinates": coordinates(plate.pose, shelf.pose, (plate.width, plate.depth, 0.0))})
    for name, entries in (("gondolas", gondolas), ("shelves", shelves), ("plates", plates)):
        (folder / f"{name}.json").write_text(json.dumps({name: entries}), encoding="utf-8")
    cameras = {}
    for camera in store.cameras.values():
        pose = camera.pose.copy()
        pose[:3, 3] /= 0.0254
        matrix = camera.matrix / [[camera.width], [camera.height], [1]]
        cameras[camera.camera] = {"K": matrix.tolist(), "Tw": pose.tolist(), "dist_coeffs": camera.distortion.tolist()}
    (folder / "calibration.json").write_text(json.dumps({"cameras": cameras}), encoding="utf-8")
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product", "name", "weight_g", "price_usd"])
        writer.writerows((p.product, p.name, f"{p.weight_kg * 1000:.6g}", p.price) for p in store.products.values())
    with (folder / "planogram.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["gondola", "shelf", "plate", "product"])
        writer.writerows((*key, product) for key, products in store.planogram.items() for product in products)
    return ["--layout", str(folder), "--products", str(folder / "products.csv"), "--planogram", str(folder / "planogram.csv")]


@pytest.fixture(scope="module")
def store() -> Store:
    return load_store(STORE)


@pytest.fixture
def source(store, tmp_path) -> list[str]:
    folder = tmp_path / "source"
    folder.mkdir()
    return write_source(store, folder)


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_imported_store_is_the_one_that_was_written(source, store, tmp_path, capsys):
    out = tmp_path / "shop"
    assert run(*source, "--calibration", tmp_path / "source" / "calibration.json", "--out", out) == 0
    assert "5 gondolas, 30 shelves, 306 plates, 4 cameras, 2 gates, 121 products on 294 plates" in capsys.readouterr().out
    imported = load_store(out)
    assert imported.name == "shop"
    assert imported.products == store.products
    assert imported.planogram == store.planogram
    for plate, original in zip(imported.plates(), store.plates(), strict=True):
        assert plate.key == original.key
        np.testing.assert_allclose(plate.corners, original.corners, atol=1e-5)
    for name, camera in imported.cameras.items():
        np.testing.assert_allclose(camera.pose, store.cameras[name].pose, atol=1e-6)
        np.testing.assert_allclose(camera.matrix, store.cameras[name].matrix, atol=1e-6)


def test_cameras_of_another_store_or_none(source, store, tmp_path, capsys):
    assert run(*source, "--cameras-from", STORE, "--out", tmp_path / "lent") == 0
    assert list(load_store(tmp_path / "lent").cameras) == list(store.cameras)
    assert capsys.readouterr().err == ""
    assert run(*source, "--out", tmp_path / "dark", "--name", "night") == 0
    assert "no cameras" in capsys.readouterr().err
    assert load_store(tmp_path / "dark").name == "night"


def test_a_store_is_replaced_only_by_force(source, tmp_path):
    out = tmp_path / "shop"
    run(*source, "--out", out)
    (out / "sessions.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CommandError, match=r"shop: exists and is not empty, expected a new folder; --force"):
        run(*source, "--out", out)
    assert run(*source, "--out", out, "--name", "again", "--force") == 0
    assert load_store(out).name == "again"
    assert (out / "sessions.json").exists()


def test_a_mistake_leaves_nothing_behind(source, tmp_path):
    planogram = tmp_path / "source" / "planogram.csv"
    planogram.write_text(planogram.read_text(encoding="utf-8") + "1,1,1,ghost\n", encoding="utf-8")
    with pytest.raises(CommandError, match=r"planogram\.csv:296: product: found 'ghost'"):
        run(*source, "--out", tmp_path / "shop")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("arguments", [["--image-size", "640"], ["--image-size", "0x360"], ["--rate", "0"], ["--rate", "nan"]])
def test_wrong_options_end_with_2(source, tmp_path, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*source, "--out", tmp_path / "shop", *arguments)
    assert caught.value.code == 2
