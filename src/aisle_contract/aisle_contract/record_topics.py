"""Which topic a record belongs on: the one place where a record's ids become a topic's name."""

from __future__ import annotations

from collections.abc import Callable

from aisle_contract import topics
from aisle_contract.records import (
    Alert,
    Cart,
    GateEvent,
    ItemObservation,
    PersonDetections,
    Receipt,
    Record,
    Review,
    ScaleReading,
    ShelfEvents,
    Tracks,
)

_TOPIC_OF: dict[type, Callable[[Record], topics.Topic]] = {
    PersonDetections: lambda record: topics.detections(record.camera),
    ScaleReading: lambda record: topics.weights(record.gondola, record.shelf),
    GateEvent: lambda record: topics.gate_events(record.gate),
    ItemObservation: lambda record: topics.ITEM_OBSERVATIONS,
    Tracks: lambda record: topics.TRACKS,
    ShelfEvents: lambda record: topics.SHELF_EVENTS,
    Cart: lambda record: topics.CARTS,
    Receipt: lambda record: topics.RECEIPTS,
    Review: lambda record: topics.REVIEWS,
    Alert: lambda record: topics.ALERTS,
}

#: Records that sensors give; everything else is computed from them.
INPUT_RECORDS = (PersonDetections, ScaleReading, GateEvent, ItemObservation)


def topic_of(record: Record) -> topics.Topic:
    """The topic that the live graph carries this record on. KeyError for what is not a record."""
    return _TOPIC_OF[type(record)](record)
