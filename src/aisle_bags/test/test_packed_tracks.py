"""Tracks there and back: nothing may change, not even a last bit."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aisle_bags.packed_tracks import packed, unpacked
from aisle_contract.records import BodyPoint, Track, Tracks


def numbers(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=st.floats())


points = st.none() | st.builds(BodyPoint, numbers(3), numbers(3, 3))
persons = st.builds(Track, st.text(max_size=3), numbers(2), numbers(2), numbers(4, 4), st.floats(), st.floats(), points, points, points)


def bits(tracks: Tracks) -> list:
    return [
        (
            t.track,
            np.float64([t.existence, t.unseen_s]).tobytes(),
            [array.tobytes() for array in (t.position, t.velocity, t.covariance)],
            [point and [(array.shape, array.tobytes()) for array in (point.position, point.covariance)] for point in _points(t)],
        )
        for t in tracks.tracks
    ]


def _points(track: Track) -> tuple[BodyPoint | None, ...]:
    return track.head, track.left_wrist, track.right_wrist


@settings(deadline=None)
@given(st.lists(persons, max_size=3).map(tuple), st.integers(0, 2**63))
def test_tracks_come_back_as_they_were(people: tuple[Track, ...], stamp_ns: int) -> None:
    tracks = Tracks(stamp_ns, people)
    back = unpacked(pickle.loads(pickle.dumps(packed(tracks))))
    assert back.stamp_ns == stamp_ns
    assert bits(back) == bits(tracks)
    assert all(type(t.existence) is float and t.covariance.shape == (4, 4) and t.covariance.flags.c_contiguous for t in back.tracks)
