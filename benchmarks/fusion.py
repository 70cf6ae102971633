"""Fusion as store and crowd grow: events per second, latency from the last weight sample to the cart, memory over a day.

docs/benchmarks.md says what exactly is measured.
"""

from __future__ import annotations

import gc
import heapq
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks" / "shopping"))

from floor_shoppers import FloorShoppers  # noqa: E402

from aisle_bags.core_settings import CoreSettings, load_settings  # noqa: E402
from aisle_contract.records import NANOSECONDS, Cart, CartStatus, Record, ScaleReading, ShelfEvents  # noqa: E402
from aisle_fusion.cart_fusion import CartFusion  # noqa: E402
from aisle_fusion.shelf_monitor import ShelfMonitor  # noqa: E402
from aisle_sim.store_generator import StoreConfig, generate_store  # noqa: E402
from aisle_store.store import Store  # noqa: E402

TITLE = "Shelf monitor and cart fusion on made-up stores and crowds: cost, latency to the cart, memory over a day"

#: Plates -> floor area, m^2.
STORES = {306: 40.0, 1000: 60.0, 5000: 300.0}
CROWDS = (1, 5, 20, 50)
DAY_SHOPPERS, DAY_INSIDE = 1000, 20
_LATENCY_SHOPPERS_PER_PLACE = 1
_BATCH_NS = 11 * NANOSECONDS // 60


def measure() -> dict[str, float]:
    """Figures by name; units are in the names."""
    settings = load_settings(ROOT / "config" / "graph.yaml")
    figures: dict[str, float] = {}
    for plates, area in STORES.items():
        store = generate_store(StoreConfig(floor_area_m2=area, plates=plates), seed=1)
        for inside in CROWDS if plates == 1000 else (20,):
            name = f"{plates}_plates_{inside}_people"
            for what, value in {**_cost(store, settings, inside), **_latency(store, settings, inside)}.items():
                figures[f"{name}_{what}"] = value
    store = generate_store(StoreConfig(floor_area_m2=STORES[1000], plates=1000), seed=1)
    figures.update(_day(store, settings))
    return figures


def _cost(store: Store, settings: CoreSettings, inside: int) -> dict[str, float]:
    """Fusion alone, as fast as it goes."""
    floor = FloorShoppers(store, inside, visits=max(6, 2 * inside), seed=2)
    records = list(heapq.merge(floor.tracks(), floor.events(), floor.gates(), key=lambda record: record.stamp_ns))
    fusion = CartFusion(store, settings.cart_fusion)
    began = time.process_time()
    for record in records:
        fusion.step(record)
    fusion.flush()
    taken_s = time.process_time() - began
    events = sum(len(record.events) for record in records if isinstance(record, ShelfEvents))
    return {"fusion_events_per_s": events / taken_s, "fusion_times_real_time": floor.end_s / taken_s}


def _latency(store: Store, settings: CoreSettings, inside: int) -> dict[str, float]:
    """Monitor and fusion in one thread, fed at the rate of a live store on a clock of its own: the time of arrival of a record is that of
    its last sample, it waits until those before it are done, and takes as long as it does take."""
    floor = FloorShoppers(store, inside, visits=inside * _LATENCY_SHOPPERS_PER_PLACE, seed=3)
    records = heapq.merge(floor.tracks(), floor.readings(), floor.gates(), key=_arrival_ns)
    monitor, fusion = ShelfMonitor(store, settings.shelf_monitor), CartFusion(store, settings.cart_fusion)
    # As nodes do once they have started: what is loaded by then is not looked through for garbage any more.
    gc.collect()
    gc.freeze()
    free_ns, busy_ns, latencies_ms = 0, 0, []
    began_ns = None
    for record in records:
        arrival_ns = _arrival_ns(record)
        began_ns = arrival_ns if began_ns is None else began_ns
        before = time.process_time_ns()
        inputs = monitor.step(record).records if isinstance(record, ScaleReading) else [record]
        shown = [made for item in inputs for made in fusion.step(item).records if isinstance(made, Cart)]
        taken_ns = time.process_time_ns() - before
        free_ns = max(free_ns, arrival_ns) + taken_ns
        busy_ns += taken_ns
        if isinstance(record, ScaleReading) and any(cart.status == CartStatus.OPEN and cart.lines for cart in shown):
            latencies_ms.append((free_ns - arrival_ns) / 1e6)
    gc.unfreeze()
    share = busy_ns / max(free_ns - began_ns, 1)
    p50, p99 = np.percentile(latencies_ms, [50, 99]) if latencies_ms else (np.nan, np.nan)
    return {"cart_p50_ms": float(p50), "cart_p99_ms": float(p99), "share_of_one_core": share}


def _arrival_ns(record: Record) -> int:
    return record.stamp_ns + (_BATCH_NS if isinstance(record, ScaleReading) else 0)


def _day(store: Store, settings: CoreSettings) -> dict[str, float]:
    """Memory of the process while ``DAY_SHOPPERS`` come and go."""
    floor = FloorShoppers(store, DAY_INSIDE, DAY_SHOPPERS, seed=4)
    fusion = CartFusion(store, settings.cart_fusion)
    closed, found = 0, {}
    marks = {DAY_SHOPPERS // 10: "tenth", DAY_SHOPPERS // 2: "half", DAY_SHOPPERS: "end"}
    for record in heapq.merge(floor.tracks(), floor.events(), floor.gates(), key=lambda record: record.stamp_ns):
        closed += _closed(fusion.step(record).records)
        for visits in [visits for visits in marks if visits <= closed]:
            found[f"day_{DAY_SHOPPERS}_shoppers_memory_at_{marks.pop(visits)}_MB"] = _memory_mb()
    closed += _closed(fusion.flush().records)
    return {**found, "day_receipts": float(closed), "day_hours": floor.end_s / 3600}


def _closed(records: Iterable[Record]) -> int:
    return sum(isinstance(record, Cart) and record.status == CartStatus.CLOSED for record in records)


def _memory_mb() -> float:
    """Resident memory of this process."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    return kilobytes / 1024
