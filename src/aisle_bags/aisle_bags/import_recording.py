"""Makes a bag of a recorded day as the NanoStore's are published: one video per camera and one file of plate series.

``camera_<id>.mp4``: frames at the rate in the file's header; all videos start with the plates, to about a frame.
``plates.npz``: ``plate`` int [N, 3] (gondola, shelf, plate), ``t`` float64 [N, S] s since the epoch, ``grams`` float32 [N, S] with
NaN = missing.

The store's scales send batches: within one, samples are evenly spaced; between two, the gap varies by tens of milliseconds. A reading
of the bag is such a batch, stamped with its first sample's own time.
"""

from __future__ import annotations

import dataclasses
import heapq
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aisle_bags.bag_store import attach_changed_store
from aisle_bags.bag_writer import BagWriter, absolute, available_ns
from aisle_contract import frames, topics
from aisle_contract.conversions import header_message
from aisle_contract.records import NANOSECONDS, ScaleReading
from aisle_drivers.conversions import camera_info, jpeg
from aisle_perception.video_files import Video, VideoError, read_header
from aisle_store.camera_model import Camera
from aisle_store.store import ShelfKey, Store

#: Samples per message of the store's scales.
BATCH_SAMPLES = 12
#: A step between samples that differs by more than this share from the usual one begins a new batch.
UNEVEN_STEP = 0.01
_VIDEO_NAME = re.compile(r"camera_(\w+)\.mp4")


class RecordingError(ValueError):
    """A recording cannot be used: the message names the file, what was found and what was expected."""


@dataclass(frozen=True)
class ShelfSeries:
    """One shelf's samples: ``t_ns`` int64 [S], ``weights`` float32 [S, plates] kg."""

    gondola: str
    shelf: str
    plates: tuple[str, ...]
    t_ns: np.ndarray
    weights: np.ndarray

    def readings(self) -> Iterator[ScaleReading]:
        """The series in the batches in which it was sent."""
        steps = np.diff(self.t_ns)
        period_ns = round(float(np.median(steps)))
        uneven = np.abs(steps - period_ns) > UNEVEN_STEP * period_ns
        start = 0
        for end in range(1, len(self.t_ns) + 1):
            if end == len(self.t_ns) or uneven[end - 1] or end - start == BATCH_SAMPLES:
                yield ScaleReading(int(self.t_ns[start]), self.gondola, self.shelf, period_ns, self.plates, self.weights[start:end])
                start = end


