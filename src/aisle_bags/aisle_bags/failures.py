"""Why a line of a receipt is wrong: what really happened at the shelves against what the chain made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from aisle_bags.scoring import WrongLine
from aisle_contract.records import NANOSECONDS, Cart, ShelfEvent, ShelfEventStatus
from aisle_sim.true_events import TrueEvent
from aisle_store.store import ShelfKey

#: A shelf event belongs to a reach if it lies within this of it, s: hands press before, shelves swing after.
_BEFORE_S, _AFTER_S = 1.0, 2.0
#: Plates beside a load change by up to this share of it, because the shelf bends.
_BENDING_SHARE = 0.2


class Cause(str, Enum):
    """What went wrong first on the way to a wrong line."""

    VISIT = "wrong receipt"
    DROPPED = "too doubtful to be charged"
    MISSED = "event missed"
    INVENTED = "event invented"
    IN_NO_CART = "event in no cart"
    PRODUCT = "wrong product"
    COUNT = "wrong count"
    PERSON = "wrong person"
    PERSON_AND_PRODUCT = "wrong person and product"
    PUT_BACK = "put-back missed or given to another"
    PUT_BACK_INVENTED = "put-back invented"


@dataclass(frozen=True)
class _Move:
    """One shelf event as a cart counts it: ``quantity`` > 0 taken, < 0 put back."""

    shopper: str
    product: str
    quantity: int
    shelf: ShelfKey
    start_s: float
    end_s: float


@dataclass(frozen=True)
class _Change:
    shelf: ShelfKey
    start_s: float
    end_s: float
    took: bool
    put: bool


class FailureReport:
    """Explains the wrong lines of one session. ``known``: who was there; ``carts``: the closed ones; ``start_ns``: zero of the true
    events' times."""

    def __init__(
        self, known: Iterable[str], truth: Iterable[TrueEvent], carts: Sequence[Cart], events: Iterable[ShelfEvent], start_ns: int
    ) -> None:
        self._known = frozenset(known)
        self._truth = [event for event in truth if event.plates]
        self._moves = [move for cart in carts for move in _moves(cart, start_ns)]
        self._changes = [_change(event, start_ns) for event in events if event.status == ShelfEventStatus.FINAL]
        self._lines = {(cart.shopper, line.product): (line.quantity, line.probability) for cart in carts for line in cart.lines}
        self._shoppers = {cart.shopper for cart in carts}

    def explained(self, lines: Sequence[WrongLine]) -> tuple[WrongLine, ...]:
        """The lines with ``cause`` and ``detail``."""
        return tuple(replace(line, cause=cause.value, detail=detail) for line in lines for cause, detail in [self._why(line)])

    def _why(self, line: WrongLine) -> tuple[Cause, str]:
        if line.shopper not in self._known:
            return Cause.VISIT, "a visit of nobody who was there"
        if line.found < line.expected:
            return self._why_too_little(line)
        return self._why_too_much(line)

    def _why_too_little(self, line: WrongLine) -> tuple[Cause, str]:
        if line.shopper not in self._shoppers:
            return Cause.VISIT, "no receipt"
        in_cart = self._lines.get((line.shopper, line.product))
        if in_cart is not None and in_cart[0] >= line.expected:
            return Cause.DROPPED, f"in the cart with {in_cart[1]:.0%}"
        for event in self._truth_of(line, "pick"):
            why = self._why_not_counted(line, event)
            if why is not None:
                return why
        for move in self._moves_of(line):
            if move.quantity < 0 and not any(e.action == "put_back" and e.person == line.shopper for e in self._around(move)):
                return Cause.PUT_BACK_INVENTED, _place(move.shelf, move.start_s)
        return Cause.PUT_BACK_INVENTED, "all picks were seen; something put back was counted against them"

    def _why_not_counted(self, line: WrongLine, event: TrueEvent) -> tuple[Cause, str] | None:
        """What became of one true pick; None if it was counted."""
        shelf, where = event.plates[0][:2], _place(event.plates[0][:2], event.time_s)
        if not any(change.took and change.shelf == shelf and _meets(event, change.start_s, change.end_s) for change in self._changes):
            return Cause.MISSED, where
        counted = [m for m in self._moves if m.shelf == shelf and m.quantity > 0 and _meets(event, m.start_s, m.end_s)]
        own = [move for move in counted if move.shopper == line.shopper]
        right = [move for move in own if move.product == line.product]
        if right:
            pieces, found = event.products.count(line.product), sum(move.quantity for move in right)
            return (Cause.COUNT, f"{where}: {pieces} taken, {found} counted") if found < pieces else None
        # A move that is somebody's own right pick is not this one, mistaken.
        free = [move for move in counted if not self._is_right(move)]
        own = [move for move in own if not self._is_right(move)]
        if own:
            return Cause.PRODUCT, f"{where}: taken for {own[0].product}"
        same = [move for move in free if move.product == line.product]
        if same:
            return Cause.PERSON, f"{where}: given to {same[0].shopper or 'nobody known'}"
        if free:
            return Cause.PERSON_AND_PRODUCT, f"{where}: given to {free[0].shopper or 'nobody known'} as {free[0].product}"
        return Cause.IN_NO_CART, where

    def _why_too_much(self, line: WrongLine) -> tuple[Cause, str]:
        for move in self._moves_of(line):
            if move.quantity <= 0:
                continue
            picks, where = [event for event in self._around(move) if event.action == "pick"], _place(move.shelf, move.start_s)
            own = [event for event in picks if event.person == line.shopper]
            right = [event for event in own if line.product in event.products]
            if right:
                pieces = sum(event.products.count(line.product) for event in right)
                if pieces < move.quantity:
                    return Cause.COUNT, f"{where}: {pieces} taken, {move.quantity} counted"
            elif not picks:
                return Cause.INVENTED, where
            elif own:
                return Cause.PRODUCT, f"{where}: was {', '.join(own[0].products)}"
            elif any(line.product in event.products for event in picks):
                return Cause.PERSON, f"{where}: was {picks[0].person}"
            else:
                return Cause.PERSON_AND_PRODUCT, f"{where}: was {picks[0].person} with {', '.join(picks[0].products)}"
        for event in self._truth_of(line, "put_back"):
            shelf, where = event.plates[0][:2], _place(event.plates[0][:2], event.time_s)
            seen = [c for c in self._changes if c.put and c.shelf == shelf and _meets(event, c.start_s, c.end_s)]
            if not seen:
                return Cause.MISSED, where
            return Cause.PUT_BACK, where
        return Cause.COUNT, "no single event is wrong"

    def _moves_of(self, line: WrongLine) -> list[_Move]:
        return [move for move in self._moves if move.shopper == line.shopper and move.product == line.product]

    def _truth_of(self, line: WrongLine, action: str) -> list[TrueEvent]:
        return [e for e in self._truth if e.person == line.shopper and e.action == action and line.product in e.products]

    def _around(self, move: _Move) -> list[TrueEvent]:
        return [event for event in self._truth if event.plates[0][:2] == move.shelf and _meets(event, move.start_s, move.end_s)]

    def _is_right(self, move: _Move) -> bool:
        return any(e.person == move.shopper and e.action == "pick" and move.product in e.products for e in self._around(move))


def _moves(cart: Cart, start_ns: int) -> list[_Move]:
    return [
        _Move(
            cart.shopper,
            line.product,
            evidence.quantity,
            (evidence.gondola, evidence.shelf),
            (evidence.start_ns - start_ns) / NANOSECONDS,
            (evidence.end_ns - start_ns) / NANOSECONDS,
        )
        for line in cart.lines
        for evidence in line.evidence
    ]


def _change(event: ShelfEvent, start_ns: int) -> _Change:
    start_s, end_s = ((stamp - start_ns) / NANOSECONDS for stamp in (event.start_ns, event.end_ns))
    # One event may have taken and put in it; but plates beside a load that only bend are neither.
    least = np.maximum(3 * event.deviation, _BENDING_SHARE * np.abs(event.change).max(initial=0.0))
    return _Change((event.gondola, event.shelf), start_s, end_s, bool((event.change < -least).any()), bool((event.change > least).any()))


def _meets(event: TrueEvent, start_s: float, end_s: float) -> bool:
    return start_s <= event.end_s + _AFTER_S and end_s >= event.start_s - _BEFORE_S


def _place(shelf: ShelfKey, time_s: float) -> str:
    return f"gondola {shelf[0]} shelf {shelf[1]} at {time_s:.1f} s"
