"""What weights and their pattern over the plates say about items."""

from __future__ import annotations

import numpy as np
from fusion_scene import shelf_event, small_store

from aisle_fusion.item_likelihood import ItemLikelihood, WeightConfig

STORE = small_store()
PLATES = [str(i) for i in range(1, 13)]


def likelihood(changes: dict[int, float], deviation: float = 0.001) -> ItemLikelihood:
    return ItemLikelihood(shelf_event(1, 2, "1", changes, deviation), PLATES, WeightConfig())


def test_weight_prefers_the_product_that_weighs_as_much_and_the_right_count():
    one, two = likelihood({7: -0.061}), likelihood({7: -0.121})
    green, jar = STORE.products["green"], STORE.products["jar"]
    assert one.weight([(green, -1)]) > one.weight([(green, -2)]) + 5
    assert two.weight([(green, -2)]) > two.weight([(green, -1)]) + 5
    assert one.weight([(green, -1)]) > one.weight([(jar, -1)]) + 5
    assert one.weight([(green, -1)]) > one.weight([(green, 1)]) + 5


def test_an_odd_reading_does_not_exclude_the_truth():
    """538 g have been read as 587 g over a shelf of a real store."""
    assert likelihood({7: -0.1 * 587 / 538}).weight([(STORE.products["red"], -1)]) > np.log(1.0)


def test_weight_is_a_density():
    product = STORE.products["red"]
    grid = np.arange(0.0, 0.3, 0.0005)
    total = sum(np.exp(likelihood({7: -w}).weight([(product, -1)])) for w in grid) * 0.0005
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


def test_large_changes_that_cancel_are_not_nothing():
    assert likelihood({2: -0.004}).nothing() > likelihood({2: -0.1, 8: 0.096}).nothing()
