"""What person detectors would find in the images of a store's cameras while a session is played.

Bodies are seen through each camera's calibration; shelves, gondolas, other people and the own trunk hide parts of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from scipy import signal
from scipy.special import ndtr

from aisle_contract.records import NANOSECONDS, PersonDetections
from aisle_sim.camera_disturbances import FrameTroubles
from aisle_sim.episodes import Episode
from aisle_sim.profiles import CameraProfile, CameraTroubles
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
#: No part of a body is farther from its middle, seen from above, m (a stretched arm of somebody who bends).
_WIDE_BODY_M = 0.6
#: Two bodies farther apart than this across the line of sight do not hide one another, m; nobody is taller than the other.
_BODIES_MEET_M, _TALLEST_M = 0.9, 2.0
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


def camera_records(
    store: Store,
    reenactment: Reenactment,
    profile: CameraProfile,
    seed: int,
    session: str,
    start_ns: int,
    troubles: CameraTroubles | None = None,
) -> list[PersonDetections]:
    """Detections of all frames of a whole session, camera by camera in order of time; frames without anybody are in it."""
    sensor = CameraSensor(store, profile, seed, session, start_ns, troubles)
    return sensor.advance(reenactment.duration_s, reenactment.shoppers)


class CameraSensor:
    """All cameras of a store from ``start_ns`` on, window by window in bounded memory."""

    def __init__(
        self,
        store: Store,
        profile: CameraProfile,
        seed: int,
        session: str,
        start_ns: int,
        troubles: CameraTroubles | None = None,
    ) -> None:
        self._cameras = [_SimulatedCamera(store, camera, profile, seed, session, start_ns, troubles) for camera in store.cameras.values()]

    def advance(self, until_s: float, shoppers: Sequence[ShopperMotion]) -> list[PersonDetections]:
        """Frames before ``until_s`` that were not yet given, camera by camera. ``shoppers``: all who are there meanwhile."""
        return [record for camera in self._cameras for record in camera.advance(until_s, shoppers)]


class _SimulatedCamera:
    def __init__(
        self, store: Store, camera: Camera, profile: CameraProfile, seed: int, session: str, start_ns: int, troubles: CameraTroubles | None
    ) -> None:
        self._store, self._camera, self._profile, self._seed, self._session = store, camera, profile, seed, session
        self._start_ns = start_ns
        self._view = _view(store, camera)
        self._frames = 0
        # Cameras are not triggered together, each is late by its share of a period.
        self._offset_s = list(store.cameras).index(camera.camera) / (2 * max(len(store.cameras), 1) * camera.rate_hz)
        self._ghosts = random_stream(seed, "camera ghosts", camera.camera, session)
        self._haunts = _haunts(store, random_stream(seed, "camera ghosts", camera.camera))
        self._noise: dict[str, _PersonNoise] = {}
        self._troubles: FrameTroubles | None = None
        if troubles not in (None, CameraTroubles()):
            self._troubles = FrameTroubles(troubles, random_stream(seed, "camera troubles", camera.camera, session))

    def advance(self, until_s: float, shoppers: Sequence[ShopperMotion]) -> list[PersonDetections]:
        until = max(int(np.ceil((until_s - self._offset_s) * self._camera.rate_hz - 1e-9)), self._frames)
        times = self._offset_s + np.arange(self._frames, until) / self._camera.rate_hz
        self._frames = until
        if not len(times):
            return []
        found = _detections(self._view, shoppers, self._profile, times, self._noise_of)
        ghosts = _false_detections(self._store, self._view, self._profile, times, self._ghosts, self._haunts)
        self._noise = {s.person: self._noise[s.person] for s in shoppers if s.person in self._noise and s.last_s >= times[-1]}
        stamps = self._start_ns + np.round(times * NANOSECONDS).astype(np.int64)
        given = range(len(times))
        if self._troubles is not None:
            self._disturb(found, ghosts, times)
            stamps = stamps + round(self._troubles.clock_s * NANOSECONDS)
            given = np.flatnonzero(~self._troubles.silent(times))
        return [_record(self._camera, int(stamps[frame]), [*found[frame], *ghosts[frame]], self._profile) for frame in given]

    def _disturb(self, found: list[list[_Detection]], ghosts: list[list[_Detection]], times: np.ndarray) -> None:
        """Does to the frames' detections what ``CameraTroubles`` say."""
        troubles = self._troubles
        persons = sorted({detection.person for frame in found for detection in frame})
        overlooked = {person: troubles.overlooked(person, times) for person in persons}
        for number, frame in enumerate(found):
            frame[:] = [
                detection.moved(troubles.offset_px + troubles.bias(detection.person) * (detection.box[3] - detection.box[1]), self._camera)
                for detection in frame
                if not overlooked[detection.person][number]
            ]
            if len(frame) > 1:
                troubles.exchange_limbs([d.box for d in frame], [d.keypoints for d in frame], _overlap)
        for ghost in troubles.ghosts(times):
            self._add_ghost(ghosts, times, ghost)
        troubles.forget(list(self._noise))

    def _add_ghost(self, ghosts: list[list[_Detection]], times: np.ndarray, ghost: Episode) -> None:
        """Something that stands still in the store and looks like a person from here."""
        rng = ghost.rng()
        place = rng.uniform(self._store.floor.min(axis=0), self._store.floor.max(axis=0))
        height, score = rng.uniform(1.4, 1.8), float(rng.uniform(0.4, 0.8))
        for frame in np.flatnonzero((times >= ghost.start_s) & (times <= ghost.end_s)):
            box = _ghost_box(self._view, place + rng.normal(0, 0.02, 2), height)
            if box is not None and rng.random() < 0.8:
                inside = box[:2] + rng.random((17, 2)) * (box[2:] - box[:2])
                keypoints = np.column_stack([inside, 0.3 + 0.4 * rng.random(17)])
                ghosts[frame].append(_Detection(box, score, keypoints, np.inf))

    def _noise_of(self, person: str) -> _PersonNoise:
        """A stream for each person, so that what one does changes no other's noise."""
        if person not in self._noise:
            stream = random_stream(self._seed, "camera", self._camera.camera, self._session, person)
            self._noise[person] = _PersonNoise(self._profile, self._camera.rate_hz, stream)
        return self._noise[person]


