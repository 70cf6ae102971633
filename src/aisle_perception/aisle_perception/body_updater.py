"""Detections of bodies told more exactly by what is known of whom they show: which side of a wide box the body is on, how tall he is.

A detection leaves open on which side of its box the body stands (``BodyEvidence.reach``) and how far away a person of unknown stature is
whose feet are hidden. Where a person is expected and what the other cameras say decides: for each detection the shares of its sides are
judged against all the rest, then its sides are merged into one Gaussian, and again until it settles (expectation propagation: Minka, A
Family of Algorithms for Approximate Bayesian Inference, 2001). The statures that the slots show are remembered by person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

import aisle_kernels
from aisle_perception.association import FloorDetections, squared_distances
from aisle_perception.floor_projection import BodyConfig, BodyEvidence, located
from aisle_perception.floor_tracker import FloorTrackerConfig, FloorUpdater, Person, stacked
from aisle_perception.small_matrices import inverse2

#: Errors of a stature persist as long as a pose does, s: successive slots tell it again and again, not anew.
_POSE_S = 1.0
#: No stature is known better than this (multiple of the mean): shoes, hair, stooping.
_LEAST_STATURE_DEVIATION = 0.02
#: Keeps persons of whom nothing was seen solvable.
_VAGUE = 1e-6


@dataclass(eq=False)
class Stature:
    """A person's ``mean`` stature as multiple of the population's, and its ``variance``."""

    mean: float
    variance: float


class BodyUpdater(FloorUpdater):
    """A ``FloorUpdater`` for detections with ``evidence``; others it takes as they are. Remembers statures by ``Person.number``."""

    def __init__(self, config: FloorTrackerConfig, body: BodyConfig) -> None:
        super().__init__(config)
        self._unknown = Stature(1.0, (body.stature_deviation / body.stature) ** 2)
        self._statures: dict[int, Stature] = {}
        self._dt_s = 0.0

    def predict(self, people: Sequence[Person], dt_s: float, stamp_ns: int) -> None:
        self._dt_s = dt_s
        super().predict(people, dt_s, stamp_ns)

    def update(self, people: Sequence[Person], detections: FloorDetections, owner: np.ndarray, distance: np.ndarray) -> None:
        used = np.flatnonzero(owner >= 0)
        if detections.evidence is None or not len(used):
            super().update(people, detections, owner, distance)
            return
        states, whose = stacked(people), owner[used]
        refined = self._refined(people, *states, detections.subset(used), whose)
        means, covariances = states
        self._fuse(people, *states, refined, whose, squared_distances(means[whose], covariances[whose], refined))

    def _refined(
        self, people: Sequence[Person], means: np.ndarray, covariances: np.ndarray, detections: FloorDetections, whose: np.ndarray
    ) -> FloorDetections:
        """The ``detections`` of persons ``whose`` with positions and covariances told more exactly. Also learns the persons' statures."""
        evidence = detections.evidence
        statures = [self._statures.get(person.number, self._unknown) for person in people]
        stature, variance = np.array([(stature.mean, stature.variance) for stature in statures]).T
        lag = detections.age_s[:, None] * means[whose, 2:]
        present = evidence.stepped(lag)
        places = inverse2(covariances[:, :2, :2])
        shares = settled_shares(present, whose, *_expectation(means, places, stature, variance))
        positions, spreads = located(*evidence.merged(shares), stature[whose], variance[whose])
        spreads = spreads / trust(means, places, positions + lag, spreads, whose)[:, None, None]
        self._learn(people, statures, _totals(*present.merged(shares), whose, len(people)))
        return replace(detections, positions=positions, covariances=spreads)

    def _learn(self, people: Sequence[Person], statures: Sequence[Stature], totals: tuple[np.ndarray, np.ndarray]) -> None:
        """Takes what the slot's detections say of each stature, wherever the person stands; forgets people who have gone."""
        information, vector = totals
        place = information[:, :2, :2] + _VAGUE * np.eye(2)
        gain = np.einsum("nij,nj->ni", inverse2(place), information[:, :2, 2])
        share = min(self._dt_s / _POSE_S, 1.0)
        weight = share * np.maximum(information[:, 2, 2] - np.einsum("ni,ni->n", gain, information[:, :2, 2]), 0.0)
        pull = share * (vector[:, 2] - np.einsum("ni,ni->n", gain, vector[:, :2]))
        self._statures = {}
        for person, stature, more, towards in zip(people, statures, weight.tolist(), pull.tolist(), strict=True):
            precision = 1.0 / stature.variance + more
            variance = max(1.0 / precision, _LEAST_STATURE_DEVIATION**2)
            self._statures[person.number] = Stature((stature.mean / stature.variance + towards) / precision, variance)


def settled_shares(evidence: BodyEvidence, whose: np.ndarray, information: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Shares [M, 3] of the sides of M detections of persons ``whose`` (int [M]), of whom ``information`` [N, 3, 3] and ``vector`` [N, 3]
    on (x, y, s) are known otherwise. All refer to one time."""
    shares = evidence.shares.copy()
    aisle_kernels.settled_shares(information, vector, whose, evidence.information, evidence.vector, evidence.reach, shares)
    return shares


def trust(means: np.ndarray, places: np.ndarray, positions: np.ndarray, spreads: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """Weights [M] up to 1 of M detections of persons ``whose`` (int [M]), less for those that are far from where the persons, with
    ``means`` [N, 2 or more] and information ``places`` [N, 2, 2] on their positions, are expected and all the other detections see them
    (Student's t, reweighted)."""
    weights = np.empty(len(whose))
    aisle_kernels.trust(places, np.ascontiguousarray(means[:, :2]), whose, positions, spreads, weights)
    return weights


def _expectation(means: np.ndarray, places: np.ndarray, stature: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information [N, 3, 3] and vector [N, 3] on (x, y, s) of persons expected at ``means`` [N, 2 or more], with information ``places``
    [N, 2, 2], and how tall they are."""
    information = np.zeros((len(means), 3, 3))
    information[:, :2, :2] = places
    information[:, 2, 2] = 1.0 / variance
    return information, np.einsum("nij,nj->ni", information, np.column_stack([means[:, :2], stature]))


def _totals(information: np.ndarray, vector: np.ndarray, whose: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums over the detections of each of ``count`` persons."""
    total, total_vector = np.zeros((count, 3, 3)), np.zeros((count, 3))
    np.add.at(total, whose, information)
    np.add.at(total_vector, whose, vector)
    return total, total_vector
