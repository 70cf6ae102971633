"""./aisle replay: a bag to receipts, offline by default, or played into the live graph."""

from __future__ import annotations

import argparse
import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aisle_bags.bag_reader import BagError, BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bags.offline import OfflineResult
from aisle_bags.replay import plan_replay, replay
from aisle_bags.replay_files import CartsFile, TracksFile
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import Advance, progress
from aisle_checkout.receipt_files import read_receipt, receipt_path, write_receipt
from aisle_contract.records import NANOSECONDS, Alert, Cart, Receipt, ReceiptStatus, Record, Tracks
from aisle_perception.detector import SPECIFICATIONS, CameraDetectors, DetectorError
from aisle_store.store_files import StoreError, load_store

SUMMARY = "Replay a bag: the same cores make the same receipts; --live plays it into the running graph's nodes"
EXAMPLE = "./aisle replay bags/cps-test-4-nominal-0 --receipts /tmp/receipts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or MCAP file")
    parser.add_argument("--receipts", type=Path, metavar="DIR", help="write one <session>.json per shopper here")
    parser.add_argument("--carts", type=Path, metavar="FILE", help="write every state of every cart, as JSON lines")
    parser.add_argument("--tracks", type=Path, metavar="FILE", help="write where everybody was, as CSV (m, frame store)")
    parser.add_argument(
        "--from",
        dest="start_from",
        choices=("detections", "weights", "images", "events"),
        metavar="STAGE",
        help="compute from here on: images (with --detector), detections, weights (tracks as recorded) or events (tracks and shelf "
        "events as recorded); what was recorded of later stages is ignored (default: images with --detector, else detections)",
    )
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the store (default: the one that travels in the bag)")
    parser.add_argument("--detector", metavar="KIND:PATH", help=f"find persons in the bag's images: {SPECIFICATIONS}")
    parser.add_argument("--namespace", metavar="NAME", help="of the store's topics, where the bag holds several stores")
    parser.add_argument("--live", action="store_true", help="start the store's graph and play the bag into it, with /clock")
    parser.add_argument("--rate", type=_rate, default=1.0, metavar="X", help="with --live: times the recorded speed (default: 1)")
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="S", help="with --live: begin so long after the first message, s")
    parser.add_argument("--pause", action="store_true", help="with --live: begin standing still; the player's services go on")
    parser.add_argument("--loop", action="store_true", help="with --live: begin anew at the end, until Ctrl-C")
    parser.add_argument(
        "--remap", type=_remapping, action="append", default=[], metavar="A:=B", help="with --live: play topic A under the name B"
    )
    parser.add_argument(
        "--jobs", type=int, choices=(1, 2, 3), help="processes for an offline replay (default: 3, but 1 for short recordings)"
    )
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="ROS parameter file of the cores (default: config/graph.yaml)")


