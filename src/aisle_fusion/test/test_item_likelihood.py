"""What weights and their pattern over the plates say about items."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from fusion_scene import shelf_event, small_store

from aisle_fusion.item_likelihood import ItemLikelihood, PlateGains, ProductWeights, WeightConfig, load_reach
from aisle_store.store import Product

STORE = small_store()
PLATES = [str(i) for i in range(1, 13)]


def likelihood(changes: dict[int, float], deviation: float = 0.001) -> ItemLikelihood:
    weights = ProductWeights(STORE, WeightConfig())
    return ItemLikelihood(shelf_event(1, 2, "1", changes, deviation), PLATES, WeightConfig(), weights)


def density(found: ItemLikelihood, *items: tuple[str, int]) -> float:
    rows = ProductWeights(STORE, WeightConfig()).rows([product for product, _ in items])
    return float(found.weight(rows, np.array([count for _, count in items])))


def test_weight_prefers_the_product_that_weighs_as_much_and_the_right_count():
    one, two = likelihood({7: -0.061}), likelihood({7: -0.121})
    assert density(one, ("green", -1)) > density(one, ("green", -2)) + 5
    assert density(two, ("green", -2)) > density(two, ("green", -1)) + 5
    assert density(one, ("green", -1)) > density(one, ("jar", -1)) + 5
    assert density(one, ("green", -1)) > density(one, ("green", 1)) + 5


def test_plates_that_only_bend_do_not_weigh():
    """Beside a load plates err by a few per cent of it; a tenth of it lies there."""
    alone, bent = likelihood({7: -0.1}), likelihood({6: 0.003, 7: -0.1, 8: 0.003})
    assert density(bent, ("red", -1)) > density(alone, ("red", -1)) - 0.3
    lies_over = likelihood({6: -0.01, 7: -0.08, 8: -0.01})
    assert density(lies_over, ("red", -1)) > density(likelihood({7: -0.08}), ("red", -1)) + 3


def test_an_odd_reading_does_not_exclude_the_truth():
    """538 g have been read as 587 g over a shelf of a real store."""
    assert density(likelihood({7: -0.1 * 587 / 538}), ("red", -1)) > np.log(1.0)


def test_what_was_put_there_is_felt_again():
    found = likelihood({7: -0.061})
    assert found.again(0.061) > density(found, ("green", -1)) > found.again(0.068)
    grid = np.linspace(0.0, 0.2, 4001)
    assert np.exp([found.again(kg) for kg in grid]).sum() * (grid[1] - grid[0]) == pytest.approx(1.0, abs=0.02)


def test_weight_is_a_density():
    grid = np.arange(0.0, 0.3, 0.0005)
    total = sum(np.exp(density(likelihood({7: -w}), ("red", -1))) for w in grid) * 0.0005
    assert abs(total - 1.0) < 0.01


def test_single_pattern_finds_the_place():
    for changes, place in (({4: -0.1}, 3.5), ({4: -0.05, 5: -0.05}, 4.0), ({3: -0.018, 4: -0.058, 5: -0.026}, 3.6), ({12: -0.1}, 11.6)):
        found = likelihood(changes)
        assert abs(found.places[np.argmax(found.single)] - place) < 0.4


def test_a_pair_explains_two_loads_apart_and_a_single_does_not():
    found = likelihood({2: -0.1, 5: -0.06})
    first, second = np.arange(0, 12), np.arange(12, 24)
    assert found.pair((-0.1, -0.06), (first, second)) > np.log(found.single[:24].mean())
    assert found.pair((-0.1, -0.06), (first, second)) > found.pair((-0.06, -0.1), (first, second)) + 1


def test_pairs_are_judged_together_as_each_alone_in_plain_numpy():
    """Loads in one direction and in both, with different numbers of places each."""
    found, config = likelihood({3: -0.2, 4: -0.05, 8: 0.1}), WeightConfig()
    masses = np.array([(-0.2, 0.1), (-0.1, -0.1), (0.3, 0.05), (-0.25, 0.1)])
    places = [
        (np.array([8, 10, 12]), np.array([28, 30])),
        (np.arange(4), np.arange(48)),
        (np.array([0]), np.array([47])),
        (np.array([9]),) * 2,
    ]
    alone = [plain_pair(found, config, *pair) for pair in zip(masses.tolist(), places, strict=True)]
    np.testing.assert_allclose(found.pairs(masses, places), alone, rtol=1e-12)
    assert alone[0] > max(alone[1:])


def plain_pair(found: ItemLikelihood, config: WeightConfig, masses: list[float], places: tuple[np.ndarray, np.ndarray]) -> float:
    fits = []
    for a in places[0]:
        for b in places[1]:
            expected = masses[0] * found.patterns[:, a] + masses[1] * found.patterns[:, b]
            if masses[0] * masses[1] > 0:
                expected *= found.total / sum(masses)
            off = config.pattern_deviation * (abs(masses[0]) * load_reach(12)[:, a] + abs(masses[1]) * load_reach(12)[:, b])
            fits.append(-2.5 * np.log1p((found.change - expected) ** 2 / (4 * (0.001**2 + off**2))).sum(axis=-1))
    return float(np.log(np.exp(fits).mean()))


def test_a_heavy_load_does_not_hide_a_light_one_far_from_it():
    """The light one is well below what the heavy one's neighbours may be off by, but no neighbour."""
    far, beside = likelihood({3: -0.085, 8: -0.43, 9: -0.64}), likelihood({7: -0.085, 8: -0.43, 9: -0.64})
    alone, first, second = likelihood({8: -0.43, 9: -0.64}).single.max(), np.arange(8, 12), np.arange(28, 36)
    assert far.single.max() < 0.05 * alone
    assert beside.single.max() > 0.3 * alone
    assert far.pair((-0.085, -1.07), (first, second)) > np.log(far.single[28:36].mean()) + 1.5


