"""Records to ROS messages and back. The only module of the contract that knows ``aisle_msgs``.

``to_message(record)`` builds a message for rclpy; ``from_message(message)`` reads any object with the message's attributes, so it also
takes what rosbags or mcap decode. A round trip keeps every time to the nanosecond and every number bit for bit. Two things a message
cannot say: an empty ``PersonDetections`` comes back without keypoints and embeddings, and times are ROS times (int32 seconds).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from aisle_contract import frames
from aisle_contract.records import (
    COCO_KEYPOINTS,
    NANOSECONDS,
    Alert,
    AlertLevel,
    BodyPoint,
    Cart,
    CartLine,
    CartStatus,
    Evidence,
    GateEvent,
    GateEventKind,
    ItemObservation,
    PersonDetections,
    Receipt,
    ReceiptLine,
    ReceiptStatus,
    Record,
    Review,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    Track,
    Tracks,
)


def to_message(record: Record) -> Any:
    """The ``aisle_msgs`` message of a record. Raises TypeError for anything else, OverflowError for a time outside int32 seconds."""
    try:
        convert = _TO_MESSAGE[type(record)]
    except KeyError:
        raise TypeError(f"{type(record).__name__} is not a record, expected one of {', '.join(sorted(MESSAGE_TYPES.values()))}") from None
    return convert(record)


def from_message(message: Any) -> Record:
    """The record of an ``aisle_msgs`` message, whichever library decoded it.

    Raises TypeError for a message type without a record, ValueError where sizes or constants do not fit together.
    """
    # rosbags names its classes aisle_msgs__msg__TrackArray; rclpy and mcap_ros2 name them TrackArray.
    name = type(message).__name__.rpartition("__")[2]
    try:
        convert = _FROM_MESSAGE[name]
    except KeyError:
        raise TypeError(f"no record for messages of type '{name}', expected one of {', '.join(sorted(_FROM_MESSAGE))}") from None
    return convert(message)


def image_message(pixels: np.ndarray, encoding: str, header: Any) -> Any:
    """A ``sensor_msgs/Image`` of ``pixels``, [height, width] or [height, width, channels]. Raises ImageError as ``images.image_fields``."""
    from sensor_msgs.msg import Image

    # OpenCV comes with it, which most conversions do without.
    from aisle_contract.images import image_fields

    return Image(header=header, **image_fields(pixels, encoding))


def serialised(message: Any) -> bytes:
    """CDR bytes of a ROS message."""
    from rclpy.serialization import serialize_message

    return serialize_message(message)


def time_message(stamp_ns: int) -> Any:
    """builtin_interfaces/Time of nanoseconds since the epoch."""
    second, nanosecond = divmod(stamp_ns, NANOSECONDS)
    return _classes().Time(sec=_int32_seconds(second, stamp_ns), nanosec=nanosecond)


def time_ns(time: Any) -> int:
    """Nanoseconds of a builtin_interfaces Time or Duration."""
    return int(time.sec) * NANOSECONDS + int(time.nanosec)


def header_message(stamp_ns: int, frame: str) -> Any:
    """std_msgs/Header."""
    return _classes().Header(stamp=time_message(stamp_ns), frame_id=frame)


@cache
def _classes() -> SimpleNamespace:
    """All message classes in one namespace, imported at the first use: cores and command-line help must not pay for them."""
    from builtin_interfaces.msg import Duration, Time
    from geometry_msgs.msg import Point, Vector3
    from std_msgs.msg import Header

    import aisle_msgs.msg

    ours = {name: value for name, value in vars(aisle_msgs.msg).items() if isinstance(value, type)}
    return SimpleNamespace(**ours, Duration=Duration, Time=Time, Point=Point, Vector3=Vector3, Header=Header)


def _int32_seconds(second: int, stamp_ns: int) -> int:
    if not -(2**31) <= second < 2**31:
        raise OverflowError(f"time {stamp_ns} ns does not fit a ROS time (int32 seconds)")
    return second


def _sequence(values: np.ndarray, dtype: type, typecode: str) -> array:
    """An array.array, which rclpy takes without looking at each element."""
    result = array(typecode)
    result.frombytes(np.ascontiguousarray(values, dtype=dtype).tobytes())
    return result


def _floats(values: np.ndarray) -> array:
    return _sequence(values, np.float32, "f")


def _doubles(values: np.ndarray) -> array:
    return _sequence(values, np.float64, "d")


def _matrix(values: np.ndarray) -> np.ndarray:
    """A covariance as rclpy wants fixed-size arrays: flat float64."""
    return np.ascontiguousarray(values, dtype=np.float64).reshape(-1)


def _point(values: Sequence[float]) -> Any:
    x, y, z = map(float, values)
    return _classes().Point(x=x, y=y, z=z)


def _strings(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _xyz(point: Any) -> np.ndarray:
    return np.array([point.x, point.y, point.z], dtype=np.float64)


def _copied(values: Any, dtype: type) -> np.ndarray:
    """A NumPy array that does not share the message's memory; array.array and NumPy input are read through the buffer protocol."""
    return np.array(values, dtype=dtype)


