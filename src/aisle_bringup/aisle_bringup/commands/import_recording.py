"""./aisle import recording: a bag from a recorded day's videos and plate series."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aisle_bags.import_recording import RecordingError, read_recording, write_bag
from aisle_bringup.command import CommandError
from aisle_bringup.progress import progress
from aisle_store.import_nanostore import read_calibration
from aisle_store.store_documents import StoreError
from aisle_store.store_files import load_store

SUMMARY = "Make a bag of a recording: camera_<id>.mp4 and plates.npz, as the AiFi NanoStore data set's are"
EXAMPLE = (
    "./aisle import recording nanostore/2020-01 --calibration nanostore_2020-01.json --store config/stores/nanostore-2020-01 "
    "--out recording && ./aisle replay recording --detector onnx:yolox_nano.onnx --receipts receipts"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with camera_<id>.mp4 and plates.npz")
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="the store that it was recorded in")
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="JSON",
        help="cameras with K (normalised), Tw (inches), dist_coeffs; they take the place of the store's cameras",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder of the new bag")
    parser.add_argument("--image-size", type=_image_size, default=(640, 360), metavar="WxH", help="of the calibration (default: 640x360)")
    parser.add_argument(
        "--jpeg-quality", type=int, choices=range(50, 101), default=95, metavar="50..100", help="of the images (default: 95)"
    )


def run(args: argparse.Namespace) -> int:
    if args.out.exists():
        raise CommandError(f"{args.out} exists already: a bag is never overwritten, give another name or remove it")
    try:
        store = load_store(args.store)
        calibration = read_calibration(args.calibration, args.image_size, rate_hz=10.0) if args.calibration else None
        recording = read_recording(args.folder, store, calibration)
        for note in recording.notes:
            print(f"note: {note}", file=sys.stderr)
        with progress("writing", recording.messages) as advance:
            write_bag(recording, args.out, args.jpeg_quality, written=advance)
    except (StoreError, RecordingError, FileExistsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or args.out}: {error.strerror or error}") from None
    size_mb = sum(file.stat().st_size for file in args.out.iterdir()) / 1e6
    print(f"{args.out}: {len(recording.videos)} cameras, {len(recording.shelves)} shelves, {size_mb:.0f} MB")
    return 0


def _image_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"found '{text}', expected for example 640x360")
    return int(width), int(height)
