"""``./aisle bench``: runs the benchmarks in ``benchmarks/``. Each has TITLE and ``measure() -> {name with unit: figure}``.

``./aisle bench track`` compares trackers (the part ``bench_track``); it needs packages of others and is run only when it is named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
from pathlib import Path
from typing import Any

from aisle_bringup.command import CommandError, load, repository_root

SUMMARY = "Measure speed: the offline chain against real time, fusion, filters against filterpy; trackers against those of others"
EXAMPLE = """./aisle bench kalman_filters --json figures.json
  ./aisle bench track --json figures.json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(_benchmarks())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {names}; or track alone")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures to this file")


def run(args: argparse.Namespace) -> int:
    # Found out now and not after minutes of work.
    if args.json is not None and not args.json.parent.is_dir():
        raise CommandError(f"{args.json}: there is no folder {args.json.parent}, expected one to write into")
    figures = load("bench_track").measure() if args.names == ["track"] else _measured(args.names)
    if args.json is not None:
        _write(args.json, figures)
    return 0


def _measured(names: list[str]) -> dict[str, Any]:
    known = _benchmarks()
    for name in names:
        if name == "track":
            raise CommandError("the benchmark 'track' goes alone: ./aisle bench track")
        if name not in known:
            raise CommandError(f"unknown benchmark '{name}', expected one of {', '.join(known)}, or track")
    figures: dict[str, dict[str, float]] = {}
    for name in names or known:
        module = runpy.run_path(str(known[name]))
        print(f"{name}: {module['TITLE']}", flush=True)
        figures[name] = module["measure"]()
        width = max(map(len, figures[name]))
        for what, value in figures[name].items():
            print(f"  {what:{width}}  {value:12.3f}", flush=True)
    machine = {"processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    return {"machine": machine, "figures": figures}


def _write(path: Path, figures: dict[str, Any]) -> None:
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_text(json.dumps(figures, indent=2) + "\n")
        unfinished.replace(path)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {error.strerror}") from error


def _benchmarks() -> dict[str, Path]:
    return {file.stem: file for file in sorted((repository_root() / "benchmarks").glob("*.py"))}
