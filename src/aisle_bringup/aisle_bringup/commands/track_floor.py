"""``./aisle track --floor``: places on a floor in, trajectories out."""

from __future__ import annotations

import argparse

import numpy as np

from aisle_bringup.command import CommandError
from aisle_perception.floor_tracks import FloorFileError, FloorPosition, FloorTracksConfig, read_detections, track_floor, write_positions

SUMMARY = "Places on a floor (a part of ./aisle track)"
RATE_HZ = 10.0


def track(args: argparse.Namespace) -> int:
    config = FloorTracksConfig(lookback_s=0.0) if args.online else FloorTracksConfig()
    try:
        rows = read_detections(args.floor)
    except FloorFileError as error:
        raise CommandError(str(error)) from None
    positions, frames, _ = track_floor(rows, args.rate or RATE_HZ, config)
    write_positions(args.out, positions)
    paths = _paths(positions)
    if args.plot is not None:
        from aisle_viz.track_plot import plot_floor_paths

        plot_floor_paths(paths, args.plot)
    unseen = sum(not position.seen for position in positions)
    print(f"{frames} frames, {len(rows)} detections: {len(paths)} tracks, {len(positions)} places ({unseen} between sightings)")
    return 0


def _paths(positions: list[FloorPosition]) -> dict[str, np.ndarray]:
    by_track: dict[int, list[tuple[float, float]]] = {}
    for position in positions:
        by_track.setdefault(position.track, []).append((position.x_m, position.y_m))
    return {str(track): np.array(places) for track, places in sorted(by_track.items())}
