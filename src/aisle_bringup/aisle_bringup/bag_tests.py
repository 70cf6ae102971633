"""The work behind ``./aisle test --bags``."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from aisle_bags.bag_case import BagCaseError, find_cases
from aisle_bags.bag_reader import BagError
from aisle_bags.case_runs import CaseResult, run_cases
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bringup.case_report import print_details, print_results
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import progress
from aisle_checkout.receipt_files import ReceiptFileError


def test_bags(folder: Path, parameters: Path | None) -> int:
    """0 if all bags in a folder give what they must, else 1. Raises CommandError for what cannot be replayed."""
    if not folder.exists() and not folder.is_absolute():
        folder = repository_root() / folder
    try:
        settings = load_settings(parameters or repository_root() / "config" / "graph.yaml")
        folders = find_cases(folder)
        with progress("replaying", len(folders)) as advance:

            def done(result: CaseResult) -> None:
                advance(1, note=result.case.name)

            results = run_cases(folders, settings, len(os.sched_getaffinity(0)), done)
    except (BagCaseError, BagError, ReceiptFileError, SettingsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None
    console = Console()
    print_results(console, results)
    for result in results:
        print_details(console, result)
    failed = sum(not result.passed for result in results)
    print(f"bags: {len(results) - failed} of {len(results)} as expected")
    return 1 if failed else 0
