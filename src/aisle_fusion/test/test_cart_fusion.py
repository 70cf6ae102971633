"""Carts from hand-made tracks, shelf events and gate events."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from fusion_scene import (
    Walker,
    at,
    closed_carts,
    contents,
    enters_and_leaves,
    gate_heartbeats,
    in_order,
    run,
    shelf_event,
    shelf_records,
    small_store,
    tracks_of,
)

from aisle_contract.records import Alert, Cart, CartStatus, GateEvent, Record, ShelfEvent, ShelfEvents, ShelfEventStatus, Tracks
from aisle_fusion.cart_fusion import CartFusion, CartFusionConfig


def alone(*events, reaches=(), end: float = 30.0) -> list[Record]:
    """One shopper, Ann, in the shop from 1 to ``end`` - 5 s at x = 0.45."""
    walker = enters_and_leaves("a", 1.0, end - 5.0, 0.45)
    for reach in reaches:
        walker.reach(*reach)
    gates = gate_heartbeats(end, (1.0, "in", "Ann"), (end - 5.0, "out", ""))
    return in_order(tracks_of([walker], end), gates, shelf_records(end, *events))


def only_cart(records: list[Record]) -> Cart:
    carts = closed_carts(run(records))
    assert len(carts) == 1
    return carts[0]


def test_pick_is_in_the_cart_with_its_evidence():
    cart = only_cart(alone(shelf_event(8, 9, "1", {7: -0.018, 8: -0.04}), reaches=[(7.5, 9, "1", 7.7)]))
    assert (cart.shopper, cart.track, contents(cart)) == ("Ann", "a", {"green": 1})
    assert cart.entered_ns == pytest.approx(at(1.0), abs=1e7)
    assert cart.left_ns == pytest.approx(at(25.0), abs=3e8)
    line = cart.lines[0]
    assert line.probability > 0.98
    (evidence,) = line.evidence
    assert (evidence.event, evidence.quantity, evidence.plates) == ("e_1_8_7", 1, ("7", "8"))
    assert evidence.change == pytest.approx(-0.058)
    assert evidence.expected == pytest.approx(-0.06, rel=0.01)
    assert evidence.distance < 0.1
    assert cart.doubts == ()


def measured_again(event: ShelfEvent, told_at: float, *changes: float) -> list[ShelfEvents]:
    """The event as it was measured again, told at a time."""
    refined = replace(event, status=ShelfEventStatus.REFINED, change=np.array(changes), deviation=np.full(len(changes), 0.001))
    return [ShelfEvents(at(told_at) + 3, (refined,))]


#: On loud plates, between the red and the blue ones (100 g both): it may be either.
LOUD = shelf_event(8, 9, "1", {3: -0.03, 4: -0.05}, 0.012)
REACH = (7.5, 9, "1", 3.5)


@pytest.mark.parametrize(("shares", "product"), [((-0.03, -0.07), "blue"), ((-0.07, -0.03), "red")])
def test_what_was_measured_again_before_the_decision_counts(shares: tuple[float, float], product: str):
    cart = only_cart(in_order(alone(LOUD, reaches=[REACH]), measured_again(LOUD, 12.0, *shares)))
    assert contents(cart) == {product: 1}
    assert cart.lines[0].evidence[0].change == pytest.approx(-0.1)
    first = only_cart(alone(LOUD, reaches=[REACH]))
    assert cart.lines[0].probability > first.lines[0].probability


def test_what_is_measured_again_too_late_or_without_a_first_time_changes_nothing():
    first = only_cart(alone(LOUD, reaches=[REACH]))
    for records in (
        in_order(alone(LOUD, reaches=[REACH]), measured_again(LOUD, 14.0, -0.03, -0.07)),
        in_order(alone(LOUD, reaches=[REACH]), measured_again(replace(LOUD, event="e_1_8_4"), 12.0, -0.03, -0.07)),
    ):
        carts = [record for record in run(records) if isinstance(record, Cart)]
        assert [line.evidence[0].change for line in carts[-1].lines] == [line.evidence[0].change for line in first.lines]
        assert all(sum(contents(cart).values()) <= 1 for cart in carts)


def test_place_decides_between_products_of_equal_weight():
    red = only_cart(alone(shelf_event(8, 9, "1", {1: -0.03, 2: -0.07}), reaches=[(7.5, 9, "1", 2)]))
    blue = only_cart(alone(shelf_event(8, 9, "1", {5: -0.06, 6: -0.04}), reaches=[(7.5, 9, "1", 5.5)]))
    assert (contents(red), contents(blue)) == ({"red": 1}, {"blue": 1})


def test_load_between_two_equal_products_is_uncertain_and_names_the_alternative():
    cart = only_cart(alone(shelf_event(8, 9, "1", {3: -0.05, 4: -0.05}), reaches=[(7.5, 9, "1", 3.5)]))
    line = cart.lines[0]
    assert 0.35 < line.probability < 0.7
    other = "blue" if line.product == "red" else "red"
    assert line.evidence[0].alternative == f"Ann / {other} x1"
    assert line.evidence[0].alternative_probability > 0.25
    assert cart.doubts


def test_several_pieces_at_once():
    cart = only_cart(alone(shelf_event(8, 10, "1", {7: -0.05, 8: -0.07}), reaches=[(7.5, 10, "1", 7.6)]))
    assert contents(cart) == {"green": 2}


def test_two_products_taken_in_one_event():
    event = shelf_event(8, 10, "2", {2: -0.06, 3: -0.34, 4: -0.1, 5: -0.06})
    cart = only_cart(alone(event, reaches=[(7.5, 10, "2", 3.5)]))
    assert contents(cart) == {"box": 1, "tin": 1}


def test_a_hand_that_rested_before_a_pick_is_no_goods():
    rest, pick = shelf_event(8, 8.4, "1", {7: 0.23, 8: 0.21}), shelf_event(8.8, 9.4, "1", {7: -0.31, 8: -0.25})
    cart = only_cart(alone(rest, pick, reaches=[(7.5, 9.5, "1", 7.5)]))
    assert contents(cart) == {"green": 2}


def test_a_thing_put_back_before_another_is_taken_from_there_is_no_hand():
    taken = shelf_event(5, 6, "1", {10: -0.25})
    put, pick = shelf_event(12, 12.5, "1", {10: 0.25}), shelf_event(13.2, 13.7, "1", {9: -0.02, 10: -0.23})
    cart = only_cart(alone(taken, put, pick, reaches=[(4.5, 6, "1", 10), (11.5, 14, "1", 9.9)]))
    assert contents(cart) == {"jar": 1}
    assert len(cart.lines[0].evidence) == 3


@pytest.mark.parametrize("left", [-0.252, -0.312], ids=["hand", "hand with goods"])
def test_a_hand_that_rests_for_long_is_not_bought_when_it_leaves(left: float):
    """It weighs as much as a jar stands for; who never held one has none when that weight goes again. What went beside it was taken."""
    rest, leaves = shelf_event(8, 8.6, "1", {7: 0.12, 8: 0.13}), shelf_event(16, 16.6, "1", {7: 0.48 * left, 8: 0.52 * left})
    cart = only_cart(alone(rest, leaves, reaches=[(7.5, 17, "1", 7.5)]))
    assert contents(cart) == ({} if left > -0.3 else {"green": 1})


@pytest.mark.parametrize("heavier", [0.92, 1.0, 1.1])
def test_a_hand_that_leaves_with_goods_need_not_weigh_what_it_weighed_when_it_came(heavier: float):
    """A hand is not still: when it leaves with something it may weigh otherwise than when it came. Red ones stand elsewhere."""
    rest = shelf_event(8, 8.6, "1", {7: 0.12, 8: 0.13})
    leaves = shelf_event(20, 20.6, "1", {7: -0.12 * heavier - 0.03, 8: -0.13 * heavier - 0.03})
    cart = only_cart(alone(rest, leaves, reaches=[(7.5, 21, "1", 7.5)], end=35.0))
    assert contents(cart) == {"green": 1}
    # Nothing is learned from it of what a green one weighs.
    (evidence,) = cart.lines[0].evidence
    assert evidence.expected == pytest.approx(-0.06)


def test_put_back_leaves_the_cart():
    pick = shelf_event(8, 9, "1", {7: -0.06})
    put = shelf_event(14, 15, "1", {7: 0.03, 8: 0.03})
    cart = only_cart(alone(pick, put, reaches=[(7.5, 9, "1", 7), (13.5, 15, "1", 7.5)]))
    assert contents(cart) == {}


def test_put_back_settles_what_was_taken():
    """Between red and blue the pick is open; what comes back onto red's plates was the red one."""
    pick = shelf_event(8, 9, "1", {3: -0.052, 4: -0.048})
    put = shelf_event(14, 15, "1", {1: 0.05, 2: 0.05})
    cart = only_cart(alone(pick, put, reaches=[(7.5, 9, "1", 3.5), (13.5, 15, "1", 1.5)]))
    assert contents(cart) == {}
    assert cart.doubts == ()


