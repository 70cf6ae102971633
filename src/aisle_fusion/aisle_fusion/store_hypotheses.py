"""Hypotheses about the whole store: everybody's cart and the pieces that stand where they do not belong.

Joint judgements of the shelf events (cf. Reid, "An algorithm for tracking multiple targets", IEEE TAC 1979), kept apart wherever they do
not depend on each other (Reid's clusters): a group holds the hypotheses about some events, and groups are independent. An event begins a
group of its own. It is joined with those on which its judgements depend: what is put back must have been held, what was put elsewhere may
be taken from there, one person is not at two places at once. What all hypotheses of a group agree about is split off again. So doubts about
different shoppers cost sums and not products, and a crowd's doubts do not push each other out of a limited number of hypotheses.

Groups never change: an event replaces those that it touches. What has been worked out about a group (marginals, posteriors) stays with it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from aisle_fusion.dynamic_planogram import Stray


class Move(NamedTuple):
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


class Outcome(NamedTuple):
    """A judgement in the light of one hypothesis: its log prior, and what changes among the stray pieces."""

    log_prior: float
    removed: tuple[Stray, ...] = ()
    added: tuple[Stray, ...] = ()


class Entry(NamedTuple):
    """An event as a hypothesis has it. ``effects``: (visit, product, pieces) by which carts changed: none falls below zero."""

    event: int
    judgement: Judgement
    effects: tuple[tuple[str, str, int], ...] = ()
    added: tuple[Stray, ...] = ()


#: (visit, product) and its pieces, sorted; none of them zero.
Carts = tuple[tuple[tuple[str, str], int], ...]


class Hypothesis:
    """``entries`` by event number; ``strays`` sorted. Its weight is relative to the others of its group.

    ``carts``: the pieces that these events brought or took; worked out from the entries if not given.
    """

    __slots__ = ("_held", "_judgements", "carts", "entries", "log_weight", "strays")

    def __init__(
        self, log_weight: float, entries: tuple[Entry, ...] = (), strays: tuple[Stray, ...] = (), carts: Carts | None = None
    ) -> None:
        self.log_weight = log_weight
        self.entries = entries
        self.strays = strays
        self.carts = _after((), [effect for entry in entries for effect in entry.effects]) if carts is None else carts
        self._held: dict[tuple[str, str], int] | None = None
        self._judgements: dict[int, Judgement] | None = None

    def held(self, visit: str, product: str) -> int:
        if self._held is None:
            self._held = dict(self.carts)
        return self._held.get((visit, product), 0)

    @property
    def judgements(self) -> Mapping[int, Judgement]:
        """What it takes each event for."""
        if self._judgements is None:
            self._judgements = {entry.event: entry.judgement for entry in self.entries}
        return self._judgements

    @property
    def present(self) -> tuple:
        """What it says about now."""
        return self.carts, self.strays

    def weighing(self, log_weight: float) -> Hypothesis:
        """The same with another weight."""
        return Hypothesis(log_weight, self.entries, self.strays, self.carts)


@dataclass(frozen=True, slots=True)
class Dependence:
    """On what an event's judgements depend: carts (visit, product), stray pieces, numbers of other events."""

    carts: Collection[tuple[str, str]] = ()
    strays: Collection[Stray] = ()
    events: Collection[int] = ()


