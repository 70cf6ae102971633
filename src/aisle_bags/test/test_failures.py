"""The failure report names what went wrong: each cause from a small story in which just that happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aisle_bags.failures import Cause, FailureReport
from aisle_bags.scoring import WrongLine
from aisle_contract.records import NANOSECONDS, Cart, CartLine, CartStatus, Evidence, ShelfEvent, ShelfEventStatus
from aisle_sim.true_events import TrueEvent

START_NS = 1_000 * NANOSECONDS


def happened(time_s: float, person: str, product: str, action: str = "pick", pieces: int = 1, shelf: str = "1") -> TrueEvent:
    return TrueEvent(time_s - 0.2, time_s, time_s + 0.3, person, action, (("g", shelf, "4"),), (product,) * pieces)


def measured(time_s: float, grams: float, shelf: str = "1") -> ShelfEvent:
    start, end = (START_NS + round(t * NANOSECONDS) for t in (time_s, time_s + 0.5))
    return ShelfEvent(f"e{time_s}", ShelfEventStatus.FINAL, "g", shelf, start, end, ("4",), np.array([grams / 1000]), np.array([0.001]))


def judged(time_s: float, quantity: int = 1, shelf: str = "1") -> Evidence:
    start, end = (START_NS + round(t * NANOSECONDS) for t in (time_s, time_s + 0.5))
    return Evidence(f"e{time_s}", "g", shelf, ("4",), start, end, -0.1, 0.001, -0.1, quantity, 0.1, 0.9)


def cart(shopper: str, *lines: tuple[str, int, tuple[Evidence, ...]]) -> Cart:
    held = tuple(CartLine(product, quantity, 0.9, evidence) for product, quantity, evidence in lines)
    return Cart(0, f"visit-{shopper}", shopper, "t", CartStatus.CLOSED, 0, 1, held)


def why(line: tuple[str, str, int, int], truth, carts, events, known=("ann", "ben")) -> Cause:
    shopper, product, expected, found = line
    report = FailureReport(known, truth, carts, events, START_NS)
    explained = report.explained([WrongLine("s", 0, shopper, product, expected, found)])
    assert explained[0].detail or explained[0].cause == Cause.IN_NO_CART.value
    return Cause(explained[0].cause)


TEA = happened(5.0, "ann", "tea")
LIFTED = measured(5.0, -100)

STORIES = {
    Cause.MISSED: (("ann", "tea", 1, 0), [TEA], [cart("ann")], []),
    Cause.IN_NO_CART: (("ann", "tea", 1, 0), [TEA], [cart("ann")], [LIFTED]),
    Cause.PRODUCT: (("ann", "tea", 1, 0), [TEA], [cart("ann", ("jam", 1, (judged(5.0),)))], [LIFTED]),
    Cause.PERSON: (("ann", "tea", 1, 0), [TEA], [cart("ann"), cart("ben", ("tea", 1, (judged(5.0),)))], [LIFTED]),
    Cause.PERSON_AND_PRODUCT: (("ann", "tea", 1, 0), [TEA], [cart("ann"), cart("ben", ("jam", 1, (judged(5.0),)))], [LIFTED]),
    Cause.COUNT: (
        ("ann", "tea", 2, 1),
        [happened(5.0, "ann", "tea", pieces=2)],
        [cart("ann", ("tea", 1, (judged(5.0),)))],
        [LIFTED],
    ),
    Cause.DROPPED: (("ann", "tea", 1, 0), [TEA], [cart("ann", ("tea", 1, (judged(5.0),)))], [LIFTED]),
    Cause.VISIT: (("ann", "tea", 1, 0), [TEA], [cart("ben")], [LIFTED]),
    Cause.PUT_BACK_INVENTED: (
        ("ann", "tea", 2, 1),
        [happened(5.0, "ann", "tea", pieces=2)],
        [cart("ann", ("tea", 1, (judged(5.0, 2), judged(20.0, -1))))],
        [LIFTED, measured(20.0, 100)],
    ),
    Cause.INVENTED: (("ann", "tea", 0, 1), [], [cart("ann", ("tea", 1, (judged(5.0),)))], [LIFTED]),
    Cause.PUT_BACK: (
        ("ann", "tea", 0, 1),
        [TEA, happened(20.0, "ann", "tea", "put_back")],
        [cart("ann", ("tea", 1, (judged(5.0),)))],
        [LIFTED, measured(20.0, 100)],
    ),
}


@pytest.mark.parametrize("cause", STORIES, ids=lambda cause: cause.name)
def test_each_cause(cause: Cause) -> None:
    assert why(*STORIES[cause]) == cause


def test_there_is_a_story_for_every_cause() -> None:
    assert set(STORIES) == set(Cause)


def test_too_much_for_one_says_whose_it_was() -> None:
    carts = [cart("ann"), cart("ben", ("tea", 1, (judged(5.0),)))]
    assert why(("ben", "tea", 0, 1), [TEA], carts, [LIFTED]) == Cause.PERSON
    carts = [cart("ann", ("jam", 1, (judged(5.0),)))]
    assert why(("ann", "jam", 0, 1), [TEA], carts, [LIFTED]) == Cause.PRODUCT


def test_a_put_back_that_no_plate_felt_is_a_missed_event() -> None:
    story = ("ann", "tea", 0, 1), [TEA, happened(20.0, "ann", "tea", "put_back")], [cart("ann", ("tea", 1, (judged(5.0),)))], [LIFTED]
    assert why(*story) == Cause.MISSED


def test_a_plate_that_bends_beside_a_load_says_neither_that_something_was_put_nor_taken() -> None:
    put, line = happened(20.0, "ann", "tea", "put_back"), ("ann", "tea", 0, 1)
    felt = replace(measured(20.0, 100), plates=("3", "4"), change=np.array([-0.005, 0.1]), deviation=np.array([0.001, 0.001]))
    carts = [cart("ann", ("tea", 1, (judged(5.0),)))]
    assert why(line, [TEA, put], carts, [LIFTED, felt]) == Cause.PUT_BACK
    lifted = replace(LIFTED, plates=("3", "4"), change=np.array([0.005, -0.1]), deviation=np.array([0.001, 0.001]))
    assert why(line, [TEA, put], carts, [lifted, replace(lifted, start_ns=felt.start_ns, end_ns=felt.end_ns)]) == Cause.MISSED


def test_somebody_else_on_another_shelf_has_nothing_to_do_with_it() -> None:
    carts = [cart("ann"), cart("ben", ("tea", 1, (judged(5.0, shelf="2"),)))]
    assert why(("ann", "tea", 1, 0), [TEA], carts, [measured(5.0, -100, shelf="2")]) == Cause.MISSED


def test_a_receipt_of_nobody_is_a_wrong_visit() -> None:
    assert why(("", "tea", 0, 1), [TEA], [cart("", ("tea", 1, (judged(5.0),)))], [LIFTED]) == Cause.VISIT
