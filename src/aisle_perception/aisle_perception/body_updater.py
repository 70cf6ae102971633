"""Detections of bodies told more exactly by what is known of whom they show: which side of a wide box the body is on, how tall he is.

A detection leaves open on which side of its box the body stands (``BodyEvidence.reach``) and how far away a person of unknown stature is
whose feet are hidden. Where a person is expected and what the other cameras say decides: for each detection the shares of its sides are
judged against all the rest, then its sides are merged into one Gaussian, and again until it settles (expectation propagation: Minka, A
Family of Algorithms for Approximate Bayesian Inference, 2001). The statures that the slots show are remembered by person. The arithmetic
is in ``aisle_kernels/src/body_evidence.cpp``.
"""

from __future__ import annotations

import numpy as np

import aisle_kernels
from aisle_perception.association import FloorDetections
from aisle_perception.floor_projection import BodyConfig
from aisle_perception.floor_tracker import FloorTrackerConfig, FloorUpdater
from aisle_perception.people import People

#: Errors of a stature persist as long as a pose does, s: successive slots tell it again and again, not anew.
_POSE_S = 1.0
#: No stature is known better than this (multiple of the mean): shoes, hair, stooping.
_LEAST_STATURE_DEVIATION = 0.02


class BodyUpdater(FloorUpdater):
    """A ``FloorUpdater`` for detections with ``evidence``; others it takes as they are. Remembers statures."""

    def __init__(self, config: FloorTrackerConfig, body: BodyConfig) -> None:
        super().__init__(config)
        #: Of the people: mean, as multiple of the population's, and variance.
        self._unknown = (1.0, (body.stature_deviation / body.stature) ** 2)
        #: Of the persons of these numbers, float64 [N, 2].
        self._numbers, self._statures = np.zeros(0, dtype=np.int64), np.zeros((0, 2))
        self._dt_s = 0.0

    def predict(self, people: People, dt_s: float, stamp_ns: int) -> None:
        self._dt_s = dt_s
        super().predict(people, dt_s, stamp_ns)

    def update(self, people: People, detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        evidence = detections.evidence
        if evidence is None:
            super().update(people, detections, owner, distance)
            return
        if not np.count_nonzero(owner >= 0):
            return
        if people.numbers is not self._numbers:
            self._keep(people.numbers)
        states = (people.means, people.covariances, self._statures)
        said = (evidence.information, evidence.vector, evidence.reach, evidence.shares)
        limits = (self._HUBER, min(self._dt_s / _POSE_S, 1.0), _LEAST_STATURE_DEVIATION**2)
        aisle_kernels.correct_bodies(*limits, *states, owner, detections.age_s, *said)

    def _keep(self, numbers: np.ndarray) -> None:
        """People have come or gone: those who are gone are forgotten, of new ones nothing is known."""
        known = dict(zip(self._numbers.tolist(), self._statures.tolist(), strict=True))
        self._statures = np.array([known.get(number, self._unknown) for number in numbers.tolist()])
        self._numbers = numbers
