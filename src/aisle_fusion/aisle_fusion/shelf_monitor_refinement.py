"""Measures settled changes again while nothing else happens at their plates: loud plates need longer than a decision may wait.

A change is told once its load has stood still for a second. On a plate that shakes, what it shows in the next seconds, and what it
showed in the seconds before, tell the load much better. That changes nothing in what is an event; only in how much went or came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aisle_contract.records import ShelfEvent, ShelfEventStatus
from aisle_fusion.shelf_monitor_changes import AtRest, Change, Outcome, ShelfChanges, among
from aisle_fusion.shelf_monitor_config import BIN_NS, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_levels import PlateLevels, bins

#: Changes whose noise is below this, kg, or this share of their sum are not measured again: creep may be more than what is won.
WELL_KNOWN_KG = 0.001
WELL_KNOWN_SHARE = 0.01
#: It is told again if the deviation of the sum falls below this share of what it was.
CLEARLY_BETTER = 0.85
#: A plate may have begun to change so long before that is seen.
UNSEEN_S = 1.0
#: Means begin at the plateau's begin or so many bins later, where it shook less; they last for so many at least.
LATER_BINS = 10
LEAST_BINS, LONGEST_BINS = 20, 60


@dataclass(eq=False)
class _Open:
    """A settled event that may be measured again. ``quiet_since``: the first bin since which nothing moves near its plates; ``is_quiet``:
    nothing does now; ``measured``: (change, deviation) [plates] as measured in the quiet before."""

    event: ShelfEvent
    rest: AtRest
    quiet_since: int
    is_quiet: bool = True
    measured: tuple[np.ndarray, np.ndarray] | None = None


class Refinement:
    """``take`` what ended, ``step`` once per report interval; what these give depends on the bins up to then alone."""

    def __init__(self, config: ShelfMonitorConfig, levels: PlateLevels, changes: ShelfChanges) -> None:
        self._config = config
        self._levels = levels
        self._changes = changes
        self._refine_bins = bins(config.refine_s)
        self._unseen_bins = bins(UNSEEN_S)
        self._open: list[_Open] = []

    def take(self, outcome: Outcome, settled: Sequence[tuple[ShelfEvent, Change]]) -> list[ShelfEvent]:
        """REFINED events of those whose plates felt something of another change that ended; ``settled``: what was told FINAL of a bin's
        ``outcome``, which may be measured again from now on."""
        changed = [columns for columns, changes in outcome.ended if changes]
        told = []
        for each in list(self._open):
            if any(among(each.rest.change.plates, columns).any() for columns in changed):
                self._open.remove(each)
                told += self._refined(each, self._unseen_bins)
        for rest in outcome.at_rest:
            if self._is_loud(rest):
                event = next(event for event, change in settled if change is rest.change)
                self._open.append(_Open(event, rest, rest.change.settled_bin))
        return told

    def step(self) -> list[ShelfEvent]:
        """REFINED events of those that have lasted for long enough."""
        if not self._open:
            return []
        near, told, kept = self._changes.near_activity(), [], []
        for each in self._open:
            if near[each.rest.change.plates].any():
                if each.is_quiet:
                    self._measure(each, self._unseen_bins)
                each.is_quiet, each.quiet_since = False, self._levels.bin + 1
            else:
                each.is_quiet = True
            if self._levels.bin - each.rest.change.settled_bin + 1 >= self._refine_bins:
                told += self._refined(each, 0)
            else:
                kept.append(each)
        self._open = kept
        return told

    def finish(self) -> list[ShelfEvent]:
        """At the end of a recording, or of what is known."""
        told = [event for each in self._open for event in self._refined(each, self._unseen_bins)]
        self._open = []
        return told

    def _is_loud(self, rest: AtRest) -> bool:
        """Whether a change is known so badly by the noise of its plates that measuring it again may help."""
        levels, change = self._levels, rest.change
        _, variance = levels.load_between(change.settled_bin, levels.bin, change.plates)
        noise = float(np.sqrt((levels.deviation(change.plates, variance, rest.variance) ** 2).sum()))
        return noise > max(WELL_KNOWN_KG, WELL_KNOWN_SHARE * abs(change.total))

    def _measure(self, each: _Open, ago: int) -> None:
        """Measures an event in the quiet since something moved near it, up to ``ago`` bins ago, if that is long enough."""
        last = self._levels.bin - ago
        begins = range(max(each.quiet_since, last - LONGEST_BINS), last - LEAST_BINS + 2, LATER_BINS)
        found = [self._measured_from(each.rest, first, last) for first in begins]
        found = [measured for measured in found if np.isfinite(measured[0]).all()]
        if found:
            each.measured = min(found, key=lambda measured: float((measured[1] ** 2).sum()))

    def _measured_from(self, rest: AtRest, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        levels, config, change = self._levels, self._config, rest.change
        load, variance = levels.load_between(first, last, change.plates)
        off = load - rest.before
        drift = config.drift_kg_per_s * (first - change.start_bin) * BIN_NS * 1e-9
        settled = levels.settled_by(change.plates, (first + last) // 2, rest.settling)
        creep = np.maximum(config.creep_share * float(np.abs(off).max()), settled)
        return off, np.sqrt(levels.deviation(change.plates, variance, rest.variance) ** 2 + drift**2 + creep**2)

    def _refined(self, each: _Open, ago: int) -> list[ShelfEvent]:
        """The event as it was measured up to ``ago`` bins ago, if that is clearly better."""
        if each.is_quiet:
            self._measure(each, ago)
        if each.measured is None:
            return []
        change, deviation = each.measured
        if not float(np.sqrt((deviation**2).sum())) < CLEARLY_BETTER * each.rest.change.total_deviation:
            return []
        return [replace(each.event, status=ShelfEventStatus.REFINED, change=change, deviation=deviation)]