def test_what_was_put_is_told_by_what_each_plate_felt():
    """Two things of one weight that stand beside each other: the plates know which of them was put there."""
    found = likelihood({3: -0.059, 4: -0.002})
    put, beside = np.zeros((2, 12))
    put[[2, 3]], beside[[2, 3]] = (0.058, 0.001), (0.021, 0.038)
    near = float(found.single[8:12].mean())
    assert found.felt_again(put, near) > found.again(0.059) + np.log(near) + 0.5
    assert found.felt_again(beside, near) < found.felt_again(put, near) - 1.5
    # It may have been pushed aside since.
    assert found.felt_again(beside, near) > found.felt_again(beside, 0.1 * near) + 1.0


def test_large_changes_that_cancel_are_not_nothing():
    assert likelihood({2: -0.004}).nothing() > likelihood({2: -0.1, 8: 0.096}).nothing()


def test_a_load_on_several_plates_is_known_better_than_on_one():
    """Gain errors of plates are independent."""
    one, four = likelihood({7: -0.43}), likelihood({6: -0.1075, 7: -0.1075, 8: -0.1075, 9: -0.1075})
    assert density(four, ("tin", -1)) < density(one, ("tin", -1)) - 1


def test_weights_are_learned_from_sure_picks_only():
    sure, unsure, wrong = (ProductWeights(STORE, WeightConfig(catalogue_deviation=0.05)) for _ in range(3))
    for _ in range(10):
        sure.observe("red", 0.104, 0.001**2, 0.99)
        unsure.observe("red", 0.104, 0.001**2, 0.8)
        wrong.observe("red", 0.16, 0.001**2, 0.99)
    assert abs(sure.expected("red") - 0.104) < 0.0005
    assert sure.variance[sure.index["red"]] < 0.1 * unsure.variance[unsure.index["red"]]
    assert unsure.expected("red") == wrong.expected("red") == 0.1


