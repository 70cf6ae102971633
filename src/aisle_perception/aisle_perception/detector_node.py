"""Person detection as a ROS node: images of one or several cameras in, detections out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.images import ImageError, bgr_image
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel
from aisle_perception.camera_health import CHECK_PERIOD_S, CameraHealth, latency_s
from aisle_perception.detector import SPECIFICATIONS, CameraDetectors, CameraFrame, DetectorConfig
from aisle_perception.newest_frames import NewestFrames
from aisle_store.store_files import load_store


@dataclass(frozen=True)
class DetectorNodeConfig(DetectorConfig):
    """Parameters of the detector and where it gets its images."""

    camera: str = parameter("", "Ids of the cameras to detect on, separated by commas; empty: all of the store")
    detector: str = parameter("motion", f"What to detect with: {SPECIFICATIONS}; options: docs/detectors.md")
    batch: int = parameter(16, "Most frames of different cameras in one call, for models that take several images at once", 1, 256)


class DetectorNode(CoreNode):
    """Detects on the newest image of each camera in turn. Images that arrive while it is busy replace one another and are counted."""

    def __init__(self, **options: Any) -> None:
        super().__init__("detector", **options)
        config = self.declare(DetectorNodeConfig)
        cameras = _chosen(config.camera, list(load_store(self.store_folder()).cameras))
        self._detectors = CameraDetectors(config.detector, config)
        self._together = config.batch if self._detectors.batches else 1
        self._frames: NewestFrames[Image] = NewestFrames(cameras)
        self._health = CameraHealth(cameras)
        self._received = self._detected = 0
        self._last_cost_s = 0.0
        self.advertise(*(topics.detections(camera) for camera in cameras))
        for camera in cameras:
            topic = topics.image(camera)
            self.create_subscription(Image, topic.name, lambda message, camera=camera: self._put(camera, message), to_rclpy(topic.qos))
        # Steady time: a camera that is silent must be told although no message comes and /clock stands still.
        self.create_timer(CHECK_PERIOD_S, self._tell_changes, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def own_diagnostics(self) -> list[Diagnostic]:
        dropped = sum(self._frames.replaced.values())
        values = [("images", str(self._received)), ("detected", str(self._detected)), ("skipped", str(dropped))]
        values += [(f"skipped camera {camera}", str(count)) for camera, count in self._frames.replaced.items()]
        values.append(("last detection", f"{self._last_cost_s * 1e3:.1f} ms"))
        level, message = DiagnosticLevel.OK, "detecting"
        if not self._received:
            level, message = DiagnosticLevel.WARN, "no images have arrived"
        elif dropped > self._detected:
            level, message = DiagnosticLevel.WARN, "more than half of the images are skipped: the detector is too slow"
        return self._health.diagnostics("detector", [Diagnostic("detector", level, message, tuple(values))])

    def _tell_changes(self) -> None:
        if self._health.turned():
            self.send_diagnostics(self._health.diagnostics("detector"))

    def _put(self, camera: str, message: Image) -> None:
        self._received += 1
        self._health.arrived(camera)
        self._frames.put(camera, message)
        # A task runs after the image callbacks that are already queued, so that only the newest image of each camera is looked at.
        self.executor.create_task(self._detect_next)

    def _detect_next(self) -> None:
        frames = [frame for camera, message in self._frames.take(self._together) for frame in self._frame(camera, message)]
        if not frames:
            return
        start = time.perf_counter()
        for found in self._detectors.detect_batch(frames):
            self.publish(found)
            self._detected += 1
            now_ns = self.get_clock().now().nanoseconds
            self._health.detected(found.camera, len(found.boxes), latency_s(now_ns, found.stamp_ns))
        self._last_cost_s = (time.perf_counter() - start) / len(frames)

    def _frame(self, camera: str, message: Image) -> list[CameraFrame]:
        """The message's frame; none if it is no image."""
        try:
            image = bgr_image(message)
        except ImageError as error:
            self.warn(f"camera {camera}: {error}")
            return []
        return [CameraFrame(camera, message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec, image)]


def _chosen(text: str, known: list[str]) -> list[str]:
    """Camera ids out of a comma-separated text. ValueError names an unknown one."""
    chosen = [part.strip() for part in text.split(",") if part.strip()] or known
    for camera in chosen:
        if camera not in known:
            raise ValueError(f"parameter 'camera': '{camera}' is not in the store, expected some of {', '.join(known)}")
    return chosen


def main() -> int:
    return run(DetectorNode)
