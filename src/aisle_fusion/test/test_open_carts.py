"""Carts ahead of time: provisional events show at once and change nothing that is final. Staff. What is seen in hands."""

from __future__ import annotations

from collections import Counter
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
    small_store,
    tracks_of,
)
from test_cart_fusion import BUSY, alone, by_shopper, only_cart, two_shoppers

from aisle_contract.records import Cart, CartStatus, ItemObservation, Record, ShelfEvent, ShelfEvents, ShelfEventStatus, Tracks
from aisle_fusion.cart_fusion import CartFusion, CartFusionConfig
from aisle_fusion.event_judgement import EventJudge
from aisle_store.store import Product, Store


def provisional(event: ShelfEvent, **changed) -> ShelfEvent:
    return replace(event, status=ShelfEventStatus.PROVISIONAL, **changed)


def with_provisional(records: list[Record], given: dict[float, ShelfEvent]) -> list[Record]:
    """``given``: time at which it is told -> provisional event."""
    stamps = {at(t): event for t, event in given.items()}
    changed = []
    for record in records:
        if isinstance(record, ShelfEvents):
            early = tuple(event for stamp, event in stamps.items() if record.stamp_ns - 2e8 < stamp <= record.stamp_ns)
            record = ShelfEvents(record.stamp_ns, (*record.events, *early))
        changed.append(record)
    return changed


def open_contents(records: list[Record], until: float) -> dict[str, int]:
    """What the newest open cart says that was shown for records up to a time."""
    fusion, shown = CartFusion(small_store(), CartFusionConfig()), {}
    for record in records:
        if record.stamp_ns <= at(until):
            for cart in fusion.step(record).records:
                if isinstance(cart, Cart):
                    shown = contents(cart)
    return shown


PICK = shelf_event(8, 9, "1", {7: -0.018, 8: -0.04})
REACH = (7.5, 9, "1", 7.7)


def test_a_final_event_shows_at_once_though_it_is_judged_later():
    records = alone(PICK, reaches=[REACH])
    assert open_contents(records, 9.3) == {"green": 1}


def test_a_provisional_event_shows_before_the_final_one():
    late = shelf_event(8, 11.5, "1", {7: -0.018, 8: -0.04})
    records = with_provisional(alone(late, reaches=[REACH]), {9.2: provisional(late, end_ns=at(9.0))})
    assert open_contents(alone(late, reaches=[REACH]), 9.4) == {}
    assert open_contents(records, 9.4) == {"green": 1}
    assert open_contents(records, 12.5) == {"green": 1}


@pytest.mark.parametrize(
    "back",
    [
        replace(PICK, status=ShelfEventStatus.RETRACTED, change=np.zeros(2), deviation=np.zeros(2)),
        provisional(PICK, plates=(), change=np.zeros(0), deviation=np.zeros(0)),
    ],
    ids=["retracted", "as in older recordings"],
)
def test_a_provisional_event_that_is_taken_back_or_never_confirmed_goes(back: ShelfEvent):
    early = provisional(PICK)
    taken_back = with_provisional(alone(reaches=[REACH]), {9.2: early, 10.4: back})
    assert open_contents(taken_back, 10.2) == {"green": 1}
    assert open_contents(taken_back, 11.0) == {}
    forgotten = with_provisional(alone(reaches=[REACH], end=60.0), {9.2: early})
    assert open_contents(forgotten, 30.0) == {"green": 1}
    assert open_contents(forgotten, 45.0) == {}


def test_a_final_event_replaces_the_provisional_one_with_its_id():
    wrong = provisional(PICK, change=np.array([-0.1, -0.15]))
    records = with_provisional(alone(PICK, reaches=[REACH]), {9.0: wrong})
    assert open_contents(records, 14.0) == {"green": 1}


def test_the_open_cart_uses_tracks_that_are_not_in_order_yet():
    """The shelves lag behind the cameras: who it was is known all the same."""
    records = two_shoppers(shelf_event(12, 13, "1", {2: -0.1}), ann=[(11.5, 13, "1", 2)], ann_x=0.3, bob_x=0.65)
    gates_late = [replace(r, stamp_ns=r.stamp_ns) for r in records]
    fusion, shown = CartFusion(small_store(), CartFusionConfig()), {}
    # Tracks come first, the events of the same time two seconds later.
    for record in sorted(gates_late, key=lambda r: r.stamp_ns + (0 if isinstance(r, Tracks) else 2_000_000_000)):
        for cart in fusion.step(record).records:
            if isinstance(cart, Cart) and cart.status == CartStatus.OPEN:
                shown[cart.shopper] = contents(cart)
        if isinstance(record, ShelfEvents) and record.events:
            break
    assert shown == {"Ann": {"red": 1}, "Bob": {}}


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_final_carts_do_not_depend_on_provisional_events(noise):
    rng = np.random.default_rng(1)
    early = {}
    for record in BUSY:
        if isinstance(record, ShelfEvents):
            for event in record.events:
                change = event.change + noise * rng.standard_normal(len(event.change))
                early[(event.end_ns - at(0)) / 1e9 - 0.3] = provisional(event, change=change)
    assert closed_carts(run(with_provisional(BUSY, early))) == closed_carts(run(BUSY))


def test_without_open_carts_the_final_ones_are_the_same():
    early = {(event.end_ns - at(0)) / 1e9 - 0.3: provisional(event) for r in BUSY if isinstance(r, ShelfEvents) for event in r.events}
    records = with_provisional(BUSY, early)
    shown, hidden = run(records), run(records, CartFusionConfig(open_carts=False))
    assert hidden == [record for record in shown if not (isinstance(record, Cart) and record.status == CartStatus.OPEN)]
    assert len(closed_carts(hidden)) > 1
    assert len(shown) > len(hidden)


