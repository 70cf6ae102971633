"""Rows of those who stay and of those who come keep together."""

from __future__ import annotations

import numpy as np

from aisle_perception.people import People


def _crowd(count: int) -> People:
    people = People()
    for number in range(1, count + 1):
        people.add(number, np.full(4, float(number)), number * np.eye(4), 10 * number, 0.5 * number)
    return people


def test_who_comes_is_unknown_but_for_his_place() -> None:
    people = _crowd(2)
    assert people.numbers.tolist() == [1, 2]
    assert people.means[1].tolist() == [2.0] * 4
    assert people.born_ns.tolist() == people.seen_ns.tolist() == [10, 20]
    assert not people.confirmed.any()
    assert people.tracks == ["", ""]
    assert (people.points_seen_ns == -1).all()
    assert (people.near_since_ns == -1).all()
    assert people.near_since_ns.shape == people.apart_ns.shape == people.apart_frames.shape == (2, 2)


def test_rows_of_those_who_stay_keep_together() -> None:
    people = _crowd(4)
    people.tracks = ["", "t1", "t2", ""]
    people.apart_ns[:] = np.arange(16).reshape(4, 4)
    appearance = people.appearances[2]
    people.keep(np.array([True, False, True, True]))
    assert people.numbers.tolist() == [1, 3, 4]
    assert people.tracks == ["", "t2", ""]
    assert people.appearances[1] is appearance
    assert people.log_odds.tolist() == [0.5, 1.5, 2.0]
    assert people.apart_ns.tolist() == [[0, 2, 3], [8, 10, 11], [12, 14, 15]]
    assert people.apart_ns.flags.c_contiguous
