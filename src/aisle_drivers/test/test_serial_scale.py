from __future__ import annotations

import math
import os
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisle_contract.records import DiagnosticLevel, ScaleReading
from aisle_drivers.scale_protocol import ShelfColumns, ShelfSample, encode
from aisle_drivers.serial_scale import DeviceClock, SerialPort, SerialScale, SerialScaleConfig
from aisle_store.store import Store
from aisle_store.store_files import load_store

STORE_FOLDER = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
PERIOD_US = 16_667
PERIOD_NS = 16_667_000
START_NS = 1_700_000_000_000_000_000
COLUMNS = ShelfColumns("2", "3", PERIOD_US, ("1", "2", "-", "3"))


@pytest.fixture(scope="module")
def store() -> Store:
    return load_store(STORE_FOLDER)


def sample(number: int, device_start_us: int = 0) -> ShelfSample:
    values = (float(number % 1000), -0.5, 999.0, math.nan)
    return ShelfSample("2", "3", number % 65536, (device_start_us + number * PERIOD_US) % 2**32, values)


def arrival(number: int, delay_ns: int = 5_000_000) -> int:
    return START_NS + number * PERIOD_NS + delay_ns


def feed(scale: SerialScale, numbers: Iterator[int] | range | list[int], device_start_us: int = 0, delays: dict[int, int] | None = None):
    readings: list[ScaleReading] = []
    for number in numbers:
        delay_ns = (delays or {}).get(number, 5_000_000)
        readings += scale.feed(encode(sample(number, device_start_us)), arrival(number, delay_ns)).records
    return readings


def started(store: Store, **config) -> SerialScale:
    scale = SerialScale(store, SerialScaleConfig(**config))
    assert scale.feed(encode(COLUMNS), START_NS).records == []
    return scale


def stamps(readings: list[ScaleReading]) -> np.ndarray:
    return np.array([reading.stamp_ns + i * reading.sample_period_ns for reading in readings for i in range(len(reading.weights))])


def values(readings: list[ScaleReading]) -> np.ndarray:
    return np.concatenate([reading.weights[:, 0] for reading in readings])


def test_batches_in_kilograms_with_the_columns_of_the_plates(store):
    readings = feed(started(store), range(36))
    assert [len(reading.weights) for reading in readings] == [12, 12, 12]
    first = readings[0]
    assert (first.gondola, first.shelf, first.plates, first.sample_period_ns) == ("2", "3", ("1", "2", "3"), PERIOD_NS)
    assert first.weights.dtype == np.float32
    np.testing.assert_allclose(values(readings), np.arange(36) / 1000, atol=1e-7)
    np.testing.assert_allclose(first.weights[:, 1], -0.0005)
    assert np.isnan(first.weights[:, 2]).all()
    np.testing.assert_array_equal(stamps(readings), arrival(0) + np.arange(36) * PERIOD_NS)


def test_samples_before_their_columns_are_counted(store):
    scale = SerialScale(store, SerialScaleConfig())
    assert feed(scale, range(20)) == []
    assert dict(scale.diagnostics()[1].values)["unannounced"] == "20"


def test_a_short_gap_is_filled_with_nan(store):
    scale = started(store)
    readings = feed(scale, [*range(5), *range(9, 24)])
    np.testing.assert_array_equal(np.isnan(values(readings)), np.isin(np.arange(24), [5, 6, 7, 8]))
    np.testing.assert_allclose(stamps(readings), arrival(0) + np.arange(24) * PERIOD_NS, atol=2_000_000)
    state = scale.diagnostics()[1]
    assert state.level is DiagnosticLevel.WARN
    assert dict(state.values)["lost"] == "4"
    # What was told once is over; the count stays.
    state = scale.diagnostics()[1]
    assert state.level is DiagnosticLevel.OK
    assert dict(state.values)["lost"] == "4"


def test_a_gap_over_the_end_of_a_batch(store):
    readings = feed(started(store), [*range(10), *range(30, 36)])
    assert [len(reading.weights) for reading in readings] == [12, 12, 12]
    np.testing.assert_array_equal(np.isnan(values(readings)), np.isin(np.arange(36), np.arange(10, 30)))
    assert (np.diff(stamps(readings)) > 0).all()


def test_after_a_long_gap_a_new_batch_begins(store):
    scale = started(store)
    readings = feed(scale, [*range(5), *range(205, 217)])
    assert [len(reading.weights) for reading in readings] == [5, 12]
    assert not np.isnan(values(readings)).any()
    # The least delay is loosened by the largest drift over the gap: 200 ppm of 3.3 s.
    assert abs(readings[1].stamp_ns - arrival(205)) < 1_000_000
    assert dict(scale.diagnostics()[1].values)["lost"] == "200"


def test_counters_go_round(store):
    device_start_us = 2**32 - 100 * PERIOD_US
    scale = started(store)
    readings = feed(scale, range(65536 - 60, 65536 + 60), device_start_us)
    np.testing.assert_array_equal(np.diff(stamps(readings)), PERIOD_NS)
    scale = started(store)
    readings = feed(scale, range(0, 240), device_start_us)
    np.testing.assert_array_equal(np.diff(stamps(readings)), PERIOD_NS)
    assert dict(scale.diagnostics()[1].values)["restarts"] == "0"


def test_a_restarted_device_goes_on_later(store):
    scale = started(store)
    before = feed(scale, range(30), device_start_us=50_000_000)
    after = []
    for number in range(24):
        line = ShelfSample("2", "3", number, number * PERIOD_US, (1.0, 2.0, 3.0, 4.0))
        after += scale.feed(encode(line), arrival(30 + 300 + number)).records
    assert [len(reading.weights) for reading in after] == [6, 12, 12]
    assert after[1].stamp_ns == arrival(330)
    assert (np.diff(stamps([*before, *after])) > 0).all()
    assert dict(scale.diagnostics()[1].values)["restarts"] == "1"


