"""Hypotheses about the whole store: everybody's cart and the pieces that stand where they do not belong.

Joint judgements of the shelf events (cf. Reid, "An algorithm for tracking multiple targets", IEEE TAC 1979), kept apart wherever they do
not depend on each other (Reid's clusters): a group holds the hypotheses about some events, and groups are independent. An event begins a
group of its own. It is joined with those on which its judgements depend: what is put back must have been held, what was put elsewhere may
be taken from there, one person is not at two places at once. What all hypotheses of a group agree about is split off again. So doubts about
different shoppers cost sums and not products, and a crowd's doubts do not push each other out of a limited number of hypotheses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

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
#: Hypotheses of a group that are less likely than this are given up: doubts that small cost more to carry than they are worth.
_NEGLIGIBLE = 1e-5
#: A stray piece that is less likely than this is not thought of when something is taken.
_NEGLIGIBLE_STRAY = 1e-3

#: What an event was; empty: no item was moved.
Judgement = tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judgement in the light of one hypothesis: its log prior, and what changes among the stray pieces."""

    log_prior: float
    removed: tuple[Stray, ...] = ()
    added: tuple[Stray, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An event as a hypothesis has it. ``effects``: (visit, product, pieces) by which carts changed: none falls below zero."""

    event: int
    judgement: Judgement
    effects: tuple[tuple[str, str, int], ...] = ()
    added: tuple[Stray, ...] = ()


@dataclass(frozen=True)
class Hypothesis:
    """``entries`` by event number; ``strays`` sorted. Its weight is relative to the others of its group."""

    log_weight: float
    entries: tuple[Entry, ...] = ()
    strays: tuple[Stray, ...] = ()

    @cached_property
    def counts(self) -> dict[tuple[str, str], int]:
        """(visit, product) -> pieces that these events brought or took, sorted; none of them zero."""
        found: dict[tuple[str, str], int] = {}
        for entry in self.entries:
            for visit, product, pieces in entry.effects:
                found[visit, product] = found.get((visit, product), 0) + pieces
        return {key: found[key] for key in sorted(found) if found[key]}

    @cached_property
    def judgements(self) -> dict[int, Judgement]:
        return {entry.event: entry.judgement for entry in self.entries}

    def held(self, visit: str, product: str) -> int:
        return self.counts.get((visit, product), 0)

    @property
    def present(self) -> tuple:
        """What it says about now."""
        return (tuple(self.counts.items()), self.strays)


@dataclass(frozen=True, slots=True)
class Dependence:
    """On what an event's judgements depend: carts (visit, product), stray pieces, numbers of other events."""

    carts: Collection[tuple[str, str]] = ()
    strays: Collection[Stray] = ()
    events: Collection[int] = ()


@dataclass(frozen=True)
class _Group:
    """Hypotheses with normalised weights, likeliest first."""

    hypotheses: tuple[Hypothesis, ...]

    @cached_property
    def weights(self) -> tuple[float, ...]:
        return tuple(float(np.exp(h.log_weight)) for h in self.hypotheses)

    @cached_property
    def carts(self) -> frozenset[tuple[str, str]]:
        return frozenset(key for h in self.hypotheses for key in h.counts)

    @cached_property
    def visits(self) -> frozenset[str]:
        return frozenset(visit for visit, _ in self.carts)

    @cached_property
    def strays(self) -> frozenset[Stray]:
        return frozenset(stray for h in self.hypotheses for stray in h.strays)

    @cached_property
    def events(self) -> frozenset[int]:
        return frozenset(entry.event for h in self.hypotheses for entry in h.entries)

    def needs(self, dependence: Dependence) -> bool:
        return not (
            self.carts.isdisjoint(dependence.carts)
            and self.strays.isdisjoint(dependence.strays)
            and self.events.isdisjoint(dependence.events)
        )

    def quantities(self, visit: str, product: str) -> dict[int, float]:
        found: dict[int, float] = {}
        for hypothesis, weight in zip(self.hypotheses, self.weights, strict=True):
            count = hypothesis.held(visit, product)
            found[count] = found.get(count, 0.0) + weight
        return found


@dataclass
class StoreHypotheses:
    """Independent groups of at most ``limit`` hypotheses each, in the order in which they came to be."""

    limit: int
    _groups: tuple[_Group, ...] = field(default=())

    def __len__(self) -> int:
        """All hypotheses of all groups."""
        return sum(len(group.hypotheses) for group in self._groups)

    @property
    def largest_group(self) -> int:
        return max((len(group.hypotheses) for group in self._groups), default=0)

    def copy(self, limit: int | None = None) -> StoreHypotheses:
        """The same state, to be changed apart from this one, from now on with another limit; costs nothing."""
        return StoreHypotheses(self.limit if limit is None else limit, self._groups)

    def strays(self, shelf: tuple[str, str]) -> list[Stray]:
        """Stray pieces that may well stand on a shelf, sorted."""
        found: dict[Stray, float] = {}
        for group in self._groups:
            for stray in group.strays:
                if (stray.gondola, stray.shelf) == shelf:
                    found[stray] = sum(w for h, w in zip(group.hypotheses, group.weights, strict=True) if stray in h.strays)
        return sorted(stray for stray, probability in found.items() if probability > _NEGLIGIBLE_STRAY)

    def holdings(self) -> dict[tuple[str, str], int]:
        """(visit, product) -> most pieces held in any hypothesis."""
        most: dict[tuple[str, str], int] = {}
        for group in self._groups:
            for key in group.carts:
                most[key] = most.get(key, 0) + max(h.counts.get(key, 0) for h in group.hypotheses)
        return {key: most[key] for key in sorted(most) if most[key] > 0}

    def chances(self) -> dict[tuple[str, str], float]:
        """(visit, product) -> probability that the visit holds any of it."""
        none: dict[tuple[str, str], float] = {}
        for group in self._groups:
            for key in group.carts:
                held = sum(w for h, w in zip(group.hypotheses, group.weights, strict=True) if h.counts.get(key, 0) > 0)
                none[key] = none.get(key, 1.0) * (1.0 - held)
        return {key: 1.0 - none[key] for key in sorted(none)}

    def update(
        self,
        event: int,
        judgements: Iterable[tuple[Judgement, float]],
        outcome: Callable[[Hypothesis, int], Outcome],
        dependence: Dependence | None = None,
        bounds: Sequence[float] | None = None,
    ) -> frozenset[str]:
        """Takes an event's judgements with their log-likelihoods; ``outcome(hypothesis, i)`` is the i-th's in the light of a hypothesis.

        The hypothesis holds all that ``dependence`` names. It is worked out from the put-backs among the judgements if not given.
        ``bounds``: what log-likelihood and prior of each judgement come to at most, falling.
        Returns the visits whose carts may have changed.
        """
        judgements = list(judgements)
        dependence = dependence or Dependence(carts_of(judgement for judgement, _ in judgements))
        touched = [group for group in self._groups if group.needs(dependence)]
        others = tuple(group for group in self._groups if not group.needs(dependence))
        before = _joined(touched, self.limit)
        weighed = _weighed(before, [log_likelihood for _, log_likelihood in judgements], outcome, bounds)
        merged: dict[tuple, Hypothesis] = {}
        for negative_weight, number, index, result in weighed[: self.limit * _BRANCHING]:
            _merge(merged, _apply(before[number], event, judgements[index][0], result, -negative_weight))
        after = _split(self._best(merged.values()))
        self._groups = (*others, *after)
        return frozenset(visit for group in (*touched, *after) for visit in group.visits)

    def forget(self, relevant: Callable[[Judgement], bool], standing: Callable[[Stray], bool] = lambda stray: True) -> None:
        """Leaves out the events that no ``relevant`` judgement of any hypothesis needs, and strays that are not ``standing`` any more."""
        kept = []
        for group in self._groups:
            events = {e.event for h in group.hypotheses for e in h.entries if relevant(e.judgement)}
            gone = {stray for stray in group.strays if not standing(stray)}
            if events == group.events and not gone:
                kept.append(group)
                continue
            merged: dict[tuple, Hypothesis] = {}
            for hypothesis in group.hypotheses:
                entries = tuple(entry for entry in hypothesis.entries if entry.event in events)
                strays = tuple(stray for stray in hypothesis.strays if stray not in gone)
                _merge(merged, Hypothesis(hypothesis.log_weight, entries, strays))
            best = self._best(merged.values())
            if any(hypothesis.entries or hypothesis.strays for hypothesis in best):
                kept.append(_Group(best))
        self._groups = tuple(kept)

    def events(self) -> set[int]:
        """Numbers of the events that any hypothesis still remembers."""
        return {event for group in self._groups for event in group.events}

    def all_strays(self) -> list[Stray]:
        """All stray pieces of any hypothesis, sorted."""
        return sorted({stray for group in self._groups for stray in group.strays})

    def quantities(self, visit: str) -> dict[str, dict[int, float]]:
        """Product -> (pieces -> probability) for what a visit holds, zero included; sorted by product."""
        found: dict[str, dict[int, float]] = {}
        for group in self._groups:
            if visit not in group.visits:
                continue
            for product in sorted(product for v, product in group.carts if v == visit):
                found[product] = _summed(found.get(product, {0: 1.0}), group.quantities(visit, product))
        return dict(sorted(found.items()))

    def likeliest(self, visit: str) -> dict[str, int]:
        """Product -> pieces > 0 that a visit holds in the likeliest hypotheses, sorted by product.

        Of two products of which one was certainly taken it names the likelier, even where neither is likelier than not.
        """
        found: dict[str, int] = {}
        for group in self._groups:
            if visit in group.visits:
                for (v, product), pieces in group.hypotheses[0].counts.items():
                    if v == visit:
                        found[product] = found.get(product, 0) + pieces
        return {product: found[product] for product in sorted(found) if found[product] > 0}

    def posterior(self, event: int) -> dict[Judgement, float]:
        """Probability of each surviving judgement of an event, likeliest first. Empty for an event that is not needed any more."""
        found: dict[Judgement, float] = {}
        for group in self._groups:
            if event in group.events:
                for hypothesis, weight in zip(group.hypotheses, group.weights, strict=True):
                    judgement = hypothesis.judgements.get(event)
                    if judgement is not None:
                        found[judgement] = found.get(judgement, 0.0) + weight
        return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))

    def explanation(self, visit: str, product: str, quantity: int) -> tuple[tuple[int, Move], ...]:
        """The moves (event number, move) by which the likeliest hypotheses with this quantity come to it, oldest first."""
        ways: dict[int, tuple[float, tuple[Hypothesis, ...]]] = {0: (0.0, ())}
        for group in self._groups:
            if (visit, product) not in group.carts:
                continue
            best: dict[int, Hypothesis] = {}
            for hypothesis in group.hypotheses:
                best.setdefault(hypothesis.held(visit, product), hypothesis)
            longer: dict[int, tuple[float, tuple[Hypothesis, ...]]] = {}
            for count, (log_weight, chosen) in ways.items():
                for more, hypothesis in best.items():
                    way = (log_weight + hypothesis.log_weight, (*chosen, hypothesis))
                    if count + more not in longer or way[0] > longer[count + more][0]:
                        longer[count + more] = way
            ways = longer
        _, chosen = ways.get(quantity, (0.0, ()))
        moves = [(e.event, m) for h in chosen for e in h.entries for m in e.judgement if m.visit == visit and m.product == product]
        return tuple(sorted(moves))

    def _best(self, hypotheses: Iterable[Hypothesis]) -> tuple[Hypothesis, ...]:
        # Ties are broken by what the hypotheses say, not by the order in which they were made.
        best = sorted(hypotheses, key=lambda h: (-h.log_weight, h.present))[: self.limit]
        least = best[0].log_weight + np.log(_NEGLIGIBLE)
        best = [hypothesis for hypothesis in best if hypothesis.log_weight >= least]
        total = np.logaddexp.reduce([h.log_weight for h in best])
        return tuple(replace(h, log_weight=float(h.log_weight - total)) for h in best)


