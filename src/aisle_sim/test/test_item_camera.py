"""The camera for things in hands errs as its confusion matrix says, and stands where hands are."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS, ItemObservation
from aisle_sim.item_camera import ItemCamera, confusion
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.profiles import PROFILES, ItemCameraProfile, with_item_camera
from aisle_sim.random_streams import random_stream
from aisle_sim.simulator import simulate

PRODUCT = "084114115881"
SESSION = LabelledSession(
    "there and back",
    (
        LabelledEvent(0.0, "anna", "pick", "2", "6", ("8", "9"), (PRODUCT,)),
        LabelledEvent(6.0, "anna", "put_back", "2", "6", ("8", "9"), (PRODUCT,)),
    ),
)


def test_columns_of_the_confusion_matrix_sum_to_one():
    matrix = confusion(7, 0.8)
    assert np.allclose(matrix.sum(axis=0), 1)
    assert np.allclose(np.diag(matrix), 0.8)


def test_a_thing_is_seen_after_a_pick_and_before_a_put_back_near_the_hand(store):
    simulated = simulate(store, SESSION, with_item_camera(PROFILES["clean"], 1.0), seed=3)
    seen = [record for record in simulated.records if isinstance(record, ItemObservation)]
    assert [record.stamp_ns for record in simulated.records] == sorted(record.stamp_ns for record in simulated.records)
    assert len(seen) == 2
    pick, put = simulated.reenactment.reaches
    times = [(record.stamp_ns - simulated.start_ns) / NANOSECONDS for record in seen]
    assert pick.end_s < times[0] < pick.end_s + 1
    assert put.start_s - 1 < times[1] < put.start_s
    for record, time_s, reach in zip(seen, times, (pick, put), strict=True):
        wrist = simulated.reenactment.shoppers[0].wrists(np.array([time_s]))[0 if reach.left_hand else 1][0]
        assert np.linalg.norm(record.position - wrist) < 0.25
        assert record.products[int(np.argmax(record.likelihoods))] == PRODUCT


def test_it_is_right_as_often_as_it_says(store):
    simulated = simulate(store, SESSION, "clean", seed=0)
    camera = ItemCamera(store, ItemCameraProfile(accuracy=0.8, unseen_share=0.25), random_stream(0, "item camera"), 0)
    seen = [record for _ in range(400) for record in camera.records(simulated.reenactment.shoppers)]
    right = [record.products[int(np.argmax(record.likelihoods))] == PRODUCT for record in seen]
    assert len(seen) == pytest.approx(600, abs=50)
    assert np.mean(right) == pytest.approx(0.8, abs=0.05)


def test_without_one_nothing_is_observed(store):
    assert not any(isinstance(record, ItemObservation) for record in simulate(store, SESSION, "nominal", seed=0).records)
