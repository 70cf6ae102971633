"""Generated stores: as large as asked, walkable, seen by cameras, and good as files."""

from __future__ import annotations

import numpy as np
import pytest

from aisle_sim.floor_motion import obstacle_distance
from aisle_sim.reenactment import walkable_grid
from aisle_sim.store_generator import StoreConfig, generate_store
from aisle_store.store import Store
from aisle_store.store_files import load_store, save_store


@pytest.fixture(scope="module")
def large():
    return generate_store(StoreConfig(floor_area_m2=60.0, plates=1_000), seed=3)


def floor_area(store: Store) -> float:
    x, y = store.floor.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


@pytest.mark.parametrize(("area", "plates"), [(60.0, 1_000), (12.0, 60), (25.0, 200), (200.0, 4_000), (60.0, 1)])
def test_floor_and_plates_are_as_asked(area, plates):
    store = generate_store(StoreConfig(floor_area_m2=area, plates=plates), seed=1)
    assert floor_area(store) == pytest.approx(area, rel=1e-3)
    assert sum(1 for _ in store.plates()) == plates
    assert set(store.planogram) == {plate.key for plate in store.plates()}
    corners = np.vstack([plate.corners[:, :2] for plate in store.plates()])
    assert store.on_floor(corners, margin=0.01).all()


def test_it_survives_its_files(large, tmp_path):
    save_store(large, tmp_path / "store")
    again = load_store(tmp_path / "store")
    assert again.planogram == large.planogram
    assert again.products == large.products
    for plate, same in zip(large.plates(), again.plates(), strict=True):
        assert plate.key == same.key
        assert np.abs(plate.pose - same.pose).max() < 1e-3
    assert set(again.cameras) == set(large.cameras)


def test_the_same_seed_gives_the_same_store_and_another_seed_another(large):
    same, other = (generate_store(StoreConfig(floor_area_m2=60.0, plates=1_000), seed) for seed in (3, 4))
    assert same.products == large.products
    assert same.planogram == large.planogram
    assert other.products != large.products


def test_too_many_plates_are_refused_with_what_would_fit():
    with pytest.raises(ValueError, match=r"2000 plates do not fit on 12 m\^2, expected at most \d+"):
        generate_store(StoreConfig(floor_area_m2=12.0, plates=2_000))


def test_all_plates_can_be_walked_to(large):
    grid = walkable_grid(large)
    from_entrance = grid.walking_distances(grid.nearest_free(large.gates["entrance"].centre))
    for plate in large.plates():
        into_shelf = plate.pose[:2, 1]
        cell = grid.nearest_free(plate.front[:2] - 0.35 * into_shelf)
        assert np.linalg.norm(grid.points[cell] - plate.front[:2]) < 0.6
        assert np.isfinite(from_entrance[cell])


def test_aisles_are_wide_enough_for_two(large):
    grid = walkable_grid(large)
    inside = grid.points[grid.free & large.on_floor(grid.points)]
    assert obstacle_distance(large, inside).max() >= 0.6


def test_everywhere_somebody_is_seen_by_two_cameras_and_hidden_by_no_shelf(large):
    grid = walkable_grid(large)
    floor = grid.points[grid.free & large.on_floor(grid.points)]
    chests = np.column_stack([floor, np.full(len(floor), 1.3)])
    seen = np.zeros(len(chests), dtype=int)
    for camera in large.cameras.values():
        pixels, _ = camera.project(chests)
        with np.errstate(invalid="ignore"):
            seen += ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
    assert seen.min() >= 2


def test_weights_and_prices_are_like_in_a_shop(large):
    products = list(large.products.values())
    weights = np.array([product.weight_kg for product in products])
    assert weights.min() >= 0.02
    assert weights.max() <= 2.0
    assert 0.1 < np.median(weights) < 0.4
    assert all(product.price > 0 for product in products)
    spreads = np.array([product.weight_deviation_kg for product in products]) / weights
    assert 0.005 < np.median(spreads) < 0.03


def test_twins_in_two_colours_weigh_the_same_and_stand_side_by_side(large):
    reds = [product for product in large.products.values() if product.name.endswith(", red")]
    assert len(reds) > 20
    by_name = {product.name: product for product in large.products.values()}
    for red in reds:
        blue = by_name[red.name.replace(", red", ", blue")]
        assert (blue.weight_kg, blue.price) == (red.weight_kg, red.price)


def test_article_numbers_have_a_right_check_digit(large):
    for product in large.products:
        digits = [int(digit) for digit in product]
        assert len(digits) == 13
        assert sum(digits[::2]) % 10 == (-3 * sum(digits[1::2])) % 10
