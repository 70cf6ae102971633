"""The state of every plate of the store, bin by bin: its level, its noise, and whether its load is changing.

All plates are stepped together in arrays, so the cost hardly depends on how much goes on. The method is a change detector with a
reference window that lies before the tested one (as in Basseville and Nikiforov, Detection of Abrupt Changes, 1993, ch. 2): a plate
is active when the mean of its last 0.2 s leaves its level, and steady again when that mean has stood still. The 0.2 s mean takes out
the 5-13 Hz in which shelves ring; the level is a mean over 1.5 s that ends 1.5 s ago, so the beginning of a slow lift does not get in.
"""

from __future__ import annotations

import enum

import numpy as np

from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig

#: Rows of history; must hold the level's window and the longest steady or settling time.
HISTORY = 64
#: Bins of the short mean.
SHORT = 4
#: The level is the mean of the bins that are between GUARD and LEVEL_SPAN bins old; below LEAST_LEVEL of them it is kept as it was.
GUARD = 30
LEVEL_SPAN = 60
LEAST_LEVEL = 10
#: The start of a change is looked for so many bins back.
BACKTRACK = 20
#: Bins that a plate must have stood still for its first level.
FIRST_LEVEL = 20
#: Changes that last longer are slow: what looks steady may be a pause in a slow lift.
QUICK = 10
#: A change is clear when it is so many times what a steady load may wander.
CLEAR_RANGES = 4.0
#: Noise is the median of so many differences of short means (one per report interval); the prior counts as PRIOR_WEIGHT of them.
NOISE_BLOCKS = 120
PRIOR_WEIGHT = 5
#: So many differences are taken whatever the plate does: a noisy one looks active until its noise is known.
LEARNING_BLOCKS = 15
#: An active plate's noise is learnt again after this time: something shakes it for good.
RELEARN_BINS = 600
#: The noise of a mean over n bins falls with n ** -(NOISE_FALL / 2): slower than white noise (1), as the 1/f part does not average out.
NOISE_FALL = 0.7
MAD_TO_DEVIATION = 1.4826
#: A shelf's shaking is read from the quiet share of its plates, so that a hand on some of them does not count; it takes this many plates.
QUIET_QUANTILE = 0.35
QUIET_QUANTILE_OF_NORMAL = 0.4538  # of the absolute value of a standard normal variable
LEAST_SHAKING_PLATES = 4
#: Shaking up to this factor is chance. It fades with this time constant.
SHAKING_DEADBAND = 1.5
SHAKING_FADE_S = 0.7


class Phase(enum.IntEnum):
    """UNKNOWN: no level yet. IDLE: the load is at its level. ACTIVE: it changes. SETTLED: it stands still after a change."""

    UNKNOWN = 0
    IDLE = 1
    ACTIVE = 2
    SETTLED = 3


def bins(seconds: float) -> int:
    return max(1, round(seconds * 1e9 / BIN_NS))