def run(args: argparse.Namespace) -> int:
    _check(args)
    if args.live:
        # Imported here: offline replay does without the graph.
        from aisle_bringup.live_replay import replay_live

        code = replay_live(args)
        if args.receipts is not None:
            _print_receipts([read_receipt(file) for file in sorted(args.receipts.glob("*.json"))], args.receipts)
        return code
    try:
        result = _replayed(args)
        for receipt in result.receipts if args.receipts is not None else ():
            write_receipt(receipt, args.receipts)
    except (BagError, StoreError, DetectorError, SettingsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename or args.receipts}: {error.strerror or error}") from None
    _report(result, args.receipts)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Found out now and not after minutes of work."""
    if args.receipts is not None and args.receipts.exists() and not args.receipts.is_dir():
        raise CommandError(f"{args.receipts}: is a file, expected a folder for receipts")
    for file in (args.carts, args.tracks):
        if file is not None and file.is_dir():
            raise CommandError(f"{file}: is a folder, expected a file to write")
    if args.live and (args.start_from or args.carts or args.tracks):
        raise CommandError("--from, --carts and --tracks belong to a replay offline: leave out --live, or record its topics")
    if not args.live and (args.start or args.pause or args.loop or args.remap or args.rate != 1.0):
        raise CommandError("--rate, --start, --pause, --loop and --remap belong to a replay into the running graph: add --live")
    if args.start_from == "images" and not args.detector:
        raise CommandError("--from images needs a person detector: name it with --detector")
    if args.detector and args.start_from not in (None, "images"):
        raise CommandError(f"--from {args.start_from} takes what is recorded: leave out --detector, or use --from images")


def _replayed(args: argparse.Namespace) -> OfflineResult:
    with BagReader(args.bag) as reader, ExitStack() as files:
        store = load_store(args.store) if args.store else store_of(reader)
        settings = load_settings(args.parameters or repository_root() / "config" / "graph.yaml")
        settings = settings if args.carts else settings.without_open_carts()
        detectors = CameraDetectors(args.detector) if args.detector else None
        plan = plan_replay(reader, args.namespace or reader.namespace(), _start(args))
        kept = _Kept(
            files.enter_context(CartsFile(args.carts)) if args.carts else None,
            files.enter_context(TracksFile(args.tracks)) if args.tracks else None,
        )
        began = time.monotonic()
        with progress("replaying", max(round(plan.span_ns / NANOSECONDS), 1)) as advance:
            shown = _Shown(advance, reader.start_ns or 0, began)
            result = replay(reader, plan, store, settings, detectors, kept.take, shown.up_to, processes=args.jobs)
        result.records = kept.records
        recorded_s = plan.span_ns / NANOSECONDS
        print(f"{recorded_s:.1f} s of recording from {_start(args)}, {_speed(recorded_s, time.monotonic() - began)}")
    return result


def _start(args: argparse.Namespace) -> str:
    return args.start_from or ("images" if args.detector else "detections")


class _Kept:
    """Of what a replay publishes, what is shown at the end; the rest goes into files or nowhere: a recording may last for days."""

    def __init__(self, carts: CartsFile | None, tracks: TracksFile | None) -> None:
        self._carts, self._tracks = carts, tracks
        self.records: list[Record] = []

    def take(self, record: Record) -> None:
        if isinstance(record, Tracks):
            if self._tracks is not None:
                self._tracks.add(record)
        elif isinstance(record, Cart):
            if self._carts is not None:
                self._carts.add(record)
        elif isinstance(record, (Receipt, Alert)):
            self.records.append(record)


class _Shown:
    """Progress in whole seconds of the recording."""

    def __init__(self, advance: Advance, start_ns: int, began: float) -> None:
        self._advance, self._began = advance, began
        self._start_ns = start_ns
        self._seconds = 0

    def up_to(self, stamp_ns: int) -> None:
        seconds = (stamp_ns - self._start_ns) // NANOSECONDS
        if seconds > self._seconds:
            self._advance(seconds - self._seconds, note=_speed(seconds, time.monotonic() - self._began))
            self._seconds = seconds


def _speed(recorded_s: float, elapsed_s: float) -> str:
    return f"{recorded_s / max(elapsed_s, 1e-3):.1f} x real time"


def _report(result: OfflineResult, folder: Path | None) -> None:
    for warning in dict.fromkeys(result.warnings):
        print(f"warning: {warning}", file=sys.stderr)
    for alert in result.alerts:
        print(f"{alert.level.name.lower()}: {alert.source}: {alert.text}", file=sys.stderr)
    _print_receipts(result.receipts, folder)


def _print_receipts(receipts: list[Receipt], folder: Path | None) -> None:
    console = Console()
    for receipt in receipts:
        console.print(_table(receipt))
    if folder is None:
        print(f"receipts: {len(receipts)}, none written (--receipts DIR writes them)")
        return
    written = {receipt_path(receipt, folder) for receipt in receipts}
    others = sum(file not in written for file in folder.glob("*.json")) if folder.is_dir() else 0
    print(f"receipts in {folder}: {len(receipts)}" + (f" (and {others} that were there before)" if others else ""))


def _table(receipt: Receipt) -> Table:
    status = "for review" if receipt.status == ReceiptStatus.REVIEW else "charged"
    who = receipt.shopper or "anonymous shopper"
    table = Table("product", title=f"{receipt.session}: {who}, {receipt.total} {receipt.currency}, {status}")
    for heading in ("quantity", "total", "probability"):
        table.add_column(heading, justify="right")
    for line in receipt.lines:
        table.add_row(line.name, str(line.quantity), line.total, f"{line.probability:.3f}")
    return table


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.01 <= rate <= 100:
        raise argparse.ArgumentTypeError(f"found '{text}', expected 0.01 .. 100")
    return rate


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise argparse.ArgumentTypeError(f"found '{text}', expected seconds from 0 on")
    return seconds


def _remapping(text: str) -> tuple[str, str]:
    source, separator, target = text.partition(":=")
    name = r"[~/]?[A-Za-z_/][A-Za-z0-9_/]*"
    if not separator or not re.fullmatch(name, source) or not re.fullmatch(name, target):
        raise argparse.ArgumentTypeError(f"found '{text}', expected two names such as /tracks:=/old/tracks")
    return source, target
