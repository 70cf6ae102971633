"""People keep their distance, stay out of the shelves, and have a hand at the right plates at the right time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aisle_contract.records import GateEventKind
from aisle_sim.enacted_events import EnactedEvent, enact
from aisle_sim.floor_motion import obstacle_distance
from aisle_sim.profiles import PROFILES, HandsProfile
from aisle_sim.reenactment import EMPTY_AFTER_S, EMPTY_BEFORE_S, reenact
from aisle_store.store import GateKind

LEAST_APART_M = 0.35
LEAST_FROM_SHELVES_M = 0.20


def distance_to_plate(plate, point):
    local = (np.linalg.inv(plate.pose) @ np.append(point, 1.0))[:3]
    nearest = np.clip(local, 0.0, [plate.width, plate.depth, 0.0])
    return float(np.linalg.norm(local - nearest))


def least_distance(reenactment):
    times = np.arange(0, reenactment.duration_s, 0.02)
    paths = [np.where(s.present(times)[:, None], s.position(times), np.nan) for s in reenactment.shoppers]
    apart = [np.linalg.norm(a - b, axis=1) for i, a in enumerate(paths) for b in paths[:i]]
    return np.nanmin([*np.concatenate(apart), np.inf]) if apart else np.inf


def check_bodies(store, reenactment):
    assert least_distance(reenactment) >= LEAST_APART_M
    for shopper in reenactment.shoppers:
        times = np.arange(shopper.first_s, shopper.last_s, 0.02)
        path = shopper.position(times)
        assert obstacle_distance(store, path).min() >= LEAST_FROM_SHELVES_M
        entered, left = (crossing.time_s for crossing in reenactment.crossings if crossing.person == shopper.person)
        inside = (times > entered + 0.2) & (times < left - 0.2)
        assert store.on_floor(path[inside]).all()
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() / 0.02 < 4.0


def check_hands(store, reenactment):
    for shopper in reenactment.shoppers:
        for reach in shopper.reaches:
            times = np.array([reach.start_s, reach.time_s, reach.end_s])
            wrists = shopper.wrists(times)[0 if reach.left_hand else 1]
            for wrist in wrists[:2] if reach.products else []:
                assert min(distance_to_plate(store.plate(*key), wrist) for key in reach.plates) < 0.05
            joints = shopper.keypoints(times)
            arm = joints[1, 7 if reach.left_hand else 8] - joints[1, 5 if reach.left_hand else 6]
            assert np.linalg.norm(arm) < 0.25 * shopper.stature


@pytest.mark.parametrize("profile", ["nominal", "harsh"])
def test_all_labelled_sessions(store, all_sessions, profile):
    for session in all_sessions:
        enactment = enact(store, session)
        reenactment = reenact(store, session.session, enactment.events, PROFILES[profile].hands, seed=3)
        check_bodies(store, reenactment)
        check_hands(store, reenactment)
        for shopper in reenactment.shoppers:
            labels = [event.t_s for event in enactment.events if event.person == shopper.person]
            for i, (reach, t_s) in enumerate(zip(shopper.reaches, labels, strict=True)):
                crowded = i and t_s - labels[i - 1] < 3.0
                if not crowded and not any("late" in warning for warning in reenactment.warnings):
                    assert reach.time_s - reenactment.lead_in_s == pytest.approx(t_s, abs=0.3)


def test_two_people_at_the_same_plates_at_once(store):
    events = [EnactedEvent(0.0, person, "pick", (("3", "4", "7"),), (store.planogram["3", "4", "7"][0],)) for person in "ab"]
    reenactment = reenact(store, "together", events, HandsProfile(), seed=0)
    check_bodies(store, reenactment)
    check_hands(store, reenactment)
    one, other = reenactment.reaches
    assert abs(one.time_s - other.time_s) < 0.4


def test_four_people_cross_the_aisle(store):
    places = [("1", "3", "2"), ("4", "3", "5"), ("2", "3", "5"), ("3", "4", "6")]
    events = [
        EnactedEvent(8.0 * turn, f"p{i}", "pick", (places[(i + turn) % 4],), (store.planogram[places[(i + turn) % 4]][0],))
        for turn in range(3)
        for i in range(4)
    ]
    reenactment = reenact(store, "crowd", events, HandsProfile(), seed=1)
    check_bodies(store, reenactment)
    check_hands(store, reenactment)


def test_reaches_within_one_second_follow_one_another_in_the_labels_order(store):
    plates = ["3", "5", "7", "6"]
    events = [EnactedEvent(0.0, "p", "pick", (("5", "2", plate),), (store.planogram["5", "2", plate][0],)) for plate in plates]
    reenactment = reenact(store, "hasty", events, HandsProfile(), seed=0)
    reaches = reenactment.shoppers[0].reaches
    assert [reach.plates[0][2] for reach in reaches] == plates
    gaps = np.diff([reach.time_s for reach in reaches])
    assert (gaps > 0.5).all()
    assert (gaps < 2.0).all()
    assert any("late" in warning for warning in reenactment.warnings)


def test_the_store_is_empty_before_and_after_and_everybody_passes_the_gates(store, sessions):
    session = next(session for session in sessions.values() if len(session.persons) > 1)
    reenactment = reenact(store, "s", enact(store, session).events, HandsProfile(), seed=0)
    assert min(shopper.first_s for shopper in reenactment.shoppers) >= EMPTY_BEFORE_S - 0.11
    assert reenactment.duration_s - max(shopper.last_s for shopper in reenactment.shoppers) == pytest.approx(EMPTY_AFTER_S)
    for shopper in reenactment.shoppers:
        entry, leave = (crossing for crossing in reenactment.crossings if crossing.person == shopper.person)
        assert (entry.kind, leave.kind) == (GateEventKind.ENTRY, GateEventKind.EXIT)
        assert entry.time_s < shopper.reaches[0].time_s < leave.time_s
        for crossing in (entry, leave):
            ends = store.gates[crossing.gate].ends
            at = shopper.position(np.array([crossing.time_s]))[0]
            along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
            offset = at - ends.mean(axis=0)
            assert abs(offset @ along) <= np.linalg.norm(ends[1] - ends[0]) / 2
            assert np.linalg.norm(offset - (offset @ along) * along) < 0.1


def test_one_gate_for_both_directions(store):
    gate = replace(store.gates["entrance"], kind=GateKind.BOTH)
    shop = replace(store, gates={gate.gate: gate})
    events = [
        EnactedEvent(3.0 * i, person, "pick", (("2", "4", "5"),), (store.planogram["2", "4", "5"][0],)) for i, person in enumerate("ab")
    ]
    reenactment = reenact(shop, "one door", events, HandsProfile(), seed=0)
    check_bodies(shop, reenactment)
    assert [crossing.kind for crossing in reenactment.crossings].count(GateEventKind.EXIT) == 2


def test_a_store_without_an_exit_is_refused(store):
    shop = replace(store, gates={"entrance": store.gates["entrance"]})
    with pytest.raises(ValueError, match="no gate is an exit"):
        reenact(shop, "s", [EnactedEvent(0.0, "p", "pick", (("2", "4", "5"),), ())], HandsProfile(), seed=0)


def test_a_session_without_events_is_an_empty_store(store):
    reenactment = reenact(store, "nobody", [], HandsProfile(), seed=0)
    assert reenactment.shoppers == ()
    assert reenactment.duration_s == EMPTY_BEFORE_S + EMPTY_AFTER_S
