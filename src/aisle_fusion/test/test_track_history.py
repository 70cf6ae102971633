"""The history of tracks against plain lists of what it was told."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scene import at

from aisle_contract.records import BodyPoint, Track, Tracks
from aisle_fusion.track_history import Samples, TrackHistory


def a_track(rng: np.random.Generator, name: str = "a") -> Track:
    """At a random place, with none, one or both wrists."""
    wrists = [None if rng.random() < 0.3 else BodyPoint(rng.normal(size=3), np.diag(rng.uniform(0.01, 0.1, 3))) for _ in range(2)]
    return Track(name, rng.normal(size=2), rng.normal(size=2), np.diag(rng.uniform(0.01, 0.1, 4)), 0.9, 0.0, None, *wrists)


def told(seconds: float, rng: np.random.Generator, history: TrackHistory) -> list[tuple[int, Track]]:
    """Tells the history of one track at 10 Hz."""
    samples = [(at(k / 10), a_track(rng)) for k in range(round(seconds * 10))]
    for stamp_ns, track in samples:
        history.add(Tracks(stamp_ns, (track,)))
    return samples


def test_any_interval_holds_what_was_told_of_it():
    rng, history = np.random.default_rng(4), TrackHistory(int(90e9))
    samples = told(40.0, rng, history)
    for _ in range(50):
        start, end = sorted(rng.uniform(-1.0, 41.0, 2))
        expected = [track for stamp_ns, track in samples if at(start) <= stamp_ns <= at(end)]
        found = history.get("a").between(at(start), at(end))
        assert len(found) == len(expected)
        assert np.array_equal(found.positions, np.array([track.position for track in expected]).reshape(-1, 2))
        variance = [np.trace(track.covariance[:2, :2]) / 2 for track in expected]
        assert found.deviations == pytest.approx(np.sqrt(variance))


def test_wrists_are_those_that_were_told():
    rng, history = np.random.default_rng(5), TrackHistory(int(90e9))
    samples = told(5.0, rng, history)
    positions, covariances = history.get("a").between(at(0.0), at(5.0)).wrists()
    for row, (_, track) in enumerate(samples):
        for side, wrist in enumerate((track.left_wrist, track.right_wrist)):
            if wrist is not None:
                assert np.array_equal(positions[row, side], wrist.position)
                assert np.array_equal(covariances[row, side], wrist.covariance)


def test_a_wrist_that_vanishes_stays_where_it_was_for_a_moment_and_is_known_less_and_less():
    history = TrackHistory(int(90e9))
    hand = BodyPoint(np.array([1.0, 2.0, 1.1]), 0.03**2 * np.eye(3))
    for k in range(20):
        here = hand if k == 5 else None
        history.add(Tracks(at(k / 10), (Track("a", np.zeros(2), np.zeros(2), np.eye(4), 0.9, 0.0, None, None, here),)))
    positions, covariances = history.get("a").between(at(0.0), at(2.0)).wrists()
    known = np.flatnonzero(~np.isnan(positions[:, 1, 0]))
    assert known.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert (positions[known, 1] == hand.position).all()
    assert (np.diff(covariances[known, 1, 0, 0]) > 0).all()
    assert np.isnan(positions[:, 0]).all()


def test_the_nearest_sample_in_time():
    rng, history = np.random.default_rng(6), TrackHistory(int(90e9))
    samples = told(10.0, rng, history)
    for t in rng.uniform(-2.0, 12.0, 50):
        stamp_ns, found = history.get("a").nearest(at(t))
        expected_ns, expected = min(samples, key=lambda sample: abs(sample[0] - at(t)))
        assert stamp_ns == expected_ns
        assert np.array_equal(found.position, expected.position)
        assert np.array_equal(found.velocity, expected.velocity)
        told_wrists = [wrist.position.tolist() for wrist in (expected.left_wrist, expected.right_wrist) if wrist is not None]
        assert all(wrist in [place.tolist() for place in found.wrists] for wrist in told_wrists)


def test_what_is_kept_stays_right_while_much_is_forgotten_and_what_was_given_stays_as_it_was():
    rng, history = np.random.default_rng(7), TrackHistory(int(5e9))
    early = None
    samples = []
    for k in range(1000):
        track = a_track(rng)
        samples.append((at(k / 10), track))
        history.add(Tracks(at(k / 10), (track,)))
        if k == 30:
            early = history.get("a").between(at(0.0), at(3.0))
    life = history.get("a")
    assert len(life) < 70
    assert life.oldest_ns > at(92.0)
    found = life.between(at(0.0), at(100.0))
    assert np.array_equal(found.positions, [track.position for _, track in samples[-len(life) :]])
    assert np.array_equal(early.positions, [track.position for _, track in samples[:31]])
    assert life.newest is samples[-1][1]


def test_samples_of_several_tracks_are_joined_in_order():
    rng, history = np.random.default_rng(8), TrackHistory(int(90e9))
    for k in range(20):
        history.add(Tracks(at(k / 10), (a_track(rng, "a"), a_track(rng, "b"))))
    parts = [history.get(name).between(at(0.5), at(1.0)) for name in ("a", "b")]
    joined = Samples.joined(parts)
    assert len(joined) == 12
    assert np.array_equal(joined.positions, np.vstack([part.positions for part in parts]))