# --- persons ---


def _detections_to_message(record: PersonDetections) -> Any:
    m = _classes()
    boxes = np.asarray(record.boxes, dtype=np.float32).tolist()
    scores = np.asarray(record.scores, dtype=np.float32).tolist()
    detections = []
    for i, ((x_min, y_min, x_max, y_max), score) in enumerate(zip(boxes, scores, strict=True)):
        detection = m.PersonDetection(x_min=x_min, y_min=y_min, x_max=x_max, y_max=y_max, score=score)
        if record.keypoints is not None:
            detection.keypoints = _floats(record.keypoints[i])
        if record.embeddings is not None:
            detection.embedding = _floats(record.embeddings[i])
        detections.append(detection)
    return m.PersonDetectionArray(
        header=header_message(record.stamp_ns, frames.camera_optical(record.camera)),
        camera=record.camera,
        image_width=record.image_width,
        image_height=record.image_height,
        detections=detections,
    )


def _detections_from_message(message: Any) -> PersonDetections:
    found = message.detections
    boxes = np.array([(d.x_min, d.y_min, d.x_max, d.y_max) for d in found], dtype=np.float32).reshape(-1, 4)
    keypoints = _rows([d.keypoints for d in found], "keypoints", message.camera, 3 * len(COCO_KEYPOINTS))
    return PersonDetections(
        stamp_ns=time_ns(message.header.stamp),
        camera=str(message.camera),
        image_width=int(message.image_width),
        image_height=int(message.image_height),
        boxes=boxes,
        scores=np.array([d.score for d in found], dtype=np.float32),
        keypoints=None if keypoints is None else keypoints.reshape(-1, len(COCO_KEYPOINTS), 3),
        embeddings=_rows([d.embedding for d in found], "embedding", message.camera, None),
    )


def _rows(sequences: list[Any], what: str, camera: str, size: int | None) -> np.ndarray | None:
    """float32 [N, size] of one sequence per person, zeros for a person who has none; None if nobody has one."""
    size = size or max((len(s) for s in sequences), default=0)
    if not any(len(s) for s in sequences):
        return None
    rows = np.zeros((len(sequences), size), dtype=np.float32)
    for row, sequence in zip(rows, sequences, strict=True):
        if len(sequence) not in (0, size):
            raise ValueError(f"detections of camera '{camera}': {what} has {len(sequence)} numbers, expected {size} or none")
        if len(sequence):
            row[:] = np.asarray(sequence, dtype=np.float32)
    return rows


def _body_point_to_message(point: BodyPoint | None) -> Any:
    m = _classes()
    if point is None:
        return m.BodyPoint()
    return m.BodyPoint(valid=True, position=_point(point.position), covariance=_matrix(point.covariance))


def _body_point_from_message(message: Any) -> BodyPoint | None:
    if not message.valid:
        return None
    return BodyPoint(_xyz(message.position), _copied(message.covariance, np.float64).reshape(3, 3))


