"""What a detector is made of, in one text: ``onnx:model.onnx?layout=yolox&size=416x416&score=0.3`` (docs/detectors.md)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aisle_perception.detector_models import FITS, LAYOUTS, Layout
from aisle_perception.detector_runtimes import RUNTIMES, DetectorError

SPECIFICATIONS = "openvino:PATH, onnx:PATH, torch:PATH or motion"


@dataclass(frozen=True)
class Specification:
    """``changes``: fields of the model's ``Layout`` that differ from what its kind usually has; ``thresholds``: of ``DetectorConfig``."""

    text: str
    backend: str
    path: Path | None = None
    layout: str = ""
    size: tuple[int, int] | None = None
    device: str = "cpu"
    changes: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def adapt(self, layout: Layout) -> Layout:
        """The layout as this specification wants it."""
        return dataclasses.replace(layout, **self.changes)


def parse(text: str) -> Specification:
    """Takes a specification apart. Raises DetectorError for an unknown backend, a missing file, an unknown option or a wrong value."""
    backend, _, place = text.partition(":")
    if backend == "motion" and not place:
        return Specification(text, backend)
    name, _, query = place.partition("?")
    if backend not in RUNTIMES or not name:
        raise DetectorError(f"detector '{text}' is unknown, expected {SPECIFICATIONS}")
    path = Path(name)
    if not path.is_file():
        raise DetectorError(f"{path}: no such model file")
    given: dict[str, dict[str, Any]] = {"": {}, "changes": {}, "thresholds": {}}
    for option in filter(None, query.split("&")):
        key, _, value = option.partition("=")
        if key not in _OPTIONS:
            raise DetectorError(f"detector '{text}': unknown option '{key}', expected one of {', '.join(_OPTIONS)}")
        group, target, convert, expected = _OPTIONS[key]
        try:
            given[group][target] = convert(value)
        except ValueError:
            raise DetectorError(f"detector '{text}': {key} is '{value}', expected {expected}") from None
    return Specification(text, backend, path, **given[""], changes=given["changes"], thresholds=given["thresholds"])


def _one_of(*known: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value not in known:
            raise ValueError
        return value

    return convert


def _size(value: str) -> tuple[int, int]:
    width, height = map(int, value.split("x"))
    if not (0 < width <= 8192 and 0 < height <= 8192):
        raise ValueError
    return width, height


def _share(value: str) -> float:
    if not 0.0 <= float(value) <= 1.0:
        raise ValueError
    return float(value)


def _positive(value: str) -> float:
    if not (0.0 < float(value) < math.inf):
        raise ValueError
    return float(value)


def _three(convert: Callable[[str], float]) -> Callable[[str], tuple[float, ...]]:
    def each(value: str) -> tuple[float, ...]:
        first, second, third = map(convert, value.split(","))
        return first, second, third

    return each


def _finite(value: str) -> float:
    if not math.isfinite(float(value)):
        raise ValueError
    return float(value)


def _classes(value: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in value.split(","))
    if min(numbers) < 0:
        raise ValueError
    return numbers


def _is_rgb(value: str) -> bool:
    return _one_of("rgb", "bgr")(value) == "rgb"


#: Option -> (which group it belongs to, name there, conversion, what is expected).
_OPTIONS: dict[str, tuple[str, str, Callable[[str], Any], str]] = {
    "layout": ("", "layout", _one_of(*LAYOUTS), f"one of {', '.join(LAYOUTS)}"),
    "size": ("", "size", _size, "WIDTHxHEIGHT in pixels, such as 416x416"),
    "device": ("", "device", str, "cpu, cuda or cuda:NUMBER"),
    "fit": ("changes", "fit", _one_of(*FITS), f"one of {', '.join(FITS)}"),
    "colour": ("changes", "rgb", _is_rgb, "rgb or bgr"),
    "factor": ("changes", "factor", _positive, "a positive number"),
    "mean": ("changes", "mean", _three(_finite), "three numbers, such as 0.485,0.456,0.406"),
    "deviation": ("changes", "deviation", _three(_positive), "three positive numbers, such as 0.229,0.224,0.225"),
    "classes": ("changes", "classes", _classes, "class numbers separated by commas, such as 0,2"),
    "score": ("thresholds", "score_threshold", _share, "a number from 0 to 1"),
    "overlap": ("thresholds", "overlap_threshold", _share, "a number from 0 to 1"),
}
