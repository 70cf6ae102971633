"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

import numpy as np

import aisle_kernels
from aisle_contract.records import ScaleReading
from aisle_fusion.shelf_monitor_config import BIN_NS
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
        #: What each column's plate can carry, kg; 0 for columns that are no plates.
        self.capacity = np.zeros(len(self.shelves) * self.width)
        for key, plates in self.plates.items():
            columns = slice(self._first[key], self._first[key] + len(plates))
            self.capacity[columns] = [store.plate(*key, plate).capacity_kg for plate in plates]

    @property
    def count(self) -> int:
        return len(self.capacity)

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


class SampleBins:
    """Sorts samples into bins as they come, and gives the mean loads of bins that are complete (``aisle_kernels``: plate_samples).

    A mean, not a median: shelves ring at up to half the sampling rate, and a median of the few samples of a bin makes an offset of that.
    The samples of a stream are kept in their order, so the loads do not depend on how they were cut into readings. A bin should be
    taken out when later samples of all streams are there: its last sample is told from a glitch by its successor.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._bins = aisle_kernels.sample_bins(width, BIN_NS, GLITCH_KG)

    @property
    def too_late(self) -> int:
        """Samples that came after their bin had been taken out."""
        return aisle_kernels.late_samples(self._bins)

    def oldest_bin(self) -> int | None:
        """The oldest bin that has samples and is not taken out."""
        held = aisle_kernels.open_bins(self._bins)
        return None if held is None else held[0]

    def newest_bin(self) -> int | None:
        """The newest bin that has samples and is not taken out."""
        held = aisle_kernels.open_bins(self._bins)
        return None if held is None else held[1]

    def stream(self, known: np.ndarray, columns: np.ndarray) -> int:
        """A number for readings of the same plates, one after the other: int ``known``, which values of them are taken, and ``columns``."""
        return aisle_kernels.sample_stream(self._bins, known, columns)

    def take(self, stream: int, reading: ScaleReading) -> None:
        """Sorts a reading's samples in."""
        aisle_kernels.take_samples(self._bins, stream, reading.stamp_ns, reading.sample_period_ns, reading.weights)

    def pop(self, first: int, end: int) -> np.ndarray | None:
        """float64 [bins, width] kg: each plate's mean in the bins from ``first`` up to ``end``, NaN where it gave no sample. None if there
        are no samples at all. Bins are taken out in order; some may be left out."""
        loads = np.empty((end - first, self._width))
        return loads if aisle_kernels.pop_means(self._bins, first, end, loads) else None