@dataclass(frozen=True, eq=False)
class _Detection:
    """One row of a record; ``depth`` m orders overlapping boxes."""

    box: np.ndarray
    score: float
    keypoints: np.ndarray
    depth: float
    person: str = ""

    def moved(self, by_px: np.ndarray, camera: Camera) -> _Detection:
        """Elsewhere in the image, cut at its edges."""
        box = np.clip(self.box + np.tile(by_px, 2), 0, [camera.width - 1, camera.height - 1] * 2)
        if box[2] - box[0] < 2 or box[3] - box[1] < 2:
            return self
        keypoints = self.keypoints.copy()
        keypoints[:, :2] += by_px
        inside = (self.keypoints[:, 2] > 0) & ((keypoints[:, :2] >= 0) & (keypoints[:, :2] < [camera.width, camera.height])).all(axis=1)
        keypoints[~inside] = 0.0
        return replace(self, box=box, keypoints=keypoints)


class _View:
    """One camera in one store: projection with its limits, and what shelves hide from it."""

    #: Lenses stretch what is near the image's edge.
    _WIDENING = 1.3

    def __init__(self, store: Store, camera: Camera) -> None:
        self.camera = camera
        low, high = store.floor.min(axis=0) - 0.6, store.floor.max(axis=0) + 0.6
        self._low = np.append(low, 0.0)
        self._shape = tuple(int(n) for n in np.ceil((np.append(high, _HIGHEST_POINT_M) - self._low) / _VOXEL_M) + 1)
        self._occluders = _occluders(store)
        self._distorted = bool(np.any(camera.distortion))
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
        depth = optical[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            seen = (depth > _NEAREST_DEPTH_M) & (np.hypot(optical[:, 0], optical[:, 1]) <= self._widest * depth)
            if self._distorted:
                pixels, _ = self.camera.project(flat)
            else:
                # Eight times faster than OpenCV's.
                pixels = optical[:, :2] / depth[:, None] * self.camera.matrix[[0, 1], [0, 1]] + self.camera.matrix[:2, 2]
        pixels[~seen] = np.nan
        return pixels.reshape(*points.shape[:-1], 2), depth.reshape(points.shape[:-1])

    def may_show(self, places: np.ndarray) -> np.ndarray:
        """bool [T]: whether any part of somebody at ``places`` [T, 2] can be in the image."""
        heights = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
        points = np.concatenate([np.repeat(places[:, None], len(heights), axis=1), np.tile(heights[:, None], (len(places), 1, 1))], axis=2)
        pixels, depth = self.project(points)
        size = np.array([self.camera.width, self.camera.height])
        with np.errstate(invalid="ignore", divide="ignore"):
            margin = self._WIDENING * _WIDE_BODY_M * self.camera.matrix[[0, 1], [0, 1]] / np.maximum(depth, _NEAREST_DEPTH_M)[..., None]
            near = ((pixels >= -margin) & (pixels < size + margin)).all(axis=-1)
        # A lens that maps a point nowhere says nothing about what is beside it.
        near |= np.isnan(pixels[..., 0]) & (np.linalg.norm(places - self.camera.position[:2], axis=1) < 1.5)[:, None]
        return near.any(axis=1)

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
        for whole, parts in self._occluders:
            shadowed = np.flatnonzero(~hidden)
            shadowed = shadowed[whole.hides(self.camera.position, centres[shadowed])]
            for part in parts:
                if not len(shadowed):
                    break
                behind = part.hides(self.camera.position, centres[shadowed])
                hidden[shadowed[behind]] = True
                shadowed = shadowed[~behind]
        return hidden


_VIEWS: WeakKeyDictionary[Store, dict[str, _View]] = WeakKeyDictionary()


def _view(store: Store, camera: Camera) -> _View:
    """Made once per store and camera."""
    views = _VIEWS.setdefault(store, {})
    if camera.camera not in views:
        views[camera.camera] = _View(store, camera)
    return views[camera.camera]


class _Box:
    """A box that hides what is behind it: ``pose`` [4, 4] to the store, corners ``low`` and ``high`` [3] in its own frame, m."""

    def __init__(self, pose: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.pose, self.low, self.high = pose, np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        self._to_local = np.linalg.inv(pose)

    @property
    def corners(self) -> np.ndarray:
        """[8, 3] in the store."""
        corners = np.array(np.meshgrid(*zip(self.low, self.high, strict=True))).reshape(3, -1).T
        return corners @ self.pose[:3, :3].T + self.pose[:3, 3]

    def hides(self, eye: np.ndarray, points: np.ndarray) -> np.ndarray:
        """bool [N]: whether the line from ``eye`` to a point meets the box before the point (slab method, Kay and Kajiya 1986)."""
        rotation, offset = self._to_local[:3, :3], self._to_local[:3, 3]
        start = rotation @ eye + offset
        along = points @ rotation.T + offset - start
        along = np.where(np.abs(along) < 1e-9, 1e-9, along)
        first, second = (self.low - start) / along, (self.high - start) / along
        # Written out per axis: NumPy's reductions are slow over an axis of three.
        enter = np.maximum.reduce(list(np.minimum(first, second).T))
        leave = np.minimum.reduce(list(np.maximum(first, second).T))
        end = 1 - _HIDING_MARGIN_M / np.maximum(np.linalg.norm(along, axis=1), 1e-6)
        return (enter <= leave) & (leave > 0) & (enter < end)


def _occluders(store: Store) -> list[tuple[_Box, list[_Box]]]:
    """By gondola: a box around all, and its parts, which are the back panel, shelf boards and the goods on them."""
    groups = []
    for gondola in store.gondolas.values():
        parts = [_Box(gondola.pose, np.zeros(3), np.array([gondola.width, gondola.depth, gondola.height]))]
        for shelf in gondola.shelves.values():
            parts.append(_Box(shelf.pose, np.array([0, 0, -_BOARD_M]), np.array([shelf.width, shelf.depth, 0.0])))
            goods = np.array([shelf.width, shelf.depth, _FILLED_SHARE * shelf.height])
            parts.append(_Box(shelf.pose, np.array([0, min(_GOODS_FROM_FRONT_M, shelf.depth), 0.0]), goods))
        to_gondola = np.linalg.inv(gondola.pose)
        corners = np.vstack([part.corners for part in parts]) @ to_gondola[:3, :3].T + to_gondola[:3, 3]
        groups.append((_Box(gondola.pose, corners.min(axis=0) - 1e-6, corners.max(axis=0) + 1e-6), parts))
    return groups


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
    # Single precision is a fraction of a millimetre here, and half the work.
    along = (points - eye).astype(np.float32)
    squared = np.maximum((along * along).sum(axis=2), np.float32(1e-9))
    end = 1 - np.float32(_HIDING_MARGIN_M) / np.sqrt(squared)
    hidden = np.zeros(points.shape[:2], dtype=bool)
    for centres, radius in balls:
        offset = (centres - eye).astype(np.float32)
        towards = np.matmul(along, offset[:, :, None])[..., 0]
        share = np.minimum(np.maximum(towards / squared, 0), end)
        away = share * (share * squared - 2 * towards)
        away += (offset * offset).sum(axis=1)[:, None]
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
    view: _View,
    shoppers: Sequence[ShopperMotion],
    profile: CameraProfile,
    times: np.ndarray,
    noise_of: Callable[[str], _PersonNoise],
) -> list[list[_Detection]]:
    """Detections of people per frame."""
    frames: list[list[_Detection]] = [[] for _ in times]
    bodies = [_BodyInWindow(shopper, times) for shopper in shoppers]
    bodies = [body for body in bodies if len(body.rows)]
    for body in bodies:
        noise = noise_of(body.person).draw(len(body.rows))
        rows = view.may_show(body.places)
        if not rows.any():
            continue
        chosen = body.rows[rows]
        hiding = _Hiding(view.camera.position, body.places[rows], chosen, [other for other in bodies if other is not body])
        for row, detection in _seen(body.person, view, body.joints[rows], hiding, profile, noise.at(rows)):
            frames[chosen[row]].append(detection)
    return frames


class _BodyInWindow:
    """One person at the frames of a window in which he is there: ``rows`` [R] of the window, ``places`` [R, 2] m."""

    def __init__(self, shopper: ShopperMotion, times: np.ndarray) -> None:
        self.person = shopper.person
        self.rows = np.flatnonzero(shopper.present(times))
        self.places = shopper.position(times[self.rows])
        self._shopper, self._times = shopper, times[self.rows]

    @cached_property
    def joints(self) -> np.ndarray:
        """[R, 17, 3] m."""
        return self._shopper.keypoints(self._times)

    @cached_property
    def balls(self) -> list[tuple[np.ndarray, float]]:
        return _body_balls(self.joints)


class _Hiding:
    """Who of the others may stand between the camera and one person, and when."""

    def __init__(self, eye: np.ndarray, places: np.ndarray, rows: np.ndarray, others: Sequence[_BodyInWindow]) -> None:
        self._eye = eye
        #: (places in ``rows``, balls then) of each other who comes near the line of sight.
        self._near: list[tuple[np.ndarray, list[tuple[np.ndarray, float]]]] = []
        for other in others:
            _, own, theirs = np.intersect1d(rows, other.rows, assume_unique=True, return_indices=True)
            close = _near_sight(eye, places[own], other.places[theirs])
            if close.any():
                own, theirs = own[close], theirs[close]
                self._near.append((own, [(centres[theirs], radius) for centres, radius in other.balls]))

    def hidden(self, points: np.ndarray) -> np.ndarray:
        """bool [T, N] of points [T, N, 3]."""
        hidden = np.zeros(points.shape[:2], dtype=bool)
        for rows, balls in self._near:
            hidden[rows] |= _behind_balls(self._eye, points[rows], balls)
        return hidden


def _near_sight(eye: np.ndarray, places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool [T]: whether another's body may reach into the view of somebody at ``places``: he stands near the line of sight as seen
    from above, and not where it passes over his head."""
    sight, offset = places - eye[:2], others - eye[:2]
    squared = np.maximum((sight**2).sum(axis=1), 1e-6)
    share = np.clip((sight * offset).sum(axis=1) / squared, 0.0, 1.0)
    lowest_line = eye[2] * (1 - share - _WIDE_BODY_M / np.sqrt(squared))
    near = np.linalg.norm(offset - share[:, None] * sight, axis=1) < _BODIES_MEET_M
    return near & (lowest_line < _TALLEST_M)


class _PersonNoise:
    """Random numbers of one person in one camera: each a mixture of what lasts (see ``noise_memory_s``) and what is new in every frame."""

    def __init__(self, profile: CameraProfile, rate_hz: float, rng: np.random.Generator) -> None:
        self._memory = float(np.exp(-1 / (rate_hz * profile.noise_memory_s))) if profile.noise_memory_s > 0 else 0.0
        self._rng = rng
        self._last = self._memory * rng.standard_normal((1, 40))

    def draw(self, count: int) -> _NoiseRows:
        """Numbers for the next ``count`` frames."""
        memory = self._memory
        drive = self._rng.standard_normal((count, 40))
        lasting, self._last = signal.lfilter([np.sqrt(1 - memory**2)], [1, -memory], drive, axis=0, zi=self._last)
        fresh = self._rng.standard_normal((count, 40))
        return _NoiseRows(np.sqrt(0.6) * lasting + np.sqrt(0.4) * fresh, lasting[:, 38], self._rng.random((count, 20)))


@dataclass(frozen=True, eq=False)
class _NoiseRows:
    """``unit`` [T, 40] of deviation 1; ``luck`` [T] lasting, of deviation 1; ``uniform`` [T, 20]."""

    unit: np.ndarray
    luck: np.ndarray
    uniform: np.ndarray

    def at(self, rows: np.ndarray) -> _NoiseRows:
        return _NoiseRows(self.unit[rows], self.luck[rows], self.uniform[rows])


def _seen(
    person: str, view: _View, joints: np.ndarray, hiding: _Hiding, profile: CameraProfile, noise: _NoiseRows
) -> list[tuple[int, _Detection]]:
    """(row, detection) of one person over rows of joints [T, 17, 3]."""
    eye, camera = view.camera.position, view.camera
    outline, weights = _outline_points(joints, eye)
    pixels, _ = view.project(outline)
    everything = np.concatenate([outline, joints], axis=1)
    hidden = view.hidden_by_shelves(everything) | hiding.hidden(everything)
    hidden, hidden_joints = hidden[:, : outline.shape[1]], hidden[:, outline.shape[1] :]
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
    points = _keypoints(view, joints, hidden_joints, deviation, profile, noise)
    depth = view.camera.to_optical(joints[:, 11])[:, 2]
    return [
        (int(row), _Detection(boxes[row], float(scores[row]), points[row], float(depth[row]), person))
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


def _keypoints(
    view: _View, joints: np.ndarray, hidden: np.ndarray, deviation: np.ndarray, profile: CameraProfile, noise: _NoiseRows
) -> np.ndarray:
    """[T, 17, 3]: x, y, confidence; what is hidden is guessed with little confidence, what is outside the image is (0, 0, 0)."""
    eye = view.camera.position
    pixels, _ = view.project(joints)
    hidden = hidden | (_behind_balls(eye, joints, _trunk_balls(joints)) & ~np.isin(np.arange(17), [5, 6, 11, 12]))
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


def _haunts(store: Store, rng: np.random.Generator) -> np.ndarray:
    """Two places [2, 2] m at which false detections come again and again."""
    return rng.uniform(store.floor.min(axis=0) - 0.5, store.floor.max(axis=0) + 0.5, (2, 2))


def _false_detections(
    store: Store, view: _View, profile: CameraProfile, times: np.ndarray, rng: np.random.Generator, haunts: np.ndarray
) -> list[list[_Detection]]:
    """Per frame: people who are not there. Half of them appear again and again at two places of the image, as reflections do."""
    low, high = store.floor.min(axis=0) - 0.5, store.floor.max(axis=0) + 0.5
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
    a0, a1, a2, a3 = one.tolist()
    b0, b1, b2, b3 = other.tolist()
    width, height = min(a2, b2) - max(a0, b0), min(a3, b3) - max(a1, b1)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a2 - a0) * (a3 - a1) + (b2 - b0) * (b3 - b1) - shared)
