"""The tracker's batched Kalman filters against filterpy's, one object per person, in the same run on the same numbers."""

from __future__ import annotations

import time

import numpy as np
from filterpy.kalman import KalmanFilter

from aisle_perception import kalman

TITLE = "Constant-velocity Kalman filters: one prediction and one correction of every person, batched against a loop over filterpy"

PEOPLE = (1, 5, 20, 100)
STEPS = 200
PERIOD_S = 0.1
ACCELERATION_DENSITY = 0.5
DEVIATION_M = 0.1
OBSERVATION = np.eye(2, 4)


def measure() -> dict[str, float]:
    """Microseconds per step of all people; RuntimeError if the two disagree, since then the times mean nothing."""
    figures = {}
    for people in PEOPLE:
        positions = np.random.default_rng(people).normal(0.0, 1.0, (STEPS, people, 2)).cumsum(axis=0) * 0.05
        ours_us, ours = _batched(positions)
        theirs_us, theirs = _filterpy(positions)
        if not np.allclose(ours, theirs, atol=1e-9):
            raise RuntimeError(f"{people} people: batched filters and filterpy differ by {np.abs(ours - theirs).max():.3g}")
        figures[f"batched_{people}_people_us"] = ours_us
        figures[f"filterpy_{people}_people_us"] = theirs_us
        figures[f"filterpy_over_batched_{people}_people"] = theirs_us / ours_us
    return figures


def _batched(positions: np.ndarray) -> tuple[float, np.ndarray]:
    people = positions.shape[1]
    transition, process = kalman.constant_velocity(PERIOD_S, 2, ACCELERATION_DENSITY)
    noise = np.broadcast_to(np.eye(2) * DEVIATION_M**2, (people, 2, 2))
    means, covariances = np.zeros((people, 4)), np.broadcast_to(np.eye(4), (people, 4, 4))
    began = time.perf_counter()
    for measured in positions:
        means, covariances = kalman.predict(means, covariances, transition, process)
        means, covariances = kalman.update(means, covariances, measured, OBSERVATION, noise)
    return 1e6 * (time.perf_counter() - began) / STEPS, means


def _filterpy(positions: np.ndarray) -> tuple[float, np.ndarray]:
    transition, process = kalman.constant_velocity(PERIOD_S, 2, ACCELERATION_DENSITY)
    filters = []
    for _ in range(positions.shape[1]):
        one = KalmanFilter(dim_x=4, dim_z=2)
        one.F, one.Q, one.H, one.R = transition, process, OBSERVATION, np.eye(2) * DEVIATION_M**2
        filters.append(one)
    began = time.perf_counter()
    for measured in positions:
        for one, position in zip(filters, measured, strict=True):
            one.predict()
            one.update(position)
    elapsed_us = 1e6 * (time.perf_counter() - began) / STEPS
    return elapsed_us, np.array([one.x.ravel() for one in filters])
