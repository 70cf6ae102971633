"""What the demo knows: records of the running graph against the labelled sessions that are re-enacted. No ROS, no terminal."""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aisle_bags.scoring import SessionScore, score_session
from aisle_contract.records import (
    NANOSECONDS,
    Alert,
    AlertLevel,
    Cart,
    CartStatus,
    Evidence,
    GateEvent,
    GateEventKind,
    Receipt,
    ReceiptStatus,
    Record,
    Review,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)
from aisle_sim.labelled_sessions import LabelledSession, true_items
from aisle_store.store import Store

#: Shelf events that are kept for showing.
EVENTS_SHOWN = 8
#: A receipt that has not come this long after the last shopper left will not come.
RECEIPT_DUE_S = 60


@dataclass
class JudgedEvent:
    """A shelf event and what cart fusion made of it so far: who took which product (None: not judged, or not believed any more)."""

    event: ShelfEvent
    shopper: str = ""
    product: str = ""
    evidence: Evidence | None = None


class DemoState:
    """Follows the graph. ``step`` takes a record and yields lines that tell what has changed, for terminals without a picture."""

    def __init__(self, store: Store, sessions: Sequence[LabelledSession], seed: int) -> None:
        self.store = store
        self.sessions = list(sessions)
        self.now_ns: int | None = None
        self.tracks: tuple[Track, ...] = ()
        self.carts: dict[str, Cart] = {}
        self.events: deque[JudgedEvent] = deque(maxlen=EVENTS_SHOWN)
        self.receipts: list[Receipt] = []
        self.reviews: dict[str, Review] = {}
        self.alerts: deque[Alert] = deque(maxlen=EVENTS_SHOWN)
        self._seed = seed
        self._entries_ns: list[int] = []
        self._exits = 0
        self._last_exit_ns = 0

    @property
    def shoppers_expected(self) -> int:
        """Visits in all sessions: as many receipts should come."""
        return sum(len(session.persons) for session in self.sessions)

    @property
    def session_number(self) -> int:
        """Index of the session that is under way (by who has come in so far); -1 before the first."""
        starts = self._first_entries()
        return bisect.bisect_right(starts, len(self._entries_ns) - 1) - 1

    @property
    def finished(self) -> bool:
        """Everybody has come and gone, and as many receipts are there."""
        expected = self.shoppers_expected
        return len(self._entries_ns) >= expected and self._exits >= expected and len(self.receipts) >= expected

    @property
    def overdue(self) -> bool:
        """Everybody has left long ago by the graph's own time, and still a receipt is missing."""
        all_left = self._exits >= self.shoppers_expected
        return all_left and not self.finished and self.now_ns > self._last_exit_ns + RECEIPT_DUE_S * NANOSECONDS

    def step(self, record: Record) -> Iterator[str]:
        self.now_ns = max(record.stamp_ns, self.now_ns or record.stamp_ns)
        if isinstance(record, Tracks):
            self.tracks = record.tracks
        elif isinstance(record, GateEvent):
            yield from self._gate(record)
        elif isinstance(record, ShelfEvents):
            self.events.extend(JudgedEvent(e) for e in record.events if e.status == ShelfEventStatus.FINAL)
        elif isinstance(record, Cart):
            yield from self._cart(record)
        elif isinstance(record, Receipt):
            yield from self._receipt(record)
        elif isinstance(record, Review):
            self.reviews[record.session] = record
            yield f"review   {record.shopper or record.session}: {'; '.join(record.reasons)}"
        elif isinstance(record, Alert) and record.level >= AlertLevel.WARN:
            self.alerts.append(record)
            yield f"alert    {record.source}: {record.text}"

    def scores(self) -> list[SessionScore]:
        """The receipts so far against the labels, session by session; a receipt belongs to the session in which the visitor left."""
        starts_ns = [self._entries_ns[i] for i in self._first_entries() if i < len(self._entries_ns)]
        receipts: list[list[Receipt]] = [[] for _ in self.sessions]
        for receipt in self.receipts:
            receipts[max(0, bisect.bisect_right(starts_ns, receipt.stamp_ns) - 1)].append(receipt)
        return [
            score_session(session.session, self._seed, true_items(session), found)
            for session, found in zip(self.sessions, receipts, strict=True)
        ]

    def product_name(self, product: str) -> str:
        return self.store.products[product].name if product in self.store.products else product

    def _first_entries(self) -> list[int]:
        """For each session, how many people come in before it."""
        counts = [0]
        for session in self.sessions[:-1]:
            counts.append(counts[-1] + len(session.persons))
        return counts

    def _gate(self, event: GateEvent) -> Iterator[str]:
        if event.kind == GateEventKind.ENTRY:
            self._entries_ns.append(event.stamp_ns)
            if len(self._entries_ns) - 1 in self._first_entries():
                number = self.session_number
                yield f"session  {number + 1} of {len(self.sessions)}: {self.sessions[number].session}"
            yield f"entry    {event.shopper or 'somebody'} at gate {event.gate}"
        elif event.kind == GateEventKind.EXIT:
            self._exits += 1
            self._last_exit_ns = event.stamp_ns
            yield f"exit     at gate {event.gate}"

    def _cart(self, cart: Cart) -> Iterator[str]:
        before = self.carts.get(cart.session)
        if cart.status == CartStatus.CLOSED:
            self.carts.pop(cart.session, None)
        else:
            self.carts[cart.session] = cart
        self._judge(cart)
        contents = [(line.product, line.quantity) for line in cart.lines]
        if before is not None and contents != [(line.product, line.quantity) for line in before.lines]:
            items = ", ".join(f"{line.quantity} x {self.product_name(line.product)} ({line.probability:.0%})" for line in cart.lines)
            yield f"cart     {cart.shopper or cart.session}: {items or 'empty'}"

    def _judge(self, cart: Cart) -> None:
        known = {judged.event.event: judged for judged in self.events}
        for line in cart.lines:
            for evidence in line.evidence:
                if evidence.event in known:
                    judged = known[evidence.event]
                    judged.shopper, judged.product, judged.evidence = cart.shopper, line.product, evidence

    def _receipt(self, receipt: Receipt) -> Iterator[str]:
        self.receipts.append(receipt)
        status = "charged" if receipt.status == ReceiptStatus.CHARGED else "held for review"
        yield f"receipt  {receipt.shopper or receipt.session}: {receipt.total} {receipt.currency}, {status}"
        for line in receipt.lines:
            yield f"           {line.quantity} x {line.name}  {line.total}  ({line.probability:.0%})"
