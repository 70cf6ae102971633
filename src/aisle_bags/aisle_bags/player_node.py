"""Plays a bag's sensor messages into the graph, byte for byte as they were recorded, with /clock."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import Trigger

from aisle_bags.bag_reader import BagError, BagReader, RawMessage
from aisle_bags.playback import Playback
from aisle_bags.replay import listened_topics, sensor_topics
from aisle_contract import topics
from aisle_contract.base_node import CoreNode, message_class, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel

#: At the end the cores release what they hold back, in the order in which records pass through them.
FLUSHED = (("tracker", "shelf_monitor"), ("cart_fusion",), ("checkout",))


@dataclass(frozen=True)
class PlayerConfig:
    """Parameters of the player."""

    bag: str = parameter("", "Folder or MCAP file to play")
    rate: float = parameter(1.0, "How many times faster than it was recorded", 0.01, 100.0)
    clock_period_s: float = parameter(0.01, "Messages that are due are sent, and /clock with them, this often, s", 0.001, 1.0)
    listeners_timeout_s: float = parameter(30.0, "The graph's nodes are waited for at most this long before playing, s", 0.0, 600.0)
    drain_s: float = parameter(1.5, "At the end, messages on their way are given this long before the cores are flushed, s", 0.0, 60.0)


class PlayerNode(CoreNode):
    """Waits for listeners, plays, asks the graph's cores to release what they hold back, and ends its process."""

    def __init__(self, **options: Any) -> None:
        super().__init__("player", **options)
        self._reader: BagReader | None = None
        self._config = config = self.declare(PlayerConfig)
        try:
            self._reader = BagReader(Path(config.bag))
            # The node's own namespace chooses in a bag of several stores; a bag of one store is played under the names that it has.
            own = self.get_namespace()
            namespace = own if sensor_topics(self._reader, own) else self._reader.namespace()
            needed, wanted = sensor_topics(self._reader, namespace), listened_topics(self._reader, namespace)
        except BagError as error:
            raise ValueError(str(error)) from error
        self._senders_by_name = {
            topic.name: self.create_publisher(message_class(topic.type), topic.name, to_rclpy(topic.qos)) for topic in (*needed, *wanted)
        }
        self._needed = [topic.name for topic in needed]
        self._optional = {topic.name for topic in wanted}
        self._clock_sender = self.create_publisher(ClockMessage, topics.CLOCK.name, to_rclpy(topics.CLOCK.qos))
        self._flushes = [[self.create_client(Trigger, f"{namespace.rstrip('/')}/{name}/flush") for name in stage] for stage in FLUSHED]
        self._playback = Playback(self._reader.messages(self._senders_by_name), config.rate)
        self._sent = self._refused = 0
        self._answers: list[Any] = []
        self._begin_step(self._wait_for_listeners)
        self.create_timer(config.clock_period_s, lambda: self._advance(), clock=Clock(clock_type=ClockType.STEADY_TIME))

    def own_diagnostics(self) -> list[Diagnostic]:
        level = DiagnosticLevel.WARN if self._refused else DiagnosticLevel.OK
        values = (("messages", str(self._sent)), ("refused by the middleware", str(self._refused)))
        return [Diagnostic("playback", level, "finished" if self._playback.finished else "playing", values)]

    def destroy_node(self) -> None:
        if self._reader is not None:
            self._reader.close()
        super().destroy_node()

    def _begin_step(self, step: Callable[[], None]) -> None:
        self._advance = step
        self._step_began_s = time.monotonic()

    @property
    def _in_step_s(self) -> float:
        return time.monotonic() - self._step_began_s

    def _wait_for_listeners(self) -> None:
        missing = [name for name in self._needed if not self._senders_by_name[name].get_subscription_count()]
        if missing and self._in_step_s < self._config.listeners_timeout_s:
            return
        if missing:
            self.get_logger().warning(f"nobody listens to {', '.join(missing)}; playing all the same")
        self.get_logger().info(f"playing {self._config.bag} at {self._config.rate:g} times its speed")
        self._begin_step(self._play)

    def _play(self) -> None:
        for message in self._due():
            sender = self._senders_by_name[message.topic]
            if message.topic not in self._optional or sender.get_subscription_count():
                self._publish(sender, message.topic, message.data)
        second, nanosecond = divmod(self._playback.time_ns(self._in_step_s), NANOSECONDS)
        self._publish(self._clock_sender, topics.CLOCK.name, ClockMessage(clock=Time(sec=second, nanosec=nanosecond)))
        if self._playback.finished:
            self.get_logger().info(f"{self._sent} messages played, {self._refused} refused by the middleware")
            self._begin_step(self._drain)

    def _due(self) -> list[RawMessage]:
        try:
            due = self._playback.due(self._in_step_s)
        except BagError as error:
            self.get_logger().error(str(error))
            raise SystemExit(1) from error
        self._sent += len(due)
        return due

    def _publish(self, sender: Publisher, name: str, message: Any) -> None:
        """``message``: a message or its bytes."""
        try:
            sender.publish(message)
        except RCLError as error:
            self._refused += 1
            self.warn(f"{name}: not sent: {error}")

    def _drain(self) -> None:
        """Flushing must not overtake messages that are still on their way."""
        if self._in_step_s < self._config.drain_s:
            return
        if not self._flushes:
            # As if somebody had asked: the process closes its nodes in order and ends with 0.
            signal.raise_signal(signal.SIGINT)
            return
        clients = [client for client in self._flushes.pop(0) if client.service_is_ready()]
        self._answers = [client.call_async(Trigger.Request()) for client in clients]
        self._begin_step(self._wait_for_answers)

    def _wait_for_answers(self) -> None:
        if all(answer.done() for answer in self._answers) or self._in_step_s > self._config.listeners_timeout_s:
            self._begin_step(self._drain)


def main() -> int:
    return run(PlayerNode)