@pytest.mark.parametrize(("first", "second"), [("red", "blue"), ("blue", "red")])
def test_who_puts_one_of_two_back_puts_the_last_back(first: str, second: str):
    """Both weigh the same, and it is put between their places."""
    where = {"red": (1, 2), "blue": (5, 6)}
    events, reaches = [], []
    for start, product in ((8.0, first), (11.0, second)):
        events.append(shelf_event(start, start + 1, "1", {plate: -0.05 for plate in where[product]}))
        reaches.append((start - 0.5, start + 1, "1", sum(where[product]) / 2))
    put = shelf_event(14, 15, "1", {3: 0.05, 4: 0.05})
    cart = only_cart(alone(*events, put, reaches=[*reaches, (13.5, 15, "1", 3.5)]))
    assert contents(cart) == {first: 1}


def two_shoppers(*events, ann=(), bob=(), ann_x: float = 0.2, bob_x: float = 0.9, end: float = 40.0) -> list[Record]:
    walkers = [enters_and_leaves("a", 1.0, end - 8.0, ann_x), enters_and_leaves("b", 3.0, end - 5.0, bob_x)]
    for walker, reaches in zip(walkers, (ann, bob), strict=True):
        for reach in reaches:
            walker.reach(*reach)
    gates = gate_heartbeats(end, (1.0, "in", "Ann"), (3.0, "in", "Bob"), (end - 8.0, "out", ""), (end - 5.0, "out", ""))
    return in_order(tracks_of(walkers, end), gates, shelf_records(end, *events))


