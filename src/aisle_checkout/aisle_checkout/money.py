"""Amounts of money: exact decimals with as many digits as the currency has."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

#: Digits after the point of currencies that do not have two (ISO 4217, list one).
_MINOR_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def rounded(amount: Decimal, currency: str) -> Decimal:
    """``amount`` with the currency's digits, half to even."""
    return amount.quantize(Decimal(1).scaleb(-_MINOR_DIGITS.get(currency, 2)), rounding=ROUND_HALF_EVEN)


def as_text(amount: Decimal, currency: str) -> str:
    """As it stands in receipts and the ledger: ``3.50``; never an exponent."""
    return format(rounded(amount, currency), "f")
