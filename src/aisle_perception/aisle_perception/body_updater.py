"""Detections of bodies told more exactly by what is known of whom they show: which side of a wide box the body is on, how tall he is.

A detection leaves open on which side of its box the body stands (``BodyEvidence.reach``) and how far away a person of unknown stature is
whose feet are hidden. Where a person is expected and what the other cameras say decides: for each detection the shares of its sides are
judged against all the rest, then its sides are merged into one Gaussian, and again until it settles (expectation propagation: Minka, A
Family of Algorithms for Approximate Bayesian Inference, 2001). The statures that the slots show are remembered by person.

Who crouches or bends to a low shelf looks like somebody upright farther away, to each camera in another direction. All cameras of a slot
together, and where he was before, tell how likely that is (a switching model with two postures: Bar-Shalom, Li, Kirubarajan, Estimation
with Applications to Tracking and Navigation, 2001, ch. 11), and how low he is then. The arithmetic is in
``aisle_kernels/src/body_evidence.cpp``.
"""

from __future__ import annotations

import dataclasses

import numpy as np

import aisle_kernels
from aisle_perception.association import FloorDetections, Innovations, innovations
from aisle_perception.floor_projection import BodyConfig, BodyEvidence
from aisle_perception.floor_tracker import FloorTrackerConfig, FloorUpdater
from aisle_perception.people import People
from aisle_perception.small_matrices import inverse2

#: Errors of a stature persist as long as a pose does, s: successive slots tell it again and again, not anew.
_POSE_S = 1.0
#: No stature is known better than this (multiple of the mean): shoes, hair, stooping.
_LEAST_STATURE_DEVIATION = 0.02
#: Columns of what is known of statures.
_CROUCHING, _MOMENTARY = 2, slice(3, 5)
#: Who is as likely as this to crouch is looked for as such.
_LIKELY = 0.3
#: Keeps what nothing was seen of solvable.
_USELESS = 1e-9


class BodyUpdater(FloorUpdater):
    """A ``FloorUpdater`` for detections with ``evidence``; others it takes as they are. Remembers statures."""

    def __init__(self, config: FloorTrackerConfig, body: BodyConfig) -> None:
        super().__init__(config)
        variance = (body.stature_deviation / body.stature) ** 2
        #: Of somebody new: mean, as multiple of the population's, and variance; how likely it is that he crouches; mean and variance at the
        #: moment.
        self._unknown = (1.0, variance, 0.0, 1.0, variance)
        #: Of the persons of these numbers, float64 [N, 5].
        self._numbers, self._statures = np.zeros(0, dtype=np.int64), np.zeros((0, 5))
        self._dt_s = 0.0

    def predict(self, people: People, dt_s: float, stamp_ns: int) -> None:
        self._dt_s = dt_s
        super().predict(people, dt_s, stamp_ns)

    def innovations(self, people: People, detections: FloorDetections) -> Innovations:
        """Who crouches is expected as he was seen last: what a camera shows of him would be farther away if he stood upright."""
        found = super().innovations(people, detections)
        evidence = detections.evidence
        if evidence is None:
            return found
        self._keep(people.numbers)
        for row in np.flatnonzero(self._statures[:, _CROUCHING] > _LIKELY).tolist():
            positions, covariances = _placed(evidence, *self._statures[row, _MOMENTARY].tolist())
            seen = dataclasses.replace(detections, positions=positions, covariances=covariances)
            low = innovations(people.means[row : row + 1], people.covariances[row : row + 1], seen)
            better = low.distance[0] + low.log_determinant[0] < found.distance[row] + found.log_determinant[row]
            found.distance[row, better] = low.distance[0, better]
            found.log_determinant[row, better] = low.log_determinant[0, better]
        return found

    def update(self, people: People, detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        evidence = detections.evidence
        if evidence is None:
            super().update(people, detections, owner, distance)
            return
        if not np.count_nonzero(owner >= 0):
            return
        self._keep(people.numbers)
        states = (people.means, people.covariances, self._statures)
        said = (evidence.information, evidence.vector, evidence.reach, evidence.shares)
        limits = (self._HUBER, min(self._dt_s / _POSE_S, 1.0), _LEAST_STATURE_DEVIATION**2)
        aisle_kernels.correct_bodies(*limits, *states, owner, detections.age_s, *said)

    def _keep(self, numbers: np.ndarray) -> None:
        """People have come or gone: those who are gone are forgotten, of new ones nothing is known."""
        if numbers is self._numbers:
            return
        known = dict(zip(self._numbers.tolist(), self._statures.tolist(), strict=True))
        self._statures = np.array([known.get(number, self._unknown) for number in numbers.tolist()]).reshape(-1, len(self._unknown))
        self._numbers = numbers


def _placed(evidence: BodyEvidence, stature: float, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M, 2] and covariances [M, 2, 2] of the detections if they show somebody of that stature (multiple of the mean)."""
    information, vector = evidence.information, evidence.vector
    # The stature is integrated out (Schur's complement).
    along, stiffness = information[:, :2, 2], information[:, 2, 2] + 1.0 / variance
    pulled = vector[:, :2] - along * ((vector[:, 2] + stature / variance) / stiffness)[:, None]
    known = information[:, :2, :2] - along[:, :, None] * along[:, None, :] / stiffness[:, None, None]
    spread = inverse2(known + _USELESS * np.eye(2))
    return np.einsum("mij,mj->mi", spread, pulled), spread
