"""Records of a bag as tables: one row for each track, sample, detection, line. Columns say their units; times are ns since the epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aisle_contract.records import (
    COCO_KEYPOINTS,
    Alert,
    BodyPoint,
    Cart,
    GateEvent,
    PersonDetections,
    Receipt,
    Record,
    ScaleReading,
    ShelfEvents,
    Tracks,
)

#: What a cell may hold; None where something is not known.
Cell = int | float | str | None


class Column(NamedTuple):
    """``kind``: int, float or str."""

    name: str
    kind: type


class RecordTable(NamedTuple):
    """``rows`` makes the rows of one record of ``record``."""

    name: str
    record: type
    columns: tuple[Column, ...]
    rows: Callable[[Any], Iterator[tuple[Cell, ...]]]


def _columns(names: str, kind: type) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names.split())


def _known(value: float) -> float | None:
    value = float(value)
    return value if value == value else None


_BODY_POINTS = ("head", "left_wrist", "right_wrist")
_NO_POINT: tuple[Cell, ...] = (None, None, None)


def _point(point: BodyPoint | None) -> tuple[Cell, ...]:
    return _NO_POINT if point is None else tuple(float(value) for value in point.position)


def _track_rows(record: Tracks) -> Iterator[tuple[Cell, ...]]:
    for track in record.tracks:
        x, y = map(float, track.position)
        vx, vy = map(float, track.velocity)
        spread = (float(track.covariance[0, 0]), float(track.covariance[0, 1]), float(track.covariance[1, 1]))
        points = (cell for point in (track.head, track.left_wrist, track.right_wrist) for cell in _point(point))
        yield record.stamp_ns, track.track, x, y, vx, vy, *spread, track.existence, track.unseen_s, *points


def _weight_rows(record: ScaleReading) -> Iterator[tuple[Cell, ...]]:
    for sample, weights in enumerate(record.weights):
        stamp_ns = record.stamp_ns + sample * record.sample_period_ns
        for plate, weight in zip(record.plates, weights, strict=True):
            yield stamp_ns, record.gondola, record.shelf, plate, _known(weight)


def _shelf_event_rows(record: ShelfEvents) -> Iterator[tuple[Cell, ...]]:
    for event in record.events:
        what = (event.event, event.status.name.lower(), event.gondola, event.shelf, event.start_ns, event.end_ns)
        changed = event.changed_ns.tolist() or [None] * len(event.plates)
        for plate, change, deviation, changed_ns in zip(event.plates, event.change, event.deviation, changed, strict=True):
            yield record.stamp_ns, *what, plate, _known(change), _known(deviation), changed_ns


def _detection_rows(record: PersonDetections) -> Iterator[tuple[Cell, ...]]:
    for number, (box, score) in enumerate(zip(record.boxes, record.scores, strict=True)):
        keypoints = (None,) * (3 * len(COCO_KEYPOINTS)) if record.keypoints is None else map(float, record.keypoints[number].ravel())
        yield record.stamp_ns, record.camera, number, *map(float, box), float(score), *keypoints


def _gate_event_rows(record: GateEvent) -> Iterator[tuple[Cell, ...]]:
    yield record.stamp_ns, record.gate, record.kind.name.lower(), record.credential, record.shopper, record.reason


def _cart_rows(record: Cart) -> Iterator[tuple[Cell, ...]]:
    left_ns = record.left_ns or None
    whose = (record.stamp_ns, record.session, record.shopper, record.track, record.status.name.lower(), record.entered_ns, left_ns)
    for line in record.lines:
        yield *whose, line.product, line.quantity, _known(line.probability)
    if not record.lines:
        yield *whose, None, None, None


def _receipt_rows(record: Receipt) -> Iterator[tuple[Cell, ...]]:
    whose = (record.stamp_ns, record.session, record.shopper, record.status.name.lower(), record.currency, record.total)
    for line in record.lines:
        yield *whose, line.product, line.name, line.quantity, line.unit_price, line.total, _known(line.probability)
    if not record.lines:
        yield *whose, None, None, None, None, None, None


def _alert_rows(record: Alert) -> Iterator[tuple[Cell, ...]]:
    yield record.stamp_ns, record.level.name.lower(), record.source, record.code, record.text


_STAMP = _columns("stamp_ns", int)

TABLES: dict[str, RecordTable] = {
    table.name: table
    for table in (
        RecordTable(
            "tracks",
            Tracks,
            (
                *_STAMP,
                *_columns("track", str),
                *_columns("x_m y_m vx_m_per_s vy_m_per_s x_variance_m2 xy_covariance_m2 y_variance_m2 existence unseen_s", float),
                *(Column(f"{point}_{axis}_m", float) for point in _BODY_POINTS for axis in "xyz"),
            ),
            _track_rows,
        ),
        RecordTable("weights", ScaleReading, (*_STAMP, *_columns("gondola shelf plate", str), *_columns("weight_kg", float)), _weight_rows),
        RecordTable(
            "shelf_events",
            ShelfEvents,
            (
                *_STAMP,
                *_columns("event status gondola shelf", str),
                *_columns("start_ns end_ns", int),
                *_columns("plate", str),
                *_columns("change_kg deviation_kg", float),
                *_columns("changed_ns", int),
            ),
            _shelf_event_rows,
        ),
        RecordTable(
            "detections",
            PersonDetections,
            (
                *_STAMP,
                *_columns("camera", str),
                *_columns("number", int),
                *_columns("x_min_px y_min_px x_max_px y_max_px score", float),
                *(Column(f"{point}_{part}", float) for point in COCO_KEYPOINTS for part in ("x_px", "y_px", "confidence")),
            ),
            _detection_rows,
        ),
        RecordTable("gate_events", GateEvent, (*_STAMP, *_columns("gate kind credential shopper reason", str)), _gate_event_rows),
        RecordTable(
            "carts",
            Cart,
            (
                *_STAMP,
                *_columns("session shopper track status", str),
                *_columns("entered_ns left_ns", int),
                *_columns("product", str),
                *_columns("quantity", int),
                *_columns("probability", float),
            ),
            _cart_rows,
        ),
        RecordTable(
            "receipts",
            Receipt,
            (
                *_STAMP,
                *_columns("session shopper status currency receipt_total product name", str),
                *_columns("quantity", int),
                *_columns("unit_price line_total", str),
                *_columns("probability", float),
            ),
            _receipt_rows,
        ),
        RecordTable("alerts", Alert, (*_STAMP, *_columns("level source code text", str)), _alert_rows),
    )
}


def table_of(record: Record) -> RecordTable | None:
    """The table that a record's rows belong to."""
    return _BY_RECORD.get(type(record))


_BY_RECORD = {table.record: table for table in TABLES.values()}
