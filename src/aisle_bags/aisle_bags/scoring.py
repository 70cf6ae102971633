"""Receipts against the truth: what was charged right, too much or too little.

Items are counted per (shopper, product) and pooled over all sessions (micro-average): of ``expected`` true and ``found`` charged pieces,
``min(expected, found)`` are right. A shopper without a receipt has every item missed; a receipt of nobody in the truth has every item
charged too much. docs/accuracy.md says how the figures are to be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aisle_bags.calibration import LineOutcome, calibration_summary
from aisle_contract.records import STAFF_PREFIX, Cart, CartStatus, Receipt, ReceiptStatus

#: Net items of every shopper of a session: shopper id -> product id -> pieces.
Truth = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class ItemCount:
    """Pieces that are true, that were charged, and that are both."""

    expected: int = 0
    found: int = 0
    right: int = 0

    def __add__(self, other: ItemCount) -> ItemCount:
        return ItemCount(self.expected + other.expected, self.found + other.found, self.right + other.right)

    @property
    def precision(self) -> float:
        """Share of the charged pieces that are true; 1 where nothing was charged, for then nothing was charged wrongly."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of the true pieces that were charged; 1 where nothing was to be charged."""
        return self.right / self.expected if self.expected else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, as 2 right / (expected + found); 1 where there is nothing on either side."""
        total = self.expected + self.found
        return 2 * self.right / total if total else 1.0


@dataclass(frozen=True, slots=True)
class WrongLine:
    """One (shopper, product) whose charged quantity differs from the true one. ``shopper`` is empty for anonymous receipts.

    ``cause``: what went wrong, and ``detail`` where and how, as far as that was looked into (``failures``).
    """

    session: str
    seed: int
    shopper: str
    product: str
    expected: int
    found: int
    cause: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SessionScore:
    """One session enacted with one seed. ``receipts`` counts what was to be right: one per shopper plus every receipt beyond that.

    ``charged_lines``: lines charged without review; ``overcharged_lines``: those of them with more pieces than are true.
    ``outcomes``: lines of the carts, with their probabilities, whether charged or not.
    """

    session: str
    seed: int
    items: ItemCount
    receipts: int
    right_receipts: int
    issued_receipts: int
    reviewed_receipts: int
    wrong_lines: tuple[WrongLine, ...]
    warnings: tuple[str, ...] = ()
    charged_lines: int = 0
    overcharged_lines: int = 0
    outcomes: tuple[LineOutcome, ...] = ()


def score_session(
    session: str, seed: int, truth: Truth, receipts: Sequence[Receipt], warnings: Iterable[str] = (), carts: Iterable[Cart] = ()
) -> SessionScore:
    """Compares one session's receipts with the truth; true net counts below zero (more put back than taken) count as zero.

    Empty receipts of staff are left out. ``carts``: those of them that are closed give the outcomes.
    """
    receipts = [receipt for receipt in receipts if receipt.lines or not receipt.shopper.startswith(STAFF_PREFIX)]
    expected = {shopper: _positive(items) for shopper, items in truth.items()}
    found: dict[str, Counter[str]] = {}
    for receipt in receipts:
        charged = found.setdefault(receipt.shopper, Counter())
        for line in receipt.lines:
            charged[line.product] += line.quantity
    items, wrong = ItemCount(), []
    for shopper in sorted(expected.keys() | found.keys()):
        true, charged = expected.get(shopper, {}), found.get(shopper, {})
        for product in sorted(true.keys() | charged.keys()):
            counts = true.get(product, 0), charged.get(product, 0)
            items += ItemCount(*counts, min(counts))
            if counts[0] != counts[1]:
                wrong.append(WrongLine(session, seed, shopper, product, *counts))
    charged_lines = [
        line.quantity > expected.get(receipt.shopper, {}).get(line.product, 0)
        for receipt in receipts
        if receipt.status == ReceiptStatus.CHARGED
        for line in receipt.lines
    ]
    issued = Counter(receipt.shopper for receipt in receipts)
    return SessionScore(
        session=session,
        seed=seed,
        items=items,
        receipts=len(expected) + sum(count - (shopper in expected) for shopper, count in issued.items()),
        right_receipts=sum(issued[shopper] == 1 and dict(found[shopper]) == true for shopper, true in expected.items()),
        issued_receipts=len(receipts),
        reviewed_receipts=sum(receipt.status == ReceiptStatus.REVIEW for receipt in receipts),
        wrong_lines=tuple(wrong),
        warnings=tuple(warnings),
        charged_lines=len(charged_lines),
        overcharged_lines=sum(charged_lines),
        outcomes=tuple(_outcomes(expected, carts)),
    )


def _outcomes(expected: Mapping[str, Mapping[str, int]], carts: Iterable[Cart]) -> Iterable[LineOutcome]:
    for cart in carts:
        if cart.status == CartStatus.CLOSED:
            true = expected.get(cart.shopper, {})
            for line in cart.lines:
                yield LineOutcome(line.probability, true.get(line.product, 0) == line.quantity)


def summary(scores: Sequence[SessionScore], source: str = "re-enacted") -> dict[str, Any]:
    """All sessions together, in the form that ``./aisle score --json`` writes. ``source``: where the sensor data come from."""
    items = sum((score.items for score in scores), ItemCount())
    wrong = [line for score in scores for line in score.wrong_lines]
    return {
        "source": source,
        "precision": items.precision,
        "recall": items.recall,
        "f1": items.f1,
        "receipt_accuracy": _share(sum(s.right_receipts for s in scores), sum(s.receipts for s in scores), none=1.0),
        "review_share": _share(sum(s.reviewed_receipts for s in scores), sum(s.issued_receipts for s in scores), none=0.0),
        "least_session_f1": min((score.items.f1 for score in scores), default=1.0),
        "overcharge_share": _share(sum(s.overcharged_lines for s in scores), sum(s.charged_lines for s in scores), none=0.0),
        "calibration": calibration_summary([outcome for score in scores for outcome in score.outcomes]),
        "causes": dict(sorted(Counter(line.cause for line in wrong if line.cause).items())),
        "overcharged_lines": sum(line.found > line.expected for line in wrong),
        "undercharged_lines": sum(line.found < line.expected for line in wrong),
        "sessions": [_session_summary(score) for score in scores],
        "wrong_lines": [asdict(line) for line in wrong],
    }


def _session_summary(score: SessionScore) -> dict[str, Any]:
    items = score.items
    return {"session": score.session, "seed": score.seed, "precision": items.precision, "recall": items.recall, "f1": items.f1}


def _positive(items: Mapping[str, int]) -> dict[str, int]:
    return {product: count for product, count in items.items() if count > 0}


def _share(part: int, whole: int, none: float) -> float:
    return part / whole if whole else none
