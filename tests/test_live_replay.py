"""A bag played into the live graph, with jumps back in time: the receipts are those of an offline replay, every time."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
from builtin_interfaces.msg import Time
from rosbag2_interfaces import srv
from rosgraph_msgs.msg import Clock

from aisle_bags.bag_reader import BagReader
from aisle_bags.bag_store import unpack_store
from aisle_bags.core_settings import load_settings
from aisle_bags.replay import plan_replay, replay
from aisle_bringup.command import main
from aisle_bringup.commands.up import node_environment, process_specs
from aisle_bringup.graph import GraphOptions, NodeSpec, build_graph
from aisle_bringup.processes import Processes
from aisle_contract import topics
from aisle_contract.base_node import CoreNode, make_executor, to_rclpy
from aisle_contract.records import NANOSECONDS, Receipt
from aisle_store.store_files import load_store

ROOT = Path(__file__).resolve().parents[1]
BAG = ROOT / "bags" / "cps-test-4-nominal-0"
PARAMETERS = ROOT / "config" / "graph.yaml"
DOMAIN = "64"
PATIENCE_S = 300.0
RATE = 4.0


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", DOMAIN)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


#: The player's services that are called.
SERVICES = {
    "burst": srv.Burst,
    "get_rate": srv.GetRate,
    "is_paused": srv.IsPaused,
    "play_next": srv.PlayNext,
    "seek": srv.Seek,
    "set_rate": srv.SetRate,
    "toggle_paused": srv.TogglePaused,
}


class Observer:
    """Listens to receipts and /clock and calls the player's services."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.clock: list[int] = []
        self._context = rclpy.Context()
        self._context.init(domain_id=int(DOMAIN))
        self._node = CoreNode("observer", context=self._context)
        self._node.subscribe(topics.RECEIPTS, self.receipts.append)
        self._node.create_subscription(Clock, topics.CLOCK.name, self._on_clock, to_rclpy(topics.CLOCK.qos))
        self._clients = {name: self._node.create_client(kind, f"/player/{name}") for name, kind in SERVICES.items()}
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)

    def _on_clock(self, message: Clock) -> None:
        self.clock.append(message.clock.sec * NANOSECONDS + message.clock.nanosec)

    def wait(self, processes: Processes, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE_S} s"
            assert not processes.crashed, processes.crashed
            self._executor.spin_once(timeout_sec=0.05)
            processes.poll(0.0)

    def meet(self, processes: Processes) -> None:
        """Waits for all services. A client may know a service before the service knows it, and would then not get its answer."""
        for name, client in self._clients.items():
            self.wait(processes, client.service_is_ready, f"service {name}")
        known = time.monotonic() + 2.0
        self.wait(processes, lambda: time.monotonic() > known, "acquaintance")

    def call(self, processes: Processes, name: str, **fields: Any) -> Any:
        answer = self._clients[name].call_async(SERVICES[name].Request(**fields))
        self.wait(processes, answer.done, f"answer of {name}")
        return answer.result()

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def observer(ros_domain: None) -> Iterator[Observer]:
    observer = Observer()
    yield observer
    observer.close()


def as_text(receipts: list[Receipt]) -> str:
    """All fields of the receipts and their evidence; repr keeps every bit of a float."""
    return json.dumps([dataclasses.asdict(receipt) for receipt in receipts], indent=1, sort_keys=True)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--loop"], "--rate, --start, --pause, --loop and --remap belong to a replay into the running graph: add --live"),
        (["--live", "--remap", "/tracks"], "found '/tracks', expected two names such as /tracks:=/old/tracks"),
        (["--live", "--start", "-1"], "found '-1', expected seconds from 0 on"),
        (["--live", "--start", "999"], "--start is 999 s, expected 0 .. "),
    ],
)
def test_what_does_not_fit_is_told(ros_domain: None, capfd: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    try:
        code = main(["replay", str(BAG), *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    said = capfd.readouterr()
    assert complaint in said.out + said.err


def test_seeking_back_and_looping_give_the_offline_receipts(observer: Observer, tmp_path: Path) -> None:
    with BagReader(BAG) as reader:
        unpack_store(reader, tmp_path / "store")
        store = load_store(tmp_path / "store")
        expected = replay(reader, plan_replay(reader, "/", "detections"), store, load_settings(PARAMETERS)).receipts
        start_ns, end_ns = reader.start_ns, reader.end_ns
    assert expected
    options = GraphOptions(
        store=tmp_path / "store", sensors="none", markers=False, use_sim_time=True, speed=RATE, parameters=PARAMETERS, composition="groups"
    )
    player = NodeSpec(
        package="aisle_bags",
        executable="player_node",
        name="player",
        group="player",
        parameters={"bag": str(BAG), "rate": RATE, "paused": True, "loop": True, "drain_s": 0.7},
    )
    said: list[str] = []
    specs = process_specs([*build_graph(store, options), player], options.composition, "info")
    with Processes(specs, lambda name, line: said.append(f"[{name}] {line}"), node_environment()) as processes:
        observer.wait(processes, lambda: bool(observer.clock), "clock")
        observer.meet(processes)
        assert observer.call(processes, "is_paused").paused
        assert observer.clock[-1] == start_ns
        assert observer.call(processes, "play_next").success
        assert observer.call(processes, "burst", num_messages=10).actually_burst == 10
        assert observer.call(processes, "get_rate").rate == RATE
        assert not observer.call(processes, "set_rate", rate=0.0).success
        assert not observer.call(processes, "seek", time=Time(sec=5)).success
        observer.call(processes, "toggle_paused")
        assert not observer.call(processes, "play_next").success
        middle_ns = (start_ns + end_ns) // 2
        observer.wait(processes, lambda: observer.clock[-1] > middle_ns, "the bag's middle")
        begin = Time(sec=start_ns // NANOSECONDS, nanosec=start_ns % NANOSECONDS)
        assert observer.call(processes, "seek", time=begin).success
        observer.wait(processes, lambda: observer.clock[-1] < middle_ns, "time before the middle")
        observer.wait(processes, lambda: len(observer.receipts) == 2 * len(expected), "receipts of two rounds")
    rounds = observer.receipts[: len(expected)], observer.receipts[len(expected) :]
    for receipts in rounds:
        assert as_text(receipts) == as_text(expected), "\n".join(said)
    assert not processes.crashed, "\n".join(said)
