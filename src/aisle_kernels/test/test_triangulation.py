"""Points of the body from rays: exact, robust, and honest with one camera alone."""

from __future__ import annotations

import numpy as np

import aisle_kernels

EYES = np.array([[0.0, 0.0, 2.5], [4.0, 0.0, 2.5], [4.0, 3.0, 2.5], [0.0, 3.0, 2.5]])
POINT = np.array([2.2, 1.4, 1.1])
PRIOR_MEAN = np.array([[2.0, 1.1, 1.2]])
PRIOR = np.diag([0.09, 0.09, 0.12])[None]


def _solve(directions: np.ndarray, eyes: np.ndarray = EYES, deviation: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    shape = (1, len(eyes))
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    point, covariance = np.empty(3), np.empty((3, 3))
    rays = np.ones(shape), np.full(shape, deviation), eyes[None], directions[None]
    aisle_kernels.triangulate(0.01, PRIOR_MEAN, PRIOR, *rays, point, covariance)
    return point, covariance


def test_crossing_rays_meet_in_the_point() -> None:
    point, _ = _solve(POINT - EYES)
    assert np.linalg.norm(point - POINT) < 0.005


def test_one_wrong_ray_among_four_does_little_harm() -> None:
    directions = POINT - EYES
    directions[2] += [0.6, -0.4, 0.5]
    point, _ = _solve(directions)
    assert np.linalg.norm(point - POINT) < 0.06


def test_one_ray_alone_is_uncertain_along_itself() -> None:
    directions = (POINT - EYES)[:1]
    point, covariance = _solve(directions, EYES[:1])
    along = directions[0] / np.linalg.norm(directions[0])
    across = np.cross(along, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    assert np.sqrt(along @ covariance @ along) > 0.15
    assert np.sqrt(across @ covariance @ across) < 0.05
    error = point - POINT
    assert error @ np.linalg.solve(covariance, error) < 11.3


def test_covariance_agrees_with_monte_carlo() -> None:
    rng = np.random.default_rng(3)
    errors, claimed = [], []
    for _ in range(400):
        directions = POINT + rng.normal(0.0, 0.01, (4, 3)) - EYES
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        directions += rng.normal(0.0, 0.01, (4, 3))
        point, covariance = _solve(directions)
        errors.append(point - POINT)
        claimed.append(covariance)
    nees = np.mean([e @ np.linalg.solve(c, e) for e, c in zip(errors, claimed, strict=True)])
    # Expected 3; rays that disagree by chance widen the covariance, so a little less.
    assert 1.5 < nees < 3.6


def test_a_prior_as_long_and_thin_as_a_ray_is_kept_where_nothing_is_seen() -> None:
    """Known to a centimetre across and to a metre along, turned anyhow: inverted twice."""
    rng = np.random.default_rng(2)
    turned, _ = np.linalg.qr(rng.normal(size=(50, 3, 3)))
    priors = turned @ np.diag([1e-4, 1e-4, 1.0]) @ np.swapaxes(turned, -1, -2)
    means, points, covariances = rng.normal(size=(50, 3)), np.empty((50, 3)), np.empty((50, 3, 3))
    nothing = np.zeros((50, 0)), np.zeros((50, 0)), np.zeros((50, 0, 3)), np.zeros((50, 0, 3))
    aisle_kernels.triangulate(0.01, means, priors, *nothing, points, covariances)
    np.testing.assert_allclose(points, means, atol=1e-7)
    np.testing.assert_allclose(covariances, priors, atol=1e-7)
