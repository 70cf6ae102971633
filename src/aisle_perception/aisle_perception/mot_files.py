"""Detections and tracks as MOTChallenge text files (Leal-Taixé et al., MOTChallenge 2015, arXiv:1504.01942).

One row per box: ``frame, id, left, top, width, height, confidence, x, y, z``, pixels, frames counted from 1; detections have id -1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_COLUMNS = ("frame", "id", "left", "top", "width", "height", "confidence")
_GREATEST_FRAME = 10_000_000


class MotFileError(Exception):
    """A file that does not hold boxes; the message names file and line, what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class MotBoxes:
    """All boxes of a file, ordered by frame: ``frames`` int [M], ``ids`` int [M] (-1: none), ``boxes`` float64 [M, 4] (left, top, right,
    bottom, px), ``scores`` float64 [M]."""

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.frames)

    def by_frame(self) -> dict[int, slice]:
        """Where each frame from 1 to the last one lies; frames without boxes are empty slices."""
        edges = np.searchsorted(self.frames, np.arange(1, self.last_frame + 2)).tolist()
        return {frame: slice(edges[frame - 1], edges[frame]) for frame in range(1, self.last_frame + 1)}

    @property
    def last_frame(self) -> int:
        return int(self.frames[-1]) if len(self.frames) else 0


def read_boxes(path: Path) -> MotBoxes:
    """Reads a det.txt, gt.txt or result file. Raises MotFileError; OSError where the file cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise MotFileError(f"{path}: not a text file ({error.reason} at byte {error.start})") from None
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise MotFileError(f"{path}: no boxes, expected rows of {','.join(_COLUMNS)}")
    table = np.array(rows)
    table = table[np.argsort(table[:, 0], kind="stable")]
    boxes = table[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    return MotBoxes(table[:, 0].astype(int), table[:, 1].astype(int), boxes, table[:, 6])


def write_tracks(path: Path, rows: Sequence[tuple[int, int, np.ndarray, float]]) -> None:
    """Writes (frame, id, box [4] left top right bottom, confidence) in the given order; the file appears whole or not at all."""
    text = "".join(
        f"{frame},{number},{box[0]:.2f},{box[1]:.2f},{box[2] - box[0]:.2f},{box[3] - box[1]:.2f},{score:.3f},-1,-1,-1\n"
        for frame, number, box, score in rows
    )
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="ascii")
    unfinished.replace(path)


def as_probabilities(scores: np.ndarray) -> np.ndarray:
    """Detectors' confidences as numbers in 0..1, whatever scale a file has.

    Within 0..1 they stay as they are; one and the same number for all boxes (files without confidences write -1 or 1) counts as certain;
    percent are divided by 100; other scales (margins of a classifier, which may be negative) go through the logistic function.
    """
    if not len(scores) or scores.min() == scores.max():
        return np.ones(len(scores))
    if scores.min() >= 0.0 and scores.max() <= 1.0:
        return scores
    if scores.min() >= 0.0 and 10.0 < scores.max() <= 100.0:
        return scores / 100.0
    return 1.0 / (1.0 + np.exp(-scores))


def _row(line: str, where: str) -> list[float]:
    fields = line.replace(",", " ").split()
    if len(fields) < len(_COLUMNS):
        raise MotFileError(f"{where}: {len(fields)} columns, expected at least {len(_COLUMNS)}: {','.join(_COLUMNS)}")
    values = []
    for name, text in zip(_COLUMNS, fields, strict=False):
        try:
            value = float(text)
        except ValueError:
            raise MotFileError(f"{where}: {name} is '{text}', expected a number") from None
        if not np.isfinite(value):
            raise MotFileError(f"{where}: {name} is {text}, expected a finite number")
        values.append(value)
    numbers: Mapping[str, float] = dict(zip(_COLUMNS, values, strict=True))
    if not (1 <= numbers["frame"] <= _GREATEST_FRAME and numbers["frame"].is_integer()):
        raise MotFileError(f"{where}: frame is {fields[0]}, expected a whole number from 1 on")
    if not (numbers["width"] > 0.0 and numbers["height"] > 0.0):
        raise MotFileError(f"{where}: box of {fields[4]} x {fields[5]} px, expected a width and a height above 0")
    return values
