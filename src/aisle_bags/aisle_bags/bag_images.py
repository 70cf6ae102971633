"""Images of a bag, one after the other: frames of every camera, decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from aisle_bags.bag_reader import BagError, BagReader, BagTopic, RawMessage
from aisle_contract.conversions import time_ns
from aisle_contract.images import ImageError, bgr_image

_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
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
        return ImageFrame(camera, time_ns(decoded.header.stamp), bgr_image(decoded))
    except ImageError as error:
        raise BagError(f"topic '{message.topic}' at {message.log_time_ns} ns: {error}") from error


def image_frames(reader: BagReader, namespace: str) -> Iterator[ImageFrame]:
    """All frames of all cameras in the order of their log times."""
    cameras = {topic.name: camera for camera, topic in image_topics(reader, namespace).items()}
    for message in reader.messages(cameras):
        yield decode_frame(reader, cameras[message.topic], message)