class PlateLevels:
    """All plates of ``shelves`` shelves, each padded to ``shelf_width``; arrays are [shelves * shelf_width] and in kg unless said
    otherwise. Bins are numbered from 0 at the first one.

    ``noise`` is what each plate shows at rest. Steps and knocks shake all plates of a shelf at once; ``shaking`` says how many times
    stronger than at rest. It raises what counts as a change and lowers the trust in levels, but not what counts as steady.
    """

    def __init__(self, config: ShelfMonitorConfig, shelves: int, shelf_width: int) -> None:
        self._config = config
        self._shelf_shape = (shelves, shelf_width)
        width = shelves * shelf_width
        self._steady_bins = bins(config.steady_s)
        self._steady_long_bins = bins(config.steady_long_s)
        self._bridged_bins = bins(config.bridged_gap_s)
        self.bin = -1
        self._loads = np.zeros((HISTORY, width))
        self._present = np.zeros((HISTORY, width))
        self._means = np.full((HISTORY, width), np.nan)
        self._shaking = np.ones((HISTORY, width))
        self._restlessness = np.ones((SHORT, shelves))
        self._differences = np.full((NOISE_BLOCKS, width), np.nan)
        self.blocks = np.zeros(width, dtype=int)
        self.noise = np.full(width, config.prior_noise_kg)
        self.level = np.full(width, np.nan)
        self.level_variance = np.zeros(width)
        self.phase = np.full(width, Phase.UNKNOWN)
        self.start_bin = np.zeros(width, dtype=int)
        self.settled_bin = np.zeros(width, dtype=int)
        self.pressed_bins = np.zeros(width, dtype=int)
        self.last_present_bin = np.full(width, -1)
        self.unchanged_bins = np.zeros(width, dtype=int)
        self._last_load = np.full(width, np.nan)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the last 0.2 s, NaN where fewer than half of the bins have a load."""
        return self._means[-1]

    @property
    def noise_now(self) -> np.ndarray:
        """Standard deviation of the short mean, with the shaking of the moment."""
        return self.noise * self._shaking[-1]

    def add_bin(self, loads: np.ndarray) -> None:
        """Takes the next bin's loads (NaN = none)."""
        self.bin += 1
        present = np.isfinite(loads)
        self._watch_for_stuck(loads, present)
        self.last_present_bin[present] = self.bin
        _shift_in(self._loads, np.where(present, loads, 0.0))
        _shift_in(self._present, present)
        count = self._present[-SHORT:].sum(axis=0)
        total = self._loads[-SHORT:].sum(axis=0)
        _shift_in(self._means, np.where(2 * count >= SHORT, total / np.maximum(count, 1), np.nan))
        _shift_in(self._shaking, self._measure_shaking())
        if self.bin % BINS_PER_REPORT == BINS_PER_REPORT - 1:
            self._learn_noise()

    def triggered(self) -> np.ndarray:
        """bool: plates at rest whose load has left its level."""
        off = np.abs(self.mean - self.level) > self.trigger_threshold()
        return (self.phase == Phase.IDLE) & off

    def trigger_threshold(self) -> np.ndarray:
        config = self._config
        return np.maximum(config.trigger_kg, config.trigger_deviations * np.sqrt(self.noise_now**2 + self.level_variance))

    def track_levels(self, frozen: np.ndarray) -> None:
        """Lets the levels of plates at rest follow their drift, but not where ``frozen`` says that something goes on nearby."""
        follows = (self.phase == Phase.IDLE) & ~frozen
        window = slice(HISTORY - LEVEL_SPAN, HISTORY - GUARD)
        count = self._present[window].sum(axis=0)
        follows &= count >= LEAST_LEVEL
        self.level = np.where(follows, self._loads[window].sum(axis=0) / np.maximum(count, 1), self.level)
        self.level_variance = np.where(follows, self._variance_of_mean(window), self.level_variance)

    def find_first_levels(self) -> None:
        """Gives plates without a level one as soon as they have stood still."""
        unknown = self.phase == Phase.UNKNOWN
        if not unknown.any():
            return
        window = slice(HISTORY - FIRST_LEVEL, HISTORY)
        count = self._present[window].sum(axis=0)
        steady = self._means_range(FIRST_LEVEL) <= self._steady_tolerance(np.zeros_like(self.noise))
        found = unknown & steady & (2 * count >= FIRST_LEVEL)
        self.level[found] = (self._loads[window].sum(axis=0) / np.maximum(count, 1))[found]
        self.level_variance[found] = self._variance_of_mean(window)[found]
        self.phase[found] = Phase.IDLE

    def activate(self, plates: np.ndarray) -> None:
        """Marks plates (indices) as changing since their load left the level."""
        for plate in plates:
            self.phase[plate] = Phase.ACTIVE
            self.start_bin[plate] = self.bin - self._bins_off_level(plate) + 1
            self.pressed_bins[plate] = 0

    def resume(self, plates: np.ndarray) -> None:
        """Marks plates (indices) as changing again within the same change."""
        self.phase[plates] = Phase.ACTIVE

    def settle(self) -> None:
        """Marks active plates that have stood still for long enough."""
        active = self.phase == Phase.ACTIVE
        if not active.any():
            return
        change = self.mean - self.level
        raised = change > self.trigger_threshold()
        self.pressed_bins[active & raised] += 1
        tolerance = self._steady_tolerance(change)
        short = self._means_range(self._steady_bins) <= tolerance
        long = self._means_range(self._steady_long_bins) <= tolerance
        slow = self.bin - self.start_bin >= self._steady_bins + QUICK
        # Hardly anything has changed: it may be the beginning of a slow lift that the plate's noise hides.
        small = np.abs(change) < np.maximum(1.5 * self._config.least_change_kg, CLEAR_RANGES * tolerance)
        wait = raised | (self.pressed_bins > self._steady_bins) | slow | small
        steady = active & np.where(wait, long, short)
        needed = np.where(wait, self._steady_long_bins, self._steady_bins)
        self.settled_bin = np.where(steady, np.maximum(self.bin - needed + 1, self.start_bin + 1), self.settled_bin)
        self.phase[steady] = Phase.SETTLED

    def left_again(self) -> np.ndarray:
        """bool: settled plates whose load moves again."""
        left = np.zeros(len(self.phase), dtype=bool)
        settled = np.flatnonzero(self.phase == Phase.SETTLED)
        if len(settled):
            # Not the window's own spread: it would excuse a load that creeps on.
            after, _ = self.load_since(self.settled_bin[settled], settled, skip=SHORT)
            off = np.abs(self.mean[settled] - after)
            limit = self._config.trigger_deviations * np.sqrt(2.0) * self.noise_now[settled]
            left[settled] = off > np.maximum(self._config.trigger_kg, limit)
        return left

    def load_since(self, first_bin: np.ndarray | int, plates: np.ndarray, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Mean load of ``plates`` from ``first_bin`` on without the newest ``skip`` bins, and its variance; NaN where there is none.

        The variance is that of the plate's noise or, if greater, what the two halves of the window say: a plate may still ring.
        """
        row_bins = self.bin - np.arange(HISTORY - 1, -1, -1)[:, None]
        used = (row_bins >= first_bin) & (row_bins <= self.bin - skip)
        present = self._present[:, plates] * used
        loads = self._loads[:, plates]
        count = present.sum(axis=0)
        mean = (loads * present).sum(axis=0) / np.maximum(count, 1)
        newer = present * (np.cumsum(present, axis=0) > count / 2)
        newer_count = newer.sum(axis=0)
        older_count = count - newer_count
        newer_mean = (loads * newer).sum(axis=0) / np.maximum(newer_count, 1)
        older_mean = (loads * (present - newer)).sum(axis=0) / np.maximum(older_count, 1)
        halves = np.where(older_count > 0, 0.25 * (newer_mean - older_mean) ** 2, 0.0)
        shaking = (self._shaking[:, plates] ** 2 * present).sum(axis=0) / np.maximum(count, 1)
        variance = np.maximum(self.noise[plates] ** 2 * shaking * _averaging(count), halves)
        return np.where(count > 0, mean, np.nan), variance

    def set_level(self, plates: np.ndarray, level: np.ndarray, variance: np.ndarray, since_bin: int) -> None:
        """Puts plates to rest at a new level; what they showed before ``since_bin`` is forgotten."""
        self.level[plates] = level
        self.level_variance[plates] = variance
        self.phase[plates] = np.where(np.isfinite(level), Phase.IDLE, Phase.UNKNOWN)
        old = max(0, HISTORY - 1 - (self.bin - since_bin))
        self._loads[:old, plates] = 0.0
        self._present[:old, plates] = 0.0

    def forget(self, plates: np.ndarray) -> None:
        """Starts plates (mask or indices) anew."""
        self.phase[plates] = Phase.UNKNOWN
        self.level[plates] = np.nan
        self._loads[:, plates] = 0.0
        self._present[:, plates] = 0.0
        self._means[:, plates] = np.nan

    def silent(self) -> np.ndarray:
        """bool: plates that have a level but gave nothing for longer than a gap that is bridged."""
        return (self.phase != Phase.UNKNOWN) & (self.bin - self.last_present_bin > self._bridged_bins)

    def relax(self, share: float) -> None:
        """Shortens the steady times for the end of a recording, where no more is to come."""
        self._steady_bins = max(SHORT + 1, round(self._steady_bins * share))
        self._steady_long_bins = max(SHORT + 1, round(self._steady_long_bins * share))

    def _watch_for_stuck(self, loads: np.ndarray, present: np.ndarray) -> None:
        same = loads == self._last_load
        self.unchanged_bins = np.where(present, np.where(same, self.unchanged_bins + 1, 0), self.unchanged_bins)
        self._last_load = np.where(present, loads, self._last_load)

    def _learn_noise(self) -> None:
        difference = np.abs(self._means[-1] - self._means[-1 - SHORT])
        busy = (self.phase == Phase.ACTIVE) | (self.phase == Phase.SETTLED)
        admitted = ~busy | (self.blocks < LEARNING_BLOCKS) | (self.bin - self.start_bin > RELEARN_BINS)
        admitted &= np.isfinite(difference)
        rows = self.blocks % NOISE_BLOCKS
        columns = np.flatnonzero(admitted)
        self._differences[rows[columns], columns] = difference[columns]
        self.blocks[columns] += 1
        early = (self.blocks <= LEARNING_BLOCKS).any()
        if early or (self.bin // BINS_PER_REPORT) % 5 == 4:
            self._estimate_noise()

    def _estimate_noise(self) -> None:
        count = np.minimum(self.blocks, NOISE_BLOCKS)
        ordered = np.sort(self._differences, axis=0)
        middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
        seen = np.where(count > 0, MAD_TO_DEVIATION / np.sqrt(2.0) * middle, 0.0)
        prior = self._config.prior_noise_kg
        blended = (PRIOR_WEIGHT * prior**2 + count * seen**2) / (PRIOR_WEIGHT + count)
        self.noise = np.maximum(np.sqrt(blended), self._config.least_noise_kg)

    def _measure_shaking(self) -> np.ndarray:
        """How many times stronger than at rest the shelves shake, at each plate."""
        difference = np.abs(self._means[-1] - self._means[-1 - SHORT]) / (np.sqrt(2.0) * self.noise)
        ordered = np.sort(difference.reshape(self._shelf_shape), axis=1)
        count = np.isfinite(ordered).sum(axis=1)
        quiet = np.floor(QUIET_QUANTILE * np.maximum(count - 1, 0)).astype(int)
        level = np.take_along_axis(ordered, quiet[:, None], axis=1)[:, 0] / QUIET_QUANTILE_OF_NORMAL
        _shift_in(self._restlessness, np.where(count >= LEAST_SHAKING_PLATES, level, 1.0))
        newest = np.repeat(self._restlessness.mean(axis=0) / SHAKING_DEADBAND, self._shelf_shape[1])
        faded = 1.0 + (self._shaking[-1] - 1.0) * np.exp(-BIN_NS * 1e-9 / SHAKING_FADE_S)
        return np.maximum(newest, faded)

    def _variance_of_mean(self, window: slice) -> np.ndarray:
        """Variance of each plate's mean over the rows of ``window``."""
        present = self._present[window]
        count = present.sum(axis=0)
        shaking = (self._shaking[window] ** 2 * present).sum(axis=0) / np.maximum(count, 1)
        return self.noise**2 * shaking * _averaging(count)

    def _steady_tolerance(self, change: np.ndarray) -> np.ndarray:
        config = self._config
        by_noise = np.maximum(config.steady_kg, config.steady_deviations * self.noise)
        return np.maximum(by_noise, config.steady_share * np.abs(np.nan_to_num(change)))

    def _means_range(self, window_bins: int) -> np.ndarray:
        """Range of the short means that lie wholly in the last ``window_bins``; infinite where too many are missing."""
        rows = self._means[HISTORY - max(1, window_bins - SHORT + 1) :]
        missing = np.isnan(rows).sum(axis=0)
        span = np.where(np.isnan(rows), -np.inf, rows).max(axis=0) - np.where(np.isnan(rows), np.inf, rows).min(axis=0)
        return np.where(4 * missing > len(rows), np.inf, span)

    def _bins_off_level(self, plate: int) -> int:
        """How many of the newest bins in a row were off the level, at least one; missing ones count as off."""
        off = np.abs(self._loads[-BACKTRACK:, plate] - self.level[plate]) > 0.5 * self.trigger_threshold()[plate]
        off |= self._present[-BACKTRACK:, plate] == 0
        at_level = np.flatnonzero(~off[:-1])
        return BACKTRACK - 1 - int(at_level[-1]) if len(at_level) else BACKTRACK


def _shift_in(rows: np.ndarray, newest: np.ndarray) -> None:
    rows[:-1] = rows[1:]
    rows[-1] = newest


def _averaging(count: np.ndarray) -> np.ndarray:
    """How much smaller the variance of a mean over ``count`` bins is than that of the short mean."""
    return (SHORT / np.maximum(count, 1)) ** NOISE_FALL
