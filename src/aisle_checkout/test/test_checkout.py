"""Checkout: exact money, decisions by expected cost, one receipt per session."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_checkout.checkout import Checkout, CheckoutConfig
from aisle_checkout.decision import PricedLine, decide
from aisle_checkout.money import as_text
from aisle_checkout.payment import Charge, PaymentRefused
from aisle_contract.records import Alert, Cart, CartLine, CartStatus, DiagnosticLevel, Receipt, ReceiptStatus, Review
from aisle_store.store import Product, Store

PRICES = {"bar": "0.10", "tea": "0.20", "wine": "19.99", "salt": "1.005"}


def make_store(prices: dict[str, str] | None = None, currency: str = "USD") -> Store:
    products = {p: Product(p, p.title(), 0.1, 0.002, Decimal(price)) for p, price in (prices or PRICES).items()}
    return Store("test", currency, np.zeros((0, 2)), {}, {}, {}, {}, products, {})


def make_cart(*lines: tuple[str, int, float], session: str = "s1", shopper: str = "ann", **changes: object) -> Cart:
    cart = Cart(
        stamp_ns=2_000,
        session=session,
        shopper=shopper,
        track="t1",
        status=CartStatus.CLOSED,
        entered_ns=1_000,
        left_ns=1_900,
        lines=tuple(CartLine(product, quantity, probability, ()) for product, quantity, probability in lines),
    )
    return dataclasses.replace(cart, **changes)


def bill(cart: Cart, store: Store | None = None, config: CheckoutConfig | None = None) -> list:
    return Checkout(store or make_store(), config or CheckoutConfig()).step(cart).records


class Purse:
    """A payment provider that pays up to a limit."""

    def __init__(self, limit: str = "100") -> None:
        self.limit = Decimal(limit)
        self.charges: list[Charge] = []

    def charge(self, charge: Charge) -> None:
        if charge.amount > self.limit:
            raise PaymentRefused("card declined")
        self.charges.append(charge)


def test_totals_are_exact_where_floats_are_not():
    (receipt,) = bill(make_cart(("bar", 1, 1.0), ("tea", 1, 1.0)))
    assert receipt == dataclasses.replace(receipt, status=ReceiptStatus.CHARGED, total="0.30", currency="USD", stamp_ns=1_900)
    assert [(line.name, line.quantity, line.unit_price, line.total) for line in receipt.lines] == [
        ("Bar", 1, "0.10", "0.10"),
        ("Tea", 1, "0.20", "0.20"),
    ]


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 500)), min_size=1, max_size=12))
def test_the_total_is_the_sum_of_what_is_printed(cents_and_quantities: list[tuple[int, int]]):
    prices = {f"p{n}": str(Decimal(cents) / 100) for n, (cents, _) in enumerate(cents_and_quantities)}
    cart = make_cart(*((f"p{n}", quantity, 1.0) for n, (_, quantity) in enumerate(cents_and_quantities)))
    receipt = bill(cart, make_store(prices))[0]
    in_cents = sum(cents * quantity for cents, quantity in cents_and_quantities)
    assert Decimal(receipt.total) * 100 == in_cents
    assert Decimal(receipt.total) == sum(Decimal(line.total) for line in receipt.lines)


def test_currencies_have_their_own_digits():
    assert as_text(Decimal("1.005"), "USD") == "1.00"
    assert as_text(Decimal("1.015"), "EUR") == "1.02"
    assert as_text(Decimal(1200), "JPY") == "1200"
    assert as_text(Decimal("1E+3"), "KWD") == "1000.000"
    assert bill(make_cart(("wine", 3, 1.0)), make_store({"wine": "300"}, "JPY"))[0].total == "900"


def test_unit_price_is_rounded_before_it_is_multiplied():
    assert bill(make_cart(("salt", 3, 1.0)))[0].total == "3.00"


def test_open_carts_give_nothing():
    assert bill(make_cart(("tea", 1, 1.0), status=CartStatus.OPEN, left_ns=0)) == []


def test_a_session_is_billed_once():
    checkout = Checkout(make_store(), CheckoutConfig(), purse := Purse())
    cart = make_cart(("tea", 1, 1.0))
    assert len(checkout.step(cart).records) == 1
    again = checkout.step(cart)
    assert (again.records, again.warnings) == ([], [])
    other = checkout.step(make_cart(("tea", 2, 1.0)))
    assert other.records == []
    assert "s1" in other.warnings[0]
    assert len(purse.charges) == 1


def test_an_empty_visit_of_a_shopper_costs_nothing_and_no_payment_is_asked():
    checkout = Checkout(make_store(), CheckoutConfig(), purse := Purse())
    (receipt,) = checkout.step(make_cart()).records
    assert (receipt.total, receipt.status, receipt.lines) == ("0.00", ReceiptStatus.CHARGED, ())
    assert purse.charges == []


def test_anonymous_visits():
    assert bill(make_cart(shopper="")) == []
    receipt, alert = bill(make_cart(("wine", 1, 0.99), shopper=""))
    assert (receipt.status, receipt.shopper) == (ReceiptStatus.CHARGED, "")
    assert isinstance(alert, Alert)
    assert alert.code == "anonymous_cart"
    (alert,) = bill(make_cart(shopper="", doubts=("a bottle is missing",)))
    assert "a bottle is missing" in alert.text


def test_doubts_lead_to_review():
    receipt, review = bill(make_cart(("tea", 1, 1.0), doubts=("two people stood there",)))
    assert receipt.status == ReceiptStatus.REVIEW
    assert isinstance(review, Review)
    assert review.reasons == ("two people stood there",)


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        (("gold", 1, 1.0), "catalogue"),
        (("tea", 0, 1.0), "quantity"),
        (("tea", 1, float("nan")), "probability"),
        (("tea", 1, 1.5), "probability"),
    ],
)
def test_what_cannot_be_priced_is_reviewed(line: tuple[str, int, float], flaw: str):
    receipt, review, alert = bill(make_cart(("bar", 2, 1.0), line))
    assert (receipt.status, receipt.total) == (ReceiptStatus.REVIEW, "0.20")
    assert flaw in review.reasons[0]
    assert (alert.code, flaw in alert.text) == ("bad_cart_line", True)


def test_a_payment_that_fails_is_reviewed_and_reported():
    checkout = Checkout(make_store(), CheckoutConfig(), Purse(limit="1"))
    alert, receipt, review = checkout.step(make_cart(("wine", 1, 1.0))).records
    assert (alert.code, receipt.status) == ("payment_failed", ReceiptStatus.REVIEW)
    assert "card declined" in review.reasons[0]
    assert checkout.diagnostics()[0].level == DiagnosticLevel.ERROR
    assert checkout.step(make_cart(("tea", 1, 1.0), session="s2")).records[0].status == ReceiptStatus.CHARGED
    assert checkout.diagnostics()[0].level == DiagnosticLevel.OK


def test_the_account_pays_what_the_receipt_says():
    checkout = Checkout(make_store(), CheckoutConfig(), purse := Purse())
    receipt: Receipt = checkout.step(make_cart(("wine", 2, 0.999))).records[0]
    assert purse.charges == [Charge("s1", "ann", Decimal(receipt.total), "USD", 1_900)]


def test_each_choice_is_made_where_it_is_cheapest():
    config = CheckoutConfig(overcharge_cost=3.0, lost_sale_cost=1.0, review_cost=1.0)
    assert decide([PricedLine(0.95, Decimal(2))], config).kept == (0,)
    # Charging costs 0.7 * 2 * 3 = 4.20, dropping 0.3 * 2 = 0.60, a look 1.00.
    dropped = decide([PricedLine(0.3, Decimal(2))], config)
    assert (dropped.review, dropped.kept, dropped.expected_cost) == (False, (), pytest.approx(0.6))
    # Charging costs 0.2 * 10 * 3 = 6.00, dropping 8.00: a look is cheaper than both.
    assert decide([PricedLine(0.8, Decimal(10))], config).review


def test_many_small_doubts_add_up_to_a_review():
    config = CheckoutConfig()
    line = PricedLine(0.96, Decimal(2))
    assert not decide([line] * 2, config).review
    assert decide([line] * 3, config).review


def test_a_dropped_line_is_not_on_the_receipt_but_told():
    receipt, alert = bill(make_cart(("tea", 1, 0.1), ("wine", 1, 0.99)))
    assert [line.product for line in receipt.lines] == ["wine"]
    assert (receipt.total, alert.code) == ("19.99", "line_dropped")


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 10_000)), max_size=8),
    st.floats(0, 10),
    st.floats(0, 10),
    st.floats(0.01, 10),
)
def test_no_other_choice_is_cheaper(lines: list[tuple[float, int]], over: float, lost: float, review: float):
    config = CheckoutConfig(over, lost, review)
    priced = [PricedLine(p, Decimal(cents) / 100) for p, cents in lines]
    decision = decide(priced, config)

    def cost(line: PricedLine, charged: bool) -> float:
        value = float(line.value)
        return (1 - line.probability) * value * over if charged else line.probability * value * lost

    chosen = review if decision.review else sum(cost(line, n in decision.kept) for n, line in enumerate(priced))
    cheapest_alone = sum(min(cost(line, True), cost(line, False)) for line in priced)
    assert chosen <= min(review, cheapest_alone) + 1e-9
