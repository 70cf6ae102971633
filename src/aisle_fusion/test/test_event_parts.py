"""Events that are parts of one move, and events that are several moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fusion_scene import (
    at,
    closed_carts,
    contents,
    enters_and_leaves,
    gate_heartbeats,
    in_order,
    run,
    shelf_event,
    shelf_records,
    tracks_of,
)
from hypothesis import given
from hypothesis import strategies as st

from aisle_contract.records import ShelfEvent, ShelfEventStatus
from aisle_fusion.cart_fusion import CartFusionConfig
from aisle_fusion.event_parts import PartsConfig, join_gain, joined, may_belong_together, opposite_parts, without_hand

ORDER = [str(i) for i in range(1, 13)]


def following(*kilograms: float, apart_s: float = 0.1) -> list[ShelfEvent]:
    """Events of half a second at one plate."""
    starts = [8 + number * (0.5 + apart_s) for number in range(len(kilograms))]
    return [shelf_event(start, start + 0.5, "1", {7: change}) for start, change in zip(starts, kilograms, strict=True)]


def test_a_slow_lift_in_two_steps_is_one_pick():
    walker = enters_and_leaves("a", 1.0, 25.0, 0.9).reach(7.5, 11, "1", 11)
    parts = shelf_event(8, 9, "1", {10: -0.02, 11: -0.11}), shelf_event(9.6, 10.6, "1", {10: -0.02, 11: -0.1})
    gates = gate_heartbeats(30, (1.0, "in", "Ann"), (25.0, "out", ""))
    (cart,) = closed_carts(run(in_order(tracks_of([walker], 30), gates, shelf_records(30, *parts))))
    assert contents(cart) == {"jar": 1}
    (evidence,) = cart.lines[0].evidence
    assert evidence.event == "e_1_8_10+e_1_9.6_10"
    assert evidence.change == pytest.approx(-0.25)


def test_two_picks_of_one_product_in_a_row_stay_two():
    walker = enters_and_leaves("a", 1.0, 25.0, 0.7).reach(7.5, 11, "1", 8)
    picks = shelf_event(8, 9, "1", {8: -0.06}), shelf_event(9.6, 10.2, "1", {8: -0.061})
    gates = gate_heartbeats(30, (1.0, "in", "Ann"), (25.0, "out", ""))
    (cart,) = closed_carts(run(in_order(tracks_of([walker], 30), gates, shelf_records(30, *picks))))
    assert contents(cart) == {"green": 2}
    assert len(cart.lines[0].evidence) == 2


def test_what_one_puts_back_and_another_takes_at_once_has_moved():
    ann = enters_and_leaves("a", 1.0, 25.0, 1.1).reach(7.5, 9, "1", 2).reach(14.5, 15.4, "1", 11)
    ben = enters_and_leaves("b", 3.0, 27.0, 0.9).reach(16.6, 18.7, "1", 11)
    events = shelf_event(8, 9, "1", {2: -0.1}), shelf_event(15, 15.5, "1", {11: 0.086}), shelf_event(16.8, 18.6, "1", {11: -0.086})
    gates = gate_heartbeats(32, (1.0, "in", "Ann"), (3.0, "in", "Ben"), (25.0, "out", ""), (27.0, "out", ""))
    carts = closed_carts(run(in_order(tracks_of([ann, ben], 32), gates, shelf_records(32, *events))))
    (product,) = {line.product for cart in carts for line in cart.lines}
    assert {cart.shopper: contents(cart) for cart in carts} == {"Ann": {}, "Ben": {product: 1}}


def test_a_thing_that_is_taken_again_is_no_hand_that_rested():
    # As in a crowd: the put fits its goods badly, and nothing that belongs there was taken.
    evidence, events = (-1.3, (-1.5, -5.0)), following(0.086, -0.087)
    assert join_gain(*evidence, events, PartsConfig()) > 0
    assert join_gain(*evidence, events, PartsConfig(), taken_again=-1.5 + 9.0) < 0
    assert join_gain(*evidence, events, PartsConfig(), taken_again=-1.5 - 9.0) > 0
    # A hand leaves soon.
    assert join_gain(*evidence, following(0.086, -0.087, apart_s=4.0), PartsConfig()) < 0


def test_picks_and_put_backs_in_one_event_are_told_apart():
    walker = enters_and_leaves("a", 1.0, 25.0, 0.5).reach(7.5, 9, "1", 2)
    walker.reach(11.5, 12.6, "1", 2).reach(12.7, 13.3, "1", 7.5).reach(13.4, 14.2, "1", 11)
    taken = shelf_event(8, 9, "1", {2: -0.1})
    mixed = shelf_event(12, 14, "1", {1: 0.02, 2: 0.08, 7: -0.02, 8: -0.04, 11: -0.25})
    gates = gate_heartbeats(30, (1.0, "in", "Ann"), (25.0, "out", ""))
    (cart,) = closed_carts(run(in_order(tracks_of([walker], 30), gates, shelf_records(30, taken, mixed))))
    assert contents(cart) == {"green": 1, "jar": 1}


def test_events_belong_together_only_on_one_shelf_soon_after_and_with_plates_in_common():
    first = shelf_event(8, 9, "1", {7: -0.03})
    config = PartsConfig()
    assert may_belong_together(first, shelf_event(9.5, 10, "1", {7: -0.03}), config)
    assert not may_belong_together(first, shelf_event(9.5, 10, "2", {7: -0.03}), config)
    assert may_belong_together(first, shelf_event(9.5, 10, "1", {7: 0.03}), config)
    assert not may_belong_together(first, shelf_event(11, 12, "1", {7: -0.03}), config)
    assert not may_belong_together(first, shelf_event(11, 12, "1", {7: 0.03}), config)
    assert not may_belong_together(first, shelf_event(9.5, 10, "1", {9: -0.03}), config)


def test_a_hand_may_rest_for_some_seconds_before_it_leaves():
    hand, config = shelf_event(8, 9, "1", {7: 0.8}), PartsConfig()
    assert may_belong_together(hand, shelf_event(13, 14, "1", {7: -0.9}), config)
    assert not may_belong_together(hand, shelf_event(15, 16, "1", {7: -0.9}), config)


def test_joining_adds_changes_and_what_was_measured_between_them_cancels_out():
    first, second = shelf_event(8, 9, "1", {1: -0.1, 2: -0.2}, 0.003), shelf_event(9.5, 10, "1", {2: -0.1, 3: -0.05}, 0.004)
    whole = joined(first, second, PartsConfig())
    assert whole.plates == ("1", "2", "3")
    assert whole.change == pytest.approx([-0.1, -0.3, -0.05])
    assert whole.deviation == pytest.approx([0.003, 0.005 / np.sqrt(2), 0.004])
    assert whole.end_ns > whole.start_ns


def test_variances_add_up_where_the_level_was_taken_anew_between_two_parts():
    first, second = shelf_event(8, 9, "1", {2: 0.2}, 0.003), shelf_event(12, 13, "1", {2: -0.3}, 0.004)
    assert joined(first, second, PartsConfig(rest_unsteadiness=0.0)).deviation == pytest.approx([0.005])


def test_the_load_of_a_hand_that_rested_was_not_steady():
    hand, leaves = shelf_event(8, 9, "1", {1: 0.3, 2: 0.6}, 0.003), shelf_event(12, 13, "1", {2: -1.0}, 0.004)
    whole = joined(hand, leaves, PartsConfig(rest_unsteadiness=0.1))
    assert whole.change == pytest.approx([0.3, -0.4])
    assert whole.deviation == pytest.approx([np.hypot(0.003, 0.03), np.hypot(0.005, 0.06)])


def test_what_went_beside_a_hand():
    left = shelf_event(16, 17, "1", {6: -0.1, 7: -0.34}, 0.003, {6: 16.1, 7: 16.4})
    rest = without_hand(left, {"5": 0.0, "6": 0.1, "7": 0.3, "8": 0.02}, PartsConfig(rest_unsteadiness=0.1))
    assert rest.plates == ("6", "7", "8")
    assert rest.change == pytest.approx([0.0, -0.04, 0.02])
    # What came was measured, too, and a hand is not steady.
    assert rest.deviation == pytest.approx([np.hypot(0.003 * np.sqrt(2), 0.01), np.hypot(0.003 * np.sqrt(2), 0.03), 0.002])
    assert rest.changed_ns.tolist() == [at(16.1), at(16.4), at(16.4)]
    assert without_hand(left, {"7": 0.45}, PartsConfig()) is None
    assert without_hand(shelf_event(16, 17, "1", {7: -0.3}), {"7": 0.2}, PartsConfig()).change == pytest.approx([-0.1])


def test_a_slow_lift_is_waited_for_while_the_shelf_has_not_settled():
    """Three parts, the last of which is final only when the first would be due; what comes of them is one pick."""
    walker = enters_and_leaves("a", 1.0, 30.0, 0.9).reach(7.5, 15, "1", 11)
    parts = [shelf_event(8, 9, "1", {10: -0.02, 11: -0.06}), shelf_event(9.8, 10.6, "1", {10: -0.02, 11: -0.07})]
    last = shelf_event(11.6, 14.6, "1", {11: -0.08})
    open_until = replace(last, status=ShelfEventStatus.PROVISIONAL, end_ns=parts[0].end_ns + 3_000_000_000)
    gates = gate_heartbeats(36, (1.0, "in", "Ann"), (30.0, "out", ""))
    told = in_order(tracks_of([walker], 36), gates, shelf_records(36, *parts, last, open_until))
    (cart,) = closed_carts(run(told))
    assert contents(cart) == {"jar": 1}
    assert cart.lines[0].evidence[0].change == pytest.approx(-0.25)
    (without,) = closed_carts(run(told, CartFusionConfig(unsettled_s=0.0)))
    assert contents(without) != {"jar": 1} or without.lines[0].evidence[0].change != pytest.approx(-0.25)


def test_one_hand_does_not_take_and_put_at_once():
    """Who holds a red one puts it back; whose hand is a little farther took the green one in the same moment."""
    ann = enters_and_leaves("a", 1.0, 25.0, 0.3).reach(7.5, 9, "1", 2).reach(14.6, 15.8, "1", 5)
    ben = enters_and_leaves("b", 3.0, 27.0, 0.75).reach(14.6, 15.8, "1", 9.5)
    events = shelf_event(8, 9, "1", {2: -0.1}), shelf_event(15, 15.6, "1", {4: 0.1, 5: 0.0, 6: 0.0, 7: -0.06})
    gates = gate_heartbeats(32, (1.0, "in", "Ann"), (3.0, "in", "Ben"), (25.0, "out", ""), (27.0, "out", ""))
    carts = closed_carts(run(in_order(tracks_of([ann, ben], 32), gates, shelf_records(32, *events))))
    assert {cart.shopper: contents(cart) for cart in carts} == {"Ann": {}, "Ben": {"green": 1}}


def test_parts_take_the_quiet_plates_beside_them_and_what_was_taken_comes_first():
    event = shelf_event(8, 9, "1", {1: 0.001, 2: 0.1, 3: 0.002, 5: -0.001, 6: -0.06, 7: -0.002})
    taken, put = opposite_parts(event, ORDER, 0.015)
    assert (taken.plates, put.plates) == (("5", "6", "7"), ("1", "2", "3"))


def test_cross_talk_in_the_other_direction_is_no_part():
    event = shelf_event(8, 9, "1", {5: 0.02, 6: -0.64, 7: 0.018})
    assert opposite_parts(event, ORDER, 0.015) == [event]


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=12))
def test_parts_have_all_plates_once_and_the_whole_change(changes):
    event = shelf_event(8, 9, "1", {i + 1: change for i, change in enumerate(changes)})
    parts = opposite_parts(event, ORDER, 0.015)
    assert sorted(plate for part in parts for plate in part.plates) == sorted(event.plates)
    assert np.isclose(sum(part.change.sum() for part in parts), event.change.sum())


def test_three_parts_of_a_slow_lift_are_one_where_two_are_not():
    """Densities: together they weigh as much as one thing that stands there, by two or alone only as less likely ones."""
    config = PartsConfig()
    parts, events = (1.5, 1.0, 0.5), following(-0.09, -0.105, -0.07)
    assert join_gain(-1.0, parts[:2], events[:2], config) < 0
    assert join_gain(7.5, parts, events, config) > 0
    assert join_gain(7.5, parts, following(-0.09, -0.105, 0.07), config) < 0
