"""The demo's ear on the graph: hands every record it shows to ``DemoState`` and counts what the graph dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from aisle_bringup.demo_state import DemoState
from aisle_contract import topics
from aisle_contract.base_node import DROPS, CoreNode, to_rclpy
from aisle_contract.records import Record


class DemoNode(CoreNode):
    """``tell(line)`` gets what has changed, as text."""

    def __init__(self, state: DemoState, tell: Callable[[str], None], **options: Any) -> None:
        super().__init__("demo", **options)
        self._state = state
        self._tell = tell
        self.dropped: dict[str, int] = {}
        gates = [topics.gate_events(gate) for gate in state.store.gates]
        for topic in (topics.TRACKS, topics.SHELF_EVENTS, topics.CARTS, topics.RECEIPTS, topics.REVIEWS, topics.ALERTS, *gates):
            self.subscribe(topic, self._take)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, self._count_drops, to_rclpy(topics.DIAGNOSTICS.qos))

    def _take(self, record: Record) -> None:
        for line in self._state.step(record):
            self._tell(line)

    def _count_drops(self, message: DiagnosticArray) -> None:
        for status in message.status:
            dropped = sum(int(value.value) for value in status.values if value.key in DROPS)
            if dropped and status.level != DiagnosticStatus.OK:
                self.dropped[status.name] = self.dropped.get(status.name, 0) + dropped
