"""Carts for people: the likeliest quantities of a visit with their probabilities, and the events that each line rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from aisle_contract.config import parameter
from aisle_contract.records import Cart, CartLine, CartStatus, Evidence, ShelfEvent
from aisle_fusion.item_likelihood import ProductWeights
from aisle_fusion.shopper_sessions import Visit
from aisle_fusion.store_hypotheses import Judgement, Move, StoreHypotheses
from aisle_store.store import Store


@dataclass(frozen=True)
class CartLinesConfig:
    """Parameters of ``CartLines``."""

    doubtful_probability: float = parameter(0.6, "Cart lines less likely than this are doubted", 0.0, 1.0)
    possible_probability: float = parameter(0.35, "Products that are left out of a cart but are as likely as this are doubted", 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedEvent:
    """A shelf event that carts rest on: its sum (kg), and by visit the distance (m) and the name for people."""

    event: ShelfEvent
    change: float
    deviation: float
    distances: Mapping[str, float]
    names: Mapping[str, str]


class CartLines:
    def __init__(self, store: Store, config: CartLinesConfig, weights: ProductWeights) -> None:
        self._store = store
        self._config = config
        self._weights = weights

    def cart(self, visit: Visit, status: CartStatus, now_ns: int, hypotheses: StoreHypotheses, judged: Mapping[int, JudgedEvent]) -> Cart:
        """What a visit holds by ``hypotheses``, whose events are ``judged`` by number."""
        lines, doubts = [], list(visit.doubts)
        likeliest = hypotheses.likeliest(visit.session)
        for product, probabilities in hypotheses.quantities(visit.session).items():
            # The likeliest hypothesis may lack what most of the others have together.
            quantity = next((count for count, p in probabilities.items() if count and p > 0.5), likeliest.get(product, 0))
            probability = probabilities.get(quantity, 0.0)
            name = self._store.products[product].name
            if quantity:
                moves = hypotheses.explanation(visit.session, product, quantity)
                evidence = tuple(self._evidence(number, move, hypotheses, judged[number]) for number, move in moves)
                lines.append(CartLine(product, quantity, min(probability, 1.0), evidence))
                if probability < self._config.doubtful_probability:
                    doubts.append(f"{name} x{quantity} is only {probability:.0%} likely")
            elif 1.0 - probability >= self._config.possible_probability:
                doubts.append(f"{name} may be missing ({1.0 - probability:.0%} likely)")
        closed = status == CartStatus.CLOSED
        return Cart(
            visit.left_ns if closed else now_ns,
            visit.session,
            visit.shopper,
            visit.track,
            status,
            visit.entered_ns,
            visit.left_ns if closed else 0,
            tuple(lines),
            tuple(dict.fromkeys(doubts)),
        )

    def _evidence(self, number: int, move: Move, hypotheses: StoreHypotheses, judged: JudgedEvent) -> Evidence:
        event = judged.event
        posterior = hypotheses.posterior(number)
        probability = math.fsum(p for judgement, p in posterior.items() if move in judgement)
        other, other_probability = next(((j, p) for j, p in posterior.items() if move not in j), (None, 0.0))
        return Evidence(
            event.event,
            event.gondola,
            event.shelf,
            event.plates,
            event.start_ns,
            event.end_ns,
            change=judged.change,
            deviation=judged.deviation,
            expected=-move.quantity * self._weights.expected(move.product),
            quantity=move.quantity,
            distance=judged.distances.get(move.visit, float("nan")),
            probability=min(probability, 1.0),
            alternative="" if other is None else _in_words(other, judged.names),
            alternative_probability=other_probability,
        )


def name_of(visit: Visit) -> str:
    return visit.shopper or visit.session


def _in_words(judgement: Judgement, names: Mapping[str, str]) -> str:
    """ "shopper / product xN" for each move."""
    if not judgement:
        return "nothing was moved"
    return ", ".join(f"{names.get(m.visit, m.visit) if m.visit else 'nobody known'} / {m.product} x{m.quantity}" for m in judgement)
