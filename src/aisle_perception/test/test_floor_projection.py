"""Detections to the floor: places, honest covariances, cut-off boxes; and the table of lenses behind it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from aisle_perception.floor_projection import BodyConfig, FloorProjector
from aisle_perception.lens_table import LensTable

sys.path.insert(0, str(Path(__file__).parent))
from walking_people import body, look_at, room, seen_by

CAMERA = look_at("1", (-0.3, -0.3, 2.6), (3.0, 2.0, 0.8))
NO_KEYPOINTS = np.zeros((1, 17, 3))


def _projector(config: BodyConfig | None = None) -> FloorProjector:
    return FloorProjector(LensTable([CAMERA]), config or BodyConfig())


def _seen(place: np.ndarray, stature: float = 1.70) -> tuple[np.ndarray, np.ndarray]:
    """Exact box and keypoints of a person, upright in the image's middle."""
    found = seen_by(CAMERA, [body(place, heading=0.4, stature=stature)], 0, np.random.default_rng(0), noise_px=0.0)
    return found.boxes.astype(float), found.keypoints.astype(float)


def test_lens_table_agrees_with_the_camera() -> None:
    pixels = np.random.default_rng(1).uniform([0, 0], [640, 480], (500, 2))
    directions = LensTable([CAMERA]).directions(np.zeros(500, dtype=int), pixels)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # A pixel is 1/400 rad here.
    assert np.abs(directions - CAMERA.rays(pixels)).max() < 0.1 / 400


@pytest.mark.parametrize("stature", [1.55, 1.70, 1.90])
def test_keypoints_place_a_person_of_any_stature(stature: float) -> None:
    place = np.array([2.5, 1.6])
    boxes, keypoints = _seen(place, stature)
    found = _projector().project(np.array([0]), boxes, keypoints)
    assert found.valid.all()
    assert np.linalg.norm(found.positions[0] - place) < 0.08


def test_a_box_places_a_person_by_its_foot() -> None:
    place = np.array([3.0, 2.0])
    boxes, _ = _seen(place)
    found = _projector().project(np.array([0]), boxes, NO_KEYPOINTS)
    assert np.linalg.norm(found.positions[0] - place) < 0.15


def test_the_border_is_not_a_foot() -> None:
    """A person so near that his legs are out of the image: the box's bottom would put him half a metre too far away."""
    place = np.array([1.1, 0.8])
    boxes, _ = _seen(place)
    assert boxes[0, 3] >= CAMERA.height - 2
    found = _projector().project(np.array([0]), boxes, NO_KEYPOINTS)
    error = found.positions[0] - place
    assert np.linalg.norm(error) < 0.45
    assert error @ np.linalg.solve(found.covariances[0], error) < 9.2
    whole, _ = _seen(np.array([3.0, 2.0]))
    sharp = _projector().project(np.array([0]), whole, NO_KEYPOINTS)
    assert np.trace(found.covariances[0]) > 2 * np.trace(sharp.covariances[0])


def test_covariance_agrees_with_monte_carlo() -> None:
    """Pixel noise and stature drawn as the configuration says must scatter the places as the covariance says."""
    config = BodyConfig(keypoint_deviation_px=6.0, stature_deviation=0.15)
    rng = np.random.default_rng(2)
    place, trials = np.array([3.2, 1.4]), 4000
    level_height, level_offset = 0.06, 0.09
    heights = 0.815 * (1.70 + rng.normal(0.0, 0.15, trials)) + rng.normal(0.0, level_height, trials)
    middles = np.column_stack([place + rng.normal(0.0, level_offset, (trials, 2)), heights])
    shoulders_only = np.zeros((trials, 17, 3))
    shoulders_only[:, 5:7, :2] = (CAMERA.project(middles)[0] + rng.normal(0.0, 6.0, (trials, 2)))[:, None]
    shoulders_only[:, 5:7, 2] = 0.9
    found = _projector(config).project(np.zeros(trials, dtype=int), np.zeros((trials, 4)), shoulders_only)
    measured, claimed = np.cov(found.positions.T), found.covariances.mean(axis=0)
    for ratio in np.linalg.eigvals(np.linalg.solve(claimed, measured)).real:
        assert 0.8 < ratio < 1.25


