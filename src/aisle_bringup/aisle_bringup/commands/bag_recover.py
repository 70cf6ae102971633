"""./aisle bag recover: a whole bag out of what a crash left."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aisle_bags.bag_recovery import recover_bag
from aisle_bringup.bag_commands import add_output, bytes_progress, refuse_existing, report, told

SUMMARY = "Make a whole bag of what is readable after a crash, a power failure or damage, with metadata made anew"
EXAMPLE = "./aisle bag recover recording --out recording-recovered"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or storage file; it is not changed")
    add_output(parser, default="BAG-recovered")


@told
def run(args: argparse.Namespace) -> int:
    out = args.out or args.bag.resolve().with_name(f"{args.bag.resolve().name.split('.')[0]}-recovered")
    refuse_existing(out)
    with bytes_progress("recovering", args.bag) as advance:
        recovery = recover_bag(args.bag, out, advance)
    for note in recovery.notes:
        print(f"note: {note}", file=sys.stderr)
    if not recovery.notes:
        print("the bag was whole", file=sys.stderr)
    report(out, [])
    return 0