def by_shopper(records: list[Record]) -> dict[str, dict[str, int]]:
    carts = closed_carts(records)
    assert len({cart.shopper for cart in carts}) == len(carts)
    return {cart.shopper: contents(cart) for cart in carts}


def test_two_reach_at_once_into_one_shelf():
    events = shelf_event(12, 13, "1", {2: -0.1}), shelf_event(12.1, 13, "1", {7: -0.03, 8: -0.03})
    records = two_shoppers(*events, ann=[(11.5, 13, "1", 2)], bob=[(11.5, 13, "1", 7.5)], ann_x=0.3, bob_x=0.65)
    assert by_shopper(run(records)) == {"Ann": {"red": 1}, "Bob": {"green": 1}}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (shelf_event(12, 13, "1", {2: -0.1}), shelf_event(12, 13, "1", {11: -0.25})),
        # Events that hardly overlap: when the plates changed tells more.
        (shelf_event(12, 12.2, "1", {2: -0.1}, changed={2: 12.15}), shelf_event(12.1, 12.4, "1", {11: -0.25}, changed={11: 12.35})),
    ],
)
def test_one_person_is_hardly_at_two_places_at_once(left: ShelfEvents, right: ShelfEvents):
    """Bob's hand is nearer to both, but he has only been at one of them; without the other event it would have been his."""
    ann, bob = [(11.5, 13, "1", 3.4)], [(11.5, 12.2, "1", 3.2), (12.2, 13, "1", 11)]
    alone_there = by_shopper(run(two_shoppers(left, ann=ann, bob=bob, ann_x=0.3, bob_x=0.7)))
    assert alone_there == {"Ann": {}, "Bob": {"red": 1}}
    both = by_shopper(run(two_shoppers(left, right, ann=ann, bob=bob, ann_x=0.3, bob_x=0.7)))
    assert both == {"Ann": {"red": 1}, "Bob": {"jar": 1}}


