"""Points of the body (head, wrists) in 3-D from the rays of several cameras.

Weighted least squares of the distances to the rays (Hartley & Zisserman, Multiple View Geometry, 12.2, in its ray form), repeated with
the weights of the true depths and Cauchy's robust weights: as distances to fixed rays are linear in the point, each round is a
Gauss-Newton step on the angular errors. A prior (where a head or wrist can be, given the body) makes the answer honest when one camera
alone sees the point: on the ray, uncertain along it.
"""

from __future__ import annotations

import numpy as np

_ROUNDS = 5
#: Scale of Cauchy's weights in standard deviations: a ray far off (a hand of somebody else, left taken for right) loses its say.
_CAUCHY = 2.0


def triangulate(
    origins: np.ndarray,
    directions: np.ndarray,
    angular_deviation: np.ndarray,
    weights: np.ndarray,
    prior_mean: np.ndarray,
    prior_covariance: np.ndarray,
    point_deviation: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions float64 [B, 3] m and covariances [B, 3, 3] m^2 of B points, each seen by up to K rays.

    ``origins`` [B, K, 3] m, unit ``directions`` [B, K, 3], ``angular_deviation`` [B, K] rad across the ray, ``weights`` [B, K] (0: no ray,
    1: full trust), ``prior_mean`` [B, 3], ``prior_covariance`` [B, 3, 3]. ``point_deviation`` m: how far the cameras' idea of the point
    differs from view to view (a wrist is no mathematical point).
    """
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    prior = np.linalg.inv(prior_covariance)
    pulled = np.einsum("bij,bj->bi", prior, prior_mean)
    point, robust = prior_mean, weights
    for _ in range(_ROUNDS):
        offset = point[:, None, :] - origins
        depth = np.maximum(np.einsum("bki,bki->bk", offset, directions), 0.1)
        variance = (angular_deviation * depth) ** 2 + point_deviation**2
        precision = (robust / variance)[..., None, None] * across
        information = prior + precision.sum(axis=1)
        vector = pulled + np.einsum("bkij,bkj->bi", precision, origins)
        covariance = np.linalg.inv(information)
        point = np.einsum("bij,bj->bi", covariance, vector)
        miss = np.einsum("bkij,bkj->bki", across, point[:, None, :] - origins)
        distance = np.linalg.norm(miss, axis=2) / np.sqrt(variance)
        robust = weights / (1.0 + (distance / _CAUCHY) ** 2)
    # Rays that miss one another by more than their deviations say: the whole estimate is worse by that much.
    count = np.count_nonzero(weights, axis=1)
    spare = np.maximum(2 * count - 3, 1)
    misfit = np.where(count > 1, (robust * distance**2).sum(axis=1) / spare, 1.0)
    return point, covariance * np.maximum(misfit, 1.0)[:, None, None]
