"""Shelf events: which shelf's load changed when, at which plates, and by how much.

Readings of all shelves are ordered by event time and put on one grid of 50 ms bins (``shelf_monitor_samples``); every plate's level,
noise and phase is followed bin by bin (``shelf_monitor_levels``); plates that move together become changes once they are steady
(``shelf_monitor_changes``), and changes become events (``shelf_monitor_events``). What comes out depends on the samples and their
stamps alone. The whole is described in docs/shelves.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aisle_contract.event_time import Watermark
from aisle_contract.records import (
    NANOSECONDS,
    Diagnostic,
    DiagnosticLevel,
    ScaleReading,
    ShelfEvent,
    ShelfEvents,
    StepResult,
)
from aisle_fusion.shelf_monitor_changes import ShelfChanges
from aisle_fusion.shelf_monitor_config import BIN_NS, BINS_PER_REPORT, ShelfMonitorConfig
from aisle_fusion.shelf_monitor_events import ShelfEventBook
from aisle_fusion.shelf_monitor_levels import Phase, PlateLevels, bins
from aisle_fusion.shelf_monitor_refinement import Refinement
from aisle_fusion.shelf_monitor_samples import PlateColumns, SampleBins
from aisle_store.store import ShelfKey, Store

#: A plate whose load stays the same to the last digit for this long is reported as stuck.
STUCK_BINS = 600
#: A plate that gave nothing for this long is reported as missing.
MISSING_BINS = 20


class ShelfMonitor:
    """Streaming: takes ``ScaleReading`` records of all shelves in any interleaving, gives one ``ShelfEvents`` per 0.2 s of event time,
    and further ones at bins where there is something to tell.

    The stamp of a ``ShelfEvents`` is the end of the newest bin that was judged less the confirmation delay (the longest of the
    config's steady and settling times, and two bins): no FINAL event that ended before it will still follow. A change that goes on does
    not hold the stamp back, since its end is yet to come; an event's end is never put before a stamp that was already given.
    A PROVISIONAL event is told as soon as the load has stood still for a moment, so it may have ended after the stamp. It is told again
    when the estimate changes clearly, and ends with a FINAL or a RETRACTED one of the same id. A FINAL one of loud plates may be followed
    by a REFINED one: the same, measured again.
    """

    def __init__(self, store: Store, config: ShelfMonitorConfig) -> None:
        self._config = config
        self._columns = PlateColumns(store)
        self._delay_ns = (bins(max(config.settle_s, config.steady_long_s, config.steady_s)) + 2) * BIN_NS
        self._bridged_bins = bins(config.bridged_gap_s)
        self._sources = [_source(key) for key in self._columns.shelves]
        self._warned: set[tuple[str, ...]] = set()
        self._ignored = 0
        self._start_anew()

    def step(self, record: ScaleReading) -> StepResult:
        result = StepResult()
        stream = self._streams.get((record.gondola, record.shelf, record.plates)) or self._open(record, result)
        if stream is None or not self._is_well_formed(record, stream, result):
            return result
        if self._clock.hear(stream.source, record.end_ns):
            self._samples.take(stream.number, record)
        watermark = self._clock.watermark_ns
        if watermark is not None:
            complete = watermark // BIN_NS
            if self._bin is None or complete > self._bin:
                self._clock.release(watermark)
                self._judge_until(complete, result)
        return result

    def flush(self) -> StepResult:
        """Judges what is held back. A load that still changes gives no event but a warning. Afterwards the monitor starts anew."""
        result = StepResult()
        newest = self._samples.newest_bin()
        if newest is not None:
            # Up to the end of a report: what is left of it may wait for more otherwise.
            self._judge_until(_report_start(newest) + BINS_PER_REPORT, result)
        self._finish(result)
        self._start_anew()
        return result

    def diagnostics(self) -> list[Diagnostic]:
        return [self._order_diagnostic(), *(self._shelf_diagnostic(key) for key in self._columns.shelves)]

    def _start_anew(self) -> None:
        self._clock = Watermark(self._sources, int(self._config.max_lateness_s * NANOSECONDS))
        self._samples = SampleBins(self._columns.count)
        #: By shelf and plates; None for readings that are ignored.
        self._streams: dict[tuple[str, str, tuple[str, ...]], _Stream | None] = {}
        self._bin: int | None = None
        self._last_filled_bin = 0
        self._promised_ns = 0
        self._book = ShelfEventBook(self._columns)
        #: Events that go into the next report.
        self._left_over: list[ShelfEvent] = []
        self._reset_levels()

    def _reset_levels(self) -> None:
        self._levels = PlateLevels(self._config, len(self._columns.shelves), self._columns.width)
        self._changes = ShelfChanges(self._config, self._levels, self._columns.capacity, self._columns.width)
        self._refinement = Refinement(self._config, self._levels, self._changes)
        self._first_bin = 0

    def _open(self, record: ScaleReading, result: StepResult) -> _Stream | None:
        """What is known of readings like this one; None if nothing can be made of them."""
        key, plates = (record.gondola, record.shelf), record.plates
        name = (*key, plates)
        if name in self._streams:
            self._ignored += 1
            return None
        if key not in self._columns.plates:
            self._ignored += 1
            self._streams[name] = None
            self._warn_once(result, key, f"shelf {key[0]}/{key[1]} is not in the store's layout: its readings are ignored")
            return None
        unknown = [plate for plate in plates if plate not in self._columns.plates[key]]
        if unknown:
            text = f"shelf {key[0]}/{key[1]}: plates {', '.join(unknown)} are not in the store's layout: they are ignored"
            self._warn_once(result, (*key, *unknown), text)
        known, columns = self._columns.find(key, plates)
        self._streams[name] = _Stream(_source(key), len(plates), self._samples.stream(known, columns)) if len(known) else None
        return self._streams[name]

    def _is_well_formed(self, record: ScaleReading, stream: _Stream, result: StepResult) -> bool:
        shape = record.weights.shape
        if len(shape) == 2 and shape[1] == stream.plates and record.sample_period_ns > 0:
            return shape[0] > 0
        self._ignored += 1
        found = f"weights {shape}, sample period {record.sample_period_ns} ns"
        text = f"shelf {stream.source}: a reading has {found}, expected [samples, {stream.plates} plates] and a positive period"
        self._warn_once(result, (stream.source, "malformed"), text)
        return False

    def _warn_once(self, result: StepResult, about: tuple[str, ...], text: str) -> None:
        if about not in self._warned:
            self._warned.add(about)
            result.warnings.append(text)

    def _judge_until(self, end_bin: int, result: StepResult) -> None:
        if self._bin is None:
            # Reports end at the same times whatever comes first.
            oldest = self._samples.oldest_bin()
            self._bin = self._last_filled_bin = _report_start(end_bin if oldest is None else oldest)
        while self._bin < end_bin:
            report_end = _report_start(self._bin) + BINS_PER_REPORT
            if end_bin < report_end:
                # Many bins at a time are much cheaper. Nothing is lost where nothing can be told before their end.
                without_news = self._changes.bins_without_news()
                if without_news is None or end_bin <= self._bin + without_news:
                    return
            end = min(end_bin, report_end)
            loads = self._samples.pop(self._bin, end)
            if loads is not None:
                self._last_filled_bin = end - 1
            elif self._bin - self._last_filled_bin > self._bridged_bins:
                # All shelves were silent: nothing can be said about that time, and levels do not outlast it.
                oldest = self._samples.oldest_bin()
                if oldest is None:
                    return
                self._skip_to(_report_start(oldest), result)
                continue
            else:
                loads = np.full((end - self._bin, self._columns.count), np.nan)
            self._judge(self._bin, loads, result)
            self._bin = end

    def _skip_to(self, number: int, result: StepResult) -> None:
        silent_s = (number - self._last_filled_bin) * BIN_NS / NANOSECONDS
        result.warnings.append(f"no shelf gave a reading for {silent_s:.1f} s: all levels are taken anew")
        self._left_over += self._refinement.finish() + self._book.retract_all(self._first_bin)
        self._reset_levels()
        self._bin = self._last_filled_bin = number

    def _judge(self, first: int, loads: np.ndarray, result: StepResult) -> None:
        if self._levels.bin < 0:
            self._first_bin = first
        passed = self._levels.add_bins(loads)
        for end in range(first + passed + 1, first + len(loads) + 1):
            self._levels.next_bin()
            outcome = self._changes.step()
            events = self._book.take(outcome, self._first_bin, self._promised_ns) if outcome.ended or outcome.present else []
            if outcome.ended:
                events += self._refinement.take(outcome, self._book.settled)
            if end % BINS_PER_REPORT == 0:
                events += self._refinement.step()
            if events or end % BINS_PER_REPORT == 0:
                self._warn_about_plates(result)
                self._give(end * BIN_NS - self._delay_ns, events, result)

    def _give(self, stamp_ns: int, events: list[ShelfEvent], result: StepResult) -> None:
        events = self._left_over + events
        self._left_over = []
        result.records.append(ShelfEvents(stamp_ns, tuple(sorted(events, key=lambda event: (event.end_ns, event.start_ns, event.event)))))
        self._promised_ns = stamp_ns

    def _finish(self, result: StepResult) -> None:
        outcome, moving = self._changes.finish()
        events = self._refinement.finish() + self._book.take(outcome, self._first_bin, self._promised_ns)
        events += self._book.retract_all(self._first_bin)
        for key in self._shelves_of(moving):
            result.warnings.append(f"shelf {key[0]}/{key[1]}: its load still changes at the end: no event is given for that")
        if self._levels.bin >= 0:
            self._give((self._first_bin + self._levels.bin + 1) * BIN_NS, events, result)

    def _warn_about_plates(self, result: StepResult) -> None:
        changes = self._changes
        abandoned, changes.abandoned = changes.abandoned, []
        for key in self._shelves_of(abandoned):
            text = f"shelf {key[0]}/{key[1]}: not steady for {self._config.longest_event_s:.0f} s: its level is taken anew"
            result.warnings.append(text)
        impossible, changes.impossible = changes.impossible, []
        for column in impossible:
            key = self._columns.shelves[column // self._columns.width]
            plate = self._columns.plates[key][column % self._columns.width]
            capacity = self._columns.capacity[column]
            text = (
                f"shelf {key[0]}/{key[1]}: the load of plate {plate} changed by more than the {capacity:g} kg that it can carry: no goods"
            )
            result.warnings.append(text)

    def _shelves_of(self, columns: list[int]) -> list[ShelfKey]:
        return [self._columns.shelves[number] for number in sorted({column // self._columns.width for column in columns})]

    def _order_diagnostic(self) -> Diagnostic:
        dropped = sum(self._clock.dropped.values()) + self._samples.too_late
        lost = self._clock.lost
        bad = bool(dropped or lost or self._ignored)
        return Diagnostic(
            name="shelf readings",
            level=DiagnosticLevel.WARN if bad else DiagnosticLevel.OK,
            message=f"{len(lost)} of {len(self._columns.shelves)} shelves do not report" if lost else "all shelves report",
            values=(
                ("lost shelves", ", ".join(lost)),
                ("readings and samples that came too late", str(dropped)),
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


@dataclass(frozen=True)
class _Stream:
    """Readings of the same plates: their source, how many plates, and the stream's ``number`` in the sample bins."""

    source: str
    plates: int
    number: int


def _report_start(number: int) -> int:
    """First bin of the report that a bin belongs to."""
    return number - number % BINS_PER_REPORT


def _source(key: ShelfKey) -> str:
    return f"{key[0]}/{key[1]}"
