"""Head and wrists of tracked persons: triangulated from the cameras that see them, then filtered in 3-D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, BodyPoint
from aisle_perception import kalman
from aisle_perception.small_matrices import inverse3
from aisle_perception.triangulation import triangulate

#: The points in the order used throughout: head, left wrist, right wrist, with their COCO keypoints (the first group that is seen counts).
POINTS = ("head", "left_wrist", "right_wrist")
_KEYPOINTS = (((3, 4), (1, 2), (0, 3, 4)), ((9,),), ((10,),))
#: The same as one list of groups [G, P], filled up with any where a group has fewer; which of them it has; the groups of each point.
_GROUPS = [group for groups in _KEYPOINTS for group in groups]
_GROUP_HAS = np.arange(max(len(group) for group in _GROUPS)) < np.array([[len(group)] for group in _GROUPS])
_GROUP_KEYPOINTS = np.zeros(_GROUP_HAS.shape, dtype=int)
_GROUP_KEYPOINTS[_GROUP_HAS] = [keypoint for group in _GROUPS for keypoint in group]
_POINT_HAS = np.repeat(np.eye(len(POINTS), dtype=bool), [len(groups) for groups in _KEYPOINTS], axis=1)
#: Where a point may be, given the body: height (lowest, highest) and greatest distance from the body's axis, m.
_LOWEST, _HIGHEST, _FARTHEST = np.array([(0.9, 2.1, 0.6), (0.0, 2.2, 0.9), (0.0, 2.2, 0.9)]).T
#: Prior given the body alone: height, m, and covariance with a horizontal and a vertical deviation.
_PRIOR_HEIGHT = np.array([1.57, 1.1, 1.1])
_PRIOR_COVARIANCE = np.array([np.diag([0.2, 0.2, 0.25]), np.diag([0.3, 0.3, 0.35]), np.diag([0.3, 0.3, 0.35])]) ** 2

#: Time constant with which an unseen point comes to rest: hands slow down where they vanish into a shelf.
_REST_S = 0.1
#: Shares of the state in its covariance intersection with what the body says.
_INTERSECTION_WEIGHTS = (1.0, 0.9, 0.75, 0.6, 0.45, 0.3)
#: As in ``floor_projection``: deviations grow as confidence falls below the first value, at most by the second as factor.
_CONFIDENT, _GREATEST_DOUBT = 0.7, 3.0


@dataclass(frozen=True)
class BodyPointConfig:
    """How head and wrists are followed."""

    keypoint_threshold: float = parameter(0.3, "Keypoints below this confidence count as not seen", 0.01, 1.0)
    keypoint_deviation_px: float = parameter(4.0, "Standard deviation of a confident keypoint, px", 0.5, 50.0)
    point_deviation: float = parameter(0.05, "How far the cameras' idea of the same point of the body differs, m", 0.0, 0.2)
    point_acceleration_density: float = parameter(10.0, "Spectral density of a wrist's acceleration, m^2/s^3", 0.01, 1000.0)
    point_memory_s: float = parameter(0.3, "A point not seen for longer is unknown, s", 0.0, 5.0)
    point_gate: float = parameter(16.0, "Squared Mahalanobis distance beyond which a new place of a point is doubted", 1.0, 100.0)


@dataclass(eq=False)
class PointState:
    """Filtered points of one person: ``means`` float64 [3, 6], ``covariances`` [3, 6, 6], ``seen_ns`` int64 [3] (-1: unknown)."""

    means: np.ndarray
    covariances: np.ndarray
    seen_ns: np.ndarray

    @classmethod
    def unknown(cls) -> PointState:
        return cls(np.zeros((3, 6)), np.tile(np.eye(6), (3, 1, 1)), np.full(3, -1, dtype=np.int64))

    def at(self, stamp_ns: int, memory_s: float) -> list[BodyPoint | None]:
        """Head, left and right wrist as far as known at ``stamp_ns``."""
        fresh = [seen_ns >= 0 and stamp_ns - seen_ns <= memory_s * NANOSECONDS for seen_ns in self.seen_ns.tolist()]
        return [BodyPoint(self.means[i, :3].copy(), self.covariances[i, :3, :3].copy()) if fresh[i] else None for i in range(len(POINTS))]


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays of the points of N persons by camera: ``origins`` m and unit ``directions`` float64 [N, 3, C, 3], ``angular_deviation`` rad
    and ``weights`` (0: not seen) [N, 3, C]."""

    origins: np.ndarray
    directions: np.ndarray
    angular_deviation: np.ndarray
    weights: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, int, int]) -> Rays:
        """Rays that say nothing."""
        return cls(np.zeros((*shape, 3)), np.broadcast_to([0.0, 0.0, 1.0], (*shape, 3)).copy(), np.ones(shape), np.zeros(shape))

    def of(self, chosen: np.ndarray | slice) -> tuple[np.ndarray, ...]:
        """Origins, directions, angular deviations and weights of the ``chosen`` of the 3N points, as ``triangulate`` takes them."""
        cameras = self.weights.shape[2]
        return (
            self.origins.reshape(-1, cameras, 3)[chosen],
            self.directions.reshape(-1, cameras, 3)[chosen],
            self.angular_deviation.reshape(-1, cameras)[chosen],
            self.weights.reshape(-1, cameras)[chosen],
        )


