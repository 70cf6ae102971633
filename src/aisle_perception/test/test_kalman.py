"""The batched Kalman filter against filterpy, a reference that others wrote."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.common import Q_continuous_white_noise
from filterpy.kalman import KalmanFilter

from aisle_perception import kalman


def _positive(rng: np.random.Generator, count: int, size: int) -> np.ndarray:
    roots = rng.normal(size=(count, size, size))
    return roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(size)


@pytest.mark.parametrize("axes", [2, 3])
def test_process_model_is_filterpys(axes: int) -> None:
    transition, noise = kalman.constant_velocity(0.37, axes, 1.7)
    single = Q_continuous_white_noise(2, 0.37, 1.7)
    for axis in range(axes):
        chosen = np.ix_([axis, axes + axis], [axis, axes + axis])
        np.testing.assert_allclose(noise[chosen], single, atol=1e-12)
        np.testing.assert_allclose(transition[chosen], [[1.0, 0.37], [0.0, 1.0]])


def test_many_steps_agree_with_filterpy() -> None:
    rng = np.random.default_rng(5)
    count, axes = 7, 2
    means, covariances = rng.normal(size=(count, 4)), _positive(rng, count, 4)
    observation = np.hstack([np.eye(2), np.zeros((2, 2))])
    references = []
    for mean, covariance in zip(means, covariances, strict=True):
        reference = KalmanFilter(dim_x=4, dim_z=2)
        reference.x, reference.P, reference.H = mean.copy(), covariance.copy(), observation
        references.append(reference)
    for _ in range(25):
        dt = rng.uniform(0.01, 0.5)
        transition, noise = kalman.constant_velocity(dt, axes, 0.8)
        measured, spread = rng.normal(size=(count, 2)), _positive(rng, count, 2)
        means, covariances = kalman.predict(means, covariances, transition, noise)
        means, covariances = kalman.update(means, covariances, measured, observation, spread)
        for number, reference in enumerate(references):
            reference.predict(F=transition, Q=noise)
            reference.update(measured[number], R=spread[number])
            np.testing.assert_allclose(means[number], reference.x, atol=1e-9)
            np.testing.assert_allclose(covariances[number], reference.P, atol=1e-9)


@pytest.mark.parametrize("axes", [2, 3])
def test_compiled_motion_is_that_of_the_matrices(axes: int) -> None:
    rng = np.random.default_rng(7)
    means, covariances = rng.normal(size=(5, 2 * axes)), _positive(rng, 5, 2 * axes)
    expected = kalman.predict(means, covariances, *kalman.constant_velocity(0.13, axes, 0.8))
    kalman.move(means, covariances, 0.13, 0.8)
    for found, wanted in zip((means, covariances), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


def test_fusing_equals_updating_one_after_the_other() -> None:
    rng = np.random.default_rng(6)
    means, covariances = rng.normal(size=(3, 4)), _positive(rng, 3, 4)
    owner = np.array([0, 2, 0, 0])
    measured, spread = rng.normal(size=(4, 2)), _positive(rng, 4, 2)
    ages_s = np.array([0.0, 0.1, 0.03, 0.07])
    observation = np.array([[[1.0, 0.0, -age, 0.0], [0.0, 1.0, 0.0, -age]] for age in ages_s])
    fused, fused_covariances = means.copy(), covariances.copy()
    kalman.fuse(fused, fused_covariances, owner, measured, ages_s, np.linalg.inv(spread))
    for k, number in enumerate(owner):
        one = slice(number, number + 1)
        means[one], covariances[one] = kalman.update(means[one], covariances[one], measured[k : k + 1], observation[k], spread[k : k + 1])
    np.testing.assert_allclose(fused, means, atol=1e-9)
    np.testing.assert_allclose(fused_covariances, covariances, atol=1e-9)


def test_squared_mahalanobis_of_unit_covariance_is_squared_length() -> None:
    np.testing.assert_allclose(kalman.squared_mahalanobis(np.array([3.0, 4.0]), np.eye(2)), 25.0)


def test_independent_axes_agree_with_filterpy() -> None:
    """Boxes of four axes with gaps: one filter of eight states each as reference."""
    rng = np.random.default_rng(7)
    count, axes = 6, 4
    start, first_variance, velocity_variance = (
        rng.normal(size=(count, axes)),
        rng.uniform(0.1, 2.0, (count, axes)),
        np.full((count, axes), 3.0),
    )
    densities, scale = (0.5, 0.5, 1.3, 0.2), rng.uniform(0.4, 2.0, (count, 1))
    density = scale * densities
    states = kalman.AxisStates.at_rest(start.copy(), first_variance.copy(), velocity_variance.copy())
    references = []
    for number in range(count):
        reference = KalmanFilter(dim_x=2 * axes, dim_z=axes)
        reference.x = np.concatenate([start[number], np.zeros(axes)])
        reference.P = np.diag(np.concatenate([first_variance[number], velocity_variance[number]]))
        reference.H = np.eye(axes, 2 * axes)
        references.append(reference)
    for _ in range(40):
        dt = rng.uniform(0.01, 0.5)
        kalman.predict_axes(states, dt, densities, scale)
        for number, reference in enumerate(references):
            transition, _ = kalman.constant_velocity(dt, axes, 1.0)
            noise = np.zeros((2 * axes, 2 * axes))
            for axis in range(axes):
                chosen = np.ix_([axis, axes + axis], [axis, axes + axis])
                noise[chosen] = Q_continuous_white_noise(2, dt, density[number, axis])
            reference.predict(F=transition, Q=noise)
        seen = np.flatnonzero(rng.random(count) < 0.7)
        measured, variance = rng.normal(size=(len(seen), axes)), rng.uniform(0.05, 1.0, (len(seen), axes))
        kalman.update_axes(states, seen, measured, variance)
        for place, number in enumerate(seen):
            references[number].update(measured[place], R=np.diag(variance[place]))
        for number, reference in enumerate(references):
            np.testing.assert_allclose(np.concatenate([states.position[number], states.velocity[number]]), reference.x, atol=1e-9)
            variances = np.concatenate([states.position_variance[number], states.velocity_variance[number]])
            np.testing.assert_allclose(variances, np.diag(reference.P), atol=1e-9)
            np.testing.assert_allclose(states.covariance[number], np.diag(reference.P[:axes, axes:]), atol=1e-9)
