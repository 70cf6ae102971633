"""What the YAML files of a store folder must look like: field names, types and ranges (docs/store-format.md).

Only what one value or one record shows by itself is checked here; what spans records or files is checked in ``store_files``.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from aisle_contract.topics import ID_PATTERN
from aisle_store.store import GateKind

#: Largest deviation of R R^T from the identity that still passes as a rotation (numbers written with four digits).
ROTATION_TOLERANCE = 1e-3


def identifier(text: str) -> str:
    """An id of a gondola, shelf, plate, camera, gate or zone: it becomes part of ROS names. ValueError otherwise."""
    if not isinstance(text, str) or not ID_PATTERN.fullmatch(text):
        raise ValueError("letters, digits and underscores (ids become part of ROS names)")
    return text


def product_identifier(text: str) -> str:
    """An id of a product: whatever the catalogue uses, on one line. ValueError otherwise."""
    if not text or text != text.strip() or not text.isprintable() or len(text) > 100:
        raise ValueError("1 to 100 printable characters without spaces at the ends")
    return text


def positive_number(text: str) -> float:
    """A finite number > 0, as text. ValueError otherwise."""
    return _number(text, lambda value: value > 0, "a number > 0")


def non_negative_number(text: str) -> float:
    """A finite number >= 0, as text. ValueError otherwise."""
    return _number(text, lambda value: value >= 0, "a number >= 0")


def price(text: str) -> Decimal:
    """An amount of money >= 0, as text, with at most four decimals. ValueError otherwise."""
    expected = "an amount >= 0 with at most four decimals, for example 1.99"
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(expected) from None
    if not amount.is_finite() or amount < 0 or amount.as_tuple().exponent < -4:
        raise ValueError(expected)
    return amount


def rotation_matrix(value: Any) -> np.ndarray:
    """float64 [3, 3] of a Rodrigues vector [3] (radians) or a rotation matrix [3][3]. ValueError for anything else."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape not in ((3,), (3, 3)) or not np.isfinite(array).all():
        raise ValueError("a Rodrigues vector of 3 numbers or a rotation matrix of 3 x 3 numbers")
    if array.shape == (3,):
        return cv2.Rodrigues(array)[0]
    if np.abs(array @ array.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(array) < 0:
        raise ValueError("a rotation: orthonormal rows and determinant +1")
    return array


def pose_matrix(value: Any) -> np.ndarray:
    """float64 [4, 4] of a rotation and a translation: last row 0 0 0 1. ValueError for anything else."""
    try:
        pose = np.array(value, dtype=float)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4) or not np.isfinite(pose).all() or not np.array_equal(pose[3], [0, 0, 0, 1]):
        raise ValueError("a pose of 4 x 4 numbers with last row 0 0 0 1")
    rotation_matrix(pose[:3, :3])
    return pose


