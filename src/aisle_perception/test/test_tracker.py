"""The tracker on synthetic people whose places are known."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aisle_contract.records import DiagnosticLevel, PersonDetections, Tracks
from aisle_perception.packed_tracks import PackedTracks, unpacked
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store import Store

sys.path.insert(0, str(Path(__file__).parent))
from walking_people import PERIOD_NS, START_NS, body, room, seen_by


def _crossing(step: float) -> list[np.ndarray]:
    """Two people who walk through the middle of the room from opposite corners, 0.5 m apart when they pass."""
    share = np.clip(step / 80, 0.0, 1.0)
    return [np.array([1.0 + 4.0 * share, 1.0 + 2.0 * share]), np.array([5.0 - 4.0 * share, 2.5 - 2.0 * share + 0.5])]


@cache
def _crossing_recording(keypoints: bool = True) -> tuple[PersonDetections, ...]:
    return tuple(_recording(room(), 81, _crossing, keypoints=keypoints))


def _recording(
    store: Store, steps: int, places: Callable[[float], list[np.ndarray]], *, keypoints: bool = True, seed: int = 1
) -> list[PersonDetections]:
    rng = np.random.default_rng(1)
    records = []
    for step in range(steps):
        for number, camera in enumerate(store.cameras.values()):
            stamp = START_NS + step * PERIOD_NS + number * 7_000_000
            bodies = [body(place, heading=0.3 * n) for n, place in enumerate(places(step + number * 0.07))]
            records.append(seen_by(camera, bodies, stamp, rng, keypoints=keypoints))
    return records


def _run(store: Store, records: Iterable[PersonDetections], config: TrackerConfig | None = None) -> list[Tracks]:
    tracker = PersonTracker(store, config)
    out = [track for record in records for track in tracker.step(record).records]
    return out + tracker.flush().records


def _flat(out: list[Tracks]) -> list:
    """Everything the tracker said, comparable to the last bit."""
    return [(o.stamp_ns, [(t.track, t.position.tobytes(), t.covariance.tobytes(), t.existence, t.unseen_s) for t in o.tracks]) for o in out]


@pytest.mark.parametrize("keypoints", [True, False])
def test_two_people_who_cross_keep_their_tracks(keypoints: bool) -> None:
    store = room()
    out = _run(store, _crossing_recording(keypoints))
    assert {t.track for o in out for t in o.tracks} == {"t1", "t2"}
    late = out[10:]
    assert all(len(o.tracks) == 2 for o in late)
    first = {t.track: int(np.argmin([np.linalg.norm(t.position - p) for p in _crossing(10)])) for t in out[10].tracks}
    for step, o in enumerate(late, start=10):
        for track in o.tracks:
            assert np.linalg.norm(track.position - _crossing(step)[first[track.track]]) < (0.1 if keypoints else 0.3)


def test_heads_and_wrists_are_where_they_are() -> None:
    store = room()
    out = _run(store, _recording(store, 30, lambda step: [np.array([3.0, 2.0])]))
    track = out[-1].tracks[0]
    joints = body(np.array([3.0, 2.0]))
    for point, true in ((track.head, joints[3:5].mean(axis=0)), (track.left_wrist, joints[9]), (track.right_wrist, joints[10])):
        assert np.linalg.norm(point.position - true) < 0.05
        assert np.sqrt(np.trace(point.covariance)) < 0.15


def test_one_output_per_slot_also_when_nobody_is_there() -> None:
    store = room()
    out = _run(store, _recording(store, 20, lambda step: []))
    assert len(out) == 20
    assert all(o.tracks == () for o in out)
    assert [o.stamp_ns for o in out] == [START_NS + step * PERIOD_NS + 21_000_000 for step in range(20)]


def test_late_and_unordered_frames_change_nothing() -> None:
    store = room()
    records = _crossing_recording()
    rng = np.random.default_rng(7)
    delays = {camera: rng.uniform(0.0, 0.2e9) for camera in store.cameras}
    arrival = sorted(records, key=lambda r: (r.stamp_ns + delays[r.camera], r.camera))
    assert [r.camera for r in arrival[:8]] != [r.camera for r in records[:8]]
    assert _flat(_run(store, arrival)) == _flat(_run(store, sorted(records, key=lambda r: (r.stamp_ns, r.camera))))


def test_a_silent_camera_is_reported_and_tracking_goes_on() -> None:
    store = room()
    records = [r for r in _crossing_recording() if r.camera != "3" or r.stamp_ns < START_NS + 20 * PERIOD_NS]
    tracker = PersonTracker(store)
    out = [track for record in records for track in tracker.step(record).records]
    states = {d.name: d for d in tracker.diagnostics()}
    assert states["tracker/camera_3"].level == DiagnosticLevel.WARN
    assert states["tracker/camera_1"].level == DiagnosticLevel.OK
    assert len(out) > 75
    assert {t.track for o in out for t in o.tracks} == {"t1", "t2"}


def test_cameras_that_never_report_are_not_waited_for() -> None:
    store = room()
    records = [r for r in _crossing_recording()[:120] if r.camera in ("1", "3")]
    out = _run(store, records)
    assert len(out) == 30
    assert len(out[-1].tracks) == 2


def test_a_frame_that_is_too_late_is_counted() -> None:
    store = room()
    records = _crossing_recording()[:120]
    tracker = PersonTracker(store)
    for record in records:
        tracker.step(record)
    result = tracker.step(replace(records[0], stamp_ns=START_NS + 1))
    assert "late" in result.warnings[0]
    states = {d.name: dict(d.values) for d in tracker.diagnostics()}
    assert states["tracker/camera_1"]["dropped_late"] == "1"


def test_an_unknown_camera_is_named_once() -> None:
    store = room()
    tracker = PersonTracker(store)
    stranger = replace(_crossing_recording()[0], camera="attic")
    assert "'attic'" in tracker.step(stranger).warnings[0]
    assert not tracker.step(stranger).warnings
    assert any("attic" in d.message for d in tracker.diagnostics())


def test_people_outside_are_not_tracked() -> None:
    store = room()
    out = _run(store, _recording(store, 40, lambda step: [np.array([3.0, 4.8])]))
    assert not any(o.tracks for o in out)


def test_who_leaves_through_the_door_is_soon_forgotten() -> None:
    store = room()
    out = _run(store, _recording(store, 80, lambda step: [np.array([2.0 - 0.12 * step, 2.0])] if step < 20 else []))
    last = max(o.stamp_ns for o in out if o.tracks)
    assert START_NS + 14 * PERIOD_NS < last < START_NS + 32 * PERIOD_NS


def test_somebody_unseen_for_two_seconds_keeps_his_track() -> None:
    store = room(2)
    hidden = range(30, 50)
    out = _run(store, _recording(store, 80, lambda step: [] if int(step) in hidden else [np.array([3.0, 2.0])]))
    assert {t.track for o in out for t in o.tracks} == {"t1"}
    assert max(t.unseen_s for o in out for t in o.tracks) > 1.5


def test_who_comes_in_is_not_taken_for_somebody_unseen_for_long() -> None:
    """One stands hidden for two seconds, when another comes in through the door."""
    hidden = range(30, 50)

    def places(step: float) -> list[np.ndarray]:
        standing = [] if int(step) in hidden else [np.array([3.0, 2.0])]
        return standing + ([np.array([0.12 * (step - 46), 2.3])] if step >= 47 else [])

    store = room(2)
    out = _run(store, _recording(store, 66, places))
    where = {t.track: t.position for t in out[-1].tracks}
    assert where["t1"] == pytest.approx([3.0, 2.0], abs=0.2)
    assert where["t2"] == pytest.approx([2.4, 2.3], abs=0.2)


def test_a_false_detection_here_and_there_is_no_person() -> None:
    store = room()
    records = _recording(store, 60, lambda step: [np.array([3.0, 2.0])])
    rng = np.random.default_rng(9)
    ghosts = _recording(store, 60, lambda step: [rng.uniform([0.5, 0.5], [5.5, 3.5])])
    mixed = [
        replace(r, boxes=np.concatenate([r.boxes, g.boxes]), scores=np.concatenate([r.scores, g.scores]),
                keypoints=np.concatenate([r.keypoints, g.keypoints])) if rng.random() < 0.1 else r
        for r, g in zip(records, ghosts, strict=True)
    ]  # fmt: skip
    out = _run(store, mixed)
    assert {t.track for o in out for t in o.tracks} == {"t1"}


def test_other_image_sizes_than_the_calibrations() -> None:
    store = room()
    records = _recording(store, 20, lambda step: [np.array([3.0, 2.0])])
    halved = [
        replace(r, image_width=320, image_height=240, boxes=r.boxes / 2, keypoints=r.keypoints * np.float32([0.5, 0.5, 1.0]))
        for r in records
    ]
    np.testing.assert_allclose(_run(store, halved)[-1].tracks[0].position, _run(store, records)[-1].tracks[0].position, atol=1e-3)


def test_cameras_at_different_rates_and_times() -> None:
    """One camera at 10 Hz, one at 5 Hz, one at 3.3 Hz, each starting when it likes: nobody is lost, places stay right."""
    store = room()
    rates = {"1": 1, "2": 2, "3": 3}
    records = [r for r in _crossing_recording() if rates.get(r.camera) and ((r.stamp_ns - START_NS) // PERIOD_NS) % rates[r.camera] == 0]
    shifted = [replace(r, stamp_ns=r.stamp_ns + int(r.camera) * 11_000_000) for r in records]
    out = _run(store, shifted)
    assert {t.track for o in out for t in o.tracks} == {"t1", "t2"}
    for o in out[20:]:
        true = _crossing((o.stamp_ns - START_NS) / PERIOD_NS)
        assert all(min(np.linalg.norm(t.position - place) for place in true) < 0.15 for t in o.tracks)


def test_nobody_is_confirmed_before_he_is_on_the_floor() -> None:
    store = room()
    out = _run(store, _recording(store, 50, lambda step: [np.array([-0.45 + 0.02 * max(step - 20, 0.0), 2.0])]))
    first = next(o for o in out if o.tracks)
    assert first.stamp_ns > START_NS + 30 * PERIOD_NS
    assert first.tracks[0].position[0] > -0.25
    assert {t.track for o in out for t in o.tracks} == {"t1"}


def test_tracks_for_another_process_are_the_same_once_unpacked() -> None:
    records = _crossing_recording()
    tracker = PersonTracker(room(), for_crossing=True)
    packed = [track for record in records for track in tracker.step(record).records] + tracker.flush().records
    assert all(isinstance(tracks, PackedTracks) for tracks in packed)
    assert _flat([unpacked(tracks) for tracks in packed]) == _flat(_run(room(), records))


def test_of_images_that_tell_no_size_nothing_is_used() -> None:
    told = [record if record.camera == "1" else replace(record, image_width=0) for record in _crossing_recording()]
    empty = np.zeros((0, 4), np.float32)
    nothing = {"boxes": empty, "scores": empty[:, 0], "keypoints": empty.reshape(0, 17, 3)}
    alone = [record if record.camera == "1" else replace(record, **nothing) for record in _crossing_recording()]
    assert _flat(_run(room(), told)) == _flat(_run(room(), alone))
