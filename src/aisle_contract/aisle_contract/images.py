"""sensor_msgs/Image to NumPy and back: the common encodings here, all others through cv_bridge where it is installed.

The ROS 2 wheels have no cv_bridge, and its conversion of common encodings copies more often than needed.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Header

#: Encodings (sensor_msgs/image_encodings.hpp) that need no cv_bridge: element type and channels.
ENCODINGS: dict[str, tuple[np.dtype, int]] = {
    "bgr8": (np.dtype(np.uint8), 3),
    "rgb8": (np.dtype(np.uint8), 3),
    "bgra8": (np.dtype(np.uint8), 4),
    "rgba8": (np.dtype(np.uint8), 4),
    "mono8": (np.dtype(np.uint8), 1),
    "mono16": (np.dtype(np.uint16), 1),
}


class ImageError(ValueError):
    """An image message or array that is not what it says, or an encoding that cannot be converted here."""


def to_array(message: Image) -> np.ndarray:
    """Pixels of a message as they are encoded: [height, width] or [height, width, channels], uint8 or uint16.

    Shares the message's memory where rows are not padded and bytes stand in this machine's order, else copies.
    Raises ImageError where the data do not fit height, width and step, or for an encoding that needs an absent cv_bridge.
    """
    if message.encoding not in ENCODINGS:
        return _bridge(message.encoding, "imgmsg_to_cv2")(message)
    kind, channels = ENCODINGS[message.encoding]
    row = message.width * channels * kind.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or len(data) != message.step * message.height:
        raise ImageError(
            f"image of {message.width} x {message.height} {message.encoding} has {len(data)} bytes in rows of {message.step}, "
            f"expected rows of at least {row} bytes"
        )
    # A padded row's rest is cut off before the bytes are taken as elements.
    pixels = np.ascontiguousarray(data.reshape(message.height, message.step)[:, :row]).view(kind)
    if message.is_bigendian != (sys.byteorder == "big"):
        pixels = pixels.byteswap() if kind.itemsize > 1 else pixels
    return pixels.reshape((message.height, message.width) if channels == 1 else (message.height, message.width, channels))


def to_message(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    """A message of ``pixels`` ([height, width] or [height, width, channels]), which are taken to be encoded as ``encoding`` says.

    Raises ImageError where shape or type do not fit the encoding, or for an encoding that needs an absent cv_bridge.
    """
    if encoding not in ENCODINGS:
        message = _bridge(encoding, "cv2_to_imgmsg")(pixels, encoding)
        message.header = header
        return message
    from sensor_msgs.msg import Image

    kind, channels = ENCODINGS[encoding]
    found = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or found != channels or pixels.dtype != kind:
        raise ImageError(f"array of shape {pixels.shape} and type {pixels.dtype} is not {encoding}, expected {channels} channels of {kind}")
    # array.frombytes is hundreds of times faster than assigning a NumPy array, which rclpy checks element by element.
    data = array("B")
    data.frombytes(memoryview(np.ascontiguousarray(pixels)).cast("B"))
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=width * channels * kind.itemsize,
        data=data,
    )


def _bridge(encoding: str, method: str) -> Callable[..., Any]:
    try:
        from cv_bridge import CvBridge
    except ImportError as error:
        raise ImageError(
            f"image encoding '{encoding}' needs cv_bridge, which is not installed; without it: {', '.join(ENCODINGS)}"
        ) from error
    return getattr(CvBridge(), method)
