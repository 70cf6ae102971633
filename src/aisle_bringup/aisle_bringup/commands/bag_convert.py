"""./aisle bag convert: a bag in another format."""

from __future__ import annotations

import argparse
from pathlib import Path

from aisle_bags.bag_copies import BagFormat, convert_bag
from aisle_bags.bag_reader import BagReader
from aisle_bringup.bag_commands import add_format, add_output, refuse_existing, report, told, whole_progress

SUMMARY = "Write a bag as MCAP or SQLite, with another compression, with today's metadata and the message definitions that it lacks"
EXAMPLE = "./aisle bag convert old-recording --storage mcap --out recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or storage file")
    add_output(parser)
    add_format(parser)


@told
def run(args: argparse.Namespace) -> int:
    refuse_existing(args.out)
    with BagReader(args.bag) as reader, whole_progress("copying", reader.message_count) as advance:
        notes = convert_bag(reader, args.out, BagFormat(args.storage, args.compression), advance)
    report(args.out, notes)
    return 0