def test_what_is_not_of_this_store_is_named_once(store):
    scale = SerialScale(store, SerialScaleConfig())
    stranger = encode(ShelfColumns("9", "1", PERIOD_US, ("1",)))
    assert scale.feed(stranger, START_NS).warnings == ["shelf 9/1 is not in the store; its lines are ignored"]
    assert scale.feed(stranger, START_NS).warnings == []
    result = scale.feed(encode(ShelfColumns("2", "3", PERIOD_US, ("1", "77"))), START_NS)
    assert "plates 77 are not in the store" in result.warnings[0]
    lines = b"".join(encode(ShelfSample("2", "3", n, n * PERIOD_US, (1.0, 2.0))) for n in range(12))
    assert scale.feed(lines, START_NS).records[0].plates == ("1",)


def test_another_number_of_columns_is_counted(store):
    scale = started(store)
    scale.feed(encode(ShelfSample("2", "3", 0, 0, (1.0,))), START_NS)
    assert dict(scale.diagnostics()[1].values)["misfit"] == "1"


def test_a_repeated_line_counts_once(store):
    readings = feed(started(store), [n for n in range(12) for _ in range(2)])
    np.testing.assert_allclose(values(readings), np.arange(12) / 1000, atol=1e-7)


def test_the_end_gives_what_is_left(store):
    scale = started(store)
    assert len(feed(scale, range(17))) == 1
    assert [len(reading.weights) for reading in scale.flush().records] == [5]
    assert scale.flush().records == []


@settings(max_examples=30)
@given(
    delays_ms=st.lists(st.integers(0, 200), min_size=120, max_size=120),
    lost=st.sets(st.integers(1, 119), max_size=60),
    drift_ppm=st.integers(-100, 100),
)
def test_stamps_increase_whatever_the_line_does(store, delays_ms, lost, drift_ppm):
    scale = started(store)
    readings = []
    newest_ns = 0
    for number in range(120):
        if number in lost:
            continue
        line = ShelfSample("2", "3", number, round(number * PERIOD_US * (1 + drift_ppm * 1e-6)), (float(number), 0.0, 0.0, 0.0))
        newest_ns = max(newest_ns, arrival(number, delays_ms[number] * 1_000_000))
        readings += scale.feed(encode(line), newest_ns).records
    readings += scale.flush().records
    assert (np.diff(stamps(readings)) > 0).all()
    assert len(values(readings)) == max(set(range(120)) - lost) + 1


def test_the_clock_finds_the_least_delay():
    random = np.random.default_rng(1)
    clock = DeviceClock(drift_ppm=200.0, slew=0.05)
    for number in range(6000):
        delay_ns = int(2_000_000 + random.exponential(20_000_000))
        stamp = clock.stamp(777 + number * PERIOD_US, arrival(number, delay_ns))
    assert abs(stamp - arrival(5999, 2_000_000)) < 2_000_000


def test_a_drifting_clock_is_followed():
    clock = DeviceClock(drift_ppm=200.0, slew=0.05)
    for number in range(36_000):
        stamp = clock.stamp(round(number * PERIOD_US * (1 + 100e-6)), arrival(number))
    assert abs(stamp - arrival(35_999)) < 1_000_000


@pytest.fixture
def pty() -> Iterator[tuple[int, str]]:
    """The device's end of a line as a file descriptor, and the name of the other end."""
    device, host = os.openpty()
    tty.setraw(host)
    yield device, os.ttyname(host)
    os.close(device)
    os.close(host)


def wait_for(condition, timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not (done := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done


def is_open(port: SerialPort) -> bool:
    return port.diagnostics()[0].level is DiagnosticLevel.OK


def test_a_device_on_a_line(store, pty):
    device, name = pty
    scale = SerialScale(store, SerialScaleConfig())
    port = SerialPort(SerialScaleConfig(port=name), now_ns=time.time_ns)
    port.start()
    try:
        assert wait_for(lambda: is_open(port))
        begin_ns = time.time_ns()
        os.write(device, b"noise\xff\xfe$W,1\n" + encode(COLUMNS))
        for number in range(24):
            os.write(device, encode(sample(number)))
            time.sleep(0.002)
        readings: list[ScaleReading] = []

        def drained() -> bool:
            for data, arrival_ns in port.take():
                readings.extend(scale.feed(data, arrival_ns).records)
            return len(readings) == 2

        assert wait_for(drained)
    finally:
        port.stop()
    np.testing.assert_allclose(values(readings), np.arange(24) / 1000, atol=1e-7)
    assert begin_ns <= readings[0].stamp_ns <= time.time_ns()
    assert dict(scale.diagnostics()[0].values)["garbled"] == "1"


def test_a_lost_port_is_opened_again(tmp_path, pty):
    device, name = pty
    link = tmp_path / "scale"
    port = SerialPort(SerialScaleConfig(port=str(link), first_retry_s=0.01, longest_retry_s=0.05), now_ns=time.time_ns)
    port.start()
    try:
        assert wait_for(lambda: "next try" in port.diagnostics()[0].message)
        assert port.diagnostics()[0].level is DiagnosticLevel.ERROR
        link.symlink_to(name)
        assert wait_for(lambda: is_open(port))
        os.write(device, b"hello\n")
        assert wait_for(lambda: b"".join(data for data, _ in port.take()) == b"hello\n")
    finally:
        port.stop()


def test_a_port_must_be_named():
    with pytest.raises(ValueError, match="port is not set"):
        SerialPort(SerialScaleConfig(), now_ns=time.time_ns)