def _track_to_message(track: Track) -> Any:
    m = _classes()
    vx, vy = map(float, track.velocity)
    return m.Track(
        track=track.track,
        position=_point((*track.position, 0.0)),
        velocity=m.Vector3(x=vx, y=vy, z=0.0),
        covariance=_matrix(track.covariance),
        existence=float(track.existence),
        unseen=float(track.unseen_s),
        head=_body_point_to_message(track.head),
        left_wrist=_body_point_to_message(track.left_wrist),
        right_wrist=_body_point_to_message(track.right_wrist),
    )


def _track_from_message(message: Any) -> Track:
    return Track(
        track=str(message.track),
        position=_xyz(message.position)[:2],
        velocity=_xyz(message.velocity)[:2],
        covariance=_copied(message.covariance, np.float64).reshape(4, 4),
        existence=float(message.existence),
        unseen_s=float(message.unseen),
        head=_body_point_from_message(message.head),
        left_wrist=_body_point_from_message(message.left_wrist),
        right_wrist=_body_point_from_message(message.right_wrist),
    )


def _tracks_to_message(record: Tracks) -> Any:
    tracks = [_track_to_message(track) for track in record.tracks]
    return _classes().TrackArray(header=header_message(record.stamp_ns, frames.STORE), tracks=tracks)


def _tracks_from_message(message: Any) -> Tracks:
    return Tracks(time_ns(message.header.stamp), tuple(_track_from_message(track) for track in message.tracks))


# --- shelves ---


def _scale_to_message(record: ScaleReading) -> Any:
    m = _classes()
    second, nanosecond = divmod(record.sample_period_ns, NANOSECONDS)
    return m.ScaleReading(
        header=header_message(record.stamp_ns, frames.shelf(record.gondola, record.shelf)),
        gondola=record.gondola,
        shelf=record.shelf,
        sample_period=m.Duration(sec=second, nanosec=nanosecond),
        plates=list(record.plates),
        weights=_floats(record.weights),
    )


def _scale_from_message(message: Any) -> ScaleReading:
    plates = _strings(message.plates)
    weights = _copied(message.weights, np.float32)
    if not plates or weights.size % len(plates):
        where = f"gondola '{message.gondola}' shelf '{message.shelf}'"
        raise ValueError(f"scale reading of {where}: {weights.size} weights for {len(plates)} plates, expected whole rows of plates")
    return ScaleReading(
        stamp_ns=time_ns(message.header.stamp),
        gondola=str(message.gondola),
        shelf=str(message.shelf),
        sample_period_ns=time_ns(message.sample_period),
        plates=plates,
        weights=weights.reshape(-1, len(plates)),
    )


def _shelf_event_to_message(event: ShelfEvent) -> Any:
    return _classes().ShelfEvent(
        event=event.event,
        status=int(event.status),
        gondola=event.gondola,
        shelf=event.shelf,
        start=time_message(event.start_ns),
        end=time_message(event.end_ns),
        plates=list(event.plates),
        change=_doubles(event.change),
        deviation=_doubles(event.deviation),
        changed=[time_message(int(changed_ns)) for changed_ns in event.changed_ns],
    )


def _shelf_event_from_message(message: Any) -> ShelfEvent:
    plates = _strings(message.plates)
    change, deviation = _copied(message.change, np.float64), _copied(message.deviation, np.float64)
    # Recordings from before there was this field have none.
    changed_ns = np.array([time_ns(stamp) for stamp in getattr(message, "changed", ())], dtype=np.int64)
    if not len(plates) == len(change) == len(deviation) or len(changed_ns) not in (0, len(plates)):
        sizes = f"{len(plates)} plates, {len(change)} changes, {len(deviation)} deviations, {len(changed_ns)} times of change"
        raise ValueError(f"shelf event '{message.event}': {sizes}, expected as many of each")
    return ShelfEvent(
        event=str(message.event),
        status=ShelfEventStatus(message.status),
        gondola=str(message.gondola),
        shelf=str(message.shelf),
        start_ns=time_ns(message.start),
        end_ns=time_ns(message.end),
        plates=plates,
        change=change,
        deviation=deviation,
        changed_ns=changed_ns,
    )


