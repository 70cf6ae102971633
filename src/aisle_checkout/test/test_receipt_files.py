"""Receipt files: the documented fields, the same bytes each time, never half a file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from aisle_checkout import receipt_files
from aisle_checkout.receipt_files import ReceiptFileError, read_receipt, receipt_json, write_receipt
from aisle_contract.records import Evidence, Receipt, ReceiptLine, ReceiptStatus

START_NS = 1_580_250_255_150_400_000
EVIDENCE = Evidence(
    event="e_1_5_1580250255150_10",
    gondola="1",
    shelf="5",
    plates=("9", "10", "11"),
    start_ns=START_NS,
    end_ns=START_NS + 800_000_000,
    change=-0.57481234,
    deviation=0.00123,
    expected=-0.538,
    quantity=1,
    distance=math.nan,
    probability=0.98765432,
    alternative="bob / tea x2",
    alternative_probability=0.01,
)
RECEIPT = Receipt(
    stamp_ns=START_NS + 10**10,
    session="v1",
    shopper="ann",
    status=ReceiptStatus.CHARGED,
    currency="USD",
    total="2.50",
    lines=(ReceiptLine("632", "Eau d'été", 1, "2.50", "2.50", 0.98765432, (EVIDENCE,)),),
)


def test_the_document_is_as_documented():
    document = json.loads(receipt_json(RECEIPT))
    line = document["lines"][0]
    evidence = line["evidence"][0]
    assert list(document) == ["session", "shopper", "status", "total", "currency", "left", "lines"]
    assert (document["status"], document["total"], document["left"]) == ("charged", "2.50", "2020-01-28T22:24:25.150Z")
    assert list(line) == ["product", "name", "quantity", "unit_price", "total", "probability", "evidence"]
    assert (evidence["start"], evidence["end"]) == ("2020-01-28T22:24:15.150Z", "2020-01-28T22:24:15.950Z")
    assert (evidence["change_kg"], evidence["deviation_kg"], evidence["distance_m"]) == (-0.5748, 0.0012, None)
    assert "Eau d'été" in receipt_json(RECEIPT)
    assert receipt_json(RECEIPT).endswith("}\n")


def test_values_that_round_to_zero_have_no_sign():
    evidence = dataclasses.replace(EVIDENCE, change=-0.00001)
    text = receipt_json(dataclasses.replace(RECEIPT, lines=(dataclasses.replace(RECEIPT.lines[0], evidence=(evidence,)),)))
    assert '"change_kg": 0.0,' in text


def test_writing_reading_and_writing_again_gives_the_same_bytes(tmp_path: Path):
    path = write_receipt(RECEIPT, tmp_path / "receipts")
    back = read_receipt(path)
    assert path.name == "v1.json"
    assert receipt_json(back) == path.read_text(encoding="utf-8")
    assert (back.session, back.total, back.status, back.stamp_ns) == ("v1", "2.50", ReceiptStatus.CHARGED, START_NS + 10**10 - 400_000)
    assert math.isnan(back.lines[0].evidence[0].distance)
    assert [p.name for p in path.parent.iterdir()] == ["v1.json"]


def test_a_session_name_cannot_leave_the_folder(tmp_path: Path):
    path = write_receipt(dataclasses.replace(RECEIPT, session="../a/b"), tmp_path)
    assert path.parent == tmp_path
    assert read_receipt(path).session == "../a/b"


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_receipt(RECEIPT, tmp_path)
    before = path.read_bytes()

    def fail(file: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(receipt_files.os, "fsync", fail)
    with pytest.raises(OSError, match="no space"):
        write_receipt(dataclasses.replace(RECEIPT, total="9.99"), tmp_path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("status", "paid", "'status' is 'paid'"),
        ("total", "NaN", "'total'"),
        ("left", "yesterday", "'left'"),
        ("lines", {}, "'lines'"),
        ("lines", [{"product": "632"}], r"'lines\[0\].name'"),
        ("lines", ["x"], r"lines\[0\]"),
        ("shopper", None, "'shopper'"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(tmp_path: Path, field: str, value: object, named: str):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({**json.loads(receipt_json(RECEIPT)), field: value}))
    with pytest.raises(ReceiptFileError, match=named) as error:
        read_receipt(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_no_json(tmp_path: Path):
    path = tmp_path / "v1.json"
    path.write_text('{"session"')
    with pytest.raises(ReceiptFileError, match="not JSON"):
        read_receipt(path)