@dataclass(frozen=True, eq=False)
class _Group:
    """Hypotheses with normalised weights, likeliest first. All of them have an entry for each of the group's events."""

    hypotheses: tuple[Hypothesis, ...]

    @cached_property
    def weights(self) -> list[float]:
        return np.exp([h.log_weight for h in self.hypotheses]).tolist()

    @cached_property
    def most(self) -> dict[tuple[str, str], int]:
        """(visit, product) -> most pieces by which any hypothesis changes the cart."""
        found: dict[tuple[str, str], list[int]] = {}
        for hypothesis in self.hypotheses:
            for cart, pieces in hypothesis.carts:
                found.setdefault(cart, []).append(pieces)
        # Hypotheses that do not name a cart change nothing in it.
        return {cart: max(pieces) if len(pieces) == len(self.hypotheses) else max(*pieces, 0) for cart, pieces in found.items()}

    @cached_property
    def lacking(self) -> dict[tuple[str, str], float]:
        """(visit, product) -> probability that these events leave nothing of it in the cart."""
        having: dict[tuple[str, str], list[float]] = {cart: [] for cart in self.most}
        for hypothesis, weight in zip(self.hypotheses, self.weights, strict=True):
            for cart, pieces in hypothesis.carts:
                if pieces > 0:
                    having[cart].append(weight)
        return {cart: 1.0 - math.fsum(weights) for cart, weights in having.items()}

    @cached_property
    def carts(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.most)

    @cached_property
    def visits(self) -> frozenset[str]:
        return frozenset(visit for visit, _ in self.most)

    @cached_property
    def strays(self) -> dict[Stray, float]:
        """Stray piece -> probability that it stands there."""
        standing: dict[Stray, list[float]] = {}
        for hypothesis, weight in zip(self.hypotheses, self.weights, strict=True):
            for stray in set(hypothesis.strays):
                standing.setdefault(stray, []).append(weight)
        return {stray: math.fsum(weights) for stray, weights in standing.items()}

    @cached_property
    def people(self) -> dict[int, frozenset[str]]:
        """Event -> the visits that any of its judgements is about."""
        found: dict[int, set[str]] = {entry.event: set() for entry in self.hypotheses[0].entries}
        for judged in {(entry.event, entry.judgement) for h in self.hypotheses for entry in h.entries}:
            found[judged[0]].update(move.visit for move in judged[1])
        return {event: frozenset(visits) for event, visits in found.items()}

    @cached_property
    def events(self) -> frozenset[int]:
        return frozenset(entry.event for entry in self.hypotheses[0].entries)

    @cached_property
    def _quantities(self) -> dict[tuple[str, str], dict[int, float]]:
        return {}

    @cached_property
    def _posteriors(self) -> dict[int, dict[Judgement, float]]:
        return {}

    def needs(self, dependence: Dependence) -> bool:
        return not (
            (not dependence.carts or self.carts.isdisjoint(dependence.carts))
            and (not dependence.strays or self.strays.keys().isdisjoint(dependence.strays))
            and (not dependence.events or self.events.isdisjoint(dependence.events))
        )

    def quantities(self, visit: str, product: str) -> dict[int, float]:
        """Pieces -> probability of what these events bring a visit."""
        found = self._quantities.get((visit, product))
        if found is None:
            found = self._quantities[visit, product] = {}
            for hypothesis, weight in zip(self.hypotheses, self.weights, strict=True):
                count = hypothesis.held(visit, product)
                found[count] = found.get(count, 0.0) + weight
        return found

    def posterior(self, event: int) -> dict[Judgement, float]:
        """Probability of each judgement of one of the events, likeliest first."""
        known = self._posteriors.get(event)
        if known is None:
            place = next(place for place, entry in enumerate(self.hypotheses[0].entries) if entry.event == event)
            found: dict[Judgement, float] = {}
            for hypothesis, weight in zip(self.hypotheses, self.weights, strict=True):
                judgement = hypothesis.entries[place].judgement
                found[judgement] = found.get(judgement, 0.0) + weight
            known = self._posteriors[event] = dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))
        return known


@dataclass(slots=True, eq=False)
class KeptUpdate:
    """What an update made of the groups that it touched, for making it again: it comes to the same as long as those are the same."""

    touched: tuple[_Group, ...] | None = None
    after: tuple[_Group, ...] = ()


