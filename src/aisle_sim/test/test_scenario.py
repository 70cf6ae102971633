"""Scenarios: what is read, what is refused, what hands and faults do to the records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from aisle_contract.records import NANOSECONDS, PersonDetections, ScaleReading
from aisle_sim.scenario import PlayedScenario, Scenario, ScenarioError, load_scenario, part_of, play
from aisle_store.store import Store
from aisle_store.store_files import load_store

STORES = Path(__file__).resolve().parents[3] / "config" / "stores"
MANGO = "835144009066"
BASE = """format: 1
title: A test
shows: Something.
store: nanostore-2019-11
shelves: [3/5, 4/6]
cameras: ["6", "8"]
"""
PICKS = f"""
events:
- {{t_s: 0, person: ann, action: pick, gondola: 3, shelf: 5, plates: [4, 5], products: ["{MANGO}"]}}
- {{t_s: 1, person: bob, action: pick, gondola: 3, shelf: 5, plates: [10, 11], products: [banana-chips]}}
"""
#: Both stay where they are until they have taken a second one.
STAY = f"""
- {{t_s: 7, person: ann, action: pick, gondola: 3, shelf: 5, plates: [4, 5], products: ["{MANGO}"]}}
- {{t_s: 8, person: bob, action: pick, gondola: 3, shelf: 5, plates: [10, 11], products: [banana-chips]}}
"""


@pytest.fixture(scope="module")
def store() -> Store:
    return load_store(STORES / "nanostore-2019-11")


def read(tmp_path: Path, text: str) -> Scenario:
    (tmp_path / "scene.yaml").write_text(BASE + text)
    return load_scenario(tmp_path / "scene.yaml")


def played(tmp_path: Path, store: Store, text: str) -> PlayedScenario:
    return play(read(tmp_path, text), store, "scene.yaml")


def of(scene: PlayedScenario, kind: type) -> list:
    return [record for record in scene.records if isinstance(record, kind)]


def test_only_the_named_shelves_and_cameras_are_there(tmp_path: Path, store: Store) -> None:
    part = part_of(store, read(tmp_path, PICKS), "scene.yaml")
    assert [shelf.key for shelf in part.shelves()] == [("3", "5"), ("4", "6")]
    assert list(part.cameras) == ["6", "8"]
    assert {key[:2] for key in part.planogram} == {("3", "5"), ("4", "6")}


def test_the_same_scenario_gives_the_same_records_and_the_truth(tmp_path: Path, store: Store) -> None:
    first, second = played(tmp_path, store, PICKS), played(tmp_path, store, PICKS)
    assert repr(first.records) == repr(second.records)
    assert first.truth == {"ann": {MANGO: 1}, "bob": {"banana-chips": 1}}


def test_staff_are_in_no_truth(tmp_path: Path, store: Store) -> None:
    refill = f'- {{t_s: 4, person: "staff:1", action: put_back, gondola: 3, shelf: 5, plates: [4], products: ["{MANGO}"]}}\n'
    assert set(played(tmp_path, store, PICKS + refill).truth) == {"ann", "bob"}


def heads(scene: PlayedScenario) -> dict[tuple[str, int], float]:
    """Upper edge of the lowest box of each frame, px below the image's top, by camera and stamp."""
    return {(frame.camera, frame.stamp_ns): float(frame.boxes[:, 1].max()) for frame in of(scene, PersonDetections) if len(frame.boxes)}


def test_a_thing_that_is_left_on_the_floor_is_seen_but_not_weighed(tmp_path: Path, store: Store) -> None:
    leave = f'- {{t_s: 3, person: ann, action: leave, products: ["{MANGO}"]}}\n'
    plain, left = played(tmp_path, store, PICKS + STAY), played(tmp_path, store, PICKS + STAY + leave)
    assert left.truth == plain.truth
    assert repr(of(left, ScaleReading)) == repr(of(plain, ScaleReading))
    upright, bent = heads(plain), heads(left)
    lower = {frame[1]: bent[frame] - upright[frame] for frame in bent.keys() & upright.keys() if bent[frame] - upright[frame] > 40}
    assert lower
    # Ann bends for less than three seconds.
    assert max(lower) - min(lower) < 3 * NANOSECONDS


