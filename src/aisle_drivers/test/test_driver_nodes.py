"""The drivers' nodes with a real rclpy context: devices in, messages out."""

from __future__ import annotations

import os
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.parameter import Parameter

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, message_class, to_rclpy
from aisle_contract.conversions import from_message
from aisle_contract.images import bgr_image
from aisle_contract.records import NANOSECONDS, GateEventKind
from aisle_drivers.qr_gate import token
from aisle_drivers.qr_gate_node import QrGateNode
from aisle_drivers.scale_protocol import ShelfColumns, ShelfSample, encode
from aisle_drivers.serial_scale_node import SerialScaleNode
from aisle_drivers.video_camera import VideoSourceError
from aisle_drivers.video_camera_node import VideoCameraNode
from aisle_store.store_documents import StoreError

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
DOMAIN = 62
START_NS = 1_578_000_000_000_000_000


@pytest.fixture
def context() -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    yield context
    context.try_shutdown()


@pytest.fixture(params=["events", "single_threaded"])
def executor(request: pytest.FixtureRequest, context: rclpy.Context) -> Executor:
    if request.param == "single_threaded":
        return SingleThreadedExecutor(context=context)
    return pytest.importorskip("rclpy.experimental", reason="this rclpy has no events executor").EventsExecutor(context=context)


class Graph:
    """A node under test, a probe that listens, and the executor that spins both."""

    def __init__(self, context: rclpy.Context, executor: Executor) -> None:
        self._context = context
        self._executor = executor
        self._probe = rclpy.create_node("probe", context=context)
        executor.add_node(self._probe)
        self._nodes: list[CoreNode] = []

    def listen(self, topic: topics.Topic) -> list[Any]:
        heard: list[Any] = []
        self._probe.create_subscription(message_class(topic.type), topic.name, heard.append, to_rclpy(topic.qos))
        return heard

    def add(self, node_class: type[CoreNode], **parameters: Any) -> CoreNode:
        overrides = [Parameter(name, value=value) for name, value in {"store": str(STORE), **parameters}.items()]
        node = node_class(context=self._context, parameter_overrides=overrides)
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.1)
        return condition()

    def close(self) -> None:
        for node in (*self._nodes, self._probe):
            node.destroy_node()
        self._executor.shutdown()


@pytest.fixture
def graph(context, executor) -> Iterator[Graph]:
    graph = Graph(context, executor)
    yield graph
    graph.close()


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec


def write_video(path: Path, pictures: list[np.ndarray]) -> Path:
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pictures = [np.full((360, 640, 3), 50 + 10 * number, dtype=np.uint8) for number in range(8)]
    return write_video(tmp_path_factory.mktemp("video") / "camera.avi", pictures)


def test_a_camera_publishes_what_is_asked_for(graph, video):
    images, infos, compressed = (graph.listen(topic("1")) for topic in (topics.image, topics.camera_info, topics.compressed_image))
    node = graph.add(VideoCameraNode, camera="1", source=str(video), start_stamp_ns=START_NS, speed=2.0)
    seen: list[int] = []
    node.on_frame.append(lambda frame: seen.append(frame.stamp_ns))
    expected = [START_NS + number * 100_000_000 for number in range(8)]
    assert graph.spin_until(lambda: len(seen) == 8 and min(len(images), len(compressed)) >= 6)
    assert seen == expected
    # Images are best effort: one may be lost, but none changes its place or its stamp.
    for heard in (images, infos, compressed):
        assert [stamp_ns(message) for message in heard] == [ns for ns in expected if ns in {stamp_ns(message) for message in heard}]
    first = images[0]
    assert (first.header.frame_id, first.encoding, first.width, first.height) == ("camera_1_optical", "bgr8", 640, 360)
    for message in (images[0], compressed[0]):
        number = (stamp_ns(message) - START_NS) // 100_000_000
        assert abs(float(bgr_image(message).mean()) - (50 + 10 * number)) < 2
    np.testing.assert_allclose(infos[0].k, node.camera.matrix.ravel())
    np.testing.assert_allclose(infos[0].d, node.camera.distortion)
    assert node.own_diagnostics()[0].message == "file ended"


def test_a_camera_that_is_wrong_does_not_start(context, tmp_path):
    for parameters, error, text in (
        ({"camera": "99"}, ValueError, "expected one of the store's: 1, 3, 5, 7"),
        ({"camera": "1"}, VideoSourceError, "source is not set"),
        ({"camera": "1", "source": str(tmp_path / "none.mp4")}, VideoSourceError, "missing"),
        ({"camera": "1", "source": "0", "store": str(tmp_path / "none")}, StoreError, "missing, expected a folder"),
    ):
        overrides = [Parameter(name, value=value) for name, value in {"store": str(STORE), **parameters}.items()]
        with pytest.raises(error, match=text):
            VideoCameraNode(context=context, parameter_overrides=overrides)


