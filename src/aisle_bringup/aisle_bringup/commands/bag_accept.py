"""./aisle bag accept: what a bag gives today becomes what it must give, after somebody has looked at the difference."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from aisle_bags.bag_case import BagCaseError, KnownWrong, find_cases, load_case, same_bytes, write_document, write_expected
from aisle_bags.bag_reader import BagError
from aisle_bags.case_runs import CaseResult, run_case
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bringup.case_report import print_details
from aisle_bringup.command import CommandError, repository_root
from aisle_checkout.receipt_files import ReceiptFileError

SUMMARY = "Renew the expected receipts of a bag, after showing what changed"
EXAMPLE = "./aisle bag accept bags/slow-pick"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bags", type=Path, nargs="+", metavar="BAG", help="folders with a case.yaml, or folders of such (docs/bags.md)")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--known-wrong", metavar="REASON", help="why receipts that are not true are accepted all the same")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="ROS parameter file of the cores (default: config/graph.yaml)")


def run(args: argparse.Namespace) -> int:
    refused = 0
    try:
        settings = load_settings(args.parameters or repository_root() / "config" / "graph.yaml")
        for folder in (case for path in args.bags for case in find_cases(path)):
            refused += not _accepted(args, run_case(load_case(folder), settings))
    except (BagCaseError, BagError, ReceiptFileError, SettingsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None
    return 1 if refused else 0


def _accepted(args: argparse.Namespace, result: CaseResult) -> bool:
    """Whether the bag's expectation is now what it gives."""
    name = result.case.folder
    if result.passed and same_bytes(result.receipts, result.case.expected):
        print(f"{name}: as expected, nothing to renew")
        return True
    if result.passed:
        print(f"{name}: within its tolerances")
    print_details(Console(), result)
    if result.wrong and not args.known_wrong:
        print(f"{name}: not renewed: its receipts are not true. Say why that is to be expected: --known-wrong REASON", file=sys.stderr)
        return False
    if not args.yes and not _asked(f"{name}: renew what is expected?"):
        print(f"{name}: not renewed")
        return False
    _renew(result, args.known_wrong)
    print(f"{name}: renewed")
    return True


def _asked(question: str) -> bool:
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody can be asked here: give --yes")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _renew(result: CaseResult, reason: str | None) -> None:
    case = result.case
    write_expected(case.folder, result.receipts)
    kept = tuple(line for line in case.document.known_wrong if line not in result.right_now)
    new = tuple(
        KnownWrong(shopper=line.shopper, product=line.product, expected=line.expected, found=line.found, reason=reason)
        for line in result.wrong
    )
    if kept + new != case.document.known_wrong:
        write_document(case.folder, case.document.model_copy(update={"known_wrong": kept + new}))
