"""From readings that come shelf by shelf to one row of plate loads per time bin for the whole store."""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass
class SampleStream:
    """Readings of the same plates, one after the other. ``known``: which values of a reading are taken, ``columns``: where to."""

    known: np.ndarray
    columns: np.ndarray
    #: The newest two samples, of which the last one waits for its successor; its stamp.
    tail: np.ndarray = field(init=False)
    tail_ns: int = field(init=False, default=0)
    bin: int = field(init=False, default=-1)
    slot: int = field(init=False, default=0)
    target: slice | np.ndarray = field(init=False)
    all_known: bool = field(init=False)

    def __post_init__(self) -> None:
        self.tail = np.zeros((0, len(self.known)), dtype=np.float32)
        steps = np.diff(self.columns)
        # Writing to a slice is much faster than to a list of columns, and nearly all readings are in the shelf's order.
        self.target = slice(int(self.columns[0]), int(self.columns[-1]) + 1) if len(self.columns) and (steps == 1).all() else self.columns
        self.all_known = bool((self.known == np.arange(len(self.known))).all())


class SampleBins:
    """Sorts samples into bins as they come and gives each bin's mean loads once it is complete.

    A mean, not a median: shelves ring at up to half the sampling rate, and a median of the few samples of a bin makes an offset of that.
    Samples of a stream are told from glitches by their neighbours in the stream, and summed in their order, so the loads do not depend
    on how the samples were cut into readings. For this each stream's newest sample is held back until the next one comes.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._tables: dict[int, np.ndarray] = {}
        self._slots = SLOTS
        self._first_open_bin: int | None = None
        #: Shelf samples that came after their bin had been given.
        self.too_late = 0

    @property
    def newest_bin(self) -> int | None:
        return max(self._tables, default=None)

    @property
    def oldest_bin(self) -> int | None:
        return min(self._tables, default=None)

    def take(self, stream: SampleStream, reading: ScaleReading) -> None:
        """Sorts a reading's samples in, but for the last."""
        weights = reading.weights
        new = weights if stream.all_known and weights.shape[1] == len(stream.known) else weights[:, stream.known]
        rows = np.concatenate((stream.tail, new))
        held = min(len(stream.tail), 1)
        before = len(stream.tail) - held
        stream.tail = rows[-2:]
        with np.errstate(invalid="ignore"):
            steps = rows[1:] - rows[:-1]
        # All in one number: it is not finite where a sample is not, and small where no sample can be a glitch.
        if not np.vdot(steps, steps) < GLITCH_KG**2:
            rows = _without_glitches(rows)
        start, period, last = reading.stamp_ns, reading.sample_period_ns, len(new) - 1
        if held:
            self._put(stream, stream.tail_ns // BIN_NS, rows[before : before + 1])
        first, offset = 0, before + held
        while first < last:
            number = (start + first * period) // BIN_NS
            end = min(last, -((start - (number + 1) * BIN_NS) // period))
            self._put(stream, number, rows[offset + first : offset + end])
            first = end
        stream.tail_ns = start + last * period

    def release(self, stream: SampleStream) -> None:
        """Sorts in the sample that was held back: nothing follows it."""
        if len(stream.tail):
            rows = stream.tail[-1:].astype(float)
            rows[~np.isfinite(rows)] = np.nan
            self._put(stream, stream.tail_ns // BIN_NS, rows)
        stream.tail = stream.tail[:0]

    def pop(self, number: int) -> np.ndarray | None:
        """float64 [width] kg: each plate's mean in a bin, NaN where it gave no sample. None if the bin is empty."""
        self._first_open_bin = number + 1
        table = self._tables.pop(number, None)
        if table is None:
            return None
        missing = np.isnan(table)
        np.copyto(table, 0.0, where=missing)
        count = len(table) - np.add.reduce(missing, axis=0, dtype=float)
        np.copyto(count, np.nan, where=count == 0)
        return np.add.reduce(table, axis=0) / count

    def _put(self, stream: SampleStream, number: int, rows: np.ndarray) -> None:
        if self._first_open_bin is not None and number < self._first_open_bin:
            self.too_late += len(rows)
            return
        # The stamps of two readings may overlap by their jitter; their samples do not.
        number = max(number, stream.bin)
        table = self._tables.get(number)
        if table is None:
            table = self._tables[number] = np.full((self._slots, self._width), np.nan)
        first = stream.slot if stream.bin == number else 0
        stream.bin, stream.slot = number, first + len(rows)
        if stream.slot > len(table):
            self._slots = stream.slot
            grown = np.full((self._slots, self._width), np.nan)
            grown[: len(table)] = table
            table = self._tables[number] = grown
        table[first : stream.slot, stream.target] = rows


def _without_glitches(loads: np.ndarray) -> np.ndarray:
    """``loads`` [n, plates] with NaN for single samples that jump away from both their neighbours, which agree with one another."""
    clean = loads.astype(float)
    with np.errstate(invalid="ignore"):
        from_both = np.minimum(np.abs(loads[1:-1] - loads[:-2]), np.abs(loads[1:-1] - loads[2:]))
        clean[1:-1][(from_both > GLITCH_KG) & (np.abs(loads[2:] - loads[:-2]) < GLITCH_KG / 4)] = np.nan
    clean[np.isinf(clean)] = np.nan
    return clean
