"""Batched Kalman filters with constant-velocity motion (Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking, 2001).

States are ordered positions first: (x, y, vx, vy) on the floor, (x, y, z, vx, vy, vz) for points of the body. All functions work on
N states at once and return new arrays; those that are compiled work in place. Where axes are independent of each other (boxes in an
image), ``AxisStates`` needs a tenth of the arithmetic for the same numbers; its functions work in place.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

import aisle_kernels


def constant_velocity(dt_s: float, axes: int, acceleration_density: float) -> tuple[np.ndarray, np.ndarray]:
    """Transition F and process noise Q, float64 [2*axes, 2*axes], for a step of ``dt_s`` seconds.

    ``acceleration_density`` is the power spectral density of white acceleration, m^2/s^3 (Bar-Shalom 6.2.2).
    """
    place = np.arange(axes)
    velocity = place + axes
    transition, noise = np.eye(2 * axes), np.zeros((2 * axes, 2 * axes))
    transition[place, velocity] = dt_s
    noise[place, place], noise[velocity, velocity] = dt_s**3 / 3, dt_s
    noise[place, velocity] = noise[velocity, place] = dt_s**2 / 2
    return transition, acceleration_density * noise


def predict(means: np.ndarray, covariances: np.ndarray, transition: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [N, D] and covariances [N, D, D] one step later; ``transition`` and ``noise`` [D, D] or [N, D, D]."""
    moved = np.einsum("...ij,nj->ni", transition, means) if transition.ndim == 2 else np.einsum("nij,nj->ni", transition, means)
    return moved, transition @ covariances @ np.swapaxes(transition, -1, -2) + noise


def update(
    means: np.ndarray, covariances: np.ndarray, measured: np.ndarray, observation: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Each state [N, D] corrected by one measurement [N, M]: ``observation`` [M, D] or [N, M, D], ``noise`` [N, M, M].

    Joseph's form, which keeps covariances symmetric and positive (Bar-Shalom 5.2.3).
    """
    observation = np.broadcast_to(observation, (len(means), *observation.shape[-2:]))
    transposed = np.swapaxes(observation, -1, -2)
    innovation = measured - np.einsum("nij,nj->ni", observation, means)
    spread = observation @ covariances @ transposed + noise
    gain = np.swapaxes(np.linalg.solve(spread, observation @ covariances), -1, -2)
    kept = np.eye(means.shape[1]) - gain @ observation
    corrected = means + np.einsum("nij,nj->ni", gain, innovation)
    return corrected, kept @ covariances @ np.swapaxes(kept, -1, -2) + gain @ noise @ np.swapaxes(gain, -1, -2)


def move(means: np.ndarray, covariances: np.ndarray, dt_s: float, acceleration_density: float) -> None:
    """Takes means [N, 2*axes] and covariances [N, 2*axes, 2*axes] on by ``dt_s`` seconds, in place: ``predict`` with
    ``constant_velocity``, compiled."""
    aisle_kernels.predict(means.shape[-1] // 2, dt_s, acceleration_density, means, covariances)


def fuse(
    means: np.ndarray, covariances: np.ndarray, owner: np.ndarray, positions: np.ndarray, ages_s: np.ndarray, precision: np.ndarray
) -> None:
    """Corrects states [N, 4] (x, y, vx, vy), in place, by K positions at once, each weighed by its precision (the information form).

    ``positions`` [K, 2] are where the ``owner`` (int [K]) was ``ages_s`` [K] ago, with ``precision`` [K, 2, 2] (inverse covariance). A
    state may own any number of them; the result equals updating with them one after the other, in any order.
    """
    aisle_kernels.fuse(means, covariances, owner, positions, ages_s, precision)


def squared_mahalanobis(difference: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """d^T C^-1 d for ``difference`` [..., M] and ``covariance`` [..., M, M]."""
    return np.einsum("...i,...i->...", difference, np.linalg.solve(covariance, difference[..., None])[..., 0])


@dataclass(eq=False)
class AxisStates:
    """N constant-velocity states of A axes each that neither move nor are measured together, as the sides of a box.

    Their joint covariance is block-diagonal, so position's and velocity's variances and covariance per axis are all of it. ``values``
    float64 [5, N, A] holds, in this order, ``position``, ``velocity``, ``position_variance``, ``covariance`` (of position with velocity)
    and ``velocity_variance``, each [N, A].
    """

    values: np.ndarray

    def __len__(self) -> int:
        return self.values.shape[1]

    @property
    def position(self) -> np.ndarray:
        return self.values[0]

    @property
    def velocity(self) -> np.ndarray:
        return self.values[1]

    @property
    def position_variance(self) -> np.ndarray:
        return self.values[2]

    @property
    def covariance(self) -> np.ndarray:
        return self.values[3]

    @property
    def velocity_variance(self) -> np.ndarray:
        return self.values[4]

    @classmethod
    def at_rest(cls, position: np.ndarray, position_variance: np.ndarray, velocity_variance: np.ndarray) -> AxisStates:
        """New states: measured once, velocity unknown (zero with the variance given)."""
        values = np.zeros((5, *position.shape))
        values[0], values[2], values[4] = position, position_variance, velocity_variance
        return cls(values)

    def subset(self, chosen: np.ndarray) -> AxisStates:
        return AxisStates(self.values[:, chosen])

    def joined(self, others: AxisStates) -> AxisStates:
        return AxisStates(np.concatenate((self.values, others.values), axis=1))


def predict_axes(states: AxisStates, dt_s: float, densities: tuple[float, ...], scale: np.ndarray | float = 1.0) -> None:
    """Moves the states on, in place; the same model as ``constant_velocity``, with the densities [A] of the axes times ``scale`` [N, 1]."""
    step, grown = _axis_motion(dt_s, densities)
    states.values = (step @ states.values.reshape(5, -1)).reshape(states.values.shape)
    states.values[2:] += scale * grown


@functools.lru_cache(maxsize=64)
def _axis_motion(dt_s: float, densities: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What a step does to the five numbers of an axis, [5, 5], and what the densities add to the last three, [3, 1, A]."""
    step = np.eye(5)
    step[0, 1] = dt_s
    step[2, 3:] = 2.0 * dt_s, dt_s**2
    step[3, 4] = dt_s
    return step, np.array([dt_s**3 / 3, dt_s**2 / 2, dt_s]).reshape(3, 1, 1) * np.array(densities)


def update_axes(states: AxisStates, chosen: np.ndarray, measured: np.ndarray, variance: np.ndarray) -> None:
    """Corrects the states ``chosen`` (int [K], each at most once), in place, by positions ``measured`` [K, A] of ``variance`` [K, A]."""
    corrected = states.values.take(chosen, axis=1)
    gain = corrected[2:4] / (corrected[2] + variance)
    corrected[:2] += gain * (measured - corrected[0])
    corrected[4] -= gain[1] * corrected[3]
    np.multiply(gain, variance, out=corrected[2:4])
    states.values[:, chosen] = corrected