class StoreHypotheses:
    """Independent groups of at most ``limit`` hypotheses each, in the order in which they came to be."""

    def __init__(self, limit: int, groups: tuple[_Group, ...] = ()) -> None:
        self.limit = limit
        self._replace(groups)

    def _replace(self, groups: tuple[_Group, ...]) -> None:
        self._groups = groups
        self._holdings: dict[tuple[str, str], int] | None = None
        self._chances: dict[tuple[str, str], float] | None = None
        self._by_visit: dict[str, tuple[_Group, ...]] | None = None
        self._by_event: dict[int, _Group] | None = None

    def __len__(self) -> int:
        """All hypotheses of all groups."""
        return sum(len(group.hypotheses) for group in self._groups)

    @property
    def largest_group(self) -> int:
        return max((len(group.hypotheses) for group in self._groups), default=0)

    def copy(self, limit: int | None = None) -> StoreHypotheses:
        """The same state, to be changed apart from this one, from now on with another limit; costs nothing."""
        return StoreHypotheses(self.limit if limit is None else limit, self._groups)

    def about(self, visit: str) -> tuple[_Group, ...]:
        """The groups that a visit's cart rests on. Nothing about it has changed as long as they are the same."""
        if self._by_visit is None:
            found: dict[str, list[_Group]] = {}
            for group in self._groups:
                for name in group.visits:
                    found.setdefault(name, []).append(group)
            self._by_visit = {name: tuple(groups) for name, groups in found.items()}
        return self._by_visit.get(visit, ())

    def strays(self, shelf: tuple[str, str]) -> list[Stray]:
        """Stray pieces that may well stand on a shelf, sorted."""
        found: dict[Stray, float] = {}
        for group in self._groups:
            for stray, probability in group.strays.items():
                if (stray.gondola, stray.shelf) == shelf:
                    found[stray] = probability
        return sorted(stray for stray, probability in found.items() if probability > _NEGLIGIBLE_STRAY)

    def holdings(self) -> dict[tuple[str, str], int]:
        """(visit, product) -> most pieces held in any hypothesis."""
        if self._holdings is None:
            most: dict[tuple[str, str], int] = {}
            for group in self._groups:
                for cart, pieces in group.most.items():
                    most[cart] = most.get(cart, 0) + pieces
            self._holdings = {cart: most[cart] for cart in sorted(most) if most[cart] > 0}
        return self._holdings

    def chances(self) -> dict[tuple[str, str], float]:
        """(visit, product) -> probability that the visit holds any of it."""
        if self._chances is None:
            about: dict[tuple[str, str], list[_Group]] = {}
            for group in self._groups:
                for cart in group.most:
                    about.setdefault(cart, []).append(group)
            self._chances = {cart: _chance(cart, about[cart]) for cart in sorted(about)}
        return self._chances

    def recency(self, visit: str) -> dict[str, tuple[float, float]]:
        """Product -> probabilities that it is the last thing taken of what a visit holds, and the one before, if it is held."""
        chances = self.chances()
        found: dict[str, tuple[float, float]] = {}
        not_yet: dict[str, float] = {}
        # Probabilities that nothing, and that one thing, of what was taken later is held.
        none, one = 1.0, 0.0
        for event in sorted({event for group in self.about(visit) for event in group.events}, reverse=True):
            taken: dict[str, list[float]] = {}
            for judgement, probability in self.posterior(event).items():
                for product in {move.product for move in judgement if move.visit == visit and move.quantity > 0}:
                    taken.setdefault(product, []).append(probability)
            held = {product: min(math.fsum(taken[product]), chances.get((visit, product), 0.0)) for product in sorted(taken)}
            for product, probability in held.items():
                rest, (last, before) = not_yet.get(product, 1.0), found.get(product, (0.0, 0.0))
                found[product] = last + rest * probability * none, before + rest * probability * one
                not_yet[product] = rest * (1.0 - probability)
            something = min(1.0, math.fsum(held.values()))
            none, one = none * (1.0 - something), one * (1.0 - something) + none * something
        return {
            p: (last / (1.0 - not_yet[p]), before / (1.0 - not_yet[p])) for p, (last, before) in sorted(found.items()) if not_yet[p] < 1.0
        }

    def update(
        self,
        event: int,
        judgements: Iterable[tuple[Judgement, float]],
        outcome: Callable[[Hypothesis, int], Outcome],
        dependence: Dependence | None = None,
        bounds: Sequence[float] | None = None,
        kept: KeptUpdate | None = None,
    ) -> None:
        """Takes an event's judgements with their log-likelihoods; ``outcome(hypothesis, i)`` is the i-th's in the light of a hypothesis.

        The hypothesis holds all that ``dependence`` names. It is worked out from the put-backs among the judgements if not given.
        ``bounds``: what log-likelihood and prior of each judgement come to at most, falling.
        ``kept``: what the same update came to before, with the same limit; it is used if it can be, and renewed.
        """
        judgements = list(judgements)
        dependence = dependence or Dependence(carts_of(judgement for judgement, _ in judgements))
        touched = tuple(group for group in self._groups if group.needs(dependence))
        if kept is None or kept.touched != touched:
            before = _joined(touched, self.limit)
            weighed = _weighed(before, [log_likelihood for _, log_likelihood in judgements], outcome, bounds)
            merged: dict[tuple, Hypothesis] = {}
            entries: dict[tuple, Entry] = {}
            for negative_weight, number, index, result in weighed[: self.limit * _BRANCHING]:
                effects = _effects(before[number], judgements[index][0], result)
                made = index, effects, result.added
                # Equal entries of several hypotheses are one, which makes comparing them cheap.
                entry = entries.get(made)
                if entry is None:
                    entry = entries[made] = Entry(event, judgements[index][0], effects, result.added)
                _merge(merged, _child(before[number], entry, result, -negative_weight))
            after = tuple(_split(self._best(merged)))
            if kept is not None:
                kept.touched, kept.after = touched, after
        else:
            after = kept.after
        others = (group for group in self._groups if group not in touched) if touched else self._groups
        self._replace((*others, *after))

    def forget(self, visits: Collection[str], standing: Callable[[Stray], bool] = lambda stray: True) -> None:
        """Leaves out the events that no judgement of any hypothesis lays to one of ``visits``, and strays not ``standing`` any more."""
        kept = []
        for group in self._groups:
            events = {event for event, people in group.people.items() if not people.isdisjoint(visits)}
            gone = {stray for stray in group.strays if not standing(stray)}
            if len(events) == len(group.people) and not gone:
                kept.append(group)
                continue
            merged: dict[tuple, Hypothesis] = {}
            for hypothesis in group.hypotheses:
                entries = tuple(entry for entry in hypothesis.entries if entry.event in events)
                strays = tuple(stray for stray in hypothesis.strays if stray not in gone)
                _merge(merged, Hypothesis(hypothesis.log_weight, entries, strays))
            best = self._best(merged)
            if any(hypothesis.entries or hypothesis.strays for hypothesis in best):
                kept.append(_Group(best))
        if len(kept) < len(self._groups) or any(old is not new for old, new in zip(self._groups, kept, strict=True)):
            self._replace(tuple(kept))

    def events(self) -> set[int]:
        """Numbers of the events that any hypothesis still remembers."""
        return {event for group in self._groups for event in group.events}

    def all_strays(self) -> list[Stray]:
        """All stray pieces of any hypothesis, sorted."""
        return sorted({stray for group in self._groups for stray in group.strays})

    def quantities(self, visit: str) -> dict[str, dict[int, float]]:
        """Product -> (pieces -> probability) for what a visit holds, zero included; sorted by product."""
        found: dict[str, dict[int, float]] = {}
        for group in self.about(visit):
            for product in sorted(product for v, product in group.most if v == visit):
                found[product] = _summed(found.get(product, {0: 1.0}), group.quantities(visit, product))
        # Not before all groups are added: what is put back may stand in a group of its own before the one of the pick.
        return {product: _not_below_zero(found[product]) for product in sorted(found)}

    def likeliest(self, visit: str) -> dict[str, int]:
        """Product -> pieces > 0 that a visit holds in the likeliest hypotheses, sorted by product.

        Of two products of which one was certainly taken it names the likelier, even where neither is likelier than not.
        """
        found: dict[str, int] = {}
        for group in self.about(visit):
            for (v, product), pieces in group.hypotheses[0].carts:
                if v == visit:
                    found[product] = found.get(product, 0) + pieces
        return {product: found[product] for product in sorted(found) if found[product] > 0}

    def posterior(self, event: int) -> Mapping[Judgement, float]:
        """Probability of each surviving judgement of an event, likeliest first. Empty for an event that is not needed any more."""
        if self._by_event is None:
            self._by_event = {number: group for group in self._groups for number in group.events}
        group = self._by_event.get(event)
        return {} if group is None else group.posterior(event)

    def explanation(self, visit: str, product: str, quantity: int) -> tuple[tuple[int, Move], ...]:
        """The moves (event number, move) by which the likeliest hypotheses with this quantity come to it, oldest first."""
        ways: dict[int, tuple[float, tuple[Hypothesis, ...]]] = {0: (0.0, ())}
        for group in self.about(visit):
            if (visit, product) not in group.most:
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

    def _best(self, merged: Mapping[tuple, Hypothesis]) -> tuple[Hypothesis, ...]:
        """The likeliest of hypotheses (by what they say about now), with normalised weights."""
        # Ties are broken by what the hypotheses say, not by the order in which they were made.
        best = [h for *_, h in sorted((-h.log_weight, present, h) for present, h in merged.items())[: self.limit]]
        least = best[0].log_weight + np.log(_NEGLIGIBLE)
        best = [hypothesis for hypothesis in best if hypothesis.log_weight >= least]
        total = float(np.logaddexp.reduce([h.log_weight for h in best]))
        return tuple(h.weighing(h.log_weight - total) for h in best)


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
    found.sort()
    return [entry for entry in found if entry[0] <= span - best]