def carts_of(judgements: Iterable[Judgement]) -> set[tuple[str, str]]:
    """The carts (visit, product) that something is put back from."""
    return {(move.visit, move.product) for judgement in judgements for move in judgement if move.visit and move.quantity < 0}


def _weighed(
    hypotheses: Sequence[Hypothesis],
    log_likelihoods: Sequence[float],
    outcome: Callable[[Hypothesis, int], Outcome],
    bounds: Sequence[float] | None,
) -> list[tuple[float, int, int, Outcome]]:
    """(-log weight, number of the hypothesis, index of the judgement, outcome) of all children that matter, likeliest first."""
    found: list[tuple[float, int, int, Outcome]] = []
    best, span = -np.inf, -float(np.log(_NEGLIGIBLE))
    for number, hypothesis in enumerate(hypotheses):
        for index, log_likelihood in enumerate(log_likelihoods):
            # Both are sorted, likeliest first: what follows cannot be better.
            if bounds is not None and hypothesis.log_weight + bounds[index] < best - span:
                break
            result = outcome(hypothesis, index)
            weight = hypothesis.log_weight + log_likelihood + result.log_prior
            best = max(best, weight)
            found.append((-weight, number, index, result))
    found.sort(key=lambda entry: entry[:3])
    return [entry for entry in found if entry[0] <= span - best]


