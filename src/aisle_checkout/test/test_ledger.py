"""The ledger: what was confirmed is on disk once, whatever happens."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest

from aisle_checkout import ledger as ledger_module
from aisle_checkout.ledger import LedgerError, LedgerPayments
from aisle_checkout.payment import Charge, PaymentRefused


def make_charge(session: str = "s1", amount: str = "3.50", shopper: str = "ann") -> Charge:
    return Charge(session, shopper, Decimal(amount), "USD", 1_580_250_255_000_000_000)


def test_charges_outlive_the_process(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge("s1"))
        ledger.charge(make_charge("s2", "0.30"))
    with LedgerPayments(path) as ledger:
        assert ledger.charges == (make_charge("s1"), make_charge("s2", "0.30"))
    assert path.read_text().count("\n") == 2


def test_the_same_charge_again_does_nothing(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge())
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge())
        ledger.charge(make_charge(amount="3.5"))
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize("other", [make_charge(amount="3.51"), make_charge(shopper="bob")])
def test_another_charge_of_the_same_session_is_refused(tmp_path: Path, other: Charge):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge())
        before = path.read_bytes()
        with pytest.raises(PaymentRefused, match=r"s1.*3\.50"):
            ledger.charge(other)
        assert path.read_bytes() == before


def test_every_cut_of_the_last_line_is_mended(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge("s1"))
        whole = path.read_bytes()
        ledger.charge(make_charge("s2"))
    content = path.read_bytes()
    for length in range(len(whole), len(content)):
        path.write_bytes(content[:length])
        with LedgerPayments(path) as ledger:
            assert [charge.session for charge in ledger.charges] == ["s1"]
            ledger.charge(make_charge("s2"))
        assert path.read_bytes() == content


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge("s1"))
        before = path.read_bytes()

        def write_some(file: int, content: bytes) -> None:
            os.write(file, content[:10])
            raise OSError("no space left on device")

        monkeypatch.setattr(ledger_module, "_write_all", write_some)
        with pytest.raises(OSError, match="no space"):
            ledger.charge(make_charge("s2"))
        assert path.read_bytes() == before
        monkeypatch.undo()
        ledger.charge(make_charge("s2"))
        assert len(ledger.charges) == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("nonsense", "line 2"),
        ('{"session": "s2"}', "shopper"),
        ('{"session": "s2", "shopper": "a", "amount": "much", "currency": "USD", "stamp_ns": 1}', "amount"),
        ('{"session": "s2", "shopper": "a", "amount": "1", "currency": "USD", "stamp_ns": "1"}', "stamp_ns"),
        ('{"session": "s1", "shopper": "a", "amount": "1", "currency": "USD", "stamp_ns": 1}', "twice"),
    ],
)
def test_a_damaged_ledger_is_not_used(tmp_path: Path, line: str, named: str):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path) as ledger:
        ledger.charge(make_charge())
    path.write_text(path.read_text() + line + "\n")
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=named) as error:
        LedgerPayments(path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == before


def test_two_cannot_write_one_ledger(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with LedgerPayments(path), pytest.raises(LedgerError, match="another"):
        LedgerPayments(path)
    LedgerPayments(path).close()
