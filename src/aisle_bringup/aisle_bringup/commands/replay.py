"""./aisle replay: a bag to receipts, offline by default, or played into the live graph."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from aisle_bags.bag_reader import BagError, BagReader, RawMessage
from aisle_bags.bag_store import store_of
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bags.offline import OfflineResult, OfflineRunner
from aisle_bags.replay import plan_replay, replay_records
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import progress
from aisle_checkout.receipt_files import read_receipt, receipt_path, write_receipt
from aisle_contract.records import NANOSECONDS, Receipt, ReceiptStatus
from aisle_perception.detector import SPECIFICATIONS, CameraDetectors, DetectorError
from aisle_store.store_files import StoreError, load_store

SUMMARY = "Replay a bag: the same cores make the same receipts; --live plays it into the running graph's nodes"
EXAMPLE = "./aisle replay bags/cps-test-4-nominal-0 --receipts /tmp/receipts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or MCAP file")
    parser.add_argument("--receipts", type=Path, metavar="DIR", help="write one <session>.json per shopper here")
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the store (default: the one that travels in the bag)")
    parser.add_argument("--detector", metavar="KIND:PATH", help=f"find persons in the bag's images: {SPECIFICATIONS}")
    parser.add_argument("--namespace", metavar="NAME", help="of the store's topics, where the bag holds several stores")
    parser.add_argument("--live", action="store_true", help="start the store's graph and play the bag into it, with /clock")
    parser.add_argument("--rate", type=_rate, default=1.0, metavar="X", help="with --live: times the recorded speed (default: 1)")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="ROS parameter file of the cores (default: config/graph.yaml)")


def run(args: argparse.Namespace) -> int:
    # Found out now and not after minutes of work.
    if args.receipts is not None and args.receipts.exists() and not args.receipts.is_dir():
        raise CommandError(f"{args.receipts}: is a file, expected a folder for receipts")
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


def _replayed(args: argparse.Namespace) -> OfflineResult:
    with BagReader(args.bag) as reader:
        store = load_store(args.store) if args.store else store_of(reader)
        settings = load_settings(args.parameters or repository_root() / "config" / "graph.yaml")
        detectors = CameraDetectors(args.detector) if args.detector else None
        plan = plan_replay(reader, args.namespace or reader.namespace(), detectors is not None)
        began, start_ns = time.monotonic(), reader.start_ns or 0
        with progress("reading", plan.messages) as advance:

            def read(message: RawMessage) -> None:
                advance(1, note=_speed((message.log_time_ns - start_ns) / NANOSECONDS, time.monotonic() - began))

            records = replay_records(reader, plan, detectors, read)
        runner = OfflineRunner(store, settings)
        with progress("replaying", len(records)) as advance:
            result = runner.run(records, taken=lambda record: advance(1))
        print(f"{plan.span_ns / NANOSECONDS:.1f} s of recording, {_speed(plan.span_ns / NANOSECONDS, time.monotonic() - began)}")
    return result


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
