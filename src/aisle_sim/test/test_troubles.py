"""Every kind of trouble shows in what the sensors give, as strongly as it was asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS, PersonDetections, ScaleReading
from aisle_sim.episodes import Episodes
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.profiles import PROFILES, CameraTroubles, ScaleTroubles
from aisle_sim.random_streams import random_stream
from aisle_sim.scale_disturbances import ShelfTroubles
from aisle_sim.simulator import simulate, simulate_in_sequence

RATE_HZ = 60.0
TIMES = np.arange(0, 120.0, 1 / RATE_HZ)


def troubled(**values):
    return ShelfTroubles(ScaleTroubles(**values), 8, RATE_HZ, random_stream(1, "troubles"))


def test_episodes_come_as_often_as_asked_and_do_not_depend_on_the_windows():
    whole = Episodes(random_stream(0, "e"), 0.1, 1.0, 4.0).within(0.0, 10_000.0)
    parts, pieces = Episodes(random_stream(0, "e"), 0.1, 1.0, 4.0), {}
    for start in range(0, 10_000, 10):
        pieces.update({episode.start_s: episode for episode in parts.within(start, start + 10)})
    assert list(pieces.values()) == whole
    assert len(whole) == pytest.approx(1000, abs=100)
    lasted = np.array([episode.end_s - episode.start_s for episode in whole])
    assert lasted.min() >= 1.0
    assert lasted.max() <= 4.0
    assert Episodes(random_stream(0, "e"), 0.0, 1.0, 4.0).within(0.0, 1e6) == []


def test_heavy_tails():
    noise = troubled(tail_kg=0.001).noise(TIMES)
    kurtosis = ((noise - noise.mean(axis=0)) ** 4).mean(axis=0) / noise.var(axis=0) ** 2
    assert np.median(kurtosis) > 6
    assert 0.0004 < np.median(noise.std(axis=0)) < 0.0025


def test_shared_noise_goes_together():
    noise = troubled(tail_kg=0.001, shared_share=0.5).noise(TIMES)
    correlation = np.corrcoef(noise.T)[np.triu_indices(8, 1)]
    assert np.median(correlation) == pytest.approx(0.5, abs=0.15)


def test_flicker_is_stronger_where_it_is_slower():
    noise = troubled(flicker_kg=0.001).noise(TIMES)
    power = (np.abs(np.fft.rfft(noise, axis=0)) ** 2).mean(axis=1)
    frequency = np.fft.rfftfreq(len(TIMES), 1 / RATE_HZ)
    low, high = ((frequency > a) & (frequency < 2 * a) for a in (0.05, 0.8))
    # A spectrum of 1/f: sixteen times the frequency, a sixteenth of the power.
    assert power[low].mean() / power[high].mean() == pytest.approx(16, rel=0.7)


def test_warmth_drifts_and_goes_on_from_window_to_window():
    troubles = troubled(warming_kg_per_min=0.01)
    windows = [troubles.noise(TIMES[start : start + 600]) for start in range(0, len(TIMES), 600)]
    course = np.concatenate(windows)
    assert np.abs(np.diff(course, axis=0)).max() < 0.01 / 60 * 5 / RATE_HZ * 2
    assert 0.0005 < np.abs(course[-1] - course[0]).mean() < 0.1


def test_bursts_shake_at_seven_to_thirteen_hertz():
    noise = troubled(burst_rate_hz=0.1, burst_kg=0.01).noise(TIMES)
    power = (np.abs(np.fft.rfft(noise, axis=0)) ** 2).sum(axis=1)
    frequency = np.fft.rfftfreq(len(TIMES), 1 / RATE_HZ)
    inside = (frequency > 5.5) & (frequency < 14.5)
    assert power[inside].sum() / power.sum() > 0.9


def test_a_load_creeps_and_spreads_and_none_of_it_is_lost():
    loads = np.zeros((len(TIMES), 8))
    loads[600:, 4] = 1.0
    crept = troubled(creep_share=0.05).loads(loads)
    assert crept[605, 4] == pytest.approx(0.95, abs=0.003)
    assert crept[-1, 4] == pytest.approx(1.0, abs=0.005)
    spread = troubled(spread_share=0.1).loads(loads)[-1]
    assert spread.sum() == pytest.approx(1.0)
    assert 0 < spread[3] <= 0.1
    assert 0 < spread[6] <= 0.025
    assert spread[1] == 0


def test_plates_stick_die_and_lose_values():
    weights = np.cumsum(np.full((len(TIMES), 8), 1e-5), axis=0)
    stuck = weights.copy()
    troubled(stuck_rate_hz=0.02).break_down(TIMES, stuck)
    assert (np.diff(stuck, axis=0) == 0).mean() > 0.2
    lost = weights.copy()
    troubled(gap_rate_hz=0.2).break_down(TIMES, lost)
    assert 0.02 < np.isnan(lost).mean() < 0.3
    dead = weights.copy()
    troubled(dead_share=1.0).break_down(TIMES, dead)
    assert np.isnan(dead).all()
    coarse = weights.copy()
    troubled(step_kg=0.001).break_down(TIMES, coarse)
    assert np.allclose(coarse / 0.001, np.round(coarse / 0.001))


LOOK = LabelledSession("look", tuple(LabelledEvent(8.0 * i, "anna", "pick", g, "4", ("5",), (None,)) for i, g in enumerate("3142")))


def played(store, **parts):
    return simulate(store, LOOK, replace(PROFILES["clean"], **parts), seed=1)


def frames(simulated):
    return [record for record in simulated.records if isinstance(record, PersonDetections)]


@pytest.fixture(scope="module")
def untroubled(store):
    return played(store)


def test_shelves_and_cameras_fall_silent_and_come_back(store, untroubled):
    shelves = played(store, scale_troubles=ScaleTroubles(outage_rate_hz=0.01))
    given = [r for r in shelves.records if isinstance(r, ScaleReading)]
    assert len(given) < 0.97 * sum(isinstance(r, ScaleReading) for r in untroubled.records)
    by_shelf: dict[tuple, list[int]] = {}
    for reading in given:
        by_shelf.setdefault((reading.gondola, reading.shelf), []).append(reading.stamp_ns)
    longest = max(np.diff(stamps).max() for stamps in by_shelf.values())
    assert 7.5 < longest / NANOSECONDS < 26
    cameras = played(store, camera_troubles=CameraTroubles(outage_rate_hz=0.02))
    assert len(frames(cameras)) < 0.95 * len(frames(untroubled))


def test_clocks_are_ahead_by_at_most_what_was_asked(store, untroubled):
    late = played(store, camera_troubles=CameraTroubles(clock_offset_s=0.05), scale_troubles=ScaleTroubles(clock_offset_s=0.05))
    first, moved = ({} for _ in range(2))
    for session, found in ((untroubled, first), (late, moved)):
        for record in session.records:
            if isinstance(record, (PersonDetections, ScaleReading)):
                source = (record.camera,) if isinstance(record, PersonDetections) else (record.gondola, record.shelf)
                found.setdefault(source, record.stamp_ns)
    offsets = np.array([moved[source] - first[source] for source in first]) / NANOSECONDS
    assert offsets.min() >= 0
    assert 0.03 < offsets.max() <= 0.05


def test_what_troubles_a_shelf_goes_on_from_session_to_session(store):
    """A load does not spread in another way, nor has it crept at once, because somebody new comes; a fault is not mended."""
    troubles = ScaleTroubles(
        creep_share=0.1, spread_share=0.3, warming_kg_per_min=0.1, flicker_kg=0.0003, dead_share=0.05, clock_offset_s=0.05
    )
    profile = replace(PROFILES["clean"], scale_troubles=troubles)
    first, second = simulate_in_sequence(store, [LOOK, replace(LOOK, session="next")], profile, seed=1)
    before, after = ({} for _ in range(2))
    for session, found in ((first, before), (second, after)):
        for record in session.records:
            if isinstance(record, ScaleReading):
                found.setdefault((record.gondola, record.shelf), []).append(record)
    ahead = {shelf: after[shelf][0].stamp_ns - second.start_ns - (before[shelf][0].stamp_ns - first.start_ns) for shelf in before}
    assert max(map(abs, ahead.values())) < 0.007 * NANOSECONDS
    steps = np.concatenate([after[shelf][0].weights[0] - before[shelf][-1].weights[-1] for shelf in before])
    within = np.concatenate([np.abs(np.diff(np.concatenate([r.weights for r in before[shelf]]), axis=0)).max(axis=0) for shelf in before])
    np.testing.assert_array_equal(np.isnan(steps), np.isnan(within))
    assert 0 < np.isnan(steps).mean() < 0.2
    assert np.nanmax(np.abs(steps)) < 0.003


def test_people_are_overlooked_for_long_and_things_are_taken_for_people(store, untroubled):
    whole = sum(len(frame.boxes) for frame in frames(untroubled))
    blind = sum(len(frame.boxes) for frame in frames(played(store, camera_troubles=CameraTroubles(blind_rate_hz=0.2))))
    assert 0.5 * whole < blind < 0.95 * whole
    ghosts = sum(len(frame.boxes) for frame in frames(played(store, camera_troubles=CameraTroubles(ghost_rate_hz=0.02))))
    assert ghosts > 1.02 * whole


def test_images_are_shifted_and_limbs_exchanged(store, untroubled):
    before = {(frame.camera, frame.stamp_ns): frame for frame in frames(untroubled)}
    shifts: dict[str, list[np.ndarray]] = {}
    for frame in frames(played(store, camera_troubles=CameraTroubles(offset_px=5.0))):
        same = before[frame.camera, frame.stamp_ns]
        if len(frame.boxes) == len(same.boxes) == 1:
            both = (frame.keypoints[0, :, 2] > 0) & (same.keypoints[0, :, 2] > 0)
            shifts.setdefault(frame.camera, []).append(frame.keypoints[0, both, :2] - same.keypoints[0, both, :2])
    means = np.array([np.concatenate(shift).mean(axis=0) for shift in shifts.values()])
    assert 2.5 < means.std() < 8
    assert max(np.concatenate(shift).std(axis=0).max() for shift in shifts.values()) < 0.1
    pair = LabelledSession("pair", tuple(LabelledEvent(0.0, p, "pick", "3", "4", (at,), (None,)) for p, at in (("a", "5"), ("b", "8"))))
    plain = simulate(store, pair, "clean", seed=1)
    swapped = simulate(
        store, pair, replace(PROFILES["clean"], camera_troubles=CameraTroubles(exchange_overlap=0.1, exchange_share=1.0)), seed=1
    )
    changed = [
        not np.array_equal(frame.keypoints[:, [7, 8, 9, 10]], other.keypoints[:, [7, 8, 9, 10]])
        for frame, other in zip(frames(plain), frames(swapped), strict=True)
        if len(frame.boxes) == 2
    ]
    assert 0.02 < np.mean(changed) < 0.98


def test_the_adverse_profile_turns_on_every_kind_of_trouble():
    adverse = PROFILES["adverse"]
    for troubles in (adverse.scale_troubles, adverse.camera_troubles):
        untouched = type(troubles)()
        assert [name for name, value in vars(troubles).items() if value == getattr(untouched, name)] == []
    for name in ("clean", "nominal", "harsh"):
        assert PROFILES[name].scale_troubles == ScaleTroubles()
        assert PROFILES[name].camera_troubles == CameraTroubles()
