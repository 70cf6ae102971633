"""The state of every plate of the store, bin by bin: its level, its noise, and whether its load is changing.

All plates are stepped together in arrays, so the cost hardly depends on how much goes on. The method is a change detector with a
reference window that lies before the tested one (as in Basseville and Nikiforov, Detection of Abrupt Changes, 1993, ch. 2): a plate
is active when the mean of its last 0.2 s leaves its level, and steady again when that mean has stood still. The 0.2 s mean takes out
the 5-13 Hz in which shelves ring; the level is a mean over 1.5 s that ends 1.5 s ago, so the beginning of a slow lift does not get in.
"""

from __future__ import annotations

import numpy as np

import aisle_kernels
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_rest import RestMeans

#: How far back windows may reach; must hold the level's window and the longest steady or settling time.
LOOK_BACK = 62
#: Rows of history: bins are added up to a report's at a time before they are judged. A multiple of that, so that they lie together.
HISTORY = 68
#: Running sums are taken anew after so many bins, so that they stay small; a multiple of a report's bins.
REBASE_BINS = 4096
#: Bins of the short mean.
SHORT = 4
#: The level is the mean of the bins that are between GUARD and LEVEL_SPAN bins old; below LEAST_LEVEL of them it is kept as it was.
GUARD = 30
LEVEL_SPAN = 60
LEAST_LEVEL = 10
#: How old a level is on average.
LEVEL_AGE = (GUARD + LEVEL_SPAN) // 2
#: The start of a change is looked for so many bins back.
BACKTRACK = 20
#: Bins that a plate must have stood still for its first level.
FIRST_LEVEL = 20
#: Noise follows the differences of short means, one per report interval: each pulls it by this share of how far it is off.
NOISE_GAIN = 0.03
#: The first differences pull more, as if so many had been seen before.
PRIOR_WEIGHT = 4
FIRST_GAIN = 1.33
#: A difference counts as at most so many standard deviations: a plate that is touched does not get noisy by it.
CLIPPED_AT = 2.0
CLIPPED_MEAN = 0.781  # of the absolute value of a standard normal variable
#: So many differences are taken whatever the plate does: a noisy one looks active until its noise is known.
LEARNING_BLOCKS = 15
#: An active plate's noise is learnt again after this time: something shakes it for good.
RELEARN_BINS = 600
#: The noise of a mean over n bins falls with n ** -(NOISE_FALL / 2): slower than white noise (1), as the 1/f part does not average out.
NOISE_FALL = 0.7
#: Errors of levels are learnt once a second, like noise; the factor on what the noise foretells stays within these bounds.
ERROR_GAIN = 0.05
LEAST_ERROR, FIRST_ERROR, MOST_ERROR = 0.6, 2.0, 10.0
#: Plates that one thing loads: their errors add up as far as a shelf's plates err together.
USUAL_PLATES = 3
#: A shelf's shaking is read from the quiet share of its plates, so that a hand on some of them does not count; it takes this many plates.
QUIET_QUANTILE = 0.35
QUIET_QUANTILE_OF_NORMAL = 0.4538  # of the absolute value of a standard normal variable
LEAST_SHAKING_PLATES = 4
#: What stands by itself keeps within so many standard deviations of the short mean, bin by bin. A hand trembles by more than this share
#: of its force.
REST_DEVIATIONS = 10.0
TREMBLING_SHARE = 0.025
#: Shaking up to this factor is chance. It fades with this time constant.
SHAKING_DEADBAND = 1.5
SHAKING_FADE_S = 0.7

#: After a load has moved, a whole shelf settles: its plates come to their new loads, or back to their old ones, with this time constant,
#: and are off by up to this share of the load that moved (twice what was measured, on average).
SETTLING_S = 1.3
SETTLING_SHARE = 0.018
#: One standard deviation of that, as a share of the most; and of what is in levels that were taken while the shelf settled.
SETTLING_DEVIATION, LEVEL_SETTLING_DEVIATION = 0.5, 0.3
#: A lasting step is also looked for in means of this many bins, and must be off the level by so many standard deviations.
LASTING = 20
LASTING_DEVIATIONS = 7.0
#: Halves of a plateau that differ by so many deviations drift.
DRIFTING_DEVIATIONS = 3.0
#: A level is kept as it was while a new one would have so many times its variance.
SHAKEN_VARIANCE = 2.0
#: When a lasting step began is looked for so many bins back.
LASTING_BACKTRACK = 40

