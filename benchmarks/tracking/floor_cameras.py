"""What tracking on the floor costs: halls with 4 to 100 simulated cameras at 10 Hz, detections with keypoints given."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from aisle_contract.records import NANOSECONDS, PersonDetections
from aisle_perception.tracker import PersonTracker
from aisle_sim import body
from aisle_store.camera_model import Camera
from aisle_store.store import Store

#: People in a hall with so many cameras.
HALLS = {4: 4, 12: 10, 40: 25, 100: 50}
SECONDS, RATE_HZ = 4.0, 10.0
_START_NS = 1_700_000_000 * NANOSECONDS
_SPACING_M, _HEIGHT_M, _FARTHEST_M = 3.0, 2.8, 9.0
_STATURE_M, _MARGIN_PX, _NOISE_PX, _MISSES = 1.72, 6.0, 2.0, 0.05


def measure(cameras: int, people: int, advance: Callable[[int], object]) -> dict[str, float]:
    """``step_ms`` per time slot of all cameras (mean, 95th percentile) and ``core_share``, the share of one processor core that takes."""
    store = hall(cameras)
    slots = detections(store, people, seed=cameras)
    tracker = PersonTracker(store)
    taken = []
    for slot in slots:
        began = time.perf_counter()
        for record in slot:
            tracker.step(record)
        taken.append(time.perf_counter() - began)
        advance(1)
    steady = np.array(taken[len(taken) // 4 :])
    return {
        "people": people,
        "detections_per_step": sum(len(record.boxes) for slot in slots for record in slot) / len(slots),
        "step_ms": 1e3 * float(steady.mean()),
        "step_ms_95": 1e3 * float(np.quantile(steady, 0.95)),
        "core_share": float(steady.mean()) * RATE_HZ,
    }


def hall(cameras: int) -> Store:
    """A hall with cameras on a grid under its ceiling, looking down to all sides in turn."""
    columns = int(np.ceil(np.sqrt(cameras)))
    rows = int(np.ceil(cameras / columns))
    size = _SPACING_M * np.array([columns, rows])
    views = {}
    for number in range(cameras):
        place = _SPACING_M * (np.array([number % columns, number // columns]) + 0.5)
        angle = 0.5 * np.pi * number + 0.25 * np.pi
        views[f"{number + 1}"] = _camera(f"{number + 1}", place, angle)
    floor = np.array([[0.0, 0.0], [size[0], 0.0], size, [0.0, size[1]]])
    return Store("hall", "EUR", floor, {}, {}, views, {}, {}, {})


def detections(store: Store, people: int, seed: int) -> list[list[PersonDetections]]:
    """Per time slot one record of each camera."""
    rng = np.random.default_rng(seed)
    bodies = _walks(store, people, rng)
    return [
        [_seen(camera, joints, _START_NS + round(slot * NANOSECONDS / RATE_HZ), rng) for camera in store.cameras.values()]
        for slot, joints in enumerate(bodies)
    ]


def _camera(name: str, place: np.ndarray, angle: float) -> Camera:
    forward = np.array([np.cos(angle), np.sin(angle), -0.8])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = *place, _HEIGHT_M
    matrix = np.array([[345.0, 0.0, 320.0], [0.0, 345.0, 180.0], [0.0, 0.0, 1.0]])
    return Camera(name, 640, 360, matrix, np.zeros(5), pose)


def _walks(store: Store, people: int, rng: np.random.Generator) -> np.ndarray:
    """float64 [T, people, 17, 3]: everybody walks straight on and turns back at the walls."""
    slots = round(SECONDS * RATE_HZ)
    size = store.floor.max(axis=0)
    velocity = rng.normal(0.0, 0.7, (people, 2))
    way = rng.uniform(0.0, 1.0, (people, 2)) * size + np.arange(slots)[:, None, None] / RATE_HZ * velocity
    places = size - np.abs(way % (2.0 * size) - size)
    joints = []
    for person in range(people):
        still = np.zeros(slots)
        heading = np.full(slots, np.arctan2(*velocity[person, ::-1]))
        speed = np.full(slots, np.linalg.norm(velocity[person]))
        posture = body.Posture(places[:, person], heading, still, still, speed * np.arange(slots) / RATE_HZ, speed)
        joints.append(body.keypoints(posture, _STATURE_M, *body.hanging_wrists(posture, _STATURE_M)))
    return np.stack(joints, axis=1)


def _seen(camera: Camera, joints: np.ndarray, stamp_ns: int, rng: np.random.Generator) -> PersonDetections:
    """Everybody near enough with most of the body in the image, but for a few misses."""
    pixels, depth = camera.project(joints.reshape(-1, 3))
    pixels, depth = pixels.reshape(*joints.shape[:2], 2), depth.reshape(joints.shape[:2])
    inside = (depth > 0.3) & (pixels >= 0.0).all(axis=2) & (pixels < [camera.width, camera.height]).all(axis=2)
    chosen = (inside.sum(axis=1) >= 9) & (depth.mean(axis=1) < _FARTHEST_M) & (rng.random(len(joints)) >= _MISSES)
    pixels, inside = pixels[chosen] + rng.normal(0.0, _NOISE_PX, (chosen.sum(), 17, 2)), inside[chosen]
    low = np.where(inside[..., None], pixels, np.inf).min(axis=1) - _MARGIN_PX
    high = np.where(inside[..., None], pixels, -np.inf).max(axis=1) + _MARGIN_PX
    boxes = np.clip(np.hstack([low, high]), 0.0, np.tile([camera.width - 1.0, camera.height - 1.0], 2)).astype(np.float32)
    keypoints = np.concatenate([np.where(inside[..., None], pixels, 0.0), 0.9 * inside[..., None]], axis=2).astype(np.float32)
    scores = np.full(len(boxes), 0.9, dtype=np.float32)
    return PersonDetections(stamp_ns, camera.camera, camera.width, camera.height, boxes.reshape(-1, 4), scores, keypoints)
