"""The live graph, real nodes in several processes, against the offline runner: the same receipts, to the last bit."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import pytest
import rclpy

from aisle_bags.core_settings import load_settings
from aisle_bags.offline import OfflineRunner
from aisle_bringup.commands.up import node_environment, process_specs
from aisle_bringup.graph import GraphOptions, build_graph
from aisle_bringup.processes import Processes
from aisle_contract import topics
from aisle_contract.base_node import CoreNode, make_executor
from aisle_contract.records import Receipt
from aisle_sim.labelled_sessions import load_sessions, select_sessions
from aisle_sim.simulator import iter_records
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[1]
STORE = ROOT / "config" / "stores" / "nanostore-2019-11"
PARAMETERS = ROOT / "config" / "graph.yaml"
SESSION = "cps-test-4"
DOMAIN = "63"
PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def store():
    return load_store(STORE)


@pytest.fixture(scope="module")
def offline_receipts(store) -> list[Receipt]:
    sessions = select_sessions(load_sessions(STORE / "sessions.json"), SESSION, "sessions.json")
    receipts = OfflineRunner(store, load_settings(PARAMETERS)).run(iter_records(store, sessions)).receipts
    assert receipts, "the offline chain must give a receipt to compare with"
    return receipts


@pytest.fixture
def ros_domain(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", DOMAIN)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


class ReceiptListener:
    """Collects receipts while the processes run."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self._context = rclpy.Context()
        self._context.init(domain_id=int(DOMAIN))
        self._node = CoreNode("listener", context=self._context)
        self._node.subscribe(topics.RECEIPTS, self.receipts.append)
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)

    def wait(self, processes: Processes, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.receipts) < count:
            assert time.monotonic() < deadline, f"{len(self.receipts)} of {count} receipts within {PATIENCE_S} s"
            assert not processes.crashed, processes.crashed
            self._executor.spin_once(timeout_sec=0.1)
            processes.poll(0.0)

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def listener(ros_domain):
    listener = ReceiptListener()
    yield listener
    listener.close()


def as_text(receipts: list[Receipt]) -> str:
    """All fields of the receipts and their evidence; repr keeps every bit of a float."""
    return json.dumps([dataclasses.asdict(receipt) for receipt in receipts], indent=1, sort_keys=True)


@pytest.mark.parametrize("composition", ["groups", "single"])
def test_simulated_sensors_give_the_offline_receipts(store, offline_receipts, listener, tmp_path, composition):
    options = GraphOptions(
        store=STORE,
        sessions=STORE / "sessions.json",
        session_ids=(SESSION,),
        speed=4.0,
        receipts=tmp_path / "receipts",
        parameters=PARAMETERS,
        composition=composition,
    )
    said: list[str] = []
    specs = process_specs(build_graph(store, options), options.composition, options.log_level)
    with Processes(specs, lambda name, line: said.append(f"[{name}] {line}"), node_environment()) as processes:
        listener.wait(processes, len(offline_receipts))
    assert as_text(listener.receipts) == as_text(offline_receipts), "\n".join(said)
    assert not processes.crashed, "\n".join(said)
    assert len(list((tmp_path / "receipts").glob("*.json"))) == len(offline_receipts)
