"""Real nodes and a camera that falls silent: it is told within two seconds, also when nothing else comes any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter

from aisle_contract import frames, topics
from aisle_contract.base_node import CoreNode, make_executor, to_rclpy
from aisle_contract.conversions import header_message, image_message
from aisle_contract.records import PersonDetections
from aisle_perception.detector_node import DetectorNode
from aisle_perception.tracker_node import TrackerNode

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
DOMAIN = 66
PERIOD_S = 0.1
STALE = bytes([3])
LATEST_S = 2.0


class Listener:
    """Keeps when each status was heard."""

    def __init__(self, node: CoreNode) -> None:
        self.heard: list[tuple[float, DiagnosticStatus]] = []
        node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, self._hear, to_rclpy(topics.DIAGNOSTICS.qos))

    def _hear(self, message: DiagnosticArray) -> None:
        self.heard += [(time.monotonic(), status) for status in message.status]

    def first_stale(self, name: str) -> float:
        return next((at for at, status in self.heard if status.name == name and status.level == STALE), float("inf"))

    def delivers(self, name: str) -> bool:
        return any(status.name == name and status.message == "frames arrive" for _, status in self.heard)

    def last(self, name: str, before: float) -> dict[str, str]:
        statuses = [status for at, status in self.heard if status.name == name and at <= before]
        return {value.key: value.value for value in statuses[-1].values}


class Scene:
    """A node under test, somebody who sends for two cameras, and somebody who listens."""

    def __init__(self, make_node: Callable[..., CoreNode]) -> None:
        self.context = rclpy.Context()
        self.context.init(domain_id=DOMAIN)
        parameters = [Parameter("store", value=str(STORE))]
        self.node = make_node(context=self.context, parameter_overrides=parameters)
        self.sender = CoreNode("sender", context=self.context)
        self.listener = Listener(self.sender)
        self._executor = make_executor(self.context)
        for node in (self.node, self.sender):
            self._executor.add_node(node)

    def run(self, seconds: float, send: Callable[[], None]) -> None:
        begin = time.monotonic()
        for tick in range(round(seconds / PERIOD_S)):
            send()
            while (rest := begin + (tick + 1) * PERIOD_S - time.monotonic()) > 0:
                self._executor.spin_once(timeout_sec=rest)

    def stamp_ns(self) -> int:
        return self.sender.get_clock().now().nanoseconds

    def close(self) -> None:
        self._executor.shutdown()
        for node in (self.sender, self.node):
            node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def scene_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., CoreNode]], Scene]]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    scenes: list[Scene] = []

    def make(node: Callable[..., CoreNode]) -> Scene:
        scenes.append(Scene(node))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def _send_image(scene: Scene, camera: str) -> None:
    header = header_message(scene.stamp_ns(), frames.camera_optical(camera))
    scene.sender.send(topics.image(camera), image_message(np.zeros((36, 64, 3), dtype=np.uint8), "bgr8", header))


def _send_detections(scene: Scene, camera: str) -> None:
    boxes = np.array([[10, 10, 60, 200]], dtype=np.float32)
    scene.sender.publish(PersonDetections(scene.stamp_ns(), camera, 640, 360, boxes, np.array([0.9], dtype=np.float32)))


@pytest.mark.parametrize(
    ("make_node", "name", "send", "detections"),
    [(DetectorNode, "detector", _send_image, "0.00"), (TrackerNode, "tracker", _send_detections, "1.00")],
)
def test_silence_is_told_in_time(scene_of, make_node, name: str, send: Callable[[Scene, str], None], detections: str) -> None:
    scene = scene_of(make_node)
    first, second, never = (f"{name}: {name}/camera_{camera}" for camera in ("1", "3", "5"))

    def both() -> None:
        send(scene, "1")
        send(scene, "3")

    # Nodes find one another in their own time, which on a busy machine is more than a camera may be silent.
    patience = time.monotonic() + 20.0
    while not all(scene.listener.delivers(camera) for camera in (first, second)):
        assert time.monotonic() < patience, "nothing arrives"
        scene.run(PERIOD_S, both)
    scene.listener.heard.clear()

    scene.run(2.5, both)
    second_ends = time.monotonic()
    values = scene.listener.last(first, second_ends)
    assert values["detections per frame"] == detections
    assert float(values["rate"].removesuffix(" Hz")) > 5.0
    assert float(values["latency"].removesuffix(" ms")) < 500.0
    assert float(values["age of last frame"].removesuffix(" s")) < 0.5
    assert min(map(scene.listener.first_stale, (first, second))) > second_ends, "cameras that deliver are not called silent"
    assert scene.listener.first_stale(never) < second_ends, "a camera that never began is told, too"

    scene.run(2.2, lambda: send(scene, "1"))
    first_ends = time.monotonic()
    assert scene.listener.first_stale(second) < second_ends + LATEST_S
    assert scene.listener.first_stale(first) > first_ends

    scene.run(2.2, lambda: None)
    assert scene.listener.first_stale(first) < first_ends + LATEST_S
