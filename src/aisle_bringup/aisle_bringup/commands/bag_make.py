"""./aisle bag make: scenarios to bags with their expected receipts."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from aisle_bags.bag_case import BagCaseError
from aisle_bags.core_settings import SettingsError, load_settings
from aisle_bags.scenario_case import make_case
from aisle_bringup.case_report import print_details
from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import progress
from aisle_sim.floor_motion import NoWayError
from aisle_sim.scenario import ScenarioError
from aisle_store.store_files import StoreError

SUMMARY = "Simulate scenarios and keep each as a bag with its truth and the receipts that the chain gives"
EXAMPLE = "./aisle bag make bags/scenarios/slow-pick.yaml --out bags"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenarios", type=Path, nargs="+", metavar="SCENARIO", help="YAML files (docs/bags.md)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder that gets one bag for each, named after the file")
    parser.add_argument("--again", action="store_true", help="make those anew that are there, with their tolerances and known faults")
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="ROS parameter file of the cores (default: config/graph.yaml)")


def run(args: argparse.Namespace) -> int:
    folders = {file: args.out / file.stem for file in args.scenarios}
    for folder in folders.values():
        if folder.exists() and not args.again:
            raise CommandError(f"{folder}: exists already, make it anew with --again or name another folder with --out")
    console = Console()
    unexplained = 0
    try:
        settings = load_settings(args.parameters or repository_root() / "config" / "graph.yaml")
        with progress("making", len(folders)) as advance:
            results = []
            for file, folder in folders.items():
                results.append(make_case(file, folder, repository_root() / "config" / "stores", settings))
                advance(1, note=folder.name)
    except (ScenarioError, StoreError, BagCaseError, NoWayError, SettingsError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None
    for result in results:
        for warning in result.warnings:
            console.print(f"warning: {result.case.name}: {warning}", highlight=False, markup=False)
        print_details(console, result)
        unexplained += not result.passed
        print(f"{result.case.folder}: {result.recorded_s:.1f} s, {len(result.receipts)} receipts")
    if unexplained:
        print(f"{unexplained} of {len(results)} give receipts that are not true: see above; ./aisle bag accept BAG --known-wrong REASON")
    return 0
