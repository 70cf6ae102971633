"""What person detectors would find in the images of a store's cameras while a session is played.

Bodies are seen through each camera's calibration; shelves, gondolas, other people and the own trunk hide parts of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy import signal
from scipy.special import ndtr

from aisle_contract.records import NANOSECONDS, PersonDetections
from aisle_sim.profiles import CameraProfile
from aisle_sim.random_streams import random_stream
from aisle_sim.reenactment import Reenactment, ShopperMotion
from aisle_store.camera_model import Camera
from aisle_store.store import Store

_VOXEL_M = 0.08
_HIGHEST_POINT_M = 2.2
#: Goods stand on shelves up to this share of the room to the next shelf, and this far from the front edge.
_FILLED_SHARE = 0.6
_GOODS_FROM_FRONT_M = 0.12
_BOARD_M = 0.04
#: Something this near in front of a point does not hide it, m: points lie on surfaces and voxels are coarse.
_HIDING_MARGIN_M = 0.10
_NEAREST_DEPTH_M = 0.2
#: Points on the body's outline between keypoints: (from, to, share of the way, radius m, weight in the visible share).
_OUTLINE = (
    (5, 11, 0.15, 0.05, 2.0),
    (6, 12, 0.15, 0.05, 2.0),
    (5, 11, 0.5, 0.05, 2.0),
    (6, 12, 0.5, 0.05, 2.0),
    (5, 11, 0.9, 0.06, 2.0),
    (6, 12, 0.9, 0.06, 2.0),
    (3, 4, 0.0, 0.03, 1.0),
    (3, 4, 1.0, 0.03, 1.0),
    (11, 13, 0.5, 0.08, 1.5),
    (12, 14, 0.5, 0.08, 1.5),
    (13, 15, 0.0, 0.07, 1.0),
    (14, 16, 0.0, 0.07, 1.0),
    (13, 15, 1.0, 0.06, 1.0),
    (14, 16, 1.0, 0.06, 1.0),
    (5, 7, 0.5, 0.05, 0.5),
    (6, 8, 0.5, 0.05, 0.5),
    (7, 9, 0.0, 0.045, 0.5),
    (8, 10, 0.0, 0.045, 0.5),
    (7, 9, 1.35, 0.03, 0.5),
    (8, 10, 1.35, 0.03, 0.5),
)
_LEFT_RIGHT = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15])
_FACE, _WRISTS = slice(0, 5), (9, 10)


def camera_stamps(store: Store, camera: Camera, duration_s: float) -> np.ndarray:
    """Frame times [T] s: cameras are not triggered together, each is late by its share of a period."""
    period = 1.0 / camera.rate_hz
    number = list(store.cameras).index(camera.camera)
    offset = period * number / (2 * max(len(store.cameras), 1))
    return np.arange(offset, duration_s, period)


def camera_records(
    store: Store, reenactment: Reenactment, profile: CameraProfile, seed: int, session: str, start_ns: int
) -> list[PersonDetections]:
    """Detections of all frames of all cameras, camera by camera in order of time; frames without anybody are in it."""
    records: list[PersonDetections] = []
    for camera in store.cameras.values():
        view = _view(store, camera)
        rng = random_stream(seed, "camera", camera.camera, session)
        times = camera_stamps(store, camera, reenactment.duration_s)
        found = _detections(view, reenactment.shoppers, profile, times, rng)
        ghosts = _false_detections(store, view, profile, times, rng, random_stream(seed, "camera ghosts", camera.camera))
        stamps = start_ns + np.round(times * NANOSECONDS).astype(np.int64)
        for frame, stamp in enumerate(stamps):
            records.append(_record(camera, int(stamp), [*found[frame], *ghosts[frame]], profile))
    return records


@dataclass(frozen=True, eq=False)
class _Detection:
    """One row of a record; ``depth`` m orders overlapping boxes."""

    box: np.ndarray
    score: float
    keypoints: np.ndarray
    depth: float


class _View:
    """One camera in one store: projection with its limits, and what shelves hide from it."""

    def __init__(self, store: Store, camera: Camera) -> None:
        self.camera = camera
        low, high = store.floor.min(axis=0) - 0.6, store.floor.max(axis=0) + 0.6
        self._low = np.append(low, 0.0)
        self._shape = tuple(int(n) for n in np.ceil((np.append(high, _HIGHEST_POINT_M) - self._low) / _VOXEL_M) + 1)
        self._occluders = _occluders(store)
        # Filled where bodies come: 0 = not yet asked, 1 = in view, 2 = hidden.
        self._known = np.zeros(int(np.prod(self._shape)), dtype=np.uint8)

    @cached_property
    def _widest(self) -> float:
        """Largest distance from the axis at depth 1 that the lens model maps properly: beyond, the distortion folds back."""
        camera = self.camera
        corners = np.array([[0, 0], [camera.width, 0], [0, camera.height], [camera.width, camera.height]], dtype=float)
        farthest = np.abs((corners - camera.matrix[:2, 2]) / camera.matrix[[0, 1], [0, 1]])
        limit = 1.15 * np.linalg.norm(farthest, axis=1).max()
        radius = np.linspace(0, 5, 2001)
        k1, k2, _, _, k3 = np.ravel(camera.distortion)[:5]
        distorted = radius * (1 + k1 * radius**2 + k2 * radius**4 + k3 * radius**6)
        beyond = (distorted > limit) | (np.diff(distorted, append=np.inf) <= 0)
        return float(radius[int(np.argmax(beyond))]) if beyond.any() else float(radius[-1])

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [..., 2], NaN where the lens does not see, and depths [...] of points [..., 3]."""
        flat = points.reshape(-1, 3)
        optical = self.camera.to_optical(flat)
        pixels, depth = self.camera.project(flat)
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = (depth > _NEAREST_DEPTH_M) & (np.hypot(optical[:, 0], optical[:, 1]) <= self._widest * depth)
        pixels[~seen] = np.nan
        return pixels.reshape(*points.shape[:-1], 2), depth.reshape(points.shape[:-1])

    def in_image(self, pixels: np.ndarray) -> np.ndarray:
        """bool [...] of pixels [..., 2]."""
        with np.errstate(invalid="ignore"):
            return ((pixels >= 0) & (pixels < [self.camera.width, self.camera.height])).all(axis=-1)

    def hidden_by_shelves(self, points: np.ndarray) -> np.ndarray:
        """bool [...] of points [..., 3]."""
        cell = np.round((points - self._low) / _VOXEL_M).astype(int)
        cell = np.clip(cell, 0, np.array(self._shape) - 1)
        cells = np.ravel_multi_index(tuple(np.moveaxis(cell, -1, 0)), self._shape)
        asked = np.unique(cells[self._known[cells] == 0])
        if len(asked):
            self._known[asked] = 1 + self._behind_shelves(asked)
        return self._known[cells] == 2

    def _behind_shelves(self, cells: np.ndarray) -> np.ndarray:
        """bool [N] of voxel numbers."""
        centres = self._low + _VOXEL_M * np.column_stack(np.unravel_index(cells, self._shape))
        hidden = np.zeros(len(cells), dtype=bool)
        for pose, lowest, highest in self._occluders:
            unsure = ~hidden
            hidden[unsure] = _behind_box(self.camera.position, centres[unsure], pose, lowest, highest)
        return hidden


