from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS, DiagnosticLevel, GateEvent, GateEventKind, StepResult
from aisle_drivers.qr_gate import QrGate, QrGateConfig, load_accounts, token
from aisle_store.store import Gate, GateKind
from aisle_store.store_documents import StoreError

ENTRANCE = Gate("entrance", GateKind.ENTRANCE, np.array([[0.0, 0.0], [1.0, 0.0]]))
EXIT = Gate("exit", GateKind.EXIT, np.array([[0.0, 0.0], [1.0, 0.0]]))
ACCOUNTS = {token("aisle:ann-7f3a"): "ann", token("aisle:bob-91c2"): "bob"}
START_NS = 1_700_000_000_000_000_000
EMPTY = np.full((360, 640, 3), 120, dtype=np.uint8)


def view(*codes: str, tilt: float = 0.0, blur: float = 0.0, noise: float = 0.0, size: int = 170) -> np.ndarray:
    """A camera's frame in which codes are held up, seen askew by ``tilt`` (share of their size), out of focus and noisy."""
    frame = EMPTY.copy()
    for place, code in enumerate(codes):
        drawn = cv2.QRCodeEncoder.create().encode(code)
        drawn = cv2.resize(
            cv2.copyMakeBorder(drawn, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255), (size, size), interpolation=cv2.INTER_AREA
        )
        left, top, lean = 60 + 320 * place, 80, tilt * size
        corners = np.float32([[0, 0], [size, 0], [size, size], [0, size]])
        target = np.float32(
            [[left + lean, top], [left + size, top + lean / 2], [left + size - lean / 3, top + size], [left, top + size - lean]]
        )
        warp = cv2.getPerspectiveTransform(corners, target)
        held = cv2.warpPerspective(cv2.cvtColor(drawn, cv2.COLOR_GRAY2BGR), warp, (640, 360))
        mask = cv2.warpPerspective(np.full((size, size), 255, np.uint8), warp, (640, 360))
        frame[mask > 0] = held[mask > 0]
    if blur:
        frame = cv2.GaussianBlur(frame, (0, 0), blur)
    if noise:
        frame = np.clip(frame + np.random.default_rng(0).normal(0, noise, frame.shape), 0, 255).astype(np.uint8)
    return frame


def at(seconds: float) -> int:
    return START_NS + round(seconds * NANOSECONDS)


def gate(where: Gate = ENTRANCE, **config) -> QrGate:
    return QrGate(where, ACCOUNTS, QrGateConfig(**config))


def events(result: StepResult, kind: GateEventKind | None = None) -> list[GateEvent]:
    return [event for event in result.records if kind is None or event.kind is kind]


@pytest.mark.parametrize("tilt", [0.0, 0.15, 0.25])
@pytest.mark.parametrize("blur", [0.0, 1.0])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_a_known_code_opens_the_gate(tilt, blur, noise):
    result = gate().see(at(0), view("aisle:ann-7f3a", tilt=tilt, blur=blur, noise=noise))
    assert result.records == [GateEvent(at(0), "entrance", GateEventKind.ENTRY, token("aisle:ann-7f3a"), "ann")]


def test_an_unknown_code_is_denied():
    result = gate().see(at(0), view("aisle:eve-0000"))
    assert result.records == [GateEvent(at(0), "entrance", GateEventKind.DENIED, token("aisle:eve-0000"), "", "unknown credential")]


def test_events_do_not_tell_the_credential():
    for code in ("aisle:ann-7f3a", "aisle:eve-0000"):
        assert code not in repr(gate().see(at(0), view(code)).records)


def test_a_code_held_up_counts_once_and_again_after_a_pause():
    reader, shown = gate(debounce_s=5.0), view("aisle:ann-7f3a")
    entries = []
    for tenth in range(0, 80, 3):
        entries += events(reader.see(at(tenth / 10), shown), GateEventKind.ENTRY)
    assert len(entries) == 1
    # Out of sight from 7.8 s: at 12.7 s that is 4.9 s, which is too short; from there it has to be out of sight for 5 s again.
    assert events(reader.see(at(12.7), shown), GateEventKind.ENTRY) == []
    assert len(events(reader.see(at(18.0), shown), GateEventKind.ENTRY)) == 1


def test_two_codes_in_one_frame_are_two_events_with_increasing_stamps():
    result = gate().see(at(0), view("aisle:ann-7f3a", "aisle:bob-91c2"))
    assert sorted(event.shopper for event in events(result, GateEventKind.ENTRY)) == ["ann", "bob"]
    assert [event.stamp_ns for event in result.records] == [at(0), at(0) + 1]


def test_heartbeats_fill_the_time_between_events():
    reader = gate(heartbeat_s=0.5)
    given = [event for tenth in range(31) for event in reader.see(at(tenth / 10), EMPTY).records]
    assert {event.kind for event in given} == {GateEventKind.STATUS}
    assert [event.stamp_ns for event in given] == [at(n / 2) for n in range(7)]


def test_stamps_increase_strictly_whatever_comes():
    reader = gate(heartbeat_s=0.1, debounce_s=0.0)
    shown = view("aisle:ann-7f3a")
    given = []
    for seconds in (0.0, 0.5, 0.5, 0.2, 1.0):
        given += reader.see(at(seconds), shown).records
        given += reader.tick(at(seconds)).records
        given += reader.tick(at(seconds + 0.3)).records
    stamps = [event.stamp_ns for event in given]
    assert stamps == sorted(set(stamps))
    assert reader.diagnostics()[0].level is DiagnosticLevel.WARN


def test_an_exit_only_gives_heartbeats():
    reader = gate(EXIT)
    assert [event.kind for event in reader.see(at(0), view("aisle:ann-7f3a")).records] == [GateEventKind.STATUS]
    assert [event.kind for event in reader.tick(at(1)).records] == [GateEventKind.STATUS]


def test_entries_and_denials_are_counted():
    reader = gate()
    reader.see(at(0), view("aisle:ann-7f3a"))
    reader.see(at(1), view("aisle:eve-0000"))
    assert reader.diagnostics()[0].message == "1 entries, 1 denials"


def accounts_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_accounts_hold_credentials_plain_or_hashed(tmp_path):
    hashed = token("aisle:bob-91c2").upper().replace("SHA256", "sha256")
    path = accounts_file(tmp_path, f"credential,shopper\naisle:ann-7f3a,ann\n{hashed},bob\n")
    assert load_accounts(path) == ACCOUNTS


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("credential\nx\n", r"accounts\.csv:1: missing column 'shopper'"),
        ("credential,shopper\nx,ann\nx,bob\n", r"accounts\.csv:3: credential: stands twice"),
        ("credential,shopper\nx,\n", r"accounts\.csv:2: shopper: found ''"),
        ("credential,shopper\n,ann\n", r"accounts\.csv:2: credential: found ''"),
        ("credential,shopper\nsha256:12,ann\n", r"accounts\.csv:2: credential: found 'sha256:12', expected 64 hexadecimal digits"),
        ("", r"accounts\.csv: empty"),
    ],
)
def test_mistakes_in_accounts_are_named(tmp_path, text, complaint):
    with pytest.raises(StoreError, match=complaint):
        load_accounts(accounts_file(tmp_path, text))
