"""Everybody whom the floor tracker follows, as arrays with one row for each: a step works on all at once."""

from __future__ import annotations

import numpy as np

from aisle_perception.appearance import Appearance

#: Head, left and right wrist.
BODY_POINTS = 3


class People:
    """N persons in the order in which they came. Steps write to these arrays; ``keep`` and ``add`` replace them.

    ``numbers`` int64 [N]: each person's own; ``means`` float64 [N, 4] (x, y, vx, vy) and ``covariances`` [N, 4, 4]; stamps int64 [N], ns:
    ``born_ns``, ``seen_ns`` and ``outside_ns``, since when he has been outside the floor (0: he is not); ``log_odds`` [N];
    ``confirmed`` bool [N].

    Points of the body: ``point_means`` [N, 3, 6] (x, y, z and their velocities), ``point_covariances`` [N, 3, 6, 6], ``points_seen_ns``
    int64 [N, 3] (-1: unknown).

    Pairs, int64 [N, N], of a person (row) and one who came before him (column): ``near_since_ns`` (-1: they are not near), ``apart_ns``,
    when a camera last saw both apart while they were near (0: never), and ``apart_frames``, in how many frames.

    ``tracks``: names of those who are confirmed, "" of others; ``appearances``: what they look like.
    """

    def __init__(self) -> None:
        self.numbers = np.zeros(0, dtype=np.int64)
        self.means, self.covariances = np.zeros((0, 4)), np.zeros((0, 4, 4))
        self.born_ns, self.seen_ns, self.outside_ns = np.zeros((3, 0), dtype=np.int64)
        self.log_odds, self.confirmed = np.zeros(0), np.zeros(0, dtype=bool)
        self.point_means, self.point_covariances = np.zeros((0, BODY_POINTS, 6)), np.zeros((0, BODY_POINTS, 6, 6))
        self.points_seen_ns = np.zeros((0, BODY_POINTS), dtype=np.int64)
        self.near_since_ns, self.apart_ns, self.apart_frames = np.zeros((3, 0, 0), dtype=np.int64)
        self.tracks: list[str] = []
        self.appearances: list[Appearance] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def keep(self, kept: np.ndarray) -> None:
        """Only those whom bool ``kept`` [N] names stay."""
        for name in _ARRAYS:
            setattr(self, name, getattr(self, name)[kept])
        for name in _PAIRS:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[kept][:, kept]))
        self.tracks = [track for track, stays in zip(self.tracks, kept, strict=True) if stays]
        self.appearances = [appearance for appearance, stays in zip(self.appearances, kept, strict=True) if stays]

    def add(self, number: int, mean: np.ndarray, covariance: np.ndarray, stamp_ns: int, log_odds: float) -> None:
        """One more, with ``mean`` [4] and ``covariance`` [4, 4], who is seen for the first time, inside and not confirmed."""
        points = np.zeros((BODY_POINTS, 6)), np.tile(np.eye(6), (BODY_POINTS, 1, 1)), np.full(BODY_POINTS, -1)
        new = number, mean, covariance, stamp_ns, stamp_ns, 0, log_odds, False, *points
        for name, row in zip(_ARRAYS, new, strict=True):
            rows = getattr(self, name)
            setattr(self, name, np.concatenate((rows, np.asarray(row, dtype=rows.dtype)[None])))
        for name, unknown in _PAIRS.items():
            before = getattr(self, name)
            # A tenth of what np.pad takes.
            pairs = np.full((len(before) + 1, len(before) + 1), unknown, dtype=before.dtype)
            pairs[:-1, :-1] = before
            setattr(self, name, pairs)
        self.tracks.append("")
        self.appearances.append(Appearance())


_ARRAYS = (
    "numbers",
    "means",
    "covariances",
    "born_ns",
    "seen_ns",
    "outside_ns",
    "log_odds",
    "confirmed",
    "point_means",
    "point_covariances",
    "points_seen_ns",
)
#: What is not known of a pair.
_PAIRS = {"near_since_ns": -1, "apart_ns": 0, "apart_frames": 0}
