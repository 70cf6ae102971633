"""Images of a bag, one after the other: frames of every camera, decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from aisle_bags.bag_reader import BagError, BagReader, BagTopic, RawMessage
from aisle_contract.conversions import time_ns
from aisle_contract.images import ImageError, to_array

_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
_TO_BGR = {
    "rgb8": cv2.COLOR_RGB2BGR,
    "bgra8": cv2.COLOR_BGRA2BGR,
    "rgba8": cv2.COLOR_RGBA2BGR,
    "mono8": cv2.COLOR_GRAY2BGR,
}
_CAMERA = re.compile(r"/cameras/camera_(\w+)/image_raw(/compressed)?$")


class ImageFrame(NamedTuple):
    """``image``: uint8 [height, width, 3], blue-green-red."""

    camera: str
    stamp_ns: int
    image: np.ndarray


def image_topics(reader: BagReader, namespace: str) -> dict[str, BagTopic]:
    """The topic to take each camera's images from, by camera id: the uncompressed one where both were recorded."""
    chosen: dict[str, BagTopic] = {}
    for topic in reader.topics_of(*_TYPES, namespace=namespace):
        match = _CAMERA.search(topic.name)
        if match and topic.count and (match[1] not in chosen or match[2] is None):
            chosen[match[1]] = topic
    return chosen


def decode_frame(reader: BagReader, camera: str, message: RawMessage) -> ImageFrame:
    """The frame in a stored image message. Raises BagError for what is not an image."""
    decoded = reader.decode(message)
    try:
        return ImageFrame(camera, time_ns(decoded.header.stamp), _bgr(decoded))
    except ImageError as error:
        raise BagError(f"topic '{message.topic}' at {message.log_time_ns} ns: {error}") from error


def image_frames(reader: BagReader, namespace: str) -> Iterator[ImageFrame]:
    """All frames of all cameras in the order of their log times."""
    cameras = {topic.name: camera for camera, topic in image_topics(reader, namespace).items()}
    for message in reader.messages(cameras):
        yield decode_frame(reader, cameras[message.topic], message)


def _bgr(message: Any) -> np.ndarray:
    """uint8 [height, width, 3] of an Image or a CompressedImage."""
    if hasattr(message, "format"):
        data = np.frombuffer(message.data, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise ImageError(f"{data.size} bytes of format '{message.format}' are no image that can be decoded")
        return image
    pixels = to_array(message)
    if message.encoding in _TO_BGR:
        return cv2.cvtColor(pixels, _TO_BGR[message.encoding])
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageError(f"encoding is '{message.encoding}', expected bgr8 or one of {', '.join(_TO_BGR)}")
    return pixels
