"""Receipts as JSON files, one per visit. The same receipt gives the same bytes."""

from __future__ import annotations

import json
import math
import os
import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aisle_contract.records import Evidence, Receipt, ReceiptLine, ReceiptStatus

#: Digits after the point: 0.1 g, 1 mm, 1/10000.
_WEIGHT_DIGITS = 4
_DISTANCE_DIGITS = 3
_PROBABILITY_DIGITS = 4
_STATUS_NAMES = {ReceiptStatus.CHARGED: "charged", ReceiptStatus.REVIEW: "review"}
_MILLISECOND_NS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class ReceiptFileError(ValueError):
    """A receipt file that cannot be read; the text names file and field."""


def receipt_json(receipt: Receipt) -> str:
    """The file's text: fixed order of keys, amounts as decimal text, times in ISO 8601 UTC to the millisecond, null for unknown."""
    document = {
        "session": receipt.session,
        "shopper": receipt.shopper,
        "status": _STATUS_NAMES[receipt.status],
        "total": receipt.total,
        "currency": receipt.currency,
        "left": _time_text(receipt.stamp_ns),
        "lines": [_line_document(line) for line in receipt.lines],
    }
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def receipt_path(receipt: Receipt, folder: Path) -> Path:
    """Where a receipt is written: ``<session>.json``; what cannot stand in a file name is percent-encoded."""
    return Path(folder) / f"{quote(receipt.session, safe='')}.json"


def write_receipt(receipt: Receipt, folder: Path) -> Path:
    """Writes a receipt's file (made or replaced as a whole, never half) and gives its path. The folder is made if there is none."""
    path = receipt_path(receipt, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot and another ending: whoever lists *.json never sees it.
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(receipt_json(receipt))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def read_receipt(path: Path) -> Receipt:
    """The receipt of a file. Weights, distances, probabilities and times come back as rounded in the file.

    Raises ReceiptFileError naming file and field, OSError if the file cannot be opened.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ReceiptFileError(f"{path}: not JSON ({error})") from None
    return parse_receipt(text, str(path))


def parse_receipt(text: str, path: str) -> Receipt:
    """As ``read_receipt``, of a file's text; ``path`` names it in errors."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ReceiptFileError(f"{path}: not JSON ({error})") from None
    reader = _Reader(path)
    names = {name: status for status, name in _STATUS_NAMES.items()}
    status = reader.get(document, "status", str, "")
    if status not in names:
        raise ReceiptFileError(f"{path}: field 'status' is {status!r}, expected one of {', '.join(names)}")
    return Receipt(
        stamp_ns=reader.time(document, "left", ""),
        session=reader.get(document, "session", str, ""),
        shopper=reader.get(document, "shopper", str, ""),
        status=names[status],
        currency=reader.get(document, "currency", str, ""),
        total=reader.amount(document, "total", ""),
        lines=tuple(reader.line(line, f"lines[{number}].") for number, line in enumerate(reader.get(document, "lines", list, ""))),
    )


def _line_document(line: ReceiptLine) -> dict[str, Any]:
    return {
        "product": line.product,
        "name": line.name,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "total": line.total,
        "probability": _number(line.probability, _PROBABILITY_DIGITS),
        "evidence": [_evidence_document(evidence) for evidence in line.evidence],
    }


def _evidence_document(evidence: Evidence) -> dict[str, Any]:
    return {
        "event": evidence.event,
        "gondola": evidence.gondola,
        "shelf": evidence.shelf,
        "plates": list(evidence.plates),
        "start": _time_text(evidence.start_ns),
        "end": _time_text(evidence.end_ns),
        "change_kg": _number(evidence.change, _WEIGHT_DIGITS),
        "deviation_kg": _number(evidence.deviation, _WEIGHT_DIGITS),
        "expected_kg": _number(evidence.expected, _WEIGHT_DIGITS),
        "quantity": evidence.quantity,
        "distance_m": _number(evidence.distance, _DISTANCE_DIGITS),
        "probability": _number(evidence.probability, _PROBABILITY_DIGITS),
        "alternative": evidence.alternative,
        "alternative_probability": _number(evidence.alternative_probability, _PROBABILITY_DIGITS),
    }


def _number(value: float, digits: int) -> float | None:
    """Rounded, without a negative zero; None for what is not a number."""
    return round(float(value), digits) + 0.0 if math.isfinite(value) else None


def _time_text(stamp_ns: int) -> str:
    milliseconds = (stamp_ns + _MILLISECOND_NS // 2) // _MILLISECOND_NS
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class _Reader:
    """Takes fields out of a document and says where one is wrong."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, document: Any, name: str, kind: type, place: str) -> Any:
        if not isinstance(document, dict):
            raise ReceiptFileError(f"{self._path}: {place or 'the document'} is {type(document).__name__}, expected an object")
        value = document.get(name)
        if type(value) is not kind:
            raise ReceiptFileError(f"{self._path}: field '{place}{name}' is {value!r}, expected {kind.__name__}")
        return value

    def number(self, document: dict, name: str, place: str) -> float:
        """A number, NaN for null."""
        if isinstance(document, dict) and name in document and document[name] is None:
            return math.nan
        if isinstance(document, dict) and type(document.get(name)) is int:
            return float(document[name])
        return self.get(document, name, float, place)

    def amount(self, document: dict, name: str, place: str) -> str:
        text = self.get(document, name, str, place)
        try:
            finite = Decimal(text).is_finite()
        except InvalidOperation:
            finite = False
        if not finite:
            raise ReceiptFileError(f"{self._path}: field '{place}{name}' is {text!r}, expected a decimal number")
        return text

    def time(self, document: dict, name: str, place: str) -> int:
        text = self.get(document, name, str, place)
        try:
            if not _TIME_PATTERN.fullmatch(text):
                raise ValueError
            moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        except ValueError:
            raise ReceiptFileError(f"{self._path}: field '{place}{name}' is {text!r}, expected 2020-01-31T12:00:00.000Z") from None
        return (moment - _EPOCH) // timedelta(milliseconds=1) * _MILLISECOND_NS

    def line(self, document: Any, place: str) -> ReceiptLine:
        return ReceiptLine(
            product=self.get(document, "product", str, place),
            name=self.get(document, "name", str, place),
            quantity=self.get(document, "quantity", int, place),
            unit_price=self.amount(document, "unit_price", place),
            total=self.amount(document, "total", place),
            probability=self.number(document, "probability", place),
            evidence=tuple(
                self.evidence(evidence, f"{place}evidence[{number}].")
                for number, evidence in enumerate(self.get(document, "evidence", list, place))
            ),
        )

    def evidence(self, document: Any, place: str) -> Evidence:
        return Evidence(
            event=self.get(document, "event", str, place),
            gondola=self.get(document, "gondola", str, place),
            shelf=self.get(document, "shelf", str, place),
            plates=tuple(self.get(document, "plates", list, place)),
            start_ns=self.time(document, "start", place),
            end_ns=self.time(document, "end", place),
            change=self.number(document, "change_kg", place),
            deviation=self.number(document, "deviation_kg", place),
            expected=self.number(document, "expected_kg", place),
            quantity=self.get(document, "quantity", int, place),
            distance=self.number(document, "distance_m", place),
            probability=self.number(document, "probability", place),
            alternative=self.get(document, "alternative", str, place),
            alternative_probability=self.number(document, "alternative_probability", place),
        )
