"""``Tracks`` as one array of numbers, as the tracker has them; pickled person by person they cost more than tracking."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from aisle_contract.records import BodyPoint, Track, Tracks
from aisle_kernels import made

#: Where in a row: position 2, velocity 2, covariance 4 x 4, then for each point whether it is known, its position 3, its covariance 3 x 3.
_POSITION, _VELOCITY, _COVARIANCE, _POINTS = slice(0, 2), slice(2, 4), slice(4, 20), 20
_POINT_SIZE, _POINT_NAMES = 13, ("head", "left_wrist", "right_wrist")
_TRACK_FIELDS, _POINT_FIELDS = (tuple(field.name for field in dataclasses.fields(kind)) for kind in (Track, BodyPoint))
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
    known = parts[:, 0] != 0.0
    # Iterating over an array is the quickest way to the arrays in it.
    found = zip(parts[known, 1:4], parts[known, 4:].reshape(-1, 3, 3), strict=True)
    points = [made(BodyPoint, _POINT_FIELDS, next(found)) if is_known else None for is_known in known.tolist()]
    states = rows[:, _POSITION], rows[:, _VELOCITY], rows[:, _COVARIANCE].reshape(-1, 4, 4)
    names, existences, unseen_s = ([person[i] for person in people] for i in range(3))
    columns = (names, *states, existences, unseen_s, points[::3], points[1::3], points[2::3])
    return Tracks(stamp_ns, tuple([made(Track, _TRACK_FIELDS, values) for values in zip(*columns, strict=True)]))
