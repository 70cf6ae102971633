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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_perception.lens_table import LensTable
from aisle_perception.small_matrices import inverse2, inverse3


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
#: The same as arrays: keypoints [L, P], filled up with any where a level has fewer, and which of them it has; deviations [L].
_LEVEL_HAS = np.arange(max(len(level.keypoints) for level in _LEVELS)) < np.array([[len(level.keypoints)] for level in _LEVELS])
_LEVEL_POINTS = np.zeros(_LEVEL_HAS.shape, dtype=int)
_LEVEL_POINTS[_LEVEL_HAS] = [point for level in _LEVELS for point in level.keypoints]
_PAIR_DEVIATIONS = np.array([level.pair_deviation for level in _LEVELS])
_SINGLE_DEVIATIONS = np.array([level.single_deviation for level in _LEVELS])
#: Feet and the head's middle at a box's edges; the trunk is what is seen of a person when the box is cut off above and below.
_FOOT = _Level((), 0.0, 0.02, 0.10, 0.10)
_CROWN = _Level((), 0.925, 0.05, 0.12, 0.12)
_TRUNK = _Level((), 0.60, 0.35, 0.15, 0.15)
#: The lowest pixel of a person is the near end of the nearer shoe, this much nearer to the camera than the body's axis, m: shoes of
#: 0.28 m x 0.10 m that stand 0.24 m apart reach 0.20 m far on average over all directions.
_SHOE_M = 0.20
#: The highest pixel is where the ray touches the head, a ball of this radius, m.
_HEAD_RADIUS_M = 0.12
#: A box edge cut off by the left or right border leaves the middle of the person open by this share of the box's width.
_CUT_SIDE_SHARE = 0.35
#: The other end of a box that the border cuts off above or below is less certain by this share of the box's height.
_CUT_END_SHARE = 0.07
#: A body's outline: heights as shares of the stature and half widths as shares of the body's width.
_OUTLINE_HEIGHTS = np.linspace(0.0, 0.98, 13)
_OUTLINE = np.column_stack(
    [_OUTLINE_HEIGHTS, np.interp(_OUTLINE_HEIGHTS, [0.0, 0.28, 0.45, 0.60, 0.72, 0.82, 0.87], [0.33, 0.36, 0.48, 0.5, 0.5, 0.42, 0.2])]
)
#: Nearer to the camera's plane nothing is projected, m; and where a step to the side moves the image's u less than this, the sides of a
#: box say nothing of it (a camera that looks straight down on somebody).
_NEAREST_M, _LEAST_RATE = 0.2, 0.3
#: How often somebody reaches out, how wide boxes get by that at most, m, and how often both sides of a box are equally wrong.
_REACHING, _FARTHEST_REACH_M, _BOTH_SIDES = 0.3, 0.8, 0.02
#: Boxes of successive frames are wrong in the same way: each says less than it would alone, its covariance is greater by this.
_SAME_AGAIN = 2.5
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
#: Keeps what nothing was seen of solvable; ``valid`` excludes it.
_USELESS = np.diag([1e-9, 1e-9, 0.0])


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

    @classmethod
    def none(cls, count: int) -> BodyEvidence:
        """Detections that say nothing."""
        shares = np.tile([1.0, 0.0, 0.0], (count, 1))
        return cls(np.zeros((count, 3, 3)), np.zeros((count, 3)), np.zeros((count, 2)), shares)

    def stepped(self, step: np.ndarray) -> BodyEvidence:
        """The same of bodies that have moved on by ``step`` [M, 2] m."""
        vector = self.vector + np.einsum("mij,mj->mi", self.information[:, :, :2], step)
        return BodyEvidence(self.information, vector, self.reach, self.shares)

    def merged(self, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Information [M, 3, 3] and vector [M, 3] of one Gaussian with the mean and covariance of all sides, weighed by ``shares``."""
        if not self.reach.any():
            return self.information, self.vector
        side = shares @ SIDES
        variance = shares @ SIDES**2 - side**2
        pushed = np.einsum("mij,mj->mi", self.information[:, :, :2], self.reach)
        stiffness = np.einsum("mi,mi->m", pushed[:, :2], self.reach)
        held = variance / (1.0 + variance * stiffness)
        information = self.information - held[:, None, None] * _outer(pushed)
        # The side is a Gaussian of this mean and variance; integrating it out (Schur's complement) leaves this vector.
        pull = (side - variance * np.einsum("mi,mi->m", self.vector[:, :2], self.reach)) / (1.0 + variance * stiffness)
        return information, self.vector + pull[:, None] * pushed


@dataclass(frozen=True, eq=False)
class FloorPoints:
    """``positions`` float64 [M, 2] m and ``covariances`` [M, 2, 2] m^2 on the floor; ``valid`` bool [M]; in the detections' order.

    ``evidence``: the same before statures were assumed and sides averaged."""

    positions: np.ndarray
    covariances: np.ndarray
    valid: np.ndarray
    evidence: BodyEvidence


@dataclass(frozen=True, eq=False)
class _Sights:
    """Levels [L] as seen of persons [M]: slopes g and their change per pixel along u and v, all [M, L, 2]; deviations in px
    ``deviation_u`` and ``deviation_v`` and in metres ``offset_deviation`` [M, L]; ``seen`` bool [M, L]; what is seen
    lies ``shift`` m [M, L, 2] beside the level and ``lift`` m [M, L] above it. ``bound`` [M, L]: 1 where the level is known to be no
    nearer to the camera than this, -1 where no farther, 0 where nothing of the kind is known; None where that is so of all."""

    levels: Sequence[_Level]
    slope: np.ndarray
    slope_by_u: np.ndarray
    slope_by_v: np.ndarray
    deviation_u: np.ndarray
    deviation_v: np.ndarray
    offset_deviation: np.ndarray
    seen: np.ndarray
    shift: np.ndarray
    lift: np.ndarray
    bound: np.ndarray | None


class FloorProjector:
    """Floor points of detections of any of the cameras, all at once."""

    def __init__(self, lenses: LensTable, config: BodyConfig) -> None:
        self._lenses = lenses
        self._config = config
        self._stature_variance = (config.stature_deviation / config.stature) ** 2

    def project(self, cameras: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray) -> FloorPoints:
        """Floor points of M persons: ``cameras`` int [M], ``boxes`` [M, 4] and ``keypoints`` [M, 17, 3] (confidence 0: not seen) in
        pixels of the calibration's image size. Keypoints are used where there are any, else the box."""
        count = len(cameras)
        evidence, valid = BodyEvidence.none(count), np.zeros(count, dtype=bool)
        by_keypoints = (keypoints[:, :, 2] >= self._config.keypoint_threshold).any(axis=1)
        for chosen in (np.flatnonzero(by_keypoints), np.flatnonzero(~by_keypoints)):
            if not len(chosen):
                continue
            whose = cameras[chosen]
            if by_keypoints[chosen[0]]:
                found, valid[chosen] = self._solve(whose, self._of_keypoints(whose, keypoints[chosen]))
            else:
                found, valid[chosen] = self._solve(whose, self._of_boxes(whose, boxes[chosen]))
                found = self._fit_sides(whose, boxes[chosen], found)
            evidence.information[chosen], evidence.vector[chosen] = found.information, found.vector
            evidence.reach[chosen], evidence.shares[chosen] = found.reach, found.shares
        positions, covariances = located(*evidence.merged(evidence.shares), np.ones(count), self._stature_variance)
        valid &= np.hypot(*(positions - self._lenses.positions[cameras, :2]).T) <= _FARTHEST_M
        return FloorPoints(positions, covariances, valid, evidence)

    def _of_keypoints(self, cameras: np.ndarray, keypoints: np.ndarray) -> _Sights:
        points = keypoints[:, _LEVEL_POINTS]
        trust = np.where(_LEVEL_HAS & (points[..., 2] >= self._config.keypoint_threshold), points[..., 2], 0.0)
        middles = (points[..., :2] * trust[..., None]).sum(axis=2) / np.maximum(trust.sum(axis=2), 1e-9)[..., None]
        number = np.count_nonzero(trust, axis=2)
        doubt = np.minimum(np.maximum(_CONFIDENT / np.maximum(trust.max(axis=2), 1e-9), 1.0), _GREATEST_DOUBT)
        deviation = self._config.keypoint_deviation_px * doubt
        slope, by_u, by_v = self._slopes(cameras[:, None], middles)
        offset = np.where(number >= 2, _PAIR_DEVIATIONS, _SINGLE_DEVIATIONS)
        return _Sights(
            _LEVELS,
            slope,
            by_u,
            by_v,
            deviation,
            deviation,
            offset,
            number > 0,
            np.zeros_like(slope),
            np.zeros(number.shape),
            None,
        )

    def _slopes(self, cameras: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes g [M, L, 2] of pixels [M, L, 2] of ``cameras`` int [M, 1] and their derivatives by u and v, numerically: a lens has no
        simple closed form."""
        moved = np.stack([pixels, pixels + np.array([_STEP_PX, 0.0]), pixels + np.array([0.0, _STEP_PX])])
        slope = _slope(self._lenses.directions(cameras, moved))
        return slope[0], (slope[1] - slope[0]) / _STEP_PX, (slope[2] - slope[0]) / _STEP_PX

    def _of_boxes(self, cameras: np.ndarray, boxes: np.ndarray) -> _Sights:
        config = self._config
        left, top, right, bottom = boxes.T
        wide, high = right - left, bottom - top
        width, height = self._lenses.sizes[cameras].T
        cut_side = (left <= config.border_px) | (right >= width - 1 - config.border_px)
        cut_top, cut_bottom = top <= config.border_px, bottom >= height - 1 - config.border_px
        deviation_u = np.hypot(config.box_deviation_px, wide * (config.box_deviation_share + np.where(cut_side, _CUT_SIDE_SHARE, 0.0)))
        deviation_v = np.hypot(
            config.box_deviation_px, high * (config.box_deviation_share + np.where(cut_top | cut_bottom, _CUT_END_SHARE, 0.0))
        )
        middle = np.column_stack([(left + right) / 2, (top + bottom) / 2])
        levels = (_FOOT, _CROWN, _TRUNK)
        edges = np.column_stack([bottom, top, middle[:, 1]])
        slope, by_u, by_v = self._axis_slopes(cameras, middle, edges)
        run = np.linalg.norm(slope, axis=2)
        inwards = slope / np.maximum(run, 1e-9)[..., None]
        shift, lift = np.zeros_like(slope), np.zeros(run.shape)
        shift[:, 0] = -_SHOE_M * inwards[:, 0]
        # The ray touches the head above its middle and, the steeper it falls, behind it.
        length = np.hypot(run[:, 1], 1.0)
        shift[:, 1] = _HEAD_RADIUS_M / length[:, None] * inwards[:, 1]
        lift[:, 1] = _HEAD_RADIUS_M * run[:, 1] / length
        partial = cut_side | ((cut_top | cut_bottom) & (run[:, 2] < _STEEP))
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
            lift,
            np.column_stack([-1.0 * cut_bottom, 1.0 * cut_top, np.zeros(len(boxes))]),
        )

    def _fit_sides(self, cameras: np.ndarray, boxes: np.ndarray, found: BodyEvidence) -> BodyEvidence:
        """Moves the places so that the outline of a body there agrees with the boxes' sides, and says what else would explain them."""
        config = self._config
        position, _ = located(found.information, found.vector, np.ones(len(boxes)), self._stature_variance)
        by_left, by_right, sideways = self._side_misfits(cameras, boxes, position)
        cut_left = boxes[:, 0] <= config.border_px
        cut_right = boxes[:, 2] >= self._lenses.sizes[cameras, 0] - 1 - config.border_px
        by_left, by_right = np.where(cut_left & ~cut_right, by_right, by_left), np.where(cut_right & ~cut_left, by_left, by_right)
        middle = np.clip((by_left + by_right) / 2, -_FARTHEST_REACH_M, _FARTHEST_REACH_M)
        excess = np.clip(by_right - by_left, 0.0, 2 * _FARTHEST_REACH_M)
        moved = np.einsum("mij,mj->mi", found.information[:, :, :2], middle[:, None] * sideways)
        deviation = config.body_width_deviation
        plain = (1.0 - _REACHING) * np.exp(-0.5 * (excess / deviation) ** 2) / (np.sqrt(2 * np.pi) * deviation)
        one_side = np.where(excess > 0.0, _REACHING / (2.0 * _FARTHEST_REACH_M), 0.0)
        shares = np.column_stack([plain + _BOTH_SIDES, one_side, one_side])
        shares /= shares.sum(axis=1, keepdims=True)
        vector = (found.vector + moved) / _SAME_AGAIN
        return BodyEvidence(found.information / _SAME_AGAIN, vector, (excess / 2)[:, None] * sideways, shares)

    def _side_misfits(self, cameras: np.ndarray, boxes: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far bodies at ``position`` [M, 2] would have to step to the right, m [M], for their left and for their right side to agree
        with the boxes' sides, and that direction on the floor [M, 2]. Only what lies in the boxes' rows counts; 0 where that is nothing.
        """
        count, config = len(boxes), self._config
        camera, rotation = self._lenses.positions[cameras], self._lenses.rotations[cameras]
        sight = position - camera[:, :2]
        sideways = np.column_stack([sight[:, 1], -sight[:, 0], np.zeros(count)])
        sideways /= np.maximum(np.linalg.norm(sideways, axis=1, keepdims=True), 1e-9)
        points = np.zeros((count, 2, len(_OUTLINE), 3))
        points[..., :2] = position[:, None, None]
        points[..., 2] = config.stature * _OUTLINE[:, 0]
        points += (config.body_width * _OUTLINE[:, 1] * np.array([[-1.0], [1.0]]))[..., None] * sideways[:, None, None]
        optical = np.einsum("mslj,mjk->mslk", points - camera[:, None, None], rotation)
        depth = np.where(optical[..., 2] > _NEAREST_M, optical[..., 2], np.nan)
        column, row = optical[..., 0] / depth, optical[..., 1] / depth
        corners = boxes.reshape(count, 2, 2)
        middle = corners.mean(axis=1)
        sides = np.stack([corners[:, :, 0], np.repeat(middle[:, 1:], 2, axis=1)], axis=2)
        ends = np.stack([np.repeat(middle[:, :1], 2, axis=1), corners[:, :, 1]], axis=2)
        whose = cameras[:, None]
        sides, ends = self._lenses.normalised(whose, sides)[..., 0], self._lenses.normalised(whose, ends)[..., 1]
        inside = (row >= ends[:, None, None, 0]) & (row <= ends[:, None, None, 1])
        lowest = np.where(inside, column, np.inf).min(axis=(1, 2))
        highest = np.where(inside, column, -np.inf).max(axis=(1, 2))
        # A step to the right moves a point of the image by this much.
        turned = np.einsum("mj,mjk->mk", sideways, rotation)
        with np.errstate(invalid="ignore"):
            centre = (lowest + highest) / 2
            rate = turned[:, 0] - centre * turned[:, 2]
            known = np.isfinite(centre) & (rate > _LEAST_RATE)
        metres = np.where(known, optical[..., 2].mean(axis=(1, 2)) / np.where(known, rate, 1.0), 0.0)
        lowest, highest = np.where(known, lowest, sides[:, 0]), np.where(known, highest, sides[:, 1])
        return np.nan_to_num((sides[:, 0] - lowest) * metres), np.nan_to_num((sides[:, 1] - highest) * metres), sideways[:, :2]

    def _axis_slopes(self, cameras: np.ndarray, middle: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes [M, L, 2] of the body's axis in the image rows [M, L], and their change per pixel of ``middle``'s u and of the row.

        The vertical plane through the camera and ``middle`` [M, 2] holds the axis; its ray in a row is d + b * down.
        """
        levels = rows.shape[1]
        centre = np.repeat(middle[:, None], levels, axis=1)
        centres = np.stack([centre, centre + np.array([_STEP_PX, 0.0]), centre])
        edges = np.stack([rows, rows, rows + _STEP_PX])
        whose = cameras[:, None]
        start = self._lenses.normalised(whose, centres)
        wanted = self._lenses.normalised(whose, np.stack([centres[..., 0], edges], axis=-1))[..., 1]
        down = -self._lenses.rotations[whose, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (wanted - start[..., 1]) / (down[..., 1] - wanted * down[..., 2])
        direction = self._lenses.turned(whose, start)
        direction[..., 2] -= along
        slope = _slope(direction)
        return slope[0], (slope[1] - slope[0]) / _STEP_PX, (slope[2] - slope[0]) / _STEP_PX

    def _solve(self, cameras: np.ndarray, sights: _Sights) -> tuple[BodyEvidence, np.ndarray]:
        """What the persons' levels say, those that disagree with the others with less weight, and whether there is anything, bool [M]."""
        config, camera = self._config, self._lenses.positions[cameras]
        heights = config.stature * np.array([level.height for level in sights.levels])
        height_deviation = np.array([level.height_deviation for level in sights.levels])
        finite = np.isfinite(sights.slope + sights.slope_by_u + sights.slope_by_v).all(-1)
        seen = sights.seen & finite
        slope, by_u, by_v, shift, lift = sights.slope, sights.slope_by_u, sights.slope_by_v, sights.shift, sights.lift
        if not finite.all():
            slope, by_u, by_v, shift = (np.where(finite[..., None], part, 0.0) for part in (slope, by_u, by_v, shift))
            lift = np.where(finite, lift, 0.0)
        fall = camera[:, 2:] - lift
        reach = heights - fall
        noise = (
            _outer(by_u * (reach * sights.deviation_u)[..., None])
            + _outer(by_v * (reach * sights.deviation_v)[..., None])
            + _outer(slope * height_deviation[:, None])
            + (sights.offset_deviation**2)[..., None, None] * np.eye(2)
        )
        place = camera[:, None, :2] - fall[..., None] * slope + shift
        leaning = -heights[:, None] * slope
        precision = inverse2(noise)
        moments = _moments(place, leaning, precision)
        prior = np.array([0.0, 0.0, 1.0]) / self._stature_variance
        misfit = _misfit(place, leaning, _normal_equations(seen, moments), prior)
        # An edge that the border cuts off is a bound: what is hidden there cannot be inside the image.
        if sights.bound is not None:
            seen |= finite & (sights.bound * np.einsum("mli,mli->ml", misfit, slope) < 0.0)
            misfit = _misfit(place, leaning, _normal_equations(seen, moments), prior)
        squared_distance = np.einsum("mli,mlij,mlj->ml", misfit, precision, misfit)
        robust = seen * np.minimum(1.0, _HUBER / np.maximum(np.sqrt(squared_distance), _HUBER))
        # Levels that contradict one another make the whole worse: an arm below the body, say, taken for feet.
        contradiction = (robust * squared_distance).sum(axis=1) / np.maximum(2 * seen.sum(axis=1) - 2, 1)
        robust /= np.maximum(contradiction, 1.0)[:, None]
        information, vector = _normal_equations(robust, moments)
        nowhere = BodyEvidence.none(len(cameras))
        return BodyEvidence(information, vector, nowhere.reach, nowhere.shares), seen.any(axis=1)


def _misfit(place: np.ndarray, leaning: np.ndarray, expected: tuple[np.ndarray, np.ndarray], prior: np.ndarray) -> np.ndarray:
    """How far the levels' places [M, L, 2] are from what the least squares of all of them (``_normal_equations``) expect; ``prior``
    [3]: precision on (x, y, s), with mean (0, 0, 1)."""
    information, vector = expected
    solution = np.einsum("mij,mj->mi", inverse3(information + np.diag(prior) + _USELESS), vector + prior)
    return place - solution[:, None, :2] - solution[:, 2, None, None] * leaning


def located(
    information: np.ndarray, vector: np.ndarray, stature: np.ndarray, variance: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions [M, 2] and covariances [M, 2, 2] of persons of known ``stature`` [M] (multiple of the mean, with ``variance``) from
    information [M, 3, 3] and vector [M, 3] on (x, y, s)."""
    known = information + _USELESS
    known[:, 2, 2] += 1.0 / np.asarray(variance)
    pulled = vector.copy()
    pulled[:, 2] += stature / variance
    covariance = inverse3(known)
    return np.einsum("mij,mj->mi", covariance[:, :2], pulled), covariance[:, :2, :2]


def _slope(directions: np.ndarray) -> np.ndarray:
    """g = d_xy / d_z [..., 2]; NaN for rays [..., 3] that do not fall towards the floor."""
    fall = -directions[..., 2]
    with np.errstate(invalid="ignore"):
        usable = fall > _FLATTEST * np.linalg.norm(directions, axis=-1)
    return np.where(usable[..., None], -directions[..., :2] / np.where(usable, fall, 1.0)[..., None], np.nan)


def _outer(vectors: np.ndarray) -> np.ndarray:
    return vectors[..., :, None] * vectors[..., None, :]


def _moments(place: np.ndarray, leaning: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """What levels at ``place`` + s * ``leaning`` [M, L, 2] (s: stature) with ``precision`` [M, L, 2, 2] say of (x, y, s): the entries of
    the information, row by row, then those of the vector, [M, L, 12]."""
    design = np.concatenate([np.broadcast_to(np.eye(2), precision.shape), leaning[..., None]], axis=-1)
    weighed = np.einsum("mlji,mljk->mlik", design, precision)
    information = np.einsum("mlij,mljk->mlik", weighed, design)
    return np.concatenate([information.reshape(*place.shape[:2], 9), np.einsum("mlij,mlj->mli", weighed, place)], axis=-1)


def _normal_equations(weights: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information [M, 3, 3] and vector [M, 3] on (x, y, s) from ``moments`` [M, L, 12] with ``weights`` [M, L]."""
    total = np.einsum("ml,mlk->mk", weights, moments)
    return total[:, :9].reshape(-1, 3, 3), total[:, 9:]