def test_scales_on_a_line(graph):
    device, host = os.openpty()
    tty.setraw(host)
    heard = graph.listen(topics.weights("2", "3"))
    node = graph.add(SerialScaleNode, port=os.ttyname(host))
    assert graph.spin_until(lambda: node.own_diagnostics()[0].message == "open")
    assert graph.spin_until(lambda: node.has_listeners(topics.weights("2", "3")))
    before_ns = time.time_ns()
    os.write(device, encode(ShelfColumns("2", "3", 16_667, ("1", "2"))))
    for number in range(24):
        os.write(device, encode(ShelfSample("2", "3", number, number * 16_667, (100.0 + number, 5.0))))
    try:
        assert graph.spin_until(lambda: len(heard) == 2)
    finally:
        os.close(device)
        os.close(host)
    readings = [from_message(message) for message in heard]
    assert [reading.plates for reading in readings] == [("1", "2")] * 2
    np.testing.assert_allclose(np.concatenate([reading.weights[:, 0] for reading in readings]), 0.1 + np.arange(24) / 1000, atol=1e-6)
    assert before_ns <= readings[0].stamp_ns <= time.time_ns()


def test_scales_need_a_port(context):
    with pytest.raises(ValueError, match="port is not set"):
        SerialScaleNode(context=context, parameter_overrides=[Parameter("store", value=str(STORE))])


def entrance_video(folder: Path) -> Path:
    """Somebody shows a code from 1.2 s to 1.6 s."""
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode("ann-7f3a"), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    code = cv2.resize(code, (200, 200), interpolation=cv2.INTER_AREA)
    shown = np.full((360, 640, 3), 120, dtype=np.uint8)
    shown[80:280, 200:400] = code[:, :, None]
    empty = np.full_like(shown, 120)
    return write_video(folder / "gate.avi", [empty] * 12 + [shown] * 4 + [empty] * 4)


@pytest.mark.parametrize("own_camera", [True, False])
def test_a_gate_lets_known_codes_in(graph, tmp_path, own_camera):
    (tmp_path / "accounts.csv").write_text("credential,shopper\nann-7f3a,ann\n", encoding="utf-8")
    heard = graph.listen(topics.gate_events("entrance"))
    accounts = str(tmp_path / "accounts.csv")
    frames = {"source": str(entrance_video(tmp_path)), "start_stamp_ns": START_NS, "rate_hz": 10.0}
    if own_camera:
        graph.add(QrGateNode, gate="entrance", accounts=accounts, **frames)
    else:
        graph.add(QrGateNode, gate="entrance", accounts=accounts, camera="1", rate_hz=10.0)
        graph.add(VideoCameraNode, camera="1", **frames)
    assert graph.spin_until(lambda: any(message.kind == GateEventKind.ENTRY for message in heard))
    events = [from_message(message) for message in heard]
    assert [(event.shopper, event.credential) for event in events if event.kind is GateEventKind.ENTRY] == [("ann", token("ann-7f3a"))]
    entered_ns = next(event.stamp_ns for event in events if event.kind is GateEventKind.ENTRY)
    assert START_NS + 1_200_000_000 <= entered_ns <= START_NS + 1_500_000_000
    stamps = [event.stamp_ns for event in events]
    assert stamps == sorted(set(stamps))


def test_an_exit_gate_beats(graph):
    heard = graph.listen(topics.gate_events("exit"))
    graph.add(QrGateNode, gate="exit", heartbeat_s=0.1)
    assert graph.spin_until(lambda: len(heard) >= 3)
    events = [from_message(message) for message in heard]
    assert {event.kind for event in events} == {GateEventKind.STATUS}
    assert abs(events[0].stamp_ns - time.time_ns()) < 30 * NANOSECONDS


def test_an_entrance_needs_accounts_and_a_camera(context, tmp_path):
    (tmp_path / "accounts.csv").write_text("credential,shopper\nann-7f3a,ann\n", encoding="utf-8")
    for parameters, text in (
        ({"gate": "backdoor"}, "expected one of the store's: entrance, exit"),
        ({"gate": "entrance"}, "parameter 'accounts' is not set"),
        ({"gate": "entrance", "accounts": str(tmp_path / "none.csv")}, "none.csv: missing"),
        ({"gate": "entrance", "accounts": str(tmp_path / "accounts.csv")}, "source is not set"),
        ({"gate": "entrance", "accounts": str(tmp_path / "accounts.csv"), "camera": "2"}, "expected one of the store's: 1, 3, 5, 7"),
    ):
        overrides = [Parameter(name, value=value) for name, value in {"store": str(STORE), **parameters}.items()]
        with pytest.raises(ValueError, match=text):
            QrGateNode(context=context, parameter_overrides=overrides)
