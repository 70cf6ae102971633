"""Synthetic people for the tests: upright bodies at known places, seen by the cameras of a small room."""

from __future__ import annotations

import numpy as np

from aisle_contract.records import PersonDetections
from aisle_store.camera_model import Camera
from aisle_store.store import Gate, GateKind, Store

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
FLOOR = np.array([[0.0, 0.0], [6.0, 0.0], [6.0, 4.0], [0.0, 4.0]])
#: COCO-17 keypoints of a standing body: (sideways, forwards, share of the stature).
BODY = np.array(
    [
        (0.0, 0.09, 0.92),
        (0.03, 0.08, 0.935),
        (-0.03, 0.08, 0.935),
        (0.07, 0.0, 0.93),
        (-0.07, 0.0, 0.93),
        (0.18, 0.0, 0.815),
        (-0.18, 0.0, 0.815),
        (0.22, 0.0, 0.63),
        (-0.22, 0.0, 0.63),
        (0.23, 0.1, 0.48),
        (-0.23, 0.1, 0.48),
        (0.09, 0.0, 0.53),
        (-0.09, 0.0, 0.53),
        (0.09, 0.0, 0.285),
        (-0.09, 0.0, 0.285),
        (0.09, 0.0, 0.045),
        (-0.09, 0.0, 0.045),
    ]
)
#: Where a shoe ends around the ankle, m.
SHOE = np.array([(0.14, 0.0, 0.0), (-0.14, 0.0, 0.0), (0.0, 0.14, 0.0), (0.0, -0.14, 0.0)])


def look_at(name: str, position: tuple[float, float, float], target: tuple[float, float, float]) -> Camera:
    """A 640 x 480 camera with a little lens distortion."""
    forward = np.subtract(target, position)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([right, np.cross(forward, right), forward])
    pose[:3, 3] = position
    matrix = np.array([[400.0, 0.0, 320.0], [0.0, 400.0, 240.0], [0.0, 0.0, 1.0]])
    return Camera(name, 640, 480, matrix, np.array([-0.1, 0.01, 0.0, 0.0, 0.0]), pose)


def room(cameras: int = 4) -> Store:
    """A room of 6 m x 4 m with up to four cameras in its corners and a door in the wall x = 0."""
    corners = [(-0.3, -0.3, 2.6), (6.3, -0.3, 2.6), (6.3, 4.3, 2.6), (-0.3, 4.3, 2.6)]
    views = {str(i + 1): look_at(str(i + 1), corners[i], (3.0, 2.0, 0.8)) for i in range(cameras)}
    door = Gate("door", GateKind.BOTH, np.array([[0.0, 1.5], [0.0, 2.5]]))
    return Store("room", "EUR", FLOOR, {}, {}, views, {"door": door}, {}, {})


def body(place: np.ndarray, heading: float = 0.0, stature: float = 1.72) -> np.ndarray:
    """float64 [17, 3]: keypoints of a person at ``place`` who looks towards ``heading`` (rad)."""
    forwards, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    return np.column_stack([place + BODY[:, :1] * left + BODY[:, 1:2] * forwards, BODY[:, 2] * stature])


def seen_by(
    camera: Camera, bodies: list[np.ndarray], stamp_ns: int, rng: np.random.Generator, *, noise_px: float = 2.0, keypoints: bool = True
) -> PersonDetections:
    """What a good detector finds of ``bodies`` in one frame; those with fewer than five keypoints in view are not found."""
    boxes, points = [], []
    for joints in bodies:
        pixels, _ = camera.project(joints)
        pixels = pixels + rng.normal(0.0, noise_px, pixels.shape)
        inside = (
            np.isfinite(pixels).all(axis=1) & (pixels >= 0).all(axis=1) & (pixels[:, 0] < camera.width) & (pixels[:, 1] < camera.height)
        )
        if inside.sum() < 5:
            continue
        crown, _ = camera.project(joints[:1] * [1.0, 1.0, 1.08])
        shoes, _ = camera.project((joints[15:, None] * [1.0, 1.0, 0.0] + SHOE).reshape(-1, 3))
        outline = np.vstack([crown, shoes])
        edges = np.vstack([pixels[inside], np.clip(outline[np.isfinite(outline).all(axis=1)], 0, [camera.width - 1, camera.height - 1])])
        boxes.append([edges[:, 0].min() - 6, edges[:, 1].min(), edges[:, 0].max() + 6, edges[:, 1].max() + 6])
        points.append(np.column_stack([np.where(inside[:, None], pixels, 0.0), 0.9 * inside]))
    array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    array = np.clip(array, 0, [camera.width - 1, camera.height - 1, camera.width - 1, camera.height - 1]).astype(np.float32)
    return PersonDetections(
        stamp_ns,
        camera.camera,
        camera.width,
        camera.height,
        array,
        np.full(len(array), 0.9, dtype=np.float32),
        np.array(points, dtype=np.float32).reshape(-1, 17, 3) if keypoints else None,
    )
