"""``Tracks`` as one array of numbers, as the tracker has them; pickled person by person they cost more than tracking."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from aisle_contract.records import BodyPoint, Track, Tracks
from aisle_kernels import record_class, unpacked_tracks

#: Where in a row: position 2, velocity 2, covariance 4 x 4, then for each point whether it is known, its position 3, its covariance 3 x 3.
_POSITION, _VELOCITY, _COVARIANCE, _POINTS = slice(0, 2), slice(2, 4), slice(4, 20), 20
_POINT_SIZE, _POINT_NAMES = 13, ("head", "left_wrist", "right_wrist")
_TRACKS, _BODY_POINTS = (record_class(kind, tuple(field.name for field in dataclasses.fields(kind))) for kind in (Track, BodyPoint))
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
    states = rows[:, _POSITION], rows[:, _VELOCITY], rows[:, _COVARIANCE].reshape(-1, 4, 4)
    points = parts[:, 1:4], parts[:, 4:].reshape(-1, 3, 3)
    return Tracks(stamp_ns, unpacked_tracks(_TRACKS, _BODY_POINTS, people, parts[:, 0] != 0.0, *states, *points))
