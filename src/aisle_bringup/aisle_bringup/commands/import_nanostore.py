"""./aisle import nanostore: a store's folder from the files of the AiFi NanoStore data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aisle_bringup.command import CommandError
from aisle_store.import_nanostore import import_nanostore
from aisle_store.store import Store
from aisle_store.store_documents import StoreError
from aisle_store.store_files import is_vacant, load_store, save_store

SUMMARY = "Make a store from the files of the AiFi NanoStore data set"
EXAMPLE = (
    "./aisle import nanostore --layout nanostore/layout --products nanostore/2019-11/products.csv "
    "--planogram nanostore/2019-11/planogram.csv --calibration nanostore/2019-11/calibration.json --out config/stores/my-store"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", type=Path, required=True, metavar="DIR", help="folder with gondolas.json, shelves.json, plates.json")
    parser.add_argument("--products", type=Path, required=True, metavar="CSV", help="catalogue: product,name,weight_g,price_usd")
    parser.add_argument("--planogram", type=Path, required=True, metavar="CSV", help="what stands where: gondola,shelf,plate,product")
    cameras = parser.add_mutually_exclusive_group()
    cameras.add_argument("--calibration", type=Path, metavar="JSON", help="cameras with K (normalised), Tw (inches), dist_coeffs")
    cameras.add_argument("--cameras-from", type=Path, metavar="STORE", help="take the cameras of this store instead")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", help="name of the store (default: name of the folder)")
    parser.add_argument("--gates", type=Path, metavar="FILE", help="YAML with gates, and where wanted floor and zones, as in store.yaml")
    parser.add_argument("--image-size", type=_image_size, default=(640, 360), metavar="WxH", help="pixels of the images (default: 640x360)")
    parser.add_argument("--rate", type=_rate, default=10.0, metavar="HZ", help="frames per second of the cameras (default: 10)")
    parser.add_argument("--force", action="store_true", help="replace the store files of an existing folder")


def run(args: argparse.Namespace) -> int:
    try:
        store = import_nanostore(
            name=args.name or args.out.resolve().name,
            layout=args.layout,
            products=args.products,
            planogram=args.planogram,
            calibration=args.calibration,
            cameras=load_store(args.cameras_from).cameras if args.cameras_from else None,
            floor_file=args.gates,
            image_size=args.image_size,
            rate_hz=args.rate,
        )
        if not args.force and not is_vacant(args.out):
            raise CommandError(f"{args.out}: exists and is not empty, expected a new folder; --force replaces its store files")
        save_store(store, args.out, overwrite=args.force)
    except StoreError as error:
        raise CommandError(str(error)) from None
    if not store.cameras:
        print("warning: no calibration given: the store has no cameras", file=sys.stderr)
    print(f"{args.out}: {_described(store)}")
    return 0


def _described(store: Store) -> str:
    shelves, plates = sum(1 for _ in store.shelves()), sum(1 for _ in store.plates())
    return (
        f"{len(store.gondolas)} gondolas, {shelves} shelves, {plates} plates, {len(store.cameras)} cameras, {len(store.gates)} gates, "
        f"{len(store.products)} products on {len(store.planogram)} plates"
    )


def _image_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"found '{text}', expected for example 640x360")
    return int(width), int(height)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise argparse.ArgumentTypeError(f"found '{text}', expected frames per second, above 0 and at most 1000")
    return rate
