"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from aisle_contract.records import ScaleReading
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, REPORT_NS
from aisle_store.store import ShelfKey, Store


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
    """float64 [BINS_PER_REPORT, width] kg: each plate's median in each bin of a report interval, NaN where it gave no sample.

    The median leaves out single glitches. It does not depend on how samples were cut into pieces, nor on their order.
    """
    placed = [(piece, _slots((piece.stamps - report * REPORT_NS) // BIN_NS)) for piece in _by_columns(pieces)]
    depth = max((int(slots.max()) + 1 for _, slots in placed), default=1)
    table = np.full((BINS_PER_REPORT, depth, width), np.nan)
    for piece, slots in placed:
        bins = (piece.stamps - report * REPORT_NS) // BIN_NS
        table[bins[:, None], slots[:, None], piece.columns[None, :]] = piece.loads
    return _median_of_present(table)


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


def _median_of_present(table: np.ndarray) -> np.ndarray:
    """Median over axis 1 of [bins, slots, plates] without the NaNs (np.nanmedian is many times slower on such small tables)."""
    table = np.where(np.isfinite(table), table, np.nan)
    table.sort(axis=1)
    count = np.isfinite(table).sum(axis=1)
    low = np.maximum(count - 1, 0) // 2
    high = count // 2
    low_value = np.take_along_axis(table, low[:, None, :], axis=1)[:, 0]
    high_value = np.take_along_axis(table, np.minimum(high, table.shape[1] - 1)[:, None, :], axis=1)[:, 0]
    # An even count n has its middle at n/2 - 1 and n/2, an odd one at (n - 1)/2 = n // 2.
    return np.where(count > 0, 0.5 * (low_value + high_value), np.nan)
