"""What changed between two sets of receipts, line by line, with the evidence of both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest

from aisle_bags.bag_case import Tolerances
from aisle_contract.records import NANOSECONDS, Evidence, Receipt, ReceiptLine

#: Fields of evidence that are numbers, and the tolerance that counts for each.
_TOLERANCE = {
    "change": "weight_kg",
    "deviation": "weight_kg",
    "expected": "weight_kg",
    "distance": "distance_m",
    "probability": "probability",
    "alternative_probability": "probability",
    "start_ns": "time_s",
    "end_ns": "time_s",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is not as expected. ``what``: which receipt and line; ``why``: which field, and by how much.

    ``expected`` and ``found``: the line on both sides, None where there is none (or where the receipt itself differs).
    """

    what: str
    why: str
    expected: ReceiptLine | None = None
    found: ReceiptLine | None = None


def differences(expected: Sequence[Receipt], found: Sequence[Receipt], tolerances: Tolerances) -> list[Difference]:
    """All differences beyond the tolerances, in the order of the visits."""
    return [difference for pair in _pairs(expected, found) for difference in _of_receipts(*pair, tolerances)]


def _pairs(expected: Sequence[Receipt], found: Sequence[Receipt]) -> Iterator[tuple[Receipt | None, Receipt | None]]:
    """Receipts of one visit: those of one shopper in the order in which he left."""
    by_shopper: dict[str, tuple[list[Receipt], list[Receipt]]] = {}
    for side, receipts in enumerate((expected, found)):
        for receipt in sorted(receipts, key=lambda receipt: (receipt.stamp_ns, receipt.session)):
            by_shopper.setdefault(receipt.shopper, ([], []))[side].append(receipt)
    for _, (old, new) in sorted(by_shopper.items()):
        yield from zip_longest(old, new)


def _of_receipts(expected: Receipt | None, found: Receipt | None, tolerances: Tolerances) -> Iterator[Difference]:
    receipt = found or expected
    who = f"{receipt.shopper or 'anonymous shopper'} ({receipt.session})"
    if expected is None or found is None:
        missing = "no such receipt was expected" if expected is None else "this receipt is missing"
        for line in receipt.lines or (None,):
            sides = (None, line) if expected is None else (line, None)
            yield Difference(f"{who}{f': {line.product}' if line else ''}", missing, *sides)
        return
    for name in ("status", "currency", "total"):
        old, new = getattr(expected, name), getattr(found, name)
        if old != new:
            yield Difference(who, f"{name}: expected {_shown(old)}, found {_shown(new)}")
    if not _near(expected.stamp_ns, found.stamp_ns, tolerances.time_s * NANOSECONDS):
        yield Difference(who, f"left {(found.stamp_ns - expected.stamp_ns) / NANOSECONDS:+.3f} s later than expected")
    old_lines, new_lines = ({line.product: line for line in side.lines} for side in (expected, found))
    for product in sorted(old_lines.keys() | new_lines.keys()):
        old, new = old_lines.get(product), new_lines.get(product)
        why = _why(old, new, tolerances)
        if why:
            yield Difference(f"{who}: {product}", why, old, new)


def _why(expected: ReceiptLine | None, found: ReceiptLine | None, tolerances: Tolerances) -> str:
    if expected is None or found is None:
        return "this line was not expected" if expected is None else "this line is missing"
    reasons = [
        f"{name}: expected {getattr(expected, name)}, found {getattr(found, name)}"
        for name in ("name", "quantity", "unit_price", "total")
        if getattr(expected, name) != getattr(found, name)
    ]
    if not _near(expected.probability, found.probability, tolerances.probability):
        reasons.append(f"probability: expected {expected.probability:.4f}, found {found.probability:.4f}")
    if len(expected.evidence) != len(found.evidence):
        reasons.append(f"evidence: expected {len(expected.evidence)} shelf events, found {len(found.evidence)}")
    else:
        for old, new in zip(expected.evidence, found.evidence, strict=True):
            reasons += _changed_evidence(old, new, tolerances)
    return "; ".join(reasons)


def _changed_evidence(expected: Evidence, found: Evidence, tolerances: Tolerances) -> Iterator[str]:
    for field in fields(Evidence):
        old, new = getattr(expected, field.name), getattr(found, field.name)
        if field.name in _TOLERANCE:
            unit = NANOSECONDS if field.name.endswith("_ns") else 1
            if not _near(old, new, unit * getattr(tolerances, _TOLERANCE[field.name])):
                change = f"{(new - old) / NANOSECONDS:+.3f} s" if unit > 1 else f"expected {old:.4f}, found {new:.4f}"
                yield f"{field.name.removesuffix('_ns')}: {change}"
        elif old != new and not _is_loose(field.name, tolerances):
            yield f"{field.name}: expected {_shown(old)}, found {_shown(new)}"


def _is_loose(name: str, tolerances: Tolerances) -> bool:
    """Names that tell times or next-best guesses change with what they are made of."""
    return (name == "event" and tolerances.time_s > 0) or (name in ("alternative", "plates") and tolerances.probability > 0)


def _near(old: float, new: float, tolerance: float) -> bool:
    """As far apart as the tolerance at most; files hold rounded numbers, so that a little more is no difference."""
    if math.isnan(old) or math.isnan(new):
        return math.isnan(old) and math.isnan(new)
    return abs(old - new) <= tolerance * (1 + 1e-9)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return getattr(value, "name", str(value)).lower() if hasattr(value, "name") else str(value) or "none"
