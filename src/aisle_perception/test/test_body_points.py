"""Heads and wrists from the keypoints of several cameras: where they are, and how sure that is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aisle_contract.records import PersonDetections
from aisle_perception.tracker import PersonTracker

sys.path.insert(0, str(Path(__file__).parent))
from walking_people import PERIOD_NS, START_NS, body, room, seen_by

WRISTS = slice(9, 11)
#: A squared error of three coordinates, normalised by its covariance, is 3 on average; 16.3 is passed once in a thousand.
RARE = 16.3
Spoil = Callable[[PersonDetections, int, np.random.Generator], None]


def _reaching(step: int, place: np.ndarray, heading: float) -> np.ndarray:
    """Keypoints of a standing person whose right hand goes out by half a metre and back every three seconds."""
    joints = body(place, heading)
    reach = 0.25 * (1.0 - np.cos(2.0 * np.pi * step / 30.0))
    joints[10] += reach * np.array([np.cos(heading), np.sin(heading), 0.3])
    return joints


def _errors(spoil: Spoil, *, seeds: int = 4, steps: int = 50, noise_px: float = 2.0) -> dict[str, np.ndarray]:
    """Errors [K, 3] m and squared normalised errors [K] of head and wrists, by name: (K, 4) each, the last column normalised."""
    rows: dict[str, list[np.ndarray]] = {"head": [], "left_wrist": [], "right_wrist": []}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        store = room()
        tracker = PersonTracker(store)
        place, heading = rng.uniform([1.5, 1.2], [4.5, 2.8]), rng.uniform(-np.pi, np.pi)
        for step in range(steps):
            for number, camera in enumerate(store.cameras.values()):
                found = seen_by(camera, [_reaching(step, place, heading)], START_NS + step * PERIOD_NS + number, rng, noise_px=noise_px)
                if len(found.boxes):
                    spoil(found, step, rng)
                for tracks in tracker.step(found).records:
                    joints = _reaching(round((tracks.stamp_ns - START_NS) / PERIOD_NS), place, heading)
                    true = {"head": joints[3:5].mean(axis=0), "left_wrist": joints[9], "right_wrist": joints[10]}
                    for track in tracks.tracks:
                        for name, where in true.items():
                            point = getattr(track, name)
                            if point is not None and step > 8:
                                error = point.position - where
                                rows[name].append(np.append(error, error @ np.linalg.solve(point.covariance, error)))
    return {name: np.array(found) for name, found in rows.items()}


def _rms(errors: np.ndarray) -> float:
    return float(np.sqrt((errors[:, :3] ** 2).sum(axis=1).mean()))


def test_noise_as_configured_gives_the_covariance_that_is_claimed() -> None:
    """Each camera's idea of a point is 0.05 m (the configured deviation) and 4 px off, anew in every frame."""

    def spoil(found: PersonDetections, _: int, rng: np.random.Generator) -> None:
        found.keypoints[:, :, :2] += rng.normal(0.0, 5.0, found.keypoints[:, :, :2].shape)

    for name, errors in _errors(spoil, noise_px=4.0).items():
        normalised = errors[:, 3].mean()
        # The head is the mean of both ears, and states remember earlier slots: less than 3, but no order of magnitude.
        assert (0.3 if name == "head" else 0.8) < normalised < 4.0, name
        assert (errors[:, 3] > RARE).mean() < 0.02, name


def test_one_camera_alone_gives_a_ray_with_a_depth_that_is_honestly_unsure() -> None:
    def spoil(found: PersonDetections, _: int, __: np.random.Generator) -> None:
        if found.camera != "1":
            found.keypoints[:, WRISTS, 2] = 0.0

    errors = _errors(spoil)
    for name in ("left_wrist", "right_wrist"):
        assert len(errors[name]) > 100
        assert errors[name][:, 3].mean() < 3.0, name
        assert (errors[name][:, 3] > RARE).mean() < 0.01, name
        assert np.linalg.norm(errors[name][:, :3], axis=1).max() < 0.8, name


def test_a_wrist_that_loses_all_cameras_but_one_stays_within_its_covariance() -> None:
    """Two cameras see the wrists for three seconds, then only one does, while the hand goes out and comes back."""

    def spoil(found: PersonDetections, step: int, _: np.random.Generator) -> None:
        if found.camera not in ("12" if step < 30 else "1"):
            found.keypoints[:, WRISTS, 2] = 0.0

    errors = _errors(spoil, steps=60)
    for name in ("left_wrist", "right_wrist"):
        assert errors[name][:, 3].mean() < 3.0, name
        assert (errors[name][:, 3] > RARE).mean() < 0.01, name


@pytest.mark.parametrize("kind", ["outliers", "sides swapped"])
def test_wrong_keypoints_among_four_cameras_do_little_harm(kind: str) -> None:
    def spoil(found: PersonDetections, _: int, rng: np.random.Generator) -> None:
        if rng.random() >= 0.12:
            return
        if kind == "outliers":
            found.keypoints[:, WRISTS, :2] += rng.normal(0.0, 60.0, (1, 2, 2))
        else:
            found.keypoints[:, [9, 10]] = found.keypoints[:, [10, 9]]

    errors = _errors(spoil)
    for name in ("left_wrist", "right_wrist"):
        assert _rms(errors[name]) < 0.09, name
        assert errors[name][:, 3].mean() < 3.0, name
        assert (errors[name][:, 3] > RARE).mean() < 0.03, name
