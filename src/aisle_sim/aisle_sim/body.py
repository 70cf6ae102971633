"""A person's body as COCO-17 keypoints in 3-D: upright, walking, bent or squatting, with arms that reach by two-link kinematics.

Segment lengths are shares of stature after Drillis and Contini (1966), as tabulated by Winter, "Biomechanics and Motor Control of
Human Movement", 4th ed., fig. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Shares of stature.
HIP_HEIGHT = 0.530
KNEE_HEIGHT = 0.285
ANKLE_HEIGHT = 0.039
TRUNK = 0.288
SHOULDER_HALF_WIDTH = 0.105
HIP_HALF_WIDTH = 0.055
UPPER_ARM = 0.186
FOREARM = 0.160
HEAD_ABOVE_SHOULDERS = 0.115
#: Deepest squat lowers the hips by this share of stature.
DEEPEST_SQUAT = 0.30
LARGEST_LEAN_RAD = np.radians(75.0)
_ARM_STRETCH = 0.98
_STRIDE_M = 1.4


@dataclass(frozen=True)
class Posture:
    """How a body stands over time, all arrays [T]: floor position (m) [T, 2], heading (rad), squat 0..1, forward lean (rad),
    metres walked so far and speed (m/s), which drive the gait."""

    position: np.ndarray
    heading: np.ndarray
    squat: np.ndarray
    lean: np.ndarray
    walked: np.ndarray
    speed: np.ndarray


def shoulder_reach(stature: float) -> float:
    """Metres from shoulder to wrist with a stretched arm."""
    return _ARM_STRETCH * stature * (UPPER_ARM + FOREARM)


def frame_of(heading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors [T, 3] forward and to the left of headings [T]."""
    zero = np.zeros_like(heading)
    forward = np.stack([np.cos(heading), np.sin(heading), zero], axis=-1)
    left = np.stack([-np.sin(heading), np.cos(heading), zero], axis=-1)
    return forward, left


