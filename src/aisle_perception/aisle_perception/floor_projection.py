"""Where on the floor the persons stand that one camera has found, with covariance.

A person is an upright axis with body levels at known shares of his stature (ankles, hips, head ...; Winter, Biomechanics and Motor
Control of Human Movement, 2009, fig. 4.1). A level seen at a pixel puts the floor point on a line that depends on the stature:

    p(s) = c_xy + (s * z - c_z) * g,   g = d_xy / d_z

with the camera at c, the pixel's ray d, the level's height z at mean stature and the person's stature as multiple s of the mean.
This is linear in (p, s), so all levels of one person are solved together by weighted least squares with a prior on s: feet fix the
place, the other levels then tell the stature; a head alone gives a place that is uncertain along the viewing direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import PersonDetections
from aisle_store.camera_model import Camera


@dataclass(frozen=True)
class BodyConfig:
    """What is assumed about bodies and detectors."""

    stature: float = parameter(1.70, "Mean height of a person, m", 1.0, 2.2)
    stature_deviation: float = parameter(0.10, "Standard deviation of the height of people, m", 0.01, 0.5)
    box_deviation_px: float = parameter(4.0, "Standard deviation of a box edge, px, before the share of the box size is added", 0.5, 50.0)
    box_deviation_share: float = parameter(0.05, "Standard deviation of a box edge as a share of the box's size", 0.0, 0.5)
    keypoint_deviation_px: float = parameter(4.0, "Standard deviation of a keypoint, px", 0.5, 50.0)
    keypoint_threshold: float = parameter(0.3, "Keypoints below this confidence count as not seen", 0.0, 1.0)
    border_px: float = parameter(3.0, "A box edge nearer than this to the image's border is cut off by it, px", 0.0, 50.0)


@dataclass(frozen=True)
class _Level:
    """``height``: share of the stature; deviations in metres of the level's height and of its horizontal place relative to the axis."""

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
_FOOT = _Level((), 0.0, 0.02, 0.10, 0.10)
_CROWN = _Level((), 0.98, 0.05, 0.12, 0.12)
#: Seen when a box is cut off above and below: some part of the trunk.
_TRUNK = _Level((), 0.60, 0.35, 0.15, 0.15)
#: The lowest pixel of a person is the tip of a shoe, this much nearer to the camera than the body's axis, m.
_SHOE = 0.10
#: A box edge cut off by the left or right border leaves the middle of the person open by this share of the box's width.
_CUT_SIDE_SHARE = 0.35
#: Rays flatter than this (|d_z| of the unit direction) meet the floor too far away to say anything.
_FLATTEST = 0.03
_FARTHEST_M = 40.0
#: Huber's constant for levels that disagree with the others (a crouching person's head, a foot hidden by furniture).
_HUBER = 1.5


@dataclass(frozen=True, eq=False)
class FloorMeasurements:
    """``positions`` float64 [N, 2] m and ``covariances`` [N, 2, 2] m^2 on the floor; ``valid`` bool [N]; in the detections' order."""

    positions: np.ndarray
    covariances: np.ndarray
    valid: np.ndarray


@dataclass(eq=False)
class _Sight:
    """One level of each of N persons: slopes g [N, 2], their change per px in u and v [N, 2] each, deviations in px and in m."""

    slope: np.ndarray
    slope_by_u: np.ndarray
    slope_by_v: np.ndarray
    deviation_u: np.ndarray
    deviation_v: np.ndarray
    height: float
    height_deviation: float
    offset_deviation: np.ndarray
    seen: np.ndarray
    shift: np.ndarray | None = None


