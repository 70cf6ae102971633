"""Floor detections in files: what is read, what comes out, and that hindsight decides better than the moment."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from aisle_perception.floor_tracks import (
    FloorDetection,
    FloorFileError,
    FloorPosition,
    FloorTracksConfig,
    read_detections,
    run_floor,
    track_floor,
)

RATE_HZ = 2.0
ONLINE = FloorTracksConfig(lookback_s=0.0)


def _walkers(frames: int, *, seed: int = 3, miss: float = 0.0, false: float = 0.0) -> list[FloorDetection]:
    """Three people who walk at 1.2 m/s, two of them towards one another 0.8 m apart; the frames' numbers go in steps of 5."""
    rng = np.random.default_rng(seed)
    rows = []
    for frame in range(frames):
        for place in _places(frame):
            if rng.random() >= miss:
                rows.append(FloorDetection(5 * frame, *(place + rng.normal(0.0, 0.1, 2)).tolist()))
        for place in rng.uniform([-2.0, -2.0], [14.0, 8.0], (rng.poisson(false), 2)):
            rows.append(FloorDetection(5 * frame, *place.tolist()))
    return rows


def _places(frame: int) -> np.ndarray:
    return np.array([(0.6 * frame, 2.0), (12.0 - 0.6 * frame, 2.8), (9.0, 0.5 * frame - 2.0)])


