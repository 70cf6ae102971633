"""What checkout needs of whoever moves the money."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Charge:
    """What one visit costs one account. ``stamp_ns``: when the shopper left."""

    session: str
    shopper: str
    amount: Decimal
    currency: str
    stamp_ns: int


class PaymentRefused(Exception):
    """The provider did not and will not take this charge; the text says why."""


class PaymentProvider(Protocol):
    """Charges accounts. ``charge`` must be idempotent by session: the same charge again does nothing, as a process may be restarted
    between the payment and the receipt. It raises PaymentRefused for anything else with a known session, or when the account does not pay.
    """

    def charge(self, charge: Charge) -> None: ...
