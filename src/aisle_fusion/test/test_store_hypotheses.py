"""The beam of hypotheses about the whole store."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_fusion.dynamic_planogram import Stray
from aisle_fusion.store_hypotheses import Hypothesis, Move, Outcome, StoreHypotheses


def no_prior(hypothesis: Hypothesis, index: int) -> Outcome:
    return Outcome(0.0)


def pick(visit: str, product: str, quantity: int = 1) -> tuple[Move, ...]:
    return (Move(visit, product, quantity),)


def test_quantities_are_marginals_over_all_hypotheses():
    store = StoreHypotheses(20)
    for event in range(2):
        store.update(event, [(pick("a", "red"), np.log(0.8)), (pick("b", "red"), np.log(0.2))], no_prior)
    assert store.quantities("a")["red"] == pytest.approx({2: 0.64, 1: 0.32, 0: 0.04})
    assert store.quantities("b")["red"] == pytest.approx({0: 0.64, 1: 0.32, 2: 0.04})
    # Two ways to the same carts are one hypothesis.
    assert len(store) == 3


def test_a_later_event_settles_an_earlier_doubt():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), np.log(0.5)), (pick("a", "blue"), np.log(0.5))], no_prior)
    back = [(pick("a", "red", -1), 0.0), (pick("a", "blue", -1), np.log(0.1))]
    store.update(1, back, lambda h, i: Outcome(0.0 if h.held("a", back[i][0][0].product) else np.log(0.001)))
    assert next(iter(store.posterior(0))) == pick("a", "red")
    assert store.posterior(0)[pick("a", "red")] > 0.9


def test_counts_never_fall_below_zero():
    store = StoreHypotheses(5)
    store.update(0, [(pick("a", "red", -1), 0.0)], no_prior)
    assert store.quantities("a") == {}


def test_strays_are_added_and_removed():
    stray = Stray("1", "1", 3, "red")
    store = StoreHypotheses(5)
    store.update(0, [(pick("a", "red", -1), 0.0)], lambda h, i: Outcome(0.0, added=(stray,)))
    assert store.strays(("1", "1")) == [stray]
    store.update(1, [(pick("b", "red"), 0.0)], lambda h, i: Outcome(0.0, removed=(stray,)))
    assert store.strays(("1", "1")) == []


def test_forgetting_a_visit_merges_what_differed_by_it():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), np.log(0.5)), (pick("a", "blue"), np.log(0.5))], no_prior)
    store.forget("a", lambda judgement: False)
    assert len(store) == 1
    assert store.events() == set()


def test_explanation_adds_up_to_the_quantity():
    store = StoreHypotheses(20)
    for event, judgement in enumerate((pick("a", "red", 2), pick("a", "red"), pick("a", "red", -1))):
        store.update(event, [(judgement, 0.0)], no_prior)
    moves = store.explanation("a", "red", 2)
    assert [event for event, _ in moves] == [0, 1, 2]
    assert sum(move.quantity for _, move in moves) == 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["red", "blue"]), st.floats(-8, 0)), min_size=1, max_size=8),
    st.integers(1, 9),
)
def test_weights_stay_normalised_and_bounded(events, limit):
    store = StoreHypotheses(limit)
    for number, (visit, product, log_likelihood) in enumerate(events):
        store.update(number, [(pick(visit, product), log_likelihood), ((), -1.0)], no_prior)
        assert len(store) <= limit
        assert sum(store.posterior(number).values()) == pytest.approx(1.0)


def test_equal_weights_are_ordered_by_what_the_hypotheses_say():
    orders = []
    for names in (("red", "blue"), ("blue", "red")):
        store = StoreHypotheses(1)
        store.update(0, [(pick("a", name), 0.0) for name in names], no_prior)
        orders.append(store.quantities("a"))
    # Only one survives, and which one does not depend on the order of the candidates.
    assert orders[0] == orders[1]


def test_held_counts_of_a_hypothesis():
    assert Hypothesis(0.0, (("a", "red", 2),)).held("a", "red") == 2
    assert Hypothesis(0.0).held("a", "red") == 0
