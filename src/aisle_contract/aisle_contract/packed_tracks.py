"""``Tracks`` as one array of numbers, as the tracker has them; pickled person by person they cost more than tracking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aisle_contract.records import BodyPoint, Track, Tracks

#: Where in a row: position 2, velocity 2, covariance 4 x 4, then for each point whether it is known, its position 3, its covariance 3 x 3.
_POSITION, _VELOCITY, _COVARIANCE, _POINTS = slice(0, 2), slice(2, 4), slice(4, 20), 20
_POINT_SIZE, _POINT_NAMES = 13, ("head", "left_wrist", "right_wrist")
ROW_SIZE = _POINTS + _POINT_SIZE * len(_POINT_NAMES)


class PackedTracks(NamedTuple):
    """``people``: track id, existence, unseen_s; ``rows`` float64 [people, ROW_SIZE]; points that are not known are zero."""

    stamp_ns: int
    people: list[tuple[str, float, float]]
    rows: np.ndarray


def unpacked(packed_tracks: PackedTracks) -> Tracks:
    """As records. The arrays of one person share memory with those of the others."""
    stamp_ns, people, rows = packed_tracks
    parts = rows[:, _POINTS:].reshape(-1, _POINT_SIZE)
    # Iterating over an array is the quickest way to the arrays in it.
    known = zip(parts[:, 0].tolist(), parts[:, 1:4], parts[:, 4:].reshape(-1, 3, 3), strict=True)
    points = iter([BodyPoint(position, covariance) if is_known else None for is_known, position, covariance in known])
    positions, velocities, covariances = rows[:, _POSITION], rows[:, _VELOCITY], rows[:, _COVARIANCE].reshape(-1, 4, 4)
    tracks = (
        Track(track, position, velocity, covariance, existence, unseen_s, *body)
        for (track, existence, unseen_s), position, velocity, covariance, *body in zip(
            people, positions, velocities, covariances, points, points, points, strict=True
        )
    )
    return Tracks(stamp_ns, tuple(tracks))