def _shelf_events_to_message(record: ShelfEvents) -> Any:
    events = [_shelf_event_to_message(event) for event in record.events]
    return _classes().ShelfEventArray(header=header_message(record.stamp_ns, frames.STORE), events=events)


def _shelf_events_from_message(message: Any) -> ShelfEvents:
    return ShelfEvents(time_ns(message.header.stamp), tuple(_shelf_event_from_message(event) for event in message.events))


def _item_to_message(record: ItemObservation) -> Any:
    return _classes().ItemObservation(
        header=header_message(record.stamp_ns, frames.STORE),
        source=record.source,
        position=_point(record.position),
        position_deviation=float(record.position_deviation),
        products=list(record.products),
        likelihoods=_doubles(record.likelihoods),
    )


def _item_from_message(message: Any) -> ItemObservation:
    products, likelihoods = _strings(message.products), _copied(message.likelihoods, np.float64)
    if len(products) != len(likelihoods):
        raise ValueError(f"item observation of '{message.source}': {len(products)} products, {len(likelihoods)} likelihoods")
    return ItemObservation(
        stamp_ns=time_ns(message.header.stamp),
        source=str(message.source),
        position=_xyz(message.position),
        position_deviation=float(message.position_deviation),
        products=products,
        likelihoods=likelihoods,
    )


# --- visits ---


def _gate_to_message(record: GateEvent) -> Any:
    return _classes().GateEvent(
        header=header_message(record.stamp_ns, frames.gate(record.gate)),
        gate=record.gate,
        kind=int(record.kind),
        credential=record.credential,
        shopper=record.shopper,
        reason=record.reason,
    )


def _gate_from_message(message: Any) -> GateEvent:
    return GateEvent(
        stamp_ns=time_ns(message.header.stamp),
        gate=str(message.gate),
        kind=GateEventKind(message.kind),
        credential=str(message.credential),
        shopper=str(message.shopper),
        reason=str(message.reason),
    )


def _evidence_to_message(evidence: Evidence) -> Any:
    return _classes().Evidence(
        event=evidence.event,
        gondola=evidence.gondola,
        shelf=evidence.shelf,
        plates=list(evidence.plates),
        start=time_message(evidence.start_ns),
        end=time_message(evidence.end_ns),
        change=float(evidence.change),
        deviation=float(evidence.deviation),
        expected=float(evidence.expected),
        quantity=int(evidence.quantity),
        distance=float(evidence.distance),
        probability=float(evidence.probability),
        alternative=evidence.alternative,
        alternative_probability=float(evidence.alternative_probability),
    )


def _evidence_from_message(message: Any) -> Evidence:
    return Evidence(
        event=str(message.event),
        gondola=str(message.gondola),
        shelf=str(message.shelf),
        plates=_strings(message.plates),
        start_ns=time_ns(message.start),
        end_ns=time_ns(message.end),
        change=float(message.change),
        deviation=float(message.deviation),
        expected=float(message.expected),
        quantity=int(message.quantity),
        distance=float(message.distance),
        probability=float(message.probability),
        alternative=str(message.alternative),
        alternative_probability=float(message.alternative_probability),
    )


def _cart_to_message(record: Cart) -> Any:
    m = _classes()
    return m.Cart(
        header=header_message(record.stamp_ns, frames.STORE),
        session=record.session,
        shopper=record.shopper,
        track=record.track,
        status=int(record.status),
        entered=time_message(record.entered_ns),
        left=time_message(record.left_ns),
        lines=[
            m.CartLine(
                product=line.product,
                quantity=int(line.quantity),
                probability=float(line.probability),
                evidence=[_evidence_to_message(e) for e in line.evidence],
            )
            for line in record.lines
        ],
        doubts=list(record.doubts),
    )