def test_a_thing_is_handed_over_only_within_reach(tmp_path: Path, store: Store) -> None:
    over = f'- {{t_s: 4, person: ann, to: bob, action: hand_over, products: ["{MANGO}"]}}\n'
    assert played(tmp_path, store, PICKS + STAY + over).truth == {"ann": {MANGO: 2}, "bob": {"banana-chips": 2}}
    with pytest.raises(ScenarioError, match=r"scene.yaml: 'ann' and 'bob' are \d\.\d m apart at t_s 8.5, expected at most 1.3 m"):
        played(tmp_path, store, PICKS + STAY + over.replace("t_s: 4", "t_s: 8.5"))
    with pytest.raises(ScenarioError, match=r"scene.yaml: person 'eve' takes nothing from a shelf, expected one of ann, bob"):
        played(tmp_path, store, PICKS + STAY + over.replace("to: bob", "to: eve"))


def test_faults_change_what_is_recorded_and_nothing_else(tmp_path: Path, store: Store) -> None:
    faults = """
camera_faults: [{camera: "8", from_s: 2, until_s: 4}]
scale_faults:
- {gondola: 3, shelf: 5, plates: [4], from_s: 1, until_s: 3, drift_kg_per_s: 0.01}
- {gondola: 4, shelf: 6, from_s: 2, until_s: 4, silent: true}
"""
    plain, broken = played(tmp_path, store, PICKS), played(tmp_path, store, PICKS + faults)

    def seconds(records: list) -> np.ndarray:
        return np.array([(record.stamp_ns - plain.start_ns) / NANOSECONDS for record in records])

    def of_camera(scene: PlayedScenario, camera: str) -> list:
        return [record for record in of(scene, PersonDetections) if record.camera == camera]

    at = seconds(of_camera(broken, "8"))
    assert not ((at >= 2) & (at < 4)).any()
    assert len(at) == len(of_camera(plain, "8")) - 20
    assert repr(of_camera(broken, "6")) == repr(of_camera(plain, "6"))
    before, after = ([r for r in of(scene, ScaleReading) if r.gondola == "3"] for scene in (plain, broken))
    drift = np.concatenate([b.weights - a.weights for a, b in zip(before, after, strict=True)])
    plate = before[0].plates.index("4")
    assert np.nanmax(drift[:, plate]) == pytest.approx(0.02, abs=1e-5)
    assert np.nanmax(np.abs(np.delete(drift, plate, axis=1))) == 0
    at = seconds([r for r in of(broken, ScaleReading) if r.gondola == "4"])
    assert not ((at >= 2) & (at < 4)).any()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PICKS + "colour: red\n", "colour: unknown key"),
        (PICKS.replace("action: pick", "action: steal", 1), "events"),
        ("\nevents: []\n", "events"),
        (PICKS + "seed: -1\n", "seed: found '-1'"),
    ],
)
def test_a_scenario_that_is_wrong_is_told_with_file_and_field(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ScenarioError, match=r"scene\.yaml:\d+: ") as error:
        read(tmp_path, text)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shelves": ("9/9",)}, "scene.yaml: shelves: found '9/9', expected some of 1/1"),
        ({"cameras": ("99",)}, "scene.yaml: cameras: found '99'"),
        ({"profile": "perfect"}, "scene.yaml: profile: found 'perfect', expected one of clean"),
        ({"hands": {"held_shares": "1"}}, "scene.yaml: hands: unknown parameter 'held_shares'"),
        ({"shelves": ("4/6",)}, "expected one of"),
    ],
)
def test_what_does_not_fit_the_store_is_told(tmp_path: Path, store: Store, change: dict, told: str) -> None:
    scenario = read(tmp_path, PICKS).model_copy(update=change)
    with pytest.raises(ScenarioError) as error:
        play(scenario, store, "scene.yaml")
    assert told in str(error.value)


def test_what_differs_from_the_profile_is_played(tmp_path: Path, store: Store) -> None:
    slow = "hands: {slow_share: 1.0, slow_lift_min_s: 3.0, slow_lift_max_s: 3.5}\n"
    plain, lifted = played(tmp_path, store, PICKS), played(tmp_path, store, slow + PICKS)
    assert dataclasses.replace(plain, records=[]).truth == lifted.truth
    assert repr(of(plain, ScaleReading)) != repr(of(lifted, ScaleReading))
