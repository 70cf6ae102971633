"""From a closed cart to a receipt: prices, the decision to charge or to review (``decision``), the payment."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from decimal import Decimal

from aisle_checkout.decision import CheckoutConfig, Decision, PricedLine, decide
from aisle_checkout.money import as_text, rounded
from aisle_checkout.payment import Charge, PaymentProvider, PaymentRefused
from aisle_contract.records import (
    Alert,
    AlertLevel,
    Cart,
    CartLine,
    CartStatus,
    Diagnostic,
    DiagnosticLevel,
    Receipt,
    ReceiptLine,
    ReceiptStatus,
    Review,
    StepResult,
)
from aisle_store.store import Store

__all__ = ["Checkout", "CheckoutConfig"]

#: Sessions whose carts are remembered, so that one that comes again is not charged again. The payment provider remembers for ever.
REMEMBERED_SESSIONS = 100_000


@dataclass(frozen=True)
class _Bill:
    """A cart as it is to be charged. ``reasons``: why a person should look at it; ``flaws``: lines that cannot be priced."""

    status: ReceiptStatus
    lines: tuple[ReceiptLine, ...]
    total: Decimal
    reasons: tuple[str, ...]
    dropped: tuple[CartLine, ...] = ()
    flaws: tuple[str, ...] = ()


class Checkout:
    """Gives one ``Receipt`` per session when its cart is CLOSED, with a ``Review`` if it is held and ``Alert`` for what people should know.

    A visit without lines gives a receipt of 0 to an identified shopper, and none where nobody identified himself: that is a passer-by
    or a wrong track. Without a ``payment`` provider receipts are decided but no account is charged (replay, tests).
    """

    def __init__(self, store: Store, config: CheckoutConfig, payment: PaymentProvider | None = None) -> None:
        self._store = store
        self._config = config
        self._payment = payment
        self._billed: OrderedDict[str, tuple] = OrderedDict()
        self._counts = {ReceiptStatus.CHARGED: 0, ReceiptStatus.REVIEW: 0}
        self._payment_trouble = ""

    def step(self, record: Cart) -> StepResult:
        result = StepResult()
        if record.status != CartStatus.CLOSED or self._is_billed(record, result):
            return result
        if record.lines or record.shopper:
            self._bill(record, result)
        elif record.doubts:
            text = f"session '{record.session}': somebody without an account left with nothing, but: {'; '.join(record.doubts)}"
            result.records.append(_alert(_left_ns(record), AlertLevel.WARN, "doubtful_visit", text))
        return result

    def flush(self) -> StepResult:
        """Nothing is held back."""
        return StepResult()

    def diagnostics(self) -> list[Diagnostic]:
        trouble = self._payment_trouble
        return [
            Diagnostic(
                name="checkout",
                level=DiagnosticLevel.ERROR if trouble else DiagnosticLevel.OK,
                message=trouble or "receipts are given",
                values=(
                    ("receipts charged", str(self._counts[ReceiptStatus.CHARGED])),
                    ("receipts held for review", str(self._counts[ReceiptStatus.REVIEW])),
                ),
            )
        ]

    def _is_billed(self, cart: Cart, result: StepResult) -> bool:
        content = (cart.shopper, tuple((line.product, line.quantity) for line in cart.lines))
        known = self._billed.get(cart.session)
        if known is None:
            self._billed[cart.session] = content
            if len(self._billed) > REMEMBERED_SESSIONS:
                self._billed.popitem(last=False)
            return False
        if known != content:
            result.warnings.append(f"session '{cart.session}': a second closed cart differs from the one that was billed: it is ignored")
        return True

    def _bill(self, cart: Cart, result: StepResult) -> None:
        stamp_ns = _left_ns(cart)
        bill = self._priced(cart)
        if bill.status == ReceiptStatus.CHARGED:
            bill = self._paid(cart, bill, stamp_ns, result)
        self._counts[bill.status] += 1
        currency = self._store.currency
        total = as_text(bill.total, currency)
        result.records.append(Receipt(stamp_ns, cart.session, cart.shopper, bill.status, currency, total, bill.lines))
        if bill.status == ReceiptStatus.REVIEW:
            result.records.append(Review(stamp_ns, cart.session, cart.shopper, bill.reasons))
        visit = f"session '{cart.session}'"
        for flaw in bill.flaws:
            result.records.append(_alert(stamp_ns, AlertLevel.ERROR, "bad_cart_line", f"{visit}: {flaw}"))
        for line in bill.dropped:
            text = f"{visit}: {line.product} x{line.quantity} was not charged, its probability is {line.probability:.2f}"
            result.records.append(_alert(stamp_ns, AlertLevel.INFO, "line_dropped", text))
        if not cart.shopper and bill.lines:
            text = f"{visit}: somebody without an account left with goods for {total} {currency}"
            result.records.append(_alert(stamp_ns, AlertLevel.WARN, "anonymous_cart", text))

    def _priced(self, cart: Cart) -> _Bill:
        """Prices the lines and decides; what cannot be priced is for a person to look at."""
        sound = [line for line in cart.lines if not self._flaw(line)]
        flaws = tuple(flaw for flaw in map(self._flaw, cart.lines) if flaw)
        lines = tuple(self._receipt_line(line) for line in sound)
        decision = decide([PricedLine(line.probability, Decimal(line.total)) for line in lines], self._config)
        reasons = (*cart.doubts, *flaws, *(self._unsure(lines, decision) if decision.review else ()))
        if reasons:
            return _Bill(ReceiptStatus.REVIEW, lines, _total(lines), reasons, flaws=flaws)
        kept = tuple(lines[number] for number in decision.kept)
        dropped = tuple(line for number, line in enumerate(sound) if number not in decision.kept)
        return _Bill(ReceiptStatus.CHARGED, kept, _total(kept), (), dropped)

    def _flaw(self, line: CartLine) -> str:
        """Why a line cannot be priced; empty if it can."""
        if line.product not in self._store.products:
            return f"product '{line.product}' is not in the catalogue and has no price"
        if line.quantity <= 0:
            return f"quantity of '{line.product}' is {line.quantity}, expected at least 1"
        if not 0.0 <= line.probability <= 1.0:
            return f"probability of '{line.product}' is {line.probability}, expected 0 .. 1"
        return ""

    def _receipt_line(self, line: CartLine) -> ReceiptLine:
        product = self._store.products[line.product]
        currency = self._store.currency
        unit_price = rounded(product.price, currency)
        return ReceiptLine(
            product=line.product,
            name=product.name,
            quantity=line.quantity,
            unit_price=as_text(unit_price, currency),
            total=as_text(unit_price * line.quantity, currency),
            probability=line.probability,
            evidence=line.evidence,
        )

    def _unsure(self, lines: tuple[ReceiptLine, ...], decision: Decision) -> tuple[str]:
        cost = f"{decision.expected_cost:.2f} {self._store.currency}"
        unsure = [f"{line.product} x{line.quantity} ({line.probability:.2f})" for line in lines if line.probability < 0.995]
        return (f"Deciding alone would cost {cost} in expectation; probabilities: {', '.join(unsure) or 'all near 1'}",)

    def _paid(self, cart: Cart, bill: _Bill, stamp_ns: int, result: StepResult) -> _Bill:
        """Charges the account. A payment that fails is for a person to look at; it stops nothing."""
        if self._payment is None or not cart.shopper or not bill.total:
            return bill
        try:
            self._payment.charge(Charge(cart.session, cart.shopper, bill.total, self._store.currency, stamp_ns))
        except (PaymentRefused, OSError) as error:
            self._payment_trouble = f"session '{cart.session}': not charged: {error}"
            result.records.append(_alert(stamp_ns, AlertLevel.ERROR, "payment_failed", self._payment_trouble))
            return replace(bill, status=ReceiptStatus.REVIEW, reasons=(f"The payment failed: {error}",))
        self._payment_trouble = ""
        return bill


def _left_ns(cart: Cart) -> int:
    return cart.left_ns or cart.stamp_ns


def _total(lines: tuple[ReceiptLine, ...]) -> Decimal:
    return sum((Decimal(line.total) for line in lines), Decimal(0))


def _alert(stamp_ns: int, level: AlertLevel, code: str, text: str) -> Alert:
    return Alert(stamp_ns, level, "checkout", code, text)