def test_crossed_hands_outweigh_bodies():
    events = shelf_event(12, 13, "1", {2: -0.1}), shelf_event(12.1, 13, "1", {7: -0.03, 8: -0.03})
    records = two_shoppers(*events, ann=[(11.5, 13, "1", 7.5)], bob=[(11.5, 13, "1", 2)], ann_x=0.35, bob_x=0.6)
    assert by_shopper(run(records)) == {"Ann": {"green": 1}, "Bob": {"red": 1}}


def test_two_people_in_one_event():
    event = shelf_event(12, 13.5, "1", {2: -0.04, 3: -0.06, 4: -0.05, 5: -0.05})
    records = two_shoppers(event, ann=[(11.5, 13, "1", 2)], bob=[(12.0, 13.5, "1", 5)], ann_x=0.2, bob_x=0.55)
    assert by_shopper(run(records)) == {"Ann": {"red": 1}, "Bob": {"blue": 1}}


@pytest.mark.parametrize("in_one_event", [True, False])
@pytest.mark.parametrize("apart_s", [0.0, 2.0])
def test_a_hand_between_two_places_counts_once(apart_s: float, in_one_event: bool):
    """Ann puts back; what goes beside it at once was taken by the other hand that was near, though not as near as hers."""
    changed = {7: 14.5, 8: 14.5, 9: 14.5 + apart_s, 10: 14.5 + apart_s}
    taken = shelf_event(8, 9, "1", {7: -0.06}, changed={7: 8.5})
    put, gone = {7: 0.03, 8: 0.03}, {9: -0.1, 10: -0.15}
    events = [put | gone] if in_one_event else [put, gone]
    both = [shelf_event(14, 17, "1", part, changed={plate: changed[plate] for plate in part}) for part in events]
    ann, bob = [(7.5, 9, "1", 7), (14.0, 17.5, "1", 8.5)], [(14.0, 17.5, "1", 11)]
    carts = by_shopper(run(two_shoppers(taken, *both, ann=ann, bob=bob, ann_x=0.75, bob_x=1.1)))
    # Two seconds are enough to put one thing and take another.
    assert carts == ({"Ann": {}, "Bob": {"jar": 1}} if apart_s == 0.0 else {"Ann": {"jar": 1}, "Bob": {}})


def test_put_elsewhere_then_bought_by_another():
    events = (
        shelf_event(8, 9, "2", {5: -0.16}),
        shelf_event(12, 13, "1", {2: 0.161}),
        shelf_event(20, 21, "1", {2: -0.159}),
    )
    ann = [(7.5, 9, "2", 5), (11.5, 13, "1", 2)]
    records = two_shoppers(*events, ann=ann, bob=[(19.5, 21, "1", 2)], ann_x=0.3, bob_x=0.6)
    assert by_shopper(run(records)) == {"Ann": {}, "Bob": {"box": 1}}


