"""Records straight from the serialised form of the messages that make up almost all of a bag: weights, detections, heartbeats of gates.

A general decoder makes an object for each field and part. Here what a topic's messages have in common is learnt from the first one, and
compiled code makes a record of each that has it, in one call. What does not fit that is left to the general decoder
(``BagReader.record``), whose records are the same bit for bit. Form: OMG CDR, little-endian, "plain" (DDS-XTypes 1.3, 7.4.1).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aisle_contract.records import NANOSECONDS, GateEvent, GateEventKind, PersonDetections, ScaleReading
from aisle_kernels import person_detections, plain_record, record_class, record_form, scale_reading

_LITTLE_ENDIAN = b"\x00\x01"
#: The encapsulation header, which alignment does not count.
_HEADER = 4
_WORD = 4
#: Where the stamp ends that all messages begin with.
_STAMP_END = _HEADER + 2 * _WORD
_FLOAT = np.dtype(np.float32)

#: The fields that the decoders below expect: a bag's own definitions may be older or newer.
_EXPECTED = {
    "builtin_interfaces/msg/Time": "int32 sec, uint32 nanosec",
    "builtin_interfaces/msg/Duration": "int32 sec, uint32 nanosec",
    "std_msgs/msg/Header": "builtin_interfaces/msg/Time stamp, string frame_id",
    "aisle_msgs/msg/ScaleReading": (
        "std_msgs/msg/Header header, string gondola, string shelf, builtin_interfaces/msg/Duration sample_period, "
        "string[] plates, float32[] weights"
    ),
    "aisle_msgs/msg/GateEvent": ("std_msgs/msg/Header header, string gate, uint8 kind, string credential, string shopper, string reason"),
    "aisle_msgs/msg/PersonDetection": (
        "float32 x_min, float32 y_min, float32 x_max, float32 y_max, float32 score, float32[] keypoints, float32[] embedding"
    ),
    "aisle_msgs/msg/PersonDetectionArray": (
        "std_msgs/msg/Header header, string camera, uint32 image_width, uint32 image_height, aisle_msgs/msg/PersonDetection[] detections"
    ),
}
_PARTS = {
    "aisle_msgs/msg/GateEvent": ("std_msgs/msg/Header", "builtin_interfaces/msg/Time"),
    "aisle_msgs/msg/ScaleReading": ("std_msgs/msg/Header", "builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"),
    "aisle_msgs/msg/PersonDetectionArray": (
        "std_msgs/msg/Header",
        "builtin_interfaces/msg/Time",
        "aisle_msgs/msg/PersonDetection",
    ),
}

#: Gives the record of a message, or None where that is left to the general decoder.
Decoder = Callable[[bytes], Any]


def fast_decoder(type_name: str, definitions: Mapping[str, Any]) -> Decoder | None:
    """A decoder for the messages of one topic; None where there is none for the type, or its definition is not the known one.

    ``definitions``: rosbags' ``Typestore.fielddefs``.
    """
    if type_name not in _MESSAGES:
        return None
    known = all(name in definitions and _fields(definitions[name]) == _EXPECTED[name] for name in (type_name, *_PARTS[type_name]))
    return _Decoder(_MESSAGES[type_name]) if known else None


def _fields(definition: Any) -> str:
    """Types and names of a message's fields as one line."""
    return ", ".join(f"{_type_text(kind)} {name}" for name, kind in definition[1])


def _type_text(kind: Any) -> str:
    node, content = kind[0].name, kind[1]
    if node == "NAME":
        return content
    if node == "BASE":
        return content[0]
    size = content[1] or ""
    return f"{_type_text(content[0])}[{'' if node == 'SEQUENCE' and not size else f'{node} {size}'}]"