#: How much smaller the variance of a mean over so many bins is than that of the short mean.
_AVERAGING = (SHORT / np.maximum(np.arange(HISTORY + 1), 1)) ** NOISE_FALL
_STILL_BINS = LOOK_BACK - GUARD
_REST_ROWS = np.arange(FIRST_LEVEL + 1)[:, None]
_FADE = float(np.exp(-BIN_NS * 1e-9 / SHAKING_FADE_S))
_SETTLING_FADE = float(np.exp(-BINS_PER_REPORT * BIN_NS * 1e-9 / SETTLING_S))


class Phase:
    """UNKNOWN: no level yet. IDLE: the load is at its level. ACTIVE: it changes, or has changed and was not settled yet.

    Plain numbers: comparing an array with a member of an enumeration takes NumPy four times as long.
    """

    UNKNOWN = 0
    IDLE = 1
    ACTIVE = 2


def bins(seconds: float) -> int:
    return max(1, round(seconds * 1e9 / BIN_NS))


class PlateLevels:
    """All plates of ``shelves`` shelves, each padded to ``shelf_width``; arrays are [shelves * shelf_width] and in kg unless said
    otherwise. Bins are numbered from 0 at the first one; rows of histories by bin modulo HISTORY.

    ``noise`` is what each plate shows at rest. Steps and knocks shake all plates of a shelf at once; ``shaking`` [shelves] says how many
    times stronger than at rest. It raises what counts as a change and lowers the trust in levels, but not what counts as steady.
    """

    def __init__(self, config: ShelfMonitorConfig, shelves: int, shelf_width: int) -> None:
        self._config = config
        self._shelves, self._shelf_width = shelves, shelf_width
        width = shelves * shelf_width
        self._bridged_bins = bins(config.bridged_gap_s)
        #: The bin that is judged, and the newest one that has been added.
        self.bin = self._added = -1
        # Sums over all bins up to a row's: any window's sum is the difference of two rows.
        self._sums = np.zeros((HISTORY, width))
        self._counts = np.zeros((HISTORY, width))
        self._unrest = np.repeat(np.arange(HISTORY, dtype=float)[:, None] - HISTORY, shelves, axis=1)
        self._means = np.full((HISTORY, width), np.nan)
        self._restlessness = np.ones((HISTORY, shelves))
        self._shaking = np.ones((HISTORY, shelves))
        #: By how much the plates of each shelf may be off because it settles [shelves].
        self.settling = np.zeros(shelves)
        self._squared_settling = np.zeros(shelves)
        self._settling_then = np.zeros((HISTORY // BINS_PER_REPORT, shelves))
        #: The same in the levels, and when those were put there.
        self.level_settling, self._level_bin = np.zeros(width), np.zeros(width, dtype=int)
        self.blocks = np.zeros(width)
        #: How many times greater the error of a plate's level is than its noise foretells, and how far [shelves] plates err together.
        self._error = np.full(width, FIRST_ERROR)
        self._error_count = np.zeros(width)
        self._together = np.zeros(shelves)
        self.noise = np.full(width, config.prior_noise_kg)
        self.level = np.full(width, np.nan)
        self.level_variance = np.zeros(width)
        self.phase = np.full(width, Phase.UNKNOWN, dtype=np.int8)
        self.start_bin = np.zeros(width, dtype=int)
        self.last_present_bin = np.full(width, -1)
        self.unchanged_bins = np.zeros(width, dtype=int)
        self._last_load = np.full(width, np.nan)
        #: Columns whose load changes or has just changed, in order.
        self.busy = np.zeros(0, dtype=int)
        self._idle = np.zeros(width, dtype=bool)
        # Squares of what a load must leave its level by: the noise's part at rest and the level's own.
        self._squared_noise, self._squared_level = np.zeros(width), np.zeros(width)
        #: Range within which steady loads wander.
        self.steady_range = np.zeros(width)
        self._per_noise = np.zeros(width)
        self._found = np.zeros(width, dtype=int)
        self._growth, self._known = np.zeros(width), np.zeros(width, dtype=bool)
        self._rest = RestMeans(width, NOISE_FALL)
        self._compiled = self._for_compiled()
        aisle_kernels.set_thresholds(self._compiled)

    def _for_compiled(self) -> object:
        """What the arithmetic of all plates, which is compiled, works on: these very arrays, which are never replaced."""
        config = self._config
        windows = (SHORT, GUARD, LEVEL_SPAN, LEAST_LEVEL, LASTING)
        counts = (HISTORY, *windows, BINS_PER_REPORT, LEARNING_BLOCKS, RELEARN_BINS, LEAST_SHAKING_PLATES, _STILL_BINS)
        steady = (config.trigger_kg, config.trigger_deviations, config.steady_kg, config.steady_deviations)
        noise = (config.least_noise_kg, LASTING_DEVIATIONS, NOISE_GAIN, FIRST_GAIN, PRIOR_WEIGHT, CLIPPED_AT, CLIPPED_MEAN)
        drift_per_report = config.drift_kg_per_s * BINS_PER_REPORT * BIN_NS * 1e-9
        shaking = (SHAKEN_VARIANCE, drift_per_report, SHAKING_DEADBAND, _FADE, QUIET_QUANTILE, QUIET_QUANTILE_OF_NORMAL)
        return aisle_kernels.plate_levels(
            *(self._shelves, self._shelf_width, np.array(counts), np.array((*steady, *noise, *shaking)), _AVERAGING),
            *(self._sums, self._counts, self._means, self._unrest, self._restlessness, self._shaking, self._squared_settling),
            *(self.noise, self.level, self.level_variance, self.blocks, self._error, self.steady_range, self._per_noise),
            *(self._squared_noise, self._squared_level, self._last_load),
            *(self._idle, self.start_bin, self.last_present_bin, self.unchanged_bins),
        )

    @property
    def mean(self) -> np.ndarray:
        """Mean of the last 0.2 s, NaN where fewer than half of the bins have a load."""
        return self._means[self.bin % HISTORY]

    @property
    def shaking(self) -> np.ndarray:
        """How many times stronger than at rest each shelf shakes [shelves]."""
        return self._shaking[self.bin % HISTORY]

    def add_bins(self, loads: np.ndarray) -> int:
        """Takes the loads (NaN = none) [bins, columns] of the next bins, all of one report interval; changes the array.

        The bins are judged one by one after that, each by ``next_bin`` and what follows. Those at the beginning of which nothing can be
        said are passed over at once: returns how many.
        """
        first = self._added + 1
        self._added += len(loads)
        present = np.empty(loads.shape, dtype=bool)
        quiet = aisle_kernels.add_bins(self._compiled, first, loads, present)
        self._newest = loads[-1], present[-1]
        passed = 0 if len(self.busy) else quiet
        self.bin += passed
        return passed

    def next_bin(self) -> None:
        self.bin += 1

    def triggered(self) -> np.ndarray:
        """Columns at rest whose load has left its level."""
        return self._chosen(aisle_kernels.off_level(self._compiled, self.bin, self._found))

    def _chosen(self, count: int) -> np.ndarray:
        return self._found[:count].copy() if count else _NONE

    def trigger_threshold(self, plates: np.ndarray) -> np.ndarray:
        config = self._config
        noise = self.noise[plates] * self.shaking[plates // self._shelf_width]
        settling = self.settling[plates // self._shelf_width]
        deviation = np.sqrt(noise**2 + self.level_variance[plates] + (settling / config.trigger_deviations) ** 2)
        return np.maximum(config.trigger_kg, config.trigger_deviations * deviation)

    def unsettle(self, shelf: int, load: float) -> None:
        """Something of ``load`` kg moves on a shelf (number)."""
        self.settling[shelf] = max(self.settling[shelf], SETTLING_SHARE * load)

    def settling_at(self, shelf: int, number: int) -> float:
        """By how much the plates of a shelf (number) were off in a bin because it settled, kg; at least what they are off by now."""
        reports = self.bin // BINS_PER_REPORT - number // BINS_PER_REPORT
        if not 0 < reports < len(self._settling_then):
            return float(self.settling[shelf])
        then = self._settling_then[number // BINS_PER_REPORT % len(self._settling_then), shelf]
        return float(max(then, self.settling[shelf]))

    def lastingly_off(self, frozen: np.ndarray | None) -> np.ndarray:
        """Columns at rest, but not where ``frozen`` (bool), whose mean over a second is off their level: steps that noise hides bin by
        bin. They are put in motion since the bin in which the step is most likely to have happened."""
        plates = self._chosen(aisle_kernels.lastingly_off(self._compiled, self.bin, frozen, self._found))
        if not len(plates):
            return plates
        for plate in plates:
            self.start_bin[plate] = self.bin - self._bins_since_step(plate) + 1
        self._set_phase(plates, Phase.ACTIVE)
        return plates

    def follow(self, frozen: np.ndarray | None) -> None:
        """Once per report interval: learns noise, lets the levels of plates at rest follow their drift, but not where ``frozen`` (bool)
        says that something goes on nearby, and gives plates without a level one as soon as they have stood still."""
        if (self.bin + 1) % REBASE_BINS == 0:
            self._rebase()
        self._learn_noise()
        self._settle()
        if (self.bin + 1) % FIRST_LEVEL == 0:
            self._learn_errors(frozen)
        aisle_kernels.track_levels(self._compiled, self.bin, frozen)
        self._follow_rest(frozen)
        self._follow_settling(frozen)
        self._find_first_levels()
        aisle_kernels.set_thresholds(self._compiled)

    def activate(self, plates: np.ndarray) -> None:
        """Marks plates (columns) as changing since their load left the level."""
        for plate in plates:
            self.start_bin[plate] = self.bin - self._bins_off_level(plate) + 1
        self._set_phase(plates, Phase.ACTIVE)

    def has_level(self, plates: np.ndarray) -> np.ndarray:
        """bool [plates]: whether there is something to compare with."""
        return self.phase[plates] != Phase.UNKNOWN

    def still_bins(self, plates: np.ndarray, tolerance: np.ndarray) -> int:
        """For how many bins the short means of all plates have kept within the ``tolerance`` [plates]; 0 if one is missing now."""
        count = aisle_kernels.still_bins(self._compiled, self.bin, plates, tolerance)
        return count + SHORT - 1 if count else 0

    def is_drifting(self, plates: np.ndarray, count: int) -> bool:
        """Whether a plate's load goes on changing in the last ``count`` bins: the means of their halves differ by more than noise does."""
        rows = (self.bin - np.array([0, count // 2, count])) % HISTORY
        sums, counts = self._sums[rows[:, None], plates], np.maximum(self._counts[rows[:, None], plates], 1.0)
        halves = (sums[:-1] - sums[1:]) / (counts[:-1] - counts[1:] + 1e-9)
        noise = self.noise[plates] * np.sqrt(2.0 * _AVERAGING[count // 2])
        return bool((np.abs(halves[0] - halves[1]) > np.maximum(self._config.steady_kg, DRIFTING_DEVIATIONS * noise)).any())

    def shaken(self, shelf: int, count: int) -> float:
        """How many times stronger than at rest a shelf (number) has shaken in the last ``count`` bins, root mean square."""
        return float(np.sqrt((self._unrest[self.bin % HISTORY, shelf] - self._unrest[(self.bin - count) % HISTORY, shelf]) / count))

    def wander(self, first: int, last: int, plates: np.ndarray, change: np.ndarray) -> tuple[float, float, float]:
        """How a force wanders that made a ``change`` [plates] kg, in the bins ``first`` to ``last``, as shares of it: the range of its
        short means, the deviation of its bins, and what noise makes of a short mean, one standard deviation.

        The force is what the plates show in the proportions of the change, weighted by how quiet they are.
        """
        rows = np.arange(max(first, self.bin - LOOK_BACK + 1) - 1, last + 1) % HISTORY
        weights = change / self.noise[plates] ** 2
        scale = float(weights @ change)
        sums, counts = self._sums[rows[:, None], plates], self._counts[rows[:, None], plates]
        by_bin = _force(sums[1:] - sums[:-1], counts[1:] - counts[:-1], weights / scale)
        by_mean = _force(sums[SHORT:] - sums[:-SHORT], counts[SHORT:] - counts[:-SHORT], weights / scale)
        if not len(by_mean):
            return np.inf, np.inf, scale**-0.5
        return float(np.ptp(by_mean)), float(by_bin.std()), scale**-0.5

    def at_rest_bins(self, plates: np.ndarray, size: float) -> int:
        """For how many bins all plates have been as still as goods: each bin by itself keeps within the noise. 0 if the noise would hide
        how a hand trembles that presses with ``size`` kg."""
        limit = np.maximum(self._config.steady_kg, REST_DEVIATIONS * self.noise[plates])
        if limit.max() > TREMBLING_SHARE * size:
            return 0
        rows = (self.bin - _REST_ROWS) % HISTORY
        loads = self._sums[rows[:-1], plates] - self._sums[rows[1:], plates]
        count = self._counts[rows[:-1], plates] - self._counts[rows[1:], plates]
        np.copyto(loads, np.nan, where=count == 0)
        span = np.fmax.accumulate(loads, axis=0) - np.fmin.accumulate(loads, axis=0)
        return int(np.count_nonzero((span <= limit).all(axis=1)))

    def load_between(self, first: int, last: int, plates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean load of ``plates`` in the bins ``first`` to ``last``, and its variance; NaN where there is none.

        The variance is that of the plate's noise or, if greater, what the two halves of the window say: a plate may still ring.
        """
        before = min(max(first, self.bin - LOOK_BACK + 1) - 1, last)
        middle = (before + last) // 2
        rows = np.array([before, middle, last]) % HISTORY
        sums, counts = self._sums[rows[:, None], plates], self._counts[rows[:, None], plates]
        count = counts[2] - counts[0]
        mean = (sums[2] - sums[0]) / np.where(count > 0, count, np.nan)
        older_count, newer_count = counts[1] - counts[0], counts[2] - counts[1]
        both = (older_count > 0) & (newer_count > 0)
        older = (sums[1] - sums[0]) / np.where(both, older_count, 1.0)
        newer = (sums[2] - sums[1]) / np.where(both, newer_count, 1.0)
        halves = np.where(both, 0.25 * (newer - older) ** 2, 0.0)
        shelves = plates // self._shelf_width
        shaking = (self._unrest[rows[2], shelves] - self._unrest[rows[0], shelves]) / max(last - before, 1)
        return mean, np.maximum(self.noise[plates] ** 2 * shaking * _AVERAGING[count.astype(np.intp)], halves)

    def reference(self, plates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What ``plates`` showed at rest, as well as it is known, and its variance: their levels, or a longer mean."""
        longer, variance, age = self._rest.of(plates)
        drift = self._config.drift_kg_per_s * (age * BINS_PER_REPORT + GUARD - LEVEL_AGE) * BIN_NS * 1e-9
        variance = self.noise[plates] ** 2 * variance + drift**2
        better = variance < self.level_variance[plates]
        return np.where(better, longer, self.level[plates]), np.where(better, variance, self.level_variance[plates])

    def set_level(self, plates: np.ndarray, level: np.ndarray, variance: np.ndarray, since_bin: int) -> None:
        """Puts plates to rest at a new level; what they showed before ``since_bin`` is forgotten."""
        self._note_settling(plates, level, since_bin)
        self.level[plates] = level
        self.level_variance[plates] = variance
        self._rest.forget(plates)
        self._forget_before(plates, since_bin)
        known = np.isfinite(level)
        self._set_phase(plates[known], Phase.IDLE)
        self._set_phase(plates[~known], Phase.UNKNOWN)
        aisle_kernels.set_thresholds(self._compiled)

    def shift_level(self, plates: np.ndarray, level: np.ndarray, variance: np.ndarray, since_bin: int) -> None:
        """Gives plates a new level, where it is known, and lets those in motion go on from there, since ``since_bin``."""
        known = np.isfinite(level)
        self._note_settling(plates[known], level[known], since_bin)
        plates = plates[known]
        self.level[plates] = level[known]
        self.level_variance[plates] = variance[known]
        self._rest.forget(plates)
        moving = plates[self.phase[plates] == Phase.ACTIVE]
        self.start_bin[moving] = np.maximum(self.start_bin[moving], since_bin)
        aisle_kernels.set_thresholds(self._compiled)

    def forget(self, plates: np.ndarray) -> None:
        """Starts plates (columns) anew."""
        self.level[plates] = np.nan
        self._rest.forget(plates)
        self._forget_before(plates, self.bin + 1)
        self._means[:, plates] = np.nan
        self._set_phase(plates, Phase.UNKNOWN)

    def deviation(self, plates: np.ndarray, variance: np.ndarray, level_variance: np.ndarray | None = None) -> np.ndarray:
        """Standard deviations [plates] of changes to loads that were measured with a ``variance`` [plates], from levels or from what was
        measured with a ``level_variance``, such that those of the few plates that one thing loads may be summed as if they were
        independent."""
        together = 1.0 + (USUAL_PLATES - 1) * self._together[plates // self._shelf_width]
        before = self.level_variance[plates] if level_variance is None else level_variance
        return self._error[plates] * np.sqrt(together * (before + variance))

    def settled_by(self, plates: np.ndarray, number: int, level_settling: np.ndarray | None = None) -> np.ndarray:
        """Standard deviation of what a shelf's ``plates`` have settled by between their levels and a bin, or have yet to settle by, kg.
        ``level_settling`` [plates]: by how much they had yet to settle at other levels than the present ones."""
        then = self.settling_at(int(plates[0]) // self._shelf_width, number)
        before = self.level_settling[plates] if level_settling is None else level_settling
        return np.maximum(SETTLING_DEVIATION * then, LEVEL_SETTLING_DEVIATION * before)

    def silent(self) -> np.ndarray:
        """Columns that have a level but gave nothing for longer than a gap that is bridged."""
        gone = (self.phase != Phase.UNKNOWN) & (self.bin - self.last_present_bin > self._bridged_bins)
        return np.flatnonzero(gone) if gone.any() else _NONE

    def _note_settling(self, plates: np.ndarray, level: np.ndarray, since_bin: int) -> None:
        new = plates[self.level[plates] != level]
        if len(new):
            self._level_bin[new] = since_bin
            self.level_settling[new] = self.settling_at(int(new[0]) // self._shelf_width, (since_bin + self.bin) // 2)

    def _set_phase(self, plates: np.ndarray, phase: int) -> None:
        self.phase[plates] = phase
        self._idle[plates] = phase == Phase.IDLE
        self.busy = np.flatnonzero(self.phase >= Phase.ACTIVE)

    def _forget_before(self, plates: np.ndarray, since_bin: int) -> None:
        """Makes windows that begin before ``since_bin`` begin there: nothing is added up to it."""
        kept = self.bin - since_bin + 1
        if kept >= LOOK_BACK:
            return
        rows = (since_bin - 1 - np.arange(LOOK_BACK - kept)) % HISTORY
        for history in (self._sums, self._counts):
            history[rows[:, None], plates] = history[rows[0], plates]

    def _settle(self) -> None:
        self._settling_then[self.bin // BINS_PER_REPORT % len(self._settling_then)] = self.settling
        self.settling *= _SETTLING_FADE
        self.settling[self.settling < 0.1 * self._config.trigger_kg] = 0.0
        np.multiply(self.settling, self.settling, out=self._squared_settling)

    def _follow_rest(self, frozen: np.ndarray | None) -> None:
        """As old as the newest that a level is taken from: a slow lift has not begun by then."""
        last, first = (self.bin - GUARD) % HISTORY, (self.bin - GUARD - BINS_PER_REPORT) % HISTORY
        count = self._counts[last] - self._counts[first]
        valid = self._idle & (count > 0)
        if frozen is not None:
            valid &= ~frozen
        unrest = (self._unrest[last] - self._unrest[first]) / BINS_PER_REPORT
        self._rest.add((self._sums[last] - self._sums[first]) / np.maximum(count, 1.0), np.repeat(unrest, self._shelf_width), valid)

    def _follow_settling(self, frozen: np.ndarray | None) -> None:
        then = self._settling_then[(self.bin - LEVEL_AGE) // BINS_PER_REPORT % len(self._settling_then)]
        if not (then.any() or self.level_settling.any()):
            return
        followed = self._idle & (self.bin - self._level_bin > LEVEL_AGE)
        if frozen is not None:
            followed &= ~frozen
        np.copyto(self.level_settling, np.repeat(then, self._shelf_width), where=followed)

    def _rebase(self) -> None:
        oldest = (self.bin - LOOK_BACK) % HISTORY
        for history in (self._sums, self._counts, self._unrest):
            history -= history[oldest].copy()

    def _learn_noise(self) -> None:
        """A scale estimate that follows, with a bounded influence of each difference (Huber, Robust Statistics, 1981, ch. 5)."""
        growth, known = self._growth, self._known
        aisle_kernels.watch_plates(self._compiled, self.bin, *self._newest, self.busy, growth, known)
        np.exp(growth, out=growth)
        aisle_kernels.learn_noise(self._compiled, growth, known)

    def _learn_errors(self, frozen: np.ndarray | None) -> None:
        """Compares what plates at rest show now with their levels: noise that does not average out, drift and shaking are all in it."""
        row, since = self.bin % HISTORY, (self.bin - FIRST_LEVEL) % HISTORY
        count = self._counts[row] - self._counts[since]
        valid = self._idle & (count == FIRST_LEVEL) & (self.blocks >= LEARNING_BLOCKS)
        if frozen is not None:
            valid &= ~frozen
        now = (self._sums[row] - self._sums[since]) / FIRST_LEVEL
        unrest = np.repeat(self._unrest[row] - self._unrest[since], self._shelf_width) / FIRST_LEVEL
        foretold = np.sqrt(self.level_variance + self.noise**2 * unrest * _AVERAGING[FIRST_LEVEL])
        units = np.where(valid, (now - self.level) / (foretold * self._error + 1e-12), 0.0)
        by_shelf = units.reshape(self._shelves, self._shelf_width)
        plates = valid.reshape(by_shelf.shape).sum(axis=1)
        # The square of the mean of n units that correlate by r is (1 + (n - 1) r) / n.
        squared = np.minimum(by_shelf.sum(axis=1) ** 2 / np.maximum(plates, 1), CLIPPED_AT**2 * plates)
        together = np.clip((squared - 1.0) / np.maximum(plates - 1, 1), -1.0, 1.0)
        self._together += np.where(plates >= LEAST_SHAKING_PLATES, ERROR_GAIN * (together - self._together), 0.0)
        np.clip(self._together, 0.0, 1.0, out=self._together)
        gain = np.maximum(ERROR_GAIN, FIRST_GAIN / (self._error_count + PRIOR_WEIGHT))
        grown = self._error * np.exp(gain * (np.minimum(np.abs(units), CLIPPED_AT) - CLIPPED_MEAN))
        np.copyto(self._error, np.clip(grown, LEAST_ERROR, MOST_ERROR), where=valid)
        self._error_count += valid

    def _find_first_levels(self) -> None:
        row = self.bin % HISTORY
        since = (self.bin - FIRST_LEVEL) % HISTORY
        count = self._counts[row] - self._counts[since]
        plates = np.flatnonzero((self.phase == Phase.UNKNOWN) & (2 * count >= FIRST_LEVEL))
        if not len(plates):
            return
        means = self._means[(self.bin - np.arange(FIRST_LEVEL - SHORT + 1))[:, None] % HISTORY, plates]
        missing = np.isnan(means).sum(axis=0)
        span = np.fmax.reduce(means, axis=0) - np.fmin.reduce(means, axis=0)
        found = plates[(span <= self.steady_range[plates]) & (4 * missing <= len(means))]
        self.level[found] = (self._sums[row, found] - self._sums[since, found]) / count[found]
        shelves = found // self._shelf_width
        unrest = (self._unrest[row, shelves] - self._unrest[since, shelves]) / FIRST_LEVEL
        self.level_variance[found] = self.noise[found] ** 2 * unrest * _AVERAGING[count[found].astype(np.intp)]
        self._set_phase(found, Phase.IDLE)

    def _bins_off_level(self, plate: int) -> int:
        """How many of the newest bins in a row were off the level, at least one; missing ones count as off."""
        rows = (self.bin - np.arange(BACKTRACK + 1)) % HISTORY
        load, present = -np.diff(self._sums[rows, plate]), -np.diff(self._counts[rows, plate])
        off = np.abs(load - self.level[plate]) > 0.5 * self.trigger_threshold(np.array([plate]))[0]
        off |= present == 0
        at_level = np.flatnonzero(~off[1:])
        return 1 + int(at_level[0]) if len(at_level) else BACKTRACK

    def _bins_since_step(self, plate: int) -> int:
        """How many of the newest bins come after a plate's step: where the two means before and after differ most clearly (the maximum
        likelihood of a single step in white noise)."""
        rows = (self.bin - np.arange(LASTING_BACKTRACK + 1)) % HISTORY
        loads, counts = self._sums[rows, plate], self._counts[rows, plate]
        after, before = loads[0] - loads[1:-1], loads[1:-1] - loads[-1]
        after_count, before_count = np.maximum(counts[0] - counts[1:-1], 1), np.maximum(counts[1:-1] - counts[-1], 1)
        step = after / after_count - before / before_count
        return 1 + int(np.argmax(step**2 * after_count * before_count))


def _force(sums: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums over plates of mean loads [rows], where all plates gave something."""
    there = (counts > 0).all(axis=1)
    return (sums[there] / counts[there]) @ weights


_NONE = np.zeros(0, dtype=int)
