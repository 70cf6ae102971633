"""What stands where, as picks tell it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fusion_scene import small_store

from aisle_fusion.dynamic_planogram import Planogram, PlanogramConfig, Stray
from aisle_store.store import Product, Store

SHELF = ("1", "1")


def store_with_unplaced() -> Store:
    """ "new" (85 g) is in the catalogue and nowhere in the planogram."""
    store = small_store()
    product = Product("new", "New", 0.085, 0.001, store.products["red"].price)
    return replace(store, products={**store.products, "new": product})


def at_plate(plate: int) -> np.ndarray:
    places = np.zeros(48)
    places[(plate - 1) * 4 : plate * 4] = 0.25
    return places


def test_a_product_without_a_place_is_likelier_to_stand_somewhere_than_one_with_a_place():
    planogram = Planogram(store_with_unplaced())
    assert planogram.elsewhere("new") > 100 * planogram.elsewhere("tin")
    assert planogram.are_placed(("new", "tin")).tolist() == [False, True]


def test_picks_shift_a_place_to_what_is_picked_there():
    planogram = Planogram(store_with_unplaced())
    before = planogram.standing(SHELF)["red"][4:8].sum()
    for _ in range(4):
        planogram.observe(SHELF, "new", at_plate(2), 0.9)
    standing = planogram.standing(SHELF)
    assert standing["new"][4:8].sum() > 2 * standing["red"][4:8].sum()
    assert standing["red"][4:8].sum() < 0.4 * before
    # Elsewhere on the shelf nothing has changed.
    assert standing["jar"] == pytest.approx(planogram.homes(SHELF)["jar"])


def test_what_was_found_hardly_stands_at_another_place_too():
    planogram = Planogram(store_with_unplaced())
    before = planogram.elsewhere("new")
    planogram.observe(SHELF, "red", at_plate(2), 1.0)
    assert planogram.elsewhere("new") == before
    planogram.observe(SHELF, "new", at_plate(2), 0.95)
    assert planogram.elsewhere("new") < before / 3
    for _ in range(100):
        planogram.observe(SHELF, "new", at_plate(2), 1.0)
    assert planogram.elsewhere("new") >= planogram.elsewhere("tin")


def test_the_more_is_picked_at_a_place_the_less_is_left_to_what_is_not_known_to_stand_there():
    planogram = Planogram(store_with_unplaced())
    assert planogram.unknown(SHELF) == pytest.approx(np.ones(48))
    planogram.observe(SHELF, "red", at_plate(2), 1.0)
    once = planogram.unknown(SHELF).copy()
    assert once[4:8].max() < 0.5
    assert np.delete(once, np.s_[4:8]) == pytest.approx(np.ones(44))
    planogram.observe(SHELF, "new", at_plate(2), 1.0)
    assert planogram.unknown(SHELF)[4:8].max() < once[4:8].min()


def test_an_unlikely_pick_hardly_tells_anything():
    planogram = Planogram(store_with_unplaced())
    planogram.observe(SHELF, "new", at_plate(2), 0.03)
    assert planogram.standing(SHELF)["red"][4:8].sum() > 0.9 * planogram.homes(SHELF)["red"][4:8].sum()


def test_what_is_learned_can_be_unlearned():
    planogram = Planogram(store_with_unplaced())
    for product in ["new"] * 10 + ["red"] * 30:
        planogram.observe(SHELF, product, at_plate(2), 1.0)
    standing = planogram.standing(SHELF)
    assert standing["red"][4:8].sum() > 5 * standing.get("new", np.zeros(48))[4:8].sum()


def test_memory_is_bounded():
    store = store_with_unplaced()
    planogram = Planogram(store, PlanogramConfig(remembered_picks=5.0))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        planogram.observe(SHELF, str(rng.choice(["tin", "box", "bag", "cup", "new"])), at_plate(int(rng.integers(1, 13))), 1.0)
    assert sum(float(weight.sum()) for weight in planogram.standing(SHELF).values()) < 6.0
    assert set(planogram.standing(SHELF)) <= set(store.products)


def test_a_stray_is_found_near_its_place():
    near = Planogram(small_store()).near(Stray("1", "1", 10, "tin", 5))
    assert near.sum() == pytest.approx(1.0)
    assert int(np.argmax(near)) == 10
