"""The compiled functions that follow people, against the same in NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import aisle_kernels

RNG = np.random.default_rng
NOBODY = -1


def positive(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    roots = rng.normal(size=(count, size, size))
    return roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(size)


def assigned(
    limit: float, asked: np.ndarray, free: np.ndarray, cameras: np.ndarray, distances: np.ndarray, gains: np.ndarray
) -> np.ndarray:
    owner = np.full(len(cameras), NOBODY)
    aisle_kernels.assign(limit, asked, free, int(cameras.max(initial=-1)) + 1, cameras, distances, gains, owner)
    return owner


def test_each_cameras_detections_are_assigned_as_scipy_does() -> None:
    rng = RNG(1)
    contested = 0
    for _ in range(300):
        persons, detections = rng.integers(0, 7), rng.integers(0, 12)
        cameras = rng.integers(0, 3, detections)
        distances, gains = rng.uniform(0.0, 4.0, (persons, detections)), rng.uniform(-0.5, 3.0, (persons, detections))
        asked, free = rng.random(persons) < 0.8, rng.random(detections) < 0.8
        owner = assigned(2.0, asked, free, cameras, distances, gains)
        possible = asked[:, None] & free & (distances <= 2.0) & (gains > 0.0)
        expected = np.full(detections, NOBODY)
        for camera in range(3):
            here = np.flatnonzero(cameras == camera)
            weighed = np.where(possible, gains, 0.0)[:, here]
            for person, place in zip(*linear_sum_assignment(weighed, maximize=True), strict=True):
                if weighed[person, place] > 0.0:
                    expected[here[place]] = person
            contested += np.count_nonzero(possible[:, here].sum(axis=0) > 1)
        assert owner.tolist() == expected.tolist()
    assert contested > 300


def test_equal_gains_are_shared_out_as_far_as_they_go() -> None:
    everybody = np.ones(3, dtype=bool)
    cameras, gains = np.zeros(3, dtype=int), np.full((3, 3), 1e-3)
    assert assigned(1.0, everybody, everybody, cameras, np.zeros((3, 3)), gains).tolist() == [0, 1, 2]
    gains[:, 0] = 2e-3
    assert sorted(assigned(1.0, everybody, everybody, cameras, np.zeros((3, 3)), gains)) == [0, 1, 2]


def test_what_is_given_already_stays() -> None:
    """Detections that are not free keep their owner, whoever is asked."""
    owner = np.array([1, NOBODY])
    everybody = np.ones(2, dtype=bool)
    aisle_kernels.assign(1.0, everybody, owner < 0, 1, np.zeros(2, dtype=int), np.zeros((2, 2)), np.ones((2, 2)), owner)
    assert owner.tolist() == [1, 0]


def test_shadows_are_near_somebody_whom_their_camera_misses() -> None:
    """Persons: 0 confirmed and found by camera 0, 1 confirmed and found by nobody, 2 a candidate."""
    cameras, owner = np.array([0, 0, 1, 0, 0]), np.array([0, NOBODY, NOBODY, NOBODY, NOBODY])
    distances = np.full((3, 5), 99.0)
    distances[0, [1, 2]] = distances[1, 3] = distances[2, 4] = 1.0
    shadows = np.empty(5, dtype=bool)
    aisle_kernels.shadows(30.0, np.array([True, True, False]), cameras, owner, distances, shadows)
    assert shadows.tolist() == [False, False, True, True, False]


def clusters(gate: float, cameras: np.ndarray, positions: np.ndarray, covariances: np.ndarray) -> list[int]:
    """Complete links, as slowly as they are defined."""
    groups = [[number] for number in range(len(cameras))]

    def apart(one: list[int], other: list[int]) -> float:
        pairs = [(a, b) for a in one for b in other]
        if any(cameras[a] == cameras[b] for a, b in pairs):
            return np.inf
        return max(off @ np.linalg.solve(covariances[a] + covariances[b], off) for a, b in pairs for off in [positions[a] - positions[b]])

    while len(groups) > 1:
        distance, one, other = min((apart(one, other), i, j) for i, one in enumerate(groups) for j, other in enumerate(groups) if i < j)
        if distance > gate:
            break
        groups[one] += groups.pop(other)
    return [min(next(group for group in groups if number in group)) for number in range(len(cameras))]


def test_clusters_are_complete_links() -> None:
    rng = RNG(2)
    for count in range(9):
        cameras, positions = rng.integers(0, 4, count), rng.uniform(0.0, 3.0, (count, 2))
        covariances = 0.2 * positive(rng, count, 2)
        labels = np.empty(count, dtype=np.int64)
        aisle_kernels.clusters(9.2, cameras, positions, covariances, labels)
        assert labels.tolist() == clusters(9.2, cameras, positions, covariances)


SILENCE, HIDDEN = np.array([0.0, -1.0, -2.0]), np.array([0.0, -0.1, -0.2])


def coverage(eyes: np.ndarray, shares: np.ndarray) -> object:
    """Cells of 1 m from (10, 20) on; whoever is within 0.25 m of a line of sight hides what is behind him."""
    return aisle_kernels.coverage(*shares.shape[1:], 10.0, 20.0, 1.0, 0.25, eyes, SILENCE, HIDDEN, shares)


def test_silence_says_what_cameras_should_see() -> None:
    shares = np.zeros((2, 8, 3), dtype=np.uint8)
    shares[0] = 1
    shares[1, 5, 0] = 2
    handle = coverage(np.array([[10.0, 20.0], [30.0, 20.0]]), shares)
    silence = np.empty((2, 4))
    # The second stands behind the first for camera 0, and before him for camera 1; the last one is beyond the grid.
    positions = np.array([[12.0, 20.0], [15.4, 20.1], [15.0, 22.4], [99.0, -99.0]])
    aisle_kernels.silence(handle, positions, silence)
    np.testing.assert_array_equal(silence, [[-1.0, -0.1, -1.0, -1.0], [0.0, -2.0, 0.0, 0.0]])
    alone = np.empty((2, 1))
    aisle_kernels.silence(handle, positions[1:2].copy(), alone)
    np.testing.assert_array_equal(alone, [[-1.0], [-2.0]])


def test_coverage_of_unknown_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="shares that are known"):
        coverage(np.zeros((1, 2)), np.full((1, 2, 2), 3, dtype=np.uint8))


def test_existence_is_judged_by_hits_and_misses() -> None:
    """Persons: found by two cameras, found by one that another one contradicts, missed by both, missed by both at a gate."""
    config = np.array([0.8, 0.5, 1.5, 0.6, 0.4, 8.0, 6.0])
    silence = np.array([[-1.0, -1.0, -0.2, -3.0], [-1.0, -0.4, -0.3, -3.0], [-9.0, -9.0, -9.0, -9.0]])
    log_odds, seen_ns = np.array([0.0, 1.0, 2.0, 5.5]), np.array([1, 2, 3, 4])
    cameras, owner = np.array([0, 1, 0, 1]), np.array([0, 0, 1, NOBODY])
    reporting, at_gate = np.array([True, True, False]), np.array([False, False, False, True])
    aisle_kernels.judge(config, 0.1, 77, reporting, at_gate, silence, cameras, owner, log_odds, seen_ns)
    np.testing.assert_allclose(log_odds, [1.5, 1.0 + 0.8 - 0.2, 2.0 - 0.25 - 0.04, 5.5 - 0.6 - 0.8])
    assert seen_ns.tolist() == [77, 77, 3, 4]
    for _ in range(9):
        aisle_kernels.judge(config, 0.1, 78, reporting, at_gate, silence, cameras, owner, log_odds, seen_ns)
    assert log_odds[0] == 6.0


def test_neighbours_are_remembered_until_they_part() -> None:
    means = np.zeros((3, 4))
    means[:, 0] = 0.0, 0.5, 5.0
    near, apart, frames = np.full((3, 3), -1), np.zeros((3, 3), dtype=int), np.zeros((3, 3), dtype=int)
    cameras, both, one = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([0, NOBODY, NOBODY, 1])
    for stamp_ns, owner in ((10, one), (20, both), (30, one)):
        aisle_kernels.compare_neighbours(0.6, stamp_ns, means, 2, cameras, owner, near, apart, frames)
    assert (near[1, 0], apart[1, 0], frames[1, 0]) == (10, 20, 2)
    assert np.count_nonzero(near >= 0) == np.count_nonzero(apart) == np.count_nonzero(frames) == 1
    means[1, 0] = 1.0
    aisle_kernels.compare_neighbours(0.6, 40, means, 2, cameras, both, near, apart, frames)
    assert (near[1, 0], apart[1, 0], frames[1, 0]) == (-1, 20, 2)


def test_lines_are_near_within_their_ends() -> None:
    near = np.empty(4, dtype=bool)
    positions = np.array([[1.0, 0.4], [1.0, 0.6], [2.4, 0.0], [2.4, 0.4]])
    aisle_kernels.near_lines(0.5, np.array([[9.0, 9.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]]), positions, near)
    assert near.tolist() == [True, False, True, False]


def test_rows_hold_what_is_known_of_those_who_are_wanted() -> None:
    rng = RNG(4)
    means, covariances = rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 4))
    point_means, point_covariances = rng.normal(size=(3, 3, 6)), rng.normal(size=(3, 3, 6, 6))
    seen_ns = np.array([[-1, -1, -1], [100, 60, -1], [39, 40, 100]])
    rows = np.empty((2, 59))
    wanted = np.array([False, True, True])
    aisle_kernels.track_rows(100, 60.0, wanted, means, covariances, seen_ns, point_means, point_covariances, rows)
    np.testing.assert_array_equal(rows[:, :20], np.column_stack((means, covariances.reshape(3, 16)))[1:])
    known = np.array([[True, True, False], [False, True, True]])
    points = np.concatenate((np.ones((2, 3, 1)), point_means[1:, :, :3], point_covariances[1:, :, :3, :3].reshape(2, 3, 9)), axis=2)
    np.testing.assert_array_equal(rows[:, 20:].reshape(2, 3, 13), np.where(known[..., None], points, 0.0))


def test_deviations_are_those_along_the_longest_axis() -> None:
    covariances, deviations = positive(RNG(5), 20, 2), np.empty(20)
    aisle_kernels.deviations(covariances, deviations)
    np.testing.assert_allclose(deviations, np.sqrt(np.linalg.eigvalsh(covariances)[:, 1]))


def test_those_who_were_not_seen_slow_down() -> None:
    means = np.ones((3, 4))
    aisle_kernels.slow_down(10, 0.5, np.array([9, 10, -1]), means)
    np.testing.assert_array_equal(means, [[1.0, 1.0, 0.5, 0.5], [1.0] * 4, [1.0, 1.0, 0.5, 0.5]])
    aisle_kernels.slow_down(10, 0.5, np.zeros(0, dtype=np.int64), np.zeros((0, 4)))
