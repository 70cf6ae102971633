"""Round trips of every record through its ROS message, also serialised: nothing that a decision depends on may change."""

from __future__ import annotations

import dataclasses
from enum import Enum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message

from aisle_contract import records as r
from aisle_contract.conversions import MESSAGE_TYPES, from_message, to_message

stamps = st.integers(0, 2**31 * r.NANOSECONDS - 1)
ids = st.text("abcXYZ_019", min_size=1, max_size=6)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
doubles = st.floats(allow_nan=True)
some_ids = st.lists(ids, min_size=1, max_size=4, unique=True).map(tuple)


def float32(*shape: int):
    return arrays(np.float32, shape, elements=st.floats(width=32))


def float64(*shape: int):
    return arrays(np.float64, shape, elements=doubles)


@st.composite
def person_detections(draw):
    n = draw(st.integers(0, 3))
    keypoints = draw(st.none() | float32(n, 17, 3)) if n else None
    embeddings = draw(st.none() | float32(n, 8)) if n else None
    size = st.integers(0, 2**32 - 1)
    return r.PersonDetections(draw(stamps), draw(ids), draw(size), draw(size), draw(float32(n, 4)), draw(float32(n)), keypoints, embeddings)


body_points = st.none() | st.builds(r.BodyPoint, float64(3), float64(3, 3))
tracks = st.builds(r.Track, ids, float64(2), float64(2), float64(4, 4), doubles, doubles, body_points, body_points, body_points)


@st.composite
def scale_readings(draw):
    plates = draw(some_ids)
    weights = draw(float32(draw(st.integers(0, 12)), len(plates)))
    return r.ScaleReading(draw(stamps), draw(ids), draw(ids), draw(st.integers(1, 10**10)), plates, weights)


@st.composite
def shelf_events(draw):
    plates = draw(some_ids)
    n = len(plates)
    status = draw(st.sampled_from(r.ShelfEventStatus))
    changed_ns = np.array(draw(st.lists(stamps, min_size=n, max_size=n) | st.just([])), dtype=np.int64)
    measured = draw(float64(n)), draw(float64(n)), changed_ns
    return r.ShelfEvent(draw(ids), status, draw(ids), draw(ids), draw(stamps), draw(stamps), plates, *measured)


@st.composite
def item_observations(draw):
    products = draw(some_ids)
    return r.ItemObservation(draw(stamps), draw(ids), draw(float64(3)), draw(doubles), products, draw(float64(len(products))))


quantities = st.integers(-(2**31), 2**31 - 1)
evidence = st.builds(
    r.Evidence, ids, ids, ids, some_ids, stamps, stamps, doubles, doubles, doubles, quantities, doubles, doubles, texts, doubles
)
evidences = st.lists(evidence, max_size=2).map(tuple)
cart_lines = st.builds(r.CartLine, ids, quantities, doubles, evidences)
receipt_lines = st.builds(r.ReceiptLine, ids, texts, quantities, texts, texts, doubles, evidences)
all_records = st.one_of(
    person_detections(),
    st.builds(r.Tracks, stamps, st.lists(tracks, max_size=3).map(tuple)),
    scale_readings(),
    st.builds(r.ShelfEvents, stamps, st.lists(shelf_events(), max_size=3).map(tuple)),
    item_observations(),
    st.builds(r.GateEvent, stamps, ids, st.sampled_from(r.GateEventKind), texts, texts, texts),
    st.builds(
        r.Cart,
        stamps,
        ids,
        texts,
        texts,
        st.sampled_from(r.CartStatus),
        stamps,
        stamps,
        st.lists(cart_lines, max_size=2).map(tuple),
        st.lists(texts, max_size=2).map(tuple),
    ),
    st.builds(r.Receipt, stamps, ids, texts, st.sampled_from(r.ReceiptStatus), ids, texts, st.lists(receipt_lines, max_size=2).map(tuple)),
    st.builds(r.Review, stamps, ids, texts, st.lists(texts, max_size=3).map(tuple)),
    st.builds(r.Alert, stamps, st.sampled_from(r.AlertLevel), texts, texts, texts),
)


def bits(value: object) -> object:
    """A value that is equal only if type, shape and every bit are: NaN payloads, signed zeros, enum classes."""
    if dataclasses.is_dataclass(value):
        return (type(value), [bits(getattr(value, f.name)) for f in dataclasses.fields(value)])
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, tuple):
        return [bits(v) for v in value]
    if isinstance(value, float):
        return (float, np.float64(value).tobytes())
    if isinstance(value, Enum):
        return value
    return (type(value), value)


@settings(max_examples=300, deadline=None)
@given(all_records)
def test_round_trip_through_the_wire_changes_no_bit(record):
    message = to_message(record)
    received = deserialize_message(serialize_message(message), type(message))
    assert bits(from_message(received)) == bits(record)


@settings(max_examples=50, deadline=None)
@given(all_records)
def test_every_record_has_the_message_type_it_says(record):
    message = to_message(record)
    assert MESSAGE_TYPES[type(record)] == f"aisle_msgs/msg/{type(message).__name__}"


def test_foreign_decoders_are_read_by_attributes_alone():
    """rosbags' classes hold NumPy arrays and are named package__msg__Type."""

    def foreign(name, **fields):
        return type(name, (), fields)()

    time = foreign("builtin_interfaces__msg__Time", sec=np.int32(5), nanosec=np.uint32(7))
    message = foreign(
        "aisle_msgs__msg__ScaleReading",
        header=foreign("std_msgs__msg__Header", stamp=time, frame_id="x"),
        gondola="1",
        shelf="2",
        sample_period=foreign("builtin_interfaces__msg__Duration", sec=0, nanosec=16_666_667),
        plates=["1", "2"],
        weights=np.array([1, 2, 3, 4], np.float32),
    )
    record = from_message(message)
    assert (record.stamp_ns, record.sample_period_ns, record.plates) == (5_000_000_007, 16_666_667, ("1", "2"))
    assert record.weights.tolist() == [[1, 2], [3, 4]]
    message.weights[0] = 9
    assert record.weights[0, 0] == 1, "a record must not share memory with the message"


def test_what_does_not_fit_together_is_refused():
    reading = to_message(r.ScaleReading(0, "1", "2", 10, ("1", "2"), np.zeros((2, 2), np.float32)))
    reading.plates = ["1", "2", "3"]
    with pytest.raises(ValueError, match="4 weights for 3 plates"):
        from_message(reading)
    gate = to_message(r.GateEvent(0, "entrance", r.GateEventKind.ENTRY))
    gate.kind = 99
    with pytest.raises(ValueError, match="99"):
        from_message(gate)
    boxes = np.zeros((1, 4), np.float32)
    persons = to_message(r.PersonDetections(0, "7", 1, 1, boxes, boxes[:, 0], np.zeros((1, 17, 3), np.float32)))
    persons.detections[0].keypoints = [1.0, 2.0]
    with pytest.raises(ValueError, match=r"camera '7'.*2 numbers, expected 51"):
        from_message(persons)


def test_what_is_no_record_or_no_time_is_refused():
    with pytest.raises(TypeError, match="str is not a record"):
        to_message("a text")
    with pytest.raises(TypeError, match="no record for messages of type 'Time'"):
        from_message(to_message(r.Alert(0, r.AlertLevel.INFO, "", "", "")).header.stamp)
    with pytest.raises(OverflowError, match="int32"):
        to_message(r.Alert(2**31 * r.NANOSECONDS, r.AlertLevel.INFO, "", "", ""))
