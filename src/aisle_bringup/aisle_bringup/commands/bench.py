"""``./aisle bench``: runs the benchmarks in ``benchmarks/``. Each has TITLE and ``measure() -> {name with unit: figure}``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
from pathlib import Path

from aisle_bringup.command import CommandError, repository_root

SUMMARY = "Measure speed: the offline chain against real time, the tracker's filters against filterpy"
EXAMPLE = "./aisle bench kalman_filters --json figures.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(_benchmarks())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {names}")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    known = _benchmarks()
    for name in args.names:
        if name not in known:
            raise CommandError(f"unknown benchmark '{name}', expected one of {', '.join(known)}")
    figures: dict[str, dict[str, float]] = {}
    for name in args.names or known:
        module = runpy.run_path(str(known[name]))
        print(f"{name}: {module['TITLE']}", flush=True)
        figures[name] = module["measure"]()
        width = max(map(len, figures[name]))
        for what, value in figures[name].items():
            print(f"  {what:{width}}  {value:12.3f}", flush=True)
    if args.json:
        machine = {"processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
        try:
            args.json.write_text(json.dumps({"machine": machine, "figures": figures}, indent=2) + "\n")
        except OSError as error:
            raise CommandError(f"{args.json}: cannot be written: {error.strerror}") from error
    return 0


def _benchmarks() -> dict[str, Path]:
    return {file.stem: file for file in sorted((repository_root() / "benchmarks").glob("*.py"))}
