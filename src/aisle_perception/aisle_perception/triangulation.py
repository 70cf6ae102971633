"""Points of the body (head, wrists) in 3-D from the rays of several cameras.

Weighted least squares of the distances to the rays (Hartley & Zisserman, Multiple View Geometry, 12.2, in its ray form), repeated with
the weights of the true depths and Cauchy's robust weights: as distances to fixed rays are linear in the point, each round is a
Gauss-Newton step on the angular errors. A prior (where a head or wrist can be, given the body) makes the answer honest when one camera
alone sees the point: on the ray, uncertain along it.
"""

from __future__ import annotations

import numpy as np

from aisle_perception.small_matrices import inverse3

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
    prior = inverse3(prior_covariance)
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    # What a ray of weight 1 adds to the information (row by row) and to the vector: each round only weighs and adds these up.
    moments = np.concatenate([across.reshape(*weights.shape, 9), np.einsum("bkij,bkj->bki", across, origins)], axis=2)
    known = np.concatenate([prior.reshape(-1, 9), np.einsum("bij,bj->bi", prior, prior_mean)], axis=1)
    offset, robust = prior_mean[:, None] - origins, weights
    along = np.einsum("bki,bki->bk", offset, directions)
    for _ in range(_ROUNDS):
        variance = (angular_deviation * np.maximum(along, 0.1)) ** 2 + point_deviation**2
        total = known + ((robust / variance)[:, None] @ moments)[:, 0]
        covariance = inverse3(total[:, :9].reshape(-1, 3, 3))
        point = np.einsum("bij,bj->bi", covariance, total[:, 9:])
        offset = point[:, None] - origins
        along = np.einsum("bki,bki->bk", offset, directions)
        squared_distance = np.einsum("bki,bki->bk", offset, offset)
        squared_distance -= along**2
        squared_distance /= variance
        robust = weights / (1.0 + squared_distance / _CAUCHY**2)
    # Rays that miss one another by more than their deviations say: the whole estimate is worse by that much.
    count = np.count_nonzero(weights, axis=1)
    spare = np.maximum(2 * count - 3, 1)
    misfit = np.where(count > 1, (robust * squared_distance).sum(axis=1) / spare, 1.0)
    return point, covariance * np.maximum(misfit, 1.0)[:, None, None]
