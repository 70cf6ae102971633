"""The tracker's innermost arithmetic, compiled (``src/*.cpp``): what takes hundreds of small NumPy calls for each time slot.

Functions write their results into arrays that they are given. All arrays are C-contiguous: float64, int64 for numbers of cameras and
persons, bool where said. Wrong types and sizes raise TypeError or ValueError, numbers of nobody IndexError. M detections, N persons.
The methods are described where they are used, in ``aisle_perception``.

``lenses(rows, columns, step_px, border_px, positions [C, 3], rotations [C, 3, 3], sizes [C, 2], focal_px [C], table)``
    a handle of C cameras for the functions below (``aisle_perception.lens_table``)
``directions(lenses, cameras [M], pixels [M, 2], ...)``
    rays of depth 1 in the store frame [M, 3], NaN where the lens model says nothing
``project(lenses, body [9], cameras [M], boxes [M, 4], keypoints [M, 17, 3], ...)``
    detections on the floor (``floor_projection``): positions [M, 2], covariances [M, 2, 2], valid bool [M] and the evidence, which is
    information [M, 3, 3], vector [M, 3], reach [M, 2], shares [M, 3]
``correct_bodies(huber, pose_share, least_stature_variance, means [N, 4], covariances [N, 4, 4], statures [N, 2], whose [M], ages [M],``
``information, vector, reach, shares)``
    changes means, covariances and statures (``body_updater``), by the three functions below; ArithmeticError for a singular covariance
``merged(information, vector, reach, shares, ...)``
    the same evidence with the sides averaged: information [M, 3, 3], vector [M, 3]
``settled_shares(expected information [N, 3, 3] and vector [N, 3], whose [M], information, vector, reach, shares)``
    changes the shares (``body_updater``)
``trust(places [N, 2, 2], means [N, 2], whose [M], positions [M, 2], spreads [M, 2, 2], ...)``
    weights [M] (``body_updater``)
``gate(limit, asked bool [N], free bool [M], cameras, camera_of [M], distances [N, M], gains [N, M], ...)``
    changes owner [M] and writes shared bool [N, M] (``association``); True if anything is shared
``innovations(means [N, 4], covariances [N, 4, 4], ages [M], positions [M, 2], spreads [M, 2, 2], ...)``
    squared distances [N, M] and log determinants [N, M] (``association``)
``fuse(means [N, 4], covariances [N, 4, 4], whose [M], positions [M, 2], ages [M], precisions [M, 2, 2])``
    changes means and covariances (``kalman``); ArithmeticError for a singular covariance
``predict(axes, dt_s, density, means [N, 2 * axes], covariances [N, 2 * axes, 2 * axes])``
    changes means and covariances (``kalman``)
``inside_polygon(polygon [K, 2], positions [M, 2], margins [M], ...)``
    inside bool [M] (``aisle_store.store``)
``hidden(radius, eyes [C, 2], positions [N, 2], ...)``
    hidden bool [C, N] (``view_coverage``)
``triangulate(deviation, means [B, 3], covariances [B, 3, 3], weights [B, K], angles [B, K], origins [B, K, 3], directions, ...)``
    points of the body [B, 3] m from up to K rays each, with covariances [B, 3, 3] (``body_points``); weights 0: no ray, 1: full trust
``update_points(lenses, config [5], stamp_ns, bodies [N, 2], means [3N, 6], covariances [3N, 6, 6], seen_ns [3N], cameras [M], whom [M],``
``ages [M], keypoints [M, 17, 3])``
    changes means, covariances and seen_ns (``body_points``); ``whom`` -1: nobody
"""

from aisle_kernels._compiled import (
    correct_bodies,
    directions,
    fuse,
    gate,
    hidden,
    innovations,
    inside_polygon,
    lenses,
    merged,
    predict,
    project,
    settled_shares,
    triangulate,
    trust,
    update_points,
)

__all__ = [
    "correct_bodies",
    "directions",
    "fuse",
    "gate",
    "hidden",
    "innovations",
    "inside_polygon",
    "lenses",
    "merged",
    "predict",
    "project",
    "settled_shares",
    "triangulate",
    "trust",
    "update_points",
]
