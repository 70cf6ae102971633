"""Hides people in recorded images: a mosaic over where tracks and detections say that somebody was.

Who is seen in an image is known a little later than the image, and a person who just came is confirmed only after some frames. So a
masked image covers everybody who was seen within ``margin_ns`` before and after it, which also makes up for motion. An image of whose
time nothing is known is hidden as a whole: it must not leak because a tracker failed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, PersonDetections, Track, Tracks
from aisle_store.camera_model import Camera

#: Image topics of a store's cameras.
CAMERA_TOPIC = re.compile(r"/cameras/camera_(\w+?)/image_raw(?:/compressed)?$")
#: Cells across an image: a face that fills less than about a tenth of the width is one or two cells.
MOSAIC_CELLS = 32
#: A person's surroundings that are hidden: heights m above the floor, half-width m without the position's own uncertainty.
BODY_HEIGHTS = (0.0, 0.5, 1.0, 1.5, 2.1)
BODY_RADIUS = 0.5
#: No more than this is added for the uncertainty of a position, m.
LARGEST_UNCERTAINTY = 1.0
#: A body nearer to the lens than this may fill the image, m.
NEAREST_DEPTH = 0.3
#: Boxes are widened by this share of their size on each side.
BOX_MARGIN = 0.2
_ANGLES = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
_CIRCLE = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])


@dataclass(frozen=True)
class PrivacyConfig:
    """How long and how widely people are looked for."""

    mask_margin_s: float = parameter(0.5, "Everybody seen so long before or after an image is hidden in it, s", 0.1, 5.0)
    mask_wait_s: float = parameter(3.0, "Tracks of an image's time are waited for so long; then all of it is hidden, s", 0.5, 30.0)


class PeopleInView:
    """Where people are in the images of a store's ``cameras`` (by id), out of tracks and detections as they come in."""

    def __init__(self, cameras: Mapping[str, Camera], config: PrivacyConfig) -> None:
        self._cameras = cameras
        self._margin_ns = round(config.mask_margin_s * NANOSECONDS)
        self._kept_ns = round((config.mask_wait_s + 2 * config.mask_margin_s) * NANOSECONDS)
        self._tracks: deque[Tracks] = deque()
        self._detections: dict[str, deque[PersonDetections]] = {}

    def observe(self, record: Tracks | PersonDetections) -> None:
        """Takes what is known about people; in the order of stamps within a source."""
        known = self._tracks if isinstance(record, Tracks) else self._detections.setdefault(record.camera, deque())
        if known and record.stamp_ns < known[-1].stamp_ns:
            # A recording's time began anew.
            known.clear()
        known.append(record)
        while known[0].stamp_ns < record.stamp_ns - self._kept_ns:
            known.popleft()

    def is_known(self, stamp_ns: int) -> bool:
        """Whether tracks tell about all of an image's time: nothing better will come."""
        return bool(self._tracks) and self._tracks[-1].stamp_ns >= stamp_ns + self._margin_ns

    def covers(self, stamp_ns: int) -> bool:
        """Whether tracks tell about an image's time at all."""
        return any(self._is_near(tracks.stamp_ns, stamp_ns) for tracks in self._tracks)

    def mosaic(self, camera: str | None, stamp_ns: int, pixels: np.ndarray) -> np.ndarray:
        """A copy of an image [height, width] or [height, width, channels] with a mosaic over everybody; over all of it where nothing is
        known about its time or its camera.
        """
        model = self._cameras.get(camera) if camera is not None else None
        height, width = pixels.shape[:2]
        if model is None or not self.covers(stamp_ns):
            return mosaic(pixels, np.array([[0.0, 0.0, width, height]]))
        boxes = list(self._boxes(model, stamp_ns, width, height))
        return mosaic(pixels, np.array(boxes).reshape(-1, 4))

    def _is_near(self, known_ns: int, stamp_ns: int) -> bool:
        return abs(known_ns - stamp_ns) <= self._margin_ns

    def _boxes(self, camera: Camera, stamp_ns: int, width: int, height: int) -> Iterator[np.ndarray]:
        scale = np.array([width / camera.width, height / camera.height] * 2)
        for tracks in self._tracks:
            if self._is_near(tracks.stamp_ns, stamp_ns):
                for track in tracks.tracks:
                    box = body_box(camera, track)
                    if box is not None:
                        yield box * scale
        for detections in self._detections.get(camera.camera, ()):
            if self._is_near(detections.stamp_ns, stamp_ns):
                scale = np.array([width / detections.image_width, height / detections.image_height] * 2)
                for box in detections.boxes:
                    margin = BOX_MARGIN * np.array([box[2] - box[0], box[3] - box[1]], dtype=float)
                    yield (box + np.concatenate([-margin, margin])) * scale


def body_box(camera: Camera, track: Track) -> np.ndarray | None:
    """The box [4] (x_min, y_min, x_max, y_max) px around a tracked person's body as ``camera`` sees it; None out of its view."""
    uncertainty = 2 * float(np.sqrt(max(np.linalg.eigvalsh(track.covariance[:2, :2]).max(), 0.0)))
    radius = BODY_RADIUS + min(uncertainty, LARGEST_UNCERTAINTY)
    circle = track.position + radius * _CIRCLE
    heights = (*BODY_HEIGHTS, track.head.position[2] + 0.3) if track.head is not None else BODY_HEIGHTS
    points = np.concatenate([np.column_stack([circle, np.full(len(circle), height)]) for height in heights])
    pixels, depths = camera.project(points)
    if depths.max() <= 0:
        return None
    if depths.min() < NEAREST_DEPTH:
        return np.array([0.0, 0.0, camera.width, camera.height])
    seen = pixels[np.isfinite(pixels).all(axis=1)]
    return np.concatenate([seen.min(axis=0), seen.max(axis=0)]) if len(seen) else None


def mosaic(pixels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A copy of ``pixels`` ([height, width] or [height, width, channels]) in which the cells of a grid that ``boxes`` [N, 4] (px) touch
    have one colour each.
    """
    height, width = pixels.shape[:2]
    columns = min(MOSAIC_CELLS, width)
    rows = min(max(1, round(columns * height / width)), height)
    touched = np.zeros((rows, columns), np.uint8)
    for x_min, y_min, x_max, y_max in boxes * np.array([columns / width, rows / height] * 2):
        touched[_cells(y_min, y_max, rows), _cells(x_min, x_max, columns)] = 1
    if not touched.any():
        return pixels.copy()
    cells = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    hidden = cv2.resize(touched, (width, height), interpolation=cv2.INTER_NEAREST)
    return cv2.copyTo(coarse, hidden, pixels.copy())


def _cells(low: float, high: float, count: int) -> slice:
    return slice(int(np.clip(np.floor(low), 0, count)), int(np.clip(np.ceil(high), 0, count)))
