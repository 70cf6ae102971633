"""Tracks from rows: nothing may change, not even a last bit."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aisle_perception.packed_tracks import ROW_SIZE, PackedTracks, unpacked


def numbers(*shape: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, shape, elements=st.floats())


POINTS = ("head", "left_wrist", "right_wrist")
people = st.lists(st.tuples(st.text(max_size=3), st.floats(), st.floats(), numbers(ROW_SIZE), st.tuples(*[st.booleans()] * 3)), max_size=3)


@settings(deadline=None)
@given(people, st.integers(0, 2**63))
def test_tracks_come_back_as_they_were(told: list, stamp_ns: int) -> None:
    rows = np.array([row for *_, row, _ in told]).reshape(-1, ROW_SIZE)
    for row, (*_, known) in zip(rows, told, strict=True):
        row[20::13] = known
    packed = PackedTracks(stamp_ns, [(track, existence, unseen_s) for track, existence, unseen_s, *_ in told], rows)
    back = unpacked(pickle.loads(pickle.dumps(packed)))
    assert back.stamp_ns == stamp_ns
    for track, row, (name, existence, unseen_s, _, known) in zip(back.tracks, rows, told, strict=True):
        assert track.track == name
        assert type(track.existence) is float
        assert np.float64([track.existence, track.unseen_s]).tobytes() == np.float64([existence, unseen_s]).tobytes()
        states = (track.position, (2,), 0), (track.velocity, (2,), 2), (track.covariance, (4, 4), 4)
        points = [getattr(track, point) for point in POINTS]
        assert [point is not None for point in points] == list(known)
        for number, point in enumerate(points):
            if point is not None:
                states += (point.position, (3,), 21 + 13 * number), (point.covariance, (3, 3), 24 + 13 * number)
        for array, shape, first in states:
            assert array.shape == shape
            assert array.tobytes() == row[first : first + array.size].tobytes()
        assert track.covariance.flags.c_contiguous
