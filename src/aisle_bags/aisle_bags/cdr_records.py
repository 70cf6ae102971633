"""Records straight from the serialised form of the two messages that make up almost all of a bag: weights and detections.

A general decoder makes an object for each field and part. Here a message is taken apart with one ``struct`` of its topic, which is made
from the first message there, and its numbers with one look of NumPy's. What does not fit that is left to the general decoder
(``BagReader.record``), whose records are the same bit for bit. Form: OMG CDR, little-endian, "plain" (DDS-XTypes 1.3, 7.4.1).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from aisle_contract.records import COCO_KEYPOINTS, NANOSECONDS, PersonDetections, ScaleReading
from aisle_kernels import made, person_sizes

_LITTLE_ENDIAN = b"\x00\x01"
#: The encapsulation header, which alignment does not count.
_HEADER = 4
_WORD = 4
#: Where the stamp ends that all messages begin with.
_STAMP_END = _HEADER + 2 * _WORD
_KEYPOINT_FLOATS = 3 * len(COCO_KEYPOINTS)
#: Floats of a detection before its keypoints: the box's edges and the score, then how many floats follow.
_BOX_FLOATS = 5
_NO_BOXES, _NO_SCORES = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
for _empty in (_NO_BOXES, _NO_SCORES):
    _empty.flags.writeable = False

_SCALE_FIELDS, _DETECTIONS_FIELDS = (tuple(field.name for field in dataclasses.fields(kind)) for kind in (ScaleReading, PersonDetections))

#: The fields that the decoders below expect: a bag's own definitions may be older or newer.
_EXPECTED = {
    "builtin_interfaces/msg/Time": "int32 sec, uint32 nanosec",
    "builtin_interfaces/msg/Duration": "int32 sec, uint32 nanosec",
    "std_msgs/msg/Header": "builtin_interfaces/msg/Time stamp, string frame_id",
    "aisle_msgs/msg/ScaleReading": (
        "std_msgs/msg/Header header, string gondola, string shelf, builtin_interfaces/msg/Duration sample_period, "
        "string[] plates, float32[] weights"
    ),
    "aisle_msgs/msg/PersonDetection": (
        "float32 x_min, float32 y_min, float32 x_max, float32 y_max, float32 score, float32[] keypoints, float32[] embedding"
    ),
    "aisle_msgs/msg/PersonDetectionArray": (
        "std_msgs/msg/Header header, string camera, uint32 image_width, uint32 image_height, aisle_msgs/msg/PersonDetection[] detections"
    ),
}
_PARTS = {
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
    if type_name not in _DECODERS:
        return None
    known = all(name in definitions and _fields(definitions[name]) == _EXPECTED[name] for name in (type_name, *_PARTS[type_name]))
    return _DECODERS[type_name]() if known else None


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
    """Reads the fields of one message and writes down the struct that reads the next one at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = _HEADER
        self.format = f"<{_HEADER}x"

    def number(self, code: str) -> int:
        self._align()
        (value,) = struct.unpack_from(f"<{code}", self._data, self.position)
        self.position += _WORD
        self.format += code
        return value

    def text(self) -> None:
        length = self.number("I")
        self.position += length
        self.format += f"{length}s"

    def end(self) -> struct.Struct:
        """The struct up to here, with what is needed to align a word behind it."""
        self._align()
        return struct.Struct(self.format)

    def _align(self) -> None:
        # The bytes between are whatever lay in memory: they are skipped, never compared.
        padding = -(self.position - _HEADER) % _WORD
        self.position += padding
        self.format += "x" * padding


class _Front:
    """What stands before a message's numbers: a stamp, then what is the same in all messages of a topic, then how many numbers follow."""

    def __init__(self, lay_out: Callable[[_Layout], None]) -> None:
        self._lay_out = lay_out
        self._struct = self._quick = struct.Struct("")
        self._same = b""
        self._count_at = 0
        #: The values between stamp and count; another object when they have changed.
        self.constant: tuple[Any, ...] | None = None

    @property
    def size(self) -> int:
        """Bytes before the numbers."""
        return self._struct.size

    def read(self, data: bytes) -> tuple[int, int]:
        """Stamp (ns) and count. Raises struct.error where ``data`` is too short."""
        if self.constant is not None and data[_STAMP_END : self._count_at] == self._same:
            second, nanosecond, count = self._quick.unpack_from(data)
            return second * NANOSECONDS + nanosecond, count
        if self.constant is None or len(data) < self._struct.size:
            return self._learn(data)
        second, nanosecond, *constant, count = self._struct.unpack_from(data)
        if constant != self.constant:
            return self._learn(data)
        return second * NANOSECONDS + nanosecond, count

    def _learn(self, data: bytes) -> tuple[int, int]:
        layout = _Layout(data)
        self._lay_out(layout)
        self._struct = layout.end()
        # Nearly always even what lies between the fields is the same.
        self._count_at = self._struct.size - _WORD
        self._same = data[_STAMP_END : self._count_at]
        self._quick = struct.Struct(f"<{_HEADER}xiI{len(self._same)}xI")
        second, nanosecond, *self.constant, count = self._struct.unpack_from(data)
        return second * NANOSECONDS + nanosecond, count


