"""The work behind ``./aisle test --bags``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from aisle_bags.bag_case import BagCase, BagCaseError, CaseDocument, find_cases, same_bytes
from aisle_bags.bag_reader import BagError
from aisle_bags.case_runs import CaseResult, judged, run_cases
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bringup.case_report import print_details, print_results
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.commands.test import environment
from aisle_bringup.progress import progress
from aisle_checkout.receipt_files import ReceiptFileError, read_receipt

#: At this speed a live replay of a small bag keeps up on two cores.
LIVE_RATE = 4.0


def replay_bags(folder: Path, parameters: Path | None, live: bool = False) -> int:
    """0 if all bags in a folder give what they must, else 1. Raises CommandError for what cannot be replayed.

    ``live``: each is also played into the store's graph, whose receipts must be those of the replay offline, byte for byte.
    """
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
    if live:
        failed += _played_live(console, results, parameters)
    return 1 if failed else 0


def _played_live(console: Console, results: list[CaseResult], parameters: Path | None) -> int:
    """How many bags gave other receipts live than offline."""
    differing = 0
    with progress("playing live", len(results)) as advance:
        for result in results:
            problem = live_problem(console, result, parameters)
            differing += problem is not None
            print(f"{result.case.name}: live {problem or 'as offline'}", flush=True)
            advance(1, note=result.case.name)
    return differing


def live_problem(console: Console, offline: CaseResult, parameters: Path | None = None, rate: float = LIVE_RATE) -> str | None:
    """Plays a case's bag into the store's graph; None if that gives the receipts that it gave offline, byte for byte.

    Differences are printed with the evidence of both sides.
    """
    with tempfile.TemporaryDirectory(prefix="aisle-live-") as scratch:
        folder = Path(scratch) / "receipts"
        arguments = ["replay", "--live", offline.case.folder, "--rate", rate, "--receipts", folder]
        arguments += ["--parameters", parameters] if parameters else []
        line = [sys.executable, "-m", "aisle_bringup.command", *map(str, arguments)]
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            return f"failed with exit code {done.returncode}: {said[-1]}"
        receipts = [read_receipt(file) for file in sorted(folder.glob("*.json"))]
    if same_bytes(receipts, offline.receipts):
        return None
    exact = CaseDocument(title=offline.case.document.title, shows="Live as offline, byte for byte.")
    print_details(console, judged(BagCase(offline.case.folder, exact, offline.receipts), receipts))
    return "differs from offline"