def _cart_from_message(message: Any) -> Cart:
    lines = (
        CartLine(str(line.product), int(line.quantity), float(line.probability), tuple(map(_evidence_from_message, line.evidence)))
        for line in message.lines
    )
    return Cart(
        stamp_ns=time_ns(message.header.stamp),
        session=str(message.session),
        shopper=str(message.shopper),
        track=str(message.track),
        status=CartStatus(message.status),
        entered_ns=time_ns(message.entered),
        left_ns=time_ns(message.left),
        lines=tuple(lines),
        doubts=_strings(message.doubts),
    )


def _receipt_to_message(record: Receipt) -> Any:
    m = _classes()
    return m.Receipt(
        header=header_message(record.stamp_ns, frames.STORE),
        session=record.session,
        shopper=record.shopper,
        status=int(record.status),
        currency=record.currency,
        total=record.total,
        lines=[
            m.ReceiptLine(
                product=line.product,
                name=line.name,
                quantity=int(line.quantity),
                unit_price=line.unit_price,
                total=line.total,
                probability=float(line.probability),
                evidence=[_evidence_to_message(e) for e in line.evidence],
            )
            for line in record.lines
        ],
    )


def _receipt_from_message(message: Any) -> Receipt:
    lines = (
        ReceiptLine(
            product=str(line.product),
            name=str(line.name),
            quantity=int(line.quantity),
            unit_price=str(line.unit_price),
            total=str(line.total),
            probability=float(line.probability),
            evidence=tuple(map(_evidence_from_message, line.evidence)),
        )
        for line in message.lines
    )
    return Receipt(
        stamp_ns=time_ns(message.header.stamp),
        session=str(message.session),
        shopper=str(message.shopper),
        status=ReceiptStatus(message.status),
        currency=str(message.currency),
        total=str(message.total),
        lines=tuple(lines),
    )


def _review_to_message(record: Review) -> Any:
    return _classes().Review(
        header=header_message(record.stamp_ns, frames.STORE),
        session=record.session,
        shopper=record.shopper,
        reasons=list(record.reasons),
    )


def _review_from_message(message: Any) -> Review:
    return Review(time_ns(message.header.stamp), str(message.session), str(message.shopper), _strings(message.reasons))


def _alert_to_message(record: Alert) -> Any:
    return _classes().Alert(
        header=header_message(record.stamp_ns, frames.STORE),
        level=int(record.level),
        source=record.source,
        code=record.code,
        text=record.text,
    )


def _alert_from_message(message: Any) -> Alert:
    return Alert(time_ns(message.header.stamp), AlertLevel(message.level), str(message.source), str(message.code), str(message.text))


_CONVERSIONS: tuple[tuple[type, str, Callable[[Any], Any], Callable[[Any], Record]], ...] = (
    (PersonDetections, "PersonDetectionArray", _detections_to_message, _detections_from_message),
    (Tracks, "TrackArray", _tracks_to_message, _tracks_from_message),
    (ScaleReading, "ScaleReading", _scale_to_message, _scale_from_message),
    (ShelfEvents, "ShelfEventArray", _shelf_events_to_message, _shelf_events_from_message),
    (ItemObservation, "ItemObservation", _item_to_message, _item_from_message),
    (GateEvent, "GateEvent", _gate_to_message, _gate_from_message),
    (Cart, "Cart", _cart_to_message, _cart_from_message),
    (Receipt, "Receipt", _receipt_to_message, _receipt_from_message),
    (Review, "Review", _review_to_message, _review_from_message),
    (Alert, "Alert", _alert_to_message, _alert_from_message),
)

#: ROS type name of each record type.
MESSAGE_TYPES: dict[type, str] = {record: f"aisle_msgs/msg/{name}" for record, name, _, _ in _CONVERSIONS}
_TO_MESSAGE = {record: to for record, _, to, _ in _CONVERSIONS}
_FROM_MESSAGE = {name: back for _, name, _, back in _CONVERSIONS}
