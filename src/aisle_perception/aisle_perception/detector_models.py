"""Kinds of detection networks as data: how an image goes in and what the numbers that come out mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

#: Grey that YOLO models are trained to see around a letterboxed image.
_PADDING = 114
_STRIDES = (8, 16, 32)
_KEYPOINTS = 17
#: Class number of a person in COCO's order (YOLO) and in SSD models, where 0 is the background.
_YOLO_PERSON = 0
_SSD_PERSON = 1


@dataclass(frozen=True, eq=False)
class Detections:
    """People in one image: ``boxes`` float32 [N, 4] (x_min, y_min, x_max, y_max) px, ``scores`` float32 [N], ``keypoints`` float32
    [N, 17, 3] (x px, y px, confidence) in COCO's order or None."""

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None = None

    def chosen(self, which: np.ndarray) -> Detections:
        """Those of a mask or of numbers."""
        return Detections(self.boxes[which], self.scores[which], None if self.keypoints is None else self.keypoints[which])

    def clipped(self, width: int, height: int) -> Detections:
        """With boxes cut off at the image's borders."""
        limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float32)
        return Detections(np.clip(self.boxes, 0.0, limits).astype(np.float32), self.scores.astype(np.float32), self.keypoints)


@dataclass(frozen=True)
class Placement:
    """Where the image lies in the network's input: input = image * ``scale`` + ``offset``, both (x, y)."""

    scale: tuple[float, float]
    offset: tuple[float, float]
    input_size: tuple[int, int]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Image pixels [..., 2] of input pixels [..., 2]."""
        return (points - np.array(self.offset, dtype=np.float32)) / np.array(self.scale, dtype=np.float32)


@dataclass(frozen=True)
class Model:
    """One kind of network. ``fit``: "stretch", "corner" (letterboxed, image at the top left) or "centre" (letterboxed)."""

    kind: str
    width: int
    height: int
    fit: str
    rgb: bool
    factor: float
    decoder: Callable[[Sequence[np.ndarray], Placement], Detections]

    def prepare(self, image_bgr: np.ndarray) -> tuple[np.ndarray, Placement]:
        """The network's input float32 [1, 3, height, width] and where the image lies in it."""
        height, width = image_bgr.shape[:2]
        if self.fit == "stretch":
            canvas = cv2.resize(image_bgr, (self.width, self.height))
            placement = Placement((self.width / width, self.height / height), (0.0, 0.0), (self.width, self.height))
        else:
            scale = min(self.width / width, self.height / height)
            wide, high = max(1, round(width * scale)), max(1, round(height * scale))
            left, top = ((self.width - wide) // 2, (self.height - high) // 2) if self.fit == "centre" else (0, 0)
            canvas = np.full((self.height, self.width, 3), _PADDING, dtype=np.uint8)
            canvas[top : top + high, left : left + wide] = cv2.resize(image_bgr, (wide, high))
            placement = Placement((wide / width, high / height), (float(left), float(top)), (self.width, self.height))
        if self.rgb:
            canvas = canvas[:, :, ::-1]
        tensor = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], dtype=np.float32)
        return (tensor if self.factor == 1.0 else tensor * np.float32(self.factor)), placement

    def decode(self, outputs: Sequence[np.ndarray], placement: Placement) -> Detections:
        """People in pixels of the image, all scores, overlaps not yet removed."""
        return self.decoder(outputs, placement)


def recognise(input_shape: Sequence[int], output_shapes: Sequence[Sequence[int]]) -> Model | None:
    """The kind of a network by its shapes (-1: not fixed), or None for an unknown one."""
    if len(input_shape) != 4 or input_shape[:2] != (1, 3) or min(input_shape) < 1 or len(output_shapes) != 1:
        return None
    height, width = input_shape[2:]
    output = tuple(output_shapes[0])
    if len(output) == 4 and output[:2] == (1, 1) and output[3] == 7:
        return Model("ssd", width, height, "stretch", False, 1.0, _decode_ssd)
    if len(output) != 3 or output[0] != 1:
        return None
    if output[1] == sum((height // s) * (width // s) for s in _STRIDES) and output[2] > 5 + _YOLO_PERSON:
        return Model("yolox", width, height, "corner", False, 1.0, _decode_yolox)
    if output[1] == 5 + 3 * _KEYPOINTS:
        return Model("yolo-pose", width, height, "centre", True, 1.0 / 255.0, _decode_yolo_pose)
    return None


def _decode_ssd(outputs: Sequence[np.ndarray], placement: Placement) -> Detections:
    """Rows of (image, class, score, x_min, y_min, x_max, y_max), the box in shares of the image; a row with image -1 ends the list."""
    rows = outputs[0].reshape(-1, 7)
    ended = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ended[0]] if len(ended) else rows
    rows = rows[rows[:, 1] == _SSD_PERSON]
    corners = rows[:, 3:7].reshape(-1, 2, 2) * np.array(placement.input_size, dtype=np.float32)
    return Detections(placement.to_image(corners).reshape(-1, 4).astype(np.float32), rows[:, 2].astype(np.float32))


def _decode_yolox(outputs: Sequence[np.ndarray], placement: Placement) -> Detections:
    """Ge et al., YOLOX (2021): per grid cell offset of the centre, log of the size (in strides), objectness, class scores."""
    rows = outputs[0][0]
    width, height = placement.input_size
    cells, strides = [], []
    for stride in _STRIDES:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.column_stack([x.ravel(), y.ravel()]))
        strides.append(np.full((x.size, 1), stride))
    cell, stride = np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)
    scores = rows[:, 4] * rows[:, 5 + _YOLO_PERSON]
    centre = (rows[:, :2] + cell) * stride
    # exp of a far-off cell's size may overflow; such sizes mean nothing anyway.
    half = np.exp(np.minimum(rows[:, 2:4], 10.0)) * stride / 2
    corners = np.stack([centre - half, centre + half], axis=1)
    return Detections(placement.to_image(corners).reshape(-1, 4).astype(np.float32), scores.astype(np.float32))


def _decode_yolo_pose(outputs: Sequence[np.ndarray], placement: Placement) -> Detections:
    """Ultralytics' pose export: columns of (centre, size, score, 17 x (x, y, confidence)) in input pixels."""
    rows = outputs[0][0].T
    corners = np.stack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2], axis=1)
    keypoints = rows[:, 5:].reshape(-1, _KEYPOINTS, 3).astype(np.float32)
    keypoints[:, :, :2] = placement.to_image(keypoints[:, :, :2])
    return Detections(placement.to_image(corners).reshape(-1, 4).astype(np.float32), rows[:, 4].astype(np.float32), keypoints)
