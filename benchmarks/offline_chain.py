"""The whole offline chain on one re-enacted session: how much faster than real time, and how long one record takes."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from aisle_bags.core_settings import load_settings
from aisle_bags.offline import OfflineRunner, in_event_order
from aisle_contract.records import NANOSECONDS
from aisle_sim.labelled_sessions import load_sessions
from aisle_sim.simulator import simulate
from aisle_store.store_files import load_store

TITLE = "Offline chain on the first re-enacted session of the shipped store, nominal sensors"

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"


def measure() -> dict[str, float]:
    """Figures by name; units are in the names."""
    store = load_store(STORE)
    simulated = simulate(store, load_sessions(STORE / "sessions.json")[0])
    records = in_event_order(simulated.records)
    runner = OfflineRunner(store, load_settings(ROOT / "config" / "graph.yaml"))
    taken_ms: dict[str, list[float]] = defaultdict(list)
    began = time.perf_counter()
    for record in records:
        before = time.perf_counter()
        runner.feed(record)
        taken_ms[type(record).__name__].append(1e3 * (time.perf_counter() - before))
    runner.finish()
    elapsed_s = time.perf_counter() - began
    session_s = (simulated.end_ns - simulated.start_ns) / NANOSECONDS
    figures = {
        "session_s": session_s,
        "records": len(records),
        "elapsed_s": elapsed_s,
        "times_real_time": session_s / elapsed_s,
    }
    for kind, times in sorted(taken_ms.items()):
        figures[f"{kind}_mean_ms"] = float(np.mean(times))
        figures[f"{kind}_p99_ms"] = float(np.percentile(times, 99))
    return figures