class _ScaleDecoder:
    """``ScaleReading``."""

    def __init__(self) -> None:
        self._front = _Front(self._lay_out)
        self._read: list[Any] | None = None

    @staticmethod
    def _lay_out(layout: _Layout) -> None:
        layout.number("i")
        layout.number("I")
        for _ in ("frame_id", "gondola", "shelf"):
            layout.text()
        layout.number("i")
        layout.number("I")
        for _ in range(layout.number("I")):
            layout.text()
        layout.number("I")

    def __call__(self, data: bytes) -> ScaleReading | None:
        front = self._front
        if data[:2] != _LITTLE_ENDIAN:
            return None
        try:
            stamp_ns, count = front.read(data)
            if front.constant is not self._read:
                self._understand(front.constant)
            samples, rest = divmod(count, len(self._plates))
            if rest:
                return None
            weights = np.ndarray((samples, len(self._plates)), np.float32, data, front.size).copy()
            return made(ScaleReading, _SCALE_FIELDS, (stamp_ns, self._gondola, self._shelf, self._period_ns, self._plates, weights))
        except (struct.error, ValueError, TypeError, ZeroDivisionError):
            return None

    def _understand(self, constant: list[Any]) -> None:
        # Texts come with their lengths before them.
        _, _, _, gondola, _, shelf, second, nanosecond, _, *plates = constant
        self._gondola, self._shelf = _text(gondola), _text(shelf)
        self._period_ns = second * NANOSECONDS + nanosecond
        self._plates = tuple(_text(plate) for plate in plates[1::2])
        self._read = constant


class _DetectionsDecoder:
    """``PersonDetectionArray`` whose persons all have equally many keypoints and equally long embeddings, as detectors give them."""

    def __init__(self) -> None:
        self._front = _Front(self._lay_out)
        self._read: list[Any] | None = None

    @staticmethod
    def _lay_out(layout: _Layout) -> None:
        layout.number("i")
        layout.number("I")
        for _ in ("frame_id", "camera"):
            layout.text()
        for _ in ("image_width", "image_height", "count of detections"):
            layout.number("I")

    def __call__(self, data: bytes) -> PersonDetections | None:
        front = self._front
        if data[:2] != _LITTLE_ENDIAN:
            return None
        try:
            stamp_ns, count = front.read(data)
            if front.constant is not self._read:
                self._understand(front.constant)
            persons = self._persons(data, count)
        except (struct.error, ValueError):
            return None
        return made(PersonDetections, _DETECTIONS_FIELDS, (stamp_ns, *self._source, *persons)) if persons is not None else None

    def _understand(self, constant: list[Any]) -> None:
        _, _, _, camera, width, height = constant
        self._source = _text(camera), width, height
        self._read = constant

    def _persons(self, data: bytes, count: int) -> tuple[np.ndarray | None, ...] | None:
        """Boxes, scores, keypoints, embeddings; None where the persons differ in what they have."""
        if not count:
            return _NO_BOXES, _NO_SCORES, None, None
        start = self._front.size
        sizes = person_sizes(data, start, count)
        if sizes is None or sizes[0] not in (0, _KEYPOINT_FLOATS):
            return None
        points, embedding = sizes
        embedding_at = _BOX_FLOATS + 1 + points + 1
        rows = np.ndarray((count, embedding_at + embedding), np.float32, data, start)
        keypoints = rows[:, _BOX_FLOATS + 1 : embedding_at - 1].reshape(count, len(COCO_KEYPOINTS), 3).copy() if points else None
        return rows[:, :4].copy(), rows[:, 4].copy(), keypoints, rows[:, embedding_at:].copy() if embedding else None


def _text(stored: bytes) -> str:
    """A CDR string: UTF-8 with a zero at the end. ValueError (UnicodeDecodeError) where it is none."""
    return stored[:-1].decode()


_DECODERS: dict[str, Callable[[], Decoder]] = {
    "aisle_msgs/msg/ScaleReading": _ScaleDecoder,
    "aisle_msgs/msg/PersonDetectionArray": _DetectionsDecoder,
}
