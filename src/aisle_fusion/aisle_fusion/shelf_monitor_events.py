"""From measured changes of load to shelf events: their ids, and what is told of each when."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from aisle_contract.records import ShelfEvent, ShelfEventStatus
from aisle_fusion.shelf_monitor_changes import Change, Outcome, among
from aisle_fusion.shelf_monitor_config import BIN_NS
from aisle_fusion.shelf_monitor_samples import PlateColumns

#: A provisional event is told anew when its sum is off by so many of its standard deviations, and by this share of it.
CLEARLY_DIFFERENT_DEVIATIONS = 3.0
CLEARLY_DIFFERENT_SHARE = 0.03
#: Ids that are remembered, so that none is given twice.
REMEMBERED_IDS = 500


@dataclass
class _Told:
    """A provisional event that is not settled yet."""

    event: str
    change: Change


class ShelfEventBook:
    """Gives events their ids and keeps track of those that were told provisionally.

    An id is fixed when an event is first told: ``e_<gondola>_<shelf>_<start in ms>_<plate that changed most>``. What is settled takes the
    id of the provisional event that it has most in common with; a provisional event of which nothing came is retracted.
    """

    def __init__(self, columns: PlateColumns) -> None:
        self._columns = columns
        self._told: list[_Told] = []
        self._ids: deque[str] = deque(maxlen=REMEMBERED_IDS)
        #: What was settled by the latest bin.
        self.settled: list[tuple[ShelfEvent, Change]] = []

    def take(self, outcome: Outcome, first_bin: int, promised_ns: int) -> list[ShelfEvent]:
        """Events that follow from a bin's outcome. ``first_bin``: number since the epoch of the bin that the changes count from;
        no settled event may end before ``promised_ns``."""
        events = []
        self.settled = []
        for columns, changes in outcome.ended:
            matched = self._matched(columns, changes)
            for change, told in matched:
                event = self._event(change, told, ShelfEventStatus.FINAL, first_bin, promised_ns)
                events.append(event)
                self.settled.append((event, change))
            events += self._retract(columns, first_bin)
        for columns, changes in outcome.present:
            matched = self._matched(columns, changes)
            events += self._retract(columns, first_bin)
            for change, told in matched:
                if told is None or _is_clearly_different(told.change, change):
                    events.append(self._event(change, told, ShelfEventStatus.PROVISIONAL, first_bin, 0))
                    told = _Told(events[-1].event, change)
                self._told.append(told)
        return events

    def retract_all(self, first_bin: int) -> list[ShelfEvent]:
        """Withdraws what is not settled: nothing more will be known of it."""
        told, self._told = self._told, []
        return [self._retracted(each, first_bin) for each in told]

    def _matched(self, columns: np.ndarray, changes: Iterable[Change]) -> list[tuple[Change, _Told | None]]:
        """For each change the provisional event among these columns that it continues, which is taken from those that are kept."""
        matched = []
        for change in sorted(changes, key=lambda change: -abs(change.total)):
            near = [told for told in self._told if among(told.change.plates, columns).any()]
            best = max(near, key=lambda told: _in_common(told.change, change), default=None)
            if best is not None and _in_common(best.change, change) > 0:
                self._told.remove(best)
                matched.append((change, best))
            else:
                matched.append((change, None))
        return matched

    def _retract(self, columns: np.ndarray, first_bin: int) -> list[ShelfEvent]:
        gone = [told for told in self._told if among(told.change.plates, columns).any()]
        self._told = [told for told in self._told if told not in gone]
        return [self._retracted(told, first_bin) for told in gone]

    def _retracted(self, told: _Told, first_bin: int) -> ShelfEvent:
        return self._event(told.change, told, ShelfEventStatus.RETRACTED, first_bin, 0)

    def _event(self, change: Change, told: _Told | None, status: ShelfEventStatus, first_bin: int, promised_ns: int) -> ShelfEvent:
        key = self._columns.shelves[change.plates[0] // self._columns.width]
        first = self._columns.of_shelf(key).start
        names = self._columns.plates[key]
        start_ns = (first_bin + change.start_bin) * BIN_NS
        none = np.zeros(len(change.plates))
        return ShelfEvent(
            event=told.event if told else self._new_id(f"e_{key[0]}_{key[1]}_{start_ns // 1_000_000}_{names[change.strongest - first]}"),
            status=status,
            gondola=key[0],
            shelf=key[1],
            start_ns=start_ns,
            end_ns=max((first_bin + change.settled_bin) * BIN_NS, promised_ns),
            plates=tuple(names[plate - first] for plate in change.plates),
            change=none if status == ShelfEventStatus.RETRACTED else change.change,
            deviation=none if status == ShelfEventStatus.RETRACTED else change.deviation,
            changed_ns=(first_bin + change.changed_bins) * BIN_NS,
        )

    def _new_id(self, wanted: str) -> str:
        number, name = 1, wanted
        while name in self._ids:
            number += 1
            name = f"{wanted}_{number}"
        self._ids.append(name)
        return name


def _in_common(first: Change, second: Change) -> float:
    """How much load two changes have in common, in the same direction at the same plates, kg."""
    of_first, of_second = np.nonzero(first.plates[:, None] == second.plates)
    a, b = first.change[of_first], second.change[of_second]
    return float(np.where(a * b > 0, np.minimum(np.abs(a), np.abs(b)), 0.0).sum())


def _is_clearly_different(told: Change, now: Change) -> bool:
    off = abs(now.total - told.total)
    deviations = CLEARLY_DIFFERENT_DEVIATIONS * max(now.total_deviation, told.total_deviation)
    return now.strongest != told.strongest or off > max(deviations, CLEARLY_DIFFERENT_SHARE * abs(told.total))
