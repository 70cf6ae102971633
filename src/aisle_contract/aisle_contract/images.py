"""Image messages to arrays. NumPy and OpenCV do the common encodings; cv_bridge, where a ROS installation has it, does the others.

Takes any object with the message's attributes (rclpy's, or what rosbags decodes), as ``conversions.from_message`` does.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

#: Channels, and OpenCV's conversion to BGR, of sensor_msgs/image_encodings with 8 bits per channel.
_ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "8UC1": (1, cv2.COLOR_GRAY2BGR),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUY2),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
}


class ImageError(ValueError):
    """A message does not hold a usable image: says what was found and what was expected."""


def bgr_image(message: Any) -> np.ndarray:
    """uint8 [height, width, 3], blue-green-red, of a sensor_msgs Image or CompressedImage. It may share the message's memory.

    Raises ImageError for an unknown encoding and for data that do not fit it.
    """
    return _of_compressed(message) if hasattr(message, "format") else _of_raw(message)


def _of_compressed(message: Any) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ImageError(f"{data.size} bytes of format '{message.format}' are no image that OpenCV can decode")
    return image


def _of_raw(message: Any) -> np.ndarray:
    if message.encoding not in _ENCODINGS:
        return _by_cv_bridge(message)
    channels, to_bgr = _ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width or step < width * channels or data.size < height * step:
        found = f"{width} x {height}, step {step}, {data.size} bytes"
        raise ImageError(f"an image of encoding '{message.encoding}' is {found}, expected at least {width * channels} bytes per row")
    rows = data[: height * step].reshape(height, step)[:, : width * channels]
    image = rows.reshape(height, width, channels) if channels > 1 else rows
    return image if to_bgr is None else cv2.cvtColor(np.ascontiguousarray(image), to_bgr)


def _by_cv_bridge(message: Any) -> np.ndarray:
    known = ", ".join(_ENCODINGS)
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise ImageError(f"encoding is '{message.encoding}', expected one of {known} (others need cv_bridge)") from None
    try:
        return CvBridge().imgmsg_to_cv2(message, desired_encoding="bgr8")
    except Exception as error:
        # cv_bridge passes OpenCV's errors on.
        raise ImageError(f"encoding '{message.encoding}': {error}") from error
