"""Bags as tests: cases, differences between receipts, known faults, what a run tells."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path

import pytest

from aisle_bags.bag_case import (
    BagCase,
    BagCaseError,
    CaseDocument,
    KnownWrong,
    Tolerances,
    find_cases,
    load_case,
    write_document,
    write_expected,
)
from aisle_bags.case_runs import judged, run_cases
from aisle_bags.core_settings import CoreSettings
from aisle_bags.pytest_plugin import BagRun, bag_run  # noqa: F401
from aisle_bags.receipt_differences import differences
from aisle_contract.records import Evidence, Receipt, ReceiptLine, ReceiptStatus, ShelfEvents, Tracks
from aisle_fusion.shelf_monitor_config import ShelfMonitorConfig

SUITE = Path(__file__).resolve().parents[3] / "bags"
SECOND = 1_000_000_000
EVIDENCE = Evidence("e_1", "1", "2", ("3", "4"), SECOND, 2 * SECOND, -0.1, 0.001, -0.1, 1, 0.05, 0.98, "bob / salt x1", 0.01)
LINE = ReceiptLine("salt", "Salt", 1, "1.00", "1.00", 0.98, (EVIDENCE,))
RECEIPT = Receipt(9 * SECOND, "s-1", "ann", ReceiptStatus.CHARGED, "EUR", "1.00", (LINE,))
EXACT = Tolerances()
LOOSE = Tolerances(probability=0.05, weight_kg=0.005, distance_m=0.1, time_s=0.5)


def changed(**values) -> Receipt:
    """The receipt with another line or other evidence."""
    evidence = dataclasses.replace(EVIDENCE, **{name: value for name, value in values.items() if hasattr(EVIDENCE, name)})
    line = {name: value for name, value in values.items() if hasattr(LINE, name) and not hasattr(EVIDENCE, name)}
    return dataclasses.replace(RECEIPT, lines=(dataclasses.replace(LINE, evidence=(evidence,), **line),))


def why(expected: list[Receipt], found: list[Receipt], tolerances: Tolerances = EXACT) -> list[str]:
    return [f"{difference.what}: {difference.why}" for difference in differences(expected, found, tolerances)]


def test_equal_receipts_have_no_differences() -> None:
    assert why([RECEIPT], [RECEIPT]) == []
    nan = changed(distance=math.nan)
    assert why([nan], [nan]) == []
    assert why([RECEIPT], [nan], LOOSE) == ["ann (s-1): salt: distance: expected 0.0500, found nan"]


@pytest.mark.parametrize(
    ("values", "within", "told"),
    [
        ({"change": -0.104}, True, "change: expected -0.1000, found -0.1040"),
        ({"change": -0.106}, False, "change: expected -0.1000, found -0.1060"),
        ({"distance": 0.12}, True, "distance: expected 0.0500, found 0.1200"),
        ({"start_ns": 1_400_000_000}, True, "start: +0.400 s"),
        ({"end_ns": 3 * SECOND}, False, "end: +1.000 s"),
        ({"event": "e_2"}, True, "event: expected e_1, found e_2"),
        ({"alternative": ""}, True, "alternative: expected bob / salt x1, found none"),
        ({"gondola": "2"}, False, "gondola: expected 1, found 2"),
        ({"total": "2.00"}, False, "total: expected 1.00, found 2.00"),
        ({"unit_price": "2.00"}, False, "unit_price: expected 1.00, found 2.00"),
    ],
)
def test_only_evidence_may_differ_and_only_by_its_tolerance(values: dict, within: bool, told: str) -> None:
    assert why([RECEIPT], [changed(**values)]) == [f"ann (s-1): salt: {told}"]
    assert why([RECEIPT], [changed(**values)], LOOSE) == ([] if within else [f"ann (s-1): salt: {told}"])


def test_quantities_and_products_always_count_and_come_with_both_sides() -> None:
    pepper = dataclasses.replace(LINE, product="pepper", name="Pepper")
    found = dataclasses.replace(RECEIPT, lines=(pepper,), status=ReceiptStatus.REVIEW)
    status, added, missing = differences([RECEIPT], [found], LOOSE)
    assert (status.what, status.why) == ("ann (s-1)", "status: expected charged, found review")
    assert (added.what, added.why, added.expected, added.found) == ("ann (s-1): pepper", "this line was not expected", None, pepper)
    assert (missing.what, missing.why, missing.expected, missing.found) == ("ann (s-1): salt", "this line is missing", LINE, None)


def test_receipts_are_compared_by_shopper() -> None:
    bob = dataclasses.replace(RECEIPT, shopper="bob", session="s-2", lines=())
    later = dataclasses.replace(RECEIPT, session="s-9", stamp_ns=9_100_000_000)
    assert why([RECEIPT], [later], LOOSE) == []
    assert why([RECEIPT], [bob]) == ["ann (s-1): salt: this receipt is missing", "bob (s-2): no such receipt was expected"]


def case(truth: dict | None = None, known: tuple[KnownWrong, ...] = ()) -> BagCase:
    return BagCase(Path("bags/x"), CaseDocument(title="x", shows="y", truth=truth, known_wrong=known), (RECEIPT,))


def test_what_is_expected_but_not_true_fails_until_it_is_known() -> None:
    truth = {"ann": {"salt": 2}}
    result = judged(case(truth), [RECEIPT])
    assert not result.passed
    assert result.report == "ann: salt: 2 by the truth, 1 charged"
    known = KnownWrong(shopper="ann", product="salt", expected=2, found=1, reason="both in one grip")
    assert judged(case(truth, (known,)), [RECEIPT]).passed
    # Wrong in another way is not what is known.
    assert not judged(case(truth, (known,)), [dataclasses.replace(RECEIPT, lines=())]).passed


def test_a_known_fault_that_is_mended_is_told() -> None:
    known = KnownWrong(shopper="ann", product="salt", expected=2, found=1, reason="both in one grip")
    result = judged(case({"ann": {"salt": 1}}, (known,)), [RECEIPT])
    assert not result.passed
    assert result.report == "ann: salt: was known to be wrong and is not any more"


def test_a_case_is_written_and_read_again(tmp_path: Path) -> None:
    known = KnownWrong(shopper="", product="0123", expected=0, found=1, reason="nobody was seen")
    document = CaseDocument(title="x: y", shows="'z'", tolerances=LOOSE, truth={"ann": {"0044": 2}}, known_wrong=(known,))
    write_document(tmp_path, document)
    write_expected(tmp_path, [RECEIPT, dataclasses.replace(RECEIPT, session="s-2")])
    write_expected(tmp_path, [RECEIPT])
    read = load_case(tmp_path)
    assert read.document == document
    assert read.expected == (RECEIPT,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.yaml", "expected"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: x", "shows: missing"),
        ("title: x\nshows: y\ntolerances: {probabilty: 1}", "probabilty: unknown key"),
        ("title: x\nshows: y\ntolerances: {probability: 2}", "tolerances.probability: found '2', expected less than or equal to 1"),
        ("format: 7\ntitle: x\nshows: y", "format: found '7', expected '1'"),
    ],
)
def test_a_case_that_is_wrong_is_told_with_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "case.yaml").write_text(text)
    with pytest.raises(BagCaseError, match=r"case\.yaml") as error:
        load_case(tmp_path)
    assert told in str(error.value)


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BagCaseError, match=r"no folder in it holds a case\.yaml"):
        find_cases(tmp_path)


def test_the_fixture_gives_everything_that_the_cores_published(bag_run: BagRun) -> None:  # noqa: F811
    run = bag_run(SUITE / "slow-pick")
    assert run.passed, run.report
    assert run.items("ann") == {"044000006808": 1, "835144009066": 1}
    # A slow lift may come in parts.
    assert len({(event.gondola, event.shelf) for settled in run.of(ShelfEvents) for event in settled.final}) == 2
    assert max(len(tracks.tracks) for tracks in run.of(Tracks)) == 1


def test_a_deaf_monitor_is_noticed_and_explained(bag_run: BagRun) -> None:  # noqa: F811
    deaf = CoreSettings(shelf_monitor=ShelfMonitorConfig(least_change_kg=0.15))
    run = bag_run(SUITE / "slow-pick", deaf)
    assert not run.passed
    assert "044000006808: this line is missing" in run.report
    assert "ann: 044000006808: 1 by the truth, 0 charged" in run.report


def test_results_come_in_order_from_several_processes(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("b", "a")]
    for folder in folders:
        shutil.copytree(SUITE / "several-at-once", folder)
    done = []
    results = run_cases(folders, CoreSettings(), 2, done.append)
    assert [result.case.name for result in results] == ["b", "a"]
    assert done == results
    assert all(result.passed for result in results)


def test_the_suite_is_complete_small_and_open_about_its_faults() -> None:
    named = {path.name for path in find_cases(SUITE)}
    hard = {"held-plate", "misplaced-among-equals", "two-in-one-shelf", "three-close", "put-elsewhere-then-bought", "two-colours"}
    hard |= {"several-at-once", "slow-pick", "left-on-floor", "handed-over", "crowd", "camera-lost", "drifting-scale", "restock"}
    assert hard <= named
    assert sum(file.stat().st_size for file in SUITE.rglob("*") if file.is_file()) < 15_000_000
    for name in named:
        read = load_case(SUITE / name)
        assert read.document.truth is not None
        # The expectation itself, without a replay: nothing in it is wrong without being said.
        assert judged(read, read.expected).passed, name
