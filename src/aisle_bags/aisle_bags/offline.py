"""The graph without ROS: the same cores, called in one thread on the records of a bag in the order of their stamps.

    detections ─► tracker ─ tracks ─────────────┐
    weights ────► shelf monitor ─ shelf events ─┼─► cart fusion ─ carts ─► checkout ─► receipts
    gate events, item observations ─────────────┘

Nothing here reads a clock, starts a thread or depends on how the records were stored, so the same records give the same receipts.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from aisle_bags.core_runs import Closing, Core, closing
from aisle_bags.core_settings import CoreSettings
from aisle_checkout.checkout import Checkout
from aisle_contract.record_topics import INPUT_RECORDS, topic_of
from aisle_contract.records import (
    Alert,
    Cart,
    Diagnostic,
    GateEvent,
    ItemObservation,
    PersonDetections,
    Receipt,
    Record,
    Review,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    StepResult,
    Tracks,
)
from aisle_fusion.cart_fusion import CartFusion
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_perception.tracker import PersonTracker
from aisle_store.store import Store

R = TypeVar("R")


@dataclass(slots=True)
class OfflineResult:
    """What the cores made of a recording. ``records``: all that they published, in that order; ``fed``: records taken, by type name."""

    records: list[Record] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    fed: Counter[str] = field(default_factory=Counter)

    def of(self, kind: type[R]) -> list[R]:
        """All published records of one type, in order."""
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def receipts(self) -> list[Receipt]:
        """In the order in which shoppers left."""
        return sorted(self.of(Receipt), key=lambda receipt: (receipt.stamp_ns, receipt.session))

    @property
    def reviews(self) -> list[Review]:
        return self.of(Review)

    @property
    def carts(self) -> list[Cart]:
        return self.of(Cart)

    @property
    def tracks(self) -> list[Tracks]:
        return self.of(Tracks)

    @property
    def events(self) -> list[ShelfEvent]:
        """The settled ones."""
        return [event for settled in self.of(ShelfEvents) for event in settled.final]

    @property
    def alerts(self) -> list[Alert]:
        return self.of(Alert)


def in_event_order(records: Iterable[Record]) -> list[Record]:
    """Sorted by (stamp, topic, sequence); the sequence is the place among the records of the topic, as given."""
    return sorted(records, key=lambda record: (record.stamp_ns, topic_of(record).name))


class OfflineRunner:
    """Runs the chain for one recording; used once.

    ``inputs``: types of the records that are fed; only the cores that they need are made: with ``Tracks`` in place of
    ``PersonDetections`` there is no tracker. ``publish`` is called with each record that a core gives, in that order; without it the
    result collects them. ``elsewhere``: of the inputs, those whose cores run somewhere else and give what they made by ``take``.
    """

    def __init__(
        self,
        store: Store,
        settings: CoreSettings,
        inputs: Sequence[type] = INPUT_RECORDS,
        publish: Callable[[Record], None] | None = None,
        elsewhere: Sequence[type] = (),
    ) -> None:
        self._inputs = tuple(inputs)
        here = set(inputs).difference(elsewhere)
        self._tracker: Core | None = PersonTracker(store, settings.tracker) if PersonDetections in here else None
        self._monitor: Core | None = ShelfMonitor(store, settings.shelf_monitor) if ScaleReading in here else None
        self._fusion: Core = CartFusion(store, settings.cart_fusion)
        self._checkout: Core = Checkout(store, settings.checkout)
        self._consumer: dict[type, Core | None] = {
            PersonDetections: self._tracker,
            ScaleReading: self._monitor,
            Tracks: self._fusion,
            ShelfEvents: self._fusion,
            GateEvent: self._fusion,
            ItemObservation: self._fusion,
            Cart: self._checkout,
        }
        self._result = OfflineResult()
        self._show = self._result.records.append if publish is None else publish
        self._last_ns: int | None = None

    def run(self, records: Iterable[Record], taken: Callable[[Record], None] | None = None) -> OfflineResult:
        """The whole recording: ``records`` in any order between topics; within a topic in the order they were sent.

        Records that are none of the inputs are left out. ``taken`` is called after each of the others, for showing progress.
        """
        for record in in_event_order(record for record in records if isinstance(record, self._inputs)):
            self.feed(record)
            if taken is not None:
                taken(record)
        return self.finish()

    def feed(self, record: Record) -> None:
        """Takes the next record. Raises ValueError if it is none of the inputs or older than the one before."""
        if not isinstance(record, self._inputs):
            names = ", ".join(kind.__name__ for kind in self._inputs)
            raise ValueError(f"found {type(record).__name__}, expected one of this run's inputs: {names}")
        if self._last_ns is not None and record.stamp_ns < self._last_ns:
            raise ValueError(f"records must come in the order of their stamps: {record.stamp_ns} after {self._last_ns}")
        self._last_ns = record.stamp_ns
        self._result.fed[type(record).__name__] += 1
        self._deliver(record)

    def take(self, step: StepResult) -> None:
        """Takes what a core elsewhere gave."""
        for record in self._take(step):
            self._publish(record)

    def finish(self, elsewhere: Sequence[Closing] = ()) -> OfflineResult:
        """The recording has ended: what is held back is released, but no time after the last record is made up.

        ``elsewhere``: how cores that ran elsewhere ended, the tracker before the monitor.
        """
        closings = [closing(core) for core in (self._tracker, self._monitor) if core is not None]
        closings += elsewhere
        released = [self._take(part.step) for part in closings]
        # Merged, because one source's whole rest before the other's would look like a loss of the other.
        for record in heapq.merge(*released, key=lambda record: record.stamp_ns):
            self._publish(record)
        for part in closings:
            self._result.diagnostics.extend(part.diagnostics)
            self._result.fed.update(part.fed)
        for core in (self._fusion, self._checkout):
            end = closing(core)
            self.take(end.step)
            self._result.diagnostics.extend(end.diagnostics)
        return self._result

    def _deliver(self, record: Record) -> None:
        consumer = self._consumer.get(type(record))
        if consumer is not None:
            for published in self._take(consumer.step(record)):
                self._publish(published)

    def _take(self, step: StepResult) -> list[Record]:
        self._result.warnings.extend(step.warnings)
        return step.records

    def _publish(self, record: Record) -> None:
        self._show(record)
        self._deliver(record)
