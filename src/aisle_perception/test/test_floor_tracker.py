"""Who is who on the floor after an occlusion: by motion, and by looks where cameras give embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS
from aisle_perception.association import FloorDetections, GlobalNearestNeighbour
from aisle_perception.floor_tracker import EvidenceDeleter, FloorTracker, FloorTrackerConfig
from aisle_perception.floor_tracks import OpenFloor

PERIOD_S = 0.1
HIDDEN = range(36, 52)
MEETING_STEP = 40
SHELF_X_M = 4.0
LOOKS = np.array([[0.8, 0.6, 0.0], [0.0, -0.6, 0.8]])


def _detections(places: np.ndarray, embeddings: np.ndarray | None) -> FloorDetections:
    count = len(places)
    return FloorDetections(
        places, np.tile(0.01 * np.eye(2), (count, 1, 1)), np.zeros(count), np.zeros(count, dtype=int), np.zeros((count, 0, 3)), embeddings
    )


def _places(step: int, turn_back: bool) -> np.ndarray:
    """Two at 1 m/s towards each other, hidden when they are side by side; there they go on or turn back."""
    way = PERIOD_S * (abs(MEETING_STEP - step) if turn_back else MEETING_STEP - step)
    return np.array([[SHELF_X_M - way, 2.0], [SHELF_X_M + way, 2.3]])


def _followed(looks: np.ndarray | None, turn_back: bool) -> list[dict[int, str]]:
    """Track of each of the two in every step in which it is known."""
    tracker = FloorTracker(OpenFloor(1), FloorTrackerConfig())
    rng = np.random.default_rng(5)
    names = []
    for step in range(80):
        places = _places(step, turn_back)
        seen = np.array([], dtype=int) if step in HIDDEN else rng.permutation(2)
        found = places[seen] + rng.normal(0.0, 0.05, (len(seen), 2))
        noisy = None if looks is None else looks[seen] + rng.normal(0.0, 0.1, (len(seen), 3))
        embeddings = None if noisy is None else noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
        tracker.step(_detections(found, embeddings), np.array([0]), round(step * PERIOD_S * NANOSECONDS))
        tracked = list(zip(tracker.people.tracks, tracker.people.means[:, :2], strict=True))
        names.append({who: track for who in range(2) for track, place in tracked if track and np.linalg.norm(place - places[who]) < 0.3})
    return names


@pytest.mark.parametrize("looks", [None, LOOKS])
def test_two_who_pass_behind_a_shelf_keep_their_identities(looks: np.ndarray | None) -> None:
    names = _followed(looks, turn_back=False)
    assert len(names[25]) == 2
    assert names[-1] == names[25]


def test_looks_tell_two_who_turn_back_behind_a_shelf() -> None:
    """Motion exchanges them."""
    names = _followed(LOOKS, turn_back=True)
    assert len(names[25]) == 2
    assert names[-1] == names[25]
    by_motion = _followed(None, turn_back=True)
    assert by_motion[-1] == {0: by_motion[25][1], 1: by_motion[25][0]}


def test_cameras_without_embeddings_beside_one_that_gives_them() -> None:
    """A row of zeros says nothing of who it is."""
    names = _followed(np.array([[0.8, 0.6, 0.0], [0.0, 0.0, 0.0]]), turn_back=False)
    assert names[-1] == names[25]


def test_parts_can_be_exchanged() -> None:
    class Forgetful(EvidenceDeleter):
        def gone(self, people, stamp_ns):
            return stamp_ns > people.seen_ns

    class Strangers(GlobalNearestNeighbour):
        def assign(self, found, detections, asked, free):
            return np.full(len(detections), -1)

    # Log-odds too small for a track that others shadow: all are candidates.
    config = FloorTrackerConfig(existence_start=-1.0)
    forgetful = FloorTracker(OpenFloor(1), config, deleter=Forgetful(config))
    strangers = FloorTracker(OpenFloor(1), config, associator=Strangers(config.gate))
    here = np.array([[1.0, 1.0]])
    for step, places in enumerate((here, here, here[:0], here)):
        for tracker in (forgetful, strangers):
            tracker.step(_detections(places, None), np.array([0]), step * NANOSECONDS // 10)
    assert forgetful.people.numbers.tolist() == [2]
    assert strangers.people.numbers.tolist() == [1, 2, 3]


def test_two_whom_no_camera_sees_apart_become_one() -> None:
    """Two cameras see one person each, 0.35 m from each other; with a third one that sees both they stay two."""
    for both in (False, True):
        tracker = FloorTracker(OpenFloor(3), FloorTrackerConfig())
        people = []
        for step in range(25):
            places = np.array([[1.0, 1.0], [1.35, 1.0]])
            cameras = np.array([0, 1])
            if both:
                places, cameras = np.tile(places, (2, 1)), np.array([0, 1, 2, 2])
            count = len(places)
            seen = FloorDetections(places, np.tile(0.0025 * np.eye(2), (count, 1, 1)), np.zeros(count), cameras, np.zeros((count, 0, 3)))
            tracker.step(seen, np.arange(3), round((step + 1) * PERIOD_S * NANOSECONDS))
            people.append((tracker.people.numbers.tolist(), [track for track in tracker.people.tracks if track]))
        assert people[5][0] == [1, 2]
        assert people[5][1] == (["t1", "t2"] if both else ["t1"])
        assert people[-1][0] == ([1, 2] if both else [1])
