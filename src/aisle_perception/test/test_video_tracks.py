"""People in video files: a person who walks through two cameras' pictures, and the real videos where they are."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_contract.records import BodyPoint, PersonDetections, Track, Tracks
from aisle_perception.detector import CameraDetectors, CameraFrame
from aisle_perception.video_tracks import COLUMNS, FollowedVideos, VideoError, open_videos, track_videos, write_tracks
from aisle_store.camera_model import Camera
from aisle_store.import_nanostore import METRES_PER_INCH
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared"
STORE = ROOT / "config" / "stores" / "nanostore-2020-01"
RECORDING = SHARED / "data" / "nanostore" / "2020-01"
CALIBRATION = SHARED / "calibration" / "nanostore_2020-01.json"
YOLOX = SHARED / "models" / "yolox_nano.onnx"
RETAIL = SHARED / "models" / "person-detection-retail-0013" / "person-detection-retail-0013.xml"
WIDTH, HEIGHT, RATE_HZ = 640, 360, 10.0
STILL_FRAMES, WALK_FRAMES = 60, 30


def _walk(number: int) -> np.ndarray:
    """Where the person is in frame ``number``, m: along the aisle."""
    return np.array([1.0 + 0.6 * (number - STILL_FRAMES) / RATE_HZ, -0.8])


def _picture(camera: Camera, room: np.ndarray, place: np.ndarray | None) -> np.ndarray:
    """The room, and in it a person as a bright upright box of 1.7 m x 0.4 m."""
    if place is None:
        return room
    corners = np.array([[place[0] + x, place[1] + y, z] for x in (-0.2, 0.2) for y in (-0.1, 0.1) for z in (0.0, 1.7)])
    pixels, _ = camera.project(corners)
    if not np.isfinite(pixels).all():
        return room
    left, top = np.clip(pixels.min(axis=0), 0, [WIDTH, HEIGHT]).astype(int)
    right, bottom = np.clip(pixels.max(axis=0), 0, [WIDTH, HEIGHT]).astype(int)
    image = room.copy()
    image[top:bottom, left:right] = 235
    return image


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path]:
    """Videos of two cameras and their calibration file."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(3)
    files, entries = {}, {}
    for name in ("3", "7"):
        camera = load_store(STORE).cameras[name]
        room = cv2.GaussianBlur(rng.integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8), (9, 9), 0)
        files[name] = folder / f"{name}.avi"
        writer = cv2.VideoWriter(str(files[name]), cv2.VideoWriter_fourcc(*"MJPG"), RATE_HZ, (WIDTH, HEIGHT))
        for number in range(STILL_FRAMES + WALK_FRAMES):
            writer.write(_picture(camera, room, None if number < STILL_FRAMES else _walk(number)))
        writer.release()
        pose = camera.pose.copy()
        pose[:3, 3] /= METRES_PER_INCH
        matrix = camera.matrix / [[WIDTH], [HEIGHT], [1]]
        entries[name] = {"K": matrix.tolist(), "Tw": pose.tolist(), "dist_coeffs": camera.distortion.tolist()}
    calibration = folder / "calibration.json"
    calibration.write_text(json.dumps({"cameras": entries}))
    return files, calibration


def test_a_person_is_followed_through_two_videos(scene: tuple[dict[str, Path], Path]) -> None:
    files, calibration = scene
    counted: list[int] = []
    videos = open_videos(files, calibration)
    followed = track_videos(load_store(STORE), videos, CameraDetectors("motion"), advance=counted.append)
    assert sum(counted) == 2 * (STILL_FRAMES + WALK_FRAMES)
    assert list(followed.identities().values()) == [1]
    assert followed.warnings == ()
    errors = [track.position - _walk(round(tracks.stamp_ns / 1e9 * RATE_HZ)) for tracks in followed.tracks for track in tracks.tracks]
    assert len(errors) > 0.75 * WALK_FRAMES
    assert np.sqrt(np.mean(np.square(errors).sum(axis=1))) < 0.25
    assert len(followed.paths()["1"]) == len(errors)


