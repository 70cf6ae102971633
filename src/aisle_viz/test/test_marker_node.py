"""The real marker node: what somebody who comes late still gets, and people as they are tracked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.parameter import Parameter
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, make_executor, to_rclpy
from aisle_contract.records import Track, Tracks
from aisle_store.store_files import load_store
from aisle_viz.frame_tree import fixed_transforms
from aisle_viz.marker_node import MarkerNode

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
DOMAIN = 67
PATIENCE_S = 10.0


class Graph:
    """The node, and somebody who joins after it has published."""

    def __init__(self) -> None:
        self._context = rclpy.Context()
        self._context.init(domain_id=DOMAIN)
        self._executor = make_executor(self._context)
        self._nodes: list[CoreNode] = []
        self._add(MarkerNode(context=self._context, parameter_overrides=[Parameter("store", value=str(STORE))]))
        self.spin(lambda: False, 0.5)
        self.late = self._add(CoreNode("late", context=self._context))
        self.transforms: list[TFMessage] = []
        self.markers: list[Marker] = []
        self.late.create_subscription(TFMessage, topics.TF_STATIC.name, self.transforms.append, to_rclpy(topics.TF_STATIC.qos))
        keep = to_rclpy(topics.MARKERS.qos)
        self.late.create_subscription(MarkerArray, topics.MARKERS.name, lambda message: self.markers.extend(message.markers), keep)

    def spin(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + patience_s
        while not done() and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        self._context.try_shutdown()

    def _add(self, node: CoreNode) -> CoreNode:
        self._executor.add_node(node)
        self._nodes.append(node)
        return node


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[Graph]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    graph = Graph()
    yield graph
    graph.close()


def test_a_late_joiner_gets_frames_once_and_sees_people(graph: Graph) -> None:
    graph.spin(lambda: bool(graph.transforms) and any(marker.ns == "cameras" for marker in graph.markers))
    (tree,) = graph.transforms
    expected = [(transform.parent, transform.child) for transform in fixed_transforms(load_store(STORE))]
    assert [(transform.header.frame_id, transform.child_frame_id) for transform in tree.transforms] == expected
    assert ("store", "camera_5") in expected
    assert ("camera_5", "camera_5_optical") in expected
    assert ("gondola_1", "gondola_1_shelf_1") in expected
    assert {marker.header.frame_id for marker in graph.markers} == {"store"}

    person = Track("t4", np.array([2.0, -0.7]), np.zeros(2), 0.01 * np.eye(4), 0.9, 0.0)

    def shown() -> bool:
        graph.late.publish(Tracks(time.time_ns(), (person,)))
        return any(marker.ns == "people" for marker in graph.markers)

    graph.spin(shown)
    body = next(marker for marker in graph.markers if marker.ns == "people")
    assert (body.type, body.pose.position.x, body.pose.position.y) == (Marker.CYLINDER, 2.0, -0.7)
    assert "t4" in next(marker.text for marker in graph.markers if marker.ns == "labels")
    # Long enough for the furniture to be sent again: the frames are not.
    graph.spin(lambda: False, 2.5)
    assert len(graph.transforms) == 1
