"""The monitor's compiled arithmetic against the same in plain Python and NumPy, bit for bit."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np
import pytest

import aisle_kernels
from aisle_contract.records import ScaleReading
from aisle_fusion import shelf_monitor_levels as levels_module
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_levels import HISTORY, SHORT, PlateLevels
from aisle_fusion.shelf_monitor_samples import GLITCH_KG, SampleBins

PERIOD_NS = 16_666_667


def plain_sum(values: list[float]) -> float:
    """One after another; ``sum`` makes up for rounding from Python 3.12 on."""
    return functools.reduce(operator.add, values)


class PlainBins:
    """Lists of samples by bin and column."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.samples: dict[int, list[list[float]]] = {}
        self.last = [math.inf] * width
        self.bin_of: dict[int, int] = {}
        self.too_late = self.first_open = 0

    def take(self, stream: int, columns: list[int], known: list[int], stamp_ns: int, weights: np.ndarray) -> None:
        for row in weights.tolist():
            number = self.bin_of[stream] = max(stamp_ns // BIN_NS, self.bin_of.get(stream, -1))
            if number < self.first_open:
                self.too_late += 1
            else:
                table = self.samples.setdefault(number, [[] for _ in range(self.width)])
                for column, plate in zip(columns, known, strict=True):
                    table[column].append(row[plate])
            stamp_ns += PERIOD_NS

    def pop(self, first: int, end: int) -> np.ndarray | None:
        self.first_open = end
        if not any(number in self.samples for number in range(first, end)):
            return None
        loads = np.full((end - first, self.width), np.nan)
        last = list(self.last)
        for column in range(self.width):
            placed = [(n, x) for n in range(first - 1, end + 1) for x in self.samples.get(n, [[]] * self.width)[column] if math.isfinite(x)]
            glitches = {k for k in range(1, len(placed) - 1) if is_glitch(*(placed[j][1] for j in (k - 1, k, k + 1)))}
            if not any(abs(x - last[column]) > GLITCH_KG / 2 for n, x in placed if first <= n < end):
                glitches = set()
            for number in range(first, end):
                taken = [x for k, (n, x) in enumerate(placed) if n == number and k not in glitches]
                if taken:
                    self.last[column] = loads[number - first, column] = plain_sum(taken) / len(taken)
        return loads


def is_glitch(before: float, here: float, after: float) -> bool:
    return min(abs(here - before), abs(here - after)) > GLITCH_KG and abs(after - before) < GLITCH_KG / 4


@pytest.mark.parametrize("seed", range(4))
def test_samples_are_put_into_bins_whatever_comes(seed: int) -> None:
    """Two streams with jitter, missing values, glitches and silence, in pieces of any size; the second in another order of plates."""
    rng = np.random.default_rng(seed)
    bins, plain = SampleBins(8), PlainBins(8)
    layout = [([0, 1, 2], [0, 1, 2]), ([6, 4, 7], [3, 0, 1])]
    streams = [bins.stream(np.array(known), np.array(columns)) for columns, known in layout]
    stamps, taken_out = [0, 3_000_000], 0
    for turn in range(120):
        for number, (columns, known) in enumerate(layout):
            count = int(rng.integers(1, 14))
            if rng.random() < 0.1:
                stamps[number] += int(rng.integers(0, 300_000_000))
            weights = (5.0 + rng.normal(0, 0.01, (count, 4))).astype(np.float32 if number else np.float64)
            weights[rng.random(weights.shape) < 0.05] = rng.choice([np.nan, np.inf, 9.0])
            reading = ScaleReading(stamps[number] + int(rng.integers(-4_000_000, 4_000_000)), "1", "1", PERIOD_NS, (), weights[:, ::-1])
            reading = reading if reading.stamp_ns >= 0 else ScaleReading(0, "1", "1", PERIOD_NS, (), reading.weights)
            bins.take(streams[number], reading)
            plain.take(number, columns, known, reading.stamp_ns, reading.weights)
            stamps[number] += count * PERIOD_NS
        if turn % 3 == 0:
            end = max(taken_out, min(stamps) // BIN_NS - int(rng.integers(-1, 3)))
            expected, found = plain.pop(taken_out, end), bins.pop(taken_out, end)
            assert (expected is None) == (found is None)
            if found is not None:
                np.testing.assert_array_equal(found, expected)
            taken_out = end
    assert bins.too_late == plain.too_late > 0
    assert bins.oldest_bin() <= bins.newest_bin()


def test_samples_that_fit_nowhere_are_refused() -> None:
    bins = SampleBins(2)
    stream = bins.stream(np.array([0, 1]), np.array([0, 1]))
    for weights, error in ((np.zeros((3, 1)), IndexError), (np.zeros(3), TypeError), (np.zeros((3, 2), dtype=int), TypeError)):
        with pytest.raises(error, match="take_samples"):
            bins.take(stream, ScaleReading(0, "1", "1", PERIOD_NS, (), weights))
    with pytest.raises(IndexError, match="holds 2, expected 0 to 1"):
        bins.stream(np.array([0]), np.array([2]))
    with pytest.raises(ValueError, match="period"):
        aisle_kernels.take_samples(bins._bins, stream, 0, 0, np.zeros((1, 2)))
    assert bins.newest_bin() is None


class PlainLevels:
    """What ``PlateLevels.add_bins`` and ``follow`` do to levels, noise and shaking, in NumPy; every plate at rest from the beginning."""

    def __init__(self, config: ShelfMonitorConfig, shelves: int, width: int, level: np.ndarray) -> None:
        self.config, self.shape = config, (shelves, width)
        plates = shelves * width
        self.loads: list[np.ndarray] = []
        self.sums, self.counts = [np.zeros(plates)] * HISTORY, [np.zeros(plates)] * HISTORY
        self.means = [np.full(plates, np.nan)] * HISTORY
        self.restlessness, self.shaking, self.unrest = ([np.ones(shelves)] * HISTORY for _ in range(3))
        self.unrest = list(np.repeat(np.arange(HISTORY, dtype=float)[:, None] - HISTORY, shelves, axis=1))
        self.noise, self.blocks = np.full(plates, config.prior_noise_kg), np.zeros(plates)
        self.level, self.variance = level.copy(), np.zeros(plates)

    def add(self, load: np.ndarray) -> np.ndarray:
        """One bin; bool [plates]: whose load has left its level."""
        m = levels_module
        there = np.isfinite(load)
        self.sums.append(self.sums[-1] + np.where(there, load, 0.0))
        self.counts.append(self.counts[-1] + there)
        count = self.counts[-1] - self.counts[-1 - SHORT]
        self.means.append((self.sums[-1] - self.sums[-1 - SHORT]) / np.where(2 * count < SHORT, np.nan, count))
        differences = np.abs(self.means[-1] - self.means[-1 - SHORT]) * (1.0 / (np.sqrt(2.0) * self.noise))
        ordered = np.sort(differences.reshape(self.shape), axis=1)
        plates = self.shape[1] - np.isnan(ordered).sum(axis=1)
        quiet = ordered[np.arange(len(ordered)), ((plates - 1) * m.QUIET_QUANTILE).astype(int)] / m.QUIET_QUANTILE_OF_NORMAL
        self.restlessness.append(np.where(plates < m.LEAST_SHAKING_PLATES, 1.0, quiet))
        newest = np.add.reduce(np.array(self.restlessness[-SHORT:]), axis=0) / (SHORT * m.SHAKING_DEADBAND)
        self.shaking.append(np.maximum(newest, 1.0 + (self.shaking[-1] - 1.0) * m._FADE))
        self.unrest.append(self.unrest[-1] + self.shaking[-1] ** 2)
        shaking = np.repeat(self.shaking[-1], self.shape[1])
        factor = self.config.trigger_deviations**2
        limit = factor * self.noise**2 * shaking**2 + factor * self.variance
        return (self.means[-1] - self.level) ** 2 > np.maximum(limit, self.config.trigger_kg**2)

    def follow(self) -> None:
        m, config = levels_module, self.config
        shaking = np.repeat(self.shaking[-1], self.shape[1])
        units = np.abs(self.means[-1] - self.means[-1 - SHORT]) * (1.0 / (np.sqrt(2.0) * self.noise))
        known = np.isfinite(units)
        gain = np.maximum(m.NOISE_GAIN, m.FIRST_GAIN / (self.blocks + m.PRIOR_WEIGHT))
        gain = np.where(self.blocks < m.LEARNING_BLOCKS, gain, gain / shaking)
        grown = self.noise * np.exp(gain * (np.minimum(units, m.CLIPPED_AT) - m.CLIPPED_MEAN))
        self.noise = np.where(known, np.maximum(grown, config.least_noise_kg), self.noise)
        self.blocks += known
        last, first = -1 - m.GUARD, -1 - m.LEVEL_SPAN
        count = self.counts[last] - self.counts[first]
        unrest = np.repeat((self.unrest[last] - self.unrest[first]) / (m.LEVEL_SPAN - m.GUARD), self.shape[1])
        variance = self.noise**2 * unrest * m._AVERAGING[count.astype(int)]
        aged = (np.sqrt(self.variance) + config.drift_kg_per_s * BINS_PER_REPORT * BIN_NS * 1e-9) ** 2
        follows = count >= m.LEAST_LEVEL
        held = follows & (variance > m.SHAKEN_VARIANCE * aged)
        mean = (self.sums[last] - self.sums[first]) / np.maximum(count, 1.0)
        self.variance = np.where(follows, np.where(held, aged, variance), self.variance)
        self.level = np.where(follows & ~held, mean, self.level)


def test_levels_follow_as_in_numpy() -> None:
    """Three shelves of six plates: one quiet with gaps, one that shakes for a while, one whose plate loses its load."""
    rng = np.random.default_rng(1)
    config, shape = ShelfMonitorConfig(), (3, 6)
    base = np.round(rng.uniform(1, 9, 18), 3)
    compiled, plain = PlateLevels(config, *shape), PlainLevels(config, *shape, base)
    compiled.set_level(np.arange(18), base, np.zeros(18), 0)
    shaken_bins, left = 0, 0
    for report in range(150):
        loads = base + rng.normal(0, 0.0008, (BINS_PER_REPORT, 18))
        loads[:, :6][rng.random((BINS_PER_REPORT, 6)) < 0.1] = np.nan
        if 60 <= report < 70:
            loads[:, 6:12] += rng.normal(0, 0.02, (BINS_PER_REPORT, 6))
        if report >= 120:
            loads[2:, 15] -= 0.3
        off = [plain.add(load) for load in loads]
        passed = compiled.add_bins(loads.copy())
        assert passed == next((k for k, bins in enumerate(off) if bins.any()), BINS_PER_REPORT - 1)
        for _ in range(BINS_PER_REPORT - passed):
            compiled.next_bin()
        assert compiled.triggered().tolist() == np.flatnonzero(off[-1]).tolist()
        left += bool(off[-1].any())
        shaken_bins += bool(plain.shaking[-1][1] > 3.0)
        plain.follow()
        # Errors of levels are learnt in NumPy alone; what they change has no part here.
        compiled.follow(None)
        for found, expected in (
            (compiled.mean, plain.means[-1]),
            (compiled.shaking, plain.shaking[-1]),
            (compiled.noise, plain.noise),
            (compiled.level, plain.level),
            (compiled.level_variance, plain.variance),
        ):
            np.testing.assert_array_equal(found, expected)
    assert shaken_bins >= 5
    assert left >= 5


def test_still_is_how_long_all_plates_have_kept_within_their_tolerances() -> None:
    config = ShelfMonitorConfig()
    levels = PlateLevels(config, 1, 3)
    for number in range(5 * BINS_PER_REPORT):
        if not levels.add_bins(np.array([[1.0, 2.0 + 0.5 * (number < 10), np.nan]])):
            levels.next_bin()
    assert levels.still_bins(np.array([0]), np.array([0.0])) > levels.still_bins(np.array([0, 1]), np.array([0.0, 0.1])) == 10
    assert levels.still_bins(np.array([0, 1]), np.array([0.0, 0.6])) == levels.still_bins(np.array([0]), np.array([0.0]))
    assert levels.still_bins(np.array([0, 2]), np.array([1.0, 1.0])) == 0


def test_what_a_shelf_settles_by_is_remembered_with_the_levels_taken_then() -> None:
    levels = PlateLevels(ShelfMonitorConfig(), 2, 3)
    plates = np.arange(3)
    for number in range(40):
        levels.add_bins(np.full((1, 6), 2.0))
        levels.bin = number
        if number == 20:
            levels.unsettle(0, 1.0)
            levels.set_level(plates, np.full(3, 2.001), np.full(3, 1e-8), 18)
        if number % BINS_PER_REPORT == BINS_PER_REPORT - 1:
            levels.follow(None)
    assert levels.settling_at(0, 22) > levels.settling_at(0, 30) > levels.settling[0] > 0
    assert levels.settling_at(0, 12) == levels.settling[0]
    by_level = levels_module.LEVEL_SETTLING_DEVIATION * levels.level_settling[plates]
    np.testing.assert_allclose(by_level, levels_module.LEVEL_SETTLING_DEVIATION * levels_module.SETTLING_SHARE)
    np.testing.assert_array_equal(levels.settled_by(plates, 39), by_level)
    assert not levels.settled_by(plates + 3, 39).any()


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TypeError, match="plate_levels: got 1 arguments"):
        aisle_kernels.plate_levels(1)
    with pytest.raises(ValueError, match="PyCapsule"):
        aisle_kernels.set_thresholds(object())
