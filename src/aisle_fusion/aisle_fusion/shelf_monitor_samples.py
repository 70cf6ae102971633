"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aisle_contract.records import ScaleReading
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, REPORT_NS
from aisle_store.store import ShelfKey, Store

#: A single sample this far from both its neighbours is an electrical glitch: a hand or an item takes longer than 1/60 s to come and go.
GLITCH_KG = 0.5


class PlateColumns:
    """Where each plate of a store stands in arrays: shelf by shelf, in their order along the shelf, each shelf padded to ``width``."""

    def __init__(self, store: Store) -> None:
        self.shelves: tuple[ShelfKey, ...] = tuple(shelf.key for shelf in store.shelves())
        self.plates: dict[ShelfKey, tuple[str, ...]] = {
            shelf.key: tuple(sorted(shelf.plates, key=lambda plate, s=shelf: _along(s.pose, s.plates[plate].centre)))
            for shelf in store.shelves()
        }
        self.width = max((len(plates) for plates in self.plates.values()), default=0)
        self._first = {key: number * self.width for number, key in enumerate(self.shelves)}
        self.exists = np.zeros(len(self.shelves) * self.width, dtype=bool)
        for key, plates in self.plates.items():
            self.exists[self._first[key] : self._first[key] + len(plates)] = True

    @property
    def count(self) -> int:
        return len(self.exists)

    def of_shelf(self, key: ShelfKey) -> slice:
        """The columns of a shelf's plates."""
        return slice(self._first[key], self._first[key] + len(self.plates[key]))

    def find(self, key: ShelfKey, plates: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Columns of a reading: (indices into ``plates`` of those that the layout has, their columns)."""
        order = {plate: number for number, plate in enumerate(self.plates[key])}
        known = [number for number, plate in enumerate(plates) if plate in order]
        return np.array(known, dtype=int), self._first[key] + np.array([order[plates[number]] for number in known], dtype=int)


def _along(pose: np.ndarray, point: np.ndarray) -> float:
    """A store point's x in the shelf's own frame; rounded, so that equal places keep the layout's order."""
    return round(float(pose[:3, 0] @ (point - pose[:3, 3])), 6)


@dataclass(frozen=True)
class SamplePiece:
    """Samples of one shelf within one report interval: ``stamps`` int64 [n] ns, ``loads`` float64 [n, len(columns)] kg."""

    report: int
    stamps: np.ndarray
    columns: np.ndarray
    loads: np.ndarray


def pieces_of(reading: ScaleReading, known: np.ndarray, columns: np.ndarray) -> Iterator[SamplePiece]:
    """Cuts a reading where report intervals meet, so that a piece is needed as a whole or not at all."""
    stamps = reading.stamp_ns + np.arange(len(reading.weights), dtype=np.int64) * reading.sample_period_ns
    loads = np.asarray(reading.weights, dtype=float)[:, known]
    reports = stamps // REPORT_NS
    cuts = np.flatnonzero(np.diff(reports)) + 1
    for first, last in zip((0, *cuts), (*cuts, len(stamps)), strict=True):
        yield SamplePiece(int(reports[first]), stamps[first:last], columns, loads[first:last])


def bin_loads(report: int, pieces: list[SamplePiece], width: int) -> np.ndarray:
    """float64 [BINS_PER_REPORT, width] kg: each plate's mean in each bin of a report interval, NaN where it gave no sample.

    A mean, not a median: shelves ring at up to half the sampling rate, and a median of the few samples of a bin makes an offset of that.
    The result does not depend on how samples were cut into pieces.
    """
    table = _table(report, pieces, width)
    present = np.isfinite(table)
    count = present.sum(axis=1)
    total = np.where(present, table, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _table(report: int, pieces: list[SamplePiece], width: int) -> np.ndarray:
    """float64 [BINS_PER_REPORT, slots, width]: the samples of each bin in the order of their stamps."""
    joined = list(_by_columns(pieces))
    bins = [(piece.stamps - report * REPORT_NS) // BIN_NS for piece in joined]
    slots = [_slots(of_piece) for of_piece in bins]
    table = np.full((BINS_PER_REPORT, max((int(s.max()) + 1 for s in slots), default=1), width), np.nan)
    for piece, of_bin, slot in zip(joined, bins, slots, strict=True):
        table[of_bin[:, None], slot[:, None], piece.columns[None, :]] = _without_glitches(piece.loads)
    return table


def _by_columns(pieces: list[SamplePiece]) -> Iterator[SamplePiece]:
    """Joins the pieces of the same plates, in the order of their stamps."""
    joined: dict[tuple[int, ...], list[SamplePiece]] = {}
    for piece in pieces:
        joined.setdefault(tuple(piece.columns), []).append(piece)
    for same in joined.values():
        stamps = np.concatenate([piece.stamps for piece in same])
        order = np.argsort(stamps, kind="stable")
        loads = np.concatenate([piece.loads for piece in same])
        yield SamplePiece(same[0].report, stamps[order], same[0].columns, loads[order])


def _slots(bins: np.ndarray) -> np.ndarray:
    """Counts up within runs of equal (sorted) bins: 0, 1, 2, 0, 1, ..."""
    starts = np.r_[0, np.flatnonzero(np.diff(bins)) + 1]
    lengths = np.diff(np.r_[starts, len(bins)])
    return np.arange(len(bins)) - np.repeat(starts, lengths)


def _without_glitches(loads: np.ndarray) -> np.ndarray:
    """``loads`` [n, plates] with NaN for single samples that jump away from both their neighbours, which agree with one another."""
    clean = loads.copy()
    if len(loads) < 3:
        return clean
    with np.errstate(invalid="ignore"):
        from_both = np.minimum(np.abs(loads[1:-1] - loads[:-2]), np.abs(loads[1:-1] - loads[2:]))
        clean[1:-1][(from_both > GLITCH_KG) & (np.abs(loads[2:] - loads[:-2]) < GLITCH_KG / 4)] = np.nan
    clean[np.isinf(clean)] = np.nan
    return clean
