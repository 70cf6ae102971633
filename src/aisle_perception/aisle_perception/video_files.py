"""Recorded videos of calibrated cameras: what their headers say, and their frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from aisle_contract.records import NANOSECONDS
from aisle_store.camera_model import Camera

#: A header may count a few frames more than can be decoded; a file that ends before this share of them is damaged.
LEAST_SHARE = 0.9


class VideoError(ValueError):
    """A video cannot be used: names the file, what was found and what was expected."""


@dataclass(frozen=True)
class VideoHeader:
    """``frames`` as the header counts them, possibly off by a few; ``size`` (width, height) px of the first frame."""

    rate_hz: float
    frames: int
    size: tuple[int, int]


@dataclass(frozen=True)
class Video:
    """One camera's file. All videos of a recording begin at the same time."""

    path: Path
    camera: Camera
    rate_hz: float
    frames: int

    def images(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each frame's time since the first (ns) and its image, uint8 [height, width, 3] BGR. Raises VideoError if the file breaks off."""
        capture = cv2.VideoCapture(str(self.path))
        number = 0
        try:
            while True:
                arrived, image = capture.read()
                if not arrived:
                    break
                yield round(number * NANOSECONDS / self.rate_hz), image
                number += 1
        finally:
            capture.release()
        if number < LEAST_SHARE * self.frames:
            raise VideoError(f"{self.path}: breaks off after {number} frames, expected {self.frames}")


def read_header(path: Path) -> VideoHeader:
    """Raises VideoError for a file that is no video or has an impossible frame rate."""
    capture = cv2.VideoCapture(str(path))
    try:
        rate_hz, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        opened, image = capture.read()
    finally:
        capture.release()
    if not opened:
        raise VideoError(f"{path}: cannot be read as a video")
    if not 0.1 <= rate_hz <= 1000:
        raise VideoError(f"{path}: frame rate is {rate_hz:g} per second, expected 0.1 .. 1000")
    return VideoHeader(rate_hz, frames, (image.shape[1], image.shape[0]))
