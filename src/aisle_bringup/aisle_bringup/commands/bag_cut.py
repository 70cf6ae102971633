"""./aisle bag cut: a part of a bag, by time or by visit."""

from __future__ import annotations

import argparse
import fnmatch
import sys
from datetime import datetime, timezone
from pathlib import Path

from aisle_bags.bag_copies import BagFormat, cut_bag
from aisle_bags.bag_errors import BagError
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import store_of
from aisle_bags.bag_visits import Visit, computed_visits, find_visit, logged_span, recorded_visits
from aisle_bags.core_settings import load_settings
from aisle_bringup.bag_commands import add_format, add_output, refuse_existing, report, told, whole_progress
from aisle_bringup.command import CommandError, repository_root
from aisle_contract.records import NANOSECONDS
from aisle_store.store_files import load_store

SUMMARY = "Cut a part out of a bag, by time or by visit; what was latched before and the store come along"
EXAMPLE = "./aisle bag cut bags/cps-test-4-nominal-0 --session shopper_1 --margin 2 --out one-visit"
#: Numbers from here on are nanoseconds since the epoch: as seconds they would be 30 million years.
_NANOSECONDS_FROM = 10**15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    time_help = "seconds from the bag's start (negative: from its end), nanoseconds since the epoch, or ISO 8601 (UTC without offset)"
    parser.add_argument("bag", type=Path, metavar="BAG", help="folder or storage file")
    parser.add_argument("--from", dest="start", metavar="TIME", help=f"first time: {time_help} (default: the start)")
    parser.add_argument("--to", dest="end", metavar="TIME", help="last time, in the same forms (default: the end)")
    parser.add_argument("--session", metavar="NAME", help="session id, or a shopper who came once: from entry to exit")
    parser.add_argument("--margin", type=float, default=5.0, metavar="S", help="with --session: so much before and after (default: 5)")
    parser.add_argument("--topics", nargs="+", metavar="PATTERN", help="only topics that match, for example '/shelves/*' (default: all)")
    parser.add_argument("--namespace", metavar="NAME", help="with --session: of the store's topics, where the bag holds several stores")
    parser.add_argument("--store", type=Path, metavar="DIR", help="with --session: folder of the store (default: the one in the bag)")
    add_output(parser)
    add_format(parser)


@told
def run(args: argparse.Namespace) -> int:
    refuse_existing(args.out)
    if args.session and (args.start or args.end):
        raise CommandError("--session gives the times itself: leave out --from and --to, or --session")
    if args.margin < 0:
        raise CommandError(f"--margin is {args.margin:g}, expected 0 or more")
    with BagReader(args.bag) as reader:
        if reader.start_ns is None or reader.end_ns is None:
            raise BagError(f"{reader.path}: holds no messages, nothing can be cut out")
        start_ns, end_ns = _session_span(reader, args) if args.session else _span(reader, args.start, args.end)
        topics = _matching(reader, args.topics)
        with whole_progress("copying", reader.message_count) as advance:
            notes = cut_bag(reader, args.out, start_ns, end_ns, BagFormat(args.storage, args.compression), topics=topics, read=advance)
    report(args.out, notes)
    return 0


def _span(reader: BagReader, start: str | None, end: str | None) -> tuple[int, int]:
    start_ns = reader.start_ns if start is None else _time_ns(reader, "--from", start)
    end_ns = reader.end_ns if end is None else _time_ns(reader, "--to", end)
    if start_ns > end_ns:
        raise CommandError(f"--from ({start_ns} ns) is after --to ({end_ns} ns)")
    return start_ns, end_ns


def _time_ns(reader: BagReader, option: str, text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        return _iso_ns(option, text)
    if abs(number) >= _NANOSECONDS_FROM:
        return int(text) if text.strip().isdecimal() else round(number)
    if number != number:
        raise CommandError(f"{option} is '{text}', expected a time")
    return (reader.end_ns if text.strip().startswith("-") else reader.start_ns) + round(number * NANOSECONDS)


def _iso_ns(option: str, text: str) -> int:
    try:
        # Python 3.10 does not know the Z.
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        expected = "seconds, nanoseconds since the epoch, or ISO 8601 as 2020-01-31T22:24:05.500"
        raise CommandError(f"{option} is '{text}', expected {expected}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def _session_span(reader: BagReader, args: argparse.Namespace) -> tuple[int, int]:
    namespace = args.namespace or reader.namespace()
    visit = _visit(reader, namespace, args.session, args.store)
    margin_ns = round(args.margin * NANOSECONDS)
    start_ns, end_ns = logged_span(reader, namespace, visit.entered_ns - margin_ns, (visit.left_ns or visit.entered_ns) + margin_ns)
    if visit.left_ns is None:
        print(f"note: {visit.session} has not left: the bag is cut to its end", file=sys.stderr)
        end_ns = reader.end_ns
    return max(start_ns, reader.start_ns), min(end_ns, reader.end_ns)


def _visit(reader: BagReader, namespace: str, wanted: str, folder: Path | None) -> Visit:
    visits = recorded_visits(reader, namespace)
    if not visits:
        span_ns = reader.end_ns - reader.start_ns
        with whole_progress("replaying, because the bag holds no carts", max(span_ns // NANOSECONDS, 1), worth=60) as advance:
            last_ns = reader.start_ns

            def taken(time_ns: int) -> None:
                nonlocal last_ns
                if time_ns - last_ns >= NANOSECONDS:
                    advance((time_ns - last_ns) // NANOSECONDS)
                    last_ns = time_ns

            settings = load_settings(repository_root() / "config" / "graph.yaml")
            store = load_store(folder) if folder else store_of(reader)
            visits = computed_visits(reader, namespace, store, settings, taken)
    return find_visit(visits, wanted, str(reader.path))


def _matching(reader: BagReader, patterns: list[str] | None) -> list[str] | None:
    if patterns is None:
        return None
    found = [name for name in reader.topics if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    if not found:
        raise BagError(f"{reader.path}: no topic matches {', '.join(patterns)}; './aisle bag info' lists them")
    return found
