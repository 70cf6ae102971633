"""The demo's ear on the graph: hands every record it shows to ``DemoState`` and counts what the graph dropped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from aisle_bringup.demo_state import DemoState
from aisle_contract import topics
from aisle_contract.base_node import DROPS, CoreNode, to_rclpy
from aisle_contract.records import Record

#: Values of cores' diagnostics that count, since the start, what came too late to be used.
LATE = ("dropped_late", "pieces that came too late", "records too late")


class DemoNode(CoreNode):
    """``tell(line)`` gets what has changed, as text; ``draw(record)`` every record."""

    def __init__(self, state: DemoState, tell: Callable[[str], None], draw: Callable[[Record], None], **options: Any) -> None:
        super().__init__("demo", **options)
        self._state = state
        self._tell = tell
        self._draw = draw
        self._lost: dict[str, int] = {}
        self._late: dict[str, int] = {}
        gates = [topics.gate_events(gate) for gate in state.store.gates]
        for topic in (topics.TRACKS, topics.SHELF_EVENTS, topics.CARTS, topics.RECEIPTS, topics.REVIEWS, topics.ALERTS, *gates):
            self.subscribe(topic, self._take)
        self.create_subscription(DiagnosticArray, topics.DIAGNOSTICS.name, self._count_drops, to_rclpy(topics.DIAGNOSTICS.qos))

    def _take(self, record: Record) -> None:
        self._draw(record)
        for line in self._state.step(record):
            self._tell(line)

    @property
    def dropped(self) -> dict[str, int]:
        """Messages that did not get through or came too late, by the part that reported them; parts without any are left out."""
        names = sorted(self._lost.keys() | self._late.keys())
        return {name: self._lost.get(name, 0) + self._late.get(name, 0) for name in names}

    def _count_drops(self, message: DiagnosticArray) -> None:
        for status in message.status:
            counts = {value.key: int(value.value) for value in status.values if value.key in (*DROPS, *LATE)}
            if lost := sum(counts.get(key, 0) for key in DROPS):
                self._lost[status.name] = self._lost.get(status.name, 0) + lost
            if late := sum(counts.get(key, 0) for key in LATE):
                self._late[status.name] = late
