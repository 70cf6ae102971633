from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from aisle_store.floor_plan import draw_floor_plan, save_floor_plan
from aisle_store.store import Store
from aisle_store.store_files import load_store

STORES = Path(__file__).resolve().parents[3] / "config" / "stores"


@pytest.fixture(scope="module")
def store() -> Store:
    return load_store(STORES / "nanostore-2020-01")


def test_everything_of_the_store_is_in_the_picture(store):
    axes = Figure().add_subplot()
    draw_floor_plan(store, axes)
    texts = {text.get_text() for text in axes.texts}
    assert {*store.gondolas, *store.cameras, *store.gates, *store.zones} <= texts
    x_limits, y_limits = axes.get_xlim(), axes.get_ylim()
    for points in (store.floor, np.array([plate.centre[:2] for plate in store.plates()]), *(gate.ends for gate in store.gates.values())):
        assert (points[:, 0] > x_limits[0]).all()
        assert (points[:, 0] < x_limits[1]).all()
        assert (points[:, 1] > y_limits[0]).all()
        assert (points[:, 1] < y_limits[1]).all()


def test_cameras_and_labels_can_be_left_out(store):
    full, bare = Figure().add_subplot(), Figure().add_subplot()
    draw_floor_plan(store, full)
    draw_floor_plan(store, bare, cameras=False, labels=False)
    assert not bare.texts
    wedges = len([p for p in full.patches if isinstance(p, Polygon)]) - len([p for p in bare.patches if isinstance(p, Polygon)])
    assert wedges == len(store.cameras)


def test_the_picture_is_a_file(store, tmp_path):
    save_floor_plan(store, tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
