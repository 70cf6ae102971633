"""Points of the body (head, wrists) in 3-D from the rays of several cameras.

Weighted least squares of the distances to the rays (Hartley & Zisserman, Multiple View Geometry, 12.2, in its ray form), repeated with
the weights of the true depths and Cauchy's robust weights: as distances to fixed rays are linear in the point, each round is a
Gauss-Newton step on the angular errors. A prior (where a head or wrist can be, given the body) makes the answer honest when one camera
alone sees the point: on the ray, uncertain along it.
"""

from __future__ import annotations

import numpy as np

import aisle_kernels


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
    points, covariances = np.empty(prior_mean.shape), np.empty(prior_covariance.shape)
    aisle_kernels.triangulate(
        point_deviation, prior_mean, prior_covariance, weights, angular_deviation, origins, directions, points, covariances
    )
    return points, covariances
