"""From plates whose load moved to changes of a shelf: which plates belong together, and how much came or went."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_levels import SHORT, Phase, PlateLevels, bins

#: Standard deviations that a single plate's change needs to be the core of an event.
CORE_DEVIATIONS = 4.0
#: Plates that changed by this share of the strongest one were themselves loaded or relieved.
STRONG_SHARE = 0.25
#: Plates on each side of the core whose share of the load is counted too: loads spread.
NEIGHBOURS = 1
#: A change that something new follows before it was averaged needs so many times the significance: a shaking shelf swings there and back.
EARLY_FACTOR = 2.0
#: An unsteady plate's short mean may already lie this many bins in the new change.
RESUME_SKIP = SHORT + 2


@dataclass(frozen=True)
class Change:
    """Change of load of adjoining plates of one shelf. ``plates``: their columns; ``change`` and ``deviation`` [plates] kg."""

    start_bin: int
    settled_bin: int
    plates: np.ndarray
    change: np.ndarray
    deviation: np.ndarray

    @property
    def total(self) -> float:
        return float(self.change.sum())

    @property
    def strongest(self) -> int:
        """The column that changed most."""
        return int(self.plates[np.argmax(np.abs(self.change))])


class ShelfChanges:
    """Joins active plates of a shelf into changes and measures them once all their plates are steady."""

    def __init__(self, config: ShelfMonitorConfig, levels: PlateLevels, exists: np.ndarray, width: int) -> None:
        """``exists`` bool [shelves * width]: columns that are plates."""
        self._config = config
        self._levels = levels
        self._exists = exists
        self._width = width
        self._settle_bins = bins(config.settle_s)
        self._longest_bins = bins(config.longest_event_s)
        self.abandoned: list[int] = []

    def step(self) -> list[Change]:
        """Judges the present bin of the levels; gives what has been settled with it."""
        levels = self._levels
        done = []
        triggered, left = levels.triggered(), levels.left_again()
        if len(triggered) or len(left):
            done += self._end_before_new_activity(triggered, left)
        if len(levels.busy):
            levels.settle()
            done += self._end_settled()
            self._abandon_endless()
        if levels.bin % BINS_PER_REPORT == BINS_PER_REPORT - 1:
            self._drop_silent()
            levels.follow(self._near_activity() if len(levels.busy) else None)
        return done

    def finish(self) -> tuple[list[Change], list[int]]:
        """For the end of a recording: changes that are nearly settled and clear, and the columns of plates that still move."""
        self._levels.relax(0.5)
        self._levels.settle()
        done, moving = [], []
        for chain in self._chains():
            if self._is_settled(chain):
                done += self._measure(chain, 0, EARLY_FACTOR)
            else:
                moving += [int(plate) for plate in chain if self._levels.phase[plate] == Phase.ACTIVE]
        return done, moving

    def _end_before_new_activity(self, triggered: np.ndarray, left: np.ndarray) -> list[Change]:
        """What was steady for long enough is over when something new begins at it or beside it, unless nothing had changed yet."""
        levels = self._levels
        done = []
        fresh = np.union1d(triggered, left)
        for chain in self._chains():
            if self._is_settled(chain) and self._touches(chain, fresh):
                measured = self._measure(chain, RESUME_SKIP, EARLY_FACTOR)
                if measured:
                    done += measured
                    self._take_levels(chain, RESUME_SKIP)
                    # A plate that left its settled load left its new level.
                    triggered = np.union1d(triggered, np.intersect1d(left, chain))
        levels.resume(left[levels.phase[left] != Phase.IDLE])
        levels.activate(triggered[levels.phase[triggered] == Phase.IDLE])
        return done

    def _end_settled(self) -> list[Change]:
        done = []
        for chain in self._chains():
            if self._is_settled(chain) and self._levels.bin - self._settled_bin(chain) + 1 >= self._settle_bins:
                done += self._measure(chain, 0)
                self._take_levels(chain, 0)
        return done

    def _measure(self, chain: np.ndarray, skip: int, factor: float = 1.0) -> list[Change]:
        """The significant changes of a settled chain; two hands far enough apart on it give two."""
        levels, config = self._levels, self._config
        plates = self._with_neighbours(chain)
        after, after_variance = levels.load_since(self._settled_bin(chain), plates, skip)
        change = after - levels.level[plates]
        seen = np.isfinite(change)
        plates, change, after_variance = plates[seen], change[seen], after_variance[seen]
        if not len(plates):
            return []
        start = int(levels.start_bin[chain].min())
        drift = config.drift_kg_per_s * (levels.bin - start) * BIN_NS * 1e-9
        deviation = np.sqrt(levels.level_variance[plates] + after_variance + drift**2)
        least = np.maximum(config.trigger_kg, config.neighbour_share * np.abs(change).max())
        cores = np.flatnonzero(np.abs(change) > np.maximum(CORE_DEVIATIONS * deviation, least))
        changes = []
        for within in _parts(cores, plates, change, config.separation_plates):
            found = self._change(plates[within], change[within], deviation[within], chain)
            if self._is_significant(found, factor):
                changes.append(found)
        return changes

    def _change(self, plates: np.ndarray, change: np.ndarray, deviation: np.ndarray, chain: np.ndarray) -> Change:
        own = np.intersect1d(plates, chain)
        own = own if len(own) else chain
        start = int(self._levels.start_bin[own].min())
        settled = int(self._levels.settled_bin[own].max())
        return Change(start, max(settled, start + 1), plates, change, deviation)

    def _is_significant(self, change: Change, factor: float) -> bool:
        deviation = factor * float(np.sqrt((change.deviation**2).sum()))
        return abs(change.total) >= max(self._config.least_change_kg, self._config.least_change_deviations * deviation)

    def _take_levels(self, chain: np.ndarray, skip: int) -> None:
        plates = self._with_neighbours(chain)
        settled = self._settled_bin(chain)
        after, variance = self._levels.load_since(settled, plates, skip)
        self._levels.set_level(plates, after, variance, settled)

    def _settled_bin(self, chain: np.ndarray) -> int:
        """Since when all of a chain stands still: plates that settled before the others may have crept on with them."""
        return int(self._levels.settled_bin[chain].max())

    def _with_neighbours(self, chain: np.ndarray) -> np.ndarray:
        shelf = chain[0] // self._width
        first = max(chain[0] - NEIGHBOURS, shelf * self._width)
        last = min(chain[-1] + NEIGHBOURS, (shelf + 1) * self._width - 1)
        plates = np.arange(first, last + 1)
        return plates[self._exists[plates] & (self._levels.phase[plates] != Phase.UNKNOWN)]

    def _is_settled(self, chain: np.ndarray) -> bool:
        return bool((self._levels.phase[chain] == Phase.SETTLED).all())

    def _touches(self, chain: np.ndarray, fresh: np.ndarray) -> bool:
        """Whether fresh activity lies on the chain or so near that it would join it."""
        reach = self._config.separation_plates - 1
        shelf = chain[0] // self._width
        near = (fresh >= chain[0] - reach) & (fresh <= chain[-1] + reach) & (fresh // self._width == shelf)
        return bool(near.any())

    def _chains(self) -> list[np.ndarray]:
        """Columns of moving or settled plates, cut where plates far enough apart or different shelves meet."""
        busy = self._levels.busy
        if not len(busy):
            return []
        cut = (np.diff(busy) >= self._config.separation_plates) | (np.diff(busy // self._width) > 0)
        return np.split(busy, np.flatnonzero(cut) + 1)

    def _near_activity(self) -> np.ndarray:
        """bool: columns so near to a moving plate that they would join its change."""
        near = (self._levels.phase >= Phase.ACTIVE).reshape(-1, self._width)
        busy = near.copy()
        for step in range(1, self._config.separation_plates):
            near[:, step:] |= busy[:, :-step]
            near[:, :-step] |= busy[:, step:]
        return near.ravel()

    def _drop_silent(self) -> None:
        silent = self._levels.silent()
        if len(silent):
            self._levels.forget(silent)

    def _abandon_endless(self) -> None:
        levels = self._levels
        endless = levels.busy[levels.bin - levels.start_bin[levels.busy] > self._longest_bins]
        if len(endless):
            levels.forget(endless)
            self.abandoned += [int(plate) for plate in endless]


def _parts(cores: np.ndarray, plates: np.ndarray, change: np.ndarray, separation: int) -> list[np.ndarray]:
    """What belongs to one event each: indices of adjoining plates, with the neighbours of the cores.

    Cores far enough apart are parts of their own. So are strong ones among them that only weak ones join: two hands between which the
    shelf's cross-talk makes a bridge, which is cut where it is weakest.
    """
    groups = []
    for run in _split(cores, plates, separation):
        strong = run[np.abs(change[run]) >= STRONG_SHARE * np.abs(change[run]).max()]
        cuts = [_weakest_between(before[-1], after[0], change) for before, after in pairwise(_split(strong, plates, separation))]
        groups += np.split(run, np.searchsorted(run, cuts))
    lows = [max(group[0] - NEIGHBOURS, 0) for group in groups]
    highs = [min(group[-1] + NEIGHBOURS + 1, len(plates)) for group in groups]
    for number in range(len(groups) - 1):
        if highs[number] > lows[number + 1]:
            highs[number] = lows[number + 1] = groups[number + 1][0]
    return [np.arange(low, high) for low, high in zip(lows, highs, strict=True)]


def _weakest_between(last: int, first: int, change: np.ndarray) -> int:
    """Index at which to cut between two groups that end at ``last`` and begin at ``first``."""
    between = np.arange(last + 1, first)
    return int(between[np.argmin(np.abs(change[between]))]) if len(between) else int(first)


def _split(indices: np.ndarray, plates: np.ndarray, separation: int) -> list[np.ndarray]:
    """Cuts indices into ``plates`` where the plates lie ``separation`` or more apart."""
    if not len(indices):
        return []
    return np.split(indices, np.flatnonzero(np.diff(plates[indices]) >= separation) + 1)
