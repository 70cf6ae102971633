"""Plays a bag's sensor messages into the graph, byte for byte as they were recorded, with /clock; rosbag2's player's services."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.publisher import Publisher
from rosbag2_interfaces import srv
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import Trigger

from aisle_bags.bag_reader import BagError, BagReader, RawMessage
from aisle_bags.playback import Playback
from aisle_bags.recorded_topics import played_profile
from aisle_bags.replay import listened_topics, sensor_topics
from aisle_contract import topics
from aisle_contract.base_node import CoreNode, message_class, run, to_rclpy
from aisle_contract.config import parameter
from aisle_contract.conversions import time_ns
from aisle_contract.records import NANOSECONDS, Diagnostic, DiagnosticLevel

#: At the end the cores release what they hold back, in the order in which records pass through them.
FLUSHED = (("tracker", "shelf_monitor"), ("cart_fusion",), ("checkout",))
#: Nodes that forget what they know when the time jumps back.
RESET = (("tracker", "shelf_monitor", "cart_fusion", "checkout", "markers"),)
#: A burst is sent in portions with a pause between, so that no queue overflows.
BURST_PORTION, BURST_PAUSE_S = 100, 0.01


@dataclass(frozen=True)
class PlayerConfig:
    """Parameters of the player."""

    bag: str = parameter("", "Folder or file to play")
    rate: float = parameter(1.0, "How many times faster than it was recorded", 0.01, 100.0)
    start_s: float = parameter(0.0, "Begin so long after the bag's first message, s", 0.0)
    paused: bool = parameter(False, "Begin standing still: ~/resume, ~/play_next or ~/burst go on")
    loop: bool = parameter(False, "Begin anew at the end, with reset nodes")
    clock_period_s: float = parameter(0.01, "Messages that are due are sent, and /clock with them, this often, s", 0.001, 1.0)
    listeners_timeout_s: float = parameter(30.0, "The graph's nodes are waited for at most this long before playing, s", 0.0, 600.0)
    drain_s: float = parameter(1.5, "Messages on their way are given this long before the cores are flushed or reset, s", 0.0, 60.0)


class PlayerNode(CoreNode):
    """Waits for listeners, plays, asks the graph's cores to release what they hold back, and ends its process or begins anew."""

    def __init__(self, **options: Any) -> None:
        super().__init__("player", **options)
        self._reader: BagReader | None = None
        self._config = config = self.declare(PlayerConfig)
        self._senders_by_name: dict[str, Publisher] = {}
        try:
            self._reader = reader = BagReader(Path(config.bag))
            # The node's own namespace chooses in a bag of several stores; a bag of one store is played under the names that it has.
            own = self.get_namespace()
            namespace = own if sensor_topics(reader, own) else reader.namespace()
            needed, wanted = sensor_topics(reader, namespace), listened_topics(reader, namespace)
            for topic in (*needed, *wanted):
                profile = played_profile(reader.stored_topics[topic.name], topic.qos if topic in needed else None)
                self._senders_by_name[topic.name] = self.create_publisher(message_class(topic.type), topic.name, to_rclpy(profile))
            start_ns, end_ns = reader.start_ns or 0, reader.end_ns or 0
            self._begin_ns = start_ns + round(config.start_s * NANOSECONDS)
            self._playback = Playback(self._messages, start_ns, end_ns, config.rate, self._begin_ns)
        except BagError as error:
            raise ValueError(str(error)) from error
        if self._begin_ns > end_ns:
            last_s = (end_ns - start_ns) / NANOSECONDS
            raise ValueError(f"node 'player': parameter 'start_s' is {config.start_s:g}, expected 0 .. {last_s:.1f}")
        # Whoever plays a topic under another name does not want it to be heard by the graph.
        self._needed = [topic.name for topic in needed if self._senders_by_name[topic.name].topic_name == topic.name]
        self._optional = {topic.name for topic in wanted}
        self._clock_sender = self.create_publisher(ClockMessage, topics.CLOCK.name, to_rclpy(topics.CLOCK.qos))
        self._flushes, self._resets = (
            [[self.create_client(Trigger, f"{namespace.rstrip('/')}/{name}/{service}") for name in stage] for stage in stages]
            for service, stages in (("flush", FLUSHED), ("reset", RESET))
        )
        self._started, self._begins_paused = False, config.paused
        self._sent = self._refused = self._rounds = 0
        self._stages: list[Sequence[Any]] = []
        self._after_stages: Callable[[], None] = self._end
        self._answers: list[Any] = []
        self._offer_services()
        self._begin_step(self._wait_for_listeners)
        self.create_timer(config.clock_period_s, lambda: self._advance(), clock=Clock(clock_type=ClockType.STEADY_TIME))

    def own_diagnostics(self) -> list[Diagnostic]:
        level = DiagnosticLevel.WARN if self._refused else DiagnosticLevel.OK
        values = (
            ("messages", str(self._sent)),
            ("refused by the middleware", str(self._refused)),
            ("rate", f"{self._playback.rate:g}"),
            ("rounds", str(self._rounds)),
        )
        return [Diagnostic("playback", level, self._state(), values)]

    def destroy_node(self) -> None:
        if self._reader is not None:
            self._reader.close()
        super().destroy_node()

    def _state(self) -> str:
        if self._playback.finished:
            return "finished"
        return "paused" if self._playback.paused else "playing"

    def _messages(self, from_ns: int) -> Iterator[RawMessage]:
        return self._reader.messages(self._senders_by_name, start_ns=from_ns)

    # Steps: a timer calls the present one again and again.

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
        how = "paused" if self._begins_paused else f"at {self._playback.rate:g} times its speed"
        self.get_logger().info(f"playing {self._config.bag} {how}")
        self._started = True
        self._set_paused(self._begins_paused)
        self._begin_step(self._play)

    def _play(self) -> None:
        for message in self._read(lambda: self._playback.due(time.monotonic())):
            self._send(message)
        self._tell_time()
        if self._playback.finished:
            self.get_logger().info(f"{self._sent} messages played, {self._refused} refused by the middleware")
            self._ask(self._flushes, self._begin_anew if self._config.loop else self._end)

    def _tell_time(self) -> None:
        second, nanosecond = divmod(self._playback.time_ns(time.monotonic()), NANOSECONDS)
        self._publish(self._clock_sender, topics.CLOCK.name, ClockMessage(clock=Time(sec=second, nanosec=nanosecond)))

    def _read(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except BagError as error:
            self.get_logger().error(str(error))
            raise SystemExit(1) from error

    def _send(self, message: RawMessage) -> bool:
        """Sends a message; False for one that nobody has asked for."""
        sender = self._senders_by_name[message.topic]
        if message.topic in self._optional and not sender.get_subscription_count():
            return False
        self._publish(sender, message.topic, message.data)
        self._sent += 1
        return True

    def _publish(self, sender: Publisher, name: str, message: Any) -> None:
        """``message``: a message or its bytes."""
        try:
            sender.publish(message)
        except RCLError as error:
            self._refused += 1
            self.warn(f"{name}: not sent: {error}")

    def _ask(self, stages: Sequence[Sequence[Any]], then: Callable[[], None]) -> None:
        """Asks nodes, stage after stage, when what is on its way to them has arrived."""
        self._stages, self._after_stages = list(stages), then
        self._begin_step(self._drain)

    def _drain(self) -> None:
        """Flushing or resetting must not overtake messages that are still on their way."""
        if self._in_step_s < self._config.drain_s:
            return
        if not self._stages:
            self._after_stages()
            return
        clients = [client for client in self._stages.pop(0) if client.service_is_ready()]
        self._answers = [client.call_async(Trigger.Request()) for client in clients]
        self._begin_step(self._wait_for_answers)

    def _wait_for_answers(self) -> None:
        if all(answer.done() for answer in self._answers) or self._in_step_s > self._config.listeners_timeout_s:
            self._begin_step(self._drain)

    def _end(self) -> None:
        # As if somebody had asked: the process closes its nodes in order and ends with 0.
        signal.raise_signal(signal.SIGINT)

    def _begin_anew(self) -> None:
        self._rounds += 1
        self._jump(self._begin_ns, None)

    def _jump(self, to_ns: int, until_ns: int | None) -> None:
        """Goes on from another time; where that is an earlier one, nodes forget what has not happened yet."""
        back = to_ns < self._playback.time_ns(time.monotonic())

        def go() -> None:
            self._read(lambda: self._playback.seek(time.monotonic(), to_ns, until_ns))
            self._tell_time()
            if self._started:
                self._begin_step(self._play)

        if back and self._started:
            self._ask(self._resets, go)
        else:
            go()

    # rosbag2's services.

    def _offer_services(self) -> None:
        handlers = {
            "pause": self._on_pause,
            "resume": self._on_resume,
            "toggle_paused": self._on_toggle_paused,
            "is_paused": self._on_is_paused,
            "get_rate": self._on_get_rate,
            "set_rate": self._on_set_rate,
            "play_next": self._on_play_next,
            "burst": self._on_burst,
            "seek": self._on_seek,
            "play": self._on_play,
            "stop": self._on_stop,
        }
        for name, handler in handlers.items():
            kind = getattr(srv, "".join(word.capitalize() for word in name.split("_")), None)
            # Older ROS distributions have fewer.
            if kind is not None:
                self.create_service(kind, f"~/{name}", handler)

    @property
    def _paused(self) -> bool:
        return self._playback.paused if self._started else self._begins_paused

    def _set_paused(self, paused: bool) -> None:
        """Before it has started, time does not run, but what is asked for is remembered."""
        self._begins_paused = paused
        if self._started:
            (self._playback.pause if paused else self._playback.resume)(time.monotonic())

    def _on_pause(self, request: Any, response: Any) -> Any:
        self._set_paused(True)
        return response

    def _on_resume(self, request: Any, response: Any) -> Any:
        self._set_paused(False)
        return response

    def _on_toggle_paused(self, request: Any, response: Any) -> Any:
        self._set_paused(not self._paused)
        return response

    def _on_is_paused(self, request: Any, response: Any) -> Any:
        response.paused = self._paused
        return response

    def _on_get_rate(self, request: Any, response: Any) -> Any:
        response.rate = self._playback.rate
        return response

    def _on_set_rate(self, request: Any, response: Any) -> Any:
        try:
            self._playback.set_rate(time.monotonic(), request.rate)
            response.success = True
        except ValueError:
            response.success = False
        return response

    def _on_play_next(self, request: Any, response: Any) -> Any:
        response.success = self._burst(1) == 1
        return response

    def _on_burst(self, request: Any, response: Any) -> Any:
        response.actually_burst = self._burst(request.num_messages)
        return response

    def _burst(self, wanted: int) -> int:
        """Sends the next messages (0: all) while paused; gives how many."""
        sent = 0
        while self._playback.paused and self._advance == self._play and (not wanted or sent < wanted):
            message = self._read(self._playback.take_next)
            if message is None:
                break
            sent += self._send(message)
            if sent % BURST_PORTION == BURST_PORTION - 1:
                self._tell_time()
                time.sleep(BURST_PAUSE_S)
        self._tell_time()
        return sent

    def _on_seek(self, request: Any, response: Any) -> Any:
        to_ns = time_ns(request.time)
        response.success = self._playback.holds(to_ns)
        if response.success:
            self._jump(to_ns, None)
        return response

    def _on_play(self, request: Any, response: Any) -> Any:
        """Only while paused: rosbag2's player refuses a second playback, too."""
        begin_ns = (self._reader.start_ns or 0) + time_ns(request.start_offset)
        response.success = self._paused and self._playback.holds(begin_ns)
        if response.success:
            lasting_ns, until_ns = time_ns(request.playback_duration), time_ns(request.playback_until_timestamp)
            ends = [end for end, given in ((begin_ns + lasting_ns, lasting_ns > 0), (until_ns, until_ns > 0)) if given]
            self._jump(begin_ns, min(ends, default=None))
            self._set_paused(False)
        return response

    def _on_stop(self, request: Any, response: Any) -> Any:
        self._ask(self._flushes, self._end)
        return response


def main() -> int:
    return run(PlayerNode)
