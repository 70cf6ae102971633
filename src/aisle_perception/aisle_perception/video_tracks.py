"""People in recorded videos followed over the store's floor, by the same detectors and the same tracker as the nodes.

videos = open_videos({"1": Path("camera_1.mp4"), "3": Path("camera_3.mp4")}, Path("calibration.json"))
followed = track_videos(store, videos, CameraDetectors("openvino:person-detection-retail-0013.xml"))
write_tracks(followed, Path("tracks.csv"))
"""

from __future__ import annotations

import csv
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aisle_contract.records import NANOSECONDS, PersonDetections, StepResult, Track, Tracks
from aisle_perception.detector import CameraDetectors, CameraFrame
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_perception.video_files import Video, VideoError, read_header
from aisle_store.import_nanostore import read_calibration
from aisle_store.store import Store

#: Shortest time step of the tracker, as in ``TrackerConfig``.
SHORTEST_STEP_S = 0.01
_POINTS = ("head", "left_wrist", "right_wrist")
COLUMNS = ("frame", "t_s", "id", "x_m", "y_m", *(f"{point}_{axis}_m" for point in _POINTS for axis in "xyz"))


@dataclass(frozen=True, eq=False)
class FollowedVideos:
    """``tracks`` in the order of their stamps, which count from the videos' start; ``rate_hz`` of the fastest video."""

    tracks: tuple[Tracks, ...]
    rate_hz: float
    warnings: tuple[str, ...]

    def identities(self) -> dict[str, int]:
        """Numbers of the tracks from 1, in the order in which they begin."""
        names = (track.track for tracks in self.tracks for track in tracks.tracks)
        return {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}

    def paths(self) -> dict[str, np.ndarray]:
        """Each track's way on the floor, float64 [N, 2] m, by the number it has in the table."""
        places: dict[str, list[np.ndarray]] = {}
        for tracks in self.tracks:
            for track in tracks.tracks:
                places.setdefault(track.track, []).append(track.position)
        return {str(number): np.array(places[name]) for name, number in self.identities().items()}


def open_videos(files: Mapping[str, Path], calibration: Path) -> list[Video]:
    """Videos by camera id, with the cameras of a calibration in the NanoStore's format (docs/store-format.md).

    Raises VideoError for a file that is missing or no video and for a camera that is not calibrated, StoreError for a bad calibration.
    """
    if not files:
        raise VideoError("no videos given, expected at least one")
    return [_open(camera, path, calibration) for camera, path in files.items()]


def track_videos(
    store: Store,
    videos: Sequence[Video],
    detectors: CameraDetectors,
    config: TrackerConfig | None = None,
    advance: Callable[[int], object] = lambda frames: None,
) -> FollowedVideos:
    """Follows the people of all videos. ``advance(n)`` is called after each ``n`` frames. Raises VideoError for a file that breaks off.

    The videos' cameras take the place of the store's: a camera without a video sees nothing and must not be waited for. Unless ``config``
    is given, every frame makes a time step, also those of fast videos.
    """
    rate_hz = max(video.rate_hz for video in videos)
    if config is None:
        usual = TrackerConfig()
        config = dataclasses.replace(usual, output_period_s=min(usual.output_period_s, max(1.0 / rate_hz, SHORTEST_STEP_S)))
    tracker = PersonTracker(dataclasses.replace(store, cameras={video.camera.camera: video.camera for video in videos}), config)
    result = StepResult()
    for detections in _detections(videos, detectors):
        for found in detections:
            result.extend(tracker.step(found))
        advance(len(detections))
    result.extend(tracker.flush())
    tracks = tuple(record for record in result.records if isinstance(record, Tracks))
    return FollowedVideos(tracks, rate_hz, tuple(result.warnings))


def write_tracks(followed: FollowedVideos, path: Path) -> None:
    """Writes the table ``COLUMNS``: one row per person and time step, metres in the store's frame; what is not known is empty.

    ``frame`` counts from 0 in the rate of the fastest video. The file appears whole or not at all. Raises OSError.
    """
    numbers = followed.identities()
    unfinished = path.with_name(path.name + ".part")
    try:
        with unfinished.open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(COLUMNS)
            for tracks in followed.tracks:
                t_s = tracks.stamp_ns / NANOSECONDS
                for track in tracks.tracks:
                    table.writerow([round(t_s * followed.rate_hz), f"{t_s:.3f}", numbers[track.track], *_coordinates(track)])
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _coordinates(track: Track) -> Iterator[str]:
    yield from (f"{value:.4f}" for value in track.position)
    for name in _POINTS:
        point = getattr(track, name)
        yield from ("", "", "") if point is None else (f"{value:.4f}" for value in point.position)


def _open(name: str, path: Path, calibration: Path) -> Video:
    if not path.is_file():
        raise VideoError(f"{path}: no such file, expected the video of camera '{name}'")
    header = read_header(path)
    cameras = read_calibration(calibration, header.size, header.rate_hz)
    if name not in cameras:
        raise VideoError(f"{path}: camera '{name}' is not in {calibration}, expected one of {', '.join(cameras)}")
    return Video(path, cameras[name], header.rate_hz, header.frames)


def _detections(videos: Sequence[Video], detectors: CameraDetectors) -> Iterator[list[PersonDetections]]:
    """Detections of all videos in the order of their stamps; frames of one time together, so that they can be detected in one call."""
    frames = heapq.merge(*(_frames(video) for video in videos), key=lambda frame: frame.stamp_ns)
    for _, together in itertools.groupby(frames, key=lambda frame: frame.stamp_ns):
        yield detectors.detect_batch(list(together))


def _frames(video: Video) -> Iterator[CameraFrame]:
    return (CameraFrame(video.camera.camera, stamp_ns, image) for stamp_ns, image in video.images())
