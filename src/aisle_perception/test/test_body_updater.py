"""Wide boxes and hidden feet: the side of an arm and the stature are told by what is known of the person."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import aisle_kernels
from aisle_contract.records import PersonDetections
from aisle_perception.association import FloorDetections
from aisle_perception.body_updater import BodyUpdater
from aisle_perception.floor_projection import SIDES, BodyConfig, FloorPoints, FloorProjector
from aisle_perception.lens_table import LensTable
from aisle_perception.people import People
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from walking_people import PERIOD_NS, START_NS, body, look_at, room, seen_by

CAMERA = look_at("1", (-0.3, -0.3, 2.6), (3.0, 2.0, 0.8))
PLACE = np.array([3.0, 2.0])


def _box(stretched_px: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Box [1, 4] of a person at PLACE, grown by so much on the left and on the right."""
    boxes = seen_by(CAMERA, [body(PLACE, heading=0.4)], 0, np.random.default_rng(0), noise_px=0.0).boxes.astype(float)
    return boxes + np.array([-stretched_px[0], 0.0, stretched_px[1], 0.0])


def _projected(box: np.ndarray) -> FloorPoints:
    return FloorProjector(LensTable([CAMERA]), BodyConfig()).project(np.array([0]), box, np.zeros((1, 17, 3)))


def test_an_arm_makes_the_place_uncertain_to_the_side() -> None:
    plain, wide = _projected(_box()), _projected(_box((0.0, 60.0)))
    sight = PLACE - CAMERA.position[:2]
    right = np.array([sight[1], -sight[0]]) / np.linalg.norm(sight)
    assert right @ wide.covariances[0] @ right > 1.3 * (right @ plain.covariances[0] @ right)
    error = wide.positions[0] - PLACE
    assert error @ np.linalg.solve(wide.covariances[0], error) < 9.2


@pytest.mark.parametrize("stretched", [(60.0, 0.0), (0.0, 60.0)])
def test_where_the_person_was_tells_the_side_of_the_arm(stretched: tuple[float, float]) -> None:
    evidence = _projected(_box(stretched)).evidence
    known = np.diag([1 / 0.1**2, 1 / 0.1**2, 1 / 0.06**2])
    expected = (known[None], (known @ np.append(PLACE, 1.0))[None])
    shares = evidence.shares.copy()
    aisle_kernels.settled_shares(*expected, np.array([0]), evidence.information, evidence.vector, evidence.reach, shares)
    assert shares.sum() == pytest.approx(1.0)
    truer = 1 if stretched[0] else 2
    assert shares[0, truer] > 3.0 * shares[0, 3 - truer]


def test_merging_keeps_the_mean_and_the_covariance_of_the_sides() -> None:
    evidence = _projected(_box((0.0, 60.0))).evidence
    shares = np.array([[0.2, 0.5, 0.3]])
    centre = np.append([0.0, 0.0], 1.0) / 0.06**2
    known = evidence.information[0] + np.diag([0.0, 0.0, 1 / 0.06**2])
    push = evidence.information[0][:, :2] @ evidence.reach[0]
    means = [np.linalg.solve(known, evidence.vector[0] + side * push + centre) for side in SIDES]
    mean = shares[0] @ means
    spread = np.linalg.inv(known) + sum(share * np.outer(m - mean, m - mean) for share, m in zip(shares[0], means, strict=True))
    information, vector = np.empty((1, 3, 3)), np.empty((1, 3))
    aisle_kernels.merged(evidence.information, evidence.vector, evidence.reach, shares, information, vector)
    merged = np.linalg.inv(information[0] + np.diag([0.0, 0.0, 1 / 0.06**2]))
    assert np.allclose((merged @ (vector[0] + centre))[:2], mean[:2], atol=0.01)
    assert np.allclose(merged[:2, :2], spread[:2, :2], rtol=0.1, atol=1e-3)


