"""Weighing shelves on a serial line: lines of docs/scale-protocol.md to batches of samples with stamps."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import serial

from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel, ScaleReading, StepResult
from aisle_drivers.reconnection import Backoff
from aisle_drivers.scale_protocol import (
    DEVICE_TIME_MODULUS_US,
    SEQUENCE_MODULUS,
    UNUSED_CHANNEL,
    LineDecoder,
    ShelfColumns,
    ShelfSample,
)
from aisle_store.store import ShelfKey, Store

KILOGRAMS_PER_GRAM = 1e-3
NANOSECONDS_PER_US = 1000
#: Longest wait for bytes: how fast the reading thread notices that it shall end.
READ_TIMEOUT_S = 0.2
#: What is read at once when it is there.
READ_BYTES = 4096
#: Chunks that wait for ``take``, beyond which the oldest are dropped: half a minute at 10 chunks per second and more.
QUEUE_CHUNKS = 4096
#: Device time and sequence numbers must agree to this share, or the device has started anew.
CLOCK_AGREEMENT = 0.05
#: A line that waited longer than this on its way is not believed: its device was restarted.
LONGEST_DELAY_NS = 10 * NANOSECONDS
#: After so long without a line the device's clock is learnt anew.
LONGEST_SILENCE_NS = 60 * NANOSECONDS


@dataclass(frozen=True)
class SerialScaleConfig:
    port: str = parameter("", "Serial device (/dev/ttyUSB0) or pyserial URL (socket://host:port)")
    baud: int = parameter(115200, "Bits per second", 300, 12_000_000)
    batch: int = parameter(12, "Samples per message", 1, 600)
    longest_gap: int = parameter(60, "Lost samples in a row that are filled with NaN; after more a new batch begins", 0, 6000)
    clock_drift_ppm: float = parameter(200.0, "Largest drift of the device's clock, parts per million", 0.0, 10000.0)
    clock_slew: float = parameter(0.05, "Fastest correction of stamps, seconds per second", 0.001, 0.5)
    first_retry_s: float = parameter(0.5, "Pause before a lost port is opened again, s; doubles with each failure", 0.01, 60.0)
    longest_retry_s: float = parameter(10.0, "Longest such pause, s", 0.01, 600.0)


class DeviceClock:
    """Device times to stamps by the least delay seen (E. Olson, "A passive solution to the sensor synchronization problem", IROS 2010).

    A line never arrives before its sample was taken, so arrival minus device time exceeds the clocks' offset by the delay; the least of
    these differences, loosened by the largest drift, is the best estimate. Corrections are spread over time (``slew`` < 1), so stamps
    increase strictly and the spacing of samples is bent only little.
    """

    def __init__(self, drift_ppm: float, slew: float) -> None:
        self._drift = drift_ppm * 1e-6
        self._slew = slew
        self._device_us: int | None = None
        self._target_ns = 0
        self._applied_ns = 0

    def stamp(self, device_us: int, arrival_ns: int) -> int:
        """Stamp of a sample; ``device_us`` (unwrapped) must increase from call to call."""
        device_ns = device_us * NANOSECONDS_PER_US
        difference_ns = arrival_ns - device_ns
        if self._device_us is None:
            self._target_ns = self._applied_ns = difference_ns
        else:
            step_ns = (device_us - self._device_us) * NANOSECONDS_PER_US
            self._target_ns = min(difference_ns, self._target_ns + round(self._drift * step_ns))
            limit_ns = int(self._slew * step_ns)
            self._applied_ns += max(-limit_ns, min(limit_ns, self._target_ns - self._applied_ns))
        self._device_us = device_us
        return device_ns + self._applied_ns


@dataclass
class ShelfCounts:
    """``lost``: samples that never came, by sequence numbers; ``unannounced``: samples before the line that names their columns;
    ``misfit``: samples with another number of columns than announced; ``restarts`` of the device.
    """

    samples: int = 0
    lost: int = 0
    unannounced: int = 0
    misfit: int = 0
    restarts: int = 0


@dataclass
class _ShelfStream:
    """One shelf's samples on their way into a batch. ``last_ns`` is the stamp of the last sample of the last batch given."""

    clock: DeviceClock
    columns: ShelfColumns | None = None
    plates: tuple[str, ...] = ()
    used: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    last_sample: ShelfSample | None = None
    last_arrival_ns: int = 0
    device_us: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int | None = None
    counts: ShelfCounts = field(default_factory=ShelfCounts)

    @property
    def period_ns(self) -> int:
        return self.columns.period_us * NANOSECONDS_PER_US


