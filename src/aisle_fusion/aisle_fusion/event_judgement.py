"""The possible judgements of one shelf event: who moved what and how many, with the likelihood of each.

Single moves (one person, one product, one to three pieces) of what stands there, of stray pieces, of what somebody holds, and, with little
prior, of anything that weighs as much; pairs of moves (two products, or two people) where events ran together; and that nothing was moved.
Who: hands and bodies. What: weight and place, and what cameras or readers saw in a hand.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, ShelfEvent
from aisle_fusion.dynamic_planogram import Planogram, PlanogramConfig, Stray
from aisle_fusion.event_parts import PartsConfig, without_hand
from aisle_fusion.hand_proximity import Proximity
from aisle_fusion.item_likelihood import PLACES_PER_PLATE, ItemLikelihood, ProductWeights, WeightConfig
from aisle_fusion.item_sightings import EventSights
from aisle_fusion.store_hypotheses import Dependence, Hypothesis, Judgement, Move, Outcome, carts_of
from aisle_store.store import ShelfKey

_COUNTS = (1, 2, 3)
_LOG_COUNT_PRIOR = {1: float(np.log(0.87)), 2: float(np.log(0.1)), 3: float(np.log(0.03))}
_PAIR_COUNTS = (-2, -1, 1, 2)
#: Share of put-backs of unheld goods that are of one piece more.
_FURTHER_MISSING = 0.1
#: Judgements this much (nats) less likely than the best are left out.
_CUT = 12.0
#: What is this much (nats) below a limit is certainly below it.
_ROUNDING = 1e-6
#: No more than so many judgements of an event are carried on.
_MOST_JUDGEMENTS = 60
#: Pairs of moves whose weight fits this much (nats) worse than that of other judgements are left out; most pairs that are tried.
_PAIR_CUT = 7.0
_MOST_PAIRS = 25
#: Plates whose change is this share of the event's, or is clear of noise and goods by itself, may be those of one of two moves.
_ACTIVE_SHARE = 0.08
_CLEAR_DEVIATIONS, _LEAST_CLEAR_KG = 5.0, 0.015
#: Two moves rarely fall into one event that is over within the first of these times (s), and as often as into any from the second on.
_BRIEF_S = (0.5, 1.0)
#: What sights of things in hands may add to a pair, at most that is thought of (nats).
_PAIR_SIGHT = 6.0
#: A hand near the plates tells no more than this (nats) about a second person in the same event.
_LOG_COMPANY = 3.0
#: Products from elsewhere in the catalogue that are tried: the ones that fit best by weight; and of those that have no place at all.
_MISPLACED_TRIED = 3
_UNPLACED_TRIED = 6
#: Who is so many times less likely than the nearest is not thought of: for single moves, and for pairs.
_LEAST_RATIO, _LEAST_PAIR_RATIO = 1e-4, 3e-3


@dataclass(frozen=True)
class JudgementConfig(WeightConfig, PlanogramConfig, PartsConfig):
    """Parameters of ``EventJudge``."""

    nobody_ratio: float = parameter(0.005, "Likelihood ratio of a person whom nobody sees", 1e-9, 100.0)
    stray_share: float = parameter(0.7, "How ready a piece put elsewhere is taken from there, against one from its home", 0.0, 10.0)
    elsewhere_share: float = parameter(0.15, "Share of put-backs away from the product's home", 0.0, 1.0)
    unheld_share: float = parameter(0.003, "Share of put-backs of a product that the person is not known to hold", 0.0, 1.0)
    restock_share: float = parameter(0.05, "How often people who are not known put goods on the shelves, against put-backs", 0.0, 10.0)
    pair_share: float = parameter(0.03, "Share of events that are two moves of one person in one", 0.0, 0.5)
    two_people_share: float = parameter(0.02, "Share of events that are a move each of two people", 0.0, 0.5)
    brief_share: float = parameter(
        0.25, "Both of these shares in events of up to half a second, against those of a second or more", 0.001, 1.0
    )
    swap_share: float = parameter(0.1, "Share of pairs in which one thing is taken and another put", 0.0, 1.0)
    handed_over_share: float = parameter(0.02, "Share of put-backs by another person than the one who took the product", 0.0, 1.0)
    earlier_share: float = parameter(
        0.4, "How readily a thing is put back that was taken before the last one, against the last one", 0.001, 1.0
    )
    both_hands_share: float = parameter(0.05, "How often one person moves things at two places at once, against two persons", 0.0, 1.0)


#: Product and pieces that come (> 0) or go.
_Item = tuple[str, int]


class Candidate(NamedTuple):
    """A judgement, its log-likelihood without place and carts, and the place likelihoods under each way in which it could stand there.

    ``home``: where it is known to stand (in a pair: of both); ``elsewhere``: anywhere on the shelf, its share included. ``after_hand``:
    the stray was no thing but a hand that rested there, and went with what was taken.
    """

    judgement: Judgement
    log_likelihood: float
    home: float
    elsewhere: float = 0.0
    strays: tuple[tuple[Stray, float], ...] = ()
    after_hand: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is known at one event beside the weights.

    ``proximities``: who is near; ``holdings``: what is held, (visit, product) -> most pieces in any hypothesis; ``chances``: the
    probability that any of it is held (1 for what is not in it); ``strays``: what stands astray on the shelf; ``rivals``: the events
    elsewhere at the same time, by number, with the likelihood ratio of each visit there; ``staff``: visits of people who work here;
    ``sights``: what was seen in hands; ``recency``: what a visit took last (``StoreHypotheses.recency``).
    """

    proximities: Sequence[Proximity]
    holdings: Mapping[tuple[str, str], int]
    strays: Sequence[Stray]
    chances: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rivals: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    staff: Collection[str] = ()
    recency: Callable[[str], Mapping[str, tuple[float, float]]] = lambda visit: {}
    sights: EventSights = field(default_factory=EventSights)


