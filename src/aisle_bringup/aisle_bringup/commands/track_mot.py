"""``./aisle track --mot``: MOTChallenge detections in, MOTChallenge tracks out."""

from __future__ import annotations

import argparse

from aisle_bringup.command import CommandError
from aisle_bringup.progress import progress
from aisle_perception.mot_files import MotFileError, read_boxes, write_tracks
from aisle_perception.mot_tracks import MotTracksConfig, track_boxes

SUMMARY = "Boxes of a MOTChallenge file (a part of ./aisle track)"
RATE_HZ = 25.0


def track(args: argparse.Namespace) -> int:
    try:
        boxes = read_boxes(args.mot)
    except MotFileError as error:
        raise CommandError(str(error)) from None
    with progress("tracking", boxes.last_frame) as advance:
        result = track_boxes(boxes, args.rate or RATE_HZ, MotTracksConfig(hindsight=not args.online), advance)
    write_tracks(args.out, [(row.frame, row.track, row.box, row.score) for row in result.rows])
    paths = result.paths()
    if args.plot is not None:
        from aisle_viz.track_plot import plot_image_paths

        plot_image_paths(paths, args.plot)
    filled = sum(not row.seen for row in result.rows)
    print(f"{result.frames} frames, {result.detections} detections: {len(paths)} tracks, {len(result.rows)} boxes ({filled} filled in)")
    return 0