@dataclass(frozen=True)
class Recording:
    """What a recording's folder holds that its store can use; ``notes`` tell what was left out."""

    store: Store
    videos: tuple[Video, ...]
    shelves: tuple[ShelfSeries, ...]
    start_ns: int
    notes: tuple[str, ...]

    @property
    def messages(self) -> int:
        """About how many messages the bag will have (each image comes with its camera parameters), for progress."""
        return 2 * sum(video.frames for video in self.videos) + sum(len(shelf.t_ns) // BATCH_SAMPLES for shelf in self.shelves)


class _Entry(NamedTuple):
    """Something to be written: when, and how."""

    log_time_ns: int
    topic: str
    write: Callable[[BagWriter], None]


def read_recording(folder: Path, store: Store, calibration: dict[str, Camera] | None = None) -> Recording:
    """Opens a recording. The cameras of ``calibration`` take the place of the store's.

    Raises RecordingError for missing or unusable files and for a video without a calibrated camera.
    """
    if not folder.is_dir():
        raise RecordingError(f"{folder}: no such folder, expected one with camera_<id>.mp4 and plates.npz")
    notes: list[str] = []
    if calibration is not None:
        notes += _calibration_notes(store, calibration)
        store = dataclasses.replace(store, cameras=calibration)
    videos = tuple(_videos(folder, store))
    shelves = tuple(_shelf_series(folder / "plates.npz", store, notes))
    unseen = [camera for camera in store.cameras if camera not in {video.camera.camera for video in videos}]
    if unseen:
        notes.append(f"no video of camera {', '.join(unseen)}: the bag has no images of it")
    return Recording(store, videos, shelves, min(int(shelf.t_ns[0]) for shelf in shelves), tuple(notes))


def write_bag(recording: Recording, out: Path, jpeg_quality: int = 95, written: Callable[[], None] | None = None) -> None:
    """Writes images (JPEG), camera parameters, weights and the store to the new bag ``out``; it appears whole or not at all.

    ``written`` is called after each message. Raises FileExistsError, RecordingError for a video that breaks off.
    """
    with BagWriter(out) as writer:
        attach_changed_store(writer, recording.store)
        streams = [_video_entries(video, recording.start_ns, jpeg_quality) for video in recording.videos]
        streams += [_weight_entries(shelf) for shelf in recording.shelves]
        for entry in heapq.merge(*streams, key=lambda entry: entry[:2]):
            entry.write(writer)
            if written is not None:
                written()


def _calibration_notes(store: Store, calibration: dict[str, Camera]) -> Iterator[str]:
    for name, camera in calibration.items():
        known = store.cameras.get(name)
        if known is None:
            yield f"camera {name} is not in the store '{store.name}': the bag's copy of the store gets it from the calibration"
        elif not all(np.allclose(getattr(known, part), getattr(camera, part), atol=1e-6) for part in ("matrix", "distortion", "pose")):
            yield f"camera {name} differs from the store '{store.name}': the bag's copy of the store gets the calibration's"


def _videos(folder: Path, store: Store) -> Iterator[Video]:
    found = {match[1]: path for path in folder.iterdir() if (match := _VIDEO_NAME.fullmatch(path.name))}
    if not found:
        raise RecordingError(f"{folder}: no camera_<id>.mp4, expected a video of each camera")
    for name in sorted(found):
        if name not in store.cameras:
            known = ", ".join(store.cameras) or "none"
            raise RecordingError(
                f"{found[name]}: camera '{name}' has no calibration, expected one of: {known} (give it with --calibration)"
            )
        yield _video(found[name], store.cameras[name])


def _video(path: Path, camera: Camera) -> Video:
    try:
        header = read_header(path)
    except VideoError as error:
        raise RecordingError(str(error)) from error
    if header.size != (camera.width, camera.height):
        expected = f"{camera.width} x {camera.height} as camera '{camera.camera}' was calibrated for"
        raise RecordingError(f"{path}: frames are {header.size[0]} x {header.size[1]} pixels, expected {expected}")
    return Video(path, camera, header.rate_hz, header.frames)


def _shelf_series(path: Path, store: Store, notes: list[str]) -> Iterator[ShelfSeries]:
    plate, t, grams = _plate_arrays(path)
    rows: dict[ShelfKey, dict[str, int]] = {}
    for row, (gondola, shelf, name) in enumerate(plate):
        columns = rows.setdefault((str(gondola), str(shelf)), {})
        if str(name) in columns:
            raise RecordingError(
                f"{path}: plate {gondola}/{shelf}/{name} stands in row {columns[str(name)]} and in row {row}, expected once"
            )
        columns[str(name)] = row
    shelves = {shelf.key: shelf for shelf in store.shelves()}
    for key, columns in rows.items():
        where = "/".join(key)
        if key not in shelves:
            notes.append(f"shelf {where} is not in the layout: its {len(columns)} channels are left out")
            continue
        known = [name for name in columns if name in shelves[key].plates]
        extra = [name for name in columns if name not in shelves[key].plates]
        if extra:
            notes.append(f"shelf {where} has no plate {', '.join(extra)} in the layout: left out")
        missing = [name for name in shelves[key].plates if name not in columns]
        if missing:
            notes.append(f"shelf {where}: no data of plate {', '.join(missing)}")
        if known:
            picked = [columns[name] for name in known]
            yield ShelfSeries(*key, tuple(known), _sample_times(path, where, t[picked]), (grams[picked].T / 1000).astype(np.float32))
    silent = ["/".join(key) for key in shelves if key not in rows]
    if silent:
        notes.append(f"no data of shelf {', '.join(silent)}")


def _plate_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("plate", "t", "grams")}
    except FileNotFoundError as error:
        raise RecordingError(f"{path}: missing, expected the plates' series") from error
    except KeyError as error:
        raise RecordingError(f"{path}: no array {error}, expected plate, t and grams") from error
    except Exception as error:
        # NumPy lets through whatever its zip reader stumbles over.
        raise RecordingError(f"{path}: not a NumPy archive: {error}") from error
    plate, t, grams = arrays["plate"], arrays["t"], arrays["grams"]
    fits = plate.ndim == 2 and plate.shape[1] == 3 and t.ndim == 2 and t.shape == grams.shape and len(plate) == len(t)
    if not fits or t.shape[1] < 2 or not len(plate):
        shapes = f"plate {plate.shape}, t {t.shape}, grams {grams.shape}"
        raise RecordingError(f"{path}: found {shapes}, expected (N, 3), (N, S), (N, S) with at least one plate and two samples")
    if not (np.issubdtype(t.dtype, np.floating) and np.issubdtype(grams.dtype, np.floating) and np.issubdtype(plate.dtype, np.integer)):
        raise RecordingError(f"{path}: found types {plate.dtype}, {t.dtype}, {grams.dtype}, expected whole numbers, floats, floats")
    return plate, t, grams


def _sample_times(path: Path, shelf: str, t: np.ndarray) -> np.ndarray:
    """int64 [S] ns of one shelf from float64 [plates, S] s: one clock samples all plates of a shelf."""
    if not np.isfinite(t).all() or t.min() < 0 or t.max() >= 2**31:
        raise RecordingError(f"{path}: shelf {shelf}: 't' holds times out of range or NaN, expected seconds since 1970 below 2^31")
    if (t != t[0]).any():
        raise RecordingError(f"{path}: shelf {shelf}: its plates have different times, expected the same 't' for all plates of a shelf")
    # A double holds today's seconds to 0.2 microseconds; splitting first keeps the rest exact.
    whole = np.floor(t[0])
    return whole.astype(np.int64) * NANOSECONDS + np.round((t[0] - whole) * NANOSECONDS).astype(np.int64)


def _weight_entries(shelf: ShelfSeries) -> Iterator[_Entry]:
    topic = topics.weights(shelf.gondola, shelf.shelf).name
    for reading in shelf.readings():
        yield _Entry(available_ns(reading), topic, lambda writer, reading=reading: writer.write_record(reading))


def _video_entries(video: Video, start_ns: int, jpeg_quality: int) -> Iterator[_Entry]:
    image_topic = absolute(topics.compressed_image(video.camera.camera), "/")
    info_topic = absolute(topics.camera_info(video.camera.camera), "/")
    try:
        for since_start_ns, image in video.images():
            stamp_ns = start_ns + since_start_ns
            header = header_message(stamp_ns, frames.camera_optical(video.camera.camera))
            yield _Entry(stamp_ns, info_topic.name, _writing(info_topic, camera_info(video.camera, header), stamp_ns))
            yield _Entry(stamp_ns, image_topic.name, _writing(image_topic, jpeg(image, jpeg_quality, header), stamp_ns))
    except VideoError as error:
        raise RecordingError(str(error)) from error


def _writing(topic: topics.Topic, message: Any, stamp_ns: int) -> Callable[[BagWriter], None]:
    return lambda writer: writer.write_message(topic, message, stamp_ns)
