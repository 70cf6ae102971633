"""A gate as a ROS node: QR codes from its camera's frames, heartbeats where it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import Image

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.images import ImageError, bgr_image
from aisle_contract.records import NANOSECONDS, Diagnostic
from aisle_drivers.qr_gate import QrGate, QrGateConfig, load_accounts
from aisle_drivers.video_camera import FRAME_POLL_PERIOD_S, RateLimit, VideoCamera, VideoCameraConfig
from aisle_store.store import GateKind
from aisle_store.store_files import load_store

T = TypeVar("T")

#: A timer of the heartbeat's own period would now and then fire just too early and so skip a beat.
TICKS_PER_HEARTBEAT = 5


@dataclass(frozen=True)
class QrGateNodeConfig(QrGateConfig, VideoCameraConfig):
    """Parameters of the gate, and where its pictures come from: a camera of the store, or one of its own (``source`` and what follows)."""

    gate: str = parameter("", "Id of the gate in the store")
    accounts: str = parameter("", "CSV file with the columns credential and shopper; needed where people enter")
    camera: str = parameter("", "Id of the store's camera that sees the codes; empty: the gate has its own, named by 'source'")
    rate_hz: float = parameter(5.0, "Highest rate at which codes are looked for, Hz", 0.1, 60.0)


class QrGateNode(CoreNode):
    """Where people enter, heartbeats come with the camera's frames: a gate that sees nothing falls silent, and is known to be lost."""

    #: None where nobody enters, and in a node that could not be made; rclpy destroys such nodes too.
    _camera: VideoCamera | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__("qr_gate", **options)
        config = self.declare(QrGateNodeConfig)
        store = load_store(self.store_folder())
        gate = _chosen("gate", config.gate, store.gates)
        self.advertise(topics.gate_events(gate.gate))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if gate.kind is GateKind.EXIT:
            self._gate = QrGate(gate, {}, config)
            self.create_timer(config.heartbeat_s / TICKS_PER_HEARTBEAT, self._tick, clock=steady)
            return
        if not config.accounts:
            raise ValueError(f"gate '{gate.gate}': parameter 'accounts' is not set, expected a CSV file with credential and shopper")
        self._gate = QrGate(gate, load_accounts(Path(config.accounts)), config)
        if config.camera:
            self._limit = RateLimit(config.rate_hz)
            topic = topics.image(_chosen("camera", config.camera, store.cameras).camera)
            self.create_subscription(Image, topic.name, self._on_image, to_rclpy(topic.qos))
            return
        self._camera = VideoCamera(config, now_ns=self._now_ns, name=f"camera of gate {gate.gate}")
        self._camera.open()
        self._camera.start()
        self.create_timer(FRAME_POLL_PERIOD_S, self._look, clock=steady)

    def destroy_node(self) -> None:
        if self._camera is not None:
            self._camera.stop()
        super().destroy_node()

    def own_diagnostics(self) -> list[Diagnostic]:
        camera = self._camera.diagnostics() if self._camera is not None else []
        return [*camera, *self._gate.diagnostics()]

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _look(self) -> None:
        while (frame := self._camera.take()) is not None:
            self.report(self._gate.see(frame.stamp_ns, frame.image))

    def _on_image(self, message: Image) -> None:
        stamp_ns = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec
        if not self._limit.admits(stamp_ns):
            return
        try:
            image = bgr_image(message)
        except ImageError as error:
            self.warn(f"camera of gate: {error}")
            return
        self.report(self._gate.see(stamp_ns, image))

    def _tick(self) -> None:
        self.report(self._gate.tick(self._now_ns()))


def _chosen(parameter_name: str, wanted: str, known: Mapping[str, T]) -> T:
    """ValueError names the ids of the store if ``wanted`` is none of them."""
    if wanted not in known:
        raise ValueError(f"parameter '{parameter_name}' is '{wanted}', expected one of the store's: {', '.join(known)}")
    return known[wanted]


def main() -> int:
    return run(QrGateNode)