class EventJudge:
    """Judges one event. The scene's proximities must refer to the shelf's plates from left to right.

    ``candidates``: the likeliest judgements, ``bounds``: the log of what each comes to at most.
    """

    def __init__(self, planogram: Planogram, weights: ProductWeights, config: JudgementConfig, event: ShelfEvent, scene: Scene) -> None:
        self._config = config
        self._event = event
        self._scene = scene
        self._shelf: ShelfKey = (event.gondola, event.shelf)
        self._plates = planogram.plates(self._shelf)
        self._standing = planogram.standing(self._shelf)
        self._unknown = planogram.unknown(self._shelf)
        self._planogram = planogram
        self._weights = weights
        self._likelihood = ItemLikelihood(event, [plate.plate for plate in self._plates], config, weights)
        #: Likelihood ratio of each visit to have moved something here, by hands and bodies.
        self.ratios = self._ratios_near(self._likelihood.share)
        self._something_seen = bool(scene.sights)
        self._log_two_people = math.log(config.two_people_share / max(config.pair_share, 1e-12) + 1e-300)
        lasted_s = (event.end_ns - event.start_ns) / NANOSECONDS
        self._log_pair = math.log(float(np.interp(lasted_s, _BRIEF_S, (config.brief_share, 1.0))) * config.pair_share + 1e-300)
        self._sides: dict[tuple[str, bool], list[tuple[str, float]]] = {}
        self._sides_at: dict[bytes | tuple[str, bytes], list[tuple[str, float]]] = {}
        self._ratios_by_plates: dict[bytes, dict[str, float]] = {}
        self._recency: dict[str, Mapping[str, tuple[float, float]]] = {}
        self._outcomes: dict[int | tuple[int, ...], Outcome] = {}
        self.candidates = self._candidates()

    @cached_property
    def log_evidence(self) -> float:
        """Log density (per kg) of the event over all that it may have been, unlikely or not. To be asked before anything is learned."""
        found, best_cases = self._considered(kept_only=False)
        return float(np.logaddexp.reduce(best_cases + [self._log_chance(candidate.judgement) for candidate in found]))

    @property
    def total(self) -> float:
        """Change over the shelf, kg."""
        return self._likelihood.total

    @property
    def total_deviation(self) -> float:
        """Standard deviation (kg) of ``total``."""
        return self._likelihood.total_deviation

    @property
    def log_evidence_put_back(self) -> float:
        """As ``log_evidence``, of somebody having put back something that he may hold."""
        held = [
            bound + self._log_chance(candidate.judgement)
            for candidate, bound in zip(self.candidates, self.bounds, strict=True)
            if len(candidate.judgement) == 1
            and candidate.judgement[0].visit
            and -candidate.judgement[0].quantity in range(1, self._held(candidate.judgement[0]) + 1)
        ]
        return float(np.logaddexp.reduce(held)) if held else -np.inf

    def log_evidence_taken_again(self, kg: float) -> float:
        """Log density (per kg) of the event, if somebody took here what the same plates felt as ``kg`` when it was put there before."""
        nearest = max(*self.ratios.values(), self._config.nobody_ratio) if self.ratios else self._config.nobody_ratio
        place = self._config.stray_share * float(self._likelihood.single.max())
        return self._likelihood.again(kg) + float(np.log(nearest * place + 1e-300))

    def _held(self, move: Move) -> int:
        return self._scene.holdings.get((move.visit, move.product), 0)

    @cached_property
    def judgements(self) -> list[tuple[Judgement, float]]:
        """The candidates as ``StoreHypotheses.update`` takes them."""
        return [(candidate.judgement, candidate.log_likelihood) for candidate in self.candidates]

    @cached_property
    def dependence(self) -> Dependence:
        """On what the candidates' priors depend."""
        strays = {stray for candidate in self.candidates for stray, _ in candidate.strays if _takes(candidate.judgement)}
        return Dependence(carts_of(candidate.judgement for candidate in self.candidates), strays, set(self._scene.rivals))

    def distance(self, visit: str) -> float:
        """Distance (m) of a visit's hand or body to the plates that changed; NaN: not measured."""
        for proximity in self._scene.proximities:
            if proximity.visit == visit:
                return float(proximity.distance[self._likelihood.share > 0.15].min(initial=np.inf)) if self._likelihood.size else np.nan
        return float("nan")

    def outcome(self, hypothesis: Hypothesis, index: int) -> Outcome:
        """The prior of a candidate in a hypothesis: what is put back should be held, what stands there can be taken."""
        puts = self._puts[index]
        if puts is None:
            return self._outcome(hypothesis, self.candidates[index])
        case = (index, *[max(0, pieces - hypothesis.held(visit, product)) for visit, product, pieces in puts]) if puts else index
        found = self._outcomes.get(case)
        if found is None:
            found = self._outcomes[case] = self._outcome(hypothesis, self.candidates[index])
        return found

    @cached_property
    def _puts(self) -> list[tuple[tuple[str, str, int], ...] | None]:
        """Of each candidate the (visit, product, pieces) that should be held, where its outcome depends on no more than how many of those
        are missing; None where it depends on what stands astray, too, or on who was busy elsewhere."""
        return [None if self._scene.rivals or candidate.strays else self._puts_of(candidate.judgement) for candidate in self.candidates]

    def _puts_of(self, judgement: Judgement) -> tuple[tuple[str, str, int], ...] | None:
        puts: tuple[tuple[str, str, int], ...] = ()
        for visit, product, quantity in judgement:
            if quantity < 0 and visit and visit not in self._scene.staff:
                puts += ((visit, product, -quantity),)
            elif quantity > 0 and product not in (self._standing if len(judgement) == 1 else self._belonging):
                # Perhaps a stray piece.
                return None
        return puts

    def _outcome(self, hypothesis: Hypothesis, candidate: Candidate) -> Outcome:
        if not candidate.judgement:
            return Outcome(0.0)
        prior = self._held_prior(hypothesis.held, candidate.judgement) + self._rival_prior(hypothesis, candidate.judgement)
        if len(candidate.judgement) > 1:
            returned = tuple(stray for stray, _ in candidate.strays if stray in hypothesis.strays)
            log_prior = prior + self._standing_prior(hypothesis.strays, candidate.judgement) + _log(candidate.home + 1e-300)
            return Outcome(log_prior, removed=returned)
        return self._place_outcome(hypothesis, candidate, prior)

    def learn(self, posterior: Mapping[Judgement, float]) -> None:
        """Tells the planogram and the product weights what was probably picked here (``posterior``: of the candidates' judgements)."""
        # What a hand weighed says nothing of goods.
        after_hands = {candidate.judgement for candidate in self.candidates if candidate.after_hand}
        for candidate in self.candidates:
            probability = posterior.get(candidate.judgement, 0.0)
            if len(candidate.judgement) != 1 or probability < 0.05 or candidate.judgement in after_hands:
                continue
            (move,) = candidate.judgement
            refilled = move.quantity < 0 and (move.visit in self._scene.staff or not move.visit)
            if move.quantity > 0 or refilled:
                self._learn_place(candidate, move, probability)
            self._likelihood.learn(move.product, abs(move.quantity), probability)

    def _learn_place(self, candidate: Candidate, move: Move, probability: float) -> None:
        standing = self._standing.get(move.product)
        unknown = self._unknown if move.quantity > 0 else 1.0
        prior = self._elsewhere(move.product, move.quantity) * unknown / len(self._likelihood.single)
        weight = self._likelihood.single * (prior if standing is None else standing + prior)
        strays = self._config.stray_share * math.fsum(likelihood for _, likelihood in candidate.strays) if move.quantity > 0 else 0.0
        total = float(weight.sum())
        self._planogram.observe(self._shelf, move.product, weight / total, probability * total / (total + strays))

    def _held_prior(self, held: Callable[[str, str], int], judgement: Judgement) -> float:
        """Log prior of put-backs, given the pieces ``held(visit, product)``: the first missing piece costs most. Staff bring goods."""
        log_prior = 0.0
        for move in judgement:
            if move.quantity < 0 and move.visit and move.visit not in self._scene.staff:
                missing = -move.quantity - held(move.visit, move.product)
                if missing > 0:
                    log_prior += _log(self._config.unheld_share) + (missing - 1) * _log(_FURTHER_MISSING)
                else:
                    log_prior += self._recency_prior(move.visit, move.product)
        return log_prior

    def _recency_prior(self, visit: str, product: str) -> float:
        """Log of how readily a visit puts back what it holds: the last thing that it took, the one before, or an earlier one."""
        recency = self._recency.get(visit)
        if recency is None:
            recency = self._recency[visit] = self._scene.recency(visit)
        last, before = recency.get(product, (1.0, 0.0))
        share = self._config.earlier_share
        return math.log(last + share * before + share**2 * max(0.0, 1.0 - last - before))

    def _rival_prior(self, hypothesis: Hypothesis, judgement: Judgement) -> float:
        """Log prior of who it was, given who moved things elsewhere at the same time. A hand that was there for that is near here for no
        further reason: its nearness counts once."""
        if not self._scene.rivals:
            return 0.0
        moving = {move.visit for move in judgement if move.visit}
        log_prior = 0.0
        for number, ratios in self._scene.rivals.items():
            busy = {move.visit for move in hypothesis.judgements.get(number, ()) if move.visit}
            for visit in sorted(busy & moving):
                counted_twice = min(self.ratios.get(visit, 1.0), ratios.get(visit, 1.0))
                log_prior += _log(self._config.both_hands_share) - max(0.0, math.log(counted_twice))
        return log_prior

    def _standing_prior(self, strays: Collection[Stray], judgement: Judgement) -> float:
        """Log prior of picks in a pair: what has no home at these plates is taken from them only where a piece was put before."""
        log_prior = 0.0
        for move in judgement:
            if move.quantity > 0 and move.product not in self._belonging:
                astray = any(stray.product == move.product and self._is_near(stray) for stray in strays)
                share = self._config.stray_share if astray else self._planogram.elsewhere(move.product)
                log_prior += _log(share + 1e-300)
        return log_prior

    def _place_outcome(self, hypothesis: Hypothesis, candidate: Candidate, prior: float) -> Outcome:
        move = candidate.judgement[0]
        usual = candidate.home + candidate.elsewhere
        if candidate.after_hand:
            ((hand, _),) = candidate.strays
            rested = hand in hypothesis.strays
            return Outcome(prior + _log((usual if rested else 0.0) + 1e-300), removed=(hand,) if rested else ())
        if move.quantity < 0:
            log_prior = prior + _log(usual + 1e-300)
            if not move.visit or move.visit in self._scene.staff:
                return Outcome(log_prior)
            lent = max(0, -move.quantity - hypothesis.held(move.visit, move.product))
            astray = -move.quantity - lent
            place = int(np.argmax(self._likelihood.single))
            felt_kg = tuple((self._likelihood.change / -move.quantity).tolist())
            stray = Stray(*self._shelf, place, move.product, self._event.end_ns, felt_kg)
            return Outcome(log_prior, added=(stray,) * astray + (stray._replace(lender=move.visit),) * lent)
        best, best_share, total = None, usual, usual
        for stray, likelihood in candidate.strays:
            if stray in hypothesis.strays:
                share = self._config.stray_share * likelihood
                total += share
                if share > best_share:
                    best, best_share = stray, share
        return Outcome(prior + _log(total + 1e-300), removed=() if best is None else (best,))

    def _candidates(self) -> list[Candidate]:
        found, best_cases = self._considered(kept_only=True)
        order = np.argsort(-best_cases, kind="stable")[:_MOST_JUDGEMENTS]
        kept = [int(index) for index in order if best_cases[index] >= best_cases[order[0]] - _CUT]
        self.bounds = [float(best_cases[index]) for index in kept]
        return [found[index] for index in kept]

    def _considered(self, kept_only: bool) -> tuple[list[Candidate], np.ndarray]:
        """All candidates with the log of what each comes to at most; ``kept_only``: without most of the pairs that would not be kept."""
        singles, best_single = self._singles()
        found = [Candidate((), self._likelihood.nothing(), 1.0), *singles, *self._after_hands()]
        best_cases = [self._best_case(candidate) for candidate in found]
        least = max(best_cases) - _CUT
        pairs = self._pairs(best_single, least, least if kept_only else -math.inf)
        return found + pairs, np.array(best_cases + [self._best_case(candidate) for candidate in pairs])

    def _best_case(self, candidate: Candidate) -> float:
        """Log of the candidate's likelihood in the hypothesis that suits it best."""
        if not candidate.judgement:
            return candidate.log_likelihood
        place = candidate.home + candidate.elsewhere
        if len(candidate.judgement) == 1 and candidate.judgement[0].quantity > 0 and not candidate.after_hand:
            place += self._config.stray_share * math.fsum(likelihood for _, likelihood in candidate.strays)
            return candidate.log_likelihood + math.log(place + 1e-300)
        log_prior = self._held_prior(lambda visit, product: self._scene.holdings.get((visit, product), 0), candidate.judgement)
        if len(candidate.judgement) > 1:
            log_prior += self._standing_prior(self._scene.strays, candidate.judgement)
        return candidate.log_likelihood + math.log(place + 1e-300) + log_prior

    def _log_chance(self, judgement: Judgement) -> float:
        """Log probability that what is put back was held."""
        carts = carts_of([judgement])
        return sum(float(np.log(max(self._scene.chances.get(cart, 1.0), self._config.unheld_share) + 1e-300)) for cart in carts)

    def _singles(self) -> tuple[list[Candidate], float]:
        """Single moves, and the log density of the weight under the one of goods that belong here which fits it best."""
        likelihood, found = self._likelihood, []
        sign = -1 if likelihood.total < 0 else 1
        products = self._single_products()
        weight = likelihood.weight(self._weights.rows(products)[:, None, None], sign * np.array(_COUNTS)[None, :, None])
        best = max((float(weight[row].max()) for row, product in enumerate(products) if product in self._standing), default=-np.inf)
        anywhere = float((likelihood.single if sign > 0 else likelihood.single * self._unknown).mean())
        least = float(weight.max()) - 2 * _CUT
        who: list[tuple[str, float]] | None = None
        for row, product in enumerate(products):
            columns = np.flatnonzero(weight[row] >= least).tolist()
            if not columns:
                continue
            home = float(self._standing[product] @ likelihood.single) if product in self._standing else 0.0
            elsewhere = self._elsewhere(product, -sign) * anywhere
            if sign > 0:
                home *= 1 - self._config.elsewhere_share
            strays = tuple((s, float(self._planogram.near(s) @ likelihood.single)) for s in self._scene.strays if s.product == product)
            # Who takes is asked once; who puts depends on what it is.
            who = self._who(product, -sign, self.ratios) if who is None or sign > 0 else who
            for column in columns:
                count = _COUNTS[column]
                base = float(weight[row, column]) + _LOG_COUNT_PRIOR[count]
                same = strays if count > 1 or sign > 0 else self._felt_again(strays, float(weight[row, column]))
                for visit, log_ratio in who:
                    judgement = (Move(visit, product, -sign * count),)
                    found.append(Candidate(judgement, base + log_ratio + self._seen(visit, product), home, elsewhere, same))
        return found, best

    def _after_hands(self) -> list[Candidate]:
        """Picks by those of whom something lies on the shelf that they did not hold: a hand that rested there, and took goods with it."""
        found: list[Candidate] = []
        plates = [plate.plate for plate in self._plates]
        for stray in self._scene.strays if self._likelihood.total < 0 else ():
            ratio = self.ratios.get(stray.lender, 0.0) if stray.lender and stray.felt_kg else 0.0
            rest = without_hand(self._event, dict(zip(plates, stray.felt_kg, strict=True)), self._config) if ratio > 0.0 else None
            if rest is None:
                continue
            likelihood = ItemLikelihood(rest, plates, self._config, self._weights)
            products = [product for product in self._standing if product != stray.product]
            weight = likelihood.weight(self._weights.rows(products)[:, None, None], -np.array(_COUNTS)[None, :, None])
            for row, product in enumerate(products):
                home = float(self._standing[product] @ likelihood.single)
                for count, fit in zip(_COUNTS, weight[row].tolist(), strict=True):
                    judgement = (Move(stray.lender, product, count),)
                    log_likelihood = fit + _LOG_COUNT_PRIOR[count] + math.log(ratio) + self._seen(stray.lender, product)
                    found.append(Candidate(judgement, log_likelihood, home, 0.0, ((stray, 1.0),), after_hand=True))
        return found

    def _felt_again(self, strays: tuple[tuple[Stray, float], ...], log_weight: float) -> tuple[tuple[Stray, float], ...]:
        """Stray pieces with their place likelihoods or, where it is known, with how much better the event fits to what the plates felt
        when each was put there than to its product's weight (``log_weight``)."""
        return tuple(
            (stray, math.exp(self._likelihood.felt_again(np.array(stray.felt_kg), place) - log_weight) if stray.felt_kg else place)
            for stray, place in strays
        )

    def _elsewhere(self, product: str, quantity: int) -> float:
        """The share of moves of a product (picks: ``quantity`` > 0) at places where it is not known to stand."""
        return self._planogram.elsewhere(product) if quantity > 0 else self._config.elsewhere_share

    def _seen(self, visit: str, product: str) -> float:
        return self._scene.sights.ratio(visit, product) if visit and self._something_seen else 0.0

    def _single_products(self) -> list[str]:
        """What may have been moved, sorted: what stands here, is astray here, is held by somebody, or has the right weight."""
        known = {*self._standing, *(stray.product for stray in self._scene.strays)}
        if self._likelihood.total > 0:
            known |= {product for _, product in self._scene.holdings}
        sign = -1 if self._likelihood.total < 0 else 1
        rows = np.arange(len(self._weights.products))
        fit = self._likelihood.weight(rows[:, None], np.full((len(rows), 1), sign))
        order = np.argsort(-fit, kind="stable")
        is_placed = self._planogram.are_placed(self._weights.products)[order]
        tried: set[str] = set()
        for kin, most in ((order[is_placed], _MISPLACED_TRIED), (order[~is_placed], _UNPLACED_TRIED)):
            others = (product for product in (self._weights.products[row] for row in kin) if product not in known)
            tried.update(islice(others, most))
        return sorted(known | tried)

    def _ratios_near(self, share: np.ndarray) -> dict[str, float]:
        """Likelihood ratio of every visit to have moved something at the plates, weighted by ``share``."""
        return {proximity.visit: float(proximity.ratio @ share) for proximity in self._scene.proximities}

    def _who(self, product: str, quantity: int, ratios: Mapping[str, float], least: float = _LEAST_RATIO) -> list[tuple[str, float]]:
        """(visit, log likelihood ratio) of all who may have moved a product; "" is nobody known."""
        config = self._config
        nobody = config.nobody_ratio * (1.0 if quantity > 0 else config.restock_share)
        nearest = max(ratios.values(), default=0.0)
        possible = ratios
        if quantity < 0 and product in self._holders:
            # Passed to somebody else, who puts it back: it leaves the cart of the one who took it, one of the others who hold something.
            share = config.handed_over_share / max(len({visit for visit, _ in self._scene.holdings}) - 1, 1)
            possible = dict(ratios)
            for visit in self._holders[product]:
                possible[visit] = max(possible.get(visit, 0.0), share * nearest)
        return [("", _log(nobody))] + [(v, math.log(r)) for v, r in possible.items() if r > least * nearest]

    @cached_property
    def _holders(self) -> dict[str, list[str]]:
        """Product -> the visits that may hold it."""
        found: dict[str, list[str]] = {}
        for visit, product in self._scene.holdings:
            found.setdefault(product, []).append(visit)
        return found

    def _pairs(self, best_single: float, least: float, least_kept: float) -> list[Candidate]:
        """Two moves in one event: two products by one person, or one move by each of two people.

        ``best_single``: log density of the weight under the single move that fits it best; ``least``: what a pair must come to at best,
        whoever it was; ``least_kept``: the same for each candidate.
        """
        places = self._pair_places()
        moves = [(product, count) for product in places for count in _PAIR_COUNTS]
        if not moves:
            return []
        first, second = _each_with_each(len(moves))
        rows = self._weights.rows([product for product, _ in moves])
        counts = np.array([count for _, count in moves])
        sensible = (rows[first] != rows[second]) | (counts[first] * counts[second] > 0)
        first, second = first[sensible], second[sensible]
        weight = self._likelihood.pair_weights(rows, counts, first, second)
        likely = np.flatnonzero(weight > max(best_single, float(weight.max())) - _PAIR_CUT)
        first, second, weight = first[likely], second[likely], weight[likely]
        prior = np.array([self._move_prior(*move) for move in moves])
        swap = np.where(counts[first] * counts[second] < 0, _log(self._config.swap_share), 0.0)
        fit = weight + prior[first] + prior[second] + swap
        best = np.argsort(-fit, kind="stable")[: 4 * _MOST_PAIRS]
        # Nobody is nearer than that, and nothing in a hand is clearer.
        least -= (
            self._log_pair
            + 2 * max(0.0, float(np.log(max(self.ratios.values(), default=1.0))))
            + (_PAIR_SIGHT if self._something_seen else 0.0)
        )
        best = best[fit[best] >= least]
        tried = [(moves[a], moves[b]) for a, b in zip(first[best].tolist(), second[best].tolist(), strict=True)]
        masses = (self._weights.kg[rows] * counts)[np.stack([first[best], second[best]], axis=-1)]
        shaped = self._shaped(tried, fit[best].tolist(), weight[best].tolist(), masses, places)
        shaped.sort(key=lambda pair: (-pair[0], *pair[3:]))
        chosen = [pair for pair in shaped[:_MOST_PAIRS] if pair[0] >= least]
        return [candidate for _, *pair in chosen for candidate in self._pair(*pair, places, least_kept)]

    def _move_prior(self, product: str, count: int) -> float:
        """Log prior of one move of a pair at most, whoever it was."""
        prior = _LOG_COUNT_PRIOR[abs(count)]
        if count < 0:
            return prior + self._standing_prior(self._scene.strays, (Move("", product, -count),))
        if product not in self._belonging:
            prior += _log(self._config.elsewhere_share)
        missing = 0 if self._scene.staff else count - self._most_held.get(product, 0)
        return prior + (_log(self._config.unheld_share) + (missing - 1) * _log(_FURTHER_MISSING) if missing > 0 else 0.0)

    @cached_property
    def _most_held(self) -> dict[str, int]:
        """Product -> the most pieces that anybody holds in any hypothesis."""
        most: dict[str, int] = {}
        for (_, product), pieces in self._scene.holdings.items():
            most[product] = max(most.get(product, 0), pieces)
        return most

    def _shaped(
        self,
        tried: Sequence[tuple[_Item, _Item]],
        fits: Sequence[float],
        weights: Sequence[float],
        masses: np.ndarray,
        places: Mapping[str, np.ndarray],
    ) -> list[tuple[float, float, float, _Item, _Item]]:
        """How well all in all, log density of the weight and of the pattern, and the moves, of the pairs ``tried`` that may be among the
        best; ``fits``: by weight and prior, falling; ``masses`` kg [N, 2]."""
        shaped: list[tuple[float, float, float, _Item, _Item]] = []
        found: list[float] = []
        for start in range(0, len(tried), _MOST_PAIRS):
            part = slice(start, start + _MOST_PAIRS)
            if len(found) >= _MOST_PAIRS and fits[start] < found[-_MOST_PAIRS]:
                break
            patterns = self._likelihood.pairs(masses[part], [(places[a], places[b]) for (a, _), (b, _) in tried[part]]).tolist()
            for fit, weight, pattern, pair in zip(fits[part], weights[part], patterns, tried[part], strict=True):
                # A pattern only takes from the fit: what follows cannot be among the best any more.
                if len(found) >= _MOST_PAIRS and fit < found[-_MOST_PAIRS]:
                    return shaped
                shaped.append((fit + pattern, weight, pattern, *pair))
                insort(found, fit + pattern)
        return shaped

    def _pair(
        self,
        weight: float,
        log_place: float,
        first: tuple[str, int],
        second: tuple[str, int],
        places: Mapping[str, np.ndarray],
        least: float,
    ) -> list[Candidate]:
        items, place = (first, second), float(np.exp(log_place))
        base = weight + self._log_pair
        for product, count in items:
            base += _LOG_COUNT_PRIOR[abs(count)]
            if count > 0 and product not in self._belonging:
                base += _log(self._config.elsewhere_share)
        if first[1] * second[1] < 0:
            base += _log(self._config.swap_share)
        sides = [self._side(product, count, places[product]) for product, count in items]
        # What ``_best_case`` says whoever it was, but for goods that nobody held, which only take from it; and a little for rounding.
        moved = tuple(Move("", product, -count) for product, count in items)
        least -= base + math.log(place + 1e-300) + self._standing_prior(self._scene.strays, moved) + _ROUNDING
        found = []
        for visit_a, ratio_a in sides[0]:
            for visit_b, ratio_b in sides[1]:
                if not visit_a or not visit_b or (visit_a == visit_b and first[0] == second[0]):
                    continue
                if first == second and visit_b < visit_a:
                    continue
                together = (ratio_a + ratio_b) / 2 if visit_a == visit_b else self._both(ratio_a, ratio_b)
                if self._something_seen:
                    together += self._seen(visit_a, first[0]) + self._seen(visit_b, second[0])
                if together < least:
                    continue
                judgement = tuple(sorted((Move(visit_a, first[0], -first[1]), Move(visit_b, second[0], -second[1]))))
                found.append(Candidate(judgement, base + together, place, strays=self._taken_back(judgement)))
        return found

    def _taken_back(self, judgement: Judgement) -> tuple[tuple[Stray, float], ...]:
        """Of what people of a pair take, the things that were their own: one for each of the moves at most."""
        found: list[tuple[Stray, float]] = []
        for move in judgement:
            own = (s for s in self._scene.strays if s.lender and s.lender == move.visit and s.product == move.product)
            if move.quantity > 0 and (stray := next(own, None)) is not None:
                found.append((stray, 1.0))
        return tuple(found)

    def _side(self, product: str, count: int, places: np.ndarray) -> list[tuple[str, float]]:
        """As ``_who``, of one of a pair's moves."""
        found = self._sides.get((product, count > 0))
        if found is None:
            # Who takes depends on the place alone, and that is the same for many products.
            at = places.tobytes() if count < 0 else (product, places.tobytes())
            found = self._sides_at.get(at)
            if found is None:
                found = self._sides_at[at] = self._who(product, -count, self._ratios_at(places), _LEAST_PAIR_RATIO)
            self._sides[product, count > 0] = found
        return found

    def _ratios_at(self, places: np.ndarray) -> dict[str, float]:
        """As ``_ratios_near``, for the plates around some places."""
        plates = (places // PLACES_PER_PLATE).tobytes()
        found = self._ratios_by_plates.get(plates)
        if found is None:
            found = self._ratios_by_plates[plates] = self._ratios_near(self._share_near(places))
        return found

    def _both(self, first: float, second: float) -> float:
        """Log ratio of two people's moves in one event, given that of each: who keeps another company has a hand near without taking."""
        return max(first, second) + min(first, second, _LOG_COMPANY) + self._log_two_people

    def _pair_places(self) -> dict[str, np.ndarray]:
        """Product -> places (indices) for those that may have stood at the plates that changed, sorted."""
        if not self._near.any():
            return {}
        found = dict(self._belonging)
        nearest = max(self.ratios.values(), default=0.0)
        others = {product for visit, product in self._scene.holdings if self.ratios.get(visit, 0.0) > 1e-2 * nearest}
        others |= {stray.product for stray in self._scene.strays if self._is_near(stray)}
        for product in others - set(found):
            found[product] = np.flatnonzero(self._near[::2]) * 2
        return dict(sorted(found.items()))

    @cached_property
    def _near(self) -> np.ndarray:
        """bool [L]: the places around the plates that changed."""
        active = np.flatnonzero((self._likelihood.share > _ACTIVE_SHARE) | self._likelihood.clear(_CLEAR_DEVIATIONS, _LEAST_CLEAR_KG))
        near = np.zeros(len(self._likelihood.places), dtype=bool)
        if len(active):
            near[max(0, (active[0] - 1) * PLACES_PER_PLATE) : (active[-1] + 2) * PLACES_PER_PLATE] = True
        return near

    @cached_property
    def _belonging(self) -> dict[str, np.ndarray]:
        """Product -> places (indices) for those that are known to stand there. Every other place will do: pairs need no fine grid."""
        found: dict[str, np.ndarray] = {}
        for product, weight in self._standing.items():
            places = np.flatnonzero((self._near & (weight > 0.01 * weight.max()))[::2]) * 2
            if len(places):
                found[product] = places
        return found

    def _is_near(self, stray: Stray) -> bool:
        """Whether a stray piece lies at the plates that changed."""
        return (stray.gondola, stray.shelf) == self._shelf and bool(self._near[stray.place])

    def _share_near(self, places: np.ndarray) -> np.ndarray:
        """The event's share per plate, restricted to the plates around some places."""
        mask = np.zeros(len(self._plates))
        mask[places // PLACES_PER_PLATE] = 1.0
        share = self._likelihood.share * mask
        total = share.sum()
        return share / total if total > 0 else self._likelihood.share


@lru_cache(maxsize=1024)
def _log(value: float) -> float:
    """Of a parameter or what little depends on: asked for again and again."""
    return float(np.log(value))


@lru_cache(maxsize=16)
def _each_with_each(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the first and the second of all pairs out of so many things, each with itself too."""
    return np.triu_indices(count)


def _takes(judgement: Judgement) -> bool:
    return any(move.quantity > 0 for move in judgement)
