"""An entrance gate that reads QR codes: who shows a known credential to its camera may walk in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel, GateEvent, GateEventKind, StepResult
from aisle_store.store import Gate, GateKind
from aisle_store.store_documents import Problems, read_csv
from aisle_store.store_schema import product_identifier

_HASHED = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class QrGateConfig:
    debounce_s: float = parameter(5.0, "A code counts again when it was out of sight for this long, s", 0.0, 3600.0)
    heartbeat_s: float = parameter(0.5, "Longest time without an event, s", 0.01, 60.0)


def token(credential: str) -> str:
    """What stands for a credential in events and accounts files: ``sha256:`` and 64 hexadecimal digits. Bags then hold no credentials."""
    return f"sha256:{hashlib.sha256(credential.encode()).hexdigest()}"


def load_accounts(path: Path) -> dict[str, str]:
    """Shopper ids by token of an accounts file: CSV with the columns ``credential`` (as in the code, or its token) and ``shopper``.

    Raises StoreError that names file, row and field.
    """
    problems = Problems()
    accounts: dict[str, str] = {}
    for row in read_csv(path, {"credential": _credential_token, "shopper": product_identifier}, problems):
        if row.values["credential"] in accounts:
            problems.add(row.where, "credential: stands twice, expected each once")
        accounts[row.values["credential"]] = row.values["shopper"]
    problems.raise_if_any()
    return accounts


def _credential_token(text: str) -> str:
    if not text:
        raise ValueError("a credential or sha256: with 64 hexadecimal digits")
    if not text.startswith("sha256:"):
        return token(text)
    if not _HASHED.fullmatch(text.lower()):
        raise ValueError("64 hexadecimal digits after sha256:")
    return text.lower()


class QrGate:
    """Frames in, gate events out. Stamps of its events increase strictly; while it gets frames or ticks it is never silent for longer
    than the heartbeat and the time between two of these. Codes are read only where people enter.
    """

    def __init__(self, gate: Gate, accounts: Mapping[str, str], config: QrGateConfig) -> None:
        self._gate = gate
        self._accounts = accounts
        self._debounce_ns = round(config.debounce_s * NANOSECONDS)
        self._heartbeat_ns = round(config.heartbeat_s * NANOSECONDS)
        self._reader = cv2.QRCodeDetector()
        self._last_seen_ns: dict[str, int] = {}
        self._last_stamp_ns: int | None = None
        self._entries = 0
        self._denials = 0
        self._stale_frames = 0
        self._stale_reported = 0

    def see(self, stamp_ns: int, image: np.ndarray) -> StepResult:
        """Takes a frame, uint8 [height, width, 3] BGR. One that is older than the last event is counted and not looked at."""
        result = StepResult()
        if self._last_stamp_ns is not None and stamp_ns <= self._last_stamp_ns:
            self._stale_frames += 1
            return result
        if self._gate.kind is not GateKind.EXIT:
            for credential in sorted(set(self._codes(image))):
                self._present(stamp_ns, credential, result)
        result.extend(self.tick(stamp_ns))
        return result

    def tick(self, now_ns: int) -> StepResult:
        """Time has come to ``now_ns``: gives a heartbeat if one is due."""
        result = StepResult()
        if self._last_stamp_ns is None or now_ns >= self._last_stamp_ns + self._heartbeat_ns:
            self._emit(now_ns, GateEventKind.STATUS, "", "", "", result)
        return result

    def diagnostics(self) -> list[Diagnostic]:
        values = (("entries", str(self._entries)), ("denials", str(self._denials)), ("stale frames", str(self._stale_frames)))
        level = DiagnosticLevel.WARN if self._stale_frames > self._stale_reported else DiagnosticLevel.OK
        self._stale_reported = self._stale_frames
        return [Diagnostic(f"gate {self._gate.gate}", level, f"{self._entries} entries, {self._denials} denials", values)]

    def _codes(self, image: np.ndarray) -> list[str]:
        found, texts, _, _ = self._reader.detectAndDecodeMulti(image)
        return [text for text in texts if text] if found else []

    def _present(self, stamp_ns: int, credential: str, result: StepResult) -> None:
        presented = token(credential)
        last_ns = self._last_seen_ns.get(presented)
        self._forget_old(stamp_ns)
        self._last_seen_ns[presented] = stamp_ns
        if last_ns is not None and stamp_ns - last_ns <= self._debounce_ns:
            return
        shopper = self._accounts.get(presented)
        if shopper is None:
            self._denials += 1
            self._emit(stamp_ns, GateEventKind.DENIED, presented, "", "unknown credential", result)
        else:
            self._entries += 1
            self._emit(stamp_ns, GateEventKind.ENTRY, presented, shopper, "", result)

    def _forget_old(self, stamp_ns: int) -> None:
        self._last_seen_ns = {code: seen for code, seen in self._last_seen_ns.items() if stamp_ns - seen <= self._debounce_ns}

    def _emit(self, stamp_ns: int, kind: GateEventKind, credential: str, shopper: str, reason: str, result: StepResult) -> None:
        # Two codes in one frame: the second event is a nanosecond later.
        if self._last_stamp_ns is not None:
            stamp_ns = max(stamp_ns, self._last_stamp_ns + 1)
        self._last_stamp_ns = stamp_ns
        result.records.append(GateEvent(stamp_ns, self._gate.gate, kind, credential, shopper, reason))