def test_nothing_is_claimed_of_a_ray_that_misses_the_floor() -> None:
    sky = np.array([[300.0, 5.0, 340.0, 8.0]])
    level = look_at("level", (0.0, 0.0, 1.0), (5.0, 0.0, 1.2))
    found = FloorProjector(LensTable([level]), BodyConfig()).project(np.array([0]), sky, NO_KEYPOINTS)
    assert not found.valid.any()


def test_no_detections() -> None:
    found = FloorProjector(LensTable(list(room().cameras.values())), BodyConfig()).project(
        np.zeros(0, dtype=int), np.zeros((0, 4)), np.zeros((0, 17, 3))
    )
    assert found.positions.shape == (0, 2)
    assert found.valid.shape == (0,)


def test_an_arm_in_a_ceiling_cameras_border_is_no_certain_place() -> None:
    """From above everything that is seen lies near the camera; what the border leaves of a person may be half a metre from his feet."""
    above = look_at("1", (3.0, 2.0, 2.6), (3.05, 2.0, 0.0))
    projector = FloorProjector(LensTable([above]), BodyConfig())
    whole, cut = np.array([[300.0, 220.0, 380.0, 300.0]]), np.array([[0.0, 220.0, 40.0, 260.0]])
    deviations = [np.sqrt(np.linalg.eigvalsh(projector.project(np.array([0]), box, NO_KEYPOINTS).covariances[0])) for box in (whole, cut)]
    assert deviations[0].max() < 0.35
    assert deviations[1].min() > 1.3 * deviations[0].max()


def test_only_what_can_be_used_is_kept_of_a_slots_frames() -> None:
    """Of two cameras' frames, one of another image size: unlikely ones and one outside of the floor are left out."""
    cameras = list(room().cameras.values())[:2]
    projector = FloorProjector(LensTable(cameras), BodyConfig())
    rng = np.random.default_rng(8)
    places = np.array([[3.0, 2.0], [2.0, 1.5], [3.5, 2.5]])
    found = [seen_by(camera, [body(place) for place in places], 0, rng) for camera in cameras]
    scores = [np.float32([0.9, 0.2, 0.3]), np.float32([0.9, 0.9, 0.9])]
    frames = [
        (0, 0.0, 1.0, 1.0, found[0].boxes, scores[0], found[0].keypoints),
        (1, 0.05, 2.0, 2.0, found[1].boxes / 2, scores[1], found[1].keypoints / np.float32([2.0, 2.0, 1.0])),
    ]
    floor = np.array([[2.6, 0.0], [9.0, 0.0], [9.0, 9.0], [2.6, 9.0]])
    kept = projector.usable(frames, floor, 0.0, float(np.float32(0.3)))
    assert kept.numbers.tolist() == [0, 2, 3, 5]
    assert kept.cameras.tolist() == [0, 0, 1, 1]
    assert kept.ages_s.tolist() == [0.0, 0.0, 0.05, 0.05]
    alone = projector.project(
        np.repeat([0, 1], 3),
        np.concatenate([frame.boxes for frame in found]).astype(float),
        np.concatenate([frame.keypoints for frame in found]).astype(float),
    )
    np.testing.assert_allclose(kept.positions, alone.positions[kept.numbers], atol=1e-5)
    np.testing.assert_allclose(kept.evidence.information, alone.evidence.information[kept.numbers], rtol=1e-4)
    np.testing.assert_allclose(kept.keypoints[:2], found[0].keypoints[[0, 2]])
    empty = projector.usable([], floor, 0.0, 0.3)
    assert len(empty.numbers) == len(empty.positions) == 0


@pytest.mark.parametrize(
    ("frame", "error", "words"),
    [
        ((0, 0.0, 1.0, 1.0, np.zeros((2, 3)), np.zeros(2), None), ValueError, "boxes of a frame"),
        ((0, 0.0, 1.0, 1.0, np.zeros((2, 4), dtype=int), np.zeros(2), None), ValueError, "boxes of a frame"),
        ((0, 0.0, 1.0, 1.0, np.zeros((2, 4)), np.zeros(3), None), ValueError, "not as many scores"),
        ((0, 0.0, 1.0, 1.0, np.zeros((2, 4)), np.zeros(2), np.zeros((2, 16, 3))), ValueError, "keypoints of a frame"),
        ((9, 0.0, 1.0, 1.0, np.zeros((2, 4)), np.zeros(2), None), IndexError, "no such camera"),
    ],
)
def test_frames_that_do_not_fit_are_told(frame: tuple, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        _projector().usable([frame], np.zeros((3, 2)), 0.0, 0.3)
