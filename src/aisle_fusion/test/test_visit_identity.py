"""Tracks that exchange their persons in an encounter are told by the persons' heights."""

from __future__ import annotations

import numpy as np
from fusion_scene import small_store

from aisle_contract.records import NANOSECONDS, BodyPoint, Track, Tracks
from aisle_fusion.shopper_sessions import SessionConfig, ShopperSessions
from aisle_fusion.track_history import TrackHistory
from aisle_fusion.visit_identity import Exchange, IdentityConfig, VisitIdentities

MEETING_S = 6.0
HEADS_M = {"ann": 1.52, "ben": 1.61}


def sample(track: str, time_s: float, place: tuple[float, float], height: float | None, rng: np.random.Generator) -> Track:
    head = None
    if height is not None:
        head = BodyPoint(np.array([*place, height + rng.normal(0.0, 0.012)]), 0.02**2 * np.eye(3))
    return Track(track, np.array(place), np.array([0.8, 0.0]), 0.01 * np.eye(4), 1.0, 0.0, head)


def people(exchanged_s: float | None = MEETING_S, heads: dict[str, float] = HEADS_M, seconds: float = 12.0, seed: int = 0):
    """(time s, visit -> track): two walk towards each other, pass at 0.2 m, and go on, from ``exchanged_s`` on under each other's track."""
    rng = np.random.default_rng(seed)
    for step in range(int(seconds * 10)):
        time_s = step / 10
        along = 0.8 * (time_s - MEETING_S)
        places = {"ann": (5.0 + along, 1.0), "ben": (5.0 - along, 1.2)}
        swapped = exchanged_s is not None and time_s >= exchanged_s
        real = {"ann": "ben", "ben": "ann"} if swapped else {"ann": "ann", "ben": "ben"}
        yield time_s, {visit: sample(visit, time_s, places[who], heads[who], rng) for visit, who in real.items()}


def exchanges(scene) -> list[tuple[float, Exchange]]:
    """What is found, and done to the visits' tracks at once."""
    watch, found, whose = VisitIdentities(IdentityConfig()), [], {"ann": "ann", "ben": "ben"}
    for time_s, tracks in scene:
        exchange = watch.take(round(time_s * NANOSECONDS), {visit: tracks[whose[visit]] for visit in whose})
        if exchange is not None:
            found.append((time_s, exchange))
            whose = {"ann": whose["ben"], "ben": whose["ann"]}
    return found


def test_an_exchange_is_found_soon_and_dated_right() -> None:
    ((found_s, exchange),) = exchanges(people())
    assert {exchange.first, exchange.second} == {"ann", "ben"}
    assert MEETING_S < found_s < MEETING_S + 2.5
    assert abs(exchange.from_ns / NANOSECONDS - MEETING_S) < 0.35


def test_who_keeps_his_track_is_left_alone() -> None:
    for seed in range(20):
        assert exchanges(people(exchanged_s=None, seed=seed)) == []


def test_people_of_one_height_cannot_be_told_apart() -> None:
    assert exchanges(people(heads={"ann": 1.60, "ben": 1.61})) == []


def test_stooping_is_no_exchange() -> None:
    def stooping():
        rng = np.random.default_rng(3)
        for time_s, tracks in people(exchanged_s=None):
            if time_s > MEETING_S:
                # Ben is as low as Ann, who has bent down to something.
                tracks = {
                    "ann": sample("ann", time_s, tuple(tracks["ann"].position), 1.2, rng),
                    "ben": sample("ben", time_s, tuple(tracks["ben"].position), HEADS_M["ann"], rng),
                }
            yield time_s, tracks

    assert exchanges(stooping()) == []


def test_without_heads_nothing_is_said() -> None:
    def headless():
        rng = np.random.default_rng(0)
        for time_s, tracks in people():
            yield time_s, {visit: sample(visit, time_s, tuple(track.position), None, rng) for visit, track in tracks.items()}

    assert exchanges(headless()) == []


def test_visits_get_the_tracks_of_their_persons_back() -> None:
    sessions = ShopperSessions(small_store(), SessionConfig(), TrackHistory(int(90e9)))
    rng = np.random.default_rng(1)
    start_ns = 1_000 * NANOSECONDS
    for step in range(120):
        time_s = step / 10
        swapped = time_s >= MEETING_S
        places = {"ann": (0.3 + 0.15 * time_s, -0.6), "ben": (2.1 - 0.15 * time_s, -0.6)}
        tracks = [
            sample(track, time_s, places[who], HEADS_M[who], rng)
            for track, who in (("t1", "ben" if swapped else "ann"), ("t2", "ann" if swapped else "ben"))
        ]
        stamp_ns = start_ns + round(time_s * NANOSECONDS)
        sessions.take_tracks(Tracks(stamp_ns, tuple(tracks)))
        sessions.advance(stamp_ns)
    first, second = sessions.visits.values()
    assert [span.track for span in first.spans] == ["t1", "t2"]
    assert [span.track for span in second.spans] == ["t2", "t1"]
    for visit in (first, second):
        assert visit.spans[0].to_ns == visit.spans[1].from_ns - 1
        assert abs((visit.spans[1].from_ns - start_ns) / NANOSECONDS - MEETING_S) < 0.6
    assert not first.orphaned
    assert not second.orphaned