def test_a_piece_put_elsewhere_and_taken_again_leaves_no_trace():
    events = (
        shelf_event(8, 9, "1", {2: -0.1}),
        shelf_event(12, 13, "1", {5: 0.1}),
        shelf_event(18, 19, "1", {5: -0.1}),
    )
    reaches = [(7.5, 9, "1", 2), (11.5, 13, "1", 5), (17.5, 19, "1", 5)]
    cart = only_cart(alone(*events, reaches=reaches))
    # Red or blue stands at plate 5 now: only how much is held is certain.
    assert sum(contents(cart).values()) == 1


def test_event_with_nobody_near_is_kept_apart_and_reported():
    records = run(two_shoppers(shelf_event(12, 13, "1", {2: -0.1}), ann_x=4.0, bob_x=3.6))
    assert by_shopper(records) == {"Ann": {}, "Bob": {}}
    assert [alert.code for alert in records if isinstance(alert, Alert)] == ["unattributed_pick"]


def test_restocking_with_nobody_near_changes_no_cart():
    records = run(two_shoppers(shelf_event(12, 13, "1", {2: 0.1}), ann_x=4.0, bob_x=3.6))
    assert by_shopper(records) == {"Ann": {}, "Bob": {}}
    assert [alert.code for alert in records if isinstance(alert, Alert)] == ["unattributed_put"]


def test_without_wrists_the_body_decides():
    records = []
    for record in two_shoppers(shelf_event(12, 13, "1", {2: -0.1}), ann_x=0.15, bob_x=1.4):
        if isinstance(record, Tracks):
            bare = [type(t)(t.track, t.position, t.velocity, t.covariance, t.existence, t.unseen_s) for t in record.tracks]
            record = Tracks(record.stamp_ns, tuple(bare))
        records.append(record)
    assert by_shopper(run(records)) == {"Ann": {"red": 1}, "Bob": {}}


def test_a_press_that_leaves_a_few_grams_is_nothing():
    records = run(alone(shelf_event(8, 9, "1", {2: -0.006}), reaches=[(7.5, 9, "1", 2)]))
    assert contents(closed_carts(records)[0]) == {}
    assert not [record for record in records if isinstance(record, Alert)]


def test_recording_without_gates_starts_inside():
    walker = Walker("a", (0, 0.45, -0.5), (15, 0.45, -0.5), (18, -0.4, -2.0), (18.4, -0.4, -2.4)).reach(7.5, 9, "1", 7.5)
    records = in_order(tracks_of([walker], 30), shelf_records(30, shelf_event(8, 9, "1", {7: -0.03, 8: -0.03})))
    (cart,) = closed_carts(run(records))
    assert (cart.shopper, contents(cart), cart.doubts) == ("", {"green": 1}, ())


BUSY = two_shoppers(
    shelf_event(8, 9, "1", {3: -0.05, 4: -0.05}),
    shelf_event(12, 13, "1", {7: -0.06}),
    shelf_event(12.1, 13, "2", {2: -0.4}),
    shelf_event(20, 21, "1", {7: 0.06}),
    ann=[(7.5, 9, "1", 3.5), (11.5, 13, "1", 7)],
    bob=[(11.5, 13, "2", 2), (19.5, 21, "1", 7)],
    ann_x=0.4,
    bob_x=0.6,
)


@pytest.mark.parametrize("seed", range(3))
def test_arrival_order_does_not_matter(seed):
    """Records of each source come in order, but late by up to two seconds against the others."""
    shuffled = random.Random(seed)
    lateness: dict[str, int] = {}
    arrivals = []
    for number, record in enumerate(BUSY):
        source = type(record).__name__ + (record.gate if isinstance(record, GateEvent) else "")
        arrival = max(lateness.get(source, 0), record.stamp_ns + shuffled.randrange(2_000_000_000))
        lateness[source] = arrival
        arrivals.append((arrival, number, record))
    records = [record for _, _, record in sorted(arrivals, key=lambda entry: entry[:2])]
    assert closed_carts(run(records)) == closed_carts(run(BUSY))


