"""Which quantities a cart shows."""

from __future__ import annotations

import numpy as np
import pytest
from fusion_scene import at, shelf_event, small_store

from aisle_contract.records import CartStatus
from aisle_fusion.cart_fusion import CartFusionConfig
from aisle_fusion.cart_lines import CartLines, JudgedEvent
from aisle_fusion.item_likelihood import ProductWeights
from aisle_fusion.shopper_sessions import Visit
from aisle_fusion.store_hypotheses import Move, Outcome, StoreHypotheses

STORE, CONFIG = small_store(), CartFusionConfig()


def lines_of(*judgements: tuple[float, dict[str, int]]) -> dict[str, tuple[int, float]]:
    """Product -> quantity and probability in the cart of a visit with one event: the probability of each judgement and what it takes."""
    moves = [(tuple(Move("a", product, count) for product, count in taken.items()), np.log(p)) for p, taken in judgements]
    hypotheses = StoreHypotheses(20)
    hypotheses.update(0, moves, lambda hypothesis, index: Outcome(0.0))
    judged = {0: JudgedEvent(shelf_event(5, 6, "1", {2: -0.2}), -0.2, 0.001, {}, {})}
    visit = Visit("a", "Ann", at(1), at(9), np.zeros(2), np.zeros(2), left_ns=at(9))
    lines = CartLines(STORE, CONFIG, ProductWeights(STORE, CONFIG)).cart(visit, CartStatus.CLOSED, at(12), hypotheses, judged).lines
    assert all(line.evidence for line in lines)
    return {line.product: (line.quantity, line.probability) for line in lines}


def test_what_most_hypotheses_have_is_in_the_cart_though_the_likeliest_lacks_it() -> None:
    assert lines_of((0.4, {"jar": 1}), (0.32, {"red": 1, "green": 2}), (0.28, {"red": 1, "green": 1})) == {
        "jar": (1, pytest.approx(0.4)),
        "red": (1, pytest.approx(0.6)),
    }


def test_of_things_none_of_which_is_likelier_than_not_the_likeliest_is_in_the_cart() -> None:
    assert lines_of((0.42, {"red": 1}), (0.38, {"blue": 1}), (0.2, {"green": 1})) == {"red": (1, pytest.approx(0.42))}
