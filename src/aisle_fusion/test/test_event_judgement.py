"""The candidates of one event: what is left out early could not have been kept."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fusion_scene import at, shelf_event, small_store

from aisle_contract.records import ShelfEvent
from aisle_fusion import event_judgement
from aisle_fusion.cart_fusion import CartFusionConfig
from aisle_fusion.dynamic_planogram import Planogram, Stray
from aisle_fusion.event_judgement import EventJudge, Scene
from aisle_fusion.hand_proximity import Proximity
from aisle_fusion.item_likelihood import ProductWeights
from aisle_fusion.store_hypotheses import Entry, Hypothesis, Move

STORE, CONFIG, PLATES = small_store(), CartFusionConfig(), 12


def judged(seed: int) -> EventJudge:
    """Some people at a shelf, one of them with something in the cart; one or two plates change."""
    rng = np.random.default_rng(seed)
    visits = [f"v{number}" for number in range(int(rng.integers(1, 6)))]
    near = [Proximity(visit, np.exp(rng.uniform(-4, 4.6, PLATES)), rng.uniform(0, 2, PLATES)) for visit in visits]
    plate = int(rng.integers(1, PLATES))
    kilograms = rng.choice([-1, 1], 2) * rng.uniform(0.02, 0.3, 2)
    event = shelf_event(5, 6, "1", {plate: float(kilograms[0]), plate + 1: float(kilograms[1])}, deviation=0.002)
    strays = [Stray("1", "1", 20, "tin", at(1))] if rng.random() < 0.5 else []
    scene = Scene(near, {(visits[0], "green"): 2, (visits[-1], "box"): 1}, strays, {(visits[0], "green"): 0.7})
    return EventJudge(Planogram(STORE, CONFIG), ProductWeights(STORE, CONFIG), CONFIG, event, scene)


@pytest.mark.parametrize("seed", range(25))
def test_leaving_out_unlikely_pairs_early_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(seed)
    monkeypatch.setattr(event_judgement, "_ROUNDING", math.inf)
    every = judged(seed)
    assert found.candidates == every.candidates
    assert found.bounds == every.bounds
    assert found.log_evidence == every.log_evidence


def test_something_is_left_out_early() -> None:
    """Or the test above would say nothing."""
    judges = [judged(seed) for seed in range(25)]
    kept, every = (sum(len(judge._considered(kept_only)[0]) for judge in judges) for kept_only in (True, False))
    assert kept < 0.95 * every


def test_a_light_thing_taken_beside_a_heavy_one_is_thought_of() -> None:
    """Its part of the change is small, but clear."""
    event = shelf_event(5, 6, "2", {2: -0.02, 3: -0.38, 4: 0.001, 7: -0.028, 8: -0.002}, deviation=0.002)
    near = [Proximity(visit, np.full(PLATES, ratio), np.zeros(PLATES)) for visit, ratio in (("a", 50.0), ("b", 40.0))]
    judge = EventJudge(Planogram(STORE, CONFIG), ProductWeights(STORE, CONFIG), CONFIG, event, Scene(near, {}, []))
    best = [candidate.judgement for candidate in judge.candidates[:2]]
    assert all(sorted((move.product, move.quantity) for move in judgement) == [("bag", 1), ("tin", 1)] for judgement in best)


def judge_of(event: ShelfEvent, holdings: dict[tuple[str, str], int], strays: list[Stray]) -> EventJudge:
    """One person, whose hand is at all plates."""
    near = [Proximity("a", np.full(PLATES, 50.0), np.zeros(PLATES))]
    scene = Scene(near, holdings, strays)
    return EventJudge(Planogram(STORE, CONFIG), ProductWeights(STORE, CONFIG), CONFIG, event, scene)


def test_what_is_put_back_where_it_belongs_is_felt_again_when_it_is_taken() -> None:
    """A piece that weighs 4 % more than its kind: when it was put back the plates felt as much."""
    put = judge_of(shelf_event(5, 6, "1", {7: 0.0312, 8: 0.0312}), {("a", "green"): 1}, [])
    index = next(i for i, candidate in enumerate(put.candidates) if candidate.judgement == (Move("a", "green", -1),))
    held = Hypothesis(0.0, (Entry(0, (Move("a", "green", 1),), (("a", "green", 1),)),))
    (stray,) = put.outcome(held, index).added
    assert stray.product == "green"
    assert stray.felt_kg[6:8] == pytest.approx((0.0312, 0.0312))
    gains = []
    for taken in ({7: -0.0312, 8: -0.0312}, {7: -0.029, 8: -0.029}):
        again = judge_of(shelf_event(8, 9, "1", taken), {}, [stray])
        index = next(i for i, candidate in enumerate(again.candidates) if candidate.judgement == (Move("a", "green", 1),))
        outcomes = [again.outcome(Hypothesis(0.0, strays=strays), index) for strays in ((stray,), ())]
        gains.append(outcomes[0].log_prior - outcomes[1].log_prior)
    # Another piece would weigh otherwise.
    assert gains[0] > gains[1] + 1.0 > 1.0


def test_what_was_taken_last_is_put_back_first() -> None:
    """Red and blue weigh the same, and are held both; the load lies between their places."""
    event = shelf_event(5, 6, "1", {3: 0.05, 4: 0.05})
    near = [Proximity("a", np.full(PLATES, 50.0), np.zeros(PLATES))]
    holdings = {("a", "red"): 1, ("a", "blue"): 1}
    held = Hypothesis(0.0, (Entry(0, (), (("a", "red", 1), ("a", "blue", 1))),))
    odds = {}
    for name, recency in {"unknown": {}, "last": {"red": (1.0, 0.0), "blue": (0.0, 1.0)}, "long ago": {"blue": (0.0, 0.0)}}.items():
        scene = Scene(near, holdings, [], recency=lambda visit, recency=recency: recency)
        judge = EventJudge(Planogram(STORE, CONFIG), ProductWeights(STORE, CONFIG), CONFIG, event, scene)
        found = {c.judgement: c.log_likelihood + judge.outcome(held, i).log_prior for i, c in enumerate(judge.candidates)}
        odds[name] = found[(Move("a", "red", -1),)] - found[(Move("a", "blue", -1),)]
    assert odds["last"] - odds["unknown"] == pytest.approx(-math.log(CONFIG.earlier_share))
    assert odds["long ago"] - odds["unknown"] == pytest.approx(-2 * math.log(CONFIG.earlier_share))


def test_a_stray_piece_is_part_of_a_pair_only_where_it_lies() -> None:
    """The jar's home is on this shelf, and one of them was put at the other end of it: neither is where something goes now."""
    event = shelf_event(5, 6, "1", {2: -0.18, 3: -0.17}, deviation=0.002)
    products = {}
    for place in (44, 6):
        judge = judge_of(event, {}, [Stray("1", "1", place, "jar", at(1))])
        products[place] = {m.product for candidate in judge.candidates if len(candidate.judgement) == 2 for m in candidate.judgement}
    assert "jar" in products[6]
    assert "jar" not in products[44]
