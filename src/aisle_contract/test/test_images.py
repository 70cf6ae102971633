"""Image messages of all encodings give the same picture."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from aisle_contract.images import ImageError, bgr_image

PICTURE = np.random.default_rng(1).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def message(encoding: str, array: np.ndarray, padding: int = 0) -> SimpleNamespace:
    rows = np.pad(array.reshape(len(array), -1), ((0, 0), (0, padding)))
    return SimpleNamespace(
        encoding=encoding, height=array.shape[0], width=array.shape[1], step=rows.shape[1], is_bigendian=0, data=bytearray(rows.tobytes())
    )


@pytest.mark.parametrize(
    ("encoding", "conversion"),
    [("bgr8", None), ("rgb8", cv2.COLOR_BGR2RGB), ("bgra8", cv2.COLOR_BGR2BGRA), ("rgba8", cv2.COLOR_BGR2RGBA)],
)
@pytest.mark.parametrize("padding", [0, 5])
def test_colour_encodings(encoding: str, conversion: int | None, padding: int) -> None:
    stored = PICTURE if conversion is None else cv2.cvtColor(PICTURE, conversion)
    np.testing.assert_array_equal(bgr_image(message(encoding, stored, padding)), PICTURE)


def test_grey_becomes_three_equal_channels() -> None:
    grey = PICTURE[:, :, 0]
    np.testing.assert_array_equal(bgr_image(message("mono8", grey)), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422_yuy2", (1, 0)), ("yuv422", (0, 1))])
def test_yuv_of_a_grey_picture(encoding: str, order: tuple[int, int]) -> None:
    packed = np.full((4, 6, 2), 128, np.uint8)
    packed[:, :, order[1]] = 180
    image = bgr_image(message(encoding, packed))
    assert image.shape == (4, 6, 3)
    assert np.ptp(image) <= 2


def test_compressed() -> None:
    data = cv2.imencode(".png", PICTURE)[1].tobytes()
    np.testing.assert_array_equal(bgr_image(SimpleNamespace(format="png", data=data)), PICTURE)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(ImageError, match="3 bytes of format 'jpeg' are no image"):
        bgr_image(SimpleNamespace(format="jpeg", data=b"abc"))
    with pytest.raises(ImageError, match="no image"):
        bgr_image(SimpleNamespace(format="jpeg", data=b""))
    short = message("bgr8", PICTURE)
    short.data = short.data[:-1]
    with pytest.raises(ImageError, match="6 x 4, step 18, 71 bytes"):
        bgr_image(short)
    with pytest.raises(ImageError, match="encoding is 'bayer_x', expected one of bgr8"):
        bgr_image(message("bayer_x", PICTURE))
