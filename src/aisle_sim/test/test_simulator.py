"""Whole simulated sessions: the same seed gives the same bytes, nothing gets lost, mass is kept, noise is as measured."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from aisle_contract.records import GateEvent, GateEventKind, PersonDetections, ScaleReading
from aisle_sim.enacted_events import enact
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.live_schedule import LiveSchedule
from aisle_sim.profiles import PROFILES, load_profile, profile_from_mapping
from aisle_sim.reenactment import reenact
from aisle_sim.scale_model import load_scale_model, scale_model_from_mapping, scale_model_to_mapping
from aisle_sim.simulator import iter_records, simulate, simulate_in_sequence

PRODUCT = "084114115881"
PICK = LabelledEvent(0.0, "anna", "pick", "2", "6", ("8", "9"), (PRODUCT,))
ONE_PICK = LabelledSession("one pick", (PICK,))
EMPTY = LabelledSession("empty", ())


def digest(records):
    state = hashlib.sha256()
    for record in records:
        for name in record.__slots__:
            value = getattr(record, name)
            state.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return state.hexdigest()


def source_of(record):
    if isinstance(record, ScaleReading):
        return ("scale", record.gondola, record.shelf)
    return ("camera", record.camera) if isinstance(record, PersonDetections) else ("gate", record.gate)


def weights_of(records, gondola, shelf):
    readings = [r for r in records if isinstance(r, ScaleReading) and (r.gondola, r.shelf) == (gondola, shelf)]
    return np.concatenate([r.weights for r in readings]).astype(float), readings


@pytest.fixture(scope="module")
def nominal(store):
    return simulate(store, ONE_PICK, "nominal", seed=1)


def test_the_same_seed_gives_the_same_bytes(store, nominal):
    assert digest(simulate(store, ONE_PICK, "nominal", seed=1).records) == digest(nominal.records)
    assert digest(simulate(store, ONE_PICK, "nominal", seed=2).records) != digest(nominal.records)


def test_a_camera_more_changes_no_other_sensor(store, nominal):
    fewer = replace(store, cameras=dict(list(store.cameras.items())[:-1]))
    reduced = simulate(fewer, ONE_PICK, "nominal", seed=1).records
    assert digest(r for r in reduced if isinstance(r, ScaleReading)) == digest(r for r in nominal.records if isinstance(r, ScaleReading))


def test_records_are_sorted_and_every_source_is_regular(store, nominal):
    stamps = [record.stamp_ns for record in nominal.records]
    assert stamps == sorted(stamps)
    by_source = {}
    for record in nominal.records:
        by_source.setdefault(source_of(record), []).append(record.stamp_ns)
    assert len(by_source) == len(store.cameras) + sum(1 for _ in store.shelves()) + len(store.gates)
    longest = {"camera": 0.11e9, "scale": 0.22e9, "gate": 0.21e9}
    for source, times in by_source.items():
        gaps = np.diff([nominal.start_ns - 1, *times, nominal.end_ns])
        assert (gaps[1:-1] > 0).all(), source
        assert gaps.max() < 2 * longest[source[0]], source
        assert gaps[1:-1].max() < longest[source[0]], source


def test_gates_tell_who_enters_and_only_that_somebody_leaves(nominal):
    events = [r for r in nominal.records if isinstance(r, GateEvent) and r.kind != GateEventKind.STATUS]
    assert [(e.kind, e.credential, e.shopper) for e in events] == [(GateEventKind.ENTRY, "anna", "anna"), (GateEventKind.EXIT, "", "")]


def test_frames_of_the_empty_store_are_there_and_empty_when_clean(store):
    frames = [r for r in simulate(store, EMPTY, "clean").records if isinstance(r, PersonDetections)]
    assert len(frames) == pytest.approx(17 * 80, abs=17)
    assert all(len(frame.boxes) == 0 and frame.keypoints.shape == (0, 17, 3) for frame in frames)


def test_mass_is_kept(store):
    steady = replace(load_scale_model(), shelf_start_spread_s=0.0)
    put = replace(PICK, t_s=6.0, action="put_back", gondola="3", shelf="4", plates=("7",))
    simulated = simulate(store, LabelledSession("there and back", (PICK, put)), "clean", model=steady)
    weight = store.products[PRODUCT].weight_kg
    for gondola, shelf, sign in (("2", "6", -1), ("3", "4", 1), ("1", "1", 0)):
        weights, _ = weights_of(simulated.records, gondola, shelf)
        assert (weights[-1] - weights[0]).sum() == pytest.approx(sign * weight, abs=2e-5)
        moved = np.abs(weights[-1] - weights[0]) > 1e-4
        assert moved.any() == (sign != 0)


def test_a_piece_is_put_back_with_its_own_weight(store):
    back = replace(PICK, t_s=5.0, action="put_back")
    quiet = replace(PROFILES["clean"], scales=replace(PROFILES["clean"].scales, weight_spread_factor=1.0))
    weights, _ = weights_of(simulate(store, LabelledSession("s", (PICK, back)), quiet).records, "2", "6")
    assert weights[-1].sum() - weights[0].sum() == pytest.approx(0.0, abs=2e-5)
    assert np.ptp(weights.sum(axis=1)) == pytest.approx(store.products[PRODUCT].weight_kg, rel=0.1)


def test_two_pieces_at_once_weigh_two_pieces(store):
    twice = LabelledSession("twice", (replace(PICK, products=(PRODUCT, PRODUCT)),))
    simulated = simulate(store, twice, "clean")
    weights, _ = weights_of(simulated.records, "2", "6")
    assert simulated.truth == {"anna": {PRODUCT: 2}}
    assert (weights[0] - weights[-1]).sum() == pytest.approx(2 * store.products[PRODUCT].weight_kg, abs=2e-5)


def test_a_thing_that_was_never_picked_can_be_put_down(store):
    simulated = simulate(store, LabelledSession("gift", (replace(PICK, action="put_back"),)), "clean")
    weights, _ = weights_of(simulated.records, "2", "6")
    assert (weights[-1] - weights[0]).sum() == pytest.approx(store.products[PRODUCT].weight_kg, abs=2e-5)
    assert simulated.truth == {"anna": {}}


def test_nominal_noise_is_as_measured(store):
    """Measured on the real plates: median 0.69 g, 95th percentile 5.1 g of the deviation within a second."""
    deviations = []
    for seed in range(3):
        records = simulate(store, replace(EMPTY, session="quiet"), "nominal", seed).records
        for shelf in store.shelves():
            weights, _ = weights_of(records, *shelf.key)
            seconds = weights[: len(weights) // 60 * 60].reshape(-1, 60, weights.shape[1])
            deviations.append(np.median(np.nanstd(seconds, axis=1), axis=0))
    grams = 1000 * np.concatenate(deviations)
    assert 0.5 < np.median(grams) < 0.95
    assert 2.5 < np.percentile(grams, 95) < 8.0


def test_readings_come_in_steps_with_few_missing(nominal):
    step = load_scale_model().quantisation_kg
    weights, readings = weights_of(nominal.records, "1", "1")
    known = weights[np.isfinite(weights)]
    assert np.abs(known / step - np.round(known / step)).max() < 0.02
    everything = np.concatenate([r.weights.ravel() for r in nominal.records if isinstance(r, ScaleReading)])
    assert 0.0005 < np.isnan(everything).mean() < 0.003
    assert readings[0].weights.dtype == np.float32
    assert readings[0].weights.shape == (12, 12)


def test_shelves_go_on_where_the_last_session_ended(store):
    first, second = simulate_in_sequence(store, [ONE_PICK, replace(ONE_PICK, session="next")], "clean")
    assert second.start_ns == first.end_ns
    before, _ = weights_of(first.records, "2", "6")
    after, _ = weights_of(second.records, "2", "6")
    assert np.abs(after[0] - before[-1]).max() < 1e-5
    stamps = [record.stamp_ns for record in iter_records(store, [ONE_PICK, replace(ONE_PICK, session="next")], "clean")]
    assert stamps == sorted(stamps)
    assert len(stamps) == len(first.records) + len(second.records)


def test_harsh_hands_rest_on_plates(store, sessions):
    session = max(sessions.values(), key=lambda s: len(s.events))
    events, hands = enact(store, session).events, PROFILES["harsh"].hands
    reaches = [reach for seed in range(3) for reach in reenact(store, session.session, events, hands, seed).reaches]
    assert any(reach.hold_s > 1.5 for reach in reaches)
    assert any(reach.lift_s > 1.0 for reach in reaches)
    assert max(reach.hold_s for reach in reaches) <= PROFILES["harsh"].hands.held_max_s


def test_profiles_are_checked(store):
    with pytest.raises(ValueError, match="unknown sensor profile 'kind', expected one of clean, nominal, harsh, adverse"):
        simulate(store, ONE_PICK, "kind")
    with pytest.raises(ValueError, match=r"p\.yaml: cameras: unknown parameter 'blur'"):
        profile_from_mapping("p", {"cameras": {"blur": 1.0}}, "p.yaml")
    with pytest.raises(ValueError, match=r"held_min_s is 3.0, expected at most held_max_s"):
        profile_from_mapping("p", {"hands": {"held_min_s": 3.0, "held_max_s": 2.0}}, "p.yaml")
    harsh, usual = PROFILES["harsh"], PROFILES["nominal"]
    assert harsh.scales.noise_factor == 3 * usual.scales.noise_factor
    assert harsh.cameras.miss_share == 2 * usual.cameras.miss_share


def test_profile_of_ones_own_is_like_a_shipped_one_but_for_what_it_says(tmp_path):
    path = tmp_path / "creeping.yaml"
    path.write_text("like: harsh\nscale_troubles:\n  creep_share: 0.02\n")
    own, harsh = load_profile(path), PROFILES["harsh"]
    assert own.name == "creeping"
    assert own.scale_troubles.creep_share == 0.02
    assert (own.scales, own.hands, own.cameras) == (harsh.scales, harsh.hands, harsh.cameras)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("like: kind\n", r"own\.yaml: like: unknown sensor profile 'kind', expected one of clean, nominal"),
        ("like: [harsh]\n", r"own\.yaml: like: unknown sensor profile"),
        ("scales: loud\n", r"own\.yaml: scales is 'loud', expected fields with their values"),
        ("plates: {}\n", r"own\.yaml: unknown section 'plates', expected one of hands"),
        ("scales: {noise_factor: -1.0}\n", r"own\.yaml: scales: parameter 'noise_factor' is -1\.0, expected 0\.0 \.\. 20\.0"),
        ("- harsh\n", r"own\.yaml: found list, expected sections"),
        ("scales: {\n", r"own\.yaml: is no YAML"),
    ],
)
def test_bad_profile_of_ones_own_is_refused_by_name(tmp_path, text, complaint):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_profile(path)


def test_scale_model_survives_writing_and_names_bad_fields():
    values = scale_model_to_mapping(load_scale_model())
    assert scale_model_from_mapping(values, "m") == load_scale_model()
    with pytest.raises(ValueError, match="m: field 'hum_hz' is 'low', expected a number"):
        scale_model_from_mapping({**values, "hum_hz": "low"}, "m")
    with pytest.raises(ValueError, match=r"m: shelves\[0\]"):
        scale_model_from_mapping({**values, "shelves": [{}]}, "m")


def test_live_schedule_follows_the_clock(store):
    session = simulate(store, EMPTY, "clean")
    schedule = LiveSchedule(
        iter([session, replace(session, start_ns=session.end_ns, end_ns=2 * session.end_ns - session.start_ns, records=[])]), 2.0
    )
    while not schedule.ready:
        pass
    first = schedule.due(100.0)
    assert {record.stamp_ns for record in first} == {session.start_ns}
    later = schedule.due(101.0)
    assert max(record.stamp_ns for record in later) <= session.start_ns + 2_000_000_000
    assert schedule.behind_s == 0.0
    rest = schedule.due(100.0 + 60.0, limit=10**6)
    assert [*first, *later, *rest] == session.records
    schedule.close()