def test_same_records_same_output():
    assert [r for r in run(BUSY) if isinstance(r, Cart)] == [r for r in run(BUSY) if isinstance(r, Cart)]


def test_a_cart_is_closed_once_and_shown_when_it_changes():
    carts = [record for record in run(BUSY) if isinstance(record, Cart)]
    ann = [cart for cart in carts if cart.shopper == "Ann"]
    assert [cart.status for cart in ann].count(CartStatus.CLOSED) == 1
    assert ann[-1].status == CartStatus.CLOSED
    assert contents(ann[0]) == {}
    assert any(cart.lines for cart in ann if cart.status == CartStatus.OPEN)


def test_closing_does_not_wait_for_the_end_of_the_recording():
    fusion = CartFusion(small_store(), CartFusionConfig())
    given = [record for item in BUSY for record in fusion.step(item).records]
    assert [cart.shopper for cart in closed_carts(given)] == ["Ann", "Bob"] or len(closed_carts(given)) == 1


def test_who_is_inside_when_the_recording_ends_keeps_the_cart_and_is_doubted():
    event = shelf_event(8, 9, "1", {7: -0.018, 8: -0.04})
    cut = [record for record in alone(event, reaches=[(7.5, 9, "1", 7.7)]) if record.stamp_ns <= at(15.0)]
    cart = only_cart(cut)
    assert contents(cart) == {"green": 1}
    assert cart.doubts == ("the recording ended while the shopper was still inside",)
    assert cart.left_ns <= at(15.0)


def test_shelves_that_never_report_are_doubted_and_stop_nothing():
    records = [record for record in alone(end=45.0) if not isinstance(record, ShelfEvents)]
    cart = only_cart(records)
    assert cart.doubts == ("the shelves did not report while the shopper was inside",)


def test_event_of_an_unknown_plate_is_refused_with_its_name():
    fusion = CartFusion(small_store(), CartFusionConfig())
    event = shelf_event(1, 2, "1", {77: -0.1})
    warnings = fusion.step(ShelfEvents(at(3), (event,))).warnings + fusion.flush().warnings
    assert warnings == ["shelf event 'e_1_1_77': plate '77' is not on gondola '1' shelf '1'"]


def test_memory_is_bounded_over_a_long_run():
    fusion = CartFusion(small_store(), CartFusionConfig(history_s=10.0))
    sizes = []
    for round_number in range(12):
        shift = round_number * 60
        for record in _shifted(BUSY, shift):
            fusion.step(record)
        sizes.append(len(fusion._history) + len(fusion._judged) + len(fusion._sessions.visits) + len(fusion._sessions._visit_of_track))
    assert max(sizes[6:]) <= max(sizes[:3])
    assert len(fusion._hypotheses) <= CartFusionConfig().hypotheses


def _shifted(records: list[Record], seconds: float):
    """The same records later; tracks get new names."""
    shift = round(seconds * 1e9)
    for record in records:
        if isinstance(record, GateEvent):
            yield GateEvent(record.stamp_ns + shift, record.gate, record.kind, record.credential, record.shopper)
        elif isinstance(record, Tracks):
            tracks = [
                type(t)(
                    f"{t.track}{seconds}",
                    t.position,
                    t.velocity,
                    t.covariance,
                    t.existence,
                    t.unseen_s,
                    t.head,
                    t.left_wrist,
                    t.right_wrist,
                )
                for t in record.tracks
            ]
            yield Tracks(record.stamp_ns + shift, tuple(tracks))
        else:
            events = [
                type(e)(e.event, e.status, e.gondola, e.shelf, e.start_ns + shift, e.end_ns + shift, e.plates, e.change, e.deviation)
                for e in record.events
            ]
            yield ShelfEvents(record.stamp_ns + shift, tuple(events))
