"""./aisle bag merge: several bags in one."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from aisle_bags.bag_copies import BagFormat, merge_bags
from aisle_bags.bag_reader import BagReader
from aisle_bringup.bag_commands import add_format, add_output, refuse_existing, report, told, whole_progress
from aisle_bringup.command import CommandError

SUMMARY = "Merge bags into one, by time; what several of them have comes once"
EXAMPLE = "./aisle bag merge left-wall right-wall --out both-walls"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="folders or storage files")
    add_output(parser)
    add_format(parser)


@told
def run(args: argparse.Namespace) -> int:
    refuse_existing(args.out)
    if len(args.bags) < 2:
        raise CommandError(f"only one bag given ({args.bags[0]}), expected two or more")
    with ExitStack() as stack:
        readers = [stack.enter_context(BagReader(path)) for path in args.bags]
        advance = stack.enter_context(whole_progress("merging", sum(reader.message_count for reader in readers)))
        notes = merge_bags(readers, args.out, BagFormat(args.storage, args.compression), advance)
    report(args.out, notes)
    return 0