def pixel_deviation(config: BodyPointConfig, confidence: np.ndarray) -> np.ndarray:
    """Standard deviation in px of keypoints by their confidence: what a detector guesses behind an obstacle is far off."""
    return config.keypoint_deviation_px * np.clip(_CONFIDENT / np.maximum(confidence, 1e-9), 1.0, _GREATEST_DOUBT)


def point_pixels(keypoints: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [N, 3, 2] of head, left and right wrist, and confidences [N, 3] (0: not seen), from COCO ``keypoints`` [N, 17, 3]."""
    chosen = keypoints[:, _GROUP_KEYPOINTS]
    found = ((chosen[..., 2] >= threshold) | ~_GROUP_HAS).all(axis=2)[:, None] & _POINT_HAS
    means = (chosen * _GROUP_HAS[..., None]).sum(axis=2) / np.count_nonzero(_GROUP_HAS, axis=1)[:, None]
    first = np.take_along_axis(means, found.argmax(axis=2)[..., None], axis=1) * found.any(axis=2)[..., None]
    return first[..., :2], first[..., 2]


class BodyPointFilter:
    """Follows the points of all persons at once."""

    def __init__(self, config: BodyPointConfig) -> None:
        self._config = config

    def predict(self, states: list[PointState], dt_s: float, from_ns: int) -> None:
        """Moves the points ``dt_s`` seconds ahead of the slot at ``from_ns``. What was not seen there is thought to come to rest."""
        if not states or dt_s <= 0.0:
            return
        means = np.concatenate([s.means for s in states])
        unseen = np.concatenate([s.seen_ns for s in states]) < from_ns
        means[unseen, 3:] *= np.exp(-dt_s / _REST_S)
        transition, noise = kalman.constant_velocity(dt_s, 3, self._config.point_acceleration_density)
        self._store(states, *kalman.predict(means, np.concatenate([s.covariances for s in states]), transition, noise))

    def update(self, states: list[PointState], bodies: np.ndarray, rays: Rays, stamp_ns: int) -> None:
        """Corrects the points with this slot's rays. ``bodies`` [N, 2]: where the persons stand."""
        if not states:
            return
        measured, spread, usable, crossed = self._triangulated(bodies, rays)
        means = np.concatenate([s.means for s in states])
        covariances = np.concatenate([s.covariances for s in states])
        seen_ns = np.concatenate([s.seen_ns for s in states])
        fresh = (seen_ns >= 0) & (stamp_ns - seen_ns <= self._config.point_memory_s * NANOSECONDS)
        off = measured - means[:, :3]
        distance = np.einsum("ki,kij,kj->k", off, inverse3(covariances[:, :3, :3] + spread), off)
        begun = usable & ~fresh
        # A hand may turn faster than the model expects: what several cameras agree on is believed, a single ray is not.
        sudden = distance > self._config.point_gate
        doubted = sudden & crossed
        covariances[doubted] *= (distance[doubted] / self._config.point_gate)[:, None, None]
        followed = usable & fresh & (crossed | ~sudden)
        if followed.any():
            prior, prior_spread = _body_prior(bodies)
            means[followed], covariances[followed] = self._corrected(
                means[followed], covariances[followed], rays.of(followed), prior[followed], prior_spread[followed]
            )
        if begun.any():
            means[begun] = np.hstack([measured[begun], np.zeros((int(begun.sum()), 3))])
            covariances[begun] = 0.0
            covariances[begun, :3, :3] = spread[begun]
            covariances[begun, 3:, 3:] = np.eye(3)
        seen_ns[begun | followed] = stamp_ns
        seen_ns[~_plausible(means[:, :3], bodies)] = -1
        self._store(states, means, covariances)
        for number, state in enumerate(states):
            state.seen_ns = seen_ns[3 * number : 3 * number + 3]

    def _triangulated(self, bodies: np.ndarray, rays: Rays) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Positions [3N, 3], covariances [3N, 3, 3], whether there is a plausible one and whether several rays made it, bool [3N]. Of
        points that nobody sees it gives what the bodies say."""
        points, spread = _body_prior(bodies)
        rays_used = np.count_nonzero(rays.weights, axis=2).ravel()
        seen = rays_used > 0
        points[seen], spread[seen] = triangulate(*rays.of(seen), points[seen], spread[seen], self._config.point_deviation)
        return points, spread, _plausible(points, bodies) & seen, rays_used > 1

    def _corrected(
        self, means: np.ndarray, covariances: np.ndarray, rays: tuple[np.ndarray, ...], body: np.ndarray, body_spread: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """States [K, 6] corrected by their rays. Where one camera alone sees a point, its depth must not wander off along the ray: the
        state is held to the body by covariance intersection (Julier, Uhlmann, A Non-divergent Estimation Algorithm in the Presence of
        Unknown Correlations, 1997), because what the body says has been said in the slots before."""
        alone = np.count_nonzero(rays[3], axis=1) == 1
        place, spread = means[:, :3].copy(), covariances[:, :3, :3].copy()
        if alone.any():
            place[alone], spread[alone] = _intersected(place[alone], spread[alone], body[alone], body_spread[alone])
        point, remaining = triangulate(*rays, place, spread, self._config.point_deviation)
        # The rest of the state follows through its correlation with the position.
        before = covariances[:, :3, :3]
        follow = covariances[:, :, :3] @ inverse3(before)
        corrected = means + np.einsum("kij,kj->ki", follow, point - means[:, :3])
        return corrected, covariances + follow @ (remaining - before) @ np.swapaxes(follow, -1, -2)

    @staticmethod
    def _store(states: list[PointState], means: np.ndarray, covariances: np.ndarray) -> None:
        for number, state in enumerate(states):
            state.means, state.covariances = means[3 * number : 3 * number + 3], covariances[3 * number : 3 * number + 3]


def _body_prior(bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means [3N, 3] and covariances [3N, 3, 3] of the points, given where the bodies [N, 2] stand."""
    means = np.empty((len(bodies), len(POINTS), 3))
    means[..., :2], means[..., 2] = bodies[:, None], _PRIOR_HEIGHT
    return means.reshape(-1, 3), np.concatenate([_PRIOR_COVARIANCE] * len(bodies))


def _intersected(
    first: np.ndarray, first_spread: np.ndarray, second: np.ndarray, second_spread: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Covariance intersection of estimates [K, 3] of which nobody knows how far they depend on one another; weights of least trace."""
    weights = np.array(_INTERSECTION_WEIGHTS)[:, None, None, None]
    one, other = inverse3(first_spread), inverse3(second_spread)
    spreads = inverse3(weights * one + (1.0 - weights) * other)
    best = np.trace(spreads, axis1=2, axis2=3).argmin(axis=0)
    row, weight = np.arange(len(first)), weights[best, 0, 0]
    spread = spreads[best, row]
    pulled = weight * np.einsum("kij,kj->ki", one, first) + (1.0 - weight) * np.einsum("kij,kj->ki", other, second)
    return np.einsum("kij,kj->ki", spread, pulled), spread


def _plausible(points: np.ndarray, bodies: np.ndarray) -> np.ndarray:
    """bool [3N]: whether ``points`` [3N, 3] can be the heads and wrists of ``bodies`` [N, 2]."""
    places = points.reshape(len(bodies), len(POINTS), 3)
    away = np.hypot(places[..., 0] - bodies[:, :1], places[..., 1] - bodies[:, 1:])
    return ((places[..., 2] >= _LOWEST) & (places[..., 2] <= _HIGHEST) & (away <= _FARTHEST)).ravel()
