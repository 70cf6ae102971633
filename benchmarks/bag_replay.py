"""A busy bag replayed offline, as ``./aisle replay`` does it, on one process and on three: time, and where it goes."""

from __future__ import annotations

import dataclasses
import random
import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import attach_changed_store, store_of
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.core_settings import CoreSettings, load_settings
from aisle_bags.event_order import EventOrder
from aisle_bags.replay import plan_replay, replay
from aisle_contract.records import NANOSECONDS
from aisle_fusion.cart_fusion import CartFusion
from aisle_fusion.shelf_monitor import ShelfMonitor
from aisle_perception.tracker import PersonTracker
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.simulator import simulate
from aisle_store.store import Store
from aisle_store.store_files import load_store

TITLE = "A bag of the NanoStore (12 cameras' detections, 306 plates, ten shoppers at once, simulated) replayed"

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"
CAMERAS, SHOPPERS, SHOPPING_S = 12, 10, 60.0
CORES = {"tracker": PersonTracker, "shelf_monitor": ShelfMonitor, "cart_fusion": CartFusion}


def measure() -> dict[str, float]:
    """Figures by name; units are in the names."""
    settings = load_settings(ROOT / "config" / "graph.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        bag = Path(scratch) / "busy"
        _make(bag)
        figures = _read_only(bag) | _parts(bag, settings)
        for processes in (1, 3):
            figures |= {
                f"{name}_{processes}_process{'es' if processes > 1 else ''}": value
                for name, value in _run(bag, settings, processes).items()
            }
        figures["command_s"] = _command(bag, Path(scratch) / "receipts")
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def _read_only(bag: Path) -> dict[str, float]:
    """Reading, decoding and sorting, without any core."""
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "detections")
        names = {topic.name for topic in plan.records}
        began = time.process_time()
        read = sum(len(some) for some in EventOrder((m.log_time_ns, m.topic, reader.record(m)) for m in reader.messages(names)))
        cpu_s = time.process_time() - began
    return {"recording_s": plan.span_ns / NANOSECONDS, "messages": read, "reading_cpu_s": cpu_s}


def _parts(bag: Path, settings: CoreSettings) -> dict[str, float]:
    """Seconds of processor time that each core takes, beginning and end included."""
    spent: Counter[str] = Counter()
    with _timed(spent):
        _run(bag, settings, 1)
    return {f"{name}_cpu_s": spent[name] for name in CORES}


@contextmanager
def _timed(spent: Counter[str]) -> Iterator[None]:
    """Meanwhile the cores' methods add the processor time that they take."""

    def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **keywords: Any) -> Any:
            began = time.process_time()
            try:
                return method(*arguments, **keywords)
            finally:
                spent[name] += time.process_time() - began

        return called

    methods = [(name, core, method, getattr(core, method)) for name, core in CORES.items() for method in ("__init__", "step", "flush")]
    for name, core, method, plain in methods:
        setattr(core, method, timed(name, plain))
    try:
        yield
    finally:
        for _, core, method, plain in methods:
            setattr(core, method, plain)


def _command(bag: Path, receipts: Path) -> float:
    """Seconds on the clock of the whole command, its start included."""
    began = time.perf_counter()
    subprocess.run([ROOT / "aisle", "replay", bag, "--receipts", receipts], check=True, capture_output=True)
    return time.perf_counter() - began


def _run(bag: Path, settings: CoreSettings, processes: int) -> dict[str, float]:
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "detections")
        store = store_of(reader)
        began, began_cpu = time.perf_counter(), _cpu_s()
        replay(reader, plan, store, settings.without_open_carts(), publish=lambda record: None, processes=processes)
        elapsed_s, cpu_s = time.perf_counter() - began, _cpu_s() - began_cpu
    return {"elapsed_s": elapsed_s, "cpu_s": cpu_s, "times_real_time": plan.span_ns / NANOSECONDS / elapsed_s}


def _cpu_s() -> float:
    """Seconds of processor time of this process and of those that it has started and that have ended."""
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def _make(bag: Path) -> None:
    store = load_store(STORE)
    store = dataclasses.replace(store, cameras=dict(list(store.cameras.items())[:CAMERAS]))
    simulated = simulate(store, _session(store))
    with BagWriter(bag) as writer:
        attach_changed_store(writer, store)
        for record in sorted(simulated.records, key=available_ns):
            writer.write_record(record)


def _session(store: Store) -> LabelledSession:
    """Ten people who come one after the other and take something every 8 to 14 seconds."""
    rng = random.Random(5)
    filled = [(plate, products[0]) for plate, products in store.planogram.items() if products]
    events = []
    for number in range(SHOPPERS):
        at_s = 1.6 * number
        while at_s < SHOPPING_S + 1.6 * number:
            (gondola, shelf, plate), product = rng.choice(filled)
            events.append(LabelledEvent(round(at_s, 1), f"shopper-{number}", "pick", gondola, shelf, (plate,), (product,)))
            at_s += rng.uniform(8.0, 14.0)
    return LabelledSession("busy", tuple(sorted(events, key=lambda event: event.t_s)))
