"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

import numpy as np

from aisle_contract.records import ScaleReading
from aisle_fusion.shelf_monitor_config import BIN_NS
from aisle_store.store import ShelfKey, Store

#: A single sample this far from both its neighbours is an electrical glitch: a hand or an item takes longer than 1/60 s to come and go.
GLITCH_KG = 0.5
#: Samples of a plate for which a bin has room at first; it grows with faster shelves.
SLOTS = 4


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


class SampleStream:
    """Readings of the same plates, one after the other. ``known``: which values of a reading are taken, ``columns``: where to."""

    def __init__(self, known: np.ndarray, columns: np.ndarray) -> None:
        in_order = len(columns) > 0 and bool((np.diff(columns) == 1).all())
        # A slice is written to much faster than a list of columns, and nearly all readings are in the shelf's order.
        self.target: slice | np.ndarray = slice(int(columns[0]), int(columns[-1]) + 1) if in_order else columns
        self.known = known
        self.bin = -1
        self.slot = 0


class SampleBins:
    """Sorts samples into bins as they come, and gives the mean loads of bins that are complete.

    A mean, not a median: shelves ring at up to half the sampling rate, and a median of the few samples of a bin makes an offset of that.
    The samples of a stream are kept in their order, so the loads do not depend on how they were cut into readings. A bin should be
    taken out when later samples of all streams are there: its last sample is told from a glitch by its successor.
    """

    def __init__(self, width: int) -> None:
        self._slots, self._width = SLOTS, width
        #: Bin -> samples [slots, width], NaN where there is none. The bin before the first open one is kept for its last samples.
        self._tables: dict[int, np.ndarray] = {}
        self._first_open_bin = 0
        #: What each plate gave last; infinite if it never did.
        self._last_load = np.full(width, np.inf)
        #: Samples that came after their bin had been taken out.
        self.too_late = 0

    def oldest_bin(self) -> int | None:
        """The oldest bin that has samples and is not taken out."""
        return min((number for number in self._tables if number >= self._first_open_bin), default=None)

    def newest_bin(self) -> int | None:
        """The newest bin that has samples and is not taken out."""
        return max((number for number in self._tables if number >= self._first_open_bin), default=None)

    def take(self, stream: SampleStream, reading: ScaleReading) -> None:
        """Sorts a reading's samples in."""
        weights, stamp, period = reading.weights, reading.stamp_ns, reading.sample_period_ns
        count, plates = weights.shape
        if plates != len(stream.known):
            weights = weights[:, stream.known]
        first, slot, target, tables = 0, stream.slot, stream.target, self._tables
        while first < count:
            number = stamp // BIN_NS
            fitting = -((stamp - (number + 1) * BIN_NS) // period)
            end = first + fitting if first + fitting < count else count
            # The stamps of two readings may overlap by their jitter; their samples do not.
            if number > stream.bin:
                stream.bin, slot = number, 0
            after = slot + end - first
            if stream.bin < self._first_open_bin:
                self.too_late += end - first
            else:
                table = tables.get(stream.bin)
                if table is None or after > len(table):
                    table = self._make_room(stream.bin, after)
                table[slot:after, target] = weights[first:end]
            stamp += (end - first) * period
            first, slot = end, after
        stream.slot = slot

    def pop(self, first: int, end: int) -> np.ndarray | None:
        """float64 [bins, width] kg: each plate's mean in the bins from ``first`` up to ``end``, NaN where it gave no sample. None if there
        are no samples at all. Bins are taken out in order; some may be left out."""
        self._first_open_bin = end
        tables = [self._tables.get(number) for number in range(first, end)]
        loads = self._means(first, end, tables) if any(table is not None for table in tables) else None
        for number in [number for number in self._tables if number < end - 1]:
            del self._tables[number]
        return loads

    def _means(self, first: int, end: int, tables: list[np.ndarray | None]) -> np.ndarray:
        samples = self._stacked(tables)
        missing = ~np.isfinite(samples)
        samples[missing] = 0.0
        far = np.abs(samples - self._last_load) > GLITCH_KG / 2
        far &= ~missing
        if np.count_nonzero(far):
            for column in np.flatnonzero(far.any(axis=(0, 1))):
                glitches = self._glitches(first, end, column, samples.shape[1])
                missing[:, :, column] |= glitches
                samples[:, :, column][glitches] = 0.0
        count = samples.shape[1] - np.add.reduce(missing, axis=1, dtype=float)
        np.copyto(count, np.nan, where=count == 0)
        loads = np.add.reduce(samples, axis=1) / count
        for load in loads:
            np.copyto(self._last_load, load, where=np.isfinite(load))
        return loads

    def _glitches(self, first: int, end: int, column: int, slots: int) -> np.ndarray:
        """bool [bins, slots]: single samples of a plate that jump away from both their neighbours, which agree with one another."""
        tables = self._stacked([self._tables.get(number) for number in range(first - 1, end + 1)], slots)
        sequence = tables[:, :, column]
        valid = np.flatnonzero(np.isfinite(sequence))
        loads = sequence.ravel()[valid]
        from_both = np.minimum(np.abs(loads[1:-1] - loads[:-2]), np.abs(loads[1:-1] - loads[2:]))
        found = np.zeros(sequence.size, dtype=bool)
        found[valid[1:-1][(from_both > GLITCH_KG) & (np.abs(loads[2:] - loads[:-2]) < GLITCH_KG / 4)]] = True
        return found.reshape(sequence.shape)[1:-1, :slots]

    def _stacked(self, tables: list[np.ndarray | None], slots: int = 0) -> np.ndarray:
        """[bins, slots, width]: a copy of some bins' tables, filled up to the same number of slots, at least ``slots``."""
        slots = max(slots, max(len(table) for table in tables if table is not None))
        stacked = np.empty((len(tables), slots, self._width))
        for row, table in zip(stacked, tables, strict=True):
            used = 0 if table is None else len(table)
            row[:used] = table if used else 0.0
            row[used:] = np.nan
        return stacked

    def _make_room(self, number: int, slots: int) -> np.ndarray:
        """A bin's table with room for so many samples of a plate."""
        self._slots = max(self._slots, slots)
        grown = np.full((self._slots, self._width), np.nan)
        table = self._tables.get(number)
        if table is not None:
            grown[: len(table)] = table
        self._tables[number] = grown
        return grown
