"""The beam of hypotheses about the whole store."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle_fusion.dynamic_planogram import Stray
from aisle_fusion.store_hypotheses import Dependence, Entry, Hypothesis, Move, Outcome, StoreHypotheses


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
    # The two events do not depend on each other.
    assert (len(store), store.largest_group) == (4, 2)


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


def test_a_put_back_that_is_settled_before_the_pick_still_counts_against_it():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red", 2), np.log(0.9)), (pick("a", "red", 3), np.log(0.1))], no_prior)
    store.update(1, [(pick("a", "red", -1), 0.0)], no_prior)
    # The put-back, about which there is no doubt, is a group of its own, older than the one of the pick.
    assert store.quantities("a")["red"] == pytest.approx({1: 0.9, 2: 0.1})
    assert store.likeliest("a") == {"red": 1}


def test_what_was_put_back_is_not_held_any_more():
    """Though the put-back, about which there is hardly any doubt, is a group of its own."""
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), 0.0)], no_prior)
    store.update(1, [(pick("a", "red", -1), np.log(0.99)), ((), np.log(0.01))], no_prior)
    assert store.chances()["a", "red"] == pytest.approx(0.01)
    store.update(2, [(pick("a", "red"), np.log(0.5)), (pick("a", "blue"), np.log(0.5))], no_prior)
    assert store.chances()["a", "red"] == pytest.approx(0.01 + 0.99 * 0.5)
    assert store.chances()["a", "blue"] == pytest.approx(0.5)


def test_what_was_taken_last():
    store = StoreHypotheses(20)
    for event, product in enumerate(("red", "blue", "green")):
        store.update(event, [(pick("a", product), 0.0)], no_prior)
    assert store.recency("a") == {"red": (0.0, 0.0), "blue": (0.0, 1.0), "green": (1.0, 0.0)}
    # What was put back is not among it, and what was taken again is the last.
    store.update(3, [(pick("a", "green", -1), 0.0)], no_prior)
    store.update(4, [(pick("a", "red"), 0.0)], no_prior)
    assert store.recency("a") == {"red": (1.0, 0.0), "blue": (0.0, 1.0)}
    assert store.recency("b") == {}


def test_whatever_was_taken_last_is_the_last_thing_if_it_is_held():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), 0.0)], no_prior)
    store.update(1, [(pick("a", "blue"), np.log(0.75)), (pick("b", "blue"), np.log(0.25))], no_prior)
    assert store.recency("a")["blue"] == pytest.approx((1.0, 0.0))
    # He took nothing since if the other one has it.
    assert store.recency("a")["red"] == pytest.approx((0.25, 0.75))


def test_strays_are_added_and_removed():
    stray = Stray("1", "1", 3, "red")
    store = StoreHypotheses(5)
    store.update(0, [(pick("a", "red", -1), 0.0)], lambda h, i: Outcome(0.0, added=(stray,)))
    assert store.strays(("1", "1")) == [stray]
    store.update(1, [(pick("b", "red"), 0.0)], lambda h, i: Outcome(0.0, removed=(stray,)), Dependence(strays=[stray]))
    assert store.strays(("1", "1")) == []


def test_forgetting_a_visit_merges_what_differed_by_it():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), np.log(0.5)), (pick("a", "blue"), np.log(0.5))], no_prior)
    store.forget(set())
    assert len(store) == 0
    assert store.events() == set()


def test_explanation_adds_up_to_the_quantity():
    store = StoreHypotheses(20)
    for event, judgement in enumerate((pick("a", "red", 2), pick("a", "red"), pick("a", "red", -1))):
        store.update(event, [(judgement, 0.0)], no_prior)
    moves = store.explanation("a", "red", 2)
    assert [event for event, _ in moves] == [0, 1, 2]
    assert sum(move.quantity for _, move in moves) == 2


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["red", "blue"]), st.floats(-8, 0)), min_size=1, max_size=8),
    st.integers(1, 9),
)
def test_weights_stay_normalised_and_bounded(events, limit):
    store = StoreHypotheses(limit)
    for number, (visit, product, log_likelihood) in enumerate(events):
        store.update(number, [(pick(visit, product), log_likelihood), ((), -1.0)], no_prior)
        assert store.largest_group <= limit
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
    entries = Entry(0, pick("a", "red", 3), (("a", "red", 3),)), Entry(1, pick("a", "red", -1), (("a", "red", -1),))
    assert Hypothesis(0.0, entries).held("a", "red") == 2
    assert Hypothesis(0.0).held("a", "red") == 0


def test_independent_doubts_do_not_push_each_other_out():
    """With a joint beam of two hypotheses all but the likeliest combinations of ten doubts would be lost."""
    store = StoreHypotheses(2)
    for event in range(10):
        store.update(event, [(pick(f"v{event}", "red"), np.log(0.7)), (pick(f"v{event}", "blue"), np.log(0.3))], no_prior)
    for event in range(10):
        assert store.quantities(f"v{event}")["red"] == pytest.approx({1: 0.7, 0: 0.3})


def test_groups_are_joined_by_a_put_back_and_split_once_they_agree():
    store = StoreHypotheses(20)
    for event in range(2):
        store.update(event, [(pick("a", "red"), np.log(0.5)), (pick("a", "blue"), np.log(0.5))], no_prior)
    back = [(pick("a", "red", -1), 0.0)]
    store.update(2, back, lambda h, i: Outcome(0.0 if h.held("a", "red") else np.log(1e-9)))
    # One red and one blue, or two red: the put-back took a red one.
    assert store.quantities("a")["red"] == pytest.approx({0: 2 / 3, 1: 1 / 3}, abs=1e-6)
    assert store.largest_group > 1
    store.update(3, [(pick("a", "red", -1), 0.0)], lambda h, i: Outcome(0.0 if h.held("a", "red") else np.log(1e-9)))
    assert store.largest_group == 1
    assert store.quantities("a")["red"][0] == pytest.approx(1.0)


def test_one_of_two_products_is_in_the_cart_even_if_neither_is_likelier_than_not():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), np.log(0.4)), (pick("a", "blue"), np.log(0.35)), (pick("a", "green"), np.log(0.25))], no_prior)
    assert store.likeliest("a") == {"red": 1}


def test_a_copy_is_apart():
    store = StoreHypotheses(20)
    store.update(0, [(pick("a", "red"), 0.0)], no_prior)
    ahead = store.copy()
    ahead.update(1, [(pick("a", "red"), 0.0)], no_prior)
    assert (store.likeliest("a"), ahead.likeliest("a")) == ({"red": 1}, {"red": 2})


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from(["red", "blue"]), st.floats(0.05, 0.95)), max_size=6))
def test_groups_say_the_same_as_all_combinations_together(events):
    """Against every combination of judgements written out, with put-backs that depend on what was picked."""

    def prior(held: int, quantity: int) -> float:
        return 0.0 if quantity > 0 or held + quantity >= 0 else float(np.log(0.01))

    store = StoreHypotheses(100_000)
    worlds: dict[tuple, float] = {(): 1.0}
    for number, (is_pick, visit, product, share) in enumerate(events):
        quantity = 1 if is_pick else -1
        judgements = [(pick(visit, product, quantity), float(np.log(share))), ((), float(np.log(1 - share)))]
        store.update(
            number,
            judgements,
            lambda h, i, v=visit, p=product, q=quantity: Outcome(prior(h.held(v, p), q) if i == 0 else 0.0),
        )
        longer: dict[tuple, float] = {}
        for world, weight in worlds.items():
            held = dict(world)
            now = held.get((visit, product), 0)
            for moved, likelihood in ((True, share * np.exp(prior(now, quantity))), (False, 1 - share)):
                after = tuple(sorted({**held, (visit, product): max(0, now + quantity)}.items())) if moved else world
                longer[after] = longer.get(after, 0.0) + weight * likelihood
        worlds = longer
    total = sum(worlds.values())
    for visit in "ab":
        for product, quantities in store.quantities(visit).items():
            for count, probability in quantities.items():
                true = sum(w for world, w in worlds.items() if dict(world).get((visit, product), 0) == count) / total
                assert probability == pytest.approx(true, abs=1e-4)
