"""./aisle bag export: what was recorded, as tables."""

from __future__ import annotations

import argparse
from pathlib import Path

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_export import available_tables, export_tables
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_tables import TABLES
from aisle_bags.table_files import FORMATS, FormatNotInstalled, require_format
from aisle_bringup.bag_commands import told, whole_progress
from aisle_bringup.command import CommandError

SUMMARY = "Write tracks, weights, events, detections, carts, receipts as tables (CSV, Parquet)"
EXAMPLE = "./aisle bag export bags/cps-test-4-nominal-0 --tables weights gate_events --out tables"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or storage file")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files; made where it is not there")
    parser.add_argument(
        "--tables", nargs="+", choices=tuple(TABLES), metavar="TABLE", help=f"of {', '.join(TABLES)} (default: all that the bag has)"
    )
    parser.add_argument("--format", choices=FORMATS, default="csv", help="default: csv; parquet needs ./aisle --with parquet")
    parser.add_argument("--namespace", metavar="NAME", help="of the store's topics, where the bag holds several stores")


@told
def run(args: argparse.Namespace) -> int:
    try:
        require_format(args.format)
    except FormatNotInstalled as error:
        raise CommandError(str(error)) from None
    with BagReader(args.bag) as reader:
        namespace = args.namespace or reader.namespace()
        available = available_tables(reader, namespace)
        tables = _chosen(args, available)
        _refuse_existing(args, tables)
        args.out.mkdir(parents=True, exist_ok=True)
        with whole_progress("exporting", sum(available[name] for name in tables)) as advance:
            rows = export_tables(reader, namespace, tables, args.out, args.format, advance)
    for name, count in rows.items():
        print(f"{args.out / f'{name}.{args.format}'}: {count} rows")
    return 0


def _chosen(args: argparse.Namespace, available: dict[str, int]) -> list[str]:
    if not available:
        raise BagError(f"{args.bag}: holds no tracks, weights, events, detections, carts or receipts")
    missing = [name for name in args.tables or () if name not in available]
    if missing:
        raise BagError(f"{args.bag}: holds no {' and no '.join(missing)}, but {', '.join(available)}")
    return list(dict.fromkeys(args.tables or available))


def _refuse_existing(args: argparse.Namespace, tables: list[str]) -> None:
    for name in tables:
        file = args.out / f"{name}.{args.format}"
        if file.exists():
            raise CommandError(f"{file} exists already: give another folder or remove it")