def test_an_unknown_weight_is_learned():
    """Told by its large deviation in the catalogue."""
    guessed = Product("new", "New", 0.2, 0.1, Decimal("1.00"))
    store = replace(STORE, products={**STORE.products, "new": guessed})
    weights = ProductWeights(store, WeightConfig())
    for kg in (0.31, 0.306, 0.312):
        weights.observe("new", kg, 0.003**2, 1.0)
    assert abs(weights.expected("new") - 0.309) < 0.004


def test_a_plate_that_reads_low_is_known_after_some_sales():
    """Of the residual of a pick the product's mean and the plate's gain each take their part; other plates are not concerned."""
    weights = ProductWeights(STORE, WeightConfig())
    low = [ItemLikelihood(shelf_event(1, 2, "1", {7: -0.094}, 0.0005), PLATES, WeightConfig(), weights) for _ in range(6)]
    before = density_with(weights, {7: -0.094}, ("red", -1))
    for pick in low:
        pick.learn("red", 1, 0.99)
    gain, variance = weights.gains.of(("1", "1"), 12)
    assert -0.06 < gain[6] < -0.025
    assert abs(weights.expected("red") / 0.1 - 1) < abs(gain[6])
    assert variance[6] < 0.5 * variance[5]
    assert np.flatnonzero(gain).tolist() == [6]
    assert density_with(weights, {7: -0.094}, ("red", -1)) > before + 1
    assert density_with(weights, {7: -0.1}, ("red", -1)) < density_with(weights, {7: -0.094}, ("red", -1))


def test_gains_are_not_learned_from_doubtful_or_odd_readings():
    gains = PlateGains(0.035, sales=1e6)
    one_plate = np.eye(4)[1]
    gains.observe(("1", "1"), one_plate, -0.05, 0.01**2, 0.8)
    gains.observe(("1", "1"), one_plate, -0.5, 0.01**2, 1.0)
    mean, variance = gains.of(("1", "1"), 4)
    assert not mean.any()
    assert np.allclose(variance, 0.035**2)


@pytest.mark.parametrize("spread", [0.01, 0.08])
def test_how_far_the_plates_of_a_store_err_is_learned(spread: float):
    """From sales at many plates, each weighed once or twice."""
    gains, rng = PlateGains(0.035, sales=10.0), np.random.default_rng(5)
    errors = rng.normal(0.0, spread, (100, 3))
    for shelf in range(100):
        for _ in range(2):
            share = rng.dirichlet(np.ones(3))
            gains.observe(("1", str(shelf)), share, float(share @ errors[shelf]) + rng.normal(0.0, 0.005), 0.005**2, 0.99)
    assert gains.deviation == pytest.approx(spread, rel=0.4)
    assert gains.of(("2", "1"), 1)[1] == pytest.approx(gains.deviation**2)
    mean, variance = gains.of(("1", "1"), 3)
    assert np.all(variance < gains.deviation**2)
    assert np.all(np.abs(mean - errors[1]) < 3 * np.sqrt(variance) + 0.01)


def test_a_wild_reading_does_not_make_all_plates_doubtful():
    gains = PlateGains(0.035, sales=10.0)
    gains.observe(("1", "1"), np.eye(4)[1], -0.9, 0.01**2, 1.0)
    assert gains.deviation < 0.05


def test_a_load_on_two_plates_tells_of_both():
    gains = PlateGains(0.035, sales=1e6)
    gains.observe(("1", "1"), np.array([0.5, 0.5, 0.0]), 0.03, 0.005**2, 1.0)
    mean, variance = gains.of(("1", "1"), 3)
    assert mean[0] == mean[1] > 0.02
    assert mean[2] == 0.0
    # Together they are known better than each.
    assert 0.5 * variance[2] < variance[0] < variance[2]


def density_with(weights: ProductWeights, changes: dict[int, float], *items: tuple[str, int]) -> float:
    found = ItemLikelihood(shelf_event(1, 2, "1", changes, 0.0005), PLATES, WeightConfig(), weights)
    rows = weights.rows([product for product, _ in items])
    return float(found.weight(rows, np.array([count for _, count in items])))
