"""A bag as a test: a bag, the receipts that it must give, and a short YAML that says what it shows and how much may differ.

    <name>/            a rosbag2 folder
      case.yaml        title, shows, tolerances, truth, known_wrong
      expected/        one receipt (<session>.json) per visit

``expected`` is what the chain gave when it was last accepted. ``truth``, where it is known, is what really happened: where the expected
receipts say otherwise, ``known_wrong`` says so with a reason, so that no wrong expectation hides among the right ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from aisle_checkout.receipt_files import read_receipt, receipt_json, write_receipt
from aisle_contract.records import Receipt
from aisle_store.store_documents import StoreError, read_document

CASE_FILE, EXPECTED_FOLDER = "case.yaml", "expected"


class BagCaseError(ValueError):
    """A case cannot be used: the message names the file and field, what was found and what was expected."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tolerances(_Model):
    """How much evidence may differ from the expected one. Products, quantities, amounts and status may not differ at all."""

    probability: float = Field(default=0.0, ge=0, le=1)
    weight_kg: float = Field(default=0.0, ge=0)
    distance_m: float = Field(default=0.0, ge=0)
    time_s: float = Field(default=0.0, ge=0)


class KnownWrong(_Model):
    """A line that the chain gets wrong today. ``expected``: pieces by the truth, ``found``: pieces that are charged instead."""

    shopper: str
    product: str = Field(min_length=1)
    expected: int = Field(ge=0)
    found: int = Field(ge=0)
    reason: str = Field(min_length=1)

    @property
    def line(self) -> str:
        """Which line, for people."""
        return f"{self.shopper or 'anonymous shopper'}: {self.product}"


class CaseDocument(_Model):
    """What ``case.yaml`` holds."""

    format: Literal["1"] = "1"
    title: str = Field(min_length=1)
    shows: str = Field(min_length=1)
    source: str = ""
    tolerances: Tolerances = Tolerances()
    truth: dict[str, dict[str, int]] | None = None
    known_wrong: tuple[KnownWrong, ...] = ()


@dataclass(frozen=True)
class BagCase:
    """``folder``: the bag's. ``expected``: by session."""

    folder: Path
    document: CaseDocument
    expected: tuple[Receipt, ...]

    @property
    def name(self) -> str:
        return self.folder.name


def load_case(folder: Path) -> BagCase:
    """Raises BagCaseError for a folder that is no case, ReceiptFileError for a receipt that cannot be read."""
    folder = Path(folder)
    if not (folder / CASE_FILE).is_file():
        raise BagCaseError(f"{folder}: holds no {CASE_FILE}, expected a bag with its expected receipts")
    try:
        document = read_document(folder / CASE_FILE, CaseDocument)
    except StoreError as error:
        raise BagCaseError(str(error)) from None
    files = sorted((folder / EXPECTED_FOLDER).glob("*.json"))
    return BagCase(folder, document, tuple(read_receipt(file) for file in files))


def find_cases(folder: Path) -> list[Path]:
    """The folders of cases in a folder, by name; the folder itself if it is one. Raises BagCaseError where there is none."""
    folder = Path(folder)
    if (folder / CASE_FILE).is_file():
        return [folder]
    found = sorted(file.parent for file in folder.glob(f"*/{CASE_FILE}"))
    if not found:
        raise BagCaseError(f"{folder}: no folder in it holds a {CASE_FILE}, expected bags with their expected receipts")
    return found


def write_document(folder: Path, document: CaseDocument) -> None:
    """Writes ``case.yaml``, as a whole."""
    content: dict[str, Any] = document.model_dump(exclude_defaults=True, mode="json")
    text = yaml.safe_dump({"format": document.format, **content}, sort_keys=False, allow_unicode=True, width=120)
    part = folder / f".{CASE_FILE}.part"
    part.write_text(text, encoding="utf-8")
    part.replace(folder / CASE_FILE)


def write_expected(folder: Path, receipts: Sequence[Receipt]) -> None:
    """Puts these receipts in the place of the expected ones."""
    fresh, old = folder / f".{EXPECTED_FOLDER}.part", folder / f".{EXPECTED_FOLDER}.old"
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir()
    for receipt in receipts:
        write_receipt(receipt, fresh)
    if (folder / EXPECTED_FOLDER).exists():
        (folder / EXPECTED_FOLDER).rename(old)
    fresh.rename(folder / EXPECTED_FOLDER)
    shutil.rmtree(old, ignore_errors=True)


def same_bytes(receipts: Sequence[Receipt], expected: Sequence[Receipt]) -> bool:
    """Whether the receipts' files are the same byte for byte."""
    return sorted(map(receipt_json, receipts)) == sorted(map(receipt_json, expected))
