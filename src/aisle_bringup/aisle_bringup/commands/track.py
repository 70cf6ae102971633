"""``./aisle track``: people followed in files. Its three kinds of input are ``track_mot``, ``track_floor`` and ``track_video``."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from aisle_bringup.command import CommandError, load

SUMMARY = "Follow people: boxes of a MOTChallenge file, places on a floor, or videos of calibrated cameras"
EXAMPLE = """./aisle track --mot det.txt --out tracks.txt --rate 25
  ./aisle track --floor detections.csv --out tracks.csv --rate 2 --plot tracks.png
  ./aisle track --video 1=cam_1.mp4 --video 3=cam_3.mp4 --calibration calibration.json --store config/stores/nanostore-2020-01 \\
      --detector openvino:person-detection-retail-0013.xml --out tracks.csv"""

_PICTURES = (".jpeg", ".jpg", ".pdf", ".png", ".svg")
#: Options that belong to one kind of input only.
_VIDEO_ONLY = ("calibration", "store", "detector")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--mot", type=Path, metavar="DET.txt", help="MOTChallenge detections: frame,id,left,top,width,height,confidence")
    kind.add_argument("--floor", type=Path, metavar="DETECTIONS.csv", help="places on a floor: frame,x_m,y_m[,sigma_m][,camera]")
    kind.add_argument(
        "--video", action="extend", nargs="+", metavar="CAM=FILE", help="videos that begin together, with the names of their cameras"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="file for the tracks, in the same kind of format")
    parser.add_argument("--rate", type=_rate, metavar="HZ", help="frames per second of the detections (default: --mot 25, --floor 10)")
    parser.add_argument("--online", action="store_true", help="judge each frame by those up to it only, as the live graph does")
    parser.add_argument("--calibration", type=Path, metavar="JSON", help="with --video: the cameras")
    parser.add_argument("--store", type=Path, metavar="DIR", help="with --video: folder of the store")
    parser.add_argument("--detector", metavar="SPEC", help="with --video: openvino:PATH, onnx:PATH, torch:PATH or motion")
    parser.add_argument("--plot", type=Path, metavar="PICTURE", help="also draw the trajectories (.png, .svg, .pdf)")


def run(args: argparse.Namespace) -> int:
    """Checks what can be checked before minutes of work, then runs the part for this kind of input."""
    given = [name for name in _VIDEO_ONLY if getattr(args, name) is not None]
    if args.video is None and given:
        raise CommandError(f"--{given[0]} goes with --video only")
    if args.video is not None:
        if missing := [name for name in _VIDEO_ONLY if getattr(args, name) is None]:
            raise CommandError(f"--video needs --{' and --'.join(missing)}")
        if args.rate is not None or args.online:
            raise CommandError(
                f"--{'online' if args.online else 'rate'} does not go with --video: videos tell their rate and are judged online"
            )
    for option, path in (("--out", args.out), ("--plot", args.plot)):
        if path is not None and not path.parent.is_dir():
            raise CommandError(f"{option} {path}: there is no folder {path.parent}, expected one to write into")
    if args.plot is not None and args.plot.suffix.lower() not in _PICTURES:
        raise CommandError(f"--plot {args.plot}: unknown kind of picture '{args.plot.suffix}', expected one of {', '.join(_PICTURES)}")
    kind = "mot" if args.mot is not None else "floor" if args.floor is not None else "video"
    try:
        return load(f"track_{kind}").track(args)
    except OSError as error:
        raise CommandError(f"{error.filename or args.out}: {error.strerror or error}") from None


def _rate(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0.0):
        raise argparse.ArgumentTypeError(f"'{text}' is no rate, expected more than 0 Hz")
    return value