def test_a_detection_far_from_all_others_counts_little() -> None:
    places = PLACE + np.array([[0.05, 0.0], [-0.05, 0.02], [0.9, 0.7]])
    weights = np.empty(3)
    spreads = np.tile(0.01 * np.eye(2), (3, 1, 1))
    aisle_kernels.trust(25.0 * np.eye(2)[None], PLACE[None], np.zeros(3, dtype=int), places, spreads, weights)
    assert weights[:2].min() == 1.0
    assert weights[2] < 0.2


def _tracked(store: Store, records: list[PersonDetections]) -> list:
    tracker = PersonTracker(store)
    return [tracks for record in records for tracks in tracker.step(record).records] + tracker.flush().records


@pytest.mark.parametrize("side", [0, 2])
def test_who_reaches_out_does_not_seem_to_walk(side: int) -> None:
    """For two seconds an arm widens the boxes of two of three cameras to one side by 0.5 m."""
    store = room(3)
    rng = np.random.default_rng(4)
    records = []
    for step in range(60):
        for camera in store.cameras.values():
            found = seen_by(camera, [body(PLACE)], START_NS + step * PERIOD_NS, rng, keypoints=False)
            if 30 <= step < 50 and camera.camera != "3":
                growth = min(1.0, (step - 29) / 5) * 0.5 * 400.0 / np.linalg.norm(np.append(PLACE, 1.2) - camera.position)
                found.boxes[:, side] += (1 if side else -1) * growth
            records.append(found)
    out = _tracked(store, records)
    errors = np.array([np.linalg.norm(tracks.tracks[0].position - PLACE) for tracks in out[10:]])
    assert errors.max() < 0.2
    assert errors[20:40].mean() < 0.12


@pytest.mark.parametrize("stature", [1.55, 1.70, 1.87])
def test_the_stature_is_learnt_where_the_feet_are_seen(stature: float) -> None:
    """A person walks up to the only camera until his feet are out of its image: by then his height is known."""
    store = room(1)
    rng = np.random.default_rng(5)
    places = [np.array([3.6, 2.6]) - 0.034 * max(step - 20, 0) * np.array([1.0, 0.75]) for step in range(90)]
    camera = store.cameras["1"]
    records = [
        seen_by(camera, [body(place, stature=stature)], START_NS + step * PERIOD_NS, rng, keypoints=False)
        for step, place in enumerate(places)
    ]
    assert any(record.boxes[0, 3] >= camera.height - 2 for record in records)
    out = _tracked(store, records)
    late = [np.linalg.norm(tracks.tracks[0].position - place) for tracks, place in zip(out[60:], places[60:], strict=True) if tracks.tracks]
    assert len(late) == 30
    assert max(late) < 0.3


@pytest.mark.parametrize("cameras", [3, 4])
@pytest.mark.parametrize("stature", [1.60, 1.80])
def test_who_crouches_behind_goods_does_not_seem_to_walk_away(cameras: int, stature: float) -> None:
    """For two seconds head and shoulders are at two thirds of their height and the rest is hidden: for each camera, like somebody upright
    farther away."""
    store = room(cameras)
    rng = np.random.default_rng(6)
    records = []
    for step in range(70):
        low = np.interp(step, [30, 34, 50, 54], [0.0, 1.0, 1.0, 0.0])
        upright = body(PLACE, stature=stature)
        for camera in store.cameras.values():
            found = seen_by(camera, [upright * [1.0, 1.0, 1.0 - 0.35 * low]], START_NS + step * PERIOD_NS, rng)
            if low > 0.0:
                found.keypoints[:, 11:] = 0.0
            records.append(found)
    out = _tracked(store, records)
    errors = np.array([np.linalg.norm(tracks.tracks[0].position - PLACE) for tracks in out[10:]])
    assert {track.track for tracks in out for track in tracks.tracks} == {"t1"}
    assert errors.max() < 0.25


def test_where_nobody_is_known_nobody_is_expected() -> None:
    config = TrackerConfig()
    people, shown = People(), _projected(_box())
    seen = FloorDetections(
        shown.positions, shown.covariances, np.zeros(1), np.zeros(1, dtype=int), np.zeros((1, 17, 3)), evidence=shown.evidence
    )
    assert BodyUpdater(config, config).innovations(people, seen).distance.shape == (0, 1)
