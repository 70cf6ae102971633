"""Shelf events from made-up plates: noise here is white, 1/f, hum and bursts, unlike the simulator's."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shelf_scenes import PERIOD_NS, RATE, START_NS, TWELVE, grams, make_store, ramp, run_monitor, second

from aisle_contract.config import from_mapping
from aisle_contract.records import DiagnosticLevel, ScaleReading, ShelfEvent, ShelfEvents, ShelfEventStatus
from aisle_fusion.shelf_monitor import ShelfMonitor, ShelfMonitorConfig
from aisle_store.store import Store

RECORDING = Path(__file__).parents[4] / "shared" / "data" / "nanostore" / "2020-01" / "plates.npz"
STORE = make_store({("1", "1"): TWELVE})
run = partial(run_monitor, store=STORE)


def times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


class Plates:
    """Loads of the plates of one shelf, g, to which things happen."""

    def __init__(self, seconds: float, noise_g: float = 0.8, seed: int = 0, plates: int = 12) -> None:
        self.rng = np.random.default_rng(seed)
        self.t = times(seconds)
        white = self.rng.normal(0, noise_g, (len(self.t), plates))
        pink = np.cumsum(self.rng.normal(0, 0.02 * noise_g, (len(self.t), plates)), axis=0)
        hum = noise_g * np.sin(2 * np.pi * 21.3 * self.t)[:, None]
        self.grams = self.rng.uniform(-5000, 20000, plates) + white + pink + hum

    def lift(self, plate: int, grams: float, start: float, length: float = 0.3) -> Plates:
        """Takes ``grams`` off ``plate`` (1-based; negative puts), a little of it off the neighbours."""
        for offset, share in ((-1, 0.02), (0, 0.96), (1, 0.02)):
            if 0 < plate + offset <= self.grams.shape[1]:
                self.grams[:, plate + offset - 1] -= share * grams * ramp(self.t, start, length)
        return self

    def press(self, plate: int, grams: float, start: float, end: float) -> Plates:
        """A hand: never quite still."""
        force = grams * (ramp(self.t, start, 0.15) - ramp(self.t, end, 0.15))
        sway = (
            0.08 * np.sin(2 * np.pi * 0.7 * self.t) + 0.05 * np.sin(2 * np.pi * 1.9 * self.t + 1) + 0.02 * self.rng.normal(size=len(self.t))
        )
        self.grams[:, plate - 1] += force * (1 + sway)
        return self

    def shake(self, start: float, length: float, grams: float, hertz: float = 7.3) -> Plates:
        inside = (self.t >= start) & (self.t < start + length)
        swing = np.sin(2 * np.pi * hertz * self.t)[:, None] * self.rng.uniform(0.5, 1.5, self.grams.shape[1])
        self.grams[inside] += (grams * (swing + 0.3 * self.rng.normal(size=self.grams.shape)))[inside]
        return self

    def readings(self, batch: int = 12, shelf: tuple[str, str] = ("1", "1"), plates: tuple[str, ...] = TWELVE) -> list[ScaleReading]:
        weights = (self.grams / 1000).astype(np.float32)
        firsts = range(0, len(weights), batch)
        return [ScaleReading(START_NS + n * PERIOD_NS, *shelf, PERIOD_NS, plates, weights[n : n + batch]) for n in firsts]


def events_of(plates: Plates, **options: object) -> list[ShelfEvent]:
    reports, _ = run(plates.readings(), **options)
    return [event for report in reports for event in report.final]


def content(reports: list[ShelfEvents]) -> list[tuple]:
    return [
        (
            report.stamp_ns,
            e.event,
            e.status,
            e.start_ns,
            e.end_ns,
            e.plates,
            e.change.tobytes(),
            e.deviation.tobytes(),
            e.changed_ns.tobytes(),
        )
        for report in reports
        for e in report.events
    ]


def test_a_pick_is_one_event_with_its_weight_place_and_time():
    (event,) = events_of(Plates(12).lift(5, 200, 5.0))
    assert grams(event) == pytest.approx(-200, abs=3)
    assert (event.gondola, event.shelf, event.plates) == ("1", "1", ("4", "5", "6"))
    assert second(event.start_ns) == pytest.approx(5.0, abs=0.15)
    assert second(event.end_ns) == pytest.approx(5.3, abs=0.25)
    assert event.event == f"e_1_1_{event.start_ns // 1_000_000}_5"


def test_each_plate_says_when_it_changed():
    """Two hands on one shelf that settles only after the second."""
    (event,) = events_of(Plates(16).lift(5, 200, 5.0).lift(6, 150, 5.5))
    changed = {plate: second(changed_ns) for plate, changed_ns in zip(event.plates, event.changed_ns.tolist(), strict=True)}
    assert changed["5"] == pytest.approx(5.15, abs=0.1)
    assert changed["6"] == pytest.approx(5.65, abs=0.1)


def test_where_a_hand_rested_first_the_plate_changed_when_it_took():
    (event,) = events_of(Plates(20).press(5, 1500, 5.0, 9.0).lift(5, 200, 8.9))
    assert grams(event) == pytest.approx(-200, abs=5)
    assert second(event.start_ns) == pytest.approx(5.0, abs=0.2)
    assert [second(changed_ns) for changed_ns in event.changed_ns.tolist()] == pytest.approx([9.1] * len(event.plates), abs=0.2)


def test_a_put_back_is_positive():
    (event,) = events_of(Plates(12).lift(1, -90, 5.0))
    assert grams(event) == pytest.approx(88.2, abs=3)
    assert event.plates == ("1", "2")


@pytest.mark.parametrize("noise_g", [0.1, 1.0, 5.0])
def test_nothing_happens_on_untouched_plates(noise_g: float):
    assert events_of(Plates(40, noise_g=noise_g, seed=3)) == []


def test_drift_is_no_event():
    plates = Plates(90)
    plates.grams += 10 * plates.t[:, None] / 60
    assert events_of(plates) == []


@pytest.mark.parametrize("hertz", [5.5, 7.3, 12.0])
def test_vibration_is_no_event(hertz: float):
    assert events_of(Plates(25).shake(6, 3, 60, hertz).shake(15, 2, 120, hertz)) == []


def test_a_pick_in_a_vibration_is_measured_after_it():
    (event,) = events_of(Plates(20).shake(6, 3, 40).lift(5, 200, 7.0))
    assert grams(event) == pytest.approx(-200, abs=6)


def test_a_passing_hand_is_no_event():
    assert events_of(Plates(15).press(6, 300, 5, 6.5)) == []


def test_a_hand_that_rests_before_the_pick_is_not_counted():
    (event,) = events_of(Plates(40).press(6, 400, 8, 28).lift(6, 105, 27.8))
    assert grams(event) == pytest.approx(-105, abs=3 + 4 * 0.17 * 20 / 4)
    assert second(event.start_ns) < 8.5
    assert second(event.end_ns) > 27.5


@pytest.mark.parametrize("weight", [32, 120, 540])
def test_a_slow_lift_is_one_event(weight: float):
    (event,) = events_of(Plates(20).lift(6, weight, 6.0, 5.0))
    assert grams(event) == pytest.approx(-weight, abs=4)
    assert second(event.end_ns) - second(event.start_ns) > 3


def test_two_hands_far_apart_are_two_events():
    found = events_of(Plates(15).lift(2, 200, 6.0, 0.8).lift(9, 80, 6.4, 0.8))
    assert sorted((round(grams(event), -1), event.plates) for event in found) == [(-200, ("1", "2", "3")), (-80, ("8", "9", "10"))]
    assert len({event.event for event in found}) == 2


def test_a_pick_and_a_put_between_which_the_shelf_bends_are_two_events():
    plates = Plates(20).lift(3, 150, 6.0, 0.5).lift(7, -150, 6.2, 0.5)
    plates.grams[:, 3:6] -= 6 * ramp(plates.t, 6.0, 0.5)[:, None]
    assert sorted(map(grams, events_of(plates))) == [pytest.approx(-150, abs=15), pytest.approx(150, abs=15)]


def test_two_hands_side_by_side_are_one_event():
    (event,) = events_of(Plates(15).lift(5, 200, 6.0, 0.8).lift(6, 80, 6.4, 0.8))
    assert grams(event) == pytest.approx(-280, abs=4)


def test_one_thing_on_two_plates_is_one_event():
    (event,) = events_of(Plates(15).lift(5, 60, 6.0).lift(6, 60, 6.0))
    assert grams(event) == pytest.approx(-120, abs=4)


def test_a_pick_and_a_put_back_after_a_pause_are_two_events():
    found = events_of(Plates(15).lift(5, 150, 6.0).lift(5, -150, 7.0))
    assert [round(grams(event), -1) for event in found] == [-150, 150]


def test_a_pick_and_a_put_back_without_a_pause_are_none():
    assert events_of(Plates(15).lift(5, 150, 6.0).lift(5, -150, 6.35)) == []


def test_noise_is_learnt_plate_by_plate():
    plates = Plates(25, noise_g=0.3)
    plates.grams[:, 8] += plates.rng.normal(0, 12, len(plates.t))
    plates.lift(3, 35, 15.0)
    (event,) = events_of(plates)
    assert event.plates == ("2", "3", "4")
    monitor = ShelfMonitor(STORE, ShelfMonitorConfig())
    for reading in plates.readings():
        monitor.step(reading)
    noise = [float(x) for x in dict(monitor.diagnostics()[1].values)["noise of plates, g"].split(", ")]
    assert noise[8] > 8 * noise[2]


def test_missing_samples_hide_nothing():
    plates = Plates(15).lift(5, 200, 6.0)
    plates.grams[plates.rng.random(plates.grams.shape) < 0.1] = np.nan
    plates.grams[round(6.0 * RATE) : round(6.6 * RATE), 4] = np.nan
    plates.grams[round(2.0 * RATE), 2] = np.inf
    (event,) = events_of(plates)
    assert grams(event) == pytest.approx(-200, abs=4)


def test_glitches_of_single_samples_are_no_events():
    plates = Plates(25).lift(5, 100, 14.0)
    plates.grams[plates.rng.random(plates.grams.shape) < 0.002] += 30_000
    (event,) = events_of(plates)
    assert grams(event) == pytest.approx(-100, abs=4)


def test_dead_and_stuck_plates_are_reported_and_stop_nothing():
    plates = Plates(45).lift(5, 200, 40.0)
    plates.grams[:, 3] = np.nan
    plates.grams[:, 10] = 1234.0
    monitor = ShelfMonitor(STORE, ShelfMonitorConfig())
    found = [event for reading in plates.readings() for report in monitor.step(reading).records for event in report.final]
    state = monitor.diagnostics()[1]
    assert (state.name, state.level) == ("shelf 1/1", DiagnosticLevel.WARN)
    assert (dict(state.values)["missing plates"], dict(state.values)["stuck plates"]) == ("4", "11")
    (event,) = found
    assert event.plates == ("5", "6")
    assert grams(event) == pytest.approx(-196, abs=4)


def test_a_plate_that_dies_in_a_change_does_not_hold_up_the_shelf():
    plates = Plates(30).lift(5, 200, 6.0).lift(10, 90, 16.0)
    plates.grams[round(6.1 * RATE) :, 4] = np.nan
    assert round(grams(events_of(plates)[-1]), -1) == -90


def test_unknown_plates_and_shelves_are_ignored_with_one_warning_each():
    store = make_store({("1", "1"): TWELVE[:9]})
    elsewhere = Plates(12, seed=1).readings(shelf=("7", "1"))
    reports, warnings = run([*Plates(12).lift(5, 200, 5.0).lift(11, 300, 7.0).readings(), *elsewhere], store=store)
    assert [event.plates for report in reports for event in report.final] == [("4", "5", "6")]
    assert len(warnings) == 2
    assert "10, 11, 12" in warnings[0]
    assert "7/1" in warnings[1]


def test_a_reading_whose_size_is_wrong_is_told_and_left_out():
    good = Plates(12).lift(5, 200, 5.0).readings()
    bad = ScaleReading(good[3].stamp_ns, "1", "1", PERIOD_NS, TWELVE[:5], good[3].weights)
    reports, warnings = run([*good[:3], bad, *good[3:]])
    assert len([event for report in reports for event in report.final]) == 1
    assert "expected [samples, 5 plates]" in warnings[0]


def test_stamps_rise_by_their_grid_and_are_kept():
    plates = Plates(30).lift(5, 200, 6.0).lift(2, 90, 6.6).lift(5, -200, 7.4).press(9, 300, 10, 16).lift(9, 60, 15.9).lift(11, 70, 20, 3)
    reports, _ = run(plates.readings())
    stamps = [report.stamp_ns for report in reports]
    assert set(np.diff(stamps[:-1])) <= {50_000_000, 100_000_000, 150_000_000, 200_000_000}
    assert all(stamp % 50_000_000 == 0 for stamp in stamps)
    regular = {stamp for stamp in stamps if (stamp - stamps[0]) % 200_000_000 == 0}
    assert set(range(stamps[0], stamps[-2], 200_000_000)) <= regular
    assert all(report.events or report.stamp_ns in regular for report in reports[:-1])
    promised = 0
    for report in reports:
        assert all(promised <= event.end_ns and event.start_ns < event.end_ns for event in report.final)
        promised = report.stamp_ns
    assert sum(len(report.final) for report in reports) >= 4


def test_an_event_comes_soon_after_its_end():
    readings = Plates(12).lift(5, 200, 5.0).readings()
    monitor = ShelfMonitor(STORE, ShelfMonitorConfig())
    came = [reading.end_ns for reading in readings for report in monitor.step(reading).records for _ in report.final]
    assert [second(stamp) for stamp in came] == [pytest.approx(6.5, abs=0.4)]


def test_a_load_that_still_changes_at_the_end_is_told():
    reports, warnings = run(Plates(8).lift(5, 900, 7.0, 5.0).readings())
    assert not any(report.final for report in reports)
    assert "1/1" in warnings[0]


def test_a_pick_just_before_the_end_is_not_lost():
    reports, _ = run(Plates(8).lift(5, 200, 7.2, 0.2).readings())
    assert [round(grams(event), -1) for report in reports for event in report.final] == [-200]


def test_a_silence_of_all_shelves_starts_anew():
    readings = Plates(30).lift(5, 200, 15.0).readings()
    late = [r for r in readings if not 10 < second(r.stamp_ns) < 20]
    reports, warnings = run(late)
    assert not any(report.final for report in reports)
    assert "no shelf gave a reading" in warnings[0]


def test_a_lost_shelf_is_not_waited_for():
    store = make_store({("1", "1"): TWELVE, ("1", "2"): TWELVE})
    other = [r for r in Plates(30, seed=5).readings(shelf=("1", "2")) if second(r.stamp_ns) < 4]
    monitor = ShelfMonitor(store, ShelfMonitorConfig())
    records = sorted([*other, *Plates(12).lift(5, 200, 6.0).readings()], key=lambda r: r.stamp_ns)
    found = [event for record in records for report in monitor.step(record).records for event in report.final]
    assert [round(grams(event), -1) for event in found] == [-200]
    states = {state.name: state for state in monitor.diagnostics()}
    assert states["shelf 1/2"].level == DiagnosticLevel.STALE
    assert dict(states["shelf readings"].values)["lost shelves"] == "1/2"


BUSY = {
    ("1", "1"): Plates(14, seed=11).lift(5, 200, 5.0).press(9, 300, 6, 9).lift(9, 60, 8.9),
    ("2", "1"): Plates(14, seed=12, noise_g=3).shake(4, 2, 30).lift(3, 120, 8.0).lift(3, -120, 9.1),
}
BUSY_STORE = make_store(dict.fromkeys(BUSY, TWELVE))
EXPECTED = content(
    run(sorted((r for key, p in BUSY.items() for r in p.readings(shelf=key)), key=lambda r: r.stamp_ns), store=BUSY_STORE)[0]
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_neither_cuts_nor_arrival_change_anything(data: st.DataObject):
    arriving = []
    for key, plates in BUSY.items():
        weights = (plates.grams / 1000).astype(np.float32)
        cuts = data.draw(st.sets(st.integers(1, len(weights) - 1), min_size=40, max_size=120))
        delay_ns = data.draw(st.integers(0, 400_000_000))
        bounds = [0, *sorted(cuts), len(weights)]
        for first, last in itertools.pairwise(bounds):
            reading = ScaleReading(START_NS + first * PERIOD_NS, *key, PERIOD_NS, TWELVE, weights[first:last])
            arriving.append((reading.end_ns + delay_ns, reading))
    arriving.sort(key=lambda pair: pair[0])
    config = ShelfMonitorConfig(max_lateness_s=5.0)
    assert content(run([reading for _, reading in arriving], store=BUSY_STORE, config=config)[0]) == EXPECTED
    assert sum(status == ShelfEventStatus.FINAL for _, _, status, *_ in EXPECTED) == 4


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    weight=st.floats(30, 900),
    plate=st.integers(2, 11),
    noise_g=st.floats(0.2, 4.0),
    length=st.floats(0.1, 3.0),
    sign=st.sampled_from([-1, 1]),
)
def test_the_change_is_within_its_deviation(seed: int, weight: float, plate: int, noise_g: float, length: float, sign: int):
    # A slow lift of a light thing from a noisy plate cannot be told from the noise while it begins.
    assume(weight > 35 * noise_g or length < 0.6)
    (event,) = events_of(Plates(16, noise_g=noise_g, seed=seed).lift(plate, sign * weight, 7.0, length))
    deviation = 1000 * float(np.sqrt((event.deviation**2).sum()))
    assert abs(grams(event) + sign * weight) <= 4 * deviation
    assert deviation < 0.3 * weight + 3 * noise_g


def test_a_config_outside_its_range_is_refused():
    with pytest.raises(ValueError, match="steady_s"):
        from_mapping(ShelfMonitorConfig, {"steady_s": 0.0}, "store.yaml: shelf_monitor")


needs_recording = pytest.mark.skipif(not RECORDING.exists(), reason=f"the real recording is not there: {RECORDING}")


def recorded(
    backwards: bool = False, noise_g: float = 0.0, shuffled: int | None = None, cut_s: float = 0.0, shift_ms: int = 0, seed: int = 0
) -> tuple[list[ScaleReading], Store, dict[tuple[str, str], tuple[str, str]]]:
    """The real recording as readings, perhaps changed; its store; and which shelf was which."""
    data = dict(np.load(RECORDING))
    rng = np.random.default_rng([seed, shuffled or 0])
    keys = sorted({(str(g), str(s)) for g, s, _ in data["plate"]})
    names = dict(zip(keys, keys if shuffled is None else [keys[i] for i in rng.permutation(len(keys))], strict=True))
    readings, shelves = [], {}
    for key, name in names.items():
        rows = np.flatnonzero((data["plate"][:, 0] == int(key[0])) & (data["plate"][:, 1] == int(key[1])))
        shelves[name] = tuple(str(int(plate)) for plate in data["plate"][rows, 2])
        weights = data["grams"][rows].T / 1000
        seconds = data["t"][rows[0]] - data["t"].min()
        if backwards:
            weights, seconds = weights[::-1], (seconds.max() - seconds)[::-1]
        weights = (weights + noise_g / 1000 * rng.normal(size=weights.shape)).astype(np.float32)
        for n in range(int(np.searchsorted(seconds, cut_s)), len(weights), 12):
            stamp = START_NS + round(seconds[n] * 1e9) + shift_ms * 1_000_000
            readings.append(ScaleReading(stamp, *name, PERIOD_NS, shelves[name], weights[n : n + 12]))
    readings.sort(key=lambda r: (r.stamp_ns, r.gondola, r.shelf))
    return readings, make_store(shelves), names


@needs_recording
def test_the_real_recording_has_two_events():
    readings, store, _ = recorded()
    reports, _ = run(readings, store=store)
    bag, bottle = (event for report in reports for event in report.final)
    assert (bag.gondola, bag.shelf, second(bag.start_ns)) == ("2", "5", pytest.approx(10.2, abs=0.4))
    assert {"4", "5"} <= set(bag.plates)
    assert grams(bag) == pytest.approx(-105, abs=8)
    assert (bottle.gondola, bottle.shelf, second(bottle.start_ns)) == ("1", "5", pytest.approx(16.6, abs=0.4))
    assert "10" in bottle.plates
    assert -595 < grams(bottle) < -530
    told = [(event.event, event.status) for report in reports for event in report.events]
    assert told == [(event.event, status) for event in (bag, bottle) for status in (ShelfEventStatus.PROVISIONAL, ShelfEventStatus.FINAL)]


@needs_recording
@pytest.mark.parametrize(
    "changed",
    [
        {"backwards": True},
        {"shuffled": 3},
        {"shuffled": 4, "backwards": True},
        *({"noise_g": 3.0, "seed": seed} for seed in range(4)),
        *({"noise_g": 8.0, "seed": seed} for seed in range(4)),
        {"noise_g": 2.0, "backwards": True},
        {"shift_ms": 7},
        {"shift_ms": 31},
        {"cut_s": 1.3},
        {"cut_s": 5.9},
    ],
    ids=str,
)
def test_the_real_recording_has_two_events_however_it_is_changed(changed: dict):
    readings, store, names = recorded(**changed)
    reports, _ = run(readings, store=store)
    events = [event for report in reports for event in report.final]
    sign = 1 if changed.get("backwards") else -1
    found = {(event.gondola, event.shelf): grams(event) for event in events}
    # Added noise of 8 g on each of five plates for about a second leaves 4 g rms.
    slack = 1.5 * changed.get("noise_g", 0.0)
    assert len(events) == 2
    assert found == {names["2", "5"]: pytest.approx(sign * 103, abs=9 + slack), names["1", "5"]: pytest.approx(sign * 575, abs=20 + slack)}
    for event in events:
        spread = 1000 * float(np.sqrt(np.sum(np.square(event.deviation))))
        assert abs(grams(event) - sign * (103 if abs(grams(event)) < 300 else 575)) < 4 * spread + 6, "the deviation is too small"
