"""Where on the floor the persons stand that cameras have found, with covariance.

A person is an upright axis with body levels at known shares of his stature (ankles, hips, head ...; Winter, Biomechanics and Motor
Control of Human Movement, 2009, fig. 4.1). A level seen at a pixel puts the floor point on a line that depends on the stature:

    p(s) = c_xy + (s * z - c_z) * g,   g = d_xy / d_z

with the camera at c, the pixel's ray d, the level's height z at mean stature and the person's stature as multiple s of the mean.
This is linear in (p, s), so all levels of one person are solved together by weighted least squares with a prior on s: feet fix the
place, the other levels then tell the stature; a head alone gives a place that is uncertain along the viewing direction.

Without keypoints the levels are the box's bottom (the feet, unless the image's border cuts it off) and its top (the crown). The body's
axis lies in the vertical plane through the camera and the middle of the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_perception.lens_table import LensTable


@dataclass(frozen=True)
class BodyConfig:
    """What is assumed about bodies and detectors."""

    stature: float = parameter(1.70, "Mean height of a person, m", 1.0, 2.2)
    stature_deviation: float = parameter(0.10, "Standard deviation of the height of people, m", 0.01, 0.5)
    box_deviation_px: float = parameter(4.0, "Standard deviation of a box edge, px, before the share of the box size is added", 0.5, 50.0)
    box_deviation_share: float = parameter(0.05, "Standard deviation of a box edge as a share of the box's size", 0.0, 0.5)
    keypoint_deviation_px: float = parameter(4.0, "Standard deviation of a confident keypoint, px", 0.5, 50.0)
    keypoint_threshold: float = parameter(0.3, "Keypoints below this confidence count as not seen", 0.01, 1.0)
    border_px: float = parameter(3.0, "A box edge nearer than this to the image's border is cut off by it, px", 0.0, 50.0)


@dataclass(frozen=True)
class _Level:
    """``height``: share of the stature; deviations in metres of the level's height and of its horizontal place relative to the axis,
    the latter when both of a pair of keypoints are seen and when only one is."""

    keypoints: tuple[int, ...]
    height: float
    height_deviation: float
    pair_deviation: float
    single_deviation: float


#: COCO keypoints by level. Deviations allow for strides, leaning and nodding.
_LEVELS = (
    _Level((15, 16), 0.045, 0.04, 0.08, 0.14),
    _Level((13, 14), 0.285, 0.05, 0.10, 0.14),
    _Level((11, 12), 0.530, 0.05, 0.07, 0.11),
    _Level((5, 6), 0.815, 0.06, 0.09, 0.20),
    _Level((0, 1, 2, 3, 4), 0.925, 0.07, 0.14, 0.16),
)
#: Feet and crown at a box's edges; the trunk is what is seen of a person when the box is cut off above and below.
_FOOT = _Level((), 0.0, 0.02, 0.10, 0.10)
_CROWN = _Level((), 0.98, 0.05, 0.12, 0.12)
_TRUNK = _Level((), 0.60, 0.35, 0.15, 0.15)
#: The lowest pixel of a person is the tip of a shoe, this much nearer to the camera than the body's axis, m.
_SHOE_M = 0.10
#: A box edge cut off by the left or right border leaves the middle of the person open by this share of the box's width.
_CUT_SIDE_SHARE = 0.35
#: A keypoint's deviation grows as its confidence falls below the first value, at most by the second as factor.
_CONFIDENT, _GREATEST_DOUBT = 0.7, 3.0
#: What the border leaves of a person seen from above (rays with less run per fall) or from the side may be an arm; the body, m, is off.
_CUT_M, _STEEP = 0.4, 0.7
#: Rays flatter than this (fall per length) meet the floor too far away to say anything.
_FLATTEST = 0.03
_FARTHEST_M = 40.0
#: Huber's constant for levels that disagree with the others (a crouching person's head, a foot hidden by furniture).
_HUBER = 1.5
_STEP_PX = 1.0


@dataclass(frozen=True, eq=False)
class FloorPoints:
    """``positions`` float64 [M, 2] m and ``covariances`` [M, 2, 2] m^2 on the floor; ``valid`` bool [M]; in the detections' order."""

    positions: np.ndarray
    covariances: np.ndarray
    valid: np.ndarray


@dataclass(frozen=True, eq=False)
class _Sights:
    """Levels [L] as seen of persons [M]: slopes g and their change per pixel along u and v, all [M, L, 2]; deviations in px
    ``deviation_u`` and ``deviation_v`` and in metres ``offset_deviation`` [M, L]; ``seen`` bool [M, L]; ``shift`` m [M, L, 2]."""

    levels: Sequence[_Level]
    slope: np.ndarray
    slope_by_u: np.ndarray
    slope_by_v: np.ndarray
    deviation_u: np.ndarray
    deviation_v: np.ndarray
    offset_deviation: np.ndarray
    seen: np.ndarray
    shift: np.ndarray