_VIEWS: WeakKeyDictionary[Store, dict[str, _View]] = WeakKeyDictionary()


def _view(store: Store, camera: Camera) -> _View:
    """Made once per store and camera."""
    views = _VIEWS.setdefault(store, {})
    if camera.camera not in views:
        views[camera.camera] = _View(store, camera)
    return views[camera.camera]


def _occluders(store: Store) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Boxes as (pose, lowest corner, highest corner in the pose's frame): back panels, shelf boards and the goods on them."""
    boxes = [(g.pose, np.zeros(3), np.array([g.width, g.depth, g.height])) for g in store.gondolas.values()]
    for shelf in store.shelves():
        boxes.append((shelf.pose, np.array([0, 0, -_BOARD_M]), np.array([shelf.width, shelf.depth, 0.0])))
        goods = np.array([shelf.width, shelf.depth, _FILLED_SHARE * shelf.height])
        boxes.append((shelf.pose, np.array([0, min(_GOODS_FROM_FRONT_M, shelf.depth), 0.0]), goods))
    return boxes


def _behind_box(eye: np.ndarray, points: np.ndarray, pose: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """bool [N]: whether the line from ``eye`` to a point meets the box before the point (slab method, Kay and Kajiya 1986)."""
    to_local = np.linalg.inv(pose)
    start = to_local[:3, :3] @ eye + to_local[:3, 3]
    along = points @ to_local[:3, :3].T + to_local[:3, 3] - start
    along = np.where(np.abs(along) < 1e-9, 1e-9, along)
    first, second = (low - start) / along, (high - start) / along
    # Written out per axis: NumPy's reductions are slow over an axis of three.
    enter = np.maximum.reduce(list(np.minimum(first, second).T))
    leave = np.minimum.reduce(list(np.maximum(first, second).T))
    end = 1 - _HIDING_MARGIN_M / np.maximum(np.linalg.norm(along, axis=1), 1e-6)
    return (enter <= leave) & (leave > 0) & (enter < end)


def _trunk_balls(joints: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The trunk as balls (centres [T, 3], radius)."""
    neck, hips = joints[:, 5:7].mean(axis=1), joints[:, 11:13].mean(axis=1)
    return [(neck + share * (hips - neck), 0.12) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]


def _body_balls(joints: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """A whole body as balls, for hiding others."""
    head, hips = joints[:, 3:5].mean(axis=1), joints[:, 11:13].mean(axis=1)
    feet = joints[:, 15:17].mean(axis=1)
    legs = [(hips + share * (feet - hips), 0.15) for share in (0.25, 0.5, 0.75, 1.0)]
    arms = [(joints[:, k], 0.05) for k in (7, 8, 9, 10)]
    return [(head, 0.12), *((centre, 0.18) for centre, _ in _trunk_balls(joints)), *legs, *arms]


def _behind_balls(eye: np.ndarray, points: np.ndarray, balls: Sequence[tuple[np.ndarray, float]]) -> np.ndarray:
    """bool [T, N]: whether a ball stands between the eye and points [T, N, 3]."""
    along = points - eye
    squared = np.maximum(np.einsum("tni,tni->tn", along, along), 1e-9)
    end = 1 - _HIDING_MARGIN_M / np.sqrt(squared)
    hidden = np.zeros(points.shape[:2], dtype=bool)
    for centres, radius in balls:
        offset = centres - eye
        towards = np.einsum("tni,ti->tn", along, offset)
        share = np.clip(towards / squared, 0.0, end)
        away = share**2 * squared - 2 * share * towards + np.einsum("ti,ti->t", offset, offset)[:, None]
        hidden |= away < radius**2
    return hidden


def _outline_points(joints: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points on both edges of the body as seen from ``eye``, [T, N, 3], and their weights [N]."""
    points, weights = [], []
    for start, end, share, radius, weight in _OUTLINE:
        middle = joints[:, start] + share * (joints[:, end] - joints[:, start])
        sight = middle - eye
        sideways = np.stack([-sight[:, 1], sight[:, 0], np.zeros(len(sight))], axis=-1)
        sideways /= np.maximum(np.linalg.norm(sideways, axis=-1, keepdims=True), 1e-6)
        points += [middle + radius * sideways, middle - radius * sideways]
        weights += [weight / 2, weight / 2]
    head = joints[:, 3:5].mean(axis=1)
    neck = joints[:, 5:7].mean(axis=1)
    up = (head - neck) / np.maximum(np.linalg.norm(head - neck, axis=-1, keepdims=True), 1e-6)
    points += [head + 0.12 * up, head]
    weights += [1.0, 1.0]
    for ankle in (15, 16):
        sole = joints[:, ankle].copy()
        sole[:, 2] = 0.0
        points.append(sole)
        weights.append(0.5)
    return np.stack(points, axis=1), np.array(weights)


def _detections(
    view: _View, shoppers: Sequence[ShopperMotion], profile: CameraProfile, times: np.ndarray, rng: np.random.Generator
) -> list[list[_Detection]]:
    """Detections of people per frame."""
    frames: list[list[_Detection]] = [[] for _ in times]
    joints = [shopper.keypoints(times) for shopper in shoppers]
    present = [shopper.present(times) for shopper in shoppers]
    for i, body in enumerate(joints):
        # Drawn for all frames, so that what one person does changes no other's noise.
        noise = _PersonNoise(profile, times, view.camera.rate_hz, rng)
        balls = [(np.where(present[j][:, None], c, 1e3), r) for j in range(len(joints)) if j != i for c, r in _body_balls(joints[j])]
        rows = np.flatnonzero(present[i])
        if len(rows):
            balls = [(centres[rows], radius) for centres, radius in balls]
            for row, detection in _seen(view, body[rows], balls, profile, noise.at(rows)):
                frames[rows[row]].append(detection)
    return frames


class _PersonNoise:
    """Random numbers of one person in one camera: each a mixture of what lasts (see ``noise_memory_s``) and what is new in every frame."""

    def __init__(self, profile: CameraProfile, times: np.ndarray, rate_hz: float, rng: np.random.Generator) -> None:
        count = len(times)
        memory = np.exp(-1 / (rate_hz * profile.noise_memory_s)) if profile.noise_memory_s > 0 else 0.0
        self.lasting = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.standard_normal((count + 30, 40)), axis=0)[30:]
        self.fresh = rng.standard_normal((count, 40))
        self.uniform = rng.random((count, 20))

    def at(self, rows: np.ndarray) -> _NoiseRows:
        return _NoiseRows(np.sqrt(0.6) * self.lasting[rows] + np.sqrt(0.4) * self.fresh[rows], self.lasting[rows, 38], self.uniform[rows])


@dataclass(frozen=True, eq=False)
class _NoiseRows:
    """``unit`` [T, 40] of deviation 1; ``luck`` [T] lasting, of deviation 1; ``uniform`` [T, 20]."""

    unit: np.ndarray
    luck: np.ndarray
    uniform: np.ndarray


def _seen(
    view: _View, joints: np.ndarray, balls: Sequence[tuple[np.ndarray, float]], profile: CameraProfile, noise: _NoiseRows
) -> list[tuple[int, _Detection]]:
    """(row, detection) of one person over rows of joints [T, 17, 3]."""
    eye, camera = view.camera.position, view.camera
    outline, weights = _outline_points(joints, eye)
    pixels, _ = view.project(outline)
    hidden = view.hidden_by_shelves(outline)
    if balls:
        hidden |= _behind_balls(eye, outline, balls)
    shown = view.in_image(pixels) & ~hidden
    share = shown @ weights / weights.sum()
    body_box = _extent(pixels, ~hidden & np.isfinite(pixels[..., 0]))
    body_box = np.clip(body_box, 0, [camera.width - 1, camera.height - 1] * 2)
    size = body_box[:, 2:] - body_box[:, :2]
    with np.errstate(invalid="ignore"):
        whole = np.nan_to_num(_full_height(pixels), nan=1.0)
        found = (share >= profile.least_visible_share) & (size[:, 1] >= profile.least_height_px) & (size[:, 0] >= 4)
    found &= ~_missed(share, size[:, 1], profile, noise)
    deviation = profile.pixel_noise_px + profile.pixel_noise_share * whole
    loose = profile.box_looseness * size * (1 + 0.5 * noise.unit[:, :2]) / 2
    boxes = body_box + np.hstack([-loose, loose]) + deviation[:, None] * noise.unit[:, 2:6]
    boxes = np.clip(boxes, 0, [camera.width - 1, camera.height - 1] * 2)
    scores = _scores(share, size[:, 1], profile, noise)
    points = _keypoints(view, joints, balls, deviation, profile, noise)
    depth = view.camera.to_optical(joints[:, 11])[:, 2]
    return [
        (int(row), _Detection(boxes[row], float(scores[row]), points[row], float(depth[row])))
        for row in np.flatnonzero(found)
        if boxes[row, 2] - boxes[row, 0] > 2 and boxes[row, 3] - boxes[row, 1] > 2
    ]


def _extent(pixels: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Boxes [T, 4] around shown pixels; NaN where none is."""
    low = np.where(shown[..., None], pixels, np.inf).min(axis=1)
    high = np.where(shown[..., None], pixels, -np.inf).max(axis=1)
    box = np.hstack([low, high])
    return np.where(np.isfinite(box).all(axis=1, keepdims=True), box, np.nan)


def _full_height(pixels: np.ndarray) -> np.ndarray:
    """Height [T] of the whole body in the image, hidden parts included, px."""
    vertical = np.where(np.isfinite(pixels[..., 1]), pixels[..., 1], np.nan)
    with np.errstate(invalid="ignore"):
        return np.fmax.reduce(vertical, axis=1) - np.fmin.reduce(vertical, axis=1)


def _missed(share: np.ndarray, height: np.ndarray, profile: CameraProfile, noise: _NoiseRows) -> np.ndarray:
    """Misses come in runs, and more often for people who are small or hidden."""
    small = np.clip(80.0 / np.maximum(np.nan_to_num(height), 1.0) - 1.0, 0.0, 3.0)
    probability = np.clip(profile.miss_share * (1 + 6 * (1 - share) + 2 * small), 0.0, 0.95)
    return ndtr(noise.luck) < probability


def _scores(share: np.ndarray, height: np.ndarray, profile: CameraProfile, noise: _NoiseRows) -> np.ndarray:
    noisy = 0.0 if profile.miss_share == 0 else 0.05
    small = np.clip(80.0 / np.maximum(np.nan_to_num(height), 1.0) - 1.0, 0.0, 2.0)
    return np.clip(0.95 - 0.45 * (1 - share) - 0.1 * small + noisy * noise.unit[:, 6], 0.1, 0.99)


def _keypoints(view: _View, joints: np.ndarray, balls, deviation: np.ndarray, profile: CameraProfile, noise: _NoiseRows) -> np.ndarray:
    """[T, 17, 3]: x, y, confidence; what is hidden is guessed with little confidence, what is outside the image is (0, 0, 0)."""
    eye = view.camera.position
    pixels, _ = view.project(joints)
    hidden = view.hidden_by_shelves(joints)
    if balls:
        hidden |= _behind_balls(eye, joints, balls)
    hidden |= _behind_balls(eye, joints, _trunk_balls(joints)) & ~np.isin(np.arange(17), [5, 6, 11, 12])
    hidden[:, _FACE] |= _facing_away(joints, eye)[:, None]
    factor = np.where(hidden, 3.0, 1.0)
    factor[:, _WRISTS] *= profile.wrist_noise_factor
    # One number per keypoint and axis: 34 of the person's 40; those for the box are used again, errors of one body go together.
    moved = pixels + (deviation[:, None] * factor)[..., None] * noise.unit[:, :34].reshape(-1, 17, 2)
    confidence = np.where(hidden, 0.1 + 0.25 * noise.uniform[:, :17], 0.97 - 0.25 * noise.uniform[:, :17])
    swapped = noise.uniform[:, 17] < profile.swap_share
    moved[swapped] = moved[swapped][:, _LEFT_RIGHT]
    outside = ~view.in_image(moved)
    return np.where(outside[..., None], 0.0, np.concatenate([moved, confidence[..., None]], axis=-1))


def _facing_away(joints: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """bool [T]: the face is turned from the camera."""
    head = joints[:, 3:5].mean(axis=1)
    forward = joints[:, 0] - head
    sight = eye - head
    cosine = (forward * sight).sum(axis=1) / np.maximum(np.linalg.norm(forward, axis=1) * np.linalg.norm(sight, axis=1), 1e-9)
    return cosine < -0.1


def _false_detections(
    store: Store, view: _View, profile: CameraProfile, times: np.ndarray, rng: np.random.Generator, fixed: np.random.Generator
) -> list[list[_Detection]]:
    """Per frame: people who are not there. Half of them appear again and again at two places of the image, as reflections do."""
    low, high = store.floor.min(axis=0) - 0.5, store.floor.max(axis=0) + 0.5
    haunts = fixed.uniform(low, high, (2, 2))
    counts = rng.poisson(profile.false_detections, len(times))
    frames: list[list[_Detection]] = [[] for _ in times]
    for frame in np.flatnonzero(counts):
        for _ in range(counts[frame]):
            place = haunts[rng.integers(2)] if rng.random() < 0.5 else rng.uniform(low, high)
            box = _ghost_box(view, place + rng.normal(0, 0.05, 2), rng.uniform(1.2, 1.9))
            score, confidences = 0.1 + 0.5 * rng.beta(2, 3), 0.4 * rng.random(17)
            if box is not None:
                inside = box[:2] + rng.random((17, 2)) * (box[2:] - box[:2])
                frames[frame].append(_Detection(box, float(score), np.column_stack([inside, confidences]), np.inf))
    return frames


def _ghost_box(view: _View, place: np.ndarray, height: float) -> np.ndarray | None:
    corners = np.array([[*place, 0.0], [*place, height]])
    pixels, _ = view.project(corners)
    if not np.isfinite(pixels).all():
        return None
    tall = np.abs(pixels[1] - pixels[0]).max()
    middle = pixels.mean(axis=0)
    half = tall * np.array([0.2, 0.5])
    box = np.concatenate([middle - half, middle + half])
    box = np.clip(box, 0, [view.camera.width - 1, view.camera.height - 1] * 2)
    return box if box[2] - box[0] > 8 and box[3] - box[1] > 8 else None


def _record(camera: Camera, stamp: int, detections: Sequence[_Detection], profile: CameraProfile) -> PersonDetections:
    kept: list[_Detection] = []
    for detection in sorted(detections, key=lambda d: d.depth):
        if all(_overlap(detection.box, nearer.box) <= profile.merge_overlap for nearer in kept):
            kept.append(detection)
    # A detector gives the best first, which tells nothing about who is who.
    kept.sort(key=lambda d: -d.score)
    return PersonDetections(
        stamp_ns=stamp,
        camera=camera.camera,
        image_width=camera.width,
        image_height=camera.height,
        boxes=np.array([d.box for d in kept], dtype=np.float32).reshape(-1, 4),
        scores=np.array([d.score for d in kept], dtype=np.float32),
        keypoints=np.array([d.keypoints for d in kept], dtype=np.float32).reshape(-1, 17, 3),
    )


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (size <= 0).any():
        return 0.0
    shared = size.prod()
    return float(shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared))
