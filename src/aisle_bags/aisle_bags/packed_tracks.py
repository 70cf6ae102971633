"""``Tracks`` as one array of numbers, for crossing from process to process: pickled person by person they cost as much as tracking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aisle_contract.records import BodyPoint, Track, Tracks

#: Where in a row: position 2, velocity 2, covariance 4 x 4, then for each point whether it is known, its position 3, its covariance 3 x 3.
_POSITION, _VELOCITY, _COVARIANCE, _POINTS = slice(0, 2), slice(2, 4), slice(4, 20), 20
_POINT_SIZE, _POINT_NAMES = 13, ("head", "left_wrist", "right_wrist")
_ROW_SIZE = _POINTS + _POINT_SIZE * len(_POINT_NAMES)
_KNOWN, _UNKNOWN = np.ones(1).tobytes(), np.zeros(_POINT_SIZE).tobytes()


class PackedTracks(NamedTuple):
    """``people``: track id, existence, unseen_s; ``rows`` float64 [people, _ROW_SIZE]."""

    stamp_ns: int
    people: list[tuple[str, float, float]]
    rows: np.ndarray


def packed(tracks: Tracks) -> PackedTracks:
    """The same, bit for bit, once unpacked; arrays must be float64 as ``Track`` says."""
    # As bytes, since NumPy takes three times as long to join so many small arrays.
    parts: list[bytes] = []
    for track in tracks.tracks:
        parts += (track.position.tobytes(), track.velocity.tobytes(), track.covariance.tobytes())
        for point in (track.head, track.left_wrist, track.right_wrist):
            parts += (_UNKNOWN,) if point is None else (_KNOWN, point.position.tobytes(), point.covariance.tobytes())
    rows = np.frombuffer(bytearray().join(parts)).reshape(-1, _ROW_SIZE)
    return PackedTracks(tracks.stamp_ns, [(track.track, track.existence, track.unseen_s) for track in tracks.tracks], rows)


def unpacked(packed_tracks: PackedTracks) -> Tracks:
    """The arrays of one person share memory with those of the others."""
    stamp_ns, people, rows = packed_tracks
    if not people:
        return Tracks(stamp_ns, ())
    parts = rows[:, _POINTS:].reshape(-1, _POINT_SIZE)
    # Iterating over an array is the quickest way to the arrays in it.
    points: list[BodyPoint | None] = list(map(BodyPoint, parts[:, 1:4], parts[:, 4:].reshape(-1, 3, 3)))
    known = parts[:, 0].tolist()
    if not all(known):
        points = [point if is_known else None for point, is_known in zip(points, known, strict=True)]
    heads, left_wrists, right_wrists = points[0::3], points[1::3], points[2::3]
    names, existences, unseen_s = zip(*people, strict=True)
    state = rows[:, _POSITION], rows[:, _VELOCITY], rows[:, _COVARIANCE].reshape(-1, 4, 4)
    return Tracks(stamp_ns, tuple(map(Track, names, *state, existences, unseen_s, heads, left_wrists, right_wrists)))
