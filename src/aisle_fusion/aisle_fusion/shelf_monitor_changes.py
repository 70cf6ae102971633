"""From plates whose load moved to changes of a shelf: which plates belong together, and how much came or went.

Plates near to one another that move at the same time make a chain. A chain that stands still has come to a plateau. What it stands
at can be told when the plateau is firm, and is settled when it has lasted for long enough; if the chain moves on before, a firm plateau
ends a change all the same. A hand that rests on a shelf makes no firm plateau: it is never as still as goods. Plateaus that were left too
early to tell are remembered: what came after them may show that they were of goods, and then the changes up to them are told as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_levels import SHORT, PlateLevels, bins

#: Standard deviations that a single plate's change needs to be the core of an event.
CORE_DEVIATIONS = 4.0
#: Plates that changed by this share of the strongest one were themselves loaded or relieved.
STRONG_SHARE = 0.12
#: Plates on each side of the core whose share of the load is counted too: loads spread.
NEIGHBOURS = 1
#: A change that is told early needs so many times the significance: a shaking shelf swings there and back.
EARLY_FACTOR = 2.0
#: Less than that only if it is late: within this last share of the time to the end of settling, where more goes afterwards.
LATE_SHARE = 0.35
#: Longer changes are slow: what looks steady may be a pause in a slow lift.
QUICK_S = 0.9
#: A plate was pressed by a hand if it was raised for so long on the way.
PRESSED_S = 0.4
#: Plates raised by less than this share of the strongest change are not counted as raised: shelves bend.
RAISED_SHARE = 0.15
#: While a shelf settles, its plates come nearer within a second by this share of what they are still off by then.
SETTLING_STEADY = 1.2
#: What stands still in noise only for so long, in bins, is told from hands and slow lifts less strictly.
PATIENCE_BINS = 34
#: A hand's force wanders by more than this share of it within a second, and over longer times by more than that.
HAND_WANDER_PER_S = 0.016
MOST_HAND_WANDER = 0.03
#: Within less than a second it also trembles by more than this share of it (standard deviation of bins).
HAND_TREMBLE = 0.009
#: What noise hides is no sign of a hand: so many of its standard deviations, and more if it lasts.
HIDDEN_DEVIATIONS = 3.6
HIDDEN_LONG_DEVIATIONS = 5.0
#: A shelf that shakes raises what a steady load may wander by up to this factor where it lasts.
MOST_SHAKEN = 3.0
#: A hand that rests weighs more than this, kg; what gets lighter beside it does so by more than this share of its force, by which the
#: shelf bends.
RESTING_HAND_KG = 0.15
LOWERED_SHARE = 0.06
#: So many plates next to one another are the most that it lies on.
HAND_PLATES = 5
#: Plateaus of a chain that are remembered until it is clear what they were.
MOST_PAUSES = 12
#: What was put and is still there weighs the same: within so many deviations and this share, in most of the load that had come.
KEPT_DEVIATIONS = 3.0
KEPT_SHARE = 0.015
KEPT_LOAD = 0.6
#: Something happened elsewhere if a load changed there by this share of the strongest change that was kept.
ELSEWHERE_SHARE = 0.3
#: What will have changed at a plateau is measured again after so many bins.
PRESENT_EVERY_BINS = 4
#: A change is small below so many times the least change that is an event.
SMALL_CHANGES = 2.5
#: Small changes that show only in the long run, which may be plates that creep, need so many times the significance.
HIDDEN_FACTOR = 1.5
#: A single plate's change is beyond doubt from so many deviations on.
SURE_DEVIATIONS = 8.0
#: A change is clear when it is so many times what a steady load may wander.
CLEAR_RANGES = 4.0
#: Goods that came and goods that went at once are told apart from a shelf that bends from so many times the least change on.
BOTH_WAYS = 4.0
#: What has settled while the shelf still shook too much to tell a change from none is measured again for so many bins.
DOUBT_BINS = 60
#: Below so many standard deviations there is nothing to doubt.
LEAST_DOUBT_DEVIATIONS = 1.5
#: How plates came to their loads is remembered for so many bins.
TRACE_BINS = 600
#: A plate has changed when it is nearer than this share of its change to what it shows in the end.
HALF_WAY = 0.5


@dataclass(frozen=True)
class Change:
    """Change of load of adjoining plates of one shelf. ``plates``: their columns; ``change`` and ``deviation`` [plates] kg;
    ``changed_bins`` [plates]: when each of them came to what it shows in the end, for the last time."""

    start_bin: int
    settled_bin: int
    plates: np.ndarray
    change: np.ndarray
    deviation: np.ndarray
    changed_bins: np.ndarray

    @property
    def total(self) -> float:
        return float(self.change.sum())

    @property
    def total_deviation(self) -> float:
        return float(np.sqrt((self.deviation**2).sum()))

    @property
    def strongest(self) -> int:
        """The column that changed most."""
        return int(self.plates[np.argmax(np.abs(self.change))])


@dataclass(frozen=True, eq=False)
class AtRest:
    """A change after which its plates are at rest. ``before``, ``variance``, ``settling`` [plates]: the loads that they showed before, as
    well as these are known, and by how much they had yet to settle then, kg."""

    change: Change
    before: np.ndarray
    variance: np.ndarray
    settling: np.ndarray


@dataclass
class Outcome:
    """What a bin showed, as (columns of a chain, changes on it). ``ended``: chains that are over, by what has changed, if anything;
    ``present``: chains that have come to a plateau, by what will have changed if they stay there. ``at_rest``: those of the changes that
    are over after which the plates are at rest."""

    ended: list[tuple[np.ndarray, list[Change]]] = field(default_factory=list)
    present: list[tuple[np.ndarray, list[Change]]] = field(default_factory=list)
    at_rest: list[AtRest] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Plateau:
    """Where a chain stood still from bin ``since`` to bin ``until``: mean ``loads`` [plates] kg of ``plates`` (columns), and variances."""

    since: int
    until: int
    plates: np.ndarray
    loads: np.ndarray
    variance: np.ndarray

    def as_now_at(self, other: _Plateau) -> _Plateau:
        """The same but for the plates of a later plateau that are the new level: nothing had changed there."""
        _, here, there = np.intersect1d(self.plates, other.plates, return_indices=True)
        loads, variance = self.loads.copy(), self.variance.copy()
        loads[here], variance[here] = other.loads[there], other.variance[there]
        return replace(self, loads=loads, variance=variance)


@dataclass(eq=False)
class _Chain:
    """Neighbouring plates in motion. The plateau, if any, lasts from bin ``since`` to bin ``until`` at ``loads`` [columns] kg; what will
    have changed there was first told at ``told_bin``. ``pressed_bins``: for how long a plate was raised on the way; ``still_bins``: for
    how long all plates stand still now; ``doubt_bins``: for how many bins it could not be told whether anything has changed; ``pauses``:
    plateaus that were left before it was clear what they were, oldest first."""

    columns: np.ndarray
    start_bin: int
    pressed_bins: int = 0
    since: int = -1
    until: int = -1
    firm: bool = False
    told_bin: int = -1
    still_bins: int = 0
    doubt_bins: int = 0
    raised: bool = False
    loads: np.ndarray = field(default_factory=lambda: np.zeros(0))
    pauses: list[_Plateau] = field(default_factory=list)

    def leave(self) -> None:
        self.since = self.until = self.told_bin = -1
        self.firm = False


class ShelfChanges:
    """Joins active plates of a shelf into changes and measures them once all their plates are steady."""

    def __init__(self, config: ShelfMonitorConfig, levels: PlateLevels, capacity: np.ndarray, width: int) -> None:
        """``capacity`` float64 [shelves * width] kg: what each plate can carry; 0 for columns that are no plates."""
        self._config = config
        self._levels = levels
        self._capacity = capacity
        self._width = width
        self._settle_bins = bins(config.settle_s)
        self._steady_bins = bins(config.steady_s)
        self._steady_long_bins = bins(config.steady_long_s)
        self._lighter_bins = bins(config.lighter_s)
        self._heavier_bins = bins(config.heavier_s)
        self._longest_bins = bins(config.longest_event_s)
        self._chains: list[_Chain] = []
        #: Plates whose latest change showed only in the long run.
        self._hidden = np.zeros(len(capacity), dtype=bool)
        #: Short means by bin modulo TRACE_BINS; from ``_trace_from`` on there are all.
        self._trace = np.zeros((TRACE_BINS, len(capacity)))
        self._trace_from = 0
        #: For warnings: columns that never came to rest, and columns whose load changed by more than they can carry.
        self.abandoned: list[int] = []
        self.impossible: list[int] = []

    def step(self) -> Outcome:
        """Judges the present bin of the levels."""
        levels = self._levels
        outcome = Outcome()
        fresh = levels.triggered()
        if self._chains:
            self._trace[levels.bin % TRACE_BINS] = levels.mean
        else:
            self._trace_from = levels.bin + 1
        for chain in list(self._chains):
            self._judge(chain, fresh, outcome)
        if outcome.ended:
            # What went to a new level may have left it by now.
            fresh = levels.triggered()
        if len(fresh):
            levels.activate(fresh)
            self._hidden[fresh] = False
            self._join()
        if levels.bin % BINS_PER_REPORT == BINS_PER_REPORT - 1:
            self._drop_silent(outcome)
            near = self.near_activity() if self._chains else None
            hidden = levels.lastingly_off(near)
            if len(hidden):
                self._hidden[hidden] = True
                self._join()
                near = self.near_activity()
            levels.follow(near)
        return outcome

    def bins_without_news(self) -> int | None:
        """For how many further bins nothing can be told provisionally, whatever they show; None if nothing is going on at all."""
        waits = []
        for chain in self._chains:
            if chain.told_bin >= 0:
                since_told = self._levels.bin - chain.told_bin
                waits.append(PRESENT_EVERY_BINS - 1 - since_told % PRESENT_EVERY_BINS)
            else:
                # Even what stopped just now must be seen to stand still.
                waits.append(max(self._steady_bins - max(chain.still_bins, SHORT - 1) - 1, 0))
        return min(waits, default=None)

    def finish(self) -> tuple[Outcome, list[int]]:
        """For the end of a recording: changes that are nearly settled and clear, and the columns of plates that still move."""
        outcome, moving = Outcome(), []
        for chain in self._chains:
            if chain.since >= 0 and chain.until - chain.since + 1 >= self._steady_bins:
                outcome.ended.append((chain.columns, self._measure(chain, EARLY_FACTOR)))
            else:
                moving += [int(plate) for plate in chain.columns]
        return outcome, moving

    def _judge(self, chain: _Chain, fresh: np.ndarray, outcome: Outcome) -> None:
        levels = self._levels
        mean = levels.mean[chain.columns]
        if chain.since >= 0 and (self._has_left(chain, mean) or self._is_touched(chain, fresh)):
            # What was firm is over when something new begins at it or beside it, unless nothing had changed yet.
            factor = self._earliness(chain.since, chain.until, more_is_gone=not _grows(mean - chain.loads))
            measured = self._measure(chain, factor) if chain.firm or self._were_goods(chain, mean) else []
            if measured or (chain.doubt_bins and self._has_crept(chain)):
                self._end(chain, measured, outcome)
                return
            self._remember(chain)
            chain.leave()
        self._look_for_plateau(chain, mean)
        if chain.raised and not chain.firm and levels.bin % PRESENT_EVERY_BINS == 0:
            self._end_beside_a_hand(chain, outcome)
        if chain.pauses and chain.until == levels.bin and chain.still_bins == self._steady_bins:
            self._end_steps(chain, outcome)
        if chain.firm and levels.bin - chain.since + 1 >= self._settle_bins:
            measured = self._measure(chain)
            if not measured and chain.doubt_bins < DOUBT_BINS and self._may_have_changed(chain):
                # The older part of the plateau shook most.
                chain.doubt_bins += 1
                chain.since += 1
            else:
                if self._end_steps(chain, outcome):
                    measured = self._measure(chain)
                self._end(chain, measured, outcome)
        elif levels.bin - chain.start_bin > self._longest_bins:
            self.abandoned += [int(plate) for plate in chain.columns]
            levels.forget(chain.columns)
            self._chains.remove(chain)
            outcome.ended.append((chain.columns, []))
        elif chain.told_bin >= 0 and chain.until == levels.bin and (levels.bin - chain.told_bin) % PRESENT_EVERY_BINS == 0:
            outcome.present.append((self._with_neighbours(chain), self._measure(chain, EARLY_FACTOR)))

    def _earliness(self, since: int, until: int, more_is_gone: bool = False) -> float:
        """How many times the significance a change needs that is told by a plateau from bin ``since`` to bin ``until``, after which
        ``more_is_gone``: then it may be a part of a slow lift."""
        span = (self._settle_bins - self._steady_bins) * (LATE_SHARE if more_is_gone else 1.0)
        missing = self._settle_bins - (until - since + 1)
        return 1.0 + (EARLY_FACTOR - 1.0) * min(max(missing / max(span, 1.0), 0.0), 1.0)

    def _look_for_plateau(self, chain: _Chain, mean: np.ndarray) -> None:
        """Begins, prolongs and judges the plateau of a chain."""
        levels = self._levels
        change = mean - levels.level[chain.columns]
        size = np.abs(change)
        largest = float(size.max())
        shelf = int(chain.columns[0]) // self._width
        range_ = levels.steady_range[chain.columns]
        weak = size < RAISED_SHARE * largest
        # Plates that a load or a hand lies on are not only swinging back.
        settling = np.where(weak, SETTLING_STEADY, 0.5 * SETTLING_STEADY) * levels.settling[shelf]
        tolerance = np.maximum(np.maximum(range_, settling), self._config.steady_share * size)
        shaking = float(levels.shaking[shelf])
        if shaking > 1.0:
            # What only swings beside a load must not hide that the load stands still.
            swing = np.minimum(shaking * range_, RAISED_SHARE * largest)
            tolerance = np.where(weak, np.maximum(tolerance, swing), tolerance)
        limit = np.maximum(self._noise_limit(chain.columns), RAISED_SHARE * largest)
        raised = chain.raised = bool(np.count_nonzero(change > limit))
        chain.pressed_bins += raised
        still = levels.still_bins(chain.columns, tolerance)
        lasting = levels.still_bins(chain.columns, np.maximum(tolerance, self._shaken(shelf) * range_))
        if lasting < PATIENCE_BINS or (still < PATIENCE_BINS and levels.is_drifting(chain.columns, lasting)):
            lasting = 0
        chain.still_bins = max(still, lasting - PATIENCE_BINS + self._steady_bins)
        if chain.still_bins < self._steady_bins:
            levels.unsettle(shelf, largest)
            return
        chain.until = levels.bin
        if chain.firm:
            return
        patient = still >= PATIENCE_BINS
        still = max(still, lasting)
        chain.since = max(levels.bin - still + 1, chain.start_bin + 1)
        chain.loads = mean
        # Hardly anything has changed: it may be the beginning of a slow lift that the plate's noise hides.
        clear = CLEAR_RANGES * float(tolerance[np.argmax(size)])
        small = largest < max(SMALL_CHANGES * self._config.least_change_kg, clear)
        slow = chain.since - chain.start_bin >= bins(QUICK_S)
        if small or slow:
            firm = False
        elif raised or chain.pressed_bins > bins(PRESSED_S):
            firm = levels.at_rest_bins(chain.columns, float(size.sum())) >= self._steady_bins
        else:
            firm = True
        # It may be a hand where the load grew: only what stands stiller than one counts.
        chain.firm = firm or (still >= self._steady_long_bins and (not raised or patient or self._is_no_hand(chain)))
        # A hand cannot lift a plate: what is lighter has been taken, though more may follow. That is enough to tell of it.
        if chain.told_bin < 0 and (chain.firm or (not small and still >= (self._heavier_bins if raised else self._lighter_bins))):
            chain.told_bin = levels.bin

    def _is_no_hand(self, chain: _Chain) -> bool:
        """Whether what presses on a chain at its plateau is stiller than a hand."""
        change = chain.loads - self._levels.level[chain.columns]
        pressing = change > RAISED_SHARE * float(np.abs(change).max())
        plates = chain.columns[pressing]
        if not len(plates):
            return True
        wander, tremble, noise = self._levels.wander(chain.since, chain.until, plates, change[pressing])
        lasted = chain.until - chain.since + 1
        share = lasted / self._steady_long_bins
        if share < 1.0:
            return tremble <= HAND_TREMBLE and wander <= HAND_WANDER_PER_S * share**2
        hidden = HIDDEN_DEVIATIONS
        if lasted >= PATIENCE_BINS:
            hidden = HIDDEN_LONG_DEVIATIONS * self._shaken(int(plates[0]) // self._width)
        return wander <= max(min(HAND_WANDER_PER_S * share, MOST_HAND_WANDER), hidden * noise)

    def _shaken(self, shelf: int) -> float:
        return min(self._levels.shaken(shelf, PATIENCE_BINS), MOST_SHAKEN)

    def _were_goods(self, chain: _Chain, mean: np.ndarray) -> bool:
        """Whether a plateau that is left before it got firm is one of goods: less than before, but then there comes more, which is
        no slow lift that goes on; or more than before, and stiller than a hand."""
        lasted = chain.until - chain.since + 1
        if chain.raised:
            return lasted >= self._heavier_bins and self._is_no_hand(chain)
        return lasted >= self._lighter_bins and _grows(mean - chain.loads)

    def _remember(self, chain: _Chain) -> None:
        """Keeps a plateau that is left for when it is known what came after it."""
        if chain.until - chain.since + 1 < self._steady_bins:
            return
        chain.pauses.append(self._plateau(chain))
        if len(chain.pauses) > MOST_PAUSES:
            # What was before a long hold and what is now tell most.
            del chain.pauses[MOST_PAUSES // 2]

    def _end_steps(self, chain: _Chain, outcome: Outcome) -> bool:
        """Ends changes that led to earlier plateaus of a chain, if the present one shows that these were of goods; the chain goes on from
        the last of them. Whether there were any."""
        levels = self._levels
        now = self._plateau(chain)
        passed = 0
        for number, pause in enumerate(chain.pauses):
            if not self._is_kept(pause, now):
                continue
            changes = self._changes_at(chain, pause, self._earliness(pause.since, pause.until))
            if not changes:
                continue
            outcome.ended.append((pause.plates, changes))
            levels.shift_level(pause.plates, pause.loads, pause.variance, pause.until + 1)
            chain.start_bin = pause.until + 1
            passed = number + 1
        del chain.pauses[:passed]
        return passed > 0

    def _end_beside_a_hand(self, chain: _Chain, outcome: Outcome) -> None:
        """Ends changes of plates that have got lighter, as no hand can do, and stand still while a hand lies on others of the chain."""
        levels = self._levels
        plates = self._with_neighbours(chain)
        change = levels.mean[plates] - levels.level[plates]
        if not float(change[change > 0].sum()) >= RESTING_HAND_KG:
            return
        limit = self._noise_limit(plates)
        raised = change > limit
        if not raised.any() or np.ptp(plates[raised]) >= HAND_PLATES:
            # That is no hand, or there are several.
            return
        least = max(SMALL_CHANGES * self._config.least_change_kg, LOWERED_SHARE * float(np.nanmax(np.abs(change))))
        tolerance = np.maximum(levels.steady_range[plates], self._config.steady_share * np.abs(change))
        for group in _split(np.flatnonzero(change < -np.maximum(least, limit)), plates, 2):
            still = levels.still_bins(plates[group], tolerance[group])
            since = levels.bin - still + 1
            if still < self._settle_bins or since <= chain.start_bin:
                continue
            if abs(levels.still_bins(plates[raised], tolerance[raised]) - still) <= SHORT:
                # What came to rest at once, here heavier and there lighter, is not a hand's doing.
                continue
            # Those beside them carry some of it; what they do where the hand lies cannot be told.
            near = slice(max(group[0] - NEIGHBOURS, 0), group[-1] + NEIGHBOURS + 1)
            free = plates[near][change[near] < limit[near]]
            plateau = _Plateau(since, levels.bin, free, *levels.load_between(since, levels.bin, free))
            changes = self._changes_at(chain, plateau, 1.0)
            if changes:
                outcome.ended.append((free, changes))
                levels.shift_level(free, plateau.loads, plateau.variance, since)
                chain.pauses = [pause.as_now_at(plateau) for pause in chain.pauses]

    def _is_kept(self, pause: _Plateau, now: _Plateau) -> bool:
        """Whether what had changed at a pause was goods, as the chain's present plateau shows: something happened elsewhere since, but a
        load that had come is still there, which that of a hand is not to the gram; or what had gone has not gone on going."""
        levels = self._levels
        plates, before, after = _on_common_plates(pause, now, levels.level)
        change, step = before[0] - levels.level[plates], after[0] - before[0]
        if np.isnan(change + step).any():
            return False
        size = np.abs(change)
        deviation = levels.deviation(plates, before[1] + after[1])
        settling = levels.settling[int(plates[0]) // self._width]
        same = np.abs(step) <= np.maximum(np.maximum(KEPT_DEVIATIONS * deviation, KEPT_SHARE * size), settling)
        clear = size > np.maximum(RAISED_SHARE * size.max(), CORE_DEVIATIONS * deviation)
        came, went = clear & (change > 0), clear & (change < 0)
        taken = change + step < -np.maximum(self._config.least_change_kg, CORE_DEVIATIONS * deviation)
        more = step > size
        least = max(self._config.least_change_kg, ELSEWHERE_SHARE * float(size.max()))
        elsewhere = ~same & (np.abs(step) > np.maximum(least, CORE_DEVIATIONS * deviation))
        if (went & ~same & (step < 0)).any() or (came & ~same & ~taken & ~more).any():
            return False
        if not came.any():
            return bool((elsewhere & ((step > 0) | ~went)).any())
        kept = float(change[came & same].sum())
        return bool((elsewhere & (~came | taken | more)).any()) and kept >= KEPT_LOAD * float(change[came].sum())

    def _has_left(self, chain: _Chain, mean: np.ndarray) -> bool:
        off = np.abs(mean - chain.loads)
        return bool(np.count_nonzero(off > np.sqrt(2.0) * self._noise_limit(chain.columns)))

    def _noise_limit(self, plates: np.ndarray) -> np.ndarray:
        """What noise and shaking do not do to a short mean, kg [plates]."""
        shelf = int(plates[0]) // self._width
        noise = self._config.trigger_deviations * self._levels.shaking[shelf] * self._levels.noise[plates]
        return np.maximum(self._config.trigger_kg, np.hypot(noise, self._levels.settling[shelf]))

    def _has_crept(self, chain: _Chain) -> bool:
        """Whether a chain's plates are off by so little that it is nothing, but should not be added to what comes next."""
        off = np.abs(chain.loads - self._levels.level[chain.columns])
        return float(off.max()) < SMALL_CHANGES * self._config.least_change_kg

    def _may_have_changed(self, chain: _Chain) -> bool:
        """Whether the load is off by as much as goods weigh, though not by enough for what is known of it."""
        plates, change, deviation = self._compared(chain, self._plateau(chain))
        if not len(plates):
            return False
        largest = int(np.argmax(np.abs(change)))
        near = slice(max(largest - NEIGHBOURS, 0), largest + NEIGHBOURS + 1)
        total, total_deviation = abs(float(change[near].sum())), float(np.sqrt((deviation[near] ** 2).sum()))
        return total >= max(self._config.least_change_kg, LEAST_DOUBT_DEVIATIONS * total_deviation)

    def _measure(self, chain: _Chain, factor: float = 1.0) -> list[Change]:
        """The significant changes of a chain at its plateau; two hands far enough apart on it give two."""
        return self._changes_at(chain, self._plateau(chain), factor)

    def _changes_at(self, chain: _Chain, plateau: _Plateau, factor: float) -> list[Change]:
        plates, change, deviation = self._compared(chain, plateau)
        if not len(plates):
            return []
        size = np.abs(change)
        least = max(self._config.trigger_kg, self._config.neighbour_share * float(size.max()))
        cores = np.flatnonzero(size > np.maximum(CORE_DEVIATIONS * deviation, least))
        changes = []
        for within in _parts(cores, plates, change, self._config.separation_plates):
            found = self._change(plates[within], change[within], deviation[within], chain, plateau)
            if self._is_significant(found, factor):
                changes.append(found)
        return changes

    def _plateau(self, chain: _Chain) -> _Plateau:
        """The present plateau of a chain and what lies beside it."""
        plates = self._with_neighbours(chain)
        return _Plateau(chain.since, chain.until, plates, *self._levels.load_between(chain.since, chain.until, plates))

    def _compared(self, chain: _Chain, plateau: _Plateau) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns of a plateau, how far their loads are off their levels there, and the deviations of that, kg."""
        levels, config = self._levels, self._config
        plates, after_variance = plateau.plates, plateau.variance
        change = plateau.loads - levels.level[plates]
        # More than a plate can carry does not come or go: its cell is broken.
        seen = np.abs(change) <= self._capacity[plates]
        plates, change, after_variance = plates[seen], change[seen], after_variance[seen]
        if not len(plates):
            return plates, change, after_variance
        drift = config.drift_kg_per_s * max(plateau.since - chain.start_bin, 0) * BIN_NS * 1e-9
        settled = levels.settled_by(plates, (plateau.since + plateau.until) // 2)
        creep = np.maximum(config.creep_share * float(np.abs(change).max()), settled)
        return plates, change, np.sqrt(levels.deviation(plates, after_variance) ** 2 + drift**2 + creep**2)

    def _change(self, plates: np.ndarray, change: np.ndarray, deviation: np.ndarray, chain: _Chain, plateau: _Plateau) -> Change:
        own = plates[among(plates, chain.columns)]
        start = min(int(self._levels.start_bin[own].min()) if len(own) else chain.start_bin, plateau.since - 1)
        changed = self._changed_bins(plates, change, deviation, start, plateau.since)
        return Change(start, plateau.since, plates, change, deviation, changed)

    def _changed_bins(self, plates: np.ndarray, change: np.ndarray, deviation: np.ndarray, start: int, since: int) -> np.ndarray:
        """The last bin [plates], from ``start`` to ``since``, in which each plate's short mean was still off what it shows in the end by
        half its change or more. (That mean lags by as much as the step comes after the bin's beginning.) Plates that hardly changed are
        said to have changed with the strongest."""
        traced = np.arange(max(start, self._trace_from, self._levels.bin - TRACE_BINS + 1), since + 1)
        after = self._levels.level[plates] + change
        off = np.abs(self._trace[traced[:, None] % TRACE_BINS, plates] - after) >= HALF_WAY * np.abs(change)
        last = np.where(off.any(axis=0), since - np.argmax(off[::-1], axis=0), start) if len(traced) else np.full(len(plates), start)
        size = np.abs(change)
        strongest = int(np.argmax(size))
        clear = size > np.maximum(CORE_DEVIATIONS * deviation, STRONG_SHARE * size[strongest])
        return np.where(clear, last, last[strongest])

    def _is_significant(self, change: Change, factor: float) -> bool:
        """A change of the sum, or goods that came and goods that went: their sum may be nothing."""
        config = self._config
        if abs(change.total) < SMALL_CHANGES * config.least_change_kg and self._hidden[change.strongest]:
            factor *= HIDDEN_FACTOR
        least = config.least_change_deviations * factor * change.total_deviation
        if abs(change.total) >= max(config.least_change_kg, least):
            return True
        if factor < EARLY_FACTOR:
            # What one plate shows beyond doubt is not drowned by the noise of those beside it.
            sure = np.maximum(SURE_DEVIATIONS * factor * change.deviation, SMALL_CHANGES * config.least_change_kg)
            if (np.abs(change.change) >= sure).any():
                return True
        came = float(change.change[change.change > 0].sum())
        went = came - change.total
        return min(came, went) >= max(BOTH_WAYS * config.least_change_kg, least)

    def _end(self, chain: _Chain, changes: list[Change], outcome: Outcome) -> None:
        """Puts a chain's plates to rest at the level of its plateau."""
        plateau = self._plateau(chain)
        plates, after, variance = plateau.plates, plateau.loads, plateau.variance
        impossible = np.abs(after - self._levels.level[plates]) > self._capacity[plates]
        self.impossible += [int(plate) for plate in plates[impossible]]
        for change in changes:
            outcome.at_rest.append(AtRest(change, *self._levels.reference(change.plates), self._levels.level_settling[change.plates]))
        self._levels.set_level(plates, after, variance, chain.since)
        self._chains.remove(chain)
        outcome.ended.append((plates, changes))

    def _join(self) -> None:
        """Makes chains of the plates in motion; one that grew has no plateau any more."""
        levels = self._levels
        busy = levels.busy
        cut = (np.diff(busy) >= self._config.separation_plates) | (np.diff(busy // self._width) > 0)
        chains = []
        for columns in np.split(busy, np.flatnonzero(cut) + 1):
            before = [chain for chain in self._chains if columns[0] <= chain.columns[0] <= columns[-1]]
            if len(before) == 1 and len(before[0].columns) == len(columns):
                chains += before
            else:
                pressed = max((chain.pressed_bins for chain in before), default=0)
                pauses = sorted((pause for chain in before for pause in chain.pauses), key=lambda pause: pause.until)[-MOST_PAUSES:]
                chains.append(_Chain(columns, int(levels.start_bin[columns].min()), pressed, pauses=pauses))
        self._chains = chains

    def _with_neighbours(self, chain: _Chain) -> np.ndarray:
        first, last = int(chain.columns[0]), int(chain.columns[-1])
        shelf = first // self._width * self._width
        plates = np.arange(max(first - NEIGHBOURS, shelf), min(last + NEIGHBOURS + 1, shelf + self._width))
        return plates[(self._capacity[plates] > 0) & self._levels.has_level(plates)]

    def _is_touched(self, chain: _Chain, fresh: np.ndarray) -> bool:
        """Whether fresh activity lies so near to a chain that it would join it."""
        if not len(fresh):
            return False
        reach = self._config.separation_plates - 1
        near = (fresh >= chain.columns[0] - reach) & (fresh <= chain.columns[-1] + reach)
        return bool((near & (fresh // self._width == chain.columns[0] // self._width)).any())

    def near_activity(self) -> np.ndarray:
        """bool: columns so near to a moving plate that they would join its change."""
        near = np.zeros(len(self._capacity), dtype=bool)
        reach = self._config.separation_plates - 1
        for chain in self._chains:
            shelf = int(chain.columns[0]) // self._width * self._width
            first, last = int(chain.columns[0]) - reach, int(chain.columns[-1]) + reach
            near[max(first, shelf) : min(last + 1, shelf + self._width)] = True
        return near

    def _drop_silent(self, outcome: Outcome) -> None:
        silent = self._levels.silent()
        if not len(silent):
            return
        self._levels.forget(silent)
        for number, chain in enumerate(self._chains):
            kept = chain.columns[~among(chain.columns, silent)]
            if len(kept) < len(chain.columns):
                outcome.ended.append((chain.columns, []))
                self._chains[number] = _Chain(kept, chain.start_bin, chain.pressed_bins, pauses=chain.pauses)
        self._chains = [chain for chain in self._chains if len(chain.columns)]


def _grows(off: np.ndarray) -> bool:
    """Whether the plate that is ``off`` [plates] most got heavier."""
    return bool(off[np.argmax(np.abs(off))] > 0)


def among(plates: np.ndarray, others: np.ndarray) -> np.ndarray:
    """bool [plates]: which of some columns are among ``others``; for the few of a shelf much faster than ``np.isin``."""
    return (plates[:, None] == others).any(axis=1)


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


def _on_common_plates(
    earlier: _Plateau, later: _Plateau, level: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The plates of ``later``, and loads and variances of both plateaus there; what was beside the earlier one was at its ``level``."""
    plates = later.plates
    loads, variance = level[plates].copy(), np.zeros(len(plates))
    _, at, of = np.intersect1d(plates, earlier.plates, return_indices=True)
    loads[at], variance[at] = earlier.loads[of], earlier.variance[of]
    return plates, (loads, variance), (later.loads, later.variance)


def _weakest_between(last: int, first: int, change: np.ndarray) -> int:
    """Index at which to cut between two groups that end at ``last`` and begin at ``first``."""
    between = np.arange(last + 1, first)
    return int(between[np.argmin(np.abs(change[between]))]) if len(between) else int(first)


def _split(indices: np.ndarray, plates: np.ndarray, separation: int) -> list[np.ndarray]:
    """Cuts indices into ``plates`` where the plates lie ``separation`` or more apart."""
    if not len(indices):
        return []
    return np.split(indices, np.flatnonzero(np.diff(plates[indices]) >= separation) + 1)