def shoulders(posture: Posture, stature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle of the hips, left and right shoulder, each [T, 3]."""
    forward, left = frame_of(posture.heading)
    up = np.array([0.0, 0.0, 1.0])
    hips = np.column_stack([posture.position, stature * (HIP_HEIGHT - DEEPEST_SQUAT * posture.squat)])
    # A squatting or bending body moves its hips back to keep its balance over the feet.
    hips = hips - forward * (0.10 * posture.squat + 0.12 * np.sin(posture.lean))[:, None]
    trunk = np.sin(posture.lean)[:, None] * forward + np.cos(posture.lean)[:, None] * up
    neck = hips + stature * TRUNK * trunk
    return hips, neck + stature * SHOULDER_HALF_WIDTH * left, neck - stature * SHOULDER_HALF_WIDTH * left


def hanging_wrists(posture: Posture, stature: float) -> tuple[np.ndarray, np.ndarray]:
    """Left and right wrist [T, 3] of arms that hang, slightly bent, and swing with the gait."""
    forward, left = frame_of(posture.heading)
    _, left_shoulder, right_shoulder = shoulders(posture, stature)
    swing = 0.18 * np.clip(posture.speed, 0, 1.5) * np.sin(2 * np.pi * posture.walked / _STRIDE_M)
    down = np.array([0.0, 0.0, -stature * (UPPER_ARM + 0.9 * FOREARM)])
    ahead = 0.08 + 0.10 * np.sin(posture.lean)
    return (
        left_shoulder + down + forward * (ahead + swing)[:, None] + 0.04 * left,
        right_shoulder + down + forward * (ahead - swing)[:, None] - 0.04 * left,
    )


def keypoints(posture: Posture, stature: float, left_wrist: np.ndarray, right_wrist: np.ndarray) -> np.ndarray:
    """COCO-17 keypoints float64 [T, 17, 3] in the store frame for given wrists [T, 3]."""
    forward, left = frame_of(posture.heading)
    up = np.broadcast_to([0.0, 0.0, 1.0], forward.shape)
    hips, left_shoulder, right_shoulder = shoulders(posture, stature)
    neck = (left_shoulder + right_shoulder) / 2
    # The head stays more upright than the trunk.
    tilt = 0.6 * posture.lean[:, None]
    head_up, head_forward = np.cos(tilt) * up + np.sin(tilt) * forward, np.cos(tilt) * forward - np.sin(tilt) * up
    head = neck + stature * HEAD_ABOVE_SHOULDERS * head_up
    points = np.empty((len(forward), 17, 3))
    points[:, 0] = head + 0.10 * head_forward - 0.01 * head_up
    points[:, 1], points[:, 2] = (head + 0.08 * head_forward + side * 0.032 * left + 0.025 * head_up for side in (1, -1))
    points[:, 3], points[:, 4] = (head + side * 0.075 * left for side in (1, -1))
    points[:, 5], points[:, 6] = left_shoulder, right_shoulder
    points[:, 7] = _elbow(left_shoulder, left_wrist, left, stature)
    points[:, 8] = _elbow(right_shoulder, right_wrist, -left, stature)
    points[:, 9], points[:, 10] = left_wrist, right_wrist
    points[:, 11], points[:, 12] = (hips + side * stature * HIP_HALF_WIDTH * left for side in (1, -1))
    phase = 2 * np.pi * posture.walked / _STRIDE_M
    step = 0.22 * np.clip(posture.speed, 0, 1.5)
    for side, knee, ankle in ((1, 13, 15), (-1, 14, 16)):
        stride = (-side * step * np.sin(phase))[:, None]
        foot = np.column_stack([posture.position, np.full(len(forward), stature * ANKLE_HEIGHT)])
        points[:, ankle] = foot + side * 0.09 * left + stride * forward
        hip = points[:, 11 if side == 1 else 12]
        bent = 0.03 + 0.30 * posture.squat[:, None]
        points[:, knee] = (hip + points[:, ankle]) / 2 + bent * forward
    return points


def _elbow(shoulder: np.ndarray, wrist: np.ndarray, outward: np.ndarray, stature: float) -> np.ndarray:
    """Elbow [T, 3] of a two-link arm, bent down and outward; on the straight line where the wrist is out of reach."""
    upper, fore = stature * UPPER_ARM, stature * FOREARM
    arm = wrist - shoulder
    length = np.maximum(np.linalg.norm(arm, axis=1, keepdims=True), 1e-6)
    direction = arm / length
    along = np.clip((upper**2 - fore**2 + length**2) / (2 * length), -upper, length * upper / (upper + fore) + upper)
    along = np.where(length >= upper + fore, length * upper / (upper + fore), along)
    off = np.sqrt(np.maximum(upper**2 - along**2, 0.0)) * (length < upper + fore)
    bend = 0.4 * outward - np.array([0.0, 0.0, 1.0])
    bend = bend - (bend * direction).sum(axis=1, keepdims=True) * direction
    bend = bend / np.maximum(np.linalg.norm(bend, axis=1, keepdims=True), 1e-6)
    return shoulder + along * direction + off * bend


def bend_to_reach(position: np.ndarray, heading: float, stature: float, target: np.ndarray, left_hand: bool) -> tuple[float, float]:
    """Least squat (0..1) and lean (rad) with which a wrist gets to ``target`` [3] from ``position`` [2]; the nearest ones if none does."""
    squat, lean = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, LARGEST_LEAN_RAD, 16), indexing="ij"))
    many = Posture(
        position=np.tile(position, (len(squat), 1)),
        heading=np.full(len(squat), heading),
        squat=squat,
        lean=lean,
        walked=np.zeros(len(squat)),
        speed=np.zeros(len(squat)),
    )
    _, left_shoulder, right_shoulder = shoulders(many, stature)
    gap = np.linalg.norm((left_shoulder if left_hand else right_shoulder) - target, axis=1) - shoulder_reach(stature)
    effort = squat**2 + (lean / LARGEST_LEAN_RAD) ** 2
    best = int(np.argmin(effort + 100 * np.maximum(gap, 0)))
    return float(squat[best]), float(lean[best])