def _joined(groups: Sequence[_Group], limit: int) -> tuple[Hypothesis, ...]:
    """The likeliest hypotheses about all that independent groups are about."""
    if not groups:
        return (Hypothesis(0.0),)
    found = groups[0].hypotheses[:limit]
    for group in groups[1:]:
        weight = np.add.outer([h.log_weight for h in found], [h.log_weight for h in group.hypotheses])
        order = np.argsort(-weight, axis=None, kind="stable")[:limit]
        pairs = [divmod(index, len(group.hypotheses)) for index in order.tolist()]
        found = tuple(_both(found[i], group.hypotheses[j]) for i, j in pairs)
    return found


def _both(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    carts = dict(first.carts)
    for cart, pieces in second.carts:
        carts[cart] = carts.get(cart, 0) + pieces
    return Hypothesis(
        first.log_weight + second.log_weight,
        tuple(sorted(first.entries + second.entries)),
        tuple(sorted(first.strays + second.strays)),
        tuple(entry for entry in sorted(carts.items()) if entry[1]),
    )


def _effects(parent: Hypothesis, judgement: Judgement, outcome: Outcome) -> tuple[tuple[str, str, int], ...]:
    """(visit, product, pieces) by which a judgement changes the carts of a hypothesis."""
    effects = []
    for move in judgement:
        if move.visit:
            # Who takes back what was his own has not taken it from the shop.
            own = sum(stray.lender == move.visit and stray.product == move.product for stray in outcome.removed) if outcome.removed else 0
            change = max(move.quantity - own, -parent.held(move.visit, move.product))
            if change:
                effects.append((move.visit, move.product, change))
    return tuple(effects)


def _child(parent: Hypothesis, entry: Entry, outcome: Outcome, log_weight: float) -> Hypothesis:
    """``parent`` after one more event."""
    strays = parent.strays
    if outcome.removed or outcome.added:
        remaining = list(strays)
        for stray in outcome.removed:
            remaining.remove(stray)
        strays = tuple(sorted([*remaining, *outcome.added]))
    return Hypothesis(log_weight, (*parent.entries, entry), strays, _after(parent.carts, entry.effects))


def _after(carts: Carts, effects: Collection[tuple[str, str, int]]) -> Carts:
    """``carts`` changed by (visit, product, pieces)."""
    for visit, product, pieces in effects:
        cart = visit, product
        # What is there is sorted: a place is found in few steps.
        place = bisect_left(carts, (cart,))
        known = place < len(carts) and carts[place][0] == cart
        left = carts[place][1] + pieces if known else pieces
        entry: Carts = ((cart, left),) if left else ()
        carts = carts[:place] + entry + carts[place + known :]
    return carts


def _merge(merged: dict[tuple, Hypothesis], hypothesis: Hypothesis) -> None:
    """Adds a hypothesis; one that agrees about the present gives its weight to the likelier of the two."""
    present = hypothesis.present
    other = merged.setdefault(present, hypothesis)
    if other is not hypothesis:
        same = hypothesis.log_weight == other.log_weight
        first = hypothesis.entries <= other.entries if same else hypothesis.log_weight > other.log_weight
        likelier = hypothesis if first else other
        merged[present] = likelier.weighing(_log_sum(hypothesis.log_weight, other.log_weight))


def _log_sum(first: float, second: float) -> float:
    """log(exp(first) + exp(second)); for two numbers several times as fast as NumPy's."""
    high, low = max(first, second), min(first, second)
    return high + math.log1p(math.exp(low - high))


def _split(hypotheses: tuple[Hypothesis, ...]) -> list[_Group]:
    """The group, without the events about which all its hypotheses agree: they become groups of their own."""
    first = hypotheses[0]
    columns = zip(*(h.entries for h in hypotheses), strict=True)
    agreed = [
        place for place, entries in enumerate(columns) if entries.count(entries[0]) == len(hypotheses) and _settled(entries[0], hypotheses)
    ]
    if not agreed:
        return [_Group(hypotheses)]
    apart = []
    for place in agreed:
        entry = first.entries[place]
        apart.append(_Group((Hypothesis(0.0, (entry,), tuple(s for s in first.strays if s in entry.added)),)))
    taken = [stray for group in apart for stray in group.hypotheses[0].strays]
    back = [(visit, product, -pieces) for place in agreed for visit, product, pieces in first.entries[place].effects]
    rest = []
    for hypothesis in hypotheses:
        strays = list(hypothesis.strays)
        for stray in taken:
            strays.remove(stray)
        entries = tuple(entry for place, entry in enumerate(hypothesis.entries) if place not in agreed)
        rest.append(Hypothesis(hypothesis.log_weight, entries, tuple(strays), _after(hypothesis.carts, back)))
    if any(hypothesis.entries or hypothesis.strays for hypothesis in rest):
        apart.append(_Group(tuple(rest)))
    return apart


def _settled(entry: Entry, hypotheses: Sequence[Hypothesis]) -> bool:
    """Whether all hypotheses agree which of the pieces that the event put astray still stand there."""
    return all(len({h.strays.count(stray) for h in hypotheses}) == 1 for stray in entry.added)


def _chance(cart: tuple[str, str], groups: Sequence[_Group]) -> float:
    """Probability that a cart's visit holds any of its product. What is put back may stand in another group than what was taken."""
    if len(groups) == 1:
        return 1.0 - groups[0].lacking[cart]
    counts = {0: 1.0}
    for group in groups:
        counts = _summed(counts, group.quantities(*cart))
    return math.fsum(probability for count, probability in counts.items() if count > 0)


def _summed(first: dict[int, float], second: dict[int, float]) -> dict[int, float]:
    """The distribution of the sum of two independent counts."""
    found: dict[int, float] = {}
    for a, p in first.items():
        for b, q in second.items():
            found[a + b] = found.get(a + b, 0.0) + p * q
    return found


def _not_below_zero(counts: dict[int, float]) -> dict[int, float]:
    """The same distribution, of counts of which those below zero are none."""
    found: dict[int, float] = {}
    for count, probability in counts.items():
        found[max(0, count)] = found.get(max(0, count), 0.0) + probability
    return found