#: Where an upright body's COCO keypoints are around its axis, m: head, shoulders, elbows, wrists, hips, knees, ankles. It walks along +x.
BODY = np.array(
    [
        *[[0.08, 0.0, 1.56], [0.07, 0.03, 1.60], [0.07, -0.03, 1.60], [0.0, 0.07, 1.57], [0.0, -0.07, 1.57]],
        *[[0.0, 0.18, 1.39], [0.0, -0.18, 1.39], [0.05, 0.22, 1.15], [0.05, -0.22, 1.15], [0.25, 0.22, 1.05], [0.25, -0.22, 1.05]],
        *[[0.0, 0.1, 0.90], [0.0, -0.1, 0.90], [0.0, 0.1, 0.48], [0.0, -0.1, 0.48], [0.0, 0.1, 0.08], [0.0, -0.1, 0.08]],
    ]
)


def _body(number: int) -> np.ndarray:
    """float64 [17, 3] m in frame ``number``."""
    return BODY + np.append(_walk(number), 0.0)


class SeesTheBody(CameraDetectors):
    """Stands for a pose network: gives the true keypoints of the person in the videos."""

    def __init__(self, cameras: Mapping[str, Camera]) -> None:
        self._cameras = cameras

    def detect_batch(self, frames: Sequence[CameraFrame]) -> list[PersonDetections]:
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: CameraFrame) -> PersonDetections:
        number = round(frame.stamp_ns / 1e9 * RATE_HZ)
        pixels, _ = self._cameras[frame.camera].project(_body(number))
        seen = np.isfinite(pixels).all(axis=1) & (np.abs(np.nan_to_num(pixels) / [WIDTH, HEIGHT] - 0.5) < 0.5).all(axis=1)
        if number < STILL_FRAMES or not seen.any():
            nobody = np.zeros((0, 4), dtype=np.float32)
            return PersonDetections(frame.stamp_ns, frame.camera, WIDTH, HEIGHT, nobody, nobody[:, 0], np.zeros((0, 17, 3), np.float32))
        keypoints = np.where(seen[:, None], np.column_stack([pixels, np.full(17, 0.9)]), 0.0).astype(np.float32)
        box = np.hstack([pixels[seen].min(axis=0), pixels[seen].max(axis=0)]).astype(np.float32)
        return PersonDetections(frame.stamp_ns, frame.camera, WIDTH, HEIGHT, box[None], np.array([0.9], np.float32), keypoints[None])


def test_keypoints_become_heads_and_wrists_in_the_table(scene: tuple[dict[str, Path], Path], tmp_path: Path) -> None:
    files, calibration = scene
    videos = open_videos(files, calibration)
    detectors = SeesTheBody({video.camera.camera: video.camera for video in videos})
    write_tracks(track_videos(load_store(STORE), videos, detectors), tmp_path / "tracks.csv")
    with (tmp_path / "tracks.csv").open() as file:
        rows = [{name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)]
    assert {row["id"] for row in rows} == {1}
    settled = [row for row in rows if row["frame"] > STILL_FRAMES + 8]
    # Where the person was in the row's frame: t_s and frame say the same.
    assert all(row["frame"] == pytest.approx(row["t_s"] * RATE_HZ) for row in rows)
    for name, points in (("head", [3, 4]), ("left_wrist", [9]), ("right_wrist", [10])):
        known = [row for row in settled if row[f"{name}_x_m"] is not None]
        assert len(known) > 0.8 * len(settled), name
        errors = np.array(
            [[row[f"{name}_{axis}_m"] for axis in "xyz"] - _body(int(row["frame"]))[points].mean(axis=0) for row in known], dtype=float
        )
        distances = np.linalg.norm(errors, axis=1)
        # Later the person's upper half leaves camera 3's view: with one camera left the depth is guessed from the body.
        both = np.array([row["frame"] <= STILL_FRAMES + 14 for row in known])
        assert both.sum() >= 4
        assert distances[both].max() < 0.05, name


def test_every_frame_of_a_fast_video_is_a_step(scene: tuple[dict[str, Path], Path]) -> None:
    files, calibration = scene
    videos = [dataclasses.replace(video, rate_hz=29.97) for video in open_videos(files, calibration)]
    followed = track_videos(load_store(STORE), videos, SeesTheBody({video.camera.camera: video.camera for video in videos}))
    frames = [round(tracks.stamp_ns / 1e9 * followed.rate_hz) for tracks in followed.tracks]
    assert frames == list(range(STILL_FRAMES + WALK_FRAMES))


