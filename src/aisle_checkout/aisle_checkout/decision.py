"""Charge, drop or look at it first: the cheapest in expectation (as in Wald, Statistical Decision Functions, 1950).

A line is (product, quantity) with the probability p that it is exactly right; v is its price. If a line is charged although it is wrong,
the shopper has to be paid back and trusts the shop less: expected cost (1 - p) * v * overcharge_cost. If it is dropped although it is
right, the goods are given away: p * v * lost_sale_cost. A wrong line is taken to be wrong as a whole, which is on the shopper's side.
Each line takes the cheaper of the two; if the sum over a cart exceeds what a person's look costs, the cart is held for review.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from aisle_contract.config import parameter


@dataclass(frozen=True)
class CheckoutConfig:
    """Costs are in the store's currency. The defaults charge what is clear: a line of 2.00 from p = 0.90, ten such lines from p = 0.99."""

    overcharge_cost: float = parameter(4.0, "Cost of one currency unit charged wrongly: the refund, the call, the lost trust", 0.0, 1000.0)
    lost_sale_cost: float = parameter(1.3, "Cost of one currency unit that was taken but not charged", 0.0, 1000.0)
    review_cost: float = parameter(0.85, "Cost of a person looking at one visit, in currency units", 0.0, 1000.0)


@dataclass(frozen=True)
class PricedLine:
    """``value`` = quantity x unit price."""

    probability: float
    value: Decimal


@dataclass(frozen=True)
class Decision:
    """``kept``: indices of the lines that stay on the receipt (under review all). ``expected_cost``: of deciding without a person."""

    review: bool
    kept: tuple[int, ...]
    expected_cost: float


def decide(lines: Sequence[PricedLine], config: CheckoutConfig) -> Decision:
    """Chooses for one cart. Equal costs are decided for review over both others, and for charging over dropping."""
    charging = [(1.0 - line.probability) * float(line.value) * config.overcharge_cost for line in lines]
    dropping = [line.probability * float(line.value) * config.lost_sale_cost for line in lines]
    expected = math.fsum(map(min, charging, dropping))
    if expected >= config.review_cost and expected > 0.0:
        return Decision(True, tuple(range(len(lines))), expected)
    kept = tuple(number for number in range(len(lines)) if charging[number] <= dropping[number])
    return Decision(False, kept, expected)
