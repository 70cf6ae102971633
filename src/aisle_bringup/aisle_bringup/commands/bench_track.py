"""``./aisle bench track``: our trackers beside those that one can install instead, on the same boxes in the same run."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from aisle_bringup.command import CommandError, repository_root
from aisle_bringup.progress import progress
from aisle_perception.mot_files import MotFileError

SUMMARY = "Trackers of others beside ours (a part of ./aisle bench)"


def measure() -> dict[str, Any]:
    """All figures, printed as they come; the keys ``targets``, ``sequences``, ``floor`` and ``machine``.

    Raises CommandError where the trackers of others are not installed.
    """
    boxes, floor = _part("image_boxes"), _part("floor_cameras")
    console = Console(soft_wrap=True)
    figures: dict[str, Any] = {"targets": _targets(boxes)}
    console.print(_targets_table(figures["targets"]))
    figures["sequences"] = _sequences(boxes)
    for name, results in figures["sequences"].items():
        console.print(_scores_table(name, results))
    figures["floor"] = _floor(floor)
    console.print(_floor_table(figures["floor"]))
    return {**figures, "machine": _machine()}


def _part(name: str) -> ModuleType:
    folder = str(repository_root() / "benchmarks" / "tracking")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise CommandError(
            f"the Python package '{error.name}' is missing, with which ours is compared: ./aisle --with bench bench track installs it"
        ) from error


def _targets(boxes: ModuleType) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    with progress("milliseconds per frame", len(boxes.TARGETS) * boxes.REPEATS * len(boxes.trackers())) as advance:
        for targets in boxes.TARGETS:
            taken = boxes.milliseconds(targets, advance)
            figures[str(targets)] = {"aisle_ms": taken.pop("aisle"), "peers_ms": taken}
    return figures


def _sequences(boxes: ModuleType) -> dict[str, dict[str, Any]]:
    folder = repository_root().parent / "shared" / "data" / "mot15"
    found = sorted(path for path in folder.glob("*") if (path / "gt" / "gt.txt").is_file())
    if not found:
        print(f"sequences: skipped, there are no MOTChallenge folders (NAME/det/det.txt, NAME/gt/gt.txt) in {folder}")
        return {}
    figures = {}
    with progress("labelled sequences", len(found)) as advance:
        for path in found:
            figures[path.name] = _scores(boxes, path)
            advance(1, note=path.name)
    return figures


def _scores(boxes: ModuleType, path: Path) -> dict[str, Any]:
    try:
        return boxes.scores(boxes.Sequence.read(path))
    except MotFileError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror or error}") from None


def _floor(floor: ModuleType) -> dict[str, dict[str, float]]:
    steps = round(floor.SECONDS * floor.RATE_HZ)
    figures = {}
    with progress("cameras on the floor", steps * len(floor.HALLS)) as advance:
        for cameras, people in floor.HALLS.items():
            figures[str(cameras)] = floor.measure(cameras, people, advance)
    return figures


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    except OSError:
        pass
    return {"processor": model, "processors": os.cpu_count(), "python": platform.python_version()}


def _targets_table(figures: dict[str, dict[str, Any]]) -> Table:
    table = Table(title="Milliseconds per frame, by number of targets", title_justify="left")
    table.add_column("tracker")
    for targets in figures:
        table.add_column(targets, justify="right")
    table.add_row("aisle", *(f"{row['aisle_ms']:.3f}" for row in figures.values()))
    for name in next(iter(figures.values()))["peers_ms"]:
        table.add_row(name, *(f"{row['peers_ms'][name]:.3f}" for row in figures.values()))
    table.add_row("fastest peer / aisle", *(f"{min(row['peers_ms'].values()) / row['aisle_ms']:.1f}" for row in figures.values()))
    return table


def _scores_table(name: str, results: dict[str, dict[str, float]]) -> Table:
    table = Table(title=name, title_justify="left")
    table.add_column("tracker")
    for column in ("IDF1", "MOTA", "switches"):
        table.add_column(column, justify="right")
    for tracker, row in results.items():
        table.add_row(tracker, f"{row['idf1']:.3f}", f"{row['mota']:.3f}", str(row["switches"]))
    return table


def _floor_table(figures: dict[str, dict[str, float]]) -> Table:
    table = Table(title="Cameras on the floor, 10 Hz, with keypoints", title_justify="left")
    for column in ("cameras", "people", "detections per step", "ms per step", "95 %", "share of one core"):
        table.add_column(column, justify="right")
    for cameras, row in figures.items():
        times = (f"{row['step_ms']:.1f}", f"{row['step_ms_95']:.1f}", f"{100 * row['core_share']:.0f} %")
        table.add_row(cameras, f"{row['people']}", f"{row['detections_per_step']:.0f}", *times)
    return table
