"""Makes a bag with its expected receipts from a scenario (``aisle_sim.scenario``)."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from aisle_bags.bag_case import BagCase, CaseDocument, Tolerances, load_case, write_document, write_expected
from aisle_bags.bag_store import attach_changed_store
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.case_runs import CaseResult, judged, run_case
from aisle_bags.core_settings import CoreSettings
from aisle_sim.scenario import PlayedScenario, Scenario, load_scenario, play
from aisle_store.store import Store
from aisle_store.store_files import load_store

#: What a change of a core may move without anybody having to look: decisions, amounts and products may not move at all.
_TOLERANCES = Tolerances(probability=0.1, weight_kg=0.01, distance_m=0.3, time_s=1.0)


def store_of_scenario(scenario: Scenario, file: Path, stores: Path) -> Store:
    """The scenario's store: a folder beside the file or below ``stores``. Raises StoreError."""
    beside = file.parent / scenario.store
    return load_store(beside if beside.is_dir() else stores / scenario.store)


def make_case(file: Path, folder: Path, stores: Path, settings: CoreSettings) -> CaseResult:
    """Writes the case ``folder``; one that is there is made anew, with its own tolerances and known faults.

    The expected receipts are those that the chain gives; the result tells where they differ from what was played.
    Raises ScenarioError, StoreError, BagCaseError for a folder that holds something else.
    """
    scenario = load_scenario(file)
    played = play(scenario, store_of_scenario(scenario, file, stores), str(file))
    before = load_case(folder).document if folder.exists() else None
    document = CaseDocument(
        title=scenario.title,
        shows=scenario.shows,
        source=f"simulated: {file.parent.name}/{file.name}",
        tolerances=before.tolerances if before else _TOLERANCES,
        truth=played.truth,
        known_wrong=before.known_wrong if before else (),
    )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write_bag(played, part / folder.name)
        write_document(part / folder.name, document)
        result = run_case(BagCase(part / folder.name, document, ()), settings)
        write_expected(part / folder.name, result.receipts)
        if folder.exists():
            shutil.rmtree(folder)
        (part / folder.name).rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    case = load_case(folder)
    again = judged(case, result.receipts)
    return replace(again, warnings=(*played.warnings, *result.warnings), recorded_s=result.recorded_s, elapsed_s=result.elapsed_s)


def _write_bag(played: PlayedScenario, folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    with BagWriter(folder) as writer:
        attach_changed_store(writer, played.store)
        for record in sorted(played.records, key=available_ns):
            writer.write_record(record)
