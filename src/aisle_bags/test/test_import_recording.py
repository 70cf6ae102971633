"""Recordings made up here: two small videos and one plate file, imported and read back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from aisle_bags.bag_images import image_frames
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.import_recording import RecordingError, ShelfSeries, read_recording, write_bag
from aisle_contract.records import ScaleReading
from aisle_store.store import Store
from aisle_store.store_files import load_store

pytest.importorskip("aisle_msgs.msg", reason="aisle_msgs is not built: run the tests by ./aisle test")

SHIPPED = Path(__file__).parents[3] / "config" / "stores" / "nanostore-2020-01"
START_S = 1_580_250_245.25
FRAMES = 10


@pytest.fixture(scope="module")
def store() -> Store:
    return load_store(SHIPPED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recording = tmp_path / "recording"
    recording.mkdir()
    for camera in ("1", "3"):
        write_video(recording / f"camera_{camera}.mp4")
    write_plates(recording)
    return recording


def write_video(path: Path, size: tuple[int, int] = (640, 360), rate_hz: float = 10.0) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, size)
    for number in range(FRAMES):
        video.write(np.full((size[1], size[0], 3), 20 * number, np.uint8))
    video.release()


def sample_times(batches: int = 5) -> np.ndarray:
    """Batches of 12 samples at 60 Hz whose starts jitter by some milliseconds."""
    starts = START_S + 0.2 * np.arange(batches) + 0.004 * np.sin(np.arange(batches))
    return (starts[:, None] + np.arange(12) / 60).ravel()


def write_plates(folder: Path, **changes: np.ndarray) -> None:
    """Shelf 2/1 has nine plates in the layout and twelve channels here; there is no shelf 9/9."""
    plates = [(2, 1, plate) for plate in range(1, 13)] + [(1, 1, plate) for plate in range(1, 13)] + [(9, 9, 1)]
    t = np.tile(sample_times(), (len(plates), 1))
    grams = np.arange(t.size, dtype=np.float32).reshape(t.shape)
    grams[0, 7] = np.nan
    np.savez(folder / "plates.npz", **{"plate": np.array(plates, np.int16), "t": t, "grams": grams, **changes})


def test_weights_come_in_their_batches(folder: Path, store: Store, tmp_path: Path) -> None:
    recording = read_recording(folder, store)
    write_bag(recording, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        readings = [r for r in reader.records([ScaleReading]) if (r.gondola, r.shelf) == ("2", "1")]
    assert [len(reading.weights) for reading in readings] == [12] * 5
    assert readings[0].plates == tuple(str(plate) for plate in range(1, 10))
    assert abs(readings[0].sample_period_ns - 1e9 / 60) < 1e3
    stamps = np.array([reading.stamp_ns for reading in readings]) / 1e9
    np.testing.assert_allclose(stamps, sample_times()[::12], atol=3e-7)
    assert np.isnan(readings[0].weights[7, 0])
    assert readings[1].weights[0, 1] == pytest.approx((60 + 12) / 1000)


def test_images_start_with_the_plates_and_keep_their_pace(folder: Path, store: Store, tmp_path: Path) -> None:
    write_bag(read_recording(folder, store), tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        frames = [frame for frame in image_frames(reader, "/") if frame.camera == "3"]
        infos = reader.topics_of("sensor_msgs/msg/CameraInfo")
    assert [frame.stamp_ns - frames[0].stamp_ns for frame in frames] == [number * 100_000_000 for number in range(FRAMES)]
    assert frames[0].stamp_ns == pytest.approx(START_S * 1e9, abs=300)
    assert [round(float(frame.image.mean()), -1) for frame in frames] == [20.0 * number for number in range(FRAMES)]
    assert [topic.count for topic in infos] == [FRAMES, FRAMES]


def test_what_does_not_fit_is_told(folder: Path, store: Store) -> None:
    notes = "\n".join(read_recording(folder, store).notes)
    assert "shelf 2/1 has no plate 10, 11, 12 in the layout: left out" in notes
    assert "shelf 9/9 is not in the layout: its 1 channels are left out" in notes
    assert "no video of camera 5, 7" in notes
    assert "no data of shelf 1/2, " in notes


def test_the_calibration_takes_the_place_of_the_stores_cameras(folder: Path, store: Store, tmp_path: Path) -> None:
    moved = dataclasses.replace(store.cameras["3"], pose=store.cameras["3"].pose @ np.diag([1.0, -1.0, -1.0, 1.0]))
    recording = read_recording(folder, store, {"1": store.cameras["1"], "3": moved})
    assert [note for note in recording.notes if "differs" in note] == [
        f"camera 3 differs from the store '{store.name}': the bag's copy of the store gets the calibration's"
    ]
    write_bag(recording, tmp_path / "bag")
    with BagReader(tmp_path / "bag") as reader:
        travelled = store_of(reader)
    assert list(travelled.cameras) == ["1", "3"]
    np.testing.assert_allclose(travelled.cameras["3"].pose, moved.pose, atol=1e-6)
    assert travelled.planogram == store.planogram


def test_batches_end_where_the_clock_jumps() -> None:
    t_s = np.concatenate([np.arange(5), np.arange(5, 35) + 0.5])
    series = ShelfSeries("1", "1", ("1",), np.round(t_s * 1e9).astype(np.int64), np.zeros((35, 1), np.float32))
    assert [len(reading.weights) for reading in series.readings()] == [5, 12, 12, 6]
    assert [reading.stamp_ns for reading in series.readings()] == [0, 5_500_000_000, 17_500_000_000, 29_500_000_000]


def test_a_failed_import_leaves_nothing(folder: Path, store: Store, tmp_path: Path) -> None:
    recording = read_recording(folder, store)
    longer = dataclasses.replace(recording.videos[0], frames=50)
    with pytest.raises(RecordingError, match=r"camera_1\.mp4: breaks off after 10 frames, expected 50"):
        write_bag(dataclasses.replace(recording, videos=(longer,)), tmp_path / "out" / "bag")
    assert list((tmp_path / "out").iterdir()) == []


def test_missing_things_are_named(folder: Path, store: Store, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="nowhere: no such folder"):
        read_recording(tmp_path / "nowhere", store)
    with pytest.raises(RecordingError, match=r"camera_1\.mp4: camera '1' has no calibration, expected one of: 3"):
        read_recording(folder, store, {"3": store.cameras["3"]})
    (folder / "plates.npz").unlink()
    with pytest.raises(RecordingError, match=r"plates\.npz: missing"):
        read_recording(folder, store)
    for video in folder.glob("*.mp4"):
        video.unlink()
    with pytest.raises(RecordingError, match=r"no camera_<id>\.mp4"):
        read_recording(folder, store)


def test_a_video_of_another_size_is_named(folder: Path, store: Store) -> None:
    write_video(folder / "camera_3.mp4", size=(320, 180))
    with pytest.raises(RecordingError, match=r"camera_3\.mp4: frames are 320 x 180 pixels, expected 640 x 360 as camera '3'"):
        read_recording(folder, store)


def test_a_broken_video_is_named(folder: Path, store: Store) -> None:
    (folder / "camera_3.mp4").write_bytes(b"no film")
    with pytest.raises(RecordingError, match=r"camera_3\.mp4: cannot be read as a video"):
        read_recording(folder, store)


UNEQUAL = np.tile(sample_times(), (25, 1))
UNEQUAL[3, 10] += 0.001
GAPS = np.tile(sample_times(), (25, 1))
GAPS[:, 10] = np.nan


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"t": UNEQUAL}, "shelf 2/1: its plates have different times"),
        ({"t": GAPS}, "shelf 2/1: 't' holds times out of range or NaN"),
        ({"t": UNEQUAL[:, :20]}, r"found plate \(25, 3\), t \(25, 20\), grams \(25, 60\)"),
        ({"plate": np.ones((25, 3), np.int16)}, "plate 1/1/1 stands in row 0 and in row 1"),
        ({"plate": np.ones((25, 3))}, "found types float64, float64, float32, expected whole numbers"),
    ],
)
def test_plate_files_that_do_not_fit(folder: Path, store: Store, changes: dict, complaint: str) -> None:
    write_plates(folder, **changes)
    with pytest.raises(RecordingError, match=complaint):
        read_recording(folder, store)


def test_what_is_no_plate_file_is_named(folder: Path, store: Store) -> None:
    np.savez(folder / "plates.npz", plate=np.zeros((1, 3), np.int16))
    with pytest.raises(RecordingError, match=r"plates\.npz: no array 't"):
        read_recording(folder, store)
    (folder / "plates.npz").write_bytes(b"PK no zip")
    with pytest.raises(RecordingError, match=r"plates\.npz: not a NumPy archive"):
        read_recording(folder, store)
