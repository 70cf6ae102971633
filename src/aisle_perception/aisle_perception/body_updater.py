"""Detections of bodies told more exactly by what is known of whom they show: which side of a wide box the body is on, how tall he is.

A detection leaves open on which side of its box the body stands (``BodyEvidence.reach``) and how far away a person of unknown stature is
whose feet are hidden. Where a person is expected and what the other cameras say decides: for each detection the shares of its sides are
judged against all the rest, then its sides are merged into one Gaussian, and again until it settles (expectation propagation: Minka, A
Family of Algorithms for Approximate Bayesian Inference, 2001). The statures that the slots show are remembered by person. The arithmetic
is in ``aisle_kernels/src/body_evidence.cpp``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import aisle_kernels
from aisle_perception.association import FloorDetections
from aisle_perception.floor_projection import BodyConfig
from aisle_perception.floor_tracker import FloorTrackerConfig, FloorUpdater, Person, spread, stacked

#: Errors of a stature persist as long as a pose does, s: successive slots tell it again and again, not anew.
_POSE_S = 1.0
#: No stature is known better than this (multiple of the mean): shoes, hair, stooping.
_LEAST_STATURE_DEVIATION = 0.02


class BodyUpdater(FloorUpdater):
    """A ``FloorUpdater`` for detections with ``evidence``; others it takes as they are. Remembers statures by ``Person.number``."""

    def __init__(self, config: FloorTrackerConfig, body: BodyConfig) -> None:
        super().__init__(config)
        #: Of the people: mean, as multiple of the population's, and variance.
        self._unknown = (1.0, (body.stature_deviation / body.stature) ** 2)
        self._statures: dict[int, tuple[float, float]] = {}
        self._dt_s = 0.0

    def predict(self, people: Sequence[Person], dt_s: float, stamp_ns: int) -> None:
        self._dt_s = dt_s
        super().predict(people, dt_s, stamp_ns)

    def update(self, people: Sequence[Person], detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        used = np.flatnonzero(owner >= 0)
        if detections.evidence is None or not len(used):
            super().update(people, detections, owner, distance)
            return
        means, covariances = stacked(people)
        statures = np.array([self._statures.get(person.number, self._unknown) for person in people])
        evidence = detections.evidence[used]
        said = (evidence.information, evidence.vector, evidence.reach, evidence.shares)
        limits = (self._HUBER, min(self._dt_s / _POSE_S, 1.0), _LEAST_STATURE_DEVIATION**2)
        aisle_kernels.correct_bodies(*limits, means, covariances, statures, owner[used], detections.age_s[used], *said)
        spread(people, means, covariances)
        # People who have gone are forgotten.
        self._statures = {person.number: (mean, variance) for person, (mean, variance) in zip(people, statures.tolist(), strict=True)}
