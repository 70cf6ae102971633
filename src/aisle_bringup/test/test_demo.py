from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from aisle_bringup.demo_picture import DemoPicture
from aisle_bringup.demo_state import DemoState
from aisle_bringup.demo_view import DemoView, comparison
from aisle_bringup.floor_sketch import FloorSketch
from aisle_contract.records import (
    NANOSECONDS,
    Alert,
    AlertLevel,
    Cart,
    CartLine,
    CartStatus,
    Evidence,
    GateEvent,
    GateEventKind,
    Receipt,
    ReceiptLine,
    ReceiptStatus,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)
from aisle_sim.labelled_sessions import load_sessions, true_items
from aisle_store.store_files import load_store

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2019-11"


@pytest.fixture(scope="module")
def store():
    return load_store(STORE)


@pytest.fixture
def state(store) -> DemoState:
    """Two sessions of the shipped ones: the first has one shopper, the second two."""
    sessions = {len(session.persons): session for session in load_sessions(STORE / "sessions.json")}
    return DemoState(store, [sessions[1], sessions[2]], seed=0)


def at(second: float) -> int:
    return round(second * NANOSECONDS)


def gate(second: float, kind: GateEventKind, shopper: str = "") -> GateEvent:
    return GateEvent(at(second), "entrance", kind, shopper=shopper)


def receipt(second: float, shopper: str, items: dict[str, int]) -> Receipt:
    lines = tuple(ReceiptLine(product, f"name of {product}", count, "1.00", f"{count}.00", 0.9, ()) for product, count in items.items())
    return Receipt(at(second), f"visit {second}", shopper, ReceiptStatus.CHARGED, "USD", "3.00", lines)


def tell(state: DemoState, *records) -> list[str]:
    return [line for record in records for line in state.step(record)]


def evidence(event: str, product_count: int = 1) -> Evidence:
    return Evidence(event, "3", "5", ("4", "5"), 0, at(1), -0.2, 0.001, -0.2, product_count, 0.0, 0.93)


def play_all(state: DemoState) -> None:
    """Everybody comes, leaves and gets the right receipt."""
    second = 0.0
    for session in state.sessions:
        for person, items in true_items(session).items():
            tell(state, gate(second, GateEventKind.ENTRY, person), gate(second + 5, GateEventKind.EXIT), receipt(second + 5, person, items))
            second += 10


def test_it_is_finished_when_all_have_left_and_all_receipts_are_there(state):
    assert state.session_number == -1
    play_all(state)
    assert state.finished
    assert state.session_number == 1
    state.receipts.pop()
    assert not state.finished


def test_receipts_are_scored_in_the_session_in_which_the_shopper_left(state):
    play_all(state)
    assert [(score.right_receipts, score.receipts) for score in state.scores()] == [(1, 1), (2, 2)]
    assert all(score.items.right == score.items.expected > 0 for score in state.scores())


def test_a_missing_receipt_is_a_missed_one(state):
    play_all(state)
    state.receipts.pop(0)
    assert [(score.right_receipts, score.receipts) for score in state.scores()] == [(0, 1), (2, 2)]


def test_a_receipt_that_does_not_come_is_noticed(state):
    play_all(state)
    state.receipts.pop()
    tell(state, Tracks(at(80), ()))
    assert not state.overdue
    tell(state, Tracks(at(90), ()))
    assert state.overdue


def test_lines_tell_what_changed_once(state):
    person = state.sessions[0].persons[0]
    said = tell(state, gate(0, GateEventKind.STATUS), gate(1, GateEventKind.ENTRY, person))
    assert said == [f"session  1 of 2: {state.sessions[0].session}", f"entry    {person} at gate entrance"]
    product = next(iter(state.store.products))
    empty = Cart(at(2), "v", person, "t1", CartStatus.OPEN, at(1), 0, ())
    full = Cart(at(3), "v", person, "t1", CartStatus.OPEN, at(1), 0, (CartLine(product, 2, 0.934, (evidence("e"),)),))
    said = tell(state, empty, full, full)
    assert said == [f"cart     {person}: 2 x {state.product_name(product)} (93%)"]
    assert tell(state, Alert(at(4), AlertLevel.INFO, "x", "c", "quiet"), Alert(at(4), AlertLevel.WARN, "x", "c", "loud")) == [
        "alert    x: loud"
    ]


def test_events_carry_the_judgement_of_the_newest_cart(state):
    product = next(iter(state.store.products))
    event = ShelfEvent("e", ShelfEventStatus.FINAL, "3", "5", 0, at(1), ("4", "5"), np.array([-0.1, -0.1]), np.zeros(2))
    tell(state, ShelfEvents(at(1), (event,)))
    assert state.events[0].evidence is None
    tell(state, Cart(at(2), "v", "ada", "t1", CartStatus.OPEN, 0, 0, (CartLine(product, 1, 0.9, (evidence("e"),)),)))
    assert (state.events[0].shopper, state.events[0].product, state.events[0].evidence.probability) == ("ada", product, 0.93)


def track(name: str, x: float, y: float) -> Track:
    return Track(name, np.array([x, y]), np.zeros(2), np.eye(4), 1.0, 0.0)


def test_the_sketch_puts_people_where_they_are(store):
    sketch = FloorSketch(store, columns=96, rows=30)
    assert sketch.columns <= 96
    assert sketch.rows <= 30
    rows = sketch.draw([track("a", 0.5, -0.5), track("b", 4.0, -1.3)], [], {"a": 0, "b": 1}).plain.split("\n")
    places = {digit: (row.index(digit), number) for number, row in enumerate(rows) for digit in "12" if digit in row}
    assert places["1"][0] < places["2"][0], "x grows to the right"
    assert places["1"][1] < places["2"][1], "y grows upwards"
    assert any("═" in row for row in rows)


def test_what_was_taken_is_marked_at_its_plates(store):
    event = ShelfEvent("e", ShelfEventStatus.FINAL, "3", "5", 0, 1, ("4",), np.array([-0.1]), np.zeros(1))
    assert FloorSketch(store, 96, 30).draw([], [event], {}).plain.count("▼") == 1


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (140, 50)])
def test_the_picture_fits_the_terminal_and_shows_carts_and_receipts(state, columns, rows):
    play_all(state)
    product = next(iter(state.store.products))
    tell(state, Tracks(at(40), (track("t1", 1, -1),)))
    tell(state, Cart(at(40), "v", "ada", "t1", CartStatus.OPEN, 0, 0, (CartLine(product, 2, 0.93, ()),)))
    console = Console(width=columns, height=rows, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    console.print(DemoView(state, "headline", columns, rows).render())
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= columns
    assert "ada" in text
    assert "receipts (3 of 3)" in text
    console.print(comparison(state.scores()))
    assert "re-enacted" in console.export_text()


def test_a_run_is_drawn_into_an_image(state, tmp_path):
    drawing = DemoPicture(state)
    product = next(iter(state.store.products))
    lines = (CartLine(product, 1, 0.9, (evidence("e"),)),)
    for record in (
        Cart(at(1), "v", "ada", "t1", CartStatus.OPEN, 0, 0, ()),
        Tracks(at(1), (track("t1", 1, -1),)),
        Tracks(at(2), (track("t1", 2, -1),)),
        Cart(at(3), "v", "ada", "t1", CartStatus.CLOSED, 0, at(3), lines),
    ):
        drawing.step(record)
    drawing.save(tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
