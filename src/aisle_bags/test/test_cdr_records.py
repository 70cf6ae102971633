"""The fast decoders against the general one (rosbags with the bag's definitions): the same records bit for bit, or none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from aisle_bags.cdr_records import fast_decoder
from aisle_bags.message_definitions import message_definition
from aisle_contract.conversions import MESSAGE_TYPES, from_message, serialised, to_message
from aisle_contract.records import GateEvent, GateEventKind, PersonDetections, Record, ScaleReading

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

SCALES, DETECTIONS, GATES = (MESSAGE_TYPES[kind] for kind in (ScaleReading, PersonDetections, GateEvent))


def typestore(**changed: str) -> Any:
    """Types as a bag defines them; ``changed``: old -> new text of the definitions."""
    store = get_typestore(Stores.EMPTY)
    for name in (SCALES, DETECTIONS, GATES):
        text = message_definition(name)
        for old, new in changed.items():
            text = text.replace(f" {old} ", f" {new} ")
        types = get_types_from_msg(text, name)
        store.register({key: fields for key, fields in types.items() if key not in store.fielddefs})
    return store


TYPES = typestore()
stamps = st.integers(0, 2**31 * 10**9 - 1)
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)


@st.composite
def readings(draw: st.DrawFn) -> ScaleReading:
    """Of few shelves with few plates, so that what a decoder has learnt is used, and has to be learnt anew."""
    plates = draw(st.sampled_from([("1",), ("1", "2"), ("10", "é", "3")]))
    grid = draw(st.lists(st.floats(width=32), max_size=4 * len(plates)).filter(lambda values: len(values) % len(plates) == 0))
    weights = np.array(grid, np.float32).reshape(-1, len(plates))
    return ScaleReading(draw(stamps), draw(ids), "7", draw(st.sampled_from([1, 16_666_667, 5 * 10**9])), plates, weights)


@st.composite
def detections(draw: st.DrawFn) -> PersonDetections:
    count, length = draw(st.integers(0, 3)), draw(st.sampled_from([0, 1, 8]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    keypoints = random.normal(size=(count, 17, 3)).astype(np.float32) if count and draw(st.booleans()) else None
    embeddings = random.normal(size=(count, length)).astype(np.float32) if count and length else None
    boxes, scores = random.normal(size=(count, 4)).astype(np.float32), random.random(count).astype(np.float32)
    return PersonDetections(draw(stamps), draw(ids), 640, draw(st.sampled_from([360, 480])), boxes, scores, keypoints, embeddings)


@st.composite
def gate_events(draw: st.DrawFn) -> GateEvent:
    texts = (draw(st.sampled_from(["", "alice", "é"])) for _ in range(3))
    return GateEvent(draw(stamps), draw(ids), draw(st.sampled_from(GateEventKind)), *texts)


def assert_same(found: Any, expected: Any) -> None:
    for field in dataclasses.fields(expected):
        mine, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(mine) is type(other), field.name
        if isinstance(other, np.ndarray):
            assert (mine.dtype, mine.shape, mine.tobytes()) == (other.dtype, other.shape, other.tobytes()), field.name
            assert mine.flags.c_contiguous
            assert mine.flags.writeable or not mine.size
        else:
            assert mine == other, field.name


@pytest.mark.parametrize(("kind", "made"), [(SCALES, readings()), (DETECTIONS, detections()), (GATES, gate_events())])
@settings(deadline=None)  # The first call imports message classes.
@given(data=st.data())
def test_records_are_those_of_the_general_decoder(kind: str, made: st.SearchStrategy[Record], data: st.DataObject) -> None:
    decode = fast_decoder(kind, TYPES.fielddefs)
    for record in data.draw(st.lists(made, min_size=1, max_size=6)):
        message = serialised(to_message(record))
        assert_same(decode(message), from_message(TYPES.deserialize_cdr(message, kind)))


def test_gate_events_of_an_unknown_kind_or_with_something_behind_them_are_left_to_the_general_decoder() -> None:
    message = to_message(GateEvent(5, "door", GateEventKind.STATUS))
    decode = fast_decoder(GATES, TYPES.fielddefs)
    assert_same(decode(serialised(message) + b"\0"), GateEvent(5, "door", GateEventKind.STATUS))
    assert decode(serialised(message) + bytes(4)) is None
    message.kind = 9
    assert decode(serialised(message)) is None


def reading() -> ScaleReading:
    return ScaleReading(5, "1", "2", 10, ("1", "2"), np.ones((3, 2), np.float32))


def test_bytes_between_fields_do_not_matter() -> None:
    decode = fast_decoder(SCALES, TYPES.fielddefs)
    data = bytearray(serialised(to_message(reading())))
    assert_same(decode(bytes(data)), reading())
    padding = data.index(b"gondola_1_shelf_2\0") + 18
    assert padding % 4
    data[padding] ^= 0xFF
    assert_same(decode(bytes(data)), reading())


@pytest.mark.parametrize("length", [0, 3, 11, 40, 100])
def test_what_is_cut_off_is_left_to_the_general_decoder(length: int) -> None:
    data = serialised(to_message(reading()))
    decode = fast_decoder(SCALES, TYPES.fielddefs)
    assert decode(data[:length]) is None
    assert_same(decode(data), reading())
    assert decode(data[:length]) is None


def test_other_encodings_are_left_to_the_general_decoder() -> None:
    data = TYPES.serialize_cdr(TYPES.deserialize_cdr(serialised(to_message(reading())), SCALES), SCALES, little_endian=False)
    assert fast_decoder(SCALES, TYPES.fielddefs)(bytes(data)) is None


def test_persons_who_differ_in_what_they_have_are_left_to_the_general_decoder() -> None:
    record = PersonDetections(5, "1", 640, 360, np.ones((2, 4), np.float32), np.ones(2, np.float32), np.ones((2, 17, 3), np.float32))
    message = to_message(record)
    decode = fast_decoder(DETECTIONS, TYPES.fielddefs)
    assert_same(decode(serialised(message)), record)
    message.detections[1].keypoints = []
    assert decode(serialised(message)) is None
    # One float fewer here, one more there: as long as before.
    message.detections[0].keypoints, message.detections[1].keypoints = [1.0] * 52, [1.0] * 50
    assert decode(serialised(message)) is None


def test_rows_that_are_not_whole_are_left_to_the_general_decoder() -> None:
    message = to_message(reading())
    message.weights = [1.0] * 5
    assert fast_decoder(SCALES, TYPES.fielddefs)(serialised(message)) is None


def test_a_bag_with_other_definitions_has_no_fast_decoder() -> None:
    assert fast_decoder(SCALES, typestore(sample_period="period").fielddefs) is None
    assert fast_decoder(DETECTIONS, typestore(score="certainty").fielddefs) is None
    assert fast_decoder(GATES, typestore(gate="door").fielddefs) is None
    assert fast_decoder("aisle_msgs/msg/ItemObservation", TYPES.fielddefs) is None
