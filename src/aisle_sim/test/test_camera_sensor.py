"""What simulated cameras see: through the calibration, with people and shelves in the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS, PersonDetections
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.profiles import PROFILES
from aisle_sim.simulator import simulate

SESSION = LabelledSession("look", tuple(LabelledEvent(6.0 * i, "anna", "pick", g, "4", ("5",), (None,)) for i, g in enumerate("3142")))


def frames_of(simulated):
    return [r for r in simulated.records if isinstance(r, PersonDetections)]


@pytest.fixture(scope="module")
def clean(store):
    return simulate(store, SESSION, "clean", seed=0)


def test_clean_keypoints_are_projections_of_the_body(store, clean):
    shopper = clean.reenactment.shoppers[0]
    checked = 0
    for frame in frames_of(clean)[::37]:
        if not len(frame.boxes):
            continue
        time = np.array([(frame.stamp_ns - clean.start_ns) / NANOSECONDS])
        pixels, _ = store.cameras[frame.camera].project(shopper.keypoints(time)[0])
        seen = frame.keypoints[0, :, 2] > 0
        assert np.abs(frame.keypoints[0, seen, :2] - pixels[seen]).max() < 0.1
        checked += np.count_nonzero(seen)
    assert checked > 100


def test_the_shopper_is_triangulable_most_of_the_time(clean):
    """Two cameras or more see somebody who is well inside."""
    shopper = clean.reenactment.shoppers[0]
    seen = {}
    for frame in frames_of(clean):
        slot = (frame.stamp_ns - clean.start_ns) // (NANOSECONDS // 10)
        seen[slot] = seen.get(slot, 0) + (len(frame.boxes) > 0)
    inside = [count for slot, count in seen.items() if shopper.first_s + 3 < slot / 10 < shopper.last_s - 3]
    assert np.mean(np.array(inside) >= 2) > 0.95


def test_boxes_lie_in_the_image_and_around_confident_keypoints(store):
    for frame in frames_of(simulate(store, SESSION, "nominal", seed=0)):
        assert frame.boxes.shape == (len(frame.scores), 4)
        if not len(frame.boxes):
            continue
        assert (frame.boxes >= 0).all()
        assert (frame.boxes[:, [2, 3]] <= [frame.image_width, frame.image_height]).all()
        assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
        assert ((frame.scores > 0) & (frame.scores <= 1)).all()
        points = frame.keypoints
        unseen = points[..., 2] == 0
        assert (points[unseen] == 0).all()


def test_misses_and_false_detections_grow_with_the_profile(store):
    empty = LabelledSession("nobody", ())
    ghosts = {name: sum(len(f.boxes) for f in frames_of(simulate(store, empty, name, seed=0))) for name in PROFILES}
    assert ghosts["clean"] == 0 < ghosts["nominal"] < ghosts["harsh"]
    quiet = {name: replace(profile, cameras=replace(profile.cameras, false_detections=0.0)) for name, profile in PROFILES.items()}
    hands = PROFILES["clean"].hands
    found = {n: sum(len(f.boxes) for f in frames_of(simulate(store, SESSION, replace(p, hands=hands), seed=0))) for n, p in quiet.items()}
    assert found["clean"] > found["nominal"] > found["harsh"] > 0.6 * found["clean"]


def test_noise_of_keypoints_is_as_configured(store, clean):
    noisy_profile = replace(PROFILES["clean"], cameras=replace(PROFILES["clean"].cameras, pixel_noise_px=2.0))
    noisy = {(f.stamp_ns, f.camera): f for f in frames_of(simulate(store, SESSION, noisy_profile, seed=0))}
    errors = []
    for frame in frames_of(clean):
        other = noisy[frame.stamp_ns, frame.camera]
        if len(frame.boxes) == len(other.boxes) == 1:
            sure = (frame.keypoints[0, :, 2] > 0.5) & (other.keypoints[0, :, 2] > 0.5)
            errors.append((frame.keypoints[0, sure, :2] - other.keypoints[0, sure, :2]).ravel())
    assert np.concatenate(errors).std() == pytest.approx(2.0, rel=0.15)


def test_somebody_behind_another_is_hidden(store):
    """Two people side by side at a shelf are not both whole in every camera: some see one through the other."""
    plates = (("5",), ("8",))
    events = tuple(LabelledEvent(0.0, person, "pick", "3", "4", at, (None,)) for person, at in zip("ab", plates, strict=True))
    both = simulate(store, LabelledSession("pair", events), "clean", seed=0)
    reach = both.reenactment.reaches[0].time_s
    around = [f for f in frames_of(both) if abs((f.stamp_ns - both.start_ns) / NANOSECONDS - reach) < 0.3]
    confident = [np.mean(f.keypoints[..., 2] > 0.5, axis=1) for f in around if len(f.boxes) == 2]
    assert len(confident) > 10
    assert max(np.max(shares) for shares in confident) > 0.8
    assert min(np.min(shares) for shares in confident) < 0.5
