"""The store's fixed coordinate frames: store -> gondolas -> shelves, store -> cameras -> optical frames, store -> gates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from aisle_contract import frames
from aisle_store.store import Gate, Store

#: Axes of a camera's body (x forward, y left, z up) in its optical frame (z forward, x right, y down), as columns: REP 103.
BODY_IN_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, eq=False)
class FixedTransform:
    """Pose of ``child`` in ``parent``: ``translation`` float64 [3] m, ``rotation`` float64 [4] quaternion (x, y, z, w)."""

    parent: str
    child: str
    translation: np.ndarray
    rotation: np.ndarray


def fixed_transforms(store: Store) -> list[FixedTransform]:
    """All transforms of a store, parents before children."""
    tree = []
    for gondola in store.gondolas.values():
        tree.append(_transform(frames.STORE, frames.gondola(gondola.gondola), gondola.pose))
        for shelf in gondola.shelves.values():
            relative = np.linalg.inv(gondola.pose) @ shelf.pose
            tree.append(_transform(frames.gondola(gondola.gondola), frames.shelf(gondola.gondola, shelf.shelf), relative))
    body_in_optical = np.eye(4)
    body_in_optical[:3, :3] = BODY_IN_OPTICAL
    for camera in store.cameras.values():
        tree.append(_transform(frames.STORE, frames.camera(camera.camera), camera.pose @ body_in_optical))
        tree.append(_transform(frames.camera(camera.camera), frames.camera_optical(camera.camera), body_in_optical.T))
    tree += [_transform(frames.STORE, frames.gate(gate.gate), _gate_pose(gate)) for gate in store.gates.values()]
    return tree


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(x, y, z, w) of a rotation matrix [3, 3]."""
    return Rotation.from_matrix(rotation).as_quat()


def _transform(parent: str, child: str, pose: np.ndarray) -> FixedTransform:
    return FixedTransform(parent, child, pose[:3, 3], quaternion(pose[:3, :3]))


def _gate_pose(gate: Gate) -> np.ndarray:
    """Origin in the middle of the gate on the floor, x along it, z up."""
    x, y = gate.ends[1] - gate.ends[0]
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", np.arctan2(y, x)).as_matrix()
    pose[:2, 3] = gate.centre
    return pose
