"""Kinds of detection networks as data: how an image goes in and what the numbers that come out mean.

A ``Layout`` describes one family of networks; two decoders (lists of found boxes, dense predictions) serve them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

#: Grey that YOLO models are trained to see around a letterboxed image.
_PADDING = 114
#: Pixels per cell of the grids that dense networks predict on; large models have a fourth.
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_KEYPOINTS = 17
#: exp of a far-off cell's size may overflow; such sizes mean nothing anyway.
_GREATEST_LOG_SIZE = 10.0
#: How an image is brought to the network's size: deformed, or letterboxed with the image at the top left or in the middle.
FITS = ("stretch", "corner", "centre")


@dataclass(frozen=True, eq=False)
class Detections:
    """People in one image: ``boxes`` float32 [N, 4] (x_min, y_min, x_max, y_max) px, ``scores`` float32 [N], ``keypoints`` float32
    [N, 17, 3] (x px, y px, confidence) in COCO's order or None."""

    boxes: np.ndarray
    scores: np.ndarray
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def chosen(self, which: np.ndarray) -> Detections:
        """Those of a mask or of numbers."""
        return Detections(self.boxes[which], self.scores[which], None if self.keypoints is None else self.keypoints[which])

    def clipped(self, width: int, height: int) -> Detections:
        """With boxes cut off at the image's borders, without those that lie outside."""
        limits = np.array([width - 1, height - 1, width - 1, height - 1], dtype=np.float32)
        cut = Detections(np.clip(self.boxes, 0.0, limits).astype(np.float32), self.scores.astype(np.float32), self.keypoints)
        return cut.chosen((cut.boxes[:, 2:] > cut.boxes[:, :2]).all(axis=1))


@dataclass(frozen=True)
class Placement:
    """Where the image lies in the network's input: input = image * ``scale`` + ``offset``, both (x, y)."""

    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Image pixels [..., 2] of input pixels [..., 2]."""
        return (points - np.array(self.offset, dtype=np.float32)) / np.array(self.scale, dtype=np.float32)


@dataclass(frozen=True)
class Listed:
    """Output [images, 1, N, 7]: rows of (image, class, score, x_min, y_min, x_max, y_max), the box in shares of the image. A row with a
    negative image number ends the list. What SSD's DetectionOutput layer gives."""

    shape = "[1, 1, N, 7]"

    def matches(self, width: int, height: int, shape: Sequence[int]) -> bool:
        return len(shape) == 4 and shape[1] == 1 and shape[3] == 7

    def misfit(self, shape: Sequence[int], classes: Sequence[int]) -> str:
        """What is wrong with these classes for an output of this shape; empty: nothing that can be seen."""
        return ""

    def decode(self, output: np.ndarray, model: Model, least_score: float) -> Detections:
        rows = output.reshape(-1, 7)
        ended = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: ended[0]] if len(ended) else rows
        rows = rows[np.isin(rows[:, 1], model.layout.classes) & (rows[:, 2] >= least_score)]
        corners = rows[:, 3:7].reshape(-1, 2, 2) * np.array([model.width, model.height], dtype=np.float32)
        return Detections(corners.reshape(-1, 4), rows[:, 2])


@dataclass(frozen=True)
class Dense:
    """Output with a prediction for each cell of grids of strides 8, 16, 32 (and 64): centre and size of a box in input pixels, then (if
    ``objectness``) whether there is anything, class scores, and (if ``keypoints``) 17 x (x, y, confidence).

    ``columns``: predictions stand in columns [images, fields, N] and not in rows [images, N, fields]. ``on_grid``: centres are offsets
    from the cell and sizes logarithms, in strides (Ge et al., YOLOX, 2021). ``per_cell``: predictions in each cell (anchors).
    """

    columns: bool
    objectness: bool = False
    keypoints: bool = False
    on_grid: bool = False
    per_cell: int = 1

    @property
    def first_class(self) -> int:
        return 5 if self.objectness else 4

    @property
    def shape(self) -> str:
        fields = str(self.first_class + 1 + 3 * _KEYPOINTS) if self.keypoints else f"{self.first_class} + classes"
        return f"[1, {fields}, N]" if self.columns else f"[1, N, {fields}]"

    def matches(self, width: int, height: int, shape: Sequence[int]) -> bool:
        if len(shape) != 3:
            return False
        fields, count = (shape[1], shape[2]) if self.columns else (shape[2], shape[1])
        counts = [self.per_cell * len(_cells(width, height, strides)[0]) for strides in _STRIDES]
        fitting = fields == self.first_class + 1 + 3 * _KEYPOINTS if self.keypoints else fields > self.first_class
        return count in counts and fitting

    def misfit(self, shape: Sequence[int], classes: Sequence[int]) -> str:
        """As ``Listed.misfit``."""
        count = 1 if self.keypoints else (shape[1] if self.columns else shape[2]) - self.first_class
        return "" if max(classes) < count else f"class {max(classes)} is asked for, the model has classes 0 .. {count - 1}"

    def decode(self, output: np.ndarray, model: Model, least_score: float) -> Detections:
        rows = output.T if self.columns else output
        if self.keypoints:
            scores = rows[:, self.first_class]
        else:
            scores = rows[:, [self.first_class + number for number in model.layout.classes]].max(axis=1)
        if self.objectness:
            scores = scores * rows[:, 4]
        kept = np.flatnonzero(scores >= least_score)
        rows, scores = rows[kept].astype(np.float32), scores[kept]
        centre, size = rows[:, :2], rows[:, 2:4]
        if self.on_grid:
            strides = next(s for s in _STRIDES if self.per_cell * len(_cells(model.width, model.height, s)[0]) == output.shape[0])
            cell, stride = (part[kept] for part in _cells(model.width, model.height, strides))
            centre, size = (centre + cell) * stride, np.exp(np.minimum(size, _GREATEST_LOG_SIZE)) * stride
        boxes = np.hstack([centre - size / 2, centre + size / 2])
        keypoints = rows[:, self.first_class + 1 :].reshape(-1, _KEYPOINTS, 3) if self.keypoints else None
        return Detections(boxes, scores, keypoints)


