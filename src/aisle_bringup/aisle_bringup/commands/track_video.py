"""``./aisle track --video``: recorded videos of calibrated cameras in, persons on the store's floor out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aisle_bringup.command import CommandError
from aisle_bringup.progress import progress
from aisle_perception.detector import CameraDetectors
from aisle_perception.detector_runtimes import DetectorError
from aisle_perception.video_tracks import VideoError, open_videos, track_videos, write_tracks
from aisle_store.store_files import StoreError, load_store

SUMMARY = "Videos of calibrated cameras (a part of ./aisle track)"


def track(args: argparse.Namespace) -> int:
    files = _files(args.video)
    try:
        store = load_store(args.store)
        detectors = CameraDetectors(args.detector)
        videos = open_videos(files, args.calibration)
        with progress("tracking", sum(video.frames for video in videos)) as advance:
            followed = track_videos(store, videos, detectors, advance=advance)
    except (StoreError, DetectorError, VideoError) as error:
        raise CommandError(str(error)) from None
    for warning in dict.fromkeys(followed.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    write_tracks(followed, args.out)
    paths = followed.paths()
    if args.plot is not None:
        from aisle_viz.track_plot import plot_floor_paths

        plot_floor_paths(paths, args.plot, store)
    print(
        f"{sum(video.frames for video in videos)} frames of {len(videos)} cameras: {len(paths)} tracks in {len(followed.tracks)} time steps"
    )
    return 0


def _files(texts: list[str]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        camera, separator, path = text.partition("=")
        if not (camera and separator and path):
            raise CommandError(f"--video '{text}': expected CAMERA=FILE, for example 1=camera_1.mp4")
        if camera in files:
            raise CommandError(f"--video '{text}': camera '{camera}' already has the file {files[camera]}")
        files[camera] = Path(path)
    return files
