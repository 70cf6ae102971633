"""The demo's picture in a terminal: the floor from above, carts, shelf events, receipts."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from aisle_bags.scoring import SessionScore
from aisle_bringup.demo_state import DemoState
from aisle_bringup.floor_sketch import PEOPLE_STYLES, FloorSketch
from aisle_contract.records import NANOSECONDS, ReceiptStatus

#: How long a shelf event stays marked on the floor.
EVENT_MARKED_S = 4.0
RECEIPTS_SHOWN = 4
EVENTS_SHOWN = 4
#: Share of the terminal's height that the floor may take.
FLOOR_SHARE = 0.4


class DemoView:
    """Makes a renderable of a demo's state; ``headline`` stands above it."""

    def __init__(self, state: DemoState, headline: str, columns: int, rows: int) -> None:
        self._state = state
        self._headline = headline
        self._sketch = FloorSketch(state.store, max(40, columns - 4), max(8, round(rows * FLOOR_SHARE)))
        self._people: dict[str, int] = {}

    def render(self) -> RenderableType:
        state = self._state
        for track in state.tracks:
            self._people.setdefault(track.track, len(self._people))
        since_ns = (state.now_ns or 0) - EVENT_MARKED_S * NANOSECONDS
        recent = [judged.event for judged in state.events if judged.event.end_ns >= since_ns]
        floor = Panel(self._sketch.draw(state.tracks, recent, self._people), title=self._title(), title_align="left", border_style="grey50")
        lower = Table.grid(expand=True, padding=(0, 1))
        lower.add_column(ratio=1)
        lower.add_column(ratio=1)
        lower.add_row(self._carts(), self._receipts())
        return Group(Text(self._headline, style="grey70"), floor, self._events(), lower)

    def _title(self) -> str:
        number = self._state.session_number
        if number < 0:
            return "waiting for the first shopper"
        return f"re-enacted session {number + 1} of {len(self._state.sessions)}: {self._state.sessions[number].session}"

    def _events(self) -> RenderableType:
        table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
        table.add_column("shelf event", no_wrap=True)
        table.add_column("change", no_wrap=True, justify="right", min_width=7)
        table.add_column("who, what", no_wrap=True, ratio=1)
        table.add_column("", no_wrap=True, justify="right", min_width=5)
        for judged in list(self._state.events)[-EVENTS_SHOWN:]:
            event, evidence = judged.event, judged.evidence
            plates = event.plates[0] if len(event.plates) == 1 else f"{event.plates[0]}..{event.plates[-1]}"
            where = f"gondola {event.gondola} shelf {event.shelf} plate {plates}"
            verdict = f"{judged.shopper}: {evidence.quantity:+d} {self._state.product_name(judged.product)}" if evidence else "in no cart"
            table.add_row(where, f"{event.change.sum() * 1000:+.0f} g", verdict, f"{evidence.probability:.0%}" if evidence else "")
        return table

    def _carts(self) -> RenderableType:
        table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
        table.add_column("in the cart")
        table.add_column("", justify="right")
        for cart in self._state.carts.values():
            style = PEOPLE_STYLES[self._people[cart.track] % len(PEOPLE_STYLES)] if cart.track in self._people else "bold"
            table.add_row(Text(f" {cart.shopper or 'not identified'} ", style=style), "")
            for line in cart.lines:
                table.add_row(f"{line.quantity} x {self._state.product_name(line.product)}", f"{line.probability:.0%}")
        return table

    def _receipts(self) -> RenderableType:
        table = Table(box=None, expand=True, padding=(0, 1), header_style="bold")
        table.add_column(f"receipts ({len(self._state.receipts)} of {self._state.shoppers_expected})")
        table.add_column("", justify="right")
        for receipt in self._state.receipts[-RECEIPTS_SHOWN:]:
            held = receipt.status == ReceiptStatus.REVIEW
            name = Text(receipt.shopper or receipt.session, style="bold yellow" if held else "bold green")
            name.append("  held for review" if held else "", style="yellow")
            table.add_row(name, Text(f"{receipt.total} {receipt.currency}", style="bold"))
            for line in receipt.lines:
                table.add_row(f"{line.quantity} x {line.name}", line.total)
        return table


def comparison(scores: list[SessionScore]) -> Table:
    """Receipts against the labels, a row per session."""
    table = Table(title="re-enacted sessions: receipts against labels", title_justify="left")
    for column in ("session", "items bought", "charged", "right", "receipts", "exactly right"):
        table.add_column(column, justify="left" if column == "session" else "right")
    for score in scores:
        counts = (score.items.expected, score.items.found, score.items.right, score.issued_receipts)
        table.add_row(score.session, *map(str, counts), f"{score.right_receipts} of {score.receipts}")
    return table
