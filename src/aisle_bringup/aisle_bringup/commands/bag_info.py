"""./aisle bag info: what is in a bag, as a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aisle_bags.bag_info import DROPPED, BagInfo, TopicInfo, bag_info
from aisle_bags.bag_reader import BagReader
from aisle_bringup.bag_commands import printable, told, whole_progress
from aisle_contract.records import NANOSECONDS

SUMMARY = "Topics, rates, gaps, drops and duration of a bag"
EXAMPLE = "./aisle bag info bags/cps-test-4-nominal-0"


_PLAIN_WIDTH = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or storage file (*.mcap, *.db3), also compressed (.zstd)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


@told
def run(args: argparse.Namespace) -> int:
    with BagReader(args.bag) as reader, whole_progress("looking through", reader.message_count) as advance:
        info = bag_info(reader, advance)
    if args.json:
        print(json.dumps(info.as_json(), indent=2))
    else:
        _print(info)
    return 0


def _print(info: BagInfo) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        # Whoever reads a file or a pipe wants whole names.
        console = Console(width=_PLAIN_WIDTH, highlight=False)
    for line in _heading(info):
        console.print(printable(line), markup=False)
    console.print(_table(info))
    if info.dropped:
        console.print(f"{info.dropped} messages were dropped while recording", style="bold red")


def _heading(info: BagInfo) -> Iterator[str]:
    version = "none" if info.metadata_version is None else f"version {info.metadata_version}"
    compression = "" if info.compression == "none" else f", {info.compression}s compressed"
    size_mb = sum(size for _, size in info.files) / 1e6
    yield f"{info.path}: {info.storage}{compression}, metadata {version}, {size_mb:.1f} MB in {len(info.files)} file(s)"
    if info.start_ns is None:
        yield "no messages"
    else:
        yield f"{_utc(info.start_ns)} to {_utc(info.end_ns or 0)}: {info.duration_s:.3f} s, {info.message_count} messages"
    if info.attachments:
        yield f"with {', '.join(name for name, _ in info.attachments)}"
    for key, value in info.custom_data.items():
        if not key.startswith(DROPPED):
            yield f"{key}: {value}"


def _table(info: BagInfo) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("topic", overflow="fold", min_width=20)
    table.add_column("type", overflow="fold", min_width=10)
    for heading in ("messages", "Hz", "gaps", "longest, s", "at, s", "drops"):
        table.add_column(heading, justify="right", no_wrap=True)
    for topic in info.topics:
        table.add_row(*(Text(printable(cell)) for cell in _row(topic, info.start_ns or 0)))
    return table


def _row(info: TopicInfo, start_ns: int) -> tuple[str, ...]:
    name = f"{info.topic.name} (latched)" if info.topic.latched else info.topic.name
    rate = "-" if info.rate_hz is None else f"{info.rate_hz:.4g}"
    gaps = "-" if info.gaps is None else str(info.gaps)
    longest = "-" if info.longest_ns is None else f"{info.longest_ns / NANOSECONDS:.3f}"
    at = "-" if info.longest_start_ns is None else f"{(info.longest_start_ns - start_ns) / NANOSECONDS:.3f}"
    return name, info.topic.type, str(info.count), rate, gaps, longest, at, str(info.dropped)


def _utc(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, NANOSECONDS)
    try:
        moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{rest // 1_000_000:03} UTC"