class _Layout:
    """Reads the fields of one message behind its stamp, and notes where they lie. Raises struct.error where it is too short, ValueError for
    texts that are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        #: One byte for each: 255 in fields, 0 between them, where whatever lay in memory was sent.
        self._in_field = bytearray(b"\xff" * _STAMP_END)

    def number(self, code: str = "I") -> int:
        self.align()
        return self._read(code)

    def byte(self) -> int:
        return self._read("B")

    def duration_ns(self) -> int:
        return self.number("i") * NANOSECONDS + self.number()

    def text(self) -> str:
        """A CDR string: its length, then UTF-8 with a zero at the end."""
        length = self.number()
        start = len(self._in_field)
        if length > len(self._data) - start:
            raise ValueError(f"a text of {length} bytes in a message of {len(self._data)}")
        self._in_field += b"\xff" * length
        return self._data[start : start + length - 1].decode() if length else ""

    def align(self) -> None:
        """What follows begins at a word."""
        self._in_field += bytes(-(len(self._in_field) - _HEADER) % _WORD)

    def behind_stamp(self) -> tuple[bytes, bytes]:
        """What was read, and which of its bits count."""
        read = slice(_STAMP_END, len(self._in_field))
        return self._data[read], bytes(self._in_field[read])

    def _read(self, code: str) -> int:
        (value,) = struct.unpack_from(f"<{code}", self._data, len(self._in_field))
        self._in_field += b"\xff" * struct.calcsize(code)
        return value


class _Decoder:
    """Makes the records of one topic's messages: a stamp, then what is the same in most of them, then in some how many numbers or persons
    follow."""

    def __init__(self, message: _Message) -> None:
        self._message = message
        self._read = message.read
        self._form: Any = None

    def __call__(self, data: bytes) -> Any:
        record = self._read(self._form, data) if self._form is not None else None
        if record is None and data[:2] == _LITTLE_ENDIAN:
            try:
                self._form = self._message.form(data)
            except (struct.error, ValueError):
                return None
            record = self._read(self._form, data)
        return record


@dataclass(frozen=True)
class _Message:
    """A kind of message: ``records`` is the handle of their class; ``lay_out`` reads the fields and gives the record's attributes between
    stamp and arrays; ``read`` makes the record."""

    records: Any
    lay_out: Callable[[_Layout], tuple[Any, ...]]
    read: Callable[[Any, bytes], Any]

    def form(self, data: bytes) -> Any:
        """What the messages of a topic have in common, learnt from one. Raises what ``_Layout`` raises."""
        layout = _Layout(data)
        values = self.lay_out(layout)
        return record_form(self.records, values, np.ndarray, _FLOAT, *layout.behind_stamp())


def _lay_out_scales(layout: _Layout) -> tuple[Any, ...]:
    _, gondola, shelf = (layout.text() for _ in ("frame_id", "gondola", "shelf"))
    period_ns = layout.duration_ns()
    plates = tuple([layout.text() for _ in range(layout.number())])
    layout.align()
    return gondola, shelf, period_ns, plates


def _lay_out_detections(layout: _Layout) -> tuple[Any, ...]:
    _, camera = (layout.text() for _ in ("frame_id", "camera"))
    return camera, layout.number(), layout.number()


def _lay_out_gate_event(layout: _Layout) -> tuple[Any, ...]:
    _, gate = (layout.text() for _ in ("frame_id", "gate"))
    return gate, GateEventKind(layout.byte()), *(layout.text() for _ in ("credential", "shopper", "reason"))


def _made_as(kind: type) -> Any:
    return record_class(kind, tuple(field.name for field in dataclasses.fields(kind)))


_MESSAGES = {
    "aisle_msgs/msg/GateEvent": _Message(_made_as(GateEvent), _lay_out_gate_event, plain_record),
    "aisle_msgs/msg/ScaleReading": _Message(_made_as(ScaleReading), _lay_out_scales, scale_reading),
    # Whose persons all have equally many keypoints and equally long embeddings, as detectors give them.
    "aisle_msgs/msg/PersonDetectionArray": _Message(_made_as(PersonDetections), _lay_out_detections, person_detections),
}
