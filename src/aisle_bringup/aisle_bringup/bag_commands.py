"""What the parts of ``./aisle bag`` share: errors as one line, progress, choices of format."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aisle_bags.bag_errors import BagError
from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_writer import UnknownCompression
from aisle_bags.core_settings import SettingsError
from aisle_bringup.command import CommandError
from aisle_bringup.progress import progress
from aisle_contract.records import NANOSECONDS
from aisle_store.store_files import StoreError

#: Fewer messages are read before anybody could look at a bar.
_WORTH_A_BAR = 20_000
_STEP = 1000
_WORTH_A_BAR_MB = 100
_MEGABYTE = 1_000_000


def told(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command's ``run`` whose errors about bags and files become one line for people, with exit code 2."""

    @functools.wraps(run)
    def wrapped(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except (BagError, FileExistsError, StoreError, SettingsError, UnknownCompression) as error:
            raise CommandError(printable(str(error))) from None
        except OSError as error:
            raise CommandError(f"{error.filename or 'the bag'}: {error.strerror or error}") from None

    return wrapped


def printable(text: str) -> str:
    """Text out of a bag, in which anything can stand, without what would move the terminal's cursor or change its colours."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\x{ord(sign):02x}" for sign in text)


@contextmanager
def whole_progress(what: str, total: int, worth: int = _WORTH_A_BAR) -> Iterator[Callable[[int], None]]:
    """Progress by numbers of messages, where there are at least ``worth``."""
    if total < worth:
        yield lambda count: None
        return
    with progress(what, total) as advance:
        waiting = 0

        def advanced(count: int) -> None:
            nonlocal waiting
            waiting += count
            if waiting >= min(_STEP, worth):
                advance(waiting)
                waiting = 0

        yield advanced
        advance(waiting)


@contextmanager
def bytes_progress(what: str, path: Path) -> Iterator[Callable[[int], None]]:
    """Progress in megabytes of a bag's files, for bags that cannot be opened yet."""
    files = [path] if path.is_file() else [file for file in path.glob("*") if file.is_file()]
    total_mb = sum(file.stat().st_size for file in files) // _MEGABYTE
    if total_mb < _WORTH_A_BAR_MB:
        yield lambda size: None
        return
    with progress(f"{what}, MB", total_mb) as advance:
        waiting = 0

        def advanced(size: int) -> None:
            nonlocal waiting
            waiting += size
            if waiting >= _MEGABYTE:
                advance(waiting // _MEGABYTE)
                waiting %= _MEGABYTE

        yield advanced


def add_output(parser: argparse.ArgumentParser, default: str = "") -> None:
    """``--out``: with ``default``, it may be left out."""
    parser.add_argument(
        "--out", type=Path, required=not default, metavar="BAG", help=f"folder of the new bag{f' (default: {default})' if default else ''}"
    )


def add_format(parser: argparse.ArgumentParser) -> None:
    """``--storage`` and ``--compression`` of a new bag."""
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), help="format (default: that of the bag)")
    parser.add_argument(
        "--compression",
        choices=("none", "zstd", "lz4", "file", "message"),
        help="of MCAP's chunks: zstd (default), lz4 or none; of SQLite, by Zstandard: none (default), file or message",
    )


def refuse_existing(path: Path) -> None:
    """Found out now and not after minutes of work."""
    if path.exists():
        raise CommandError(f"{path} exists already: a bag is never overwritten, give another name or remove it")


def report(out: Path, notes: list[str]) -> None:
    """What a new bag holds."""
    for note in dict.fromkeys(notes):
        print(f"note: {note}", file=sys.stderr)
    with BagReader(out) as reader:
        duration_s = 0.0 if reader.start_ns is None else (reader.end_ns - reader.start_ns) / NANOSECONDS
        print(f"{out}: {reader.message_count} messages, {duration_s:.3f} s, {reader.storage}, {reader.size_bytes / 1e6:.1f} MB")
