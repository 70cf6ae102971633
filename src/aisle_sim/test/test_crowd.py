"""Crowds: labels that agree with what moved, people who stay out of shelves, records that are regular, the same for the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from aisle_contract.records import STAFF_PREFIX, GateEvent, GateEventKind, PersonDetections, ScaleReading
from aisle_sim.crowd import simulate_crowd
from aisle_sim.crowd_config import CrowdConfig
from aisle_sim.crowd_world import CrowdWorld
from aisle_sim.floor_motion import obstacle_distance
from aisle_sim.profiles import PROFILES
from aisle_sim.store_generator import StoreConfig, generate_store

#: Everything that people do, often.
BUSY = CrowdConfig(
    shoppers=6,
    items=4.0,
    touch=0.3,
    several=0.4,
    put_back=0.2,
    misplace=0.3,
    hand_over=0.5,
    leave_on_floor=0.2,
    in_company=0.8,
    restock_every_s=20.0,
    dwell_max_s=2.0,
)


@pytest.fixture(scope="module")
def small_store():
    return generate_store(StoreConfig(floor_area_m2=25.0, plates=150), seed=1)


def lived(store, config, seconds, seed=0, profile="clean"):
    world = CrowdWorld(store, config, PROFILES[profile], seed)
    visits = []
    while world.now_s < seconds or world.people:
        visits += world.step(open_for_entry=world.now_s < seconds)
        assert world.now_s < seconds + 600, f"{world.people} people have been stuck for long"
    return world, visits


@pytest.fixture(scope="module")
def busy(small_store):
    return lived(small_store, BUSY, 120.0)


def test_everything_happens(busy):
    _, visits = busy
    actions = Counter(event.action for visit in visits for event in visit.events)
    assert {"pick", "put_back", "touch", "hand_over", "leave"} <= set(actions)
    assert any(visit.person.startswith(STAFF_PREFIX) and visit.items is None for visit in visits)
    assert any(len(event.products) > 1 for visit in visits for event in visit.events if event.action == "pick")


def test_the_truth_is_what_was_taken_from_shelves_less_what_was_put_on_them(busy):
    _, visits = busy
    for visit in visits:
        if visit.items is None:
            continue
        counts = Counter()
        for event in visit.events:
            if event.plates:
                counts.update(
                    {product: event.products.count(product) * (1 if event.action == "pick" else -1) for product in event.products}
                )
        assert {product: count for product, count in counts.items() if count > 0} == visit.items


def test_mass_is_kept(busy):
    """What the plates carry more or less in the end is what the contacts moved, piece by piece."""
    world, visits = busy
    moved = Counter()
    for visit in visits:
        for contact in visit.contacts:
            for change in contact.changes:
                moved[contact.shelf] += change.sign * change.piece.weight_kg
    standing = Counter()
    for facing in world.stock.facings:
        standing[facing.shelf] += sum(piece.piece.weight_kg for piece in facing.pieces)
    for stray in world.stock.strays:
        standing[stray.shelf] += stray.piece.weight_kg
    fresh, _ = lived(world._store, BUSY, 0.0)
    before = Counter()
    for facing in fresh.stock.facings:
        before[facing.shelf] += sum(piece.piece.weight_kg for piece in facing.pieces)
    for shelf in before:
        assert standing[shelf] - before[shelf] == pytest.approx(moved[shelf], abs=1e-9)


def test_misplaced_goods_are_bought_by_others(busy):
    _, visits = busy
    put = [(event, visit.person) for visit in visits for event in visit.events if event.action == "put_back" and visit.items is not None]
    picks = [(event, visit.person) for visit in visits for event in visit.events if event.action == "pick"]
    assert any(
        taken.plates == left.plates and set(taken.products) & set(left.products) and taken.time_s > left.time_s and who != other
        for left, who in put
        for taken, other in picks
    )


def test_bodies_stay_out_of_shelves_and_mostly_apart(small_store, busy):
    _, visits = busy
    times = np.arange(0, max(visit.motion.last_s for visit in visits), 0.1)
    paths = np.array([np.where(v.motion.present(times)[:, None], v.motion.position(times), np.nan) for v in visits])
    places = paths.reshape(-1, 2)
    assert obstacle_distance(small_store, places[np.isfinite(places[:, 0])]).min() > 0.15
    apart = np.concatenate([np.linalg.norm(a - b, axis=1) for i, a in enumerate(paths) for b in paths[:i]])
    apart = apart[np.isfinite(apart)]
    assert apart.min() > 0.44


def test_two_who_come_to_the_exit_at_once_both_get_out(small_store):
    world = CrowdWorld(small_store, BUSY, PROFILES["clean"], 0)
    while len(world._people) < 2:
        world.step(open_for_entry=True)
    outside = world._grid.points[world._outside_out]
    for person, side in zip(world._people, (-0.3, 0.3), strict=True):
        person.place, person.busy_until_s, person.stop = outside + np.array([side, 0.0]), 0.0, None
        person.leaving, person.goal = True, world._outside_out
    left = [visit for _ in range(100) for visit in world.step(open_for_entry=False)]
    assert len(left) == 2


def test_hands_are_at_the_plates_when_goods_move(small_store, busy):
    _, visits = busy
    for visit in visits[:10]:
        for reach in visit.motion.reaches:
            if reach.plates:
                wrist = visit.motion.wrists(np.array([reach.time_s]))[0 if reach.left_hand else 1][0]
                fronts = [small_store.plate(*key).front for key in reach.plates]
                assert min(np.linalg.norm(wrist - front) for front in fronts) < 0.3


def test_no_more_come_in_than_allowed(busy):
    _, visits = busy
    shoppers = [visit.motion for visit in visits if visit.items is not None]
    times = np.arange(0, max(motion.last_s for motion in shoppers), 0.5)
    assert sum(motion.present(times).astype(int) for motion in shoppers).max() <= BUSY.shoppers


@pytest.fixture(scope="module")
def windows(small_store):
    config = replace(BUSY, shoppers=3)
    return list(simulate_crowd(small_store, 0.2, config, "nominal", seed=2))


def test_windows_follow_one_another_and_every_source_is_regular(small_store, windows):
    assert all(earlier.end_ns == later.start_ns for earlier, later in pairwise(windows))
    stamps = [record.stamp_ns for window in windows for record in window.records]
    assert stamps == sorted(stamps)
    sources: dict[tuple, list[int]] = {}
    for window in windows:
        for record in window.records:
            if isinstance(record, ScaleReading):
                source = (record.gondola, record.shelf)
            else:
                source = (record.camera,) if isinstance(record, PersonDetections) else (record.gate, "gate")
            sources.setdefault(source, []).append(record.stamp_ns)
    assert len(sources) == sum(1 for _ in small_store.shelves()) + len(small_store.cameras) + len(small_store.gates)
    for source, times in sources.items():
        assert np.diff(times).min() > 0, source
        assert np.diff(times).max() < 0.23e9, source


def test_everybody_passes_the_gates_and_is_billed_once(windows):
    events = [r for w in windows for r in w.records if isinstance(r, GateEvent) and r.kind != GateEventKind.STATUS]
    persons = [visit.person for window in windows for visit in window.visits]
    assert len(set(persons)) == len(persons) > 0
    assert sorted(event.shopper for event in events if event.kind == GateEventKind.ENTRY) == sorted(persons)
    assert sum(event.kind == GateEventKind.EXIT for event in events) == len(persons)


def test_the_weights_tell_what_the_visits_moved(small_store):
    quiet = replace(PROFILES["clean"], scales=replace(PROFILES["clean"].scales, spread_factor=0.0))
    windows = list(simulate_crowd(small_store, 0.4, replace(BUSY, shoppers=3), quiet, seed=2))
    first, last = {}, {}
    for window in windows:
        for record in window.records:
            if isinstance(record, ScaleReading):
                first.setdefault((record.gondola, record.shelf), record.weights[0])
                last[record.gondola, record.shelf] = record.weights[-1]
    moved = Counter()
    for visit in (visit for window in windows for visit in window.visits):
        for contact in visit.contacts:
            moved[contact.shelf] += sum(change.sign * change.piece.weight_kg for change in contact.changes)
    assert any(abs(weight) > 0.02 for weight in moved.values())
    for shelf, before in first.items():
        assert (last[shelf] - before).sum() == pytest.approx(moved[shelf], abs=2e-4)


def test_the_same_seed_gives_the_same_records(small_store, windows):
    again = list(simulate_crowd(small_store, 0.2, replace(BUSY, shoppers=3), "nominal", seed=2))
    for window, same in zip(windows, again, strict=True):
        for record, other in zip(window.records, same.records, strict=True):
            assert type(record) is type(other)
            assert record.stamp_ns == other.stamp_ns
            if isinstance(record, ScaleReading):
                assert np.array_equal(record.weights, other.weights, equal_nan=True)
            elif isinstance(record, PersonDetections):
                assert np.array_equal(record.keypoints, other.keypoints)