@lru_cache(maxsize=8)
def _cells(width: int, height: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Cells (x, y) float32 [N, 2] and their strides [N, 1], row by row, the finest grid first."""
    cells, sizes = [], []
    for stride in strides:
        y, x = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.column_stack([x.ravel(), y.ravel()]))
        sizes.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """One family of networks. Input = (pixel * ``factor`` - ``mean``) / ``deviation``, channel by channel in the network's order.

    ``classes``: numbers of the classes that count as persons. ``recognised``: whether the output's shape alone tells the family.
    """

    output: Listed | Dense
    fit: str
    rgb: bool
    factor: float = 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    deviation: tuple[float, ...] = (1.0, 1.0, 1.0)
    classes: tuple[int, ...] = (0,)
    recognised: bool = True


#: Families by name, in the order in which they are tried.
LAYOUTS: Mapping[str, Layout] = {
    # Class 0 is the background.
    "ssd": Layout(Listed(), "stretch", rgb=False, classes=(1,)),
    "yolox": Layout(Dense(columns=False, objectness=True, on_grid=True), "corner", rgb=False),
    "yolox-decoded": Layout(Dense(columns=False, objectness=True), "corner", rgb=False, recognised=False),
    "yolov5": Layout(Dense(columns=False, objectness=True, per_cell=3), "centre", rgb=True, factor=1 / 255),
    "yolo-pose": Layout(Dense(columns=True, keypoints=True), "centre", rgb=True, factor=1 / 255),
    "yolo": Layout(Dense(columns=True), "centre", rgb=True, factor=1 / 255),
}


@dataclass(frozen=True)
class Model:
    """A layout at one size of input."""

    layout: Layout
    width: int
    height: int

    def prepare(self, images_bgr: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Placement]]:
        """The network's input float32 [B, 3, height, width] for B images uint8 [H, W, 3], and where each lies in it."""
        tensor = np.empty((len(images_bgr), 3, self.height, self.width), dtype=np.float32)
        placements = []
        for number, image in enumerate(images_bgr):
            canvas, placement = self._canvas(image)
            tensor[number] = (canvas[:, :, ::-1] if self.layout.rgb else canvas).transpose(2, 0, 1)
            placements.append(placement)
        if self.layout.factor != 1.0:
            tensor *= np.float32(self.layout.factor)
        if any(self.layout.mean) or set(self.layout.deviation) != {1.0}:
            mean, deviation = (np.array(values, dtype=np.float32)[:, None, None] for values in (self.layout.mean, self.layout.deviation))
            tensor = (tensor - mean) / deviation
        return tensor, placements

    def _canvas(self, image: np.ndarray) -> tuple[np.ndarray, Placement]:
        height, width = image.shape[:2]
        if self.layout.fit == "stretch":
            return cv2.resize(image, (self.width, self.height)), Placement((self.width / width, self.height / height), (0.0, 0.0))
        scale = min(self.width / width, self.height / height)
        wide, high = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = ((self.width - wide) // 2, (self.height - high) // 2) if self.layout.fit == "centre" else (0, 0)
        canvas = np.full((self.height, self.width, 3), _PADDING, dtype=np.uint8)
        canvas[top : top + high, left : left + wide] = cv2.resize(image, (wide, high))
        return canvas, Placement((wide / width, high / height), (float(left), float(top)))

    def decode(self, output: np.ndarray, placements: Sequence[Placement], least_score: float) -> list[Detections]:
        """People in pixels of each image from the network's ``output`` [B, ...], overlaps not yet removed, without what is not finite."""
        return [self._decode_one(single, placement, least_score) for single, placement in zip(output, placements, strict=True)]

    def _decode_one(self, output: np.ndarray, placement: Placement, least_score: float) -> Detections:
        found = self.layout.output.decode(output, self, least_score)
        boxes = placement.to_image(found.boxes.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)
        keypoints = found.keypoints
        if keypoints is not None:
            keypoints = np.concatenate([placement.to_image(keypoints[:, :, :2]), keypoints[:, :, 2:]], axis=2).astype(np.float32)
        found = Detections(boxes, found.scores.astype(np.float32), keypoints)
        return found.chosen(np.isfinite(found.boxes).all(axis=1))


def recognise(width: int, height: int, output_shapes: Sequence[Sequence[int]], wanted: str = "") -> Layout | None:
    """The layout of a network with this input size and these outputs (for one image), or None for an unknown one.

    ``wanted``: name of the layout that it must have, where the shape alone does not tell or tells wrongly.
    """
    if len(output_shapes) != 1 or output_shapes[0][:1] != (1,):
        return None
    candidates = [LAYOUTS[wanted]] if wanted else [layout for layout in LAYOUTS.values() if layout.recognised]
    return next((layout for layout in candidates if layout.output.matches(width, height, output_shapes[0])), None)


def known_shapes() -> str:
    """What ``recognise`` knows, in words."""
    return ", ".join(f"{name} {layout.output.shape}" for name, layout in LAYOUTS.items() if layout.recognised)
