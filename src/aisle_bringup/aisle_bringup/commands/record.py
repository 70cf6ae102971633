"""./aisle record: records a running store's topics into a bag."""

from __future__ import annotations

import argparse
from pathlib import Path

from aisle_bringup.command import CommandError
from aisle_bringup.commands.up import POLL_S, LinePrinter, node_environment, process_specs
from aisle_bringup.graph import RECORDED_IMAGES, GraphError, GraphOptions, NodeSpec
from aisle_bringup.processes import Processes
from aisle_contract.stop_request import StopRequest
from aisle_store.store_files import StoreError, load_store

SUMMARY = "Record a running store's topics into an MCAP bag, until Ctrl-C"
EXAMPLE = "./aisle record --store config/stores/nanostore-2019-11 --out my-recording"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the store; a copy travels in the bag")
    parser.add_argument("--out", type=Path, required=True, metavar="BAG", help="folder of the new bag; with --ring of the saved bags")
    parser.add_argument("--include", default="", metavar="REGEX", help="only topics in whose names it is found (default: the store's)")
    parser.add_argument("--exclude", default="", metavar="REGEX", help="leave out topics in whose names it is found")
    parser.add_argument("--images", choices=RECORDED_IMAGES, default="all", help="masked: people are hidden by a mosaic (default: all)")
    parser.add_argument("--image-form", choices=("compressed", "raw", "both"), default="compressed", help="(default: compressed)")
    parser.add_argument("--compression", choices=("zstd", "lz4", "none"), default="zstd", help="of the bag (default: zstd)")
    parser.add_argument("--split-mb", type=float, default=0.0, metavar="MB", help="begin a new file at this size")
    parser.add_argument("--split-s", type=float, default=3600.0, metavar="S", help="begin a new file after this time (default: 3600)")
    parser.add_argument(
        "--ring", type=float, default=0.0, metavar="S", help="keep only the last S seconds, saved on an alert, a review or recorder/save"
    )
    parser.add_argument("--namespace", default="", metavar="NAME", help="ROS namespace of the store's graph, for example /shop")


def run(args: argparse.Namespace) -> int:
    """0 after Ctrl-C or SIGTERM, with a closed bag; 1 if the recorder crashed; 2 if it could not start."""
    try:
        options = GraphOptions(store=args.store, sensors="none", namespace=args.namespace)
        load_store(args.store)
    except (GraphError, StoreError) as error:
        raise CommandError(str(error)) from None
    if args.out.exists():
        raise CommandError(f"{args.out} exists already: a bag is never overwritten, give another name or remove it")
    recorder = NodeSpec(
        package="aisle_bags",
        executable="recorder_node",
        name="recorder",
        group="recorder",
        parameters={
            "store": str(args.store.resolve()),
            "output": str(args.out.resolve()),
            "include": args.include,
            "exclude": args.exclude,
            "images": args.images,
            "image_form": args.image_form,
            "compression": args.compression,
            "split_megabytes": args.split_mb,
            "split_s": args.split_s,
            "ring_s": args.ring,
        },
        namespace=options.namespace,
    )
    stop = StopRequest()
    with Processes(process_specs([recorder], options.composition, options.log_level), LinePrinter(), node_environment()) as processes:
        while processes.running and not stop.asked:
            processes.poll(POLL_S)
    if processes.misconfigured:
        return 2
    return 1 if processes.crashed else 0
