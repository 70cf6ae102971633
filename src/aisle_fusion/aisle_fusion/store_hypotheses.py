"""Several hypotheses about the whole store, each with everybody's cart and the pieces that stand where they do not belong.

A beam search over joint judgements of the shelf events (cf. Reid, "An algorithm for tracking multiple targets", 1979): each event
multiplies the hypotheses by its possible judgements; those that agree about the present are merged and the likeliest are kept. A
judgement's prior depends on the hypothesis: what is put back must have been held, what was put elsewhere may be taken from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from aisle_fusion.dynamic_planogram import Stray


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """``quantity`` pieces of a product into (> 0) or out of (< 0) a visit's cart; visit "": somebody who is not known."""

    visit: str
    product: str
    quantity: int


#: So many times more children than are kept in the end are merged: several may agree about the present.
_BRANCHING = 6

#: What an event was; empty: no item was moved.
Judgement = tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judgement in the light of one hypothesis: its log prior, and what changes among the stray pieces."""

    log_prior: float
    removed: tuple[Stray, ...] = ()
    added: tuple[Stray, ...] = ()


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """``counts``: (visit, product, pieces > 0), sorted. ``history``: (event number, judgement) of the events that open visits depend on."""

    log_weight: float
    counts: tuple[tuple[str, str, int], ...] = ()
    strays: tuple[Stray, ...] = ()
    history: tuple[tuple[int, Judgement], ...] = ()

    def held(self, visit: str, product: str) -> int:
        return next((count for v, p, count in self.counts if v == visit and p == product), 0)


class StoreHypotheses:
    """At most ``limit`` hypotheses with normalised weights, likeliest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hypotheses = [Hypothesis(0.0)]

    def __len__(self) -> int:
        return len(self._hypotheses)

    def strays(self, shelf: tuple[str, str]) -> list[Stray]:
        """Stray pieces on a shelf in any hypothesis, sorted."""
        return sorted({stray for hypothesis in self._hypotheses for stray in hypothesis.strays if (stray.gondola, stray.shelf) == shelf})

    def holdings(self) -> dict[tuple[str, str], int]:
        """(visit, product) -> most pieces held in any hypothesis."""
        most: dict[tuple[str, str], int] = {}
        for hypothesis in self._hypotheses:
            for visit, product, count in hypothesis.counts:
                most[visit, product] = max(count, most.get((visit, product), 0))
        return dict(sorted(most.items()))

    def update(self, event: int, judgements: Iterable[tuple[Judgement, float]], outcome: Callable[[Hypothesis, int], Outcome]) -> None:
        """Takes an event's judgements with their log-likelihoods; ``outcome(hypothesis, i)`` is the i-th's in the light of a hypothesis."""
        judgements = list(judgements)
        weighed: list[tuple[float, int, int, Outcome]] = []
        for number, hypothesis in enumerate(self._hypotheses):
            for index, (_, log_likelihood) in enumerate(judgements):
                result = outcome(hypothesis, index)
                weighed.append((-(hypothesis.log_weight + log_likelihood + result.log_prior), number, index, result))
        weighed.sort(key=lambda entry: entry[:3])
        merged: dict[tuple, Hypothesis] = {}
        for negative_weight, number, index, result in weighed[: self._limit * _BRANCHING]:
            _merge(merged, _apply(self._hypotheses[number], event, judgements[index][0], result, -negative_weight))
        self._keep_best(merged.values())

    def forget(self, visit: str, relevant: Callable[[Judgement], bool]) -> None:
        """Leaves out a visit that is closed, and the history that no ``relevant`` judgement of any hypothesis needs."""
        events = {event for h in self._hypotheses for event, judgement in h.history if relevant(judgement)}
        merged: dict[tuple, Hypothesis] = {}
        for hypothesis in self._hypotheses:
            counts = tuple(entry for entry in hypothesis.counts if entry[0] != visit)
            history = tuple(entry for entry in hypothesis.history if entry[0] in events)
            _merge(merged, replace(hypothesis, counts=counts, history=history))
        self._keep_best(merged.values())

    def events(self) -> set[int]:
        """Numbers of the events that any hypothesis still remembers."""
        return {event for hypothesis in self._hypotheses for event, _ in hypothesis.history}

    def quantities(self, visit: str) -> dict[str, dict[int, float]]:
        """Product -> (pieces -> probability) for what a visit holds, zero included; sorted by product."""
        products = sorted({p for h in self._hypotheses for v, p, _ in h.counts if v == visit})
        found: dict[str, dict[int, float]] = {product: {} for product in products}
        for hypothesis in self._hypotheses:
            weight = float(np.exp(hypothesis.log_weight))
            for product in products:
                count = hypothesis.held(visit, product)
                found[product][count] = found[product].get(count, 0.0) + weight
        return found

    def posterior(self, event: int) -> dict[Judgement, float]:
        """Probability of each surviving judgement of an event, likeliest first. Empty for an event that is not needed any more."""
        found: dict[Judgement, float] = {}
        for hypothesis in self._hypotheses:
            for number, judgement in hypothesis.history:
                if number == event:
                    found[judgement] = found.get(judgement, 0.0) + float(np.exp(hypothesis.log_weight))
        return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))

    def explanation(self, visit: str, product: str, quantity: int) -> tuple[tuple[int, Move], ...]:
        """The moves (event number, move) by which the likeliest hypothesis with this quantity comes to it, oldest first."""
        for hypothesis in self._hypotheses:
            if hypothesis.held(visit, product) == quantity:
                return tuple((e, m) for e, judgement in hypothesis.history for m in judgement if m.visit == visit and m.product == product)
        return ()

    def _keep_best(self, hypotheses: Iterable[Hypothesis]) -> None:
        # Ties are broken by what the hypotheses say, not by the order in which they were made.
        best = sorted(hypotheses, key=lambda h: (-h.log_weight, h.counts, h.strays))[: self._limit]
        total = np.logaddexp.reduce([h.log_weight for h in best])
        self._hypotheses = [replace(h, log_weight=float(h.log_weight - total)) for h in best]


def _apply(hypothesis: Hypothesis, event: int, judgement: Judgement, outcome: Outcome, log_weight: float) -> Hypothesis:
    counts = hypothesis.counts
    if any(move.visit for move in judgement):
        held = {(visit, product): count for visit, product, count in counts}
        for move in judgement:
            if move.visit:
                held[move.visit, move.product] = max(0, held.get((move.visit, move.product), 0) + move.quantity)
        counts = tuple(sorted((visit, product, count) for (visit, product), count in held.items() if count))
    strays = hypothesis.strays
    if outcome.removed or outcome.added:
        remaining = list(strays)
        for stray in outcome.removed:
            remaining.remove(stray)
        strays = tuple(sorted([*remaining, *outcome.added]))
    return Hypothesis(log_weight, counts, strays, (*hypothesis.history, (event, judgement)))


def _merge(merged: dict[tuple, Hypothesis], hypothesis: Hypothesis) -> None:
    """Adds a hypothesis; one that agrees about the present gives its weight to the likelier of the two."""
    key = (hypothesis.counts, hypothesis.strays)
    other = merged.get(key)
    if other is None:
        merged[key] = hypothesis
        return
    likelier = min((hypothesis, other), key=lambda h: (-h.log_weight, h.history))
    merged[key] = replace(likelier, log_weight=float(np.logaddexp(hypothesis.log_weight, other.log_weight)))
