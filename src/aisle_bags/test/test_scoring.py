"""Counting what receipts got right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aisle_bags.scoring import ItemCount, WrongLine, score_session, summary
from aisle_contract.records import Receipt, ReceiptLine, ReceiptStatus


def receipt(shopper: str, items: dict[str, int], status: ReceiptStatus = ReceiptStatus.CHARGED, session: str = "visit") -> Receipt:
    lines = tuple(ReceiptLine(product, product.title(), count, "1.00", f"{count}.00", 0.9, ()) for product, count in items.items())
    return Receipt(0, session, shopper, status, "USD", f"{sum(items.values())}.00", lines)


def test_a_right_receipt() -> None:
    score = score_session("s", 0, {"ann": {"tea": 2, "milk": 1}}, [receipt("ann", {"milk": 1, "tea": 2})])
    assert score.items == ItemCount(expected=3, found=3, right=3)
    assert (score.receipts, score.right_receipts, score.wrong_lines) == (1, 1, ())


def test_too_much_too_little_and_something_else() -> None:
    truth = {"ann": {"tea": 2, "milk": 1, "salt": 1}}
    score = score_session("s", 3, truth, [receipt("ann", {"tea": 3, "milk": 1, "jam": 1})])
    assert score.items == ItemCount(expected=4, found=5, right=3)
    assert score.wrong_lines == (
        WrongLine("s", 3, "ann", "jam", 0, 1),
        WrongLine("s", 3, "ann", "salt", 1, 0),
        WrongLine("s", 3, "ann", "tea", 2, 3),
    )
    figures = summary([score])
    assert (figures["overcharged_lines"], figures["undercharged_lines"]) == (2, 1)
    assert figures["precision"] == 3 / 5
    assert figures["recall"] == 3 / 4
    assert figures["f1"] == 6 / 9


def test_the_right_item_on_the_wrong_receipt_is_wrong_twice() -> None:
    score = score_session("s", 0, {"ann": {"tea": 1}, "ben": {}}, [receipt("ann", {}), receipt("ben", {"tea": 1})])
    assert score.items == ItemCount(expected=1, found=1, right=0)
    assert (score.receipts, score.right_receipts) == (2, 0)


def test_a_shopper_without_receipt_has_everything_missed() -> None:
    score = score_session("s", 0, {"ann": {"tea": 2}}, [])
    assert score.items == ItemCount(expected=2, found=0, right=0)
    assert (score.receipts, score.right_receipts) == (1, 0)
    assert summary([score])["precision"] == 1.0


def test_a_shopper_who_took_nothing_needs_an_empty_receipt() -> None:
    assert score_session("s", 0, {"ann": {}}, [receipt("ann", {})]).right_receipts == 1
    assert score_session("s", 0, {"ann": {}}, []).right_receipts == 0


def test_receipts_of_nobody_known_are_charged_too_much() -> None:
    score = score_session("s", 0, {"ann": {"tea": 1}}, [receipt("ann", {"tea": 1}), receipt("", {"jam": 2}), receipt("ghost", {})])
    assert score.items == ItemCount(expected=1, found=3, right=1)
    assert (score.receipts, score.right_receipts) == (3, 1)
    assert score.wrong_lines == (WrongLine("s", 0, "", "jam", 0, 2),)


def test_a_visit_cut_in_two_is_not_a_right_receipt() -> None:
    score = score_session("s", 0, {"ann": {"tea": 2}}, [receipt("ann", {"tea": 1}, session="a"), receipt("ann", {"tea": 1}, session="b")])
    assert score.items == ItemCount(expected=2, found=2, right=2)
    assert (score.receipts, score.right_receipts) == (2, 0)


def test_more_put_back_than_taken_counts_as_nothing() -> None:
    assert score_session("s", 0, {"ann": {"tea": -1}}, [receipt("ann", {})]).items == ItemCount()


def test_review_share_is_of_the_receipts_that_were_issued() -> None:
    held = receipt("ann", {"tea": 1}, ReceiptStatus.REVIEW)
    scores = [score_session("s", 0, {"ann": {"tea": 1}, "ben": {}}, [held]), score_session("t", 0, {"cat": {}}, [receipt("cat", {})])]
    assert summary(scores)["review_share"] == 0.5


def test_nothing_at_all_is_perfect() -> None:
    figures = summary([])
    assert [figures[name] for name in ("precision", "recall", "f1", "receipt_accuracy", "review_share")] == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert figures["source"] == "re-enacted"


items = st.dictionaries(st.sampled_from(["tea", "milk", "jam"]), st.integers(1, 4))
people = st.dictionaries(st.sampled_from(["ann", "ben", ""]), items)


@given(people, people)
def test_figures_stay_in_their_ranges_and_swapping_sides_swaps_precision_and_recall(truth: dict, charged: dict) -> None:
    there = score_session("s", 0, truth, [receipt(shopper, bought) for shopper, bought in charged.items()]).items
    back = score_session("s", 0, charged, [receipt(shopper, bought) for shopper, bought in truth.items()]).items
    assert 0 <= there.right <= min(there.expected, there.found)
    assert there.precision == back.recall
    assert there.f1 == back.f1
    assert min(there.precision, there.recall) - 1e-12 <= there.f1 <= max(there.precision, there.recall) + 1e-12
