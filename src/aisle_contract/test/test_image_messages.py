"""Image messages to arrays as they are encoded, and back."""

from __future__ import annotations

import sys
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sensor_msgs.msg", reason="needs the ROS messages: run in ./aisle shell")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from aisle_contract import images
from aisle_contract.conversions import image_message


def pixels_of(encoding: str, height: int, width: int, seed: int) -> np.ndarray:
    kind, channels = images.ENCODINGS[encoding].kind, images.ENCODINGS[encoding].channels
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


@given(st.sampled_from(sorted(images.ENCODINGS)), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_what_goes_in_comes_out(encoding: str, height: int, width: int, seed: int) -> None:
    pixels = pixels_of(encoding, height, width, seed)
    message = image_message(pixels, encoding, Header(frame_id="camera_1_optical"))
    assert message.header.frame_id == "camera_1_optical"
    assert (message.height, message.width) == (height, width)
    assert message.step * height == len(message.data)
    back = images.to_array(message)
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)


def test_reading_copies_nothing() -> None:
    message = image_message(pixels_of("bgr8", 4, 5, 0), "bgr8", Header())
    assert np.shares_memory(images.to_array(message), np.frombuffer(message.data, np.uint8))


def test_array_that_is_not_contiguous() -> None:
    pixels = pixels_of("rgb8", 6, 8, 1)[::2, ::-1]
    np.testing.assert_array_equal(images.to_array(image_message(pixels, "rgb8", Header())), pixels)


def test_padded_rows() -> None:
    message = Image(height=2, width=3, encoding="mono8", step=5, data=array("B", [1, 2, 3, 0, 0, 4, 5, 6, 0, 0]))
    np.testing.assert_array_equal(images.to_array(message), [[1, 2, 3], [4, 5, 6]])


def test_padded_rows_of_two_byte_pixels_with_an_odd_step() -> None:
    values = np.array([[1, 700], [40000, 65535]], dtype=np.uint16)
    data = b"".join(row.tobytes() + b"\0" for row in values)
    message = Image(height=2, width=2, encoding="mono16", step=5, is_bigendian=int(sys.byteorder == "big"), data=array("B", data))
    np.testing.assert_array_equal(images.to_array(message), values)


@pytest.mark.parametrize(("order", "flag"), [(">", 1), ("<", 0)])
def test_both_byte_orders(order: str, flag: int) -> None:
    values = np.array([[1, 256], [4660, 65535]], dtype=np.uint16)
    data = values.astype(f"{order}u2").tobytes()
    message = Image(height=2, width=2, encoding="mono16", step=4, is_bigendian=flag, data=array("B", data))
    np.testing.assert_array_equal(images.to_array(message), values)


def test_data_that_do_not_fit_the_size() -> None:
    message = Image(height=2, width=2, encoding="bgr8", step=6, data=array("B", bytes(11)))
    with pytest.raises(images.ImageError, match="'bgr8' is 2 x 2, step 6, 11 bytes"):
        images.to_array(message)


def test_step_shorter_than_a_row() -> None:
    message = Image(height=2, width=2, encoding="bgr8", step=3, data=array("B", bytes(6)))
    with pytest.raises(images.ImageError, match="at least 6 bytes"):
        images.to_array(message)


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.zeros((2, 2), np.uint8), "bgr8"),
        (np.zeros((2, 2, 4), np.uint8), "bgr8"),
        (np.zeros((2, 2), np.uint8), "mono16"),
        (np.zeros((2, 2, 3), np.float32), "rgb8"),
        (np.zeros(4, np.uint8), "mono8"),
    ],
)
def test_array_that_does_not_fit_the_encoding(pixels: np.ndarray, encoding: str) -> None:
    with pytest.raises(images.ImageError, match=f"is not {encoding}"):
        image_message(pixels, encoding, Header())


def test_other_encodings_go_through_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeBridge:
        def imgmsg_to_cv2(self, message: Image) -> np.ndarray:
            return np.full((message.height, message.width), 7)

        def cv2_to_imgmsg(self, pixels: np.ndarray, encoding: str) -> Image:
            return Image(encoding=encoding, height=len(pixels))

    module = type(sys)("cv_bridge")
    module.CvBridge = FakeBridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    np.testing.assert_array_equal(images.to_array(Image(encoding="bayer_rggb8", height=1, width=2)), [[7, 7]])
    message = image_message(np.zeros((3, 1)), "32FC1", Header(frame_id="f"))
    assert (message.encoding, message.height, message.header.frame_id) == ("32FC1", 3, "f")


def test_other_encodings_without_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(images.ImageError, match="'bayer_rggb8', expected one of bgr8"):
        images.to_array(Image(encoding="bayer_rggb8"))
