"""Who is near: hands and bodies against plates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fusion_scene import Walker, at, shelf_event, small_store, tracks_of

from aisle_contract.records import BodyPoint, ShelfEvent, Track, Tracks
from aisle_fusion.hand_proximity import HandProximity, Proximity, ProximityConfig
from aisle_fusion.shopper_sessions import TrackSpan, Visit
from aisle_fusion.track_history import TrackHistory
from aisle_store.store import Plate

STORE = small_store()
EVENT = shelf_event(5, 6, "1", {3: -0.1})
PLATES = [STORE.plate("1", "1", "3")]


def measure(
    *walkers: Walker, event: ShelfEvent = EVENT, end: float = 10.0, change: tuple | None = None, plates: list[Plate] = PLATES
) -> dict[str, Proximity]:
    """``change``: arguments for ``with_right_wrist``."""
    history = TrackHistory(int(90e9))
    found = tracks_of(list(walkers), end)
    for tracks in found if change is None else with_right_wrist(found, *change):
        history.add(tracks)
    visits = []
    for walker in walkers:
        life = history.get(walker.track)
        visit = Visit(walker.track, "", life.first_ns, life.seen_ns, life.newest.position, life.newest.velocity)
        visit.spans.append(TrackSpan(walker.track, life.first_ns, None if life.present else life.last_ns))
        visits.append(visit)
    proximities = HandProximity(STORE, ProximityConfig(), history).measure(event, plates, visits)
    return {proximity.visit: proximity for proximity in proximities}


def stands(track: str, x: float, y: float = -0.55, end: float = 10.0) -> Walker:
    return Walker(track, (0, x, y), (end, x, y))


def test_a_hand_at_the_plate_outweighs_a_body_in_front_of_it():
    found = measure(stands("a", 0.25), stands("b", 0.7).reach(4.5, 6.5, "1", 3))
    assert found["b"].ratio[0] > 4 * found["a"].ratio[0]
    assert found["b"].distance[0] == pytest.approx(0.0, abs=0.02)


def test_far_away_counts_less_than_nobody_known():
    found = measure(stands("a", 3.5), stands("b", 0.25, -1.9))
    assert all(proximity.ratio[0] < 0.1 for proximity in found.values())


def test_a_hand_that_came_at_another_time_is_not_the_one():
    found = measure(stands("a", 0.25).reach(1.0, 3.0, "1", 3), stands("b", 0.25).reach(4.8, 6.0, "1", 3))
    assert found["b"].ratio[0] > 4 * found["a"].ratio[0]


def test_in_a_long_event_the_hand_is_there_when_the_plate_changes():
    """One rests a hand there first, another takes something at the end."""
    walkers = stands("a", 0.25).reach(2.0, 5.0, "1", 3), stands("b", 0.25).reach(5.8, 6.5, "1", 3)
    known = measure(*walkers, event=shelf_event(2, 8, "1", {3: -0.1}, changed={3: 6.2}))
    unknown = measure(*walkers, event=shelf_event(2, 8, "1", {3: -0.1}))
    assert known["b"].ratio[0] > 4 * known["a"].ratio[0]
    assert unknown["b"].ratio[0] == pytest.approx(unknown["a"].ratio[0], rel=0.3)


def test_each_plate_has_its_own_time():
    """Two hands in one event, one after the other at plates beside each other."""
    walkers = stands("a", 0.25).reach(2.0, 3.0, "1", 3), stands("b", 0.45).reach(5.0, 6.0, "1", 4)
    event = shelf_event(2, 8, "1", {3: -0.1, 4: -0.08}, changed={3: 2.6, 4: 5.6})
    found = measure(*walkers, event=event, plates=[STORE.plate("1", "1", plate) for plate in ("2", "3", "4")])
    assert found["a"].ratio[1] > 10 * found["b"].ratio[1]
    assert found["b"].ratio[2] > 10 * found["a"].ratio[2]
    # What did not change goes with what changed most.
    assert found["a"].ratio[0] > found["b"].ratio[0]


def test_a_wrong_time_does_not_rule_out_who_was_there():
    found = measure(stands("a", 0.25).reach(2.0, 4.0, "1", 3), stands("b", 3.5), event=shelf_event(2, 8, "1", {3: -0.1}, changed={3: 7.5}))
    assert found["a"].ratio[0] > 1.0 > found["b"].ratio[0]


def test_of_two_hands_at_the_plate_the_one_counts_that_came_for_it():
    rests, comes = stands("a", 0.25).reach(1.0, 9.5, "1", 3), stands("b", 0.35).reach(4.8, 6.0, "1", 3)
    event = shelf_event(5, 5.6, "1", {3: -0.1}, changed={3: 5.4})
    both = measure(rests, comes, event=event)
    assert both["b"].ratio[0] > 10 * both["a"].ratio[0]
    # Who is there alone has taken it, however long the hand rests.
    assert measure(rests, event=event)["a"].ratio[0] > 10 * both["a"].ratio[0]
    # A hand may stay for what comes next, or have been there for what was before.
    stays = stands("a", 0.25).reach(4.5, 9.5, "1", 3)
    again = measure(stays, comes, event=event)
    assert again["b"].ratio[0] < 2 * again["a"].ratio[0]


def test_a_hand_at_another_shelf_above_is_not_at_this_plate():
    found = measure(stands("a", 0.25).reach(4.5, 6.5, "2", 3), stands("b", 0.25).reach(4.5, 6.5, "1", 3))
    assert found["b"].ratio[0] > 4 * found["a"].ratio[0]


def with_right_wrist(found: list[Tracks], track: str, change) -> list[Tracks]:
    """The same tracks, the right wrist of one of them as ``change(seconds, wrist)`` gives it."""

    def changed(stamp_ns: int, t: Track) -> Track:
        return replace(t, right_wrist=change((stamp_ns - at(0)) / 1e9, t.right_wrist)) if t.track == track else t

    return [Tracks(r.stamp_ns, tuple(changed(r.stamp_ns, t) for t in r.tracks)) for r in found]


def test_a_hand_that_vanishes_in_the_shelf_is_the_one_and_not_the_other_hand_that_is_seen():
    walkers = [stands("a", 0.25).reach(4.0, 6.5, "1", 3), stands("b", 0.75)]

    def hidden(seconds: float, wrist: BodyPoint) -> BodyPoint | None:
        return None if 4.7 <= seconds <= 6.4 else wrist

    seen, unseen = measure(*walkers), measure(*walkers, change=("a", hidden))
    assert unseen["a"].ratio[0] > 0.02 * seen["a"].ratio[0]
    assert unseen["a"].ratio[0] > 10 * unseen["b"].ratio[0]


def test_what_counts_of_a_wrists_deviation_is_that_towards_the_plate():
    def vague(axis: int):
        spread = np.full(3, 0.03**2)
        spread[axis] = 0.3**2
        return lambda seconds, wrist: BodyPoint(wrist.position, np.diag(spread))

    walker = stands("a", 0.25).reach(4.5, 6.5, "1", 5.5)
    along, across = (measure(walker, change=("a", vague(axis)))["a"].ratio[0] for axis in (0, 1))
    assert along > 2 * across


def test_one_out_of_view_may_have_done_it_but_less_surely():
    near, lost = stands("a", 0.25), stands("b", 0.25, end=3.0)
    found = measure(near, lost)
    assert found["b"].ratio[0] > 0.1
    long_lost = measure(stands("c", 0.25, end=3.0), event=shelf_event(60, 61, "1", {3: -0.1}), end=62.0)
    assert long_lost == {}


def test_a_visit_that_has_left_before_is_not_measured():
    history = TrackHistory(int(90e9))
    visit = Visit("v", "", at(0), at(3), np.zeros(2), np.zeros(2), left_ns=at(3))
    assert HandProximity(STORE, ProximityConfig(), history).measure(EVENT, PLATES, [visit]) == []
