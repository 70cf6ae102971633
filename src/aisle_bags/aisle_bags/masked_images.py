"""Image messages that wait until it is known who is in them, and then go on with a mosaic over everybody."""

from __future__ import annotations

import struct
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from aisle_bags.image_privacy import CAMERA_TOPIC, PeopleInView
from aisle_bags.message_types import MessageTypes
from aisle_contract.images import ImageError, bgr_image, to_array
from aisle_contract.records import NANOSECONDS

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
#: When nothing more is to come, the images that still wait are masked for at most so long.
_CLOSING_S = 5.0
_JPEG_QUALITY = 90
#: CDR: four bytes that tell the byte order, then seconds and nanoseconds of a message's header.
_STAMP = {0: struct.Struct(">iI"), 1: struct.Struct("<iI")}


class Message(NamedTuple):
    """One message as it came: ``sender`` and ``number`` are the middleware's, empty and None where it does not tell."""

    topic: str
    data: bytes
    log_time_ns: int
    publish_time_ns: int
    sender: bytes = b""
    number: int | None = None


class MaskedImages:
    """Images wait at most ``wait_s`` for what ``people`` gets to know. ``dropped``: those that could not be masked, by topic."""

    def __init__(self, people: PeopleInView, types: MessageTypes, wait_s: float) -> None:
        self._people, self._types, self._wait_s = people, types, wait_s
        self._waiting: deque[tuple[float, Message]] = deque()
        self.dropped: Counter[str] = Counter()
        self.masked = self.wholly_masked = 0

    @property
    def size_bytes(self) -> int:
        """Of the images that wait."""
        return sum(len(message.data) for _, message in self._waiting)

    def add(self, message: Message) -> None:
        """Takes an Image or CompressedImage."""
        self._waiting.append((time.monotonic(), message))

    def ready(self, closing: bool = False) -> Iterator[Message]:
        """Images whose people are known or that have waited long enough, masked; all when ``closing``."""
        began = time.monotonic()
        while self._waiting:
            came_at, message = self._waiting[0]
            if closing and time.monotonic() - began > _CLOSING_S:
                self.give_up()
            elif closing or began - came_at >= self._wait_s or self._people.is_known(_stamp_ns(message.data)):
                self._waiting.popleft()
                yield from self._masked(message)
            else:
                return

    def give_up(self) -> None:
        """Drops what waits."""
        self.dropped.update(message.topic for _, message in self._waiting)
        self._waiting.clear()

    def _masked(self, message: Message) -> Iterator[Message]:
        try:
            image = self._types.decoded(message.topic, message.data)
            camera = CAMERA_TOPIC.search(message.topic)
            stamp_ns = _stamp_ns(message.data)
            compressed = hasattr(image, "format")
            pixels = bgr_image(image) if compressed else to_array(image)
            known = self._people.covers(stamp_ns)
            hidden = self._people.mosaic(camera[1] if camera else None, stamp_ns, pixels)
            data = self._types.encoded(message.topic, (_compressed if compressed else _plain)(image, hidden))
        except (ImageError, ValueError, cv2.error, LookupError, struct.error):
            # What cannot be looked into cannot be masked.
            self.dropped[message.topic] += 1
            return
        self.masked += 1
        self.wholly_masked += not known or camera is None
        yield message._replace(data=data)


def _stamp_ns(data: bytes) -> int:
    if len(data) < 12:
        return 0
    second, nanosecond = _STAMP[data[1] & 1].unpack_from(data, 4)
    return second * NANOSECONDS + nanosecond


def _compressed(message: Any, pixels: np.ndarray) -> Any:
    png = "png" in message.format
    options = [] if png else [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    encoded = cv2.imencode(".png" if png else ".jpg", pixels, options)[1]
    return replace(message, data=encoded.ravel())


def _plain(message: Any, pixels: np.ndarray) -> Any:
    rows = np.ascontiguousarray(pixels)
    step = rows.itemsize * int(np.prod(rows.shape[1:]))
    return replace(message, data=rows.view(np.uint8).ravel(), step=step, is_bigendian=int(sys.byteorder == "big"))