class FloorProjector:
    """Floor points of detections of any of the cameras, all at once."""

    def __init__(self, lenses: LensTable, config: BodyConfig) -> None:
        self._lenses = lenses
        self._config = config

    def project(self, cameras: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray) -> FloorPoints:
        """Floor points of M persons: ``cameras`` int [M], ``boxes`` [M, 4] and ``keypoints`` [M, 17, 3] (confidence 0: not seen) in
        pixels of the calibration's image size. Keypoints are used where there are any, else the box."""
        count = len(cameras)
        points = FloorPoints(np.zeros((count, 2)), np.tile(np.eye(2), (count, 1, 1)), np.zeros(count, dtype=bool))
        by_keypoints = (keypoints[:, :, 2] >= self._config.keypoint_threshold).any(axis=1)
        for chosen in (np.flatnonzero(by_keypoints), np.flatnonzero(~by_keypoints)):
            if not len(chosen):
                continue
            whose = cameras[chosen]
            sights = self._of_keypoints(whose, keypoints[chosen]) if by_keypoints[chosen[0]] else self._of_boxes(whose, boxes[chosen])
            points.positions[chosen], points.covariances[chosen], points.valid[chosen] = self._solve(whose, sights)
        return points

    def _of_keypoints(self, cameras: np.ndarray, keypoints: np.ndarray) -> _Sights:
        confident = np.where(keypoints[:, :, 2] >= self._config.keypoint_threshold, keypoints[:, :, 2], 0.0)
        middles, found, confidence = [], [], []
        for level in _LEVELS:
            points = list(level.keypoints)
            trust = confident[:, points]
            total = np.maximum(trust.sum(axis=1), 1e-9)
            middles.append((keypoints[:, points, :2] * trust[:, :, None]).sum(axis=1) / total[:, None])
            found.append((trust > 0).sum(axis=1))
            confidence.append(trust.max(axis=1))
        number = np.stack(found, axis=1)
        doubt = np.clip(_CONFIDENT / np.maximum(np.stack(confidence, axis=1), 1e-9), 1.0, _GREATEST_DOUBT)
        deviation = self._config.keypoint_deviation_px * doubt
        slope, by_u, by_v = self._slopes(np.broadcast_to(cameras[:, None], number.shape), np.stack(middles, axis=1))
        pair, single = (np.array([getattr(level, name) for level in _LEVELS]) for name in ("pair_deviation", "single_deviation"))
        offset = np.where(number >= 2, pair, single)
        return _Sights(_LEVELS, slope, by_u, by_v, deviation, deviation, offset, number > 0, np.zeros_like(slope))

    def _slopes(self, cameras: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes g [M, L, 2] of pixels [M, L, 2] and their derivatives by u and v, numerically: a lens has no simple closed form."""
        moved = np.stack([pixels, pixels + np.array([_STEP_PX, 0.0]), pixels + np.array([0.0, _STEP_PX])])
        slope = _slope(self._lenses.directions(np.broadcast_to(cameras, moved.shape[:-1]), moved))
        return slope[0], (slope[1] - slope[0]) / _STEP_PX, (slope[2] - slope[0]) / _STEP_PX

    def _of_boxes(self, cameras: np.ndarray, boxes: np.ndarray) -> _Sights:
        config = self._config
        left, top, right, bottom = boxes.T
        wide, high = right - left, bottom - top
        width, height = self._lenses.sizes[cameras].T
        cut_side = (left <= config.border_px) | (right >= width - 1 - config.border_px)
        cut_top, cut_bottom = top <= config.border_px, bottom >= height - 1 - config.border_px
        deviation_u = np.hypot(config.box_deviation_px, wide * (config.box_deviation_share + np.where(cut_side, _CUT_SIDE_SHARE, 0.0)))
        deviation_v = np.hypot(config.box_deviation_px, high * config.box_deviation_share)
        middle = np.column_stack([(left + right) / 2, (top + bottom) / 2])
        levels = (_FOOT, _CROWN, _TRUNK)
        edges = np.column_stack([bottom, top, middle[:, 1]])
        slope, by_u, by_v = self._axis_slopes(cameras, middle, edges)
        shift = np.zeros_like(slope)
        shift[:, 0] = -_SHOE_M * slope[:, 0] / np.maximum(np.linalg.norm(slope[:, 0], axis=1, keepdims=True), 1e-9)
        steep = np.linalg.norm(slope[:, 2], axis=1) < _STEEP
        partial = cut_side | ((cut_top | cut_bottom) & steep)
        return _Sights(
            levels,
            slope,
            by_u,
            by_v,
            np.repeat(deviation_u[:, None], len(levels), axis=1),
            np.repeat(deviation_v[:, None], len(levels), axis=1),
            np.hypot([level.single_deviation for level in levels], (_CUT_M * partial)[:, None]),
            np.column_stack([~cut_bottom, ~cut_top, cut_top & cut_bottom]),
            shift,
        )

    def _axis_slopes(self, cameras: np.ndarray, middle: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes [M, L, 2] of the body's axis in the image rows [M, L], and their change per pixel of ``middle``'s u and of the row.

        The vertical plane through the camera and ``middle`` [M, 2] holds the axis; its ray in a row is d + b * down.
        """
        levels = rows.shape[1]
        centre = np.repeat(middle[:, None], levels, axis=1)
        centres = np.stack([centre, centre + np.array([_STEP_PX, 0.0]), centre])
        edges = np.stack([rows, rows, rows + _STEP_PX])
        whose = np.broadcast_to(cameras[None, :, None], edges.shape)
        start = self._lenses.normalised(whose, centres)
        wanted = self._lenses.normalised(whose, np.stack([centres[..., 0], edges], axis=-1))[..., 1]
        down = -self._lenses.rotations[whose][..., 2, :]
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (wanted - start[..., 1]) / (down[..., 1] - wanted * down[..., 2])
        direction = self._lenses.turned(whose, start)
        direction[..., 2] -= along
        slope = _slope(direction)
        return slope[0], (slope[1] - slope[0]) / _STEP_PX, (slope[2] - slope[0]) / _STEP_PX

    def _solve(self, cameras: np.ndarray, sights: _Sights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions, covariances and validity of the persons."""
        config, camera = self._config, self._lenses.positions[cameras]
        heights = config.stature * np.array([level.height for level in sights.levels])
        height_deviation = np.array([level.height_deviation for level in sights.levels])
        finite = np.isfinite(sights.slope).all(-1) & np.isfinite(sights.slope_by_u).all(-1) & np.isfinite(sights.slope_by_v).all(-1)
        seen = sights.seen & finite
        slope, by_u, by_v, shift = (
            np.where(seen[..., None], part, 0.0) for part in (sights.slope, sights.slope_by_u, sights.slope_by_v, sights.shift)
        )
        lift = heights - camera[:, 2:]
        noise = (
            _outer(by_u * (lift * sights.deviation_u)[..., None])
            + _outer(by_v * (lift * sights.deviation_v)[..., None])
            + _outer(slope * height_deviation[:, None])
            + (sights.offset_deviation**2)[..., None, None] * np.eye(2)
        )
        place = camera[:, None, :2] - camera[:, None, 2:] * slope + shift
        design = np.concatenate([np.broadcast_to(np.eye(2), (*seen.shape, 2, 2)), -(heights[:, None] * slope)[..., None]], axis=-1)
        precision = np.linalg.inv(noise)
        prior = (config.stature / config.stature_deviation) ** 2
        solution, covariance = _least_squares(place, design, precision * seen[..., None, None], prior)
        misfit = place - np.einsum("mlij,mj->mli", design, solution)
        distance = np.sqrt(np.einsum("mli,mlij,mlj->ml", misfit, precision, misfit))
        robust = seen * np.minimum(1.0, _HUBER / np.maximum(distance, _HUBER))
        solution, covariance = _least_squares(place, design, precision * robust[..., None, None], prior)
        position, spread = solution[:, :2], covariance[:, :2, :2]
        near = np.linalg.norm(position - camera[:, :2], axis=1) <= _FARTHEST_M
        return position, spread, seen.any(axis=1) & near


def _slope(directions: np.ndarray) -> np.ndarray:
    """g = d_xy / d_z [..., 2]; NaN for rays [..., 3] that do not fall towards the floor."""
    fall = -directions[..., 2]
    with np.errstate(invalid="ignore"):
        usable = fall > _FLATTEST * np.linalg.norm(directions, axis=-1)
    return np.where(usable[..., None], -directions[..., :2] / np.where(usable, fall, 1.0)[..., None], np.nan)


def _outer(vectors: np.ndarray) -> np.ndarray:
    return vectors[..., :, None] * vectors[..., None, :]


def _least_squares(place: np.ndarray, design: np.ndarray, precision: np.ndarray, stature_precision: float) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, s) [M, 3] and covariance [M, 3, 3] from levels with ``precision`` [M, L, 2, 2]; prior s ~ N(1, 1 / stature_precision)."""
    weighed = np.swapaxes(design, -1, -2) @ precision
    information = (weighed @ design).sum(axis=1)
    vector = (weighed @ place[..., None]).sum(axis=1)[..., 0]
    information[:, 2, 2] += stature_precision
    vector[:, 2] += stature_precision
    # A person of whom nothing was seen keeps a solvable, useless estimate; ``valid`` excludes it.
    information[:, [0, 1], [0, 1]] += 1e-9
    covariance = np.linalg.inv(information)
    return np.einsum("mij,mj->mi", covariance, vector), covariance
