"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

import numpy as np

from aisle_contract.records import ScaleReading
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT
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
        self._width = width
        self._slots = SLOTS
        #: Report number -> samples [BINS_PER_REPORT, slots, width]; the report before the first open bin's is kept for its last samples.
        self._tables: dict[int, np.ndarray] = {}
        self._first_open_bin: int | None = None
        #: What each plate gave last; infinite if it never did.
        self._last_load = np.full(width, np.inf)
        #: Samples that came after their bin had been taken out.
        self.too_late = 0

    def oldest_bin(self) -> int | None:
        """First bin of the oldest report interval that has samples and is not wholly taken out."""
        first = self._first_open_bin
        waiting = [number for number in self._tables if first is None or (number + 1) * BINS_PER_REPORT > first]
        return min(waiting) * BINS_PER_REPORT if waiting else None

    def newest_bin(self) -> int | None:
        """Last bin of the newest report interval that has samples."""
        return max(self._tables) * BINS_PER_REPORT + BINS_PER_REPORT - 1 if self._tables else None

    def take(self, stream: SampleStream, reading: ScaleReading) -> None:
        """Sorts a reading's samples in."""
        weights, start, period = reading.weights, reading.stamp_ns, reading.sample_period_ns
        count, plates = weights.shape
        if plates != len(stream.known):
            weights = weights[:, stream.known]
        first = 0
        while first < count:
            number = (start + first * period) // BIN_NS
            end = min(count, -((start - (number + 1) * BIN_NS) // period))
            self._put(stream, number, weights[first:end])
            first = end

    def pop(self, first: int, end: int) -> np.ndarray | None:
        """float64 [bins, width] kg: each plate's mean in the bins from ``first`` up to ``end`` of one report interval, NaN where it gave
        no sample. None if there are no samples at all. Bins are taken out one after the other."""
        self._first_open_bin = end
        report, inside = divmod(first, BINS_PER_REPORT)
        self._tables.pop(report - 2, None)
        table = self._tables.get(report)
        if table is None:
            return None
        samples = table[inside : inside + end - first]
        missing = ~np.isfinite(samples)
        if missing.all():
            return None
        values = np.where(missing, 0.0, samples)
        far = np.abs(values - self._last_load) > GLITCH_KG / 2
        far &= ~missing
        if far.any():
            for column in np.flatnonzero(far.any(axis=(0, 1))):
                glitches = self._glitches(first, end, column)
                missing[:, :, column] |= glitches
                values[:, :, column][glitches] = 0.0
        count = values.shape[1] - np.add.reduce(missing, axis=1, dtype=float)
        np.copyto(count, np.nan, where=count == 0)
        loads = np.add.reduce(values, axis=1) / count
        np.copyto(self._last_load, loads[-1], where=np.isfinite(loads[-1]))
        return loads

    def _put(self, stream: SampleStream, number: int, rows: np.ndarray) -> None:
        if self._first_open_bin is not None and number < self._first_open_bin:
            self.too_late += len(rows)
            return
        # The stamps of two readings may overlap by their jitter; their samples do not.
        if number > stream.bin:
            stream.bin, stream.slot = number, 0
        report, inside = divmod(stream.bin, BINS_PER_REPORT)
        table = self._tables.get(report)
        if table is None:
            table = self._tables[report] = np.full((BINS_PER_REPORT, self._slots, self._width), np.nan)
        first = stream.slot
        stream.slot = end = first + len(rows)
        if end > table.shape[1]:
            self._slots = max(self._slots, end)
            grown = np.full((BINS_PER_REPORT, self._slots, self._width), np.nan)
            grown[:, : table.shape[1]] = table
            table = self._tables[report] = grown
        table[inside, first:end, stream.target] = rows

    def _glitches(self, first: int, end: int, column: int) -> np.ndarray:
        """bool [bins, slots]: single samples of a plate that jump away from both their neighbours, which agree with one another."""
        own = np.concatenate([self._samples_of(number, column) for number in range(first, end)])
        sequence = np.concatenate((self._samples_of(first - 1, column), own, self._samples_of(end, column)))
        valid = np.flatnonzero(np.isfinite(sequence))
        loads = sequence[valid]
        from_both = np.minimum(np.abs(loads[1:-1] - loads[:-2]), np.abs(loads[1:-1] - loads[2:]))
        found = np.zeros(len(sequence), dtype=bool)
        found[valid[1:-1][(from_both > GLITCH_KG) & (np.abs(loads[2:] - loads[:-2]) < GLITCH_KG / 4)]] = True
        before = len(self._samples_of(first - 1, column))
        return found[before : before + len(own)].reshape(end - first, -1)

    def _samples_of(self, number: int, column: int) -> np.ndarray:
        report, inside = divmod(number, BINS_PER_REPORT)
        table = self._tables.get(report)
        return table[inside, :, column] if table is not None else np.zeros(0)
