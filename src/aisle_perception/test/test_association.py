"""Gating, grouping and fusing of floor detections against the plain formulas."""

from __future__ import annotations

import numpy as np

from aisle_perception import kalman
from aisle_perception.association import ClusterInitiator, FloorDetections, GlobalNearestNeighbour, innovations


def _detections(rng: np.random.Generator, count: int, cameras: int = 3) -> FloorDetections:
    roots = rng.normal(0.0, 0.2, (count, 2, 2))
    return FloorDetections(
        rng.uniform(0.0, 5.0, (count, 2)),
        roots @ np.swapaxes(roots, 1, 2) + 0.01 * np.eye(2),
        rng.uniform(0.0, 0.2, count),
        rng.integers(0, cameras, count),
        np.zeros((count, 0, 3)),
    )


def test_innovations_are_those_of_the_full_matrices() -> None:
    rng = np.random.default_rng(2)
    detections = _detections(rng, 6)
    means, roots = rng.normal(size=(4, 4)), rng.normal(size=(4, 4, 4))
    covariances = roots @ np.swapaxes(roots, 1, 2)
    found = innovations(means, covariances, detections)
    for number, age_s in enumerate(detections.age_s):
        observation = np.array([[1.0, 0.0, -age_s, 0.0], [0.0, 1.0, 0.0, -age_s]])
        spread = observation @ covariances @ observation.T + detections.covariances[number]
        miss = detections.positions[number] - means @ observation.T
        np.testing.assert_allclose(found.distance[:, number], kalman.squared_mahalanobis(miss, spread))
        np.testing.assert_allclose(found.log_determinant[:, number], np.log(np.linalg.det(spread)))


def test_fusing_a_group_is_updating_one_by_one() -> None:
    detections = _detections(np.random.default_rng(3), 4)
    position, covariance = detections.fused(np.array([0, 2, 3]))
    mean, spread = detections.positions[:1], detections.covariances[:1]
    for number in (2, 3):
        mean, spread = kalman.update(mean, spread, detections.positions[[number]], np.eye(2), detections.covariances[[number]])
    np.testing.assert_allclose(position, mean[0])
    np.testing.assert_allclose(covariance, spread[0])


def test_groups_never_hold_two_detections_of_one_camera() -> None:
    rng = np.random.default_rng(4)
    places = np.array([[1.0, 1.0], [4.0, 1.0], [4.0, 1.5]])
    cameras, people = np.repeat(np.arange(5), 3), np.tile(np.arange(3), 5)
    detections = FloorDetections(
        places[people] + rng.normal(0.0, 0.05, (15, 2)),
        np.tile(0.0025 * np.eye(2), (15, 1, 1)),
        np.zeros(15),
        cameras,
        np.zeros((15, 0, 3)),
    )
    groups = ClusterInitiator(9.2).clusters(detections)
    assert [sorted(set(people[group])) for group in groups] == [[0], [1], [2]]
    assert all(len(set(cameras[group])) == 5 for group in groups)
    assert [len(group) for group in ClusterInitiator(9.2).clusters(detections.subset(np.array([0])))] == [1]
    assert ClusterInitiator(9.2).clusters(detections.subset(np.zeros(0, dtype=int))) == []


def test_the_cheapest_assignment_is_not_the_nearest_first() -> None:
    means, covariances = np.array([[0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]]), np.tile(0.09 * np.eye(4), (2, 1, 1))
    detections = FloorDetections(
        np.array([[0.4, 0.0], [0.95, 0.0]]), np.tile(0.01 * np.eye(2), (2, 1, 1)), np.zeros(2), np.zeros(2, dtype=int), np.zeros((2, 0, 3))
    )
    owner = GlobalNearestNeighbour(11.8).assign(
        innovations(means, covariances, detections), detections, np.ones(2, dtype=bool), np.ones(2, dtype=bool)
    )
    assert owner.tolist() == [0, 1]
