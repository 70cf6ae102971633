"""Which detection belongs to which person, and which detections of several cameras are one new person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import aisle_kernels
from aisle_perception.floor_projection import BodyEvidence
from aisle_perception.small_matrices import inverse2

#: log det of the innovation covariance that counts as "no knowledge" (1 m in each axis): keeps all costs inside the gate negative.
_VAGUE_LOG_DETERMINANT = 4.0
#: Of a detection inside the gate of somebody of whom little is known.
_LEAST_GAIN = 1e-3


@dataclass(frozen=True, eq=False)
class FloorDetections:
    """All floor measurements of one time slot, cameras mixed.

    ``positions`` float64 [M, 2] m, ``covariances`` [M, 2, 2], ``age_s`` [M] (how much older than the slot's stamp), ``cameras`` int [M]
    (number of the camera; a slot has one frame of each), ``keypoints`` [M, 17, 3] (px of the calibration's image size, confidence; 0:
    not seen), ``embeddings`` [M, E] of unit length (zero: none) where any camera gives them, ``evidence`` what bodies leave open.
    """

    positions: np.ndarray
    covariances: np.ndarray
    age_s: np.ndarray
    cameras: np.ndarray
    keypoints: np.ndarray
    embeddings: np.ndarray | None = None
    evidence: BodyEvidence | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def subset(self, chosen: np.ndarray) -> FloorDetections:
        parts = (self.positions, self.covariances, self.age_s, self.cameras, self.keypoints, self.embeddings, self.evidence)
        return FloorDetections(*(None if part is None else part[chosen] for part in parts))

    def fused(self, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position [2] and covariance [2, 2] of one person whom all detections of ``group`` show."""
        precision = inverse2(self.covariances[group])
        covariance = inverse2(precision.sum(axis=0))
        return covariance @ np.einsum("kij,kj->i", precision, self.positions[group]), covariance


@dataclass(frozen=True, eq=False)
class Innovations:
    """``distance`` float64 [N, M]: squared Mahalanobis distance of detection to state; ``log_determinant`` [N, M] of its covariance;
    ``similarity`` [N, M]: cosine of what the person and the detection look like (NaN: not known), or None where nobody's look is known."""

    distance: np.ndarray
    log_determinant: np.ndarray
    similarity: np.ndarray | None = None


def innovations(means: np.ndarray, covariances: np.ndarray, detections: FloorDetections) -> Innovations:
    """How far each detection lies from each state [N, 4] with covariance [N, 4, 4]."""
    distance, log_determinant = np.empty((2, len(means), len(detections)))
    aisle_kernels.innovations(means, covariances, detections.age_s, detections.positions, detections.covariances, distance, log_determinant)
    return Innovations(distance, log_determinant)


def nobodys(count: int) -> np.ndarray:
    """int64 [count] of -1: detections that belong to nobody (``np.full`` takes three times as long)."""
    owner = np.empty(count, dtype=np.int64)
    owner.fill(-1)
    return owner


class GlobalNearestNeighbour:
    """Per camera the assignment of detections to persons with the least sum of costs: no two detections of one camera to one person.

    Costs are -2 log-likelihood, of place and, as far as known, look. The latter is taken as ``appearance_weight`` times the cosine's
    distance from ``even_similarity``, where a detection is as likely another person's. Whoever has not been seen for long may be anywhere,
    so that his place says little and his look decides.
    """

    def __init__(self, gate: float, appearance_weight: float = 0.0, even_similarity: float = 0.5) -> None:
        self._gate = gate
        self._appearance_weight = appearance_weight
        self._even_similarity = even_similarity

    def assign(self, found: Innovations, detections: FloorDetections, asked: np.ndarray, free: np.ndarray) -> np.ndarray:
        """int [M]: person of each detection, -1 for none. ``asked`` bool [N]: the persons looked for; ``free`` bool [M]."""
        gain = np.maximum(self._gate + _VAGUE_LOG_DETERMINANT - found.distance - found.log_determinant, _LEAST_GAIN)
        if found.similarity is not None:
            gain += self._appearance_weight * np.nan_to_num(found.similarity - self._even_similarity)
        owner, cameras = nobodys(len(detections)), detections.cameras
        aisle_kernels.assign(self._gate, asked, free, int(cameras.max(initial=-1)) + 1, cameras, found.distance, gain, owner)
        return owner


class ClusterInitiator:
    """Groups detections of different cameras that agree on a place: complete-link agglomeration, never two of one camera together."""

    def __init__(self, gate: float) -> None:
        self._gate = gate

    def clusters(self, detections: FloorDetections) -> list[np.ndarray]:
        """Numbers of the detections of each new person, in a fixed order."""
        labels = np.empty(len(detections), dtype=np.int64)
        aisle_kernels.clusters(self._gate, detections.cameras, detections.positions, detections.covariances, labels)
        return [np.flatnonzero(labels == label) for label in sorted(set(labels.tolist()))]