def test_the_table_has_a_row_per_person_and_step(tmp_path: Path) -> None:
    head = BodyPoint(np.array([1.0, -0.5, 1.62]), np.eye(3))
    seen = Track("t7", np.array([1.0, -0.5]), np.zeros(2), np.eye(4), 0.9, 0.0)
    steps = (Tracks(0, ()), Tracks(100_000_000, (seen, dataclasses.replace(seen, track="t9", head=head))))
    write_tracks(FollowedVideos(steps, RATE_HZ, ()), tmp_path / "tracks.csv")
    with (tmp_path / "tracks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["frame"], row["t_s"], row["id"], row["x_m"], row["y_m"]) for row in rows] == [
        ("1", "0.100", "1", "1.0000", "-0.5000"),
        ("1", "0.100", "2", "1.0000", "-0.5000"),
    ]
    assert [row["head_z_m"] for row in rows] == ["", "1.6200"]
    assert {row["left_wrist_x_m"] for row in rows} == {""}
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.csv"]


def test_an_unfinished_table_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "tracks.csv").mkdir()
    with pytest.raises(OSError, match=r"tracks\.csv"):
        write_tracks(FollowedVideos((), RATE_HZ, ()), tmp_path / "tracks.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.csv"]


def test_bad_videos_are_named(scene: tuple[dict[str, Path], Path], tmp_path: Path) -> None:
    files, calibration = scene
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file, expected the video of camera '3'"):
        open_videos({"3": tmp_path / "gone.mp4"}, calibration)
    with pytest.raises(VideoError, match=r"camera '5' is not in .*calibration\.json, expected one of 3, 7"):
        open_videos({"5": files["3"]}, calibration)
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(VideoError, match=r"text\.mp4: cannot be read as a video"):
        open_videos({"3": tmp_path / "text.mp4"}, calibration)
    with pytest.raises(VideoError, match="no videos given"):
        open_videos({}, calibration)


def test_a_video_that_breaks_off_is_told(scene: tuple[dict[str, Path], Path]) -> None:
    files, calibration = scene
    (video,) = open_videos({"3": files["3"]}, calibration)
    with pytest.raises(VideoError, match=r"3\.avi: breaks off after 90 frames, expected 900"):
        track_videos(load_store(STORE), [dataclasses.replace(video, frames=900)], CameraDetectors("motion"))


#: Where the shopper was, measured by hand in the cameras' pictures (docs/accuracy.md): frame, x m, y m.
MEASURED = (
    *((5, 2.69, -0.72), (10, 2.57, -0.66), (20, 2.39, -0.70), (30, 2.33, -0.70), (40, 2.28, -0.73), (50, 2.66, -0.86), (60, 3.29, -0.76)),
    *((70, 3.68, -0.83), (80, 3.49, -0.86), (90, 2.58, -0.68), (100, 1.69, -0.67), (110, 1.45, -0.67), (120, 1.41, -0.72)),
    *((130, 1.40, -0.72), (140, 1.41, -0.72), (150, 1.27, -0.65), (160, 1.23, -0.60), (170, 1.12, -0.57), (180, 0.76, -0.71)),
    *((190, 0.44, -0.85), (200, 0.40, -1.10), (210, 0.35, -1.54)),
)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [f"openvino:{RETAIL}", f"onnx:{YOLOX}"], ids=["retail", "yolox"])
@pytest.mark.skipif(
    not (RECORDING.is_dir() and CALIBRATION.is_file() and RETAIL.is_file() and YOLOX.is_file()),
    reason=f"needs videos and models in {SHARED}",
)
def test_the_real_shopper_is_where_he_is_and_keeps_one_identity(detector: str) -> None:
    videos = open_videos({camera: RECORDING / f"camera_{camera}.mp4" for camera in "1357"}, CALIBRATION)
    followed = track_videos(load_store(STORE), videos, CameraDetectors(detector))
    # Frames 0-209: inside from the start to 21 s (looked up in the videos); later people cross outside of the glass wall.
    inside = [tracks for tracks in followed.tracks if 0.5e9 <= tracks.stamp_ns <= 20.5e9]
    assert all(len(tracks.tracks) == 1 for tracks in inside)
    assert len({track.track for tracks in inside for track in tracks.tracks}) == 1
    assert not any(tracks.tracks for tracks in followed.tracks if tracks.stamp_ns > 23e9)
    by_frame = {round(tracks.stamp_ns / 1e8): tracks.tracks for tracks in followed.tracks}
    errors = [by_frame[frame][0].position - place for frame, *place in MEASURED]
    assert np.sqrt(np.square(errors).sum(axis=1).mean()) < 0.15