class SerialScale:
    """Turns what arrives on one serial line, which may serve several shelves, into ``ScaleReading`` records.

    Bytes go in with the time they arrived, in order. Stamps of a shelf's samples increase strictly, also over gaps and restarts.
    """

    def __init__(self, store: Store, config: SerialScaleConfig) -> None:
        self._shelves = {shelf.key: shelf for shelf in store.shelves()}
        self._config = config
        self._decoder = LineDecoder()
        self._streams: dict[ShelfKey, _ShelfStream] = {}
        self._strangers: set[ShelfKey] = set()
        self._reported: dict[str, int] = {}

    def feed(self, data: bytes, arrival_ns: int) -> StepResult:
        """Takes bytes that arrived at ``arrival_ns``; gives the batches that they complete."""
        result = StepResult()
        for line in self._decoder.feed(data):
            key = (line.gondola, line.shelf)
            if key not in self._shelves:
                if key not in self._strangers:
                    self._strangers.add(key)
                    result.warnings.append(f"shelf {'/'.join(key)} is not in the store; its lines are ignored")
                continue
            stream = self._streams.setdefault(key, _ShelfStream(self._new_clock()))
            if isinstance(line, ShelfColumns):
                self._announce(stream, line, result)
            else:
                self._add(stream, line, arrival_ns, result)
        return result

    def flush(self) -> StepResult:
        """The batches that are not full yet, for the end."""
        result = StepResult()
        for key in sorted(self._streams):
            self._close_batch(self._streams[key], result)
        return result

    def diagnostics(self) -> list[Diagnostic]:
        """Warns of what went wrong since the last call; ``values`` count from the beginning."""
        lines = self._decoder.counts
        states = [self._state("lines", lines.garbled + lines.corrupt + lines.malformed, "unreadable lines", vars(lines))]
        for key in sorted(self._streams):
            counts = self._streams[key].counts
            bad = counts.lost + counts.misfit + counts.unannounced + counts.restarts
            states.append(self._state(f"shelf {'/'.join(key)}", bad, "samples lost or not understood, or restarts", vars(counts)))
        return states

    def _state(self, name: str, bad: int, what: str, counts: Mapping[str, int]) -> Diagnostic:
        new = bad - self._reported.get(name, 0)
        self._reported[name] = bad
        level = DiagnosticLevel.WARN if new else DiagnosticLevel.OK
        return Diagnostic(name, level, f"{new} {what}" if new else "in order", tuple((key, str(count)) for key, count in counts.items()))

    def _new_clock(self) -> DeviceClock:
        return DeviceClock(self._config.clock_drift_ppm, self._config.clock_slew)

    def _announce(self, stream: _ShelfStream, columns: ShelfColumns, result: StepResult) -> None:
        if columns == stream.columns:
            return
        known = self._shelves[columns.gondola, columns.shelf].plates
        unknown = [plate for plate in columns.plates if plate != UNUSED_CHANNEL and plate not in known]
        if unknown:
            result.warnings.append(
                f"shelf {columns.gondola}/{columns.shelf}: plates {', '.join(unknown)} are not in the store and ignored, "
                f"expected some of {', '.join(known)}"
            )
        self._close_batch(stream, result)
        stream.columns = columns
        stream.used = np.array([i for i, plate in enumerate(columns.plates) if plate in known], dtype=int)
        stream.plates = tuple(columns.plates[i] for i in stream.used)

    def _add(self, stream: _ShelfStream, sample: ShelfSample, arrival_ns: int, result: StepResult) -> None:
        if stream.columns is None:
            stream.counts.unannounced += 1
            return
        if len(sample.grams) != len(stream.columns.plates):
            stream.counts.misfit += 1
            return
        steps = self._steps_since_last(stream, sample, arrival_ns, result)
        if steps == 0:
            return
        stream.last_sample, stream.last_arrival_ns = sample, arrival_ns
        stamp_ns = stream.clock.stamp(stream.device_us, arrival_ns)
        missing = steps - 1
        stream.counts.samples += 1
        stream.counts.lost += missing
        if missing > self._config.longest_gap:
            self._close_batch(stream, result)
            missing = 0
        for behind in range(missing, 0, -1):
            self._append(stream, np.full(len(stream.used), np.nan, dtype=np.float32), stamp_ns - behind * stream.period_ns, result)
        weights = np.array(sample.grams, dtype=float)[stream.used] * KILOGRAMS_PER_GRAM
        self._append(stream, weights.astype(np.float32), stamp_ns, result)

    def _steps_since_last(self, stream: _ShelfStream, sample: ShelfSample, arrival_ns: int, result: StepResult) -> int:
        """How many sampling periods passed since the last sample: 1 normally, 0 for a repeated line. Keeps ``device_us`` unwrapped."""
        last = stream.last_sample
        if last is None:
            stream.device_us = sample.device_us
            return 1
        step = (sample.sequence - last.sequence) % SEQUENCE_MODULUS
        elapsed_us = (sample.device_us - last.device_us) % DEVICE_TIME_MODULUS_US
        if step == 0 and elapsed_us == 0:
            return 0
        # Sequence numbers tell the exact count, device times how often they went round.
        rounds = max(0, round((elapsed_us / stream.columns.period_us - step) / SEQUENCE_MODULUS))
        steps = step + rounds * SEQUENCE_MODULUS
        expected_us = steps * stream.columns.period_us
        agreed = steps > 0 and abs(elapsed_us - expected_us) <= CLOCK_AGREEMENT * expected_us + stream.columns.period_us
        silence_ns = arrival_ns - stream.last_arrival_ns
        plausible = elapsed_us * NANOSECONDS_PER_US <= silence_ns + LONGEST_DELAY_NS
        if agreed and plausible and silence_ns <= LONGEST_SILENCE_NS:
            stream.device_us += elapsed_us
            return steps
        stream.counts.restarts += 1
        self._close_batch(stream, result)
        stream.clock = self._new_clock()
        stream.device_us = sample.device_us
        return 1

    def _append(self, stream: _ShelfStream, weights: np.ndarray, stamp_ns: int, result: StepResult) -> None:
        if not stream.rows:
            # The clock is corrected within a batch, where samples are evenly spaced: the next batch must not begin before the last ended.
            stream.first_ns = stamp_ns if stream.last_ns is None else max(stamp_ns, stream.last_ns + stream.period_ns // 2)
        stream.rows.append(weights)
        if len(stream.rows) >= self._config.batch:
            self._close_batch(stream, result)

    def _close_batch(self, stream: _ShelfStream, result: StepResult) -> None:
        if not stream.rows or not stream.plates:
            stream.rows = []
            return
        gondola, shelf = stream.columns.gondola, stream.columns.shelf
        reading = ScaleReading(stream.first_ns, gondola, shelf, stream.period_ns, stream.plates, np.stack(stream.rows))
        stream.last_ns = reading.end_ns
        stream.rows = []
        result.records.append(reading)


@dataclass
class SerialPort:
    """Reads a serial port in a thread of its own and opens it again when it is lost; ``take`` hands out what came and when.

    ``now_ns`` is the clock of arrivals.
    """

    config: SerialScaleConfig
    now_ns: Callable[[], int]
    opener: Callable[..., serial.SerialBase] = serial.serial_for_url
    dropped_chunks: int = 0
    reconnections: int = 0

    def __post_init__(self) -> None:
        if not self.config.port:
            raise ValueError("port is not set, expected a serial device (/dev/ttyUSB0) or a pyserial URL (socket://host:port)")
        self._chunks: queue.Queue[tuple[bytes, int]] = queue.Queue(QUEUE_CHUNKS)
        self._stop = threading.Event()
        self._problem = "not started"
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to read. A port that is not there is waited for; ``diagnostics`` says so."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def take(self) -> list[tuple[bytes, int]]:
        """Chunks of bytes with their arrival times (ns) that came since the last call, in order."""
        chunks = []
        while True:
            try:
                chunks.append(self._chunks.get_nowait())
            except queue.Empty:
                return chunks

    def diagnostics(self) -> list[Diagnostic]:
        values = (("port", self.config.port), ("reconnections", str(self.reconnections)), ("dropped chunks", str(self.dropped_chunks)))
        level = DiagnosticLevel.ERROR if self._problem else DiagnosticLevel.OK
        return [Diagnostic("port", level, self._problem or "open", values)]

    def _run(self) -> None:
        backoff = Backoff(self.config.first_retry_s, self.config.longest_retry_s)
        while not self._stop.is_set():
            try:
                with self.opener(self.config.port, baudrate=self.config.baud, timeout=READ_TIMEOUT_S) as port:
                    # What a driver had stored before is old: its arrival time would say nothing.
                    port.reset_input_buffer()
                    self._problem = ""
                    backoff.reset()
                    self._read(port)
            except (serial.SerialException, OSError, ValueError) as error:
                self.reconnections += 1
                wait_s = backoff.wait_s()
                self._problem = f"{self.config.port}: {error}; next try in {wait_s:.1f} s"
                self._stop.wait(wait_s)

    def _read(self, port: serial.SerialBase) -> None:
        while not self._stop.is_set():
            data = port.read(max(1, min(port.in_waiting, READ_BYTES)))
            if not data:
                continue
            try:
                self._chunks.put_nowait((data, self.now_ns()))
            except queue.Full:
                self.dropped_chunks += 1
