"""The possible judgements of one shelf event: who moved what and how many, with the likelihood of each.

Single moves (one person, one product, one to three pieces) of what stands there by the planogram, of stray pieces, of what somebody holds,
and, with little prior, of anything that weighs as much; pairs of moves (two products, or two people) where events ran together; and that
nothing was moved. Who: hands and bodies. What: weight and place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, ItemObservation, ShelfEvent
from aisle_fusion.dynamic_planogram import Planogram, Stray
from aisle_fusion.hand_proximity import Proximity
from aisle_fusion.item_likelihood import PLACES_PER_PLATE, ItemLikelihood, WeightConfig
from aisle_fusion.store_hypotheses import Hypothesis, Judgement, Move, Outcome
from aisle_store.store import ShelfKey, Store

_COUNTS = (1, 2, 3)
_LOG_COUNT_PRIOR = {1: np.log(0.87), 2: np.log(0.1), 3: np.log(0.03)}
_PAIR_COUNTS = (-2, -1, 1, 2)
#: Share of put-backs of unheld goods that are of one piece more.
_FURTHER_MISSING = 0.1
#: Judgements this much (nats) less likely than the best are left out.
_CUT = 14.0
#: No more than so many judgements of an event are carried on.
_MOST_JUDGEMENTS = 80
#: Pairs of moves whose weight fits this much (nats) worse than that of other judgements are left out; most pairs that are tried.
_PAIR_CUT = 7.0
_MOST_PAIRS = 25
#: Products from elsewhere in the catalogue that are tried: the ones that fit best by weight.
_MISPLACED_TRIED = 3


@dataclass(frozen=True)
class JudgementConfig(WeightConfig):
    """Parameters of ``EventJudge``."""

    nobody_ratio: float = parameter(0.1, "Likelihood ratio of a person whom nobody sees", 1e-9, 100.0)
    misplaced_share: float = parameter(0.002, "Share of picks of products that should not be on the shelf", 0.0, 0.5)
    stray_share: float = parameter(0.7, "How ready a piece put elsewhere is taken from there, against one from its home", 0.0, 10.0)
    elsewhere_share: float = parameter(0.15, "Share of put-backs away from the product's home", 0.0, 1.0)
    unheld_share: float = parameter(0.001, "Share of put-backs of a product that the person is not known to hold", 0.0, 1.0)
    restock_share: float = parameter(0.05, "How often people who are not shoppers put goods on the shelves, against put-backs", 0.0, 10.0)
    pair_share: float = parameter(0.015, "Share of events that are two moves in one", 0.0, 0.5)
    swap_share: float = parameter(0.1, "Share of pairs in which one thing is taken and another put", 0.0, 1.0)
    handed_over_share: float = parameter(0.02, "Share of put-backs by another person than the one who took the product", 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A judgement, its log-likelihood without place and carts, and the place likelihoods under each way in which it could stand there."""

    judgement: Judgement
    log_likelihood: float
    home: float
    anywhere: float
    strays: tuple[tuple[Stray, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is known at one event beside the weights: who is near, what is held (most pieces in any hypothesis) and what stands astray."""

    proximities: Sequence[Proximity]
    holdings: dict[tuple[str, str], int]
    strays: Sequence[Stray]
    observations: Sequence[ItemObservation] = ()


class EventJudge:
    """Judges one event. The scene's proximities must refer to the shelf's plates from left to right.

    ``candidates``: the likeliest judgements; ``log_evidence``: log density (per kg) of the event over all of them at their best.
    """

    def __init__(self, store: Store, planogram: Planogram, config: JudgementConfig, event: ShelfEvent, scene: Scene) -> None:
        self._store = store
        self._config = config
        self._event = event
        self._scene = scene
        self._shelf: ShelfKey = (event.gondola, event.shelf)
        self._plates = planogram.plates(self._shelf)
        self._homes = planogram.homes(self._shelf)
        self._planogram = planogram
        self._likelihood = ItemLikelihood(event, [plate.plate for plate in self._plates], config)
        self._sight = self._observed()
        self.candidates = self._candidates()

    @property
    def total(self) -> float:
        """Change over the shelf, kg."""
        return self._likelihood.total

    @property
    def total_deviation(self) -> float:
        """Standard deviation (kg) of ``total``."""
        return self._likelihood.total_deviation

    def distance(self, visit: str) -> float:
        """Distance (m) of a visit's hand or body to the plates that changed; NaN: not measured."""
        for proximity in self._scene.proximities:
            if proximity.visit == visit:
                return float(proximity.distance[self._likelihood.share > 0.15].min(initial=np.inf)) if self._likelihood.size else np.nan
        return float("nan")

    def outcome(self, hypothesis: Hypothesis, index: int) -> Outcome:
        """The prior of a candidate in a hypothesis: what is put back should be held, what stands there can be taken."""
        candidate = self.candidates[index]
        if not candidate.judgement:
            return Outcome(0.0)
        held = self._held_prior(hypothesis.held, candidate.judgement)
        if len(candidate.judgement) > 1:
            return Outcome(held + self._standing_prior(hypothesis.strays, candidate.judgement) + np.log(candidate.home + 1e-300))
        return self._place_outcome(hypothesis, candidate, held)

    def _held_prior(self, held: Callable[[str, str], int], judgement: Judgement) -> float:
        """Log prior of put-backs, given the pieces ``held(visit, product)``: the first missing piece costs most."""
        log_prior = 0.0
        for move in judgement:
            missing = -move.quantity - held(move.visit, move.product) if move.quantity < 0 and move.visit else 0
            if missing > 0:
                log_prior += float(np.log(self._config.unheld_share) + (missing - 1) * np.log(_FURTHER_MISSING))
        return log_prior

    def _standing_prior(self, strays: Collection[Stray], judgement: Judgement) -> float:
        """Log prior of picks in a pair: what has no home on this shelf is taken from it only where a piece was put before."""
        log_prior = 0.0
        for move in judgement:
            if move.quantity > 0 and move.product not in self._homes:
                astray = any((stray.gondola, stray.shelf) == self._shelf and stray.product == move.product for stray in strays)
                log_prior += float(np.log(self._config.stray_share if astray else self._config.misplaced_share))
        return log_prior

    def _place_outcome(self, hypothesis: Hypothesis, candidate: Candidate, held: float) -> Outcome:
        config, move = self._config, candidate.judgement[0]
        if move.quantity < 0:
            share = (1 - config.elsewhere_share) * candidate.home, config.elsewhere_share * candidate.anywhere
            log_prior = held + np.log(sum(share) + 1e-300)
            if share[1] <= share[0] or not move.visit:
                return Outcome(log_prior)
            place = int(np.argmax(self._likelihood.single))
            return Outcome(log_prior, added=(Stray(*self._shelf, place, move.product),) * -move.quantity)
        usual = candidate.home + config.misplaced_share * candidate.anywhere
        best, best_share, total = None, usual, usual
        for stray, likelihood in candidate.strays:
            if stray in hypothesis.strays:
                share = config.stray_share * likelihood
                total += share
                if share > best_share:
                    best, best_share = stray, share
        return Outcome(held + np.log(total + 1e-300), removed=() if best is None else (best,))

    def _candidates(self) -> list[Candidate]:
        singles, best_single = self._singles()
        found = [Candidate((), self._likelihood.nothing(), 1.0, 1.0), *singles, *self._pairs(best_single)]
        best_cases = np.array([self._best_case(candidate) for candidate in found])
        self.log_evidence = float(np.logaddexp.reduce(best_cases))
        kept = np.argsort(-best_cases, kind="stable")[:_MOST_JUDGEMENTS]
        return [found[index] for index in kept if best_cases[index] >= best_cases[kept[0]] - _CUT]

    def _best_case(self, candidate: Candidate) -> float:
        """Log of the candidate's likelihood in the hypothesis that suits it best."""
        config = self._config
        if not candidate.judgement:
            return candidate.log_likelihood
        place = candidate.home
        if len(candidate.judgement) == 1:
            away = config.elsewhere_share if candidate.judgement[0].quantity < 0 else config.misplaced_share
            place += away * candidate.anywhere + config.stray_share * sum(likelihood for _, likelihood in candidate.strays)
        log_prior = self._held_prior(lambda visit, product: self._scene.holdings.get((visit, product), 0), candidate.judgement)
        if len(candidate.judgement) > 1:
            log_prior += self._standing_prior(self._scene.strays, candidate.judgement)
        return candidate.log_likelihood + float(np.log(place + 1e-300)) + log_prior

    def _singles(self) -> tuple[list[Candidate], float]:
        """Single moves, and the log density of the weight under the one of goods that belong here which fits it best."""
        likelihood, found, best = self._likelihood, [], -np.inf
        sign = -1 if likelihood.total < 0 else 1
        anywhere = float(likelihood.single.mean())
        for product in self._single_products():
            home = float(self._homes[product] @ likelihood.single) if product in self._homes else 0.0
            strays = tuple((s, float(self._planogram.near(s) @ likelihood.single)) for s in self._scene.strays if s.product == product)
            for count in _COUNTS:
                weight = likelihood.weight([(self._store.products[product], sign * count)])
                best = max(best, weight) if product in self._homes else best
                base = weight + float(_LOG_COUNT_PRIOR[count]) + self._sight.get(product, 0.0)
                for visit, log_ratio in self._who(product, -sign * count, likelihood.share):
                    judgement = (Move(visit, product, -sign * count),)
                    found.append(Candidate(judgement, base + log_ratio, home, anywhere, strays))
        return found, best

    def _single_products(self) -> list[str]:
        """What may have been moved, sorted: at home here, astray here, held by somebody, or of the right weight."""
        known = {*self._homes, *(stray.product for stray in self._scene.strays)}
        if self._likelihood.total > 0:
            known |= {product for _, product in self._scene.holdings}
        others = sorted(set(self._store.products) - known)
        fit = {p: max(self._likelihood.weight([(self._store.products[p], s)]) for s in (-1, 1)) for p in others}
        return sorted({*known, *sorted(others, key=lambda p: (-fit[p], p))[:_MISPLACED_TRIED]})

    def _who(self, product: str, quantity: int, share: np.ndarray) -> list[tuple[str, float]]:
        """(visit, log likelihood ratio) of all who may have moved something at the plates, weighted by ``share``; "" is nobody known."""
        config = self._config
        nobody = config.nobody_ratio * (1.0 if quantity > 0 else config.restock_share)
        ratios = {p.visit: float(p.ratio @ share) for p in self._scene.proximities}
        nearest = max(ratios.values(), default=0.0)
        if quantity < 0:
            # Passed to somebody else, who puts it back: it leaves the cart of the one who took it.
            for visit, held in self._scene.holdings:
                if held == product:
                    ratios[visit] = max(ratios.get(visit, 0.0), config.handed_over_share * nearest)
        return [("", float(np.log(nobody)))] + [(v, float(np.log(r))) for v, r in ratios.items() if r > 1e-5 * nearest]

    def _pairs(self, best_single: float) -> list[Candidate]:
        """Two moves in one event: two products by one person, or one move by each of two people.

        ``best_single``: log density of the weight under the single move that fits it best.
        """
        products = self._pair_products()
        moves = [(product, count) for product in products for count in _PAIR_COUNTS]
        fits = []
        for first, second in combinations_with_replacement(moves, 2):
            if first[0] == second[0] and first[1] * second[1] < 0:
                continue
            weight = self._likelihood.weight([(self._store.products[product], count) for product, count in (first, second)])
            fits.append((weight, first, second))
        least = max([best_single, *(weight for weight, _, _ in fits)]) - _PAIR_CUT
        shaped = [(weight, self._pair_place(first, second, products), first, second) for weight, first, second in fits if weight > least]
        shaped.sort(key=lambda fit: (-fit[0] - fit[1], fit[2], fit[3]))
        return [candidate for fit in shaped[:_MOST_PAIRS] for candidate in self._pair(*fit, products)]

    def _pair_place(self, first: tuple[str, int], second: tuple[str, int], places: dict[str, np.ndarray]) -> float:
        masses = tuple(self._store.products[product].weight_kg * count for product, count in (first, second))
        return self._likelihood.pair(masses, (places[first[0]], places[second[0]]))

    def _pair(
        self, weight: float, log_place: float, first: tuple[str, int], second: tuple[str, int], places: dict[str, np.ndarray]
    ) -> list[Candidate]:
        items, place = (first, second), float(np.exp(log_place))
        base = weight + float(np.log(self._config.pair_share))
        for product, count in items:
            base += float(_LOG_COUNT_PRIOR[abs(count)]) + self._sight.get(product, 0.0)
            if count > 0 and product not in self._homes:
                base += float(np.log(self._config.elsewhere_share))
        if first[1] * second[1] < 0:
            base += float(np.log(self._config.swap_share))
        sides = [self._who(product, -count, self._share_near(places[product])) for product, count in items]
        found = []
        for visit_a, ratio_a in sides[0]:
            for visit_b, ratio_b in sides[1]:
                if not visit_a or not visit_b or (visit_a == visit_b and first[0] == second[0]):
                    continue
                if first == second and visit_b < visit_a:
                    continue
                together = (ratio_a + ratio_b) / 2 if visit_a == visit_b else ratio_a + ratio_b
                judgement = tuple(sorted((Move(visit_a, first[0], -first[1]), Move(visit_b, second[0], -second[1]))))
                found.append(Candidate(judgement, base + together, place, place))
        return found

    def _pair_products(self) -> dict[str, np.ndarray]:
        """Product -> places (indices) for those that may have stood at the plates that changed, sorted."""
        active = np.flatnonzero(self._likelihood.share > 0.08)
        if not len(active):
            return {}
        near = np.zeros(len(self._likelihood.places), dtype=bool)
        near[max(0, (active[0] - 1) * PLACES_PER_PLATE) : (active[-1] + 2) * PLACES_PER_PLATE] = True
        # Every other place will do: pairs need no fine grid.
        near[1::2] = False
        found: dict[str, np.ndarray] = {}
        for product, home in self._homes.items():
            if (near & (home > 0)).any():
                found[product] = np.flatnonzero(near & (home > 0))
        others = {stray.product for stray in self._scene.strays} | {product for _, product in self._scene.holdings}
        for product in others - set(found):
            found[product] = np.flatnonzero(near)
        return dict(sorted(found.items()))

    def _share_near(self, places: np.ndarray) -> np.ndarray:
        """The event's share per plate, restricted to the plates around some places."""
        mask = np.zeros(len(self._plates))
        mask[np.unique(places // PLACES_PER_PLATE)] = 1.0
        share = self._likelihood.share * mask
        return share / share.sum() if share.sum() > 0 else self._likelihood.share

    def _observed(self) -> dict[str, float]:
        """Product -> log-likelihood from cameras or RFID readers that saw an item near the plates at that time; 0 for the likeliest."""
        found: dict[str, float] = {}
        centres = np.array([plate.front for plate in self._plates])
        for seen in self._scene.observations:
            apart = float(np.linalg.norm(centres - seen.position, axis=1)[self._likelihood.share > 0.08].min(initial=np.inf))
            at = self._event.start_ns - NANOSECONDS <= seen.stamp_ns <= self._event.end_ns + NANOSECONDS
            top = float(np.max(seen.likelihoods, initial=0.0))
            if not at or apart > 0.4 + 2 * seen.position_deviation or top <= 0:
                continue
            given = dict(zip(seen.products, seen.likelihoods, strict=True))
            for product in self._store.products:
                found[product] = found.get(product, 0.0) + float(np.log(max(float(given.get(product, 0.0)) / top, 0.02)))
        return found