def camera_matrix(value: Any) -> np.ndarray:
    """float64 [3, 3]: [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], fx and fy > 0. ValueError for anything else."""
    try:
        matrix = np.array(value, dtype=float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise ValueError("a matrix of 3 x 3 numbers")
    if abs(np.linalg.det(matrix)) < 1e-9:
        raise ValueError("a camera matrix that is not singular")
    form = np.array([[matrix[0, 0], 0, matrix[0, 2]], [0, matrix[1, 1], matrix[1, 2]], [0, 0, 1]])
    if not np.array_equal(matrix, form) or matrix[0, 0] <= 0 or matrix[1, 1] <= 0:
        raise ValueError("[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx and fy > 0")
    return matrix


def polygon(value: list[tuple[float, float]]) -> np.ndarray:
    """float64 [K, 2] of at least three points whose edges do not cross or touch. ValueError otherwise."""
    points = np.array(value, dtype=float).reshape(-1, 2)
    if len(points) < 3:
        raise ValueError(f"at least 3 points, not {len(points)}")
    crossing = _crossing_edges(points)
    if crossing is not None:
        raise ValueError(f"edges that do not cross or touch; edges {crossing[0]} and {crossing[1]} do")
    return points


def _number(text: str, accept: Callable[[float], bool], expected: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise ValueError(expected) from None
    if not np.isfinite(value) or not accept(value):
        raise ValueError(expected)
    return value


def _crossing_edges(points: np.ndarray) -> tuple[int, int] | None:
    """The first pair of edges (edge i runs from point i to the next) that meet elsewhere than in a common corner."""
    count = len(points)
    edges = [(points[i], points[(i + 1) % count]) for i in range(count)]
    for i, (a, b) in enumerate(edges):
        for j in range(i + 1, count):
            c, d = edges[j]
            if (j == i + 1 and _folds_back(a, b, d)) or ((j + 1) % count == i and _folds_back(c, d, b)):
                return i, j
            if j != i + 1 and (j + 1) % count != i and _segments_meet(a, b, c, d):
                return i, j
    return None


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """Twice the signed area of the triangle a, b, c."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _folds_back(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> bool:
    """Whether the path a, b, c has an empty step or turns back onto itself in b."""
    return bool(_side(a, b, c) == 0 and (b - a) @ (c - b) <= 0)


def _segments_meet(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    """Whether two closed segments have a point in common (O'Rourke, Computational Geometry in C, 1.5)."""
    sides = [np.sign(_side(a, b, c)), np.sign(_side(a, b, d)), np.sign(_side(c, d, a)), np.sign(_side(c, d, b))]
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    on_segment = [(a, b, c), (a, b, d), (c, d, a), (c, d, b)]
    return any(side == 0 and (p - s) @ (p - e) <= 0 for side, (s, e, p) in zip(sides, on_segment, strict=True))


Identifier = Annotated[str, AfterValidator(identifier)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Vector = tuple[Number, Number, Number]
Rotation = Annotated[Any, BeforeValidator(rotation_matrix)]
Polygon = Annotated[list[tuple[Number, Number]], AfterValidator(polygon)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class _Placed(_Entry):
    translation: Vector
    rotation: Rotation = Field(default_factory=lambda: np.eye(3))

    @property
    def pose(self) -> np.ndarray:
        """float64 [4, 4], to the parent's frame."""
        pose = np.eye(4)
        pose[:3, :3] = self.rotation
        pose[:3, 3] = self.translation
        return pose


class PlateEntry(_Placed):
    plate: Identifier
    size: tuple[Positive, Positive]
    capacity_kg: Positive


class ShelfEntry(_Placed):
    shelf: Identifier
    size: tuple[Positive, Positive, Positive]
    plates: list[PlateEntry]


class GondolaEntry(_Placed):
    gondola: Identifier
    size: tuple[Positive, Positive, Positive]
    shelves: list[ShelfEntry]


class LayoutFile(_Entry):
    gondolas: list[GondolaEntry]


class CameraEntry(_Placed):
    camera: Identifier
    width: Annotated[int, Field(gt=0)]
    height: Annotated[int, Field(gt=0)]
    matrix: Annotated[Any, BeforeValidator(camera_matrix)]
    distortion: tuple[Number, Number, Number, Number, Number]
    rate_hz: Positive


class CamerasFile(_Entry):
    cameras: list[CameraEntry]


class ZoneEntry(_Entry):
    zone: Identifier
    polygon: Polygon


class GateEntry(_Entry):
    gate: Identifier
    kind: GateKind
    ends: tuple[tuple[Number, Number], tuple[Number, Number]]


class FloorFile(_Entry):
    """The parts of ``store.yaml`` that say where people are; also the file given to ``./aisle import nanostore --gates``."""

    floor: Polygon | None = None
    zones: list[ZoneEntry] | None = None
    gates: list[GateEntry] | None = None


class StoreFile(_Entry):
    format: Annotated[int, Field(ge=1, le=1)]
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    floor: Polygon
    zones: list[ZoneEntry]
    gates: list[GateEntry]