def _by_person(positions: list[FloorPosition]) -> list[set[int]]:
    """The tracks that were nearest to each walker."""
    tracks: list[set[int]] = [set(), set(), set()]
    for p in positions:
        distance = np.linalg.norm(_places(p.frame // 5) - (p.x_m, p.y_m), axis=1)
        if distance.min() < 0.5:
            tracks[int(distance.argmin())].add(p.track)
    return tracks


@pytest.mark.parametrize("config", [FloorTracksConfig(), ONLINE])
def test_people_keep_their_identity(config: FloorTracksConfig) -> None:
    positions, frames, step = track_floor(_walkers(20), RATE_HZ, config)
    assert (frames, step) == (20, 5)
    assert [len(tracks) for tracks in _by_person(positions)] == [1, 1, 1]
    assert len({p.track for p in positions}) == 3


def test_hindsight_tells_of_the_first_frame_and_bridges_gaps() -> None:
    rows = [row for row in _walkers(20) if not (row.frame == 30 and abs(row.y_m - 2.0) < 0.4)]
    positions, _, _ = track_floor(rows, RATE_HZ)
    assert len([p for p in positions if p.frame == 0]) == 3
    bridged = [p for p in positions if not p.seen]
    assert [(p.frame, p.track) for p in bridged] == [(30, next(iter(_by_person(positions)[0])))]
    assert np.hypot(bridged[0].x_m - 3.6, bridged[0].y_m - 2.0) < 0.3
    online, _, _ = track_floor(rows, RATE_HZ, ONLINE)
    assert all(p.seen for p in online)
    assert len(online) < len(positions)


def test_false_detections_make_no_tracks() -> None:
    positions, _, _ = track_floor(_walkers(20, miss=0.05, false=0.5), RATE_HZ)
    assert [len(tracks) for tracks in _by_person(positions)] == [1, 1, 1]
    distances = [np.linalg.norm(_places(p.frame // 5) - (p.x_m, p.y_m), axis=1).min() for p in positions]
    assert np.mean(np.array(distances) < 0.5) > 0.97


@pytest.mark.parametrize("limits", [{"explanations": 10}, {"leaves": 4}])
def test_few_explanations_are_enough_for_people_apart(limits: dict[str, int]) -> None:
    """What bounds the time in a crowd: each keeps at least being found and not being found."""
    positions, _, _ = track_floor(_walkers(20, miss=0.05), RATE_HZ, FloorTracksConfig(**limits))
    assert [len(tracks) for tracks in _by_person(positions)] == [1, 1, 1]
    assert len({p.track for p in positions}) == 3


def test_two_who_compete_for_one_detection_share_none() -> None:
    """Near each other for seconds, often seen as one: never two rows at one place in a frame."""
    rng = np.random.default_rng(6)
    rows = []
    for frame in range(24):
        places = np.array([(0.5 * frame, 2.0), (0.5 * frame, 2.4)])
        places = places.mean(axis=0, keepdims=True) if rng.random() < 0.3 else places
        rows += [FloorDetection(frame, *(place + rng.normal(0.0, 0.05, 2)).tolist()) for place in places]
    positions, _, _ = track_floor(rows, RATE_HZ)
    for frame in range(24):
        tracks = [p.track for p in positions if p.frame == frame]
        seen = sum(p.seen for p in positions if p.frame == frame)
        assert len(tracks) == len(set(tracks)) <= 2
        assert seen <= sum(row.frame == frame for row in rows)


def test_who_has_gone_has_no_rows() -> None:
    rows = [row for row in _walkers(20) if row.frame < 50 or row.x_m < 5.0]
    positions, frames, _ = track_floor(rows, RATE_HZ)
    last = {track: max(p.frame for p in positions if p.track == track) for track in {p.track for p in positions}}
    assert frames == 20
    assert sorted(last.values())[:2] == [45, 45]


@pytest.mark.parametrize("config", [FloorTracksConfig(), ONLINE])
def test_the_order_of_rows_does_not_matter(config: FloorTracksConfig) -> None:
    rows = _walkers(15, miss=0.1, false=0.3)
    shuffled = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    assert track_floor(rows, RATE_HZ, config)[0] == track_floor(shuffled, RATE_HZ, config)[0]


@pytest.mark.parametrize("config", [FloorTracksConfig(), ONLINE])
def test_cameras_that_see_the_same_people_make_one_track_each(config: FloorTracksConfig) -> None:
    rows = [dataclasses.replace(row, camera=camera) for seed, camera in enumerate("abc") for row in _walkers(20, seed=seed, miss=0.2)]
    positions, _, _ = track_floor(rows, RATE_HZ, config)
    assert [len(tracks) for tracks in _by_person(positions)] == [1, 1, 1]
    assert len({p.track for p in positions}) == 3


def test_empty_frames_are_stepped_through() -> None:
    rows = [FloorDetection(frame, 1.0, 1.0) for frame in (*range(10), *range(60, 70))]
    for config in (FloorTracksConfig(), ONLINE):
        positions, frames, step = track_floor(rows, RATE_HZ, config)
        assert (frames, step) == (70, 1)
        assert {p.track for p in positions if p.frame < 10} == {1}
        assert {p.track for p in positions if p.frame > 10} == {2}


def test_a_file_becomes_a_file(tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("frame,x_m,y_m\n" + "".join(f"{r.frame},{r.x_m:.3f},{r.y_m:.3f}\n" for r in _walkers(10)), encoding="utf-8")
    run = run_floor(source, out, RATE_HZ)
    lines = out.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "frame,id,x_m,y_m"
    assert len(lines) == 1 + run.positions
    assert (run.frames, run.detections, run.tracks, run.frame_step) == (10, 30, 3, 5)
    assert sorted(tmp_path.iterdir()) == [source, out]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: no column frame, x_m, y_m"),
        ("frame,x_m\n", "line 1: no column y_m"),
        ("frame,x_m,y_m,z_m\n", "line 1: unknown column 'z_m'"),
        ("frame,x_m,y_m\n1,2\n", "line 2: 2 fields, expected 3"),
        ("frame,x_m,y_m\n1,2,3\n1.5,2,3\n", "line 3: frame is '1.5', expected an integer"),
        ("frame,x_m,y_m\n1,nan,3\n", "line 2: x_m is 'nan', expected a number"),
        ("frame,x_m,y_m,sigma_m\n1,2,3,0\n", "line 2: sigma_m is '0', expected metres > 0"),
    ],
)
def test_bad_files_are_named_by_line_and_field(tmp_path: Path, text: str, complaint: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(FloorFileError, match=r"in\.csv") as error:
        run_floor(source, tmp_path / "out.csv", RATE_HZ)
    assert complaint in str(error.value)
    assert not (tmp_path / "out.csv").exists()


def test_no_file_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(FloorFileError, match="cannot be read"):
        read_detections(tmp_path / "none.csv")
    (tmp_path / "in.csv").write_text("frame,x_m,y_m\n", encoding="utf-8")
    assert run_floor(tmp_path / "in.csv", tmp_path / "out.csv", RATE_HZ).tracks == 0
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "frame,id,x_m,y_m\n"
