"""Visits from hand-made tracks and gate events."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scene import Walker, at, enters_and_leaves, gate_heartbeats, in_order, small_store, tracks_of

from aisle_contract.records import Alert, GateEvent, Track, Tracks
from aisle_fusion.gate_crossing import Doorway, path_crosses, segment_distance
from aisle_fusion.shopper_sessions import SessionConfig, ShopperSessions, Visit
from aisle_fusion.track_history import TrackHistory


class Shop:
    """Runs records through ``ShopperSessions`` and keeps every visit that was ever opened."""

    def __init__(self, *records) -> None:
        self.sessions = ShopperSessions(small_store(), SessionConfig(), TrackHistory(int(90e9)))
        self.visits: dict[str, Visit] = {}
        self.alerts: list[Alert] = []
        for record in in_order(*records):
            if isinstance(record, GateEvent):
                self.sessions.take_gate_event(record)
            else:
                self.sessions.take_tracks(record)
            self.alerts += self.sessions.advance(record.stamp_ns)
            self.visits.update(self.sessions.visits)

    def seen(self) -> list[tuple[str, list[str], bool]]:
        """(shopper, tracks, still inside) of each visit, oldest first."""
        return [(visit.shopper, [span.track for span in visit.spans], visit.inside) for visit in self.visits.values()]


def test_entry_names_the_track_at_the_gate_and_exit_ends_the_visit():
    walker = enters_and_leaves("a", 1.0, 20.0, 0.5)
    shop = Shop(tracks_of([walker], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (20.0, "out", "")))
    assert shop.seen() == [("Ann", ["a"], False)]
    (visit,) = shop.visits.values()
    assert visit.session == "20191101T120001-1"
    assert visit.left_ns == pytest.approx(at(20.0), abs=3e8)
    assert shop.alerts == []


def test_track_that_is_confirmed_after_the_entry_is_matched():
    walker = enters_and_leaves("a", 1.0, 20.0, 0.5)
    late = [record for record in tracks_of([walker], 30) if record.stamp_ns > at(2.0)]
    shop = Shop(late, gate_heartbeats(30, (1.0, "in", "Ann"), (20.0, "out", "")))
    assert shop.seen() == [("Ann", ["a"], False)]


def test_two_who_enter_close_together_are_told_apart_by_the_time_at_the_gate():
    first, second = enters_and_leaves("a", 1.0, 20.0, 0.3), enters_and_leaves("b", 2.0, 23.0, 0.9)
    gates = gate_heartbeats(30, (1.0, "in", "Ann"), (2.0, "in", "Bob"), (20.0, "out", ""), (23.0, "out", ""))
    shop = Shop(tracks_of([first, second], 30), gates)
    assert shop.seen() == [("Ann", ["a"], False), ("Bob", ["b"], False)]
    assert [visit.left_ns for visit in shop.visits.values()] == pytest.approx([at(20.0), at(23.0)], abs=3e8)
    assert shop.alerts == []


@pytest.mark.parametrize("order", ["abc", "cab", "bca"])
def test_several_who_leave_within_seconds_each_take_their_own_exit(order: str):
    """When the first EXIT is decided both who went have vanished at the same door; the third is on his way."""
    ends = dict(zip(order, (20.0, 21.6, 24.4), strict=True))
    walkers = [enters_and_leaves(name, 1.0 + k, ends[name], 0.4 + 0.2 * k) for k, name in enumerate("abc")]
    gates = gate_heartbeats(
        30, *((1.0 + k, "in", name.upper()) for k, name in enumerate("abc")), *((end, "out", "") for end in ends.values())
    )
    shop = Shop(tracks_of(walkers, 30), gates)
    assert {visit.shopper: visit.left_ns for visit in shop.visits.values()} == {
        name.upper(): pytest.approx(at(end), abs=3e8) for name, end in ends.items()
    }
    assert shop.alerts == []


def test_somebody_inside_at_the_start_is_an_anonymous_visit():
    shop = Shop(tracks_of([Walker("a", (0, 0.5, -0.5), (10, 0.6, -0.5))], 10))
    assert shop.seen() == [("", ["a"], True)]
    assert not next(iter(shop.visits.values())).doubts


def test_somebody_inside_without_entry_at_a_working_gate_is_doubted_and_reported():
    shop = Shop(tracks_of([Walker("a", (5, 0.5, -0.5), (15, 0.6, -0.5))], 15), gate_heartbeats(15))
    assert shop.seen() == [("", ["a"], True)]
    assert next(iter(shop.visits.values())).doubts == ["no entry was seen for this shopper"]
    assert [alert.code for alert in shop.alerts] == ["visit_without_entry"]


def test_a_lost_track_is_taken_over_by_the_one_that_appears_nearby():
    walker = enters_and_leaves("a", 1.0, 25.0, 0.5).vanish(10.0, 13.0, "c")
    shop = Shop(tracks_of([walker], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (25.0, "out", "")))
    assert shop.seen() == [("Ann", ["a", "c"], False)]


def test_the_nearer_of_two_lost_visits_is_taken_over():
    ann = enters_and_leaves("a", 1.0, 27.0, 0.2).vanish(10.0, 12.0, "c")
    bob = enters_and_leaves("b", 3.0, 30.0, 3.0).vanish(10.0, 12.5, "d")
    gates = gate_heartbeats(36, (1.0, "in", "Ann"), (3.0, "in", "Bob"), (27.0, "out", ""), (30.0, "out", ""))
    shop = Shop(tracks_of([ann, bob], 36), gates)
    assert shop.seen() == [("Ann", ["a", "c"], False), ("Bob", ["b", "d"], False)]


def test_a_track_drawn_away_before_it_ends_gives_its_visit_to_the_one_that_began_where_it_was():
    # Unseen, it follows somebody else; the new one begins before it has ended, and goes the other way.
    drawn = Walker("a", (1.0, 4.0, -2.0), (4.0, 1.5, -0.5), (10.0, 1.5, -0.5), (11.5, 3.0, -0.5))
    found = Walker("c", (10.1, 1.5, -0.55), (11.0, 0.5, -0.5), (22.0, 0.5, -0.5), (25.0, -0.4, -2.0), (25.4, -0.4, -2.5))
    shop = Shop(tracks_of([drawn, found], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (25.0, "out", "")))
    assert shop.seen() == [("Ann", ["a", "c"], False)]


def test_who_is_inside_without_entry_is_whoever_was_lost_however_far_away():
    far = Walker("c", (10.5, 3.5, -0.5), (20.0, 3.5, -0.5))
    lost = enters_and_leaves("a", 1.0, 40.0, 0.2).vanish(10.0, 39.0, "never")
    entry = (1.0, "in", "Ann")
    assert Shop(tracks_of([lost, far], 20), gate_heartbeats(20, entry)).seen() == [("Ann", ["a", "c"], True)]
    # Where no gate reports anybody may have come in.
    assert [shopper for shopper, *_ in Shop(tracks_of([lost, far], 20)).seen()] == ["", ""]


def test_who_left_is_not_whoever_was_seen_elsewhere_meanwhile():
    """A track began inside before Ann went, some steps from her; it is old enough to be a visit just when hers has vanished at the exit."""
    other = Walker("c", (17.6, 1.5, -0.5), (29.0, 1.5, -0.5))
    shop = Shop(tracks_of([enters_and_leaves("a", 1.0, 20.0, 0.5), other], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (20.0, "out", "")))
    assert shop.seen() == [("Ann", ["a"], False), ("", ["c"], True)]


def test_a_ghost_makes_no_visit():
    ghost = Walker("g", (5.0, 2.0, -1.0), (6.0, 2.1, -1.0))
    shop = Shop(tracks_of([enters_and_leaves("a", 1.0, 20.0, 0.5), ghost], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (20.0, "out", "")))
    assert shop.seen() == [("Ann", ["a"], False)]


def test_a_second_track_of_the_same_person_makes_no_visit():
    double = Walker("d", (6.0, 0.6, -0.6), (12.0, 0.6, -0.6))
    shop = Shop(tracks_of([enters_and_leaves("a", 1.0, 20.0, 0.5), double], 30), gate_heartbeats(30, (1.0, "in", "Ann"), (20.0, "out", "")))
    assert shop.seen() == [("Ann", ["a"], False)]


def test_exit_without_events_ends_the_visit_where_the_track_vanishes():
    shop = Shop(tracks_of([Walker("a", (0, 0.5, -0.5), (8, 0.5, -0.5), (10, -0.4, -1.9))], 15))
    assert shop.seen() == [("", ["a"], False)]


def test_a_track_that_vanishes_inside_stays_a_visit_until_the_timeout():
    walker = Walker("a", (0, 2.5, -0.5), (8, 2.5, -0.5))
    assert Shop(tracks_of([walker], 30)).seen() == [("", ["a"], True)]
    shop = Shop(tracks_of([walker], 75))
    assert shop.seen() == [("", ["a"], False)]
    assert next(iter(shop.visits.values())).doubts == ["the shopper was lost from view inside and never seen again"]


def test_exit_of_nobody_known_is_reported():
    shop = Shop(tracks_of([Walker("a", (0, 2.5, -0.3), (20, 2.5, -0.3))], 20), gate_heartbeats(20, (10.0, "out", "")))
    assert [visit.inside for visit in shop.visits.values()] == [True]
    assert "exit_without_visit" in [alert.code for alert in shop.alerts]


def test_passing_the_exit_gate_inside_does_not_end_a_visit_when_another_leaves():
    stays = Walker("b", (0, 0.2, -1.2), (20, 0.2, -1.2))
    leaves = enters_and_leaves("a", 1.0, 10.0, 0.5)
    shop = Shop(tracks_of([stays, leaves], 20), gate_heartbeats(20, (1.0, "in", "Ann"), (10.0, "out", "")))
    assert {visit.shopper: visit.inside for visit in shop.visits.values()} == {"": True, "Ann": False}


@pytest.mark.parametrize(("beyond_m", "inside"), [(0.05, True), (0.15, True), (0.4, False)])
def test_who_stands_at_the_exit_and_is_seen_a_little_outside_has_not_left(beyond_m: float, inside: bool):
    passes = Walker("b", (0, 0.6, -1.5), (5, -0.2, -1.9), (6, -0.3, -2.0 - beyond_m), (9, -0.5, -2.0 - beyond_m))
    shop = Shop(tracks_of([passes], 9), gate_heartbeats(9))
    assert [visit.inside for visit in shop.visits.values()] == [inside]


def test_visits_that_begin_in_one_second_are_numbered():
    walkers = [Walker("a", (0, 0.2, -0.5), (5, 0.2, -0.5)), Walker("b", (0, 2.2, -0.5), (5, 2.2, -0.5))]
    assert list(Shop(tracks_of(walkers, 5)).visits) == ["20191101T120000-1", "20191101T120000-2"]


def test_paths_and_doors():
    door = np.array([[0.0, 0.0], [1.0, 0.0]])
    assert path_crosses(np.array([[0.5, 1.0], [0.5, -1.0]]), door)
    assert not path_crosses(np.array([[1.5, 1.0], [1.5, -1.0]]), door)
    assert not path_crosses(np.array([[0.5, 1.0]]), door)
    assert segment_distance(np.array([[0.5, 2.0], [3.0, 0.0]]), door) == pytest.approx([2.0, 2.0])


def test_a_doorway_says_of_one_place_what_the_distance_says():
    rng = np.random.default_rng(3)
    for _ in range(200):
        ends, place = rng.normal(0, 2, (2, 2)), rng.normal(0, 2, 2)
        away = float(segment_distance(place, ends)[0])
        doorway = Doorway.of(ends)
        assert doorway.is_within(away, place)
        assert not doorway.is_within(np.nextafter(away, 0.0), place)


def test_history_forgets_but_keeps_the_newest_sample():
    history = TrackHistory(int(5e9))
    for k in range(300):
        track = Track("a", np.zeros(2), np.zeros(2), np.eye(4), 1.0, 0.0)
        history.add(Tracks(at(k / 10), (track,)))
    assert len(history) < 80
    history.add(Tracks(at(60.0), ()))
    history.add(Tracks(at(60.1), ()))
    assert history.get("a") is None
