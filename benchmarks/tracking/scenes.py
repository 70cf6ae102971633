"""Synthetic boxes for tracking: people of different size who cross an image on wandering paths, seen with misses and false detections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RATE_HZ = 25.0
IMAGE = np.array([1920.0, 1080.0])


@dataclass(frozen=True)
class Disturbance:
    """How bad the detector is: share of misses, false detections per true one, standard deviation as a share of the box height."""

    misses: float = 0.08
    false: float = 0.05
    deviation: float = 0.03


@dataclass(frozen=True, eq=False)
class Scene:
    """Per frame the true ``ids`` [N] and ``truth`` [N, 4], the detected ``boxes`` [M, 4] (left, top, right, bottom) and ``scores`` [M]."""

    ids: list[np.ndarray]
    truth: list[np.ndarray]
    boxes: list[np.ndarray]
    scores: list[np.ndarray]


def crossing_people(people: int, frames: int, seed: int = 0, disturbance: Disturbance | None = None) -> Scene:
    """The area per person is the same whatever their number: the image grows with them."""
    disturbance = Disturbance() if disturbance is None else disturbance
    rng = np.random.default_rng(seed)
    size = IMAGE * np.sqrt(people / 20.0)
    height = rng.uniform(120.0, 240.0, people)
    sides = np.column_stack([0.4 * height, height])
    place = rng.uniform(0.0, 1.0, (people, 2)) * (size - sides)
    angle = rng.uniform(0.0, 2.0 * np.pi, people)
    # Walking: 1.2 m/s of a stature of 1.7 m.
    velocity = 0.7 * height[:, None] * np.column_stack([np.cos(angle), 0.3 * np.sin(angle)])
    scene = Scene([], [], [], [])
    for _ in range(frames):
        velocity += rng.normal(0.0, 0.4, (people, 2)) * height[:, None] / RATE_HZ
        place = place + velocity / RATE_HZ
        outside = (place < 0.0) | (place > size - sides)
        velocity = np.where(outside, np.sign((size - sides) / 2 - place) * np.abs(velocity), velocity)
        truth = np.hstack([place, place + sides])
        seen = (rng.random(people) >= disturbance.misses) & ~_hidden(truth, disturbance)
        noisy = truth[seen] + rng.normal(0.0, disturbance.deviation, (seen.sum(), 4)) * height[seen, None]
        false = _false_boxes(rng, rng.poisson(disturbance.false * people), size)
        scores = np.concatenate([rng.beta(12.0, 1.5, seen.sum()), rng.beta(4.0, 3.0, len(false))])
        order = rng.permutation(len(scores))
        scene.ids.append(np.arange(1, people + 1))
        scene.truth.append(truth)
        scene.boxes.append(np.vstack([noisy, false])[order])
        scene.scores.append(scores[order])
    return scene


def _hidden(truth: np.ndarray, disturbance: Disturbance) -> np.ndarray:
    """Who is mostly covered by somebody nearer, that is whose feet are lower in the image; nobody is where nothing is missed."""
    if disturbance.misses == 0.0:
        return np.zeros(len(truth), dtype=bool)
    shared = np.minimum(truth[:, None, 2:], truth[None, :, 2:]) - np.maximum(truth[:, None, :2], truth[None, :, :2])
    covered = np.clip(shared, 0.0, None).prod(axis=2) / (truth[:, 2:] - truth[:, :2]).prod(axis=1)[:, None]
    nearer = truth[None, :, 3] > truth[:, None, 3]
    return (covered * nearer).max(axis=1) > 0.6


def _false_boxes(rng: np.random.Generator, count: int, size: np.ndarray) -> np.ndarray:
    height = rng.uniform(100.0, 260.0, count)
    sides = np.column_stack([0.4 * height, height])
    corner = rng.uniform(0.0, 1.0, (count, 2)) * (size - sides)
    return np.hstack([corner, corner + sides])
