"""Pictures of trajectories: that something is drawn, where it belongs, and that bad names are told."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_store.store_files import load_store
from aisle_viz.track_plot import plot_floor_paths, plot_image_paths

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
PATHS = {"1": np.array([[0.5, -0.5], [3.0, -0.5]]), "2": np.array([[1.0, -1.0], [1.0, -0.2]]), "3": np.zeros((0, 2))}


def _coloured(path: Path) -> np.ndarray:
    """Rows and columns of strongly coloured pixels."""
    image = cv2.imread(str(path)).astype(int)
    return np.argwhere(np.ptp(image, axis=2) > 120)


def test_floor_paths_with_and_without_a_store(tmp_path: Path) -> None:
    plot_floor_paths(PATHS, tmp_path / "plain.png")
    plot_floor_paths(PATHS, tmp_path / "store.png", load_store(STORE), title="two people")
    plain, plan = _coloured(tmp_path / "plain.png"), _coloured(tmp_path / "store.png")
    assert len(plain) > 500
    # The plan is wider than the paths, so that they take less of its picture.
    assert len(plan) > 200
    assert cv2.imread(str(tmp_path / "store.png")).shape == cv2.imread(str(tmp_path / "plain.png")).shape


def test_image_paths_hang_down_like_the_image(tmp_path: Path) -> None:
    falling = np.array([[100.0, 0.0, 20.0, 40.0], [200.0, 300.0, 20.0, 40.0]])
    plot_image_paths({"7": falling}, tmp_path / "image.png")
    drawn = _coloured(tmp_path / "image.png")
    drawn = drawn[drawn[:, 1] < 0.85 * cv2.imread(str(tmp_path / "image.png")).shape[1]]
    left, right = drawn[drawn[:, 1].argmin()], drawn[drawn[:, 1].argmax()]
    assert right[0] > left[0], "a foot that goes down in the image goes down in the picture"


def test_no_tracks_make_an_empty_picture(tmp_path: Path) -> None:
    plot_floor_paths({}, tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 0


def test_an_unknown_kind_of_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tracks"):
        plot_floor_paths(PATHS, tmp_path / "picture.tracks")
