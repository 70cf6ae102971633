"""``Tracks`` as one array of numbers, for crossing from process to process: pickled person by person they cost as much as tracking."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from aisle_contract.records import BodyPoint, Track, Tracks

#: Where in a row: position 2, velocity 2, covariance 4 x 4, then for each point whether it is known, its position 3, its covariance 3 x 3.
_POSITION, _VELOCITY, _COVARIANCE, _POINTS = slice(0, 2), slice(2, 4), slice(4, 20), 20
_POINT_SIZE, _POINT_NAMES = 13, ("head", "left_wrist", "right_wrist")
_ROW_SIZE = _POINTS + _POINT_SIZE * len(_POINT_NAMES)


class PackedTracks(NamedTuple):
    """``people``: track id, existence, unseen_s; ``rows`` float64 [people, _ROW_SIZE]."""

    stamp_ns: int
    people: list[tuple[str, float, float]]
    rows: np.ndarray


def packed(tracks: Tracks) -> PackedTracks:
    """The same, bit for bit, once unpacked; arrays must be float64 as ``Track`` says."""
    rows = np.zeros((len(tracks.tracks), _ROW_SIZE))
    for row, track in zip(rows, tracks.tracks, strict=True):
        row[_POSITION], row[_VELOCITY], row[_COVARIANCE] = track.position, track.velocity, track.covariance.reshape(-1)
        for number, point in enumerate((track.head, track.left_wrist, track.right_wrist)):
            if point is not None:
                start = _POINTS + number * _POINT_SIZE
                row[start] = 1.0
                row[start + 1 : start + 4] = point.position
                row[start + 4 : start + _POINT_SIZE] = point.covariance.reshape(-1)
    return PackedTracks(tracks.stamp_ns, [(track.track, track.existence, track.unseen_s) for track in tracks.tracks], rows)


def unpacked(packed_tracks: PackedTracks) -> Tracks:
    """The arrays of one person share the memory of his row."""
    stamp_ns, people, rows = packed_tracks
    return Tracks(stamp_ns, tuple(_track(*person, row) for person, row in zip(people, rows, strict=True)))


def _track(track: str, existence: float, unseen_s: float, row: np.ndarray) -> Track:
    points = (_point(row[_POINTS + number * _POINT_SIZE :][:_POINT_SIZE]) for number in range(len(_POINT_NAMES)))
    return Track(track, row[_POSITION], row[_VELOCITY], row[_COVARIANCE].reshape(4, 4), existence, unseen_s, *points)


def _point(part: np.ndarray) -> BodyPoint | None:
    return BodyPoint(part[1:4], part[4:].reshape(3, 3)) if part[0] else None