class FloorProjector:
    """Floor points of the detections of one camera."""

    def __init__(self, camera: Camera, config: BodyConfig) -> None:
        self._camera = camera
        self._config = config
        self._down = -camera.pose[2, :3]

    def project(self, detections: PersonDetections) -> FloorMeasurements:
        """Floor points of all persons in one frame. Pixels refer to the frame's own size, which may differ from the calibration's."""
        count = len(detections.boxes)
        if not count:
            return FloorMeasurements(np.zeros((0, 2)), np.zeros((0, 2, 2)), np.zeros(0, dtype=bool))
        scale = pixel_scale(self._camera, detections)
        boxes = detections.boxes.astype(float) * np.tile(scale, 2)
        sights = self._keypoint_sights(detections.keypoints, scale, count)
        by_keypoints = np.any([s.seen for s in sights], axis=0) if sights else np.zeros(count, dtype=bool)
        if not by_keypoints.all():
            for sight in self._box_sights(boxes):
                sight.seen = sight.seen & ~by_keypoints
                sights.append(sight)
        return self._solve(sights, count)

    def _keypoint_sights(self, keypoints: np.ndarray | None, scale: np.ndarray, count: int) -> list[_Sight]:
        if keypoints is None:
            return []
        confident = keypoints[:, :, 2] >= max(self._config.keypoint_threshold, 1e-6)
        pixels = np.where(confident[:, :, None], keypoints[:, :, :2].astype(float) * scale, 0.0)
        middles, seen, shares = [], [], []
        for level in _LEVELS:
            points = list(level.keypoints)
            found = confident[:, points].sum(axis=1)
            middles.append(pixels[:, points].sum(axis=1) / np.maximum(found, 1)[:, None])
            seen.append(found > 0)
            shares.append(np.where(found >= 2, level.pair_deviation, level.single_deviation))
        slopes, by_u, by_v = self._slopes(np.concatenate(middles))
        deviation = np.full(count, self._config.keypoint_deviation_px)
        parts = [slice(i * count, (i + 1) * count) for i in range(len(_LEVELS))]
        return [
            _Sight(slopes[p], by_u[p], by_v[p], deviation, deviation, level.height, level.height_deviation, share, found)
            for p, level, share, found in zip(parts, _LEVELS, shares, seen, strict=True)
        ]

    def _box_sights(self, boxes: np.ndarray) -> list[_Sight]:
        config, camera = self._config, self._camera
        left, top, right, bottom = boxes.T
        wide, high = right - left, bottom - top
        cut_side = (left <= config.border_px) | (right >= camera.width - 1 - config.border_px)
        cut_top = top <= config.border_px
        cut_bottom = bottom >= camera.height - 1 - config.border_px
        deviation_u = np.hypot(config.box_deviation_px, wide * (config.box_deviation_share + np.where(cut_side, _CUT_SIDE_SHARE, 0.0)))
        deviation_v = np.hypot(config.box_deviation_px, high * config.box_deviation_share)
        middle = np.column_stack([(left + right) / 2, (top + bottom) / 2])
        foot = self._axis_sight(_FOOT, middle, bottom, deviation_u, deviation_v, ~cut_bottom)
        reach = np.linalg.norm(foot.slope, axis=1, keepdims=True)
        foot.shift = -_SHOE * foot.slope / np.maximum(reach, 1e-9)
        crown = self._axis_sight(_CROWN, middle, top, deviation_u, deviation_v, ~cut_top)
        trunk = self._axis_sight(_TRUNK, middle, middle[:, 1], deviation_u, deviation_v, cut_top & cut_bottom)
        return [foot, crown, trunk]

    def _axis_sight(
        self, level: _Level, middle: np.ndarray, row: np.ndarray, deviation_u: np.ndarray, deviation_v: np.ndarray, seen: np.ndarray
    ) -> _Sight:
        """The pixel of the person's upright axis in image row ``row`` [N], when the axis passes through ``middle`` [N, 2]."""
        count, step = len(row), 1.0
        middles = np.concatenate([middle, middle + np.array([step, 0.0]), middle])
        rows = np.concatenate([row, row, row + step])
        slope = self._axis_slopes(middles, rows)
        base, by_u, by_v = slope[:count], slope[count : 2 * count], slope[2 * count :]
        return _Sight(
            base,
            (by_u - base) / step,
            (by_v - base) / step,
            deviation_u,
            deviation_v,
            level.height,
            level.height_deviation,
            np.full(count, level.single_deviation),
            seen & np.isfinite(base).all(axis=1),
        )

    def _axis_slopes(self, middles: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The vertical plane through the camera and ``middle`` holds the axis; its ray in image row ``row`` is d + b * down."""
        rotation = self._camera.pose[:3, :3]
        optical = self._camera.rays(np.concatenate([middles, np.column_stack([middles[:, 0], rows])])) @ rotation
        centre, edge = optical[: len(rows)], optical[len(rows) :]
        wanted = edge[:, 1] / edge[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (wanted * centre[:, 2] - centre[:, 1]) / (self._down[1] - wanted * self._down[2])
        return _slope((centre + along[:, None] * self._down) @ rotation.T)

    def _slopes(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Slopes g [N, 2] of pixels [N, 2] and their derivatives by u and v, numerically: the lens has no simple closed form."""
        count, step = len(pixels), 1.0
        slope = _slope(self._camera.rays(np.concatenate([pixels, pixels + np.array([step, 0.0]), pixels + np.array([0.0, step])])))
        base = slope[:count]
        return base, (slope[count : 2 * count] - base) / step, (slope[2 * count :] - base) / step

    def _solve(self, sights: list[_Sight], count: int) -> FloorMeasurements:
        camera, config = self._camera.position, self._config
        places, designs, noises, weights = [], [], [], []
        for sight in sights:
            height = sight.height * config.stature
            lift = height - camera[2]
            seen = sight.seen & np.isfinite(sight.slope).all(axis=1) & np.isfinite(sight.slope_by_v).all(axis=1)
            slope = np.where(seen[:, None], sight.slope, 0.0)
            by_u = np.where(seen[:, None], sight.slope_by_u, 0.0) * (lift * sight.deviation_u)[:, None]
            by_v = np.where(seen[:, None], sight.slope_by_v, 0.0) * (lift * sight.deviation_v)[:, None]
            stray = slope * sight.height_deviation
            noise = _outer(by_u) + _outer(by_v) + _outer(stray) + (sight.offset_deviation**2)[:, None, None] * np.eye(2)
            design = np.zeros((count, 2, 3))
            design[:, :, :2] = np.eye(2)
            design[:, :, 2] = -height * slope
            shift = 0.0 if sight.shift is None else np.where(seen[:, None], sight.shift, 0.0)
            places.append(camera[:2] - camera[2] * slope + shift)
            designs.append(design)
            noises.append(noise)
            weights.append(seen.astype(float))
        place, design, noise = np.stack(places, 1), np.stack(designs, 1), np.stack(noises, 1)
        seen = np.stack(weights, 1)
        prior = (config.stature / config.stature_deviation) ** 2
        solution, covariance = _least_squares(place, design, noise, seen, prior)
        if len(sights) > 1:
            misfit = place - np.einsum("nkij,nj->nki", design, solution)
            distance = np.sqrt(np.einsum("nki,nki->nk", misfit, np.linalg.solve(noise, misfit[..., None])[..., 0]))
            robust = seen * np.minimum(1.0, _HUBER / np.maximum(distance, _HUBER))
            solution, covariance = _least_squares(place, design, noise, robust, prior)
        position, spread = solution[:, :2], covariance[:, :2, :2]
        far = np.linalg.norm(position - camera[:2], axis=1) > _FARTHEST_M
        return FloorMeasurements(position, spread, seen.any(axis=1) & ~far & np.isfinite(spread).all(axis=(1, 2)))


def pixel_scale(camera: Camera, detections: PersonDetections) -> np.ndarray:
    """float64 [2]: factors from the detections' image to the image size of the calibration."""
    return np.array([camera.width / detections.image_width, camera.height / detections.image_height])


def _slope(directions: np.ndarray) -> np.ndarray:
    down = directions[:, 2]
    usable = down < -_FLATTEST * np.linalg.norm(directions, axis=1)
    return np.where(usable[:, None], directions[:, :2] / np.where(usable, down, 1.0)[:, None], np.nan)


def _outer(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, :, None] * vectors[:, None, :]


def _least_squares(
    place: np.ndarray, design: np.ndarray, noise: np.ndarray, weight: np.ndarray, stature_precision: float
) -> tuple[np.ndarray, np.ndarray]:
    """(x, y, s) [N, 3] and covariance [N, 3, 3] from K levels with ``weight`` [N, K] (0: not seen); prior s ~ N(1, 1 / precision)."""
    precision = np.linalg.inv(noise) * weight[:, :, None, None]
    weighed = np.swapaxes(design, -1, -2) @ precision
    information = (weighed @ design).sum(axis=1)
    vector = np.einsum("nkij,nkj->ni", weighed, place)
    information[:, 2, 2] += stature_precision
    vector[:, 2] += stature_precision
    # A person of whom nothing was seen keeps a solvable, useless estimate; ``valid`` excludes it.
    information[:, [0, 1], [0, 1]] += 1e-9
    covariance = np.linalg.inv(information)
    return np.einsum("nij,nj->ni", covariance, vector), covariance
