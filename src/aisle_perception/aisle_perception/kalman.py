"""Batched Kalman filters with constant-velocity motion (Bar-Shalom, Li, Kirubarajan: Estimation with Applications to Tracking, 2001).

States are ordered positions first: (x, y, vx, vy) on the floor, (x, y, z, vx, vy, vz) for points of the body. All functions work on
N states at once and return new arrays.
"""

from __future__ import annotations

import numpy as np


def constant_velocity(dt_s: float, axes: int, acceleration_density: float) -> tuple[np.ndarray, np.ndarray]:
    """Transition F and process noise Q, float64 [2*axes, 2*axes], for a step of ``dt_s`` seconds.

    ``acceleration_density`` is the power spectral density of white acceleration, m^2/s^3 (Bar-Shalom 6.2.2).
    """
    identity = np.eye(axes)
    transition = np.eye(2 * axes)
    transition[:axes, axes:] = dt_s * identity
    noise = np.block([[dt_s**3 / 3 * identity, dt_s**2 / 2 * identity], [dt_s**2 / 2 * identity, dt_s * identity]])
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


def fuse(
    means: np.ndarray, covariances: np.ndarray, owner: np.ndarray, measured: np.ndarray, observation: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """States [N, D] corrected by K measurements at once, each weighed by its precision (the information form).

    Measurement k: ``measured`` [K, M] = ``observation`` [K, M, D] @ state of ``owner`` [K], with ``precision`` [K, M, M] (inverse
    covariance). A state may own any number of measurements; the result equals updating with them one after the other, in any order.
    """
    information = np.linalg.inv(covariances)
    vector = np.einsum("nij,nj->ni", information, means)
    weighed = np.swapaxes(observation, -1, -2) @ precision
    np.add.at(information, owner, weighed @ observation)
    np.add.at(vector, owner, np.einsum("kij,kj->ki", weighed, measured))
    fused = np.linalg.inv(information)
    fused = (fused + np.swapaxes(fused, -1, -2)) / 2
    return np.einsum("nij,nj->ni", fused, vector), fused


def squared_mahalanobis(difference: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """d^T C^-1 d for ``difference`` [..., M] and ``covariance`` [..., M, M]."""
    return np.einsum("...i,...i->...", difference, np.linalg.solve(covariance, difference[..., None])[..., 0])
