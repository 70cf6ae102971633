"""The tracker as a ROS node: detections of all cameras in, tracks out."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.records import Diagnostic, PersonDetections
from aisle_perception.camera_health import CHECK_PERIOD_S, CameraHealth, latency_s
from aisle_perception.tracker import PersonTracker, TrackerConfig
from aisle_store.store_files import load_store


class TrackerNode(CoreNode):
    """Runs ``PersonTracker`` on the detections of the store's cameras."""

    def __init__(self, **options: Any) -> None:
        super().__init__("tracker", **options)
        config = self.declare(TrackerConfig)
        store = load_store(self.store_folder())
        self.run_core(
            lambda: PersonTracker(store, config),
            inputs=[topics.detections(camera) for camera in store.cameras],
            outputs=[topics.TRACKS],
        )
        # Counts from now on: making the tracker takes longer than a camera may be silent on a busy machine.
        self._health = CameraHealth(store.cameras)
        # Steady time: when all cameras are silent nothing else would call the node any more.
        self.create_timer(CHECK_PERIOD_S, self._tell_changes, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def own_diagnostics(self) -> list[Diagnostic]:
        return self._health.diagnostics("tracker", super().own_diagnostics())

    def _tell_changes(self) -> None:
        if self._health.turned():
            self.send_diagnostics(self.own_diagnostics())

    def _step(self, record: PersonDetections) -> None:
        if self._health.knows(record.camera):
            self._health.arrived(record.camera)
            now_ns = self.get_clock().now().nanoseconds
            self._health.detected(record.camera, len(record.boxes), latency_s(now_ns, record.stamp_ns))
        super()._step(record)


def main() -> int:
    return run(TrackerNode)
