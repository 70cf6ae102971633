"""Made-up sessions can be played, are consistent, and hold the hard cases."""

from __future__ import annotations

import pytest

from aisle_sim.enacted_events import enact
from aisle_sim.labelled_sessions import true_items
from aisle_sim.random_sessions import CASES, random_sessions, shuffled_planogram
from aisle_sim.store_generator import StoreConfig, generate_store


@pytest.mark.parametrize("seed", range(3))
def test_they_name_what_there_is_and_nobody_puts_back_what_he_does_not_have(store, seed):
    sessions = random_sessions(store, 2 * len(CASES), seed)
    assert len({session.session for session in sessions}) == len(sessions)
    for session in sessions:
        assert enact(store, session).warnings == ()
        assert session.ordered_events[0].t_s == 0
        held: dict[tuple[str, str], int] = {}
        for event in session.ordered_events:
            for product in event.products:
                count = held.get((event.person, product), 0) + (1 if event.action == "pick" else -1)
                assert count >= 0, session.session
                held[event.person, product] = count
        assert any(items for items in true_items(session).values())


def test_cases_come_by_turns_and_the_seed_decides_the_rest(store):
    names = [session.session.split("-", 2)[2] for session in random_sessions(store, len(CASES) + 1, 5)]
    assert names == [*CASES, next(iter(CASES))]
    assert random_sessions(store, 4, 5) == random_sessions(store, 4, 5)
    assert random_sessions(store, 4, 5) != random_sessions(store, 4, 6)


def test_in_a_generated_store_the_equal_ones_weigh_the_same():
    store = generate_store(StoreConfig(floor_area_m2=25.0, plates=200), seed=0)
    session = next(s for s in random_sessions(store, len(CASES), 0) if s.session.endswith("equal-weights"))
    put = next(event for event in session.events if event.action == "put_back")
    standing = {product for plate in put.plates for product in store.planogram[put.gondola, put.shelf, plate]}
    weights = [store.products[product].weight_kg for product in (*standing, *put.products)]
    assert put.products[0] not in standing
    assert max(weights) - min(weights) <= 0.03 * max(weights) + 1e-9


def test_a_shuffled_planogram_has_the_same_products_in_other_places(store):
    shuffled = shuffled_planogram(store, 1)
    assert {p for ps in shuffled.planogram.values() for p in ps} == {p for ps in store.planogram.values() for p in ps}
    moved = [plate for plate in store.planogram if shuffled.planogram[plate] != store.planogram[plate]]
    assert len(moved) > 0.8 * len(store.planogram)
    assert shuffled_planogram(store, 1).planogram == shuffled.planogram
