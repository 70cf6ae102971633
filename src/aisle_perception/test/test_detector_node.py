"""The detector node as a process and in a graph: wrong models end it at once; several cameras' frames go into one call."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.parameter import Parameter

from aisle_contract import frames, topics
from aisle_contract.base_node import CoreNode, make_executor
from aisle_contract.conversions import header_message, image_message
from aisle_contract.records import NANOSECONDS, PersonDetections
from aisle_perception import detector
from aisle_perception.detector_models import Detections
from aisle_perception.detector_node import DetectorNode

STORE = Path(__file__).resolve().parents[3] / "config" / "stores" / "nanostore-2020-01"
CAMERAS = ("1", "3", "5", "7")
DOMAIN = 68
PATIENCE_S = 20.0


@pytest.mark.parametrize(
    ("specification", "complaint"),
    [
        ("onnx:{folder}/gone.onnx", "gone.onnx: no such model file"),
        ("openvino:{folder}/damaged.onnx", "damaged.onnx: OpenVINO cannot read this model"),
        ("onnx:{folder}/damaged.onnx", "damaged.onnx: ONNX Runtime cannot read this model"),
        ("tensorflow:{folder}/damaged.onnx", "expected openvino:PATH, onnx:PATH, torch:PATH or motion"),
    ],
)
def test_a_model_that_cannot_be_used_ends_the_node_in_one_line(specification: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"this is not a network" * 10)
    parameters = ["-p", f"store:={STORE}", "-p", f"detector:={specification.format(folder=tmp_path)}"]
    code = "from aisle_perception.detector_node import main; raise SystemExit(main())"
    line = [sys.executable, "-c", code, "--ros-args", *parameters]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    (said,) = ended.stderr.splitlines()
    assert said.startswith("error: ")
    assert complaint in said


class Counting:
    """Finds one person in each image and notes how many images came at once; slow, so that frames pile up."""

    stateful = False
    batches = True

    def __init__(self) -> None:
        self.calls: list[int] = []

    def detect(self, images_bgr: Sequence[np.ndarray]) -> list[Detections]:
        self.calls.append(len(images_bgr))
        time.sleep(0.1)
        return [Detections(np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)) for _ in images_bgr]


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    counting = Counting()
    monkeypatch.setattr(detector, "make_detector", lambda specification, config=None: counting)
    return counting


def test_waiting_frames_of_several_cameras_go_into_one_call(counting: Counting) -> None:
    context = rclpy.Context()
    context.init(domain_id=DOMAIN)
    node = DetectorNode(context=context, parameter_overrides=[Parameter("store", value=str(STORE)), Parameter("batch", value=3)])
    sender = CoreNode("sender", context=context)
    found: list[PersonDetections] = []
    for camera in CAMERAS:
        sender.subscribe(topics.detections(camera), found.append)
    executor = make_executor(context)
    for member in (node, sender):
        executor.add_node(member)
    try:
        end = time.monotonic() + PATIENCE_S
        tick = 0
        while {one.camera for one in found} != set(CAMERAS) or max(counting.calls) < 2:
            assert time.monotonic() < end, (counting.calls, found)
            tick += 1
            for camera in CAMERAS:
                header = header_message(tick * NANOSECONDS, frames.camera_optical(camera))
                sender.send(topics.image(camera), image_message(np.zeros((36, 64, 3), dtype=np.uint8), "bgr8", header))
            for _ in range(12):
                executor.spin_once(timeout_sec=0.02)
    finally:
        executor.shutdown()
        sender.destroy_node()
        node.destroy_node()
        context.try_shutdown()
    assert max(counting.calls) <= 3, "the parameter bounds a call"
    assert all(one.stamp_ns % NANOSECONDS == 0 and (one.image_width, one.image_height) == (64, 36) for one in found)
