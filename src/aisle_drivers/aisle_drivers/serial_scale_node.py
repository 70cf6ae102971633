"""Weighing shelves on one serial line as a ROS node."""

from __future__ import annotations

from typing import Any

from rclpy.clock import Clock, ClockType

from aisle_contract import topics
from aisle_contract.base_node import CoreNode, run
from aisle_contract.records import Diagnostic
from aisle_drivers.serial_scale import SerialPort, SerialScale, SerialScaleConfig
from aisle_store.store_files import load_store

#: How often what came on the line is looked at; a batch of 12 samples at 60 Hz takes 200 ms.
DRAIN_PERIOD_S = 0.02


class SerialScaleNode(CoreNode):
    """Publishes the readings of all shelves on its line. Which shelves these are, the devices tell (docs/scale-protocol.md)."""

    #: Stays None in a node that could not be made; rclpy destroys such nodes too.
    _port: SerialPort | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__("serial_scale", **options)
        config = self.declare(SerialScaleConfig)
        store = load_store(self.store_folder())
        self._scale = SerialScale(store, config)
        self._port = SerialPort(config, now_ns=lambda: self.get_clock().now().nanoseconds)
        self.advertise(*(topics.weights(*shelf.key) for shelf in store.shelves()))
        self.create_timer(DRAIN_PERIOD_S, self._drain, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._port.start()

    def destroy_node(self) -> None:
        if self._port is not None:
            self._port.stop()
        super().destroy_node()

    def own_diagnostics(self) -> list[Diagnostic]:
        return [*self._port.diagnostics(), *self._scale.diagnostics()]

    def _drain(self) -> None:
        for data, arrival_ns in self._port.take():
            self.report(self._scale.feed(data, arrival_ns))


def main() -> int:
    return run(SerialScaleNode)
