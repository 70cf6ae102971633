"""Where on the floor the persons stand that cameras have found, with covariance.

A person is an upright axis with body levels at known shares of his stature (ankles, hips, head ...; Winter, Biomechanics and Motor
Control of Human Movement, 2009, fig. 4.1). A level seen at a pixel puts the floor point on a line that depends on the stature:

    p(s) = c_xy + (s * z - c_z) * g,   g = d_xy / d_z  (towards the camera for rays that fall)

with the camera at c, the pixel's ray d, the level's height z at mean stature and the person's stature as multiple s of the mean.
This is linear in (p, s), so all levels of one person are solved together by weighted least squares with a prior on s: feet fix the
place, the other levels then tell the stature; a head alone gives a place that is uncertain along the viewing direction.

Without keypoints the levels are the box's bottom (the shoes, unless the image's border cuts it off) and its top (the crown). The body's
axis lies first in the vertical plane through the camera and the middle of the box. Then the outline that an upright body has there is
compared with the box's sides. A box that is wider shows an arm, a bag or a second body on the left or on the right: which one is left
open here (``BodyEvidence.reach``) and decided where more is known, by the other cameras and by where the person was before.

The arithmetic, with the levels and what is known of bodies otherwise, is in ``aisle_kernels/src/floor_projection.cpp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import aisle_kernels
from aisle_contract.config import parameter
from aisle_contract.records import COCO_KEYPOINTS
from aisle_perception.lens_table import LensTable


@dataclass(frozen=True)
class BodyConfig:
    """What is assumed about bodies and detectors."""

    stature: float = parameter(1.70, "Mean height of a person, m", 1.0, 2.2)
    stature_deviation: float = parameter(0.10, "Standard deviation of the height of people, m", 0.01, 0.5)
    body_width: float = parameter(0.60, "Mean width of a person with hanging arms as boxes show it, m", 0.2, 1.5)
    body_width_deviation: float = parameter(0.10, "Standard deviation of that width, m", 0.01, 0.5)
    box_deviation_px: float = parameter(4.0, "Standard deviation of a box edge, px, before the share of the box size is added", 0.5, 50.0)
    box_deviation_share: float = parameter(0.05, "Standard deviation of a box edge as a share of the box's size", 0.0, 0.5)
    keypoint_deviation_px: float = parameter(4.0, "Standard deviation of a confident keypoint, px", 0.5, 50.0)
    keypoint_threshold: float = parameter(0.3, "Keypoints below this confidence count as not seen", 0.01, 1.0)
    border_px: float = parameter(3.0, "A box edge nearer than this to the image's border is cut off by it, px", 0.0, 50.0)


#: How far the body is from the middle of ``BodyEvidence``, in units of its ``reach``: an arm on no or on both sides, left, right.
SIDES = np.array([0.0, 1.0, -1.0])


@dataclass(frozen=True, eq=False)
class BodyEvidence:
    """What M detections say of a person's place and stature (x, y, s), before any knowledge of statures, and what remains open.

    Where the body stands at ``SIDES[h] * reach`` from the middle, information and vector are ``information`` float64 [M, 3, 3] and
    ``vector + SIDES[h] * information[:, :, :2] @ reach`` (``vector`` [M, 3], ``reach`` [M, 2] m). ``shares`` [M, 3]: how likely each is.
    """

    information: np.ndarray
    vector: np.ndarray
    reach: np.ndarray
    shares: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> BodyEvidence:
        return BodyEvidence(self.information[chosen], self.vector[chosen], self.reach[chosen], self.shares[chosen])


@dataclass(frozen=True, eq=False)
class FloorPoints:
    """``positions`` float64 [M, 2] m and ``covariances`` [M, 2, 2] m^2 on the floor; ``valid`` bool [M]; in the detections' order.

    ``evidence``: the same before statures were assumed and sides averaged."""

    positions: np.ndarray
    covariances: np.ndarray
    valid: np.ndarray
    evidence: BodyEvidence


#: A frame: number of the camera, age in s, what pixels are to be multiplied by across and down to be those of the calibration, and boxes,
#: scores and keypoints as in ``PersonDetections``.
Frame = tuple[int, float, float, float, np.ndarray, np.ndarray, "np.ndarray | None"]
_BOXES = 4


class Standing(NamedTuple):
    """K of the detections of several frames: their ``numbers`` int64 [K] among all; ``cameras`` int64 [K]; ``ages_s`` [K]; ``keypoints``
    float64 [K, 17, 3] (px of the calibration); positions and covariances as in ``FloorPoints``."""

    numbers: np.ndarray
    cameras: np.ndarray
    ages_s: np.ndarray
    keypoints: np.ndarray
    positions: np.ndarray
    covariances: np.ndarray
    evidence: BodyEvidence


class FloorProjector:
    """Floor points of detections of any of the cameras, all at once."""

    def __init__(self, lenses: LensTable, config: BodyConfig) -> None:
        self._lenses = lenses
        self._body = np.array(
            [
                config.stature,
                (config.stature_deviation / config.stature) ** 2,
                config.body_width,
                config.body_width_deviation,
                config.box_deviation_px,
                config.box_deviation_share,
                config.keypoint_deviation_px,
                config.keypoint_threshold,
                config.border_px,
            ]
        )

    def project(self, cameras: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray) -> FloorPoints:
        """Floor points of M persons: ``cameras`` int [M], ``boxes`` float64 [M, 4] and ``keypoints`` [M, 17, 3] (confidence 0: not seen)
        in pixels of the calibration's image size. Keypoints are used where there are any, else the box."""
        count = len(cameras)
        valid, (positions, covariances, *evidence) = np.empty(count, dtype=bool), _floor_arrays(count)
        aisle_kernels.project(self._lenses.handle, self._body, cameras, boxes, keypoints, valid, positions, covariances, *evidence)
        return FloorPoints(positions, covariances, valid, BodyEvidence(*evidence))

    def usable(self, frames: list[Frame], polygon: np.ndarray, margin_m: float, least_score: float) -> Standing:
        """Detections of several frames with at least that score that may stand in the ``polygon`` float64 [K, 2], allowing for
        ``margin_m`` and what is not known of their places."""
        room = sum([len(frame[_BOXES]) for frame in frames])
        numbers, cameras = np.empty((2, room), dtype=np.int64)
        ages_s, keypoints, arrays = np.empty(room), np.empty((room, len(COCO_KEYPOINTS), 3)), _floor_arrays(room)
        results = (numbers, cameras, ages_s, keypoints, *arrays)
        count = aisle_kernels.detections(self._lenses.handle, self._body, least_score, margin_m, polygon, frames, *results)
        if count < room:
            numbers, cameras, ages_s, keypoints, *arrays = (array[:count] for array in results)
        positions, covariances, *evidence = arrays
        return Standing(numbers, cameras, ages_s, keypoints, positions, covariances, BodyEvidence(*evidence))


def _floor_arrays(count: int) -> tuple[np.ndarray, ...]:
    """For positions, covariances and the parts of ``BodyEvidence``."""
    return tuple(np.empty((count, *shape)) for shape in ((2,), (2, 2), (3, 3), (3,), (2,), (3,)))
