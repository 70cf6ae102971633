"""A busy bag replayed offline: reading, cores and writing, as ``./aisle replay`` does it, on one process and on three."""

from __future__ import annotations

import dataclasses
import random
import resource
import tempfile
import time
from pathlib import Path

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import attach_changed_store, store_of
from aisle_bags.bag_writer import BagWriter, available_ns
from aisle_bags.core_settings import CoreSettings, load_settings
from aisle_bags.event_order import EventOrder
from aisle_bags.replay import plan_replay, replay
from aisle_contract.records import NANOSECONDS
from aisle_sim.labelled_sessions import LabelledEvent, LabelledSession
from aisle_sim.simulator import simulate
from aisle_store.store import Store
from aisle_store.store_files import load_store

TITLE = "A bag of the NanoStore (12 cameras' detections, 306 plates, ten shoppers at once, simulated) replayed"

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"
CAMERAS, SHOPPERS, SHOPPING_S = 12, 10, 60.0


def measure() -> dict[str, float]:
    """Figures by name; units are in the names."""
    settings = load_settings(ROOT / "config" / "graph.yaml")
    with tempfile.TemporaryDirectory() as scratch:
        bag = Path(scratch) / "busy"
        _make(bag)
        figures = _read_only(bag)
        for processes in (1, 3):
            figures |= {
                f"{name}_{processes}_process{'es' if processes > 1 else ''}": value
                for name, value in _run(bag, settings, processes).items()
            }
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def _read_only(bag: Path) -> dict[str, float]:
    """Reading, decoding and sorting, without any core."""
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "detections")
        names = {topic.name for topic in plan.records}
        began = time.perf_counter()
        read = sum(1 for _ in EventOrder((m.log_time_ns, m.topic, reader.record(m)) for m in reader.messages(names)))
        elapsed_s = time.perf_counter() - began
    span_s = plan.span_ns / NANOSECONDS
    return {
        "recording_s": span_s,
        "messages": read,
        "reading_us_per_message": 1e6 * elapsed_s / read,
        "reading_times_real_time": span_s / elapsed_s,
    }


def _run(bag: Path, settings: CoreSettings, processes: int) -> dict[str, float]:
    with BagReader(bag) as reader:
        plan = plan_replay(reader, "/", "detections")
        store = store_of(reader)
        began, began_cpu = time.perf_counter(), time.process_time()
        replay(reader, plan, store, settings.without_open_carts(), publish=lambda record: None, processes=processes)
        elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
    span_s = plan.span_ns / NANOSECONDS
    return {"elapsed_s": elapsed_s, "own_cpu_s": cpu_s, "times_real_time": span_s / elapsed_s}


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
