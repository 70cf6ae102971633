"""Image messages to arrays and back. NumPy and OpenCV do the common encodings; cv_bridge, where a ROS installation has it, the others.

Reading takes any object with the message's attributes (rclpy's, or what rosbags decodes), as ``conversions.from_message`` does. What is
written becomes a message by ``conversions.image_message``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

#: What an image message holds beside its header.
_FIELDS = ("height", "width", "encoding", "is_bigendian", "step", "data")


@dataclass(frozen=True, slots=True)
class Encoding:
    """Element type, channels and OpenCV's conversion to BGR (None: already BGR) of one of sensor_msgs/image_encodings.hpp."""

    kind: np.dtype
    channels: int
    to_bgr: int | None


_BYTE, _TWO_BYTES = np.dtype(np.uint8), np.dtype(np.uint16)

#: Encodings that need no cv_bridge.
ENCODINGS: dict[str, Encoding] = {
    "bgr8": Encoding(_BYTE, 3, None),
    "8UC3": Encoding(_BYTE, 3, None),
    "rgb8": Encoding(_BYTE, 3, cv2.COLOR_RGB2BGR),
    "bgra8": Encoding(_BYTE, 4, cv2.COLOR_BGRA2BGR),
    "rgba8": Encoding(_BYTE, 4, cv2.COLOR_RGBA2BGR),
    "mono8": Encoding(_BYTE, 1, cv2.COLOR_GRAY2BGR),
    "8UC1": Encoding(_BYTE, 1, cv2.COLOR_GRAY2BGR),
    "mono16": Encoding(_TWO_BYTES, 1, cv2.COLOR_GRAY2BGR),
    "yuv422_yuy2": Encoding(_BYTE, 2, cv2.COLOR_YUV2BGR_YUY2),
    "yuv422": Encoding(_BYTE, 2, cv2.COLOR_YUV2BGR_UYVY),
}


class ImageError(ValueError):
    """A message or array is not a usable image: says what was found and what was expected."""


def bgr_image(message: Any) -> np.ndarray:
    """uint8 [height, width, 3], blue-green-red, of a sensor_msgs Image or CompressedImage. It may share the message's memory.

    Raises ImageError for an unknown encoding and for data that do not fit it.
    """
    if hasattr(message, "format"):
        return _of_compressed(message)
    if message.encoding not in ENCODINGS:
        return _through_bridge(message.encoding, "imgmsg_to_cv2", message, desired_encoding="bgr8")
    pixels = to_array(message)
    if pixels.dtype == _TWO_BYTES:
        pixels = (pixels >> 8).astype(np.uint8)
    to_bgr = ENCODINGS[message.encoding].to_bgr
    return pixels if to_bgr is None else cv2.cvtColor(np.ascontiguousarray(pixels), to_bgr)


def to_array(message: Any) -> np.ndarray:
    """Pixels of a sensor_msgs Image as they are encoded: [height, width] or [height, width, channels], uint8 or uint16.

    Shares the message's memory where rows are not padded and bytes stand in this machine's order, else copies.
    Raises ImageError where the data do not fit height, width and step, or for an encoding that needs an absent cv_bridge.
    """
    if message.encoding not in ENCODINGS:
        return _through_bridge(message.encoding, "imgmsg_to_cv2", message)
    encoding = ENCODINGS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * encoding.channels * encoding.kind.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if not height or not width or step < row or data.size < height * step:
        found = f"{width} x {height}, step {step}, {data.size} bytes"
        raise ImageError(f"an image of encoding '{message.encoding}' is {found}, expected at least {row} bytes per row")
    # A padded row's rest is cut off before the bytes are taken as elements.
    pixels = np.ascontiguousarray(data[: height * step].reshape(height, step)[:, :row]).view(encoding.kind)
    if encoding.kind.itemsize > 1 and bool(message.is_bigendian) != (sys.byteorder == "big"):
        pixels = pixels.byteswap()
    return pixels.reshape((height, width) if encoding.channels == 1 else (height, width, encoding.channels))


def image_fields(pixels: np.ndarray, encoding: str) -> dict[str, Any]:
    """The fields of an image message of ``pixels`` ([height, width] or [height, width, channels]), which are taken to be encoded as
    ``encoding`` says.

    Raises ImageError where shape or type do not fit the encoding, or for an encoding that needs an absent cv_bridge.
    """
    if encoding not in ENCODINGS:
        message = _through_bridge(encoding, "cv2_to_imgmsg", pixels, encoding)
        return {name: getattr(message, name) for name in _FIELDS}
    expected = ENCODINGS[encoding]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels != expected.channels or pixels.dtype != expected.kind:
        found = f"shape {pixels.shape} and type {pixels.dtype}"
        raise ImageError(f"an array of {found} is not {encoding}, expected {expected.channels} channels of {expected.kind}")
    # array.frombytes is hundreds of times faster than assigning a NumPy array, which rclpy checks element by element.
    data = array("B")
    data.frombytes(memoryview(np.ascontiguousarray(pixels)).cast("B"))
    height, width = pixels.shape[:2]
    step = width * channels * expected.kind.itemsize
    return dict(zip(_FIELDS, (height, width, encoding, int(sys.byteorder == "big"), step, data), strict=True))


def _of_compressed(message: Any) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ImageError(f"{data.size} bytes of format '{message.format}' are no image that OpenCV can decode")
    return image


def _through_bridge(encoding: str, method: str, *arguments: Any, **options: Any) -> Any:
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise ImageError(f"encoding is '{encoding}', expected one of {', '.join(ENCODINGS)} (others need cv_bridge)") from None
    convert: Callable[..., Any] = getattr(CvBridge(), method)
    try:
        return convert(*arguments, **options)
    except Exception as error:
        # cv_bridge passes OpenCV's errors on.
        raise ImageError(f"encoding '{encoding}': {error}") from error