def test_an_event_that_waits_is_laid_over_what_changes_elsewhere_without_being_worked_out_anew(monkeypatch):
    asked = Counter()
    outcome = EventJudge.outcome
    monkeypatch.setattr(EventJudge, "outcome", lambda self, *rest: asked.update([self._event.event]) or outcome(self, *rest))
    elsewhere = shelf_event(14, 15, "2", {2: -0.4})
    records = with_provisional(alone(elsewhere, reaches=[REACH, (13.5, 15, "2", 2)]), {9.2: provisional(PICK)})
    fusion, counts, waiting = CartFusion(small_store(), CartFusionConfig()), [], []
    for record in records:
        if record.stamp_ns <= at(25.0):
            fusion.step(record)
            counts.append(asked[PICK.event])
            waiting.append(asked[elsewhere.event])
    # The other event was shown ahead of time and judged for good after that.
    assert len(set(waiting)) == 3
    assert len(set(counts)) == 2


def test_open_carts_are_shown_before_anything_is_judged_for_good():
    """Shelf events come in bursts: what their arrival makes due is judged with the next tracks or gate event."""

    def judged() -> int:
        return int(dict(fusion.diagnostics()[0].values)["events judged"])

    fusion, shown, before = CartFusion(small_store(), CartFusionConfig()), 0, 0
    for record in BUSY:
        carts = [cart for cart in fusion.step(record).records if isinstance(cart, Cart) and cart.lines]
        if isinstance(record, ShelfEvents):
            assert judged() == before
            shown += len(carts)
        before = judged()
    assert before == 4
    assert shown >= 3


def test_staff_have_no_cart_and_what_they_put_is_not_missing_elsewhere():
    end = 40.0
    walkers = [enters_and_leaves("s", 1.0, end - 8.0, 0.3).reach(7.5, 9, "1", 2), enters_and_leaves("b", 3.0, end - 5.0, 0.65)]
    walkers[1].reach(19.5, 21, "1", 2)
    gates = gate_heartbeats(end, (1.0, "in", "staff:kim"), (3.0, "in", "Bob"), (end - 8.0, "out", ""), (end - 5.0, "out", ""))
    events = shelf_event(8, 9, "1", {2: 0.2}), shelf_event(20, 21, "1", {2: -0.1})
    records = run(in_order(tracks_of(walkers, end), gates, shelf_records(end, *events)))
    assert {record.shopper for record in records if isinstance(record, Cart)} == {"Bob"}
    assert by_shopper(records) == {"Bob": {"red": 1}}
    assert [record for record in records if type(record).__name__ == "Alert"] == []


def store_with_new() -> Store:
    store = small_store()
    return replace(store, products={**store.products, "new": Product("new", "New", 0.088, 0.001, store.products["red"].price)})


def test_a_product_that_the_planogram_lacks_is_learned():
    """88 g picked where red (100 g) should stand: the first time in doubt, then known; no doubt about red at its other plates."""
    end, store = 90.0, store_with_new()
    picks = [shelf_event(t, t + 1, "1", {2: -0.088}) for t in (10, 25, 40, 55)]
    reaches = [(event_at - 0.5, event_at + 1, "1", 2) for event_at in (10, 25, 40, 55)]
    (cart,) = closed_carts(run(alone(*picks, reaches=reaches, end=end), store=store))
    found = contents(cart)
    assert found.get("new", 0) >= 3
    records = alone(*picks, shelf_event(70, 71, "1", {2: -0.0885}), reaches=[*reaches, (69.5, 71, "1", 2)], end=end)
    (cart,) = closed_carts(run(records, store=store))
    newest = max((e for line in cart.lines if line.product == "new" for e in line.evidence), key=lambda e: e.start_ns)
    assert newest.start_ns == at(70)
    assert newest.probability > 0.95


def seen(t: float, likelihoods: dict[str, float], place=(0.25, 0.05, 1.1), deviation: float = 0.03) -> ItemObservation:
    return ItemObservation(at(t) + 3, "camera", np.array(place), deviation, tuple(likelihoods), np.array(list(likelihoods.values())))


EITHER = shelf_event(8, 9, "1", {3: -0.05, 4: -0.05})


def test_what_is_seen_in_the_hand_tells_products_of_equal_weight_apart():
    for product, other in (("red", "blue"), ("blue", "red")):
        looks = [seen(9.0 + k / 10, {product: 0.8, other: 0.1, "jar": 0.1}, place=(0.3, 0.05, 1.1)) for k in range(3)]
        cart = only_cart(in_order(alone(EITHER, reaches=[(7.5, 9.5, "1", 3.5)]), looks))
        assert contents(cart) == {product: 1}
        assert cart.lines[0].probability > 0.9


def test_what_is_seen_far_from_the_hand_or_at_another_time_tells_nothing():
    plain = only_cart(alone(EITHER, reaches=[(7.5, 9.5, "1", 3.5)])).lines[0]
    for look in (seen(9.2, {"blue": 1.0}, place=(3.5, -1.0, 1.0)), seen(3.0, {"blue": 1.0}), seen(14.0, {"blue": 1.0})):
        line = only_cart(in_order(alone(EITHER, reaches=[(7.5, 9.5, "1", 3.5)]), [look])).lines[0]
        assert (line.product, line.probability) == (plain.product, pytest.approx(plain.probability, abs=0.02))


def test_a_sensor_that_is_sure_and_wrong_does_not_outweigh_the_scales():
    look = seen(9.2, {"jar": 1.0}, place=(0.65, 0.05, 1.1))
    cart = only_cart(in_order(alone(shelf_event(8, 9, "1", {7: -0.06}), reaches=[(7.5, 9.5, "1", 7)]), [look]))
    assert contents(cart) == {"green": 1}
