"""What a replay made, as files: carts as JSON lines, tracks as CSV. The same records give the same bytes."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from aisle_contract.records import BodyPoint, Cart, CartLine, Evidence, Track, Tracks

#: 0.1 mm, 0.1 mm/s, 1/10000, 0.1 g: far finer than anything that is decided by, and coarser than the last bits of a processor's arithmetic.
_DIGITS = 4
_POINTS = ("head", "left_wrist", "right_wrist")

TRACK_COLUMNS = (
    *("stamp_ns", "track", "x_m", "y_m", "vx_m_per_s", "vy_m_per_s", "x_deviation_m", "y_deviation_m", "existence", "unseen_s"),
    *(f"{point}_{axis}_m" for point in _POINTS for axis in "xyz"),
)


class WholeFile:
    """A text file that appears when it is complete, or not at all; use it in a ``with`` statement. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = Path(path)
        self._part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        self.text = self._part.open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> WholeFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.text.close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


class CartsFile(WholeFile):
    """One line for each ``Cart``, as it was published: JSON with fixed order of keys, times in ns since the epoch, kg, m."""

    def add(self, cart: Cart) -> None:
        self.text.write(cart_line(cart) + "\n")


class TracksFile(WholeFile):
    """One row for each track of each ``Tracks``; m, s, frame ``store``; a head or wrist that is not seen has empty cells."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = csv.writer(self.text, lineterminator="\n")
        self._rows.writerow(TRACK_COLUMNS)

    def add(self, tracks: Tracks) -> None:
        self._rows.writerows(_track_row(tracks.stamp_ns, track) for track in tracks.tracks)


def cart_line(cart: Cart) -> str:
    """The cart as one line of JSON."""
    document = {
        "stamp_ns": cart.stamp_ns,
        "session": cart.session,
        "shopper": cart.shopper,
        "track": cart.track,
        "status": cart.status.name.lower(),
        "entered_ns": cart.entered_ns,
        "left_ns": cart.left_ns,
        "lines": [_line(line) for line in cart.lines],
        "doubts": list(cart.doubts),
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _line(line: CartLine) -> dict[str, Any]:
    return {
        "product": line.product,
        "quantity": line.quantity,
        "probability": _number(line.probability),
        "evidence": [_evidence(evidence) for evidence in line.evidence],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "event": evidence.event,
        "quantity": evidence.quantity,
        "change_kg": _number(evidence.change),
        "deviation_kg": _number(evidence.deviation),
        "expected_kg": _number(evidence.expected),
        "distance_m": _number(evidence.distance),
        "probability": _number(evidence.probability),
        "alternative": evidence.alternative,
        "alternative_probability": _number(evidence.alternative_probability),
    }


def _track_row(stamp_ns: int, track: Track) -> list[Any]:
    deviations = np.sqrt(np.diagonal(track.covariance)[:2])
    numbers = (*track.position, *track.velocity, *deviations, track.existence, track.unseen_s)
    points = (track.head, track.left_wrist, track.right_wrist)
    return [stamp_ns, track.track, *map(_text, numbers), *(cell for point in points for cell in _point_cells(point))]


def _point_cells(point: BodyPoint | None) -> Sequence[str]:
    return ("", "", "") if point is None else [_text(value) for value in point.position]


def _text(value: float) -> str:
    rounded = _number(value)
    return "" if rounded is None else f"{rounded:.{_DIGITS}f}"


def _number(value: float) -> float | None:
    """Rounded; None for what is not known. Adding zero makes -0.0 plain 0.0."""
    return round(float(value), _DIGITS) + 0.0 if math.isfinite(value) else None
