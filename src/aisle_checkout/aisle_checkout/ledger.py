"""A payment provider that writes charges to a file: one JSON object per line, only ever appended.

The line is on disk before ``charge`` returns. A line that a crash cut short has no newline; it was never confirmed and is removed when
the ledger is opened again.
"""

from __future__ import annotations

import fcntl
import json
import os
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import TracebackType

from aisle_checkout.money import as_text
from aisle_checkout.payment import Charge, PaymentRefused

_FIELDS = {"session": str, "shopper": str, "amount": str, "currency": str, "stamp_ns": int}


class LedgerError(ValueError):
    """A ledger file that cannot be used; the text names file, line and field."""


class LedgerPayments:
    """Keeps the file open and locked: a second process that opens it gets a LedgerError."""

    def __init__(self, path: Path) -> None:
        """Makes the file if there is none. Raises LedgerError for a damaged one, OSError if it cannot be opened."""
        self._path = Path(path)
        is_new = not self._path.exists()
        # O_APPEND: each write goes to the end, whatever else happened to the file.
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._lock()
            if is_new:
                _sync_folder(self._path.parent)
            self._charges = self._read()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> LedgerPayments:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def charges(self) -> tuple[Charge, ...]:
        """All charges, oldest first."""
        return tuple(self._charges.values())

    def charge(self, charge: Charge) -> None:
        """Writes a charge. Nothing happens for one that is there already; PaymentRefused if its session was charged otherwise."""
        known = self._charges.get(charge.session)
        if known is not None:
            if _content(known) != _content(charge):
                raise PaymentRefused(
                    f"session '{charge.session}' was charged {as_text(known.amount, known.currency)} {known.currency} to '{known.shopper}' "
                    f"before, now {as_text(charge.amount, charge.currency)} {charge.currency} to '{charge.shopper}' is asked"
                )
            return
        self._append(charge)
        self._charges[charge.session] = charge

    def close(self) -> None:
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LedgerError(f"{self._path}: another process has this ledger open") from None

    def _append(self, charge: Charge) -> None:
        line = json.dumps(
            {
                "session": charge.session,
                "shopper": charge.shopper,
                "amount": as_text(charge.amount, charge.currency),
                "currency": charge.currency,
                "stamp_ns": charge.stamp_ns,
            },
            ensure_ascii=False,
        )
        end = os.fstat(self._file).st_size
        try:
            _write_all(self._file, f"{line}\n".encode())
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, end)
            raise

    def _read(self) -> dict[str, Charge]:
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._file, whole)
            os.fsync(self._file)
        charges: dict[str, Charge] = {}
        for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
            charge = self._parse(line, number)
            if charge.session in charges:
                raise LedgerError(f"{self._path}: line {number}: session '{charge.session}' is charged twice, expected once")
            charges[charge.session] = charge
        return charges

    def _parse(self, line: bytes, number: int) -> Charge:
        where = f"{self._path}: line {number}"
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise LedgerError(f"{where}: not JSON ({error})") from None
        if not isinstance(entry, dict):
            raise LedgerError(f"{where}: found {type(entry).__name__}, expected an object")
        for name, kind in _FIELDS.items():
            if type(entry.get(name)) is not kind:
                raise LedgerError(f"{where}: field '{name}' is {entry.get(name)!r}, expected {kind.__name__}")
        try:
            amount = Decimal(entry["amount"])
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite() or amount < 0:
            raise LedgerError(f"{where}: field 'amount' is {entry['amount']!r}, expected a decimal number >= 0")
        return Charge(entry["session"], entry["shopper"], amount, entry["currency"], entry["stamp_ns"])


def _content(charge: Charge) -> tuple[str, Decimal, str]:
    """What makes two charges of one session the same."""
    return charge.shopper, charge.amount, charge.currency


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk only when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
