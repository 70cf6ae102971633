"""Shelf events: which shelf's load changed when, at which plates, and by how much.

Readings of all shelves are ordered by event time and put on one grid of 50 ms bins (``shelf_monitor_samples``); every plate's level,
noise and phase is followed bin by bin (``shelf_monitor_levels``); plates that move together become changes once they are steady
(``shelf_monitor_changes``). What comes out depends on the samples and their stamps alone.
"""

from __future__ import annotations

import numpy as np

from aisle_contract.event_time import EventTimeBuffer
from aisle_contract.records import (
    NANOSECONDS,
    Diagnostic,
    DiagnosticLevel,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    ShelfEventStatus,
    StepResult,
)
from aisle_fusion.shelf_monitor_changes import Change, ShelfChanges
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, REPORT_NS, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_levels import Phase, PlateLevels, bins
from aisle_fusion.shelf_monitor_samples import PlateColumns, SamplePiece, bin_loads, pieces_of
from aisle_store.store import ShelfKey, Store

#: A plate whose load stays the same to the last digit for this long is reported as stuck.
STUCK_BINS = 600
#: A plate that gave nothing for this long is reported as missing.
MISSING_BINS = 20


class ShelfMonitor:
    """Streaming: takes ``ScaleReading`` records of all shelves in any interleaving, gives one ``ShelfEvents`` per 0.2 s of event time.

    The stamp of a ``ShelfEvents`` is the end of the newest bin that was judged less the confirmation delay (the longest of the
    config's steady and settling times, and two bins): no event that ended before it will still follow. A change that goes on does not
    hold the stamp back, since its end is yet to come; where plates of one change settle at different times, an event's end is never put
    before a stamp that was already given.
    Event ids are ``e_<gondola>_<shelf>_<start in ms>_<plate that changed most>``. All events are FINAL.
    """

    def __init__(self, store: Store, config: ShelfMonitorConfig) -> None:
        self._config = config
        self._columns = PlateColumns(store)
        self._delay_ns = (bins(max(config.settle_s, config.steady_long_s, config.steady_s)) + 2) * BIN_NS
        self._bridged_reports = int(config.bridged_gap_s * NANOSECONDS) // REPORT_NS + 1
        self._shelf_of_source = {_source(key): key for key in self._columns.shelves}
        self._found: dict[tuple[ShelfKey, tuple[str, ...]], tuple[np.ndarray, np.ndarray]] = {}
        self._warned: set[tuple[str, ...]] = set()
        self._ignored = 0
        self._start_anew()

    def step(self, record: ScaleReading) -> StepResult:
        result = StepResult()
        if not self._accept(record, result):
            return result
        self._take(self._buffer.pop_ready())
        watermark = self._buffer.watermark_ns
        if watermark is not None:
            self._judge_until((watermark + 1) // REPORT_NS, result)
        return result

    def flush(self) -> StepResult:
        """Judges what is held back. A load that still changes gives no event but a warning. Afterwards the monitor starts anew."""
        result = StepResult()
        self._take(self._buffer.flush())
        if self._waiting:
            self._judge_until(max(self._waiting) + 1, result)
        self._finish(result)
        self._start_anew()
        return result

    def diagnostics(self) -> list[Diagnostic]:
        return [self._order_diagnostic(), *(self._shelf_diagnostic(key) for key in self._columns.shelves)]

    def _start_anew(self) -> None:
        config = self._config
        self._buffer: EventTimeBuffer[SamplePiece] = EventTimeBuffer(self._shelf_of_source, int(config.max_lateness_s * NANOSECONDS))
        self._waiting: dict[int, list[SamplePiece]] = {}
        self._report: int | None = None
        self._last_filled_report = 0
        self._promised_ns = 0
        self._ready: list[ShelfEvent] = []
        self._reset_levels()

    def _reset_levels(self) -> None:
        self._levels = PlateLevels(self._config, len(self._columns.shelves), self._columns.width)
        self._changes = ShelfChanges(self._config, self._levels, self._columns.exists, self._columns.width)
        self._first_bin = 0

    def _accept(self, record: ScaleReading, result: StepResult) -> bool:
        """Pushes a reading's pieces; False if nothing can be made of it."""
        key = (record.gondola, record.shelf)
        if key not in self._columns.plates:
            self._ignored += 1
            self._warn_once(result, key, f"shelf {record.gondola}/{record.shelf} is not in the store's layout: its readings are ignored")
            return False
        expected = (len(record.weights), len(record.plates))
        if np.shape(record.weights) != expected or record.sample_period_ns <= 0:
            self._ignored += 1
            found = f"weights {np.shape(record.weights)}, sample period {record.sample_period_ns} ns"
            text = f"shelf {key[0]}/{key[1]}: a reading has {found}, expected [samples, {len(record.plates)} plates] and a positive period"
            self._warn_once(result, (*key, "malformed"), text)
            return False
        known, columns = self._find(key, record.plates, result)
        accepted = False
        if len(record.weights) and len(known):
            for piece in pieces_of(record, known, columns):
                accepted |= self._buffer.push(_source(key), int(piece.stamps[-1]), piece)
        return accepted

    def _find(self, key: ShelfKey, plates: tuple[str, ...], result: StepResult) -> tuple[np.ndarray, np.ndarray]:
        if (key, plates) not in self._found:
            self._found[key, plates] = self._columns.find(key, plates)
            unknown = [plate for plate in plates if plate not in self._columns.plates[key]]
            if unknown:
                text = f"shelf {key[0]}/{key[1]}: plates {', '.join(unknown)} are not in the store's layout: they are ignored"
                self._warn_once(result, (*key, *unknown), text)
        return self._found[key, plates]

    def _warn_once(self, result: StepResult, about: tuple[str, ...], text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            result.warnings.append(text)

    def _take(self, pieces: list[SamplePiece]) -> None:
        for piece in pieces:
            self._waiting.setdefault(piece.report, []).append(piece)
            if self._report is None:
                self._report = self._last_filled_report = piece.report

    def _judge_until(self, end_report: int, result: StepResult) -> None:
        while self._report is not None and self._report < end_report:
            pieces = self._waiting.pop(self._report, [])
            if pieces:
                self._last_filled_report = self._report
            elif self._report - self._last_filled_report > self._bridged_reports:
                # All shelves were silent: nothing can be said about that time, and levels do not outlast it.
                if not self._waiting:
                    return
                self._skip_to(min(self._waiting), result)
                continue
            self._judge(self._report, pieces, result)
            self._report += 1

    def _skip_to(self, report: int, result: StepResult) -> None:
        silent_s = (report - self._last_filled_report) * REPORT_NS / NANOSECONDS
        result.warnings.append(f"no shelf gave a reading for {silent_s:.1f} s: all levels are taken anew")
        self._reset_levels()
        self._report = self._last_filled_report = report

    def _judge(self, report: int, pieces: list[SamplePiece], result: StepResult) -> None:
        if self._levels.bin < 0:
            self._first_bin = report * BINS_PER_REPORT
        for loads in bin_loads(report, pieces, self._columns.count):
            self._levels.add_bin(loads)
            self._ready += [self._event(change) for change in self._changes.step()]
        self._warn_about_abandoned(result)
        self._give((report + 1) * REPORT_NS - self._delay_ns, result)

    def _give(self, stamp_ns: int, result: StepResult) -> None:
        events = sorted(self._ready, key=lambda event: (event.end_ns, event.start_ns, event.event))
        result.records.append(ShelfEvents(stamp_ns, tuple(events)))
        self._ready = []
        self._promised_ns = stamp_ns

    def _event(self, change: Change) -> ShelfEvent:
        key = self._columns.shelves[change.plates[0] // self._columns.width]
        gondola, shelf = key
        first = self._columns.of_shelf(key).start
        names = self._columns.plates[key]
        start_ns = (self._first_bin + change.start_bin) * BIN_NS
        end_ns = max((self._first_bin + change.settled_bin) * BIN_NS, self._promised_ns)
        return ShelfEvent(
            event=f"e_{gondola}_{shelf}_{start_ns // 1_000_000}_{names[change.strongest - first]}",
            status=ShelfEventStatus.FINAL,
            gondola=gondola,
            shelf=shelf,
            start_ns=start_ns,
            end_ns=end_ns,
            plates=tuple(names[plate - first] for plate in change.plates),
            change=change.change,
            deviation=change.deviation,
        )

    def _finish(self, result: StepResult) -> None:
        changes, moving = self._changes.finish()
        self._ready += [self._event(change) for change in changes]
        for key in self._shelves_of(moving):
            result.warnings.append(f"shelf {key[0]}/{key[1]}: its load still changes at the end: no event is given for that")
        if self._levels.bin >= 0:
            self._give((self._first_bin + self._levels.bin + 1) * BIN_NS, result)

    def _warn_about_abandoned(self, result: StepResult) -> None:
        abandoned, self._changes.abandoned = self._changes.abandoned, []
        for key in self._shelves_of(abandoned):
            text = f"shelf {key[0]}/{key[1]}: not steady for {self._config.longest_event_s:.0f} s: its level is taken anew"
            result.warnings.append(text)

    def _shelves_of(self, columns: list[int]) -> list[ShelfKey]:
        return [self._columns.shelves[number] for number in sorted({column // self._columns.width for column in columns})]

    def _order_diagnostic(self) -> Diagnostic:
        dropped = sum(self._buffer.dropped.values())
        lost = self._buffer.lost
        bad = bool(dropped or lost or self._ignored)
        return Diagnostic(
            name="shelf readings",
            level=DiagnosticLevel.WARN if bad else DiagnosticLevel.OK,
            message=f"{len(lost)} of {len(self._columns.shelves)} shelves do not report" if lost else "all shelves report",
            values=(
                ("lost shelves", ", ".join(lost)),
                ("pieces that came too late", str(dropped)),
                ("readings ignored", str(self._ignored)),
            ),
        )

    def _shelf_diagnostic(self, key: ShelfKey) -> Diagnostic:
        levels = self._levels
        columns = self._columns.of_shelf(key)
        missing = self._named(key, levels.bin - levels.last_present_bin[columns] > MISSING_BINS)
        stuck = self._named(key, levels.unchanged_bins[columns] >= STUCK_BINS)
        noise = 1e3 * levels.noise[columns]
        silent = len(missing) == len(self._columns.plates[key])
        level = DiagnosticLevel.STALE if silent else DiagnosticLevel.WARN if missing or stuck else DiagnosticLevel.OK
        message = "no readings" if silent else "plates missing or stuck" if missing or stuck else "all plates work"
        return Diagnostic(
            name=f"shelf {key[0]}/{key[1]}",
            level=level,
            message=message,
            values=(
                ("missing plates", ", ".join(missing)),
                ("stuck plates", ", ".join(stuck)),
                ("noise of plates, g", ", ".join(f"{value:.2f}" for value in noise)),
                ("plates in motion", ", ".join(self._named(key, levels.phase[columns] == Phase.ACTIVE))),
            ),
        )

    def _named(self, key: ShelfKey, mask: np.ndarray) -> list[str]:
        return [plate for plate, marked in zip(self._columns.plates[key], mask, strict=True) if marked]


def _source(key: ShelfKey) -> str:
    return f"{key[0]}/{key[1]}"