def _joined(groups: Sequence[_Group], limit: int) -> tuple[Hypothesis, ...]:
    """The likeliest hypotheses about all that independent groups are about."""
    found: tuple[Hypothesis, ...] = (Hypothesis(0.0),)
    for group in groups:
        weight = np.add.outer([h.log_weight for h in found], [h.log_weight for h in group.hypotheses])
        order = np.argsort(-weight, axis=None, kind="stable")[:limit]
        pairs = [divmod(int(index), len(group.hypotheses)) for index in order]
        found = tuple(_both(found[i], group.hypotheses[j]) for i, j in pairs)
    return found


def _both(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    return Hypothesis(
        first.log_weight + second.log_weight,
        tuple(sorted((*first.entries, *second.entries))),
        tuple(sorted((*first.strays, *second.strays))),
    )


def _apply(hypothesis: Hypothesis, event: int, judgement: Judgement, outcome: Outcome, log_weight: float) -> Hypothesis:
    effects = []
    for move in judgement:
        if move.visit:
            change = max(move.quantity, -hypothesis.held(move.visit, move.product))
            if change:
                effects.append((move.visit, move.product, change))
    strays = hypothesis.strays
    if outcome.removed or outcome.added:
        remaining = list(strays)
        for stray in outcome.removed:
            remaining.remove(stray)
        strays = tuple(sorted([*remaining, *outcome.added]))
    return Hypothesis(log_weight, (*hypothesis.entries, Entry(event, judgement, tuple(effects), outcome.added)), strays)


def _merge(merged: dict[tuple, Hypothesis], hypothesis: Hypothesis) -> None:
    """Adds a hypothesis; one that agrees about the present gives its weight to the likelier of the two."""
    other = merged.get(hypothesis.present)
    if other is None:
        merged[hypothesis.present] = hypothesis
        return
    likelier = min((hypothesis, other), key=lambda h: (-h.log_weight, h.entries))
    merged[hypothesis.present] = replace(likelier, log_weight=float(np.logaddexp(hypothesis.log_weight, other.log_weight)))


def _split(hypotheses: tuple[Hypothesis, ...]) -> list[_Group]:
    """The group, without the events about which all its hypotheses agree: they become groups of their own."""
    first = hypotheses[0]
    agreed = [entry for entry in first.entries if all(entry in h.entries for h in hypotheses[1:]) and _settled(entry, hypotheses)]
    if not agreed:
        return [_Group(hypotheses)]
    apart = [_Group((Hypothesis(0.0, (entry,), tuple(s for s in first.strays if s in entry.added)),)) for entry in agreed]
    taken = [stray for group in apart for stray in group.hypotheses[0].strays]
    rest = []
    for hypothesis in hypotheses:
        strays = list(hypothesis.strays)
        for stray in taken:
            strays.remove(stray)
        entries = tuple(entry for entry in hypothesis.entries if entry not in agreed)
        rest.append(Hypothesis(hypothesis.log_weight, entries, tuple(strays)))
    if any(hypothesis.entries or hypothesis.strays for hypothesis in rest):
        apart.append(_Group(tuple(rest)))
    return apart


def _settled(entry: Entry, hypotheses: Sequence[Hypothesis]) -> bool:
    """Whether all hypotheses agree which of the pieces that the event put astray still stand there."""
    return all(len({h.strays.count(stray) for h in hypotheses}) == 1 for stray in entry.added)


def _summed(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """The distribution of the sum of two independent counts."""
    found: dict[int, float] = {}
    for a, p in first.items():
        for b, q in second.items():
            found[max(0, a + b)] = found.get(max(0, a + b), 0.0) + p * q
    return found
